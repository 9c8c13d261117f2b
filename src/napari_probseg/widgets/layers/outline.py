"""Outline of a mask on the planes that the canvas shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def outline(inside: NDArray[np.bool_], axes: Sequence[int], thickness: int = 1) -> NDArray[np.bool_]:
    """Return the voxels of a mask that lie at its border, on each plane along two axes; outside of the array is none.

    Parameters
    ----------
    inside : bool array
    axes : two ints
        The axes of the planes.
    thickness : int
        How many voxels wide.
    """
    core = inside
    for _ in range(thickness):
        core = _eroded(core, axes)
    return inside & ~core


def _eroded(inside: NDArray[np.bool_], axes: Sequence[int]) -> NDArray[np.bool_]:
    """Return the voxels of which all four neighbours on the plane are in the mask; those at the rim have fewer."""
    core = inside.copy()
    for axis in axes:
        here, there = np.swapaxes(core, 0, axis), np.swapaxes(inside, 0, axis)  # views
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
    return core
