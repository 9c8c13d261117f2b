"""Morphology of masks: balls, depths, rims and connected parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.region import Region, absolute, bounding_box, grown

MIN_RIM_VOXELS = 3.0
MAX_SHIFTS = 32  # voxels, up to which what is near is found by shifts


def ball(
    shape: tuple[int, ...], middle: tuple[int, ...], radius: float, spacing: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the voxels within ``radius`` mm of a voxel.

    Parameters
    ----------
    shape : tuple of int
        Of the mask.
    middle : tuple of int
        The voxel, which may lie beyond the mask.
    radius : float
        In mm.
    spacing : (ndim,) float array
        Distance between voxels along each axis, in mm.

    Returns
    -------
    bool array of ``shape``
    """
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squared = sum(((axis - m) * mm) ** 2 for axis, m, mm in zip(axes, middle, spacing, strict=True))
    return np.asarray(squared <= radius**2)


def deepest(region: NDArray[np.bool_], spacing: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the voxel of a region that is farthest from its border; that of the image is one, too.

    Parameters
    ----------
    region : bool array
        Not empty.
    spacing : (ndim,) float array
        Distance between voxels along each axis, in mm.

    Returns
    -------
    tuple of int
        The first, where several are as far.
    """
    padded = np.pad(region, 1)
    distance = ndimage.distance_transform_edt(padded, sampling=spacing)
    return tuple(int(i) - 1 for i in np.unravel_index(int(distance.argmax()), distance.shape))


def numbered_parts(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Return the connected parts of a mask by number, from 1 on, and how many there are; they may touch at corners.

    Those of a mask of strokes are the strokes.
    """
    parts, n = np.zeros(mask.shape, dtype=np.int32), 0
    for where in _apart(mask):
        found, n_found = ndimage.label(mask[where], np.ones((3,) * mask.ndim))
        parts[where] = np.where(found, found + np.int32(n), 0)
        n += int(n_found)
    return parts, n


def each_part(mask: NDArray[np.bool_]) -> Iterator[tuple[Region, NDArray[np.bool_]]]:
    """Yield the box around each connected part of a mask, and that part in it; see `numbered_parts`.

    Strokes that lie far apart cost little more than where they lie.
    """
    for where in _apart(mask):
        parts, n = ndimage.label(mask[where], np.ones((3,) * mask.ndim))
        for i, box in enumerate(ndimage.find_objects(parts) if n else (), 1):
            yield absolute(box, where), parts[box] == i


def _apart(mask: NDArray[np.bool_]) -> list[Region]:
    """Return boxes that hold all of a mask, with a slice between any two of them in which nothing is."""
    box = bounding_box(mask)
    if box is None:
        return []
    within = mask[box]
    for axis in range(mask.ndim):
        held = np.flatnonzero(within.any(tuple(a for a in range(mask.ndim) if a != axis)))
        ends = np.flatnonzero(np.diff(held) > 1)
        if len(ends):
            first, last = held[np.append(0, ends + 1)].tolist(), held[np.append(ends, -1)].tolist()
            sides = [
                (*box[:axis], slice(box[axis].start + a, box[axis].start + b + 1), *box[axis + 1 :])
                for a, b in zip(first, last, strict=True)
            ]
            return [absolute(part, side) for side in sides for part in _apart(mask[side])]
    return [box]


def parts_at(mask: NDArray[np.bool_], places: NDArray[np.bool_], *, over_corners: bool = False) -> NDArray[np.bool_]:
    """Return the connected parts of a mask that hold some places; all of it where none does.

    Parameters
    ----------
    mask, places : bool arrays of one shape
    over_corners : bool
        Whether voxels that touch at a corner hang together, too; else over faces (4 neighbours in 2-D, 6 in 3-D).

    Returns
    -------
    bool array of that shape
    """
    parts, _ = numbered_parts(mask) if over_corners else ndimage.label(mask)
    here = np.unique(parts[places & mask])
    return np.isin(parts, here) if here.size else mask


def with_rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return an object and what is as near to it as half of its radius, that of a disk or a ball of its size."""
    box = bounding_box(inside)
    if box is None:
        return np.zeros_like(inside)
    n = np.count_nonzero(inside)
    radius = np.sqrt(n / np.pi) if inside.ndim == 2 else (3 * n / (4 * np.pi)) ** (1 / 3)
    reach = max(MIN_RIM_VOXELS, 0.5 * float(radius))
    margin = int(reach) + 1
    near = grown(box, [margin] * inside.ndim, inside.shape)
    rim = np.zeros_like(inside)
    squared = _squared_by_shifts(inside[near], int(reach)) if reach <= MAX_SHIFTS else _squared_distance(inside[near])
    rim[near] = squared <= reach**2
    return rim


def _squared_distance(inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the squared distance of each voxel to a mask."""
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    squared = np.zeros((1,) * inside.ndim, dtype=np.int32)
    for index, own in zip(nearest, np.ogrid[tuple(slice(0, n) for n in inside.shape)], strict=True):
        squared = squared + (index - own.astype(np.int32)) ** 2
    return squared


def _squared_by_shifts(inside: NDArray[np.bool_], reach: int) -> NDArray[np.uint16]:
    """Return the squared distance of each voxel to a mask, one axis after the other; more than a reach if it is larger.

    For a few voxels that is three times as fast as where none is too far.
    """
    along = np.where(inside, np.uint16(0), np.uint16(reach + 1))
    for steps in (along, along[::-1]):
        for before, after in pairwise(steps):
            np.minimum(after, before + np.uint16(1), out=after)
    found = along**2
    for axis in range(1, inside.ndim):
        before = np.moveaxis(found, axis, 0)
        found = found.copy()
        after = np.moveaxis(found, axis, 0)
        for k in range(1, min(reach + 1, len(before))):
            there = before + np.uint16(k**2)
            np.minimum(after[k:], there[:-k], out=after[k:])
            np.minimum(after[:-k], there[k:], out=after[:-k])
    return found


def far_from(mask: NDArray[np.bool_], marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected parts of a mask that hold no mark; none where there is no mark in it.

    Parameters
    ----------
    mask, marked : bool arrays of one shape
        Voxels hang together over faces (4 neighbours in 2-D, 6 in 3-D).

    Returns
    -------
    bool array of that shape
    """
    return mask & ~parts_at(mask, marked)
