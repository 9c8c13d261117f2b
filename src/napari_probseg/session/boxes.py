"""Boxes around the object in work: the frame that one draws, and the frames of those that it takes the place of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.region import Region, grown, hull, overlap, relative
from napari_probseg.session.history import Step

FRAME = 2  # voxels

Mask = NDArray[np.bool_]


def n_sides(where: Region, shape: tuple[int, ...]) -> int:
    """Return on how many sides a box can be drawn; the others lie at the border of the image, or beyond it."""
    return sum((s.start > 0) + (s.stop < n) for s, n in zip(where, shape, strict=True) if s.stop - s.start > 1)


def framed(where: Region, shape: tuple[int, ...]) -> tuple[Region, Mask]:
    """Return a box grown by a few voxels, and a mask of what was added; a plane stays a plane.

    Parameters
    ----------
    where : tuple of slices
        The box.
    shape : tuple of int
        Of the image.

    Raises
    ------
    ValueError
        If it could not grow: the box goes around the whole image.
    """
    if not n_sides(where, shape):
        raise ValueError("the box goes around the whole image: brush a little inside the object instead")
    frame = grown(where, [FRAME if s.stop - s.start > 1 else 0 for s in where], shape)
    mask = np.ones([s.stop - s.start for s in frame], dtype=bool)
    mask[relative(where, frame)] = False
    return frame, mask


def boxing(case: Case, locked: NDArray[np.uint32], steps: Sequence[Step], where: Region) -> tuple[Region, Mask, Mask]:
    """Return a region, and what of it a box makes background, and erases: frames of boxes whose place it takes.

    Strokes of the brush stay as they are, and so do finished objects.

    Parameters
    ----------
    case, locked : Case, uint32 array of the spatial shape
        The object in work, and the finished ones.
    steps : sequence of Step
        What was done.
    where : tuple of slices
        The box.

    Raises
    ------
    ValueError
        See `framed`.
    """
    frame, around = framed(where, case.shape)
    before = [framed(box, case.shape) for box in boxes(steps) if _is_anew(where, box)]
    region = hull(frame, *(earlier for earlier, _ in before))
    outside, old = (np.zeros([s.stop - s.start for s in region], dtype=bool) for _ in range(2))
    for earlier, mask in before:
        old[relative(earlier, region)] |= mask
    if before:
        old &= _framed_by(steps, region)
    outside[relative(frame, region)] = around
    outside &= ((case.strokes[region] == Marker.UNKNOWN) | old) & (locked[region] == 0)
    return region, outside, old & ~outside


def boxes(steps: Sequence[Step]) -> list[Region]:
    """Return the boxes that were drawn for the object in work, oldest first."""
    return [tuple(slice(*span) for span in s.arguments["box"]) for s in _of_object(steps) if "box" in s.arguments]


def is_boxes_alone(steps: Sequence[Step]) -> bool:
    """Return whether nothing but boxes was drawn for the object in work, and no answer accepted."""
    return all("box" in step.arguments for step in _of_object(steps))


def _of_object(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps that changed the object in work, oldest first."""
    first = next((i for i in range(len(steps), 0, -1) if steps[i - 1].verb in ("finish", "reopen")), 0)
    for step in steps[first:]:
        if step.verb not in ("take", "remove") and any(c.name in ("partial", "strokes") for c in step.changes):
            yield step


def _is_anew(box: Region, earlier: Region) -> bool:
    """Return whether a box is an earlier one drawn anew: they meet, and lie on the same plane."""
    flat = [[s.stop - s.start == 1 for s in one] for one in (box, earlier)]
    return overlap(box, earlier) is not None and (len(box) == 2 or flat[0] == flat[1])


def _framed_by(steps: Sequence[Step], region: Region) -> Mask:
    """Return which voxels of a region are background by a box, and nothing was drawn there since."""
    found = np.zeros([s.stop - s.start for s in region], dtype=bool)
    for step in _of_object(steps):
        for change in step.changes:
            if change.name == "strokes" and (both := overlap(change.where, region)) is not None:
                after = change.after[relative(both, change.where)]
                is_new = after != change.before[relative(both, change.where)]
                is_frame = after == Marker.BACKGROUND if "box" in step.arguments else np.zeros(after.shape, bool)
                found[relative(both, region)] = np.where(is_new, is_frame, found[relative(both, region)])
    return found
