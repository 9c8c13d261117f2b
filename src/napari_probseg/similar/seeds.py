"""Seeds: where objects may lie and how large they are, as maxima over place and scale of what looks like inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MIN_RESPONSE = 0.1
RADIUS_RATIOS = (0.7, 1.0, 1.4)  # of the radii that are looked for, over those of the examples
MAX_RADIUS_RATIO = 2.0  # ratio by which radii reach beyond the typical one, where the examples differ as much
MAX_SEEDS = 400  # in one tile: as many as there is room for objects that touch
MIN_SEED_DISTANCE_RATIO = 0.6  # of the smaller radius, within which two seeds of like radii are one
MAX_RATIO_ALIKE = 1.9


@dataclass(frozen=True)
class Seed:
    """A place on the grid.

    Parameters
    ----------
    place : tuple of int
    radius : float
        In samples.
    response : float
        How much it stands out, about 1 for a clear object.
    """

    place: tuple[int, ...]
    radius: float
    response: float


def radii_of(diameters: Sequence[float], step: float) -> list[float]:
    """Return the radii to look for, in samples, when examples have these diameters and samples are ``step`` apart."""
    radii = np.asarray(diameters, dtype=float) / 2 / step
    middle = float(np.median(radii))
    low, high = (
        float(np.clip(q, middle / MAX_RADIUS_RATIO, middle * MAX_RADIUS_RATIO)) for q in np.quantile(radii, (0.1, 0.9))
    )
    wanted = [low * RADIUS_RATIOS[0], *(middle * ratio for ratio in RADIUS_RATIOS), high * RADIUS_RATIOS[-1]]
    found: list[float] = []
    for radius in sorted(wanted):
        if not found or radius > 1.2 * found[-1]:
            found.append(radius)
    return found


def seeds_of(inside: NDArray[np.float32], radii: Sequence[float]) -> list[Seed]:
    """Return seeds, those that stand out most first.

    Differences of Gaussians over scales (Lowe 2004) of how likely each place is inside.

    Parameters
    ----------
    inside : (...) float32 array
        In [0, 1]; 0 where there is an object already.
    radii : sequence of float
        In samples, rising.
    """
    stack = np.stack([_response(inside, radius) for radius in radii])
    found = []
    for i, radius in enumerate(radii):
        here = stack[i]
        is_peak = (here > MIN_RESPONSE) & (here == ndimage.maximum_filter(here, max(3, int(radius) | 1)))
        for other in stack[max(0, i - 1) : i + 2]:
            is_peak &= here >= 0.9 * ndimage.maximum_filter(other, 3)
        found += [Seed(tuple(map(int, p)), radius, float(here[tuple(p)])) for p in np.argwhere(is_peak)]
    found.sort(key=lambda seed: -seed.response)
    kept: list[Seed] = []
    for seed in found:
        if len(kept) == MAX_SEEDS:
            break
        if not any(_is_one(seed, other) for other in kept):
            kept.append(seed)
    return kept


def _response(inside: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    near, far = (ndimage.gaussian_filter(inside, s * radius, truncate=3.0) for s in (0.5, 1.0))
    return np.asarray((near - far) / (0.35 if inside.ndim == 2 else 0.5), dtype=np.float32)


def _is_one(a: Seed, b: Seed) -> bool:
    ratio = max(a.radius, b.radius) / min(a.radius, b.radius)
    squared = sum((i - j) ** 2 for i, j in zip(a.place, b.place, strict=True))
    return ratio < MAX_RATIO_ALIKE and squared <= (MIN_SEED_DISTANCE_RATIO * min(a.radius, b.radius)) ** 2
