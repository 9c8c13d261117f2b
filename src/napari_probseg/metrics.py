"""Metrics of segmentations and of sets of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.images import checked_mask, checked_spacing

Mask = NDArray[np.bool_]


def dice(a: Mask, b: Mask) -> float:
    """Return the Dice overlap of two masks, 2 |A and B| / (|A| + |B|) (Dice 1945).

    Parameters
    ----------
    a, b : bool arrays of one shape
        The masks.

    Returns
    -------
    float
        In [0, 1]; 1 if both are empty.

    Raises
    ------
    ValueError
        If their shapes differ, or they hold more than a mask does.
    """
    a, b = _masks_of_one_shape(a, b)
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def iou(a: Mask, b: Mask) -> float:
    """Return the intersection over union of two masks, |A and B| / |A or B| (Jaccard 1901).

    Parameters
    ----------
    a, b : bool arrays of one shape
        The masks.

    Returns
    -------
    float
        In [0, 1]; 1 if both are empty.

    Raises
    ------
    ValueError
        If their shapes differ, or they hold more than a mask does.
    """
    a, b = _masks_of_one_shape(a, b)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def surface_distance(a: Mask, b: Mask, *, spacing: Sequence[float] | None = None, percentile: float = 95) -> float:
    """Return the symmetric distance between two surfaces, in mm: the larger of both directions' percentiles.

    Parameters
    ----------
    a, b : bool arrays of one shape
        The masks.
    spacing : sequence of float, optional
        Distance between voxels along each axis, in mm; 1 if absent.
    percentile : float
        95 is the HD95 that challenges report, 100 the Hausdorff distance.

    Returns
    -------
    float
        In mm; 0 if both are empty, infinite if one is.

    Raises
    ------
    ValueError
        If their shapes differ, or they hold more than a mask does.
    """
    a, b = _masks_of_one_shape(a, b)
    mm = checked_spacing(spacing, a.ndim)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else float("inf")
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    directed = []
    for one, other in (surfaces, surfaces[::-1]):
        distance = ndimage.distance_transform_edt(~other, sampling=mm)
        directed.append(float(np.percentile(distance[one], percentile)))
    return max(directed)


def generalized_energy_distance(samples: Sequence[Mask], readings: Sequence[Mask]) -> float:
    """Return the squared generalized energy distance between samples and valid readings, with d = 1 - IoU.

    ``2 E d(S, Y) - E d(S, S') - E d(Y, Y')`` (Székely & Rizzo 2013; Kohl et al. 2018, Eq. 4).

    Parameters
    ----------
    samples, readings : sequences of bool arrays of one shape
        What was drawn, and what would all be right.

    Returns
    -------
    float
        0 if both are the same distribution, at most 2.

    Raises
    ------
    ValueError
        If one of them is empty, or shapes differ.
    """
    return 2 * _mean_distance(samples, readings) - _mean_distance(samples, samples) - _mean_distance(readings, readings)


def mode_coverage(samples: Sequence[Mask], readings: Sequence[Mask], *, at_least: float = 0.8) -> float:
    """Return the share of the readings that some sample meets.

    Parameters
    ----------
    samples, readings : sequences of bool arrays of one shape
        What was drawn, and what would all be right.
    at_least : float
        The Dice from which on a sample meets a reading.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there is no reading, or shapes differ.
    """
    if not len(readings):
        raise ValueError("at least one reading is needed")
    return float(np.mean([max((dice(s, r) for s in samples), default=0.0) >= at_least for r in readings]))


def _mean_distance(first: Sequence[Mask], second: Sequence[Mask]) -> float:
    if not len(first) or not len(second):
        raise ValueError("at least one sample and one reading are needed")
    return float(np.mean([1 - iou(a, b) for a in first for b in second]))


def _masks_of_one_shape(a: Mask, b: Mask) -> tuple[Mask, Mask]:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"both masks must have one shape, got {np.shape(a)} and {np.shape(b)}")
    first, second = (checked_mask(mask, "what is compared").astype(bool, copy=False) for mask in (a, b))
    return first, second
