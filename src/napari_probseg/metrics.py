"""Metrics of segmentations and of sets of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def dice(a: Mask, b: Mask) -> float:
    """Return the Dice overlap of two masks of one shape; 1 if both are empty."""
    _check_same_shape(a, b)
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def iou(a: Mask, b: Mask) -> float:
    """Return the intersection over union of two masks of one shape; 1 if both are empty."""
    _check_same_shape(a, b)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def surface_distance(a: Mask, b: Mask, *, spacing: Sequence[float] | None = None, percentile: float = 95) -> float:
    """Return the symmetric distance between two surfaces, in mm: the larger of both directions' percentiles.

    Parameters
    ----------
    a, b : bool arrays of one shape
    spacing : sequence of float, optional
        Of the voxels, mm.
    percentile : float
        95 is the HD95 that challenges report, 100 the Hausdorff distance.

    Returns
    -------
    float
        0 if both are empty, infinite if one is.
    """
    _check_same_shape(a, b)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else float("inf")
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    directed = []
    for one, other in (surfaces, surfaces[::-1]):
        distance = ndimage.distance_transform_edt(~other, sampling=spacing)
        directed.append(float(np.percentile(distance[one], percentile)))
    return max(directed)


def generalized_energy_distance(samples: Sequence[Mask], readings: Sequence[Mask]) -> float:
    """Return the squared generalized energy distance between samples and valid readings, with d = 1 - IoU.

    ``2 E d(S, Y) - E d(S, S') - E d(Y, Y')`` (Székely & Rizzo 2013; Kohl et al. 2018, Eq. 4).
    """
    return 2 * _mean_distance(samples, readings) - _mean_distance(samples, samples) - _mean_distance(readings, readings)


def mode_coverage(samples: Sequence[Mask], readings: Sequence[Mask], *, at_least: float = 0.8) -> float:
    """Return the share of the readings that some sample meets with a Dice of ``at_least``."""
    if not len(readings):
        raise ValueError("at least one reading is needed")
    return float(np.mean([max((dice(s, r) for s in samples), default=0.0) >= at_least for r in readings]))


def _mean_distance(first: Sequence[Mask], second: Sequence[Mask]) -> float:
    if not len(first) or not len(second):
        raise ValueError("at least one sample and one reading are needed")
    return float(np.mean([1 - iou(a, b) for a in first for b in second]))


def _check_same_shape(a: Mask, b: Mask) -> None:
    if a.shape != b.shape:
        raise ValueError(f"both masks must have one shape, got {a.shape} and {b.shape}")
