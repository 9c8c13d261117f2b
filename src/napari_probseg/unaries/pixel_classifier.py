"""Pixel classifier: logistic regression on multi-scale features of the strokes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

SCALES_VOXELS = (0.7, 6.0, 4)  # of the Gaussians in voxels: the finest, the coarsest, how many
MAX_DEVIATIONS = 5.0  # standard deviations from the mean at which a feature is clipped
RIDGE_PENALTY = 3.0
WEIGHT_PER_STROKE = 5.0  # of each label's strokes, times the number of strokes
MAX_VOXELS_PER_LABEL = 20_000  # voxels of each label that are learnt from
MAX_NEWTON_STEPS, TOLERANCE = 20, 1e-4

Features = NDArray[np.float32]


def features_of(image: NDArray[np.float32]) -> Features:
    """Return what each voxel of (C, ...) looks like, (F, ...): features of mean 0 and deviation 1, and their squares.

    Of each channel at each scale: the smoothed intensity, the strength of its edges, and the eigenvalues of its Hessian
    (`skimage.feature.multiscale_basic_features`).

    Raises
    ------
    ValueError
        If the image is constant.
    """
    from skimage.feature import multiscale_basic_features

    if np.ptp(image) == 0:
        raise ValueError(f"the image is constant ({image.flat[0]:g} everywhere): nothing looks like anything there")
    low, high, n = SCALES_VOXELS
    flat = np.squeeze(image, tuple(axis for axis in range(1, image.ndim) if image.shape[axis] == 1))
    flat = np.ldexp(flat, -int(np.frexp(np.ptp(flat))[1]))  # no rounding, and no square of what is tiny becomes 0
    found = multiscale_basic_features(flat, sigma_min=low, sigma_max=high, num_sigma=n, channel_axis=0)
    values = np.asarray(found, dtype=np.float32).reshape(-1, found.shape[-1]).T
    deviation = values.std(1, keepdims=True)
    floor = max(1e-6 * float(deviation.max()), float(np.finfo(np.float32).tiny))  # below that it is rounding
    values = (values - values.mean(1, keepdims=True)) / np.maximum(deviation, floor)
    features = np.clip(values, -MAX_DEVIATIONS, MAX_DEVIATIONS).reshape(-1, *image.shape[1:])
    return np.concatenate([features, features**2 - 1])


def probability(features: Features, inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how likely each voxel is object, in [0, 1], by a logistic regression on two masks of strokes.

    Both labels weigh the same, and the more the more strokes there are.

    Parameters
    ----------
    features : (F, ...) float32 array
        See `features_of`.
    inside, outside : bool array of the spatial shape
        Neither is empty.

    Returns
    -------
    float32 array of the spatial shape
    """
    n_strokes = sum(ndimage.label(mask, np.ones((3,) * mask.ndim))[1] for mask in (inside, outside))
    x, y, weight = [], [], []
    for mask, label in ((outside, 0.0), (inside, 1.0)):
        seen = features[:, mask].T
        seen = seen[:: max(1, len(seen) // MAX_VOXELS_PER_LABEL)].astype(np.float64)
        x.append(seen)
        y.append(np.full(len(seen), label))
        weight.append(np.full(len(seen), WEIGHT_PER_STROKE * n_strokes / len(seen)))
    slope, offset = logistic_regression(np.concatenate(x), np.concatenate(y), np.concatenate(weight))
    odds = np.tensordot(slope.astype(np.float32), features, 1) + np.float32(offset)
    return np.asarray(expit(odds), dtype=np.float32)


def logistic_regression(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    ridge: float = RIDGE_PENALTY,
    start: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Return slope, (F,), and offset of a logistic regression with a ridge penalty, by Newton's method.

    Parameters
    ----------
    x : (N, F) array
    y : (N,) array
        In [0, 1].
    weight : (N,) array
    ridge : float
        Of the slope's difference from where it starts.
    start : (F + 1,) array, optional
        Slope and offset to stay near to; the slope's zero if absent, the offset being free.
    """
    x = np.column_stack([x, np.ones(len(x))])
    penalty = np.full(x.shape[1], ridge)
    if start is None:
        penalty[-1] = 1e-3
    prior = np.zeros(x.shape[1]) if start is None else start
    b = prior.copy()
    for _ in range(MAX_NEWTON_STEPS):
        p = expit(x @ b)
        gradient = x.T @ (weight * (p - y)) + penalty * (b - prior)
        hessian = (x.T * (weight * p * (1 - p))) @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        b -= step
        if np.abs(step).max() < TOLERANCE:
            break
    return b[:-1], float(b[-1])
