"""Regions of an image: boxes of voxels as tuples of slices."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Region: TypeAlias = tuple[slice, ...]


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


def hull(*boxes: Region) -> Region:
    """Return the smallest box that holds some boxes, of which empty ones do not count."""
    boxes = tuple(box for box in boxes if all(s.stop > s.start for s in box)) or boxes[:1]
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*boxes, strict=True))


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
