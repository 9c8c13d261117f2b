"""Corrections: strokes that contradict what was accepted, and what they open again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Marker, Plane
from napari_probseg.region import Region, absolute, bounding_box, grown, hull, n_voxels, overlap, relative
from napari_probseg.session.history import Change, Step
from napari_probseg.strokes import TAKEN

MAX_VOXELS = 2**25  # of a volume, that are opened
_LABELS = (Marker.OBJECT, Marker.BACKGROUND)
_CHOICES = ("accept", "finish", "reopen")


def opened_by_corrections(
    case: Case,
    objects: NDArray[np.uint32],
    steps: Iterable[Step],
    plane: Plane | None = None,
    *,
    anyhow: bool = False,
) -> Case:
    """Return the case with all that was accepted unknown again if a stroke contradicts it.

    What was accepted becomes `Case.evidence`: the answer is made anew everywhere, strokes alone being hard. No strokes
    tell a finished object that was reopened, or a slice that one was carried to: but for the corrections that is what a
    person took for the object, and so it is told (`TAKEN`).

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
    anyhow : bool
        Whether all that was accepted is open again also where no stroke contradicts it.

    Returns
    -------
    Case
        ``case`` itself if no stroke corrects anything.
    """
    where = _region(case, plane)
    if where is None:
        return case
    choice, drawn = _since_choice(steps)
    is_reopened = choice == "reopen" and bool(drawn)
    is_contradicted = any(_contradicts(case, where, *one) for one in drawn)
    if not (anyhow or is_contradicted or is_reopened):
        return case
    partial, strokes = case.partial[where], case.strokes[where]
    accepted = (strokes == Marker.UNKNOWN) & (partial != Marker.UNKNOWN) & (objects[where] == 0)
    if not accepted.any():
        return case
    if anyhow or is_contradicted:
        case = case.with_parts([("partial", where, np.where(accepted, Marker.UNKNOWN, partial))])
    if is_contradicted or is_reopened:
        under_strokes = _under_strokes(case.strokes, where, drawn)
        is_told = bool(((under_strokes == Marker.OBJECT) & (strokes == Marker.OBJECT)).any())
        if is_reopened or not is_told:
            return case.with_evidence(where, np.where(accepted, partial, under_strokes), TAKEN)
    return case.with_evidence(where, np.where(accepted, partial, Marker.UNKNOWN))


def _since_choice(steps: Iterable[Step]) -> tuple[str, list[tuple[Step, Change]]]:
    """Return the verb of the last choice, empty if there was none, and what was drawn since, the latest first."""
    drawn: list[tuple[Step, Change]] = []
    for step in reversed(tuple(steps)):
        if step.verb in _CHOICES:
            return step.verb, drawn
        if step.verb == "mark":
            drawn += [(step, change) for change in step.changes if change.name == "strokes"]
    return "", drawn


def _contradicts(case: Case, where: Region, step: Step, drawn: Change) -> bool:
    """Return whether a stroke that is still there in a region contradicts what was decided before it."""
    seen, turned = overlap(drawn.where, where), _turned(step, drawn)
    if seen is None or not turned.any():
        return False
    for marker in _LABELS:
        # A stroke that begins outside of what it contradicts is one correction, not two strokes.
        stroke = ndimage.binary_propagation(
            turned & (drawn.after == marker),
            structure=np.ones((3,) * case.ndim),
            mask=(drawn.after == marker) & (drawn.before != marker),
        )
        if (stroke[relative(seen, drawn.where)] & (case.strokes[seen] == marker)).any():
            return True
    return False


def _under_strokes(
    strokes: NDArray[np.uint8], where: Region, drawn: Iterable[tuple[Step, Change]]
) -> NDArray[np.uint8]:
    """Return a `Marker` for what was decided under all strokes of a region before some were drawn, the latest first."""
    before = strokes[where].copy()
    for step, change in drawn:
        if (seen := overlap(change.where, where)) is None:
            continue
        here, there = before[relative(seen, where)], relative(seen, change.where)
        turned = _turned(step, change)
        here[(change.after != change.before)[there]] = Marker.UNKNOWN
        for marker, other in zip(_LABELS, reversed(_LABELS), strict=True):
            here[(turned & (change.after == marker))[there]] = other
    return before


def _turned(step: Step, drawn: Change) -> NDArray[np.bool_]:
    """Return where what a step drew was decided otherwise before, in the region of what it drew."""
    turned = np.zeros(drawn.after.shape, dtype=bool)
    for decided in (change for change in step.changes if change.name == "partial"):
        common = overlap(decided.where, drawn.where)
        if common is not None:
            before, after = (a[relative(common, decided.where)] for a in (decided.before, decided.after))
            turned[relative(common, drawn.where)] = (before != after) & (before > 0) & (after > 0)
    turned &= drawn.before == Marker.UNKNOWN
    return turned


def _region(case: Case, plane: Plane | None) -> Region | None:
    """Return where to look: the plane, the whole of an image, or what is decided of a volume (or near the object)."""
    if plane is not None:
        axis, index = plane
        if case.ndim == 2 or not 0 <= axis < case.ndim or not 0 <= index < case.shape[axis]:
            raise ValueError(f"an image of {case.shape} has no plane {index} of axis {axis}")
        return tuple(slice(index, index + 1) if a == axis else slice(0, n) for a, n in enumerate(case.shape))
    if case.ndim == 2:
        return tuple(slice(0, n) for n in case.shape)
    if not n_voxels(case.drawn):
        return None
    if n_voxels(case.marked) <= MAX_VOXELS:
        return case.marked  # what is decided around a hole misleads a network
    object_ = bounding_box(case.partial[case.marked] == Marker.OBJECT)
    box = case.drawn if object_ is None else hull(case.drawn, absolute(object_, case.marked))
    return grown(box, [8 + (s.stop - s.start) // 4 for s in box], case.shape)
