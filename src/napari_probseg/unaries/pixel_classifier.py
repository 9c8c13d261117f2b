"""Pixel classifier: logistic regression on multi-scale features of the strokes."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_probseg.morphology import numbered_parts

SCALES_VOXELS = (0.7, 6.0, 4)  # of the Gaussians in voxels: the finest, the coarsest, how many
SCALE_POWER = {1: 0.5, 2: 0.5, 3: 0.0}  # of the scale, by axes, with which a feature counts for less: in images coarse
# ones tell little but where the few first strokes lie
MAX_DEVIATIONS = 5.0  # standard deviations from the mean at which a feature is clipped
RIDGE_PENALTY = 3.0
WEIGHT_PER_STROKE = 5.0  # of each label's strokes, times the number of strokes
MAX_VOXELS_PER_LABEL = 20_000  # voxels of each label that are learnt from
MAX_NEWTON_STEPS, TOLERANCE = 20, 1e-4
MAX_REST_VOXELS = 3000  # unmarked voxels that are learnt from as outside ...
REST_SHARE = 0.8  # ... and how much of the weight of what is outside is theirs, where something is marked there, too
N_REST_ROUNDS = 2  # how often it is learnt; after the first, those that look like the object are believed less

Features = NDArray[np.float32]
Mask = NDArray[np.bool_]
Lesson = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # features, label and weight of voxels

_seen: dict[int, Features] = {}  # of the latest image of all: seconds of work, and large


def seen_features(image: NDArray[np.float32]) -> Features:
    """Return `features_of` an image; those of the latest one are kept.

    Raises
    ------
    ValueError
        If the image is constant.
    """
    key = crc32(np.ascontiguousarray(image).view(np.uint8).data, hash(image.shape) & 0xFFFFFFFF)
    found = _seen.get(key)
    if found is None:
        _seen.clear()  # one at a time
        found = _seen[key] = features_of(image)
    return found


def features_of(image: NDArray[np.float32]) -> Features:
    """Return what each voxel of (C, ...) looks like, (F, ...): features of mean 0, and their squares less their mean.

    Of each channel at each scale: the smoothed intensity, the strength of its edges, and the eigenvalues of its Hessian
    (`skimage.feature.multiscale_basic_features`). In images their deviation falls with the root of the scale, and
    is 1 in the mean of squares; in volumes it is 1.

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
    features = np.clip(values, -MAX_DEVIATIONS, MAX_DEVIATIONS).reshape(len(flat), n, -1, *image.shape[1:])
    both = np.stack([features, features**2 - 1])  # (2, C, n, kinds of features, ...)
    weight = np.geomspace(low, high, n) ** -SCALE_POWER[flat.ndim - 1]
    weight = (weight / np.sqrt(np.mean(weight**2))).astype(np.float32)
    both *= weight.reshape(-1, *[1] * (both.ndim - 3))
    return both.reshape(-1, *image.shape[1:])


def probability(features: Features, inside: Mask, outside: Mask) -> NDArray[np.float32]:
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
    weight = WEIGHT_PER_STROKE * (_n_strokes(inside) + _n_strokes(outside))
    return _said(
        features,
        *logistic_regression(*_joined(_lesson(features, outside, 0, weight), _lesson(features, inside, 1, weight))),
    )


def likeness(
    features: Features, inside: Mask, outside: Mask, guess: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return how much each voxel looks like the strokes inside and unlike all that is not marked, in [0, 1].

    Strokes outside show little of what surrounds an object; where that is rare, nearly all that is unmarked does. So
    unmarked voxels count as outside, too, the less the likelier they are object by a guess. It learns from positive and
    unlabelled data (Elkan & Noto 2008), in rounds in which what looks like object is believed less.

    Parameters
    ----------
    features : (F, ...) float32 array
        See `features_of`.
    inside, outside : bool array of the spatial shape
        The first is not empty.
    guess : float32 array of the spatial shape, optional
        The probability of object; 0 everywhere if absent.
    """
    return _said(features, *_taught(features, inside, outside, guess))


def foresight(features: Features, inside: Mask, outside: Mask) -> float:
    """Return how well `likeness` foretells half of the strokes from the others: 1 always, 0 no better than chance.

    Each side counts alike. Every second stroke is hidden, then the others.

    Parameters
    ----------
    features : (F, ...) float32 array
        See `features_of`.
    inside, outside : bool array of the spatial shape
        With fewer than two strokes inside, or none outside, nothing is foretold: 0.
    """
    strokes = [numbered_parts(inside), numbered_parts(outside)]
    if strokes[0][1] < 2 or not strokes[1][1]:
        return 0.0
    shares: list[list[float]] = [[], []]
    for half in (0, 1):
        shown = [(number > 0) & (number % 2 == half) for number, _ in strokes]
        slope, offset = _taught(features, shown[0], shown[1], None)
        for side, (number, n) in enumerate(strokes):
            for i in range(1 + half, n + 1, 2):
                is_inside = slope @ features[:, number == i] + offset > 0
                shares[side].append(float(np.mean(is_inside if side == 0 else ~is_inside)))
    return max(0.0, float(np.mean(shares[0]) + np.mean(shares[1])) - 1)


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


def _taught(
    features: Features, inside: Mask, outside: Mask, guess: NDArray[np.float32] | None
) -> tuple[NDArray[np.float64], float]:
    """Return slope and offset of the regression of `likeness`."""
    weight = WEIGHT_PER_STROKE * (_n_strokes(inside) + _n_strokes(outside))
    share = REST_SHARE if outside.any() else 1.0
    marked = [_lesson(features, inside, 1, weight)]
    if outside.any():
        marked.append(_lesson(features, outside, 0, weight * (1 - share)))
    free = np.flatnonzero(~(inside | outside))
    free = np.random.default_rng(0).choice(free, min(MAX_REST_VOXELS, len(free)), replace=False)
    rest = features.reshape(len(features), -1)[:, free].T.astype(np.float64)
    doubt = 1.0 + 1e-4 - (np.zeros(len(free)) if guess is None else guess.ravel()[free].astype(np.float64))
    trust, slope, offset = doubt, np.zeros(len(features)), 0.0
    for _ in range(N_REST_ROUNDS):
        unlabelled = (rest, np.zeros(len(rest)), weight * share * trust / max(trust.sum(), 1e-4))
        slope, offset = logistic_regression(*_joined(*marked, unlabelled))
        trust = doubt * expit(-(rest @ slope + offset))
    return slope, offset


def _lesson(features: Features, mask: Mask, label: int, weight: float) -> Lesson:
    """Return what is learnt from the voxels of a mask, whose weights sum to ``weight``."""
    every = features[:, mask].T
    seen = np.asarray(every[:: max(1, len(every) // MAX_VOXELS_PER_LABEL)], dtype=np.float64)
    return seen, np.full(len(seen), float(label)), np.full(len(seen), weight / len(seen))


def _joined(*lessons: Lesson) -> Lesson:
    x, y, weight = (np.concatenate(parts) for parts in zip(*lessons, strict=True))
    return x, y, weight


def _said(features: Features, slope: NDArray[np.float64], offset: float) -> NDArray[np.float32]:
    odds = np.tensordot(slope.astype(np.float32), features, 1) + np.float32(offset)
    return np.asarray(expit(odds), dtype=np.float32)


def _n_strokes(mask: Mask) -> int:
    return numbered_parts(mask)[1]
