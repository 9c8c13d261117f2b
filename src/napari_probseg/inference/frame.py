"""Frames: strokes outside that go all around an object, as a box or a drawn outline does, and the middle of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Marker
from napari_probseg.morphology import ball, each_part
from napari_probseg.pages import copied
from napari_probseg.region import Region, absolute, bounding_box, overlap, relative

MIN_SIDE_SHARE = 0.8  # of a side of a box, that is background
MIN_SIDES = 2  # of a box, that are drawn: the others may lie beyond the image
MIN_HELD_SHARE = 0.4  # of the box of an outline, that it holds: what was scrubbed has holes, too
MAX_OUTLINED_PIXELS = 2**22  # of the box of an outline; what is larger is looked at as a box alone

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """What strokes outside go around.

    Parameters
    ----------
    where : tuple of slices
        The region, of a volume one slice of it.
    middle : tuple of int
        A voxel of that region, well inside.
    depth : float
        Voxels from there to the stroke.
    """

    where: Region
    middle: tuple[int, ...]
    depth: float

    def holds(self, case: Case, marker: Marker) -> bool:
        """Return whether strokes of a marker lie in the region, of a volume on whatever slice."""
        where = tuple(slice(None) if s.stop - s.start == 1 else s for s in self.where)
        return bool((case.strokes[where] == marker).any())

    def around_middle(self, ratio: float) -> Mask:
        """Return the voxels of the region that lie around its middle, within a share of its depth; one at least."""
        shape = tuple(s.stop - s.start for s in self.where)
        return ball(shape, self.middle, max(1.0, ratio * self.depth), np.ones(len(shape)))


def frames(case: Case) -> list[Frame]:
    """Return the frames that strokes outside make, on any slice of a volume."""
    return [frame for stroke, where in _strokes_outside(case) if (frame := _frame(case, stroke, where)) is not None]


def bounds(case: Case) -> list[Region]:
    """Return the regions of an image that the object lies in by its frames; none where it lies elsewhere, too."""
    found = [frame.where for frame in frames(case)]
    inside = case.partial[case.marked] == Marker.OBJECT
    for where in found:
        if (both := overlap(where, case.marked)) is not None:
            inside[relative(both, case.marked)] = False
    return [] if inside.any() else found


def is_around(case: Case) -> bool:
    """Return whether strokes outside go around anything."""
    return bool(frames(case))


def outlined(case: Case) -> Case:
    """Return a volume with a box around an object as a network is to see it: by its outlines on three slices.

    Those are the slices through its middle. No network was shown all six sides of a box in training, and what is
    background on all of them misleads it.
    """
    partial, strokes = case.partial, case.strokes
    for stroke, where in _strokes_outside(case) if case.ndim == 3 else ():
        is_filled = stroke[tuple(n // 2 for n in stroke.shape)]
        if min(stroke.shape) == 1 or is_filled or not _is_box(case, where):
            continue
        if partial is case.partial:
            partial, strokes = (copied(markers, case.pages) for markers in (partial, strokes))
        kept = np.zeros(stroke.shape, dtype=bool)
        for axis, n in enumerate(stroke.shape):
            np.moveaxis(kept, axis, 0)[n // 2] = True
        for markers in (partial, strokes):
            markers[where][stroke & ~kept] = Marker.UNKNOWN
    if partial is case.partial:
        return case
    seen = case.with_markers(partial, strokes, marked=case.marked)
    return seen if case.evidence is None else seen.with_evidence(*case.evidence, case.expected_dice)


def _strokes_outside(case: Case) -> Iterator[tuple[Mask, Region]]:
    """Yield each stroke outside, and the box that it covers."""
    for box, stroke in each_part(case.strokes[case.drawn] == Marker.BACKGROUND):
        yield stroke, absolute(box, case.drawn)


def _frame(case: Case, stroke: Mask, where: Region) -> Frame | None:
    """Return the frame that a stroke makes, of a volume on the slice in its middle; None if it makes none."""
    if case.ndim == 3:
        axis = int(np.argmin(stroke.shape))
        n = stroke.shape[axis] // 2
        on_slice = np.take(stroke, [n], axis)
        box = bounding_box(on_slice)
        if box is None:
            return None
        k = where[axis].start + n
        stroke, where = on_slice[box], absolute(box, (*where[:axis], slice(k, k + 1), *where[axis + 1 :]))
    if sum(n > 1 for n in stroke.shape) < 2:
        return None
    middle = tuple(n // 2 for n in stroke.shape)
    if not stroke[middle] and _is_box(case, where):
        return Frame(where, middle, min(n for n in stroke.shape if n > 1) / 2)
    held = _held_by(stroke) if stroke.size <= MAX_OUTLINED_PIXELS else np.zeros_like(stroke)
    if np.count_nonzero(held) < MIN_HELD_SHARE * stroke.size:
        return None
    depth = ndimage.distance_transform_edt(held, sampling=[1 if n > 1 else stroke.size for n in stroke.shape])
    middle = middle if held[middle] else tuple(int(i) for i in np.unravel_index(int(depth.argmax()), depth.shape))
    return Frame(where, middle, float(depth[middle]))


def _is_box(case: Case, where: Region) -> bool:
    """Return whether a region has background on all its sides, or the image ends there."""
    drawn, wanted = 0, 0
    for axis, (s, n) in enumerate(zip(where, case.shape, strict=True)):
        if s.stop - s.start == 1:
            continue
        for at, ends in ((s.start, s.start == 0), (s.stop - 1, s.stop == n)):
            side = case.partial[(*where[:axis], slice(at, at + 1), *where[axis + 1 :])] == Marker.BACKGROUND
            is_drawn = bool(side.mean() >= MIN_SIDE_SHARE)
            drawn, wanted = drawn + is_drawn, wanted + (not is_drawn and not ends)
    return drawn >= MIN_SIDES and wanted == 0


def _held_by(stroke: Mask) -> Mask:
    """Return what a stroke encloses."""
    flat = np.pad(np.squeeze(stroke, tuple(a for a, n in enumerate(stroke.shape) if n == 1)), 1)
    parts, _ = ndimage.label(~flat)
    inside = (parts > 0) & (parts != parts[0, 0])
    return np.asarray(inside[1:-1, 1:-1].reshape(stroke.shape))
