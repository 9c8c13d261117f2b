"""Finished objects: what moves an object in work to them, back from them, or adopts others, as changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.io.labels import whole_numbers
from napari_probseg.region import Part, Region, hull, relative
from napari_probseg.session.history import Change, Step, change_between

MAX_LABEL = 2**31 - 1  # what other programs and file formats can hold

Objects = NDArray[np.uint32]


def changes_to(
    case: Case,
    objects: Objects,
    where: Region,
    partial: NDArray[np.uint8],
    strokes: NDArray[np.uint8] | np.uint8,
    new_objects: Objects | None = None,
) -> tuple[Change, ...]:
    """Return what makes a region hold other values, smallest boxes alone.

    Parameters
    ----------
    case, objects : Case, uint32 array of the spatial shape
        As they are.
    where : tuple of slices
    partial, strokes : uint8 arrays of the region's shape
    new_objects : uint32 array of the region's shape, optional
        The objects stay if absent.
    """
    old = case.strokes[where]
    changes = change_between("partial", case.partial[where], partial, where)
    changes += change_between("strokes", old, np.broadcast_to(strokes, old.shape), where)
    if new_objects is None:
        return changes
    return changes + change_between("objects", objects[where], new_objects, where)


def in_work(start: Case, steps: Sequence[Step]) -> Region:
    """Return a box outside of which nothing is of the object in work; it may be larger than it must be.

    With it what is done to one object costs what that covers, however far the finished ones are apart.

    Parameters
    ----------
    start : Case
        Before any step.
    steps : sequence of Step
        What was done since: finishing an object leaves nothing of it, and objects that are taken or removed
        are finished ones.
    """
    since: list[Region] = []
    for step in reversed(steps):
        if step.verb == "finish":
            break
        if step.verb not in ("take", "remove"):
            since += [change.where for change in step.changes if change.name in ("partial", "strokes")]
    else:
        since.append(start.marked)
    return hull((slice(0, 0),) * start.ndim, *since)


def finishing(case: Case, objects: Objects, label: int, where: Region) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return what there is to tell of finishing the object in work under a label, and the changes.

    Parameters
    ----------
    where : tuple of slices
        See `in_work`.

    Raises
    ------
    RuntimeError
        If there is no object, or all of it belongs to finished ones.
    """
    chosen = case.partial[where] == Marker.OBJECT
    free = chosen & (objects[where] == 0)
    n_voxels, n_chosen = int(np.count_nonzero(free)), int(np.count_nonzero(chosen))
    if not n_chosen:
        raise RuntimeError("there is no object to finish yet: brush inside it or accept a candidate first")
    if not n_voxels:
        raise RuntimeError("all of this belongs to finished objects: reopen one of them to change it")
    after = np.where(free, np.uint32(label), objects[where])
    arguments = {"label": label, "n_voxels": n_voxels, "n_locked": n_chosen - n_voxels}
    return arguments, changes_to(case, objects, where, _blank(after), Marker.UNKNOWN, after)


def reopening(case: Case, objects: Objects, label: int, box: Region, where: Region) -> tuple[Change, ...]:
    """Return the changes that make a finished object the one in work.

    Parameters
    ----------
    box, where : tuples of slices
        A box of the finished object, and see `in_work`.

    Raises
    ------
    RuntimeError
        If another object is in work.
    """
    if case.strokes[where].any() or (case.partial[where] == Marker.OBJECT).any():
        raise RuntimeError(f"finish or undo the object in work first, then reopen object {label}")
    where = hull(where, box)
    chosen = objects[where] == label
    after = np.where(chosen, np.uint32(0), objects[where])
    partial = np.where(chosen, Marker.OBJECT, _blank(after))
    return changes_to(case, objects, where, partial, Marker.UNKNOWN, after)


def removing(case: Case, objects: Objects, label: int, box: Region) -> tuple[Change, ...]:
    """Return the changes that remove a finished object; strokes on it, and what they decide, are of another one.

    Parameters
    ----------
    box : tuple of slices
        A box of the finished object.
    """
    chosen = objects[box] == label
    partial, strokes = case.partial[box], case.strokes[box]
    opened = np.where(chosen & (strokes == Marker.UNKNOWN), Marker.UNKNOWN, partial).astype(np.uint8)
    return changes_to(case, objects, box, opened, strokes, np.where(chosen, np.uint32(0), objects[box]))


def without_locked(case: Case, objects: Objects, where: Region) -> NDArray[np.uint8]:
    """Return what a case has decided of a region, finished objects being background."""
    locked = (objects[where] > 0) & (case.partial[where] == Marker.UNKNOWN)
    return np.where(locked, Marker.BACKGROUND, case.partial[where])


def taking(case: Case, objects: Objects, labels: NDArray[Any], first: int) -> tuple[Change, ...]:
    """Return the changes that adopt objects from a label image, whose numbers follow on from ``first``.

    Raises
    ------
    ValueError
        If they do not fit the image, hold nothing new, or have numbers beyond `MAX_LABEL`.
    """
    labels = whole_numbers(np.asarray(labels))
    if labels.shape != case.shape:
        raise ValueError(f"the labels must have the image's shape {case.shape}, got {labels.shape}")
    new = (labels > 0) & (objects == 0)
    if not new.any():
        raise ValueError("the labels hold no object that is not finished already: choose others")
    if first + int(labels.max()) > MAX_LABEL:
        raise ValueError(f"objects are numbered up to {MAX_LABEL}, got label {labels.max()}: number them anew")
    after = np.where(new, labels.astype(np.uint32) + np.uint32(first), objects)
    partial = np.where(new, Marker.BACKGROUND, case.partial)
    strokes = np.where(new, Marker.UNKNOWN, case.strokes)
    return changes_to(case, objects, (slice(None),) * labels.ndim, partial, strokes, after)


def adding(case: Case, objects: Objects, found: Sequence[Part], first: int) -> tuple[Change, ...]:
    """Return the changes that adopt objects of some regions, whose numbers follow on from ``first``.

    Raises
    ------
    ValueError
        If their numbers would be beyond `MAX_LABEL`.
    """
    if first + len(found) > MAX_LABEL:
        raise ValueError(f"objects are numbered up to {MAX_LABEL}: number them anew")
    where = hull(*(part.where for part in found))
    after = objects[where].copy()
    for label, part in enumerate(found, first + 1):
        here = after[relative(part.where, where)]
        here[part.mask & (here == 0)] = label
    new = after != objects[where]
    partial = np.where(new, Marker.BACKGROUND, case.partial[where])
    strokes = np.where(new, Marker.UNKNOWN, case.strokes[where])
    return changes_to(case, objects, where, partial, strokes, after)


def _blank(objects: Objects) -> NDArray[np.uint8]:
    """Return markers of which nothing is decided but that finished objects are background."""
    return np.where(objects > 0, Marker.BACKGROUND, Marker.UNKNOWN)
