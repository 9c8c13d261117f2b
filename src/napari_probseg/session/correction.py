"""Strokes that contradict what was accepted, and what they open again so that new candidates can repair it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Marker, Plane
from napari_probseg.region import Region, absolute, bounding_box, relative
from napari_probseg.session.history import Step

_LABELS = (Marker.OBJECT, Marker.BACKGROUND)


def opened_by_corrections(
    case: Case, objects: NDArray[np.uint32], steps: Iterable[Step], plane: Plane | None = None
) -> Case:
    """Return the case with what was accepted nearer to a contradicting stroke than to any other unknown again.

    Parameters
    ----------
    case : Case
        What is decided now.
    objects : uint32 array of the spatial shape
        Finished objects, which stay as they are.
    steps : iterable of Step
        What was done; strokes count since the last choice.
    plane : (axis, index), optional
        The plane of a volume to look at; the box around all strokes, with a margin, if absent.

    Returns
    -------
    Case
        ``case`` itself if no stroke contradicts anything.
    """
    where = _region(case, plane)
    if where is None:
        return case
    wrong = _contradicting(case, steps, where)
    if not wrong.any():
        return case
    partial, strokes = case.partial[where], case.strokes[where]
    accepted = (strokes == Marker.UNKNOWN) & (partial != Marker.UNKNOWN) & (objects[where] == 0)
    opened = np.zeros(partial.shape, dtype=bool)
    for label in _LABELS:
        against = wrong & (strokes != label)
        mine = accepted & (partial == label)
        if against.any() and mine.any():
            anchors = (strokes != Marker.UNKNOWN) & ~against
            if not (strokes == label).any():
                anchors |= _deepest(mine, case.spacing or ())
            opened |= mine & _nearer(against, anchors, case.spacing or ())
    return case.with_part("partial", where, np.where(opened, np.uint8(Marker.UNKNOWN), partial))


def _contradicting(case: Case, steps: Iterable[Step], where: Region) -> NDArray[np.bool_]:
    """Return the strokes of a region, drawn since the last choice and still there, that contradict what it decided."""
    wrong = np.zeros(case.strokes[where].shape, dtype=bool)
    for step in reversed(tuple(steps)):
        if step.verb in ("accept", "finish", "reopen"):
            break
        changes = {change.name: change for change in step.changes}
        if step.verb != "mark" or not {"partial", "strokes"} <= changes.keys():
            continue
        decided, drawn = changes["partial"], changes["strokes"]
        common = _overlap(decided.where, drawn.where)
        if common is None:
            continue
        before, after = (a[relative(common, decided.where)] for a in (decided.before, decided.after))
        turned = np.zeros(drawn.after.shape, dtype=bool)
        turned[relative(common, drawn.where)] = (before != after) & (before > 0) & (after > 0)
        turned &= drawn.before == Marker.UNKNOWN
        seen = _overlap(drawn.where, where)
        if seen is None or not turned.any():
            continue
        for marker in _LABELS:
            # A stroke that begins outside of what it contradicts is one correction, not two strokes.
            stroke = ndimage.binary_propagation(
                turned & (drawn.after == marker),
                structure=np.ones((3,) * case.ndim),
                mask=(drawn.after == marker) & (drawn.before != marker),
            )
            standing = case.strokes[seen] == marker
            wrong[relative(seen, where)] |= stroke[relative(seen, drawn.where)] & standing
    return wrong


def _nearer(to: NDArray[np.bool_], than: NDArray[np.bool_], spacing: Iterable[float]) -> NDArray[np.bool_]:
    """Return the voxels nearer (in mm) to one mask than to another."""
    nearest = ndimage.distance_transform_edt(
        ~(to | than), sampling=tuple(spacing), return_distances=False, return_indices=True
    )
    return np.asarray(to[tuple(nearest)], dtype=bool)


def _deepest(mask: NDArray[np.bool_], spacing: Iterable[float]) -> NDArray[np.bool_]:
    """Return the voxel farthest from a mask's border: it stands for a label that nobody has drawn a stroke of."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=tuple(spacing))
    depth = depth[(slice(1, -1),) * mask.ndim]
    deepest = np.zeros(mask.shape, dtype=bool)
    deepest[np.unravel_index(int(depth.argmax()), mask.shape)] = True
    return deepest


def _region(case: Case, plane: Plane | None) -> Region | None:
    """Return where to look: the plane, the whole of a 2-D image, or the box around all strokes and a margin."""
    if plane is not None:
        axis, index = plane
        if case.ndim != 3 or not 0 <= axis < 3 or not 0 <= index < case.shape[axis]:
            raise ValueError(f"an image of {case.shape} has no plane {index} of axis {axis}")
        return tuple(slice(index, index + 1) if a == axis else slice(0, n) for a, n in enumerate(case.shape))
    if case.ndim == 2:
        return tuple(slice(0, n) for n in case.shape)
    box = bounding_box(case.strokes[case.marked])
    if box is None:
        return None
    box = absolute(box, case.marked)
    margins = [8 + (s.stop - s.start) // 4 for s in box]
    sides = zip(box, margins, case.shape, strict=True)
    return tuple(slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in sides)


def _overlap(a: Region, b: Region) -> Region | None:
    both = tuple(slice(max(i.start, j.start), min(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None
