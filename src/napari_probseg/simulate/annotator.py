"""A simulated annotator: one dab at a time, where the result is most wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

RADIUS_AT_256 = 3.0


def dab(
    result: NDArray[np.bool_], truth: NDArray[np.bool_], *, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return one brush dab as (inside, outside) masks, or None where the result is right.

    It lies at the voxel farthest from the border of the largest wrong region (the image's border counts as one, as in
    RITM, Sofiiuk et al. 2021), with a radius of 3 pixels in an image of 256, and is clipped to the true label.

    Parameters
    ----------
    result, truth : bool arrays of one shape
    spacing : sequence of float, optional
        Of the voxels, mm.
    """
    parts, n = ndimage.label(result != truth)
    if n == 0:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    mm = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    middle = deepest(largest, mm)
    wanted = truth == truth[middle]
    drawn = ball(truth.shape, middle, dab_radius(truth.shape, mm), mm) & wanted
    return drawn & truth, drawn & ~truth


def first_dabs(
    truth: NDArray[np.bool_], *, seed: int, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return one dab inside (the deepest place of the largest part) and one outside, near the object."""
    mm = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    first = dab(np.zeros_like(truth), truth, spacing=spacing)
    if first is None:
        raise ValueError("there is no object to mark: the label is empty")
    inside, radius = first[0], dab_radius(truth.shape, mm)
    distance = ndimage.distance_transform_edt(~truth, sampling=mm)
    width = max(3 * radius, 0.5 * float(np.sqrt(np.count_nonzero(truth) * mm.prod() / np.pi)))
    near = (distance > radius) & (distance <= radius + width)
    places = np.argwhere(near if near.any() else ~truth)
    if not len(places):
        return inside, np.zeros_like(truth)
    middle = tuple(places[np.random.default_rng(seed).integers(len(places))])
    return inside, ball(truth.shape, middle, radius, mm) & ~truth


def dab_radius(shape: tuple[int, ...], spacing: NDArray[np.float64]) -> float:
    """Return the radius of a dab in mm: 3 pixels where the image's largest side has 256."""
    return max(RADIUS_AT_256 / 256 * float((np.asarray(shape) * spacing).max()), 0.6 * float(spacing.min()))


def deepest(region: NDArray[np.bool_], spacing: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the voxel of a region that is farthest from its border."""
    padded = np.pad(region, 1)
    distance = ndimage.distance_transform_edt(padded, sampling=spacing)
    return tuple(int(i) - 1 for i in np.unravel_index(int(distance.argmax()), padded.shape))


def ball(
    shape: tuple[int, ...], middle: tuple[int, ...], radius: float, spacing: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the voxels within ``radius`` mm of a voxel."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squared = sum(((axis - m) * mm) ** 2 for axis, m, mm in zip(axes, middle, spacing, strict=True))
    return np.asarray(squared <= radius**2)
