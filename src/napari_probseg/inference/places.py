"""Coarser grids of places that masks of a region of an image are looked at on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Marker
from napari_probseg.region import indices_of

MAX_PLACES = 400_000  # of a grid

Mask = NDArray[np.bool_]


def grid_of(shape: tuple[int, ...], most: int | None = None) -> tuple[int, ...]:
    """Return the shape of the grid that a region of a shape is looked at on: of ``most`` places, or `MAX_PLACES`."""
    shrink = min(1.0, math.sqrt((most or MAX_PLACES) / math.prod(shape)))
    return tuple(max(1, int(n * shrink)) for n in shape)


def on_grid(mask: Mask, grid: tuple[int, ...]) -> Mask:
    """Return a mask on a coarser grid, where the smallest mark survives."""
    found = np.zeros(grid, dtype=bool)
    places = [at * n // m for at, n, m in zip(indices_of(mask), grid, mask.shape, strict=True)]
    found[tuple(places)] = True
    return found


def sampled(mask: Mask, grid: tuple[int, ...]) -> Mask:
    """Return a mask on a coarser grid, one place for each of its own."""
    return mask[np.ix_(*(np.arange(m) * n // m for n, m in zip(mask.shape, grid, strict=True)))]


def corrections(is_shown: Mask, strokes: NDArray[np.uint8], grid: tuple[int, ...]) -> tuple[Mask, Mask]:
    """Return what strokes inside say that an object on show missed, and strokes outside that it flooded, on a grid."""
    missed, flooded = (strokes == Marker.OBJECT) & ~is_shown, (strokes == Marker.BACKGROUND) & is_shown
    return on_grid(missed, grid), on_grid(flooded, grid)
