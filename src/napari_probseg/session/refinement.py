"""Refinement of segmented objects: smoothing, largest part, holes, specks, and filling between slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Marker, Plane
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import Region, bounding_box, grown, relative
from napari_probseg.session.finished import FinishedObject
from napari_probseg.session.history import Change
from napari_probseg.session.objects import Objects, changes_to

Mask = NDArray[np.bool_]
SIGMA_VOXELS = 1.5  # of the Gaussian that smooths a border, of the finest axis
MAX_SPECK = 0.05  # of the largest part: what is smaller is a speck
_MARGIN = 6  # voxels around an object within which it may grow


@dataclass(frozen=True)
class Refinement:
    """What is to be done to an object.

    Parameters
    ----------
    how : str
        ``"smooth"``, ``"largest"``, ``"holes"``, ``"specks"`` or ``"between"``.
    finished : bool
        Whether it is done to all finished objects, each for itself, and not to the object in work.
    plane : (axis, index), optional
        The plane of a volume, or the image of a time series, that it is done on; the whole volume, an image, or each
        image of a series, if absent.
    axis : int
        Across which slices lie, for ``"between"``; of a time series always time.
    """

    how: str
    finished: bool = False
    plane: Plane | None = None
    axis: int = 0

    def __post_init__(self) -> None:
        if self.how not in WAYS:
            raise ValueError(f"objects are refined by {', '.join(WAYS)}, not {self.how!r}")

    def changes(self, case: Case, objects: Objects, finished: Iterable[FinishedObject]) -> tuple[Change, ...]:
        """Return what it changes: strokes hold, and no object takes voxels of another.

        Parameters
        ----------
        case : Case
            What is decided of the object in work.
        objects : uint32 array of the spatial shape
            The finished ones.
        finished : iterable of FinishedObject

        Raises
        ------
        RuntimeError
            If there is no object.
        ValueError
            If slices are to be filled in of an image, or all are there.
        """
        if self.how == "between" and case.ndim == 2:
            raise ValueError("only a volume has slices to fill between")
        if self.finished:
            return self._of_finished(case, objects, tuple(finished))
        where = self._region(bounding_box(case.partial[case.marked] == Marker.OBJECT), case, case.marked)
        if where is None:
            raise RuntimeError("there is no object in work yet: brush inside it or accept a candidate first")
        partial, strokes, locked = case.partial[where], case.strokes[where], objects[where] > 0
        before = (partial == Marker.OBJECT) & ~locked
        after = self._refined(before, case)
        after = (after | (strokes == Marker.OBJECT)) & (strokes != Marker.BACKGROUND) & ~locked
        new = np.where(after, Marker.OBJECT, np.where(before, Marker.BACKGROUND, partial))
        new = np.where(locked, partial, new)
        return changes_to(case, objects, where, new, strokes)

    def _of_finished(self, case: Case, objects: Objects, finished: tuple[FinishedObject, ...]) -> tuple[Change, ...]:
        """Return the changes of all finished objects; where two would meet, the first has the voxels."""
        if not finished:
            raise RuntimeError("no object is finished yet: finish one first")
        regions = [(one, self._region(one.box, case)) for one in finished]
        found = [(one, where) for one, where in regions if where is not None]
        whole = tuple(
            slice(min(where[axis].start for _, where in found), max(where[axis].stop for _, where in found))
            for axis in range(case.ndim)
        )
        new, partial = objects[whole].copy(), case.partial[whole].copy()
        drawn = (case.strokes[whole] > 0) | ((partial == Marker.OBJECT) & (new == 0))
        for one, where in found:
            here = relative(where, whole)
            before = new[here] == one.label
            after = self._refined(before, case) & (before | ((new[here] == 0) & ~drawn[here]))
            if not after.any():
                continue  # an object is not refined away
            new[here][before & ~after] = 0
            new[here][after] = one.label
            partial[here][before & ~after] = Marker.UNKNOWN
            partial[here][after] = Marker.BACKGROUND
        return changes_to(case, objects, whole, partial, case.strokes[whole], new)

    def _region(self, box: Region | None, case: Case, within: Region | None = None) -> Region | None:
        """Return a box with room to grow, on the plane that is refined; None if it does not meet that."""
        if box is None:
            return None
        if within is not None:
            box = tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, within, strict=True))
        margins = [_MARGIN if n > 1 else 0 for n in case.shape]
        where = list(grown(box, margins, case.shape))
        if self.plane is not None:
            axis, index = self.plane
            if not where[axis].start <= index < where[axis].stop:
                return None
            where[axis] = slice(index, index + 1)
        return tuple(where)

    def _refined(self, inside: Mask, case: Case) -> Mask:
        if not inside.any():
            return inside
        spacing = tuple(case.spacing or ())
        if self.how == "between" and case.in_time:
            return between(inside, axis=0, spacing=(math.nan, *spacing))
        if self.how == "between":
            return between(inside, axis=self.axis, spacing=spacing)
        if case.in_time:  # each image by itself
            return np.array([WAYS[self.how](one, spacing) if one.any() else one for one in inside])
        return WAYS[self.how](inside, spacing)


def smoothed(inside: Mask, spacing: Iterable[float]) -> Mask:
    """Return a mask with a smoother border: a Gaussian of it, halved."""
    steps = np.asarray(tuple(spacing))
    sides = np.asarray(inside.shape) > 1
    sigma = np.where(sides, SIGMA_VOXELS * steps[sides].min() / steps, 0)
    return np.asarray(ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="nearest") > 0.5)


def largest_part(inside: Mask, _: Any = None) -> Mask:
    """Return the largest part of a mask that hangs together."""
    parts, n_voxels = _parts(inside)
    return np.asarray(parts == n_voxels.argmax() + 1)


def without_holes(inside: Mask, _: Any = None) -> Mask:
    """Return a mask with all that it encloses."""
    flat = [axis for axis, n in enumerate(inside.shape) if n == 1]
    filled = ndimage.binary_fill_holes(np.squeeze(inside, axis=tuple(flat)))
    return np.asarray(np.expand_dims(filled, axis=tuple(flat)))


def without_specks(inside: Mask, _: Any = None) -> Mask:
    """Return a mask without parts that are small beside its largest one; see `MAX_SPECK`."""
    parts, n_voxels = _parts(inside)
    kept = np.concatenate([[False], n_voxels >= MAX_SPECK * n_voxels.max()])
    return np.asarray(kept[parts])


def between(inside: Mask, *, axis: int, spacing: Iterable[float]) -> Mask:
    """Return a mask with the empty slices between others filled in; the others stay exactly as they are.

    Slices are planes of a volume across an axis, or the images of a time series; the distance along it does not count.

    The signed distances of two slices to their borders are mixed, each moved so that the middle goes straight from the
    one to the other (shape-based interpolation, Raya & Udupa 1990).

    Raises
    ------
    ValueError
        If no slice is missing between others.
    """
    steps = [mm for a, mm in enumerate(spacing) if a != axis]
    slices = np.moveaxis(inside, axis, 0)
    there = np.flatnonzero(slices.any(axis=tuple(range(1, inside.ndim))))
    if not (np.diff(there) > 1).any():
        raise ValueError("no slice is empty between two that have some of the object: accept slices farther apart")
    filled = slices.copy()
    for first, last in pairwise(there.tolist()):
        ends = [_Shape.of(slices[i], steps) for i in (first, last)] if last - first > 1 else []
        for i in range(first + 1, last):
            filled[i] = ends[0].on_the_way_to(ends[1], (i - first) / (last - first))
    return np.moveaxis(filled, 0, axis)


@dataclass(frozen=True, eq=False)
class _Shape:
    """A slice of an object: the signed distance to its border, in mm, and its middle in voxels."""

    distance: NDArray[np.float32]
    middle: NDArray[np.float64]

    @classmethod
    def of(cls, mask: Mask, spacing: list[float]) -> _Shape:
        padded = np.pad(mask, 1)  # what lies at the rim has a border there
        inner = ndimage.distance_transform_edt(padded, spacing)
        outer = ndimage.distance_transform_edt(~padded, spacing)
        distance = (inner - outer)[1:-1, 1:-1].astype(np.float32)
        return cls(distance, np.argwhere(mask).mean(axis=0))

    def on_the_way_to(self, other: _Shape, share: float) -> Mask:
        """Return what lies a share of the way to another slice."""
        middle = (1 - share) * self.middle + share * other.middle
        moved = [ndimage.shift(one.distance, middle - one.middle, order=1, mode="nearest") for one in (self, other)]
        return np.asarray((1 - share) * moved[0] + share * moved[1] > 0)


def _parts(inside: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the parts of a mask by number, from 1 on, and how many voxels each has."""
    parts, n = numbered_parts(inside)
    return parts, np.bincount(parts.ravel(), minlength=n + 1)[1:]


WAYS: Mapping[str, Callable[[Mask, Iterable[float]], Mask]] = {
    "smooth": smoothed,
    "largest": largest_part,
    "holes": without_holes,
    "specks": without_specks,
    "between": lambda inside, spacing: between(inside, axis=0, spacing=spacing),
}
