"""Regions of an image: boxes of voxels as tuples of slices, and masks in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Region: TypeAlias = tuple[slice, ...]
_T = TypeVar("_T", bound=np.generic)
BLOCK_SIDE = 32  # voxels: what is closer together than that is one part


@dataclass(frozen=True, eq=False)
class Part:
    """A mask in a region of an image.

    Parameters
    ----------
    where : tuple of slices
    mask : bool array of the region's shape
    label : int
        Of a finished object, its number.
    """

    where: Region
    mask: NDArray[np.bool_]
    label: int = 0

    def at(self, plane: tuple[int, int]) -> Part | None:
        """Return what of it lies on a plane (axis, index), in the indices of that; None if nothing does."""
        found = on_plane(self.where, self.mask, *plane)
        return None if found is None or not found[1].any() else Part(*found, self.label)

    def widest(self, axis: int) -> int:
        """Return the plane along an axis that shows the most of it, in the indices of the image."""
        across = tuple(a for a in range(self.mask.ndim) if a != axis)
        return int(self.where[axis].start) + int(self.mask.sum(across).argmax())


def bounding_box(mask: NDArray[Any]) -> Region | None:
    """Return the smallest box that holds all of a mask, or all that is not 0; None if nothing is."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        within = mask[tuple(box)]  # narrowed by the axes before: the first one is looked through alone
        where = np.flatnonzero(within.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not where.size:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)


def indices_of(mask: NDArray[Any]) -> tuple[NDArray[np.intp], ...]:
    """Return where a mask is true, along each axis, as `np.nonzero` does, which is several times as slow for few."""
    return np.unravel_index(np.flatnonzero(mask), mask.shape)


def parts(mask: NDArray[Any]) -> list[Region]:
    """Return boxes that hold all of a mask, or all that is not 0, and little else: one, unless it is scattered.

    Returns
    -------
    list of tuples of slices
        They do not overlap; none if the mask is empty.
    """
    box = bounding_box(mask)
    if box is None or mask[box].size <= BLOCK_SIDE**mask.ndim:
        return [] if box is None else [box]
    blocks = mask[box]
    for axis, n in enumerate(blocks.shape):
        blocks = np.logical_or.reduceat(blocks, np.arange(0, n, BLOCK_SIDE), axis=axis)
    found = []
    for of_blocks in _halved(blocks):
        sides = (
            slice(o.start + s.start * BLOCK_SIDE, o.start + s.stop * BLOCK_SIDE)
            for s, o in zip(of_blocks, box, strict=True)
        )
        where = tuple(slice(s.start, min(s.stop, o.stop)) for s, o in zip(sides, box, strict=True))
        within = bounding_box(mask[where])
        if within is not None:
            found.append(absolute(within, where))
    return found


def _halved(blocks: NDArray[Any]) -> list[Region]:
    """Return boxes that hold all of a mask: it is halved along its longest side wherever that leaves much out."""
    box = bounding_box(blocks)
    if box is None:
        return []
    within = blocks[box]
    if 2 * np.count_nonzero(within) >= within.size:
        return [box]
    axis = int(np.argmax(within.shape))
    middle = within.shape[axis] // 2
    halves = [(slice(None),) * axis + (half,) for half in (slice(0, middle), slice(middle, None))]
    found = [absolute(part, box) for part in _halved(within[halves[0]])]
    offset = tuple(slice(s.start + (middle if a == axis else 0), s.stop) for a, s in enumerate(box))
    found += [absolute(part, offset) for part in _halved(within[halves[1]])]
    return found if 4 * sum(n_voxels(part) for part in found) <= 3 * within.size else [box]


def on_plane(where: Region, values: NDArray[Any], axis: int, index: int) -> tuple[Region, NDArray[Any]] | None:
    """Return what values of a region say of one plane, without its axis; None if the plane does not meet the region."""
    if not where[axis].start <= index < where[axis].stop:
        return None
    return (*where[:axis], *where[axis + 1 :]), values.take(index - where[axis].start, axis)


def placed(where: Region, region: Region, values: NDArray[_T]) -> NDArray[_T]:
    """Return the values of one region, as far as another one holds them; 0 in the rest of that."""
    found = np.zeros(tuple(s.stop - s.start for s in where), dtype=values.dtype)
    both = overlap(where, region)
    if both is not None:
        found[relative(both, where)] = values[relative(both, region)]
    return found


def over(before: tuple[Region, NDArray[_T]], after: tuple[Region, NDArray[_T]]) -> tuple[Region, NDArray[_T]]:
    """Return values of two regions as those of one: the second ones, and the first where these are 0."""
    (first, old), (second, new) = before, after
    where = hull(first, second)
    earlier, later = placed(where, first, old), placed(where, second, new)
    return where, np.where(later == 0, earlier, later)


def n_voxels(region: Region) -> int:
    """Return how many voxels a region has."""
    return prod(s.stop - s.start for s in region)


def hull(*boxes: Region) -> Region:
    """Return the smallest box that holds some boxes, of which empty ones do not count."""
    boxes = tuple(box for box in boxes if all(s.stop > s.start for s in box)) or boxes[:1]
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*boxes, strict=True))


def boxed(where: Sequence[slice], shape: tuple[int, ...]) -> tuple[Region, Region]:
    """Return the smallest box that holds what slices of any kind choose, and where it lies in that box.

    Parameters
    ----------
    where : sequence of slices
        One for each axis; they may be open, count from the end, or have steps.
    shape : tuple of int

    Returns
    -------
    box : tuple of slices
        With starts and stops from 0 on, and no steps.
    within : tuple of slices
        What is chosen of it, in the order in which it is chosen.

    Raises
    ------
    ValueError
        If they are no slices, or not as many as there are axes.
    """
    slices: tuple[Any, ...] = tuple(where) if isinstance(where, list | tuple) else (where,)
    if len(slices) != len(shape) or not all(isinstance(s, slice) for s in slices):
        raise ValueError(f"a region must be one slice for each of {len(shape)} axes, got {slices}")
    box, within = [], []
    for s, n in zip(slices, shape, strict=True):
        chosen = range(*s.indices(n))
        low, high = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if chosen else (0, 0)
        box.append(slice(low, high))
        within.append(slice(None, None, chosen.step))  # backwards it begins at the last one, which is chosen
    return tuple(box), tuple(within)


def relative(region: Region, outer: Region) -> Region:
    """Return a region in the indices of one that holds it."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(region, outer, strict=True))


def absolute(region: Region, outer: Region) -> Region:
    """Return a region that is in the indices of another in those of the image."""
    return tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(region, outer, strict=True))


def overlap(a: Region, b: Region) -> Region | None:
    """Return the part that two regions have in common, None if there is none."""
    both = tuple(slice(max(i.start, j.start), min(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None


def grown(region: Region, margins: Iterable[int], shape: Sequence[int]) -> Region:
    """Return a region grown by a margin of voxels on both sides of each axis, within an image of a shape."""
    sides = zip(region, margins, shape, strict=True)
    return tuple(slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, margin, n in sides)
