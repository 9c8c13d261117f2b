"""Classifier of the inside of examples against their surroundings: a ridge logistic regression on features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.similar.examples import Example
from napari_probseg.similar.features import Features
from napari_probseg.unaries.pixel_classifier import logistic_regression

MAX_DEVIATIONS = 5.0  # from the mean, at which a feature is clipped
SIDE_WEIGHT_VOXELS = 50.0  # of each side of an example, in voxels
WEIGHT_UNKNOWN = 0.1  # of what is neither, over that: most of an image is background, but not all of it
RIDGE_PENALTY = 3.0
MAX_ROWS = 160  # voxels of each side of an example
CORE_RADIUS_RATIO = 0.15  # of its radius: its border belongs to neither side
RIM_RADIUS_RATIO = 0.8  # of its radius, how far its surroundings reach


@dataclass(frozen=True, eq=False)
class Scale:
    """Mean and deviation of features over an image, (F,) each: features are compared in these units."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, features: Sequence[Features]) -> Scale:
        """Return those of some parts of an image, (F, ...) each."""
        rows = np.concatenate([f.reshape(len(f), -1) for f in features], 1)
        deviation = rows.std(1)
        return cls(rows.mean(1), np.maximum(deviation, max(1e-6 * float(deviation.max()), 1e-12)))

    def __call__(self, rows: Features) -> Features:
        """Return features, (F, ...), in these units."""
        ones = (-1, *[1] * (rows.ndim - 1))
        scaled = (rows - self.mean.reshape(ones)) / self.deviation.reshape(ones)
        return np.asarray(np.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Classifier:
    """Log-odds of inside, linear in the features.

    Parameters
    ----------
    slope : (F,) float32 array
    offset : float
    """

    slope: NDArray[np.float32]
    offset: float

    def __call__(self, features: Features) -> NDArray[np.float32]:
        """Return the log-odds of each place, (...), of (F, ...)."""
        return np.asarray(np.tensordot(self.slope, features, 1) + np.float32(self.offset), dtype=np.float32)

    @classmethod
    def of(
        cls, examples: Sequence[Example], against: Sequence[NDArray[np.float32]], unknown: NDArray[np.float32]
    ) -> Classifier:
        """Learn from examples.

        Parameters
        ----------
        examples : sequence of Example
        against : sequence of (N, F) arrays
            Of what is not meant: skipped objects, and finished ones of other kinds. Each counts as much as an example.
        unknown : (N, F) array
            Of places of which nothing is known.
        """
        rows: list[NDArray[np.float32]] = []
        targets: list[NDArray[np.float64]] = []
        weights: list[NDArray[np.float64]] = []

        def add(seen: NDArray[np.float32], target: float, weight: float) -> None:
            if len(seen):
                rows.append(seen)
                targets.append(np.full(len(seen), target))
                weights.append(np.full(len(seen), weight / len(seen)))

        for example in examples:
            add(example.inside, 1.0, SIDE_WEIGHT_VOXELS)
            add(example.outside, 0.0, SIDE_WEIGHT_VOXELS)
        for seen in against:
            add(seen, 0.0, SIDE_WEIGHT_VOXELS)
        add(unknown, 0.0, SIDE_WEIGHT_VOXELS * WEIGHT_UNKNOWN * len(examples))
        slope, offset = logistic_regression(
            np.concatenate(rows).astype(np.float64),
            np.concatenate(targets),
            np.concatenate(weights),
            ridge=RIDGE_PENALTY,
        )
        return cls(slope.astype(np.float32), offset)


def sides(
    features: Features, share: NDArray[np.float32], taken: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the features of places in an object and around it, (N, F) each.

    Parameters
    ----------
    features : (F, ...) array
    share : (...) array
        Of the object in each place.
    taken : (...) array
        Of all finished objects: they are no surroundings.
    """
    inside = share > 0.5 if (share > 0.5).any() else share >= max(1e-6, float(share.max()))
    n = np.count_nonzero(inside)
    radius = max(1.5, float(np.sqrt(n / np.pi) if share.ndim == 2 else np.cbrt(3 * n / (4 * np.pi))))
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[(slice(1, -1),) * share.ndim]
    away = ndimage.distance_transform_edt(~inside)
    core = inside & (depth > max(0.8, CORE_RADIUS_RATIO * radius))
    rim = (away > max(0.8, CORE_RADIUS_RATIO * radius)) & (away <= max(2.0, RIM_RADIUS_RATIO * radius)) & (taken < 0.2)
    return _rows(features, core if core.any() else inside), _rows(features, rim)


def _rows(features: Features, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows = features[:, chosen].T
    return np.ascontiguousarray(rows[:: -(-len(rows) // MAX_ROWS)] if len(rows) else rows)
