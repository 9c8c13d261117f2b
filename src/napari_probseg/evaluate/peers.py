"""Peers: classical interactive segmentation methods, from a case to a mask.

They need the extra ``peers``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from skimage.filters import sobel
from skimage.segmentation import random_walker, watershed

from napari_probseg.case import Case, Marker
from napari_probseg.geodesic import geodesic_distance
from napari_probseg.graph_cut import cut
from napari_probseg.unaries.histogram import Codes

GRABCUT_ROUNDS = 3  # more hardly change its answer
EDGE, EDGE_OF_CUT = 120.0, 30.0  # voxels of way that one standard deviation counts as; chosen on training parts
Mask = NDArray[np.bool_]
Answer = Callable[[Case], Mask]


def by_watershed(case: Case) -> Mask:
    """Flood the largest gradient of the channels, smoothed a little, from the strokes (Beucher & Meyer 1993)."""
    edges = np.max([sobel(ndimage.gaussian_filter(channel, 1)) for channel in channels(case)], axis=0)
    return np.asarray(watershed(edges, case.partial) == Marker.OBJECT)


def by_random_walker(case: Case) -> Mask:
    """Ask which strokes a random walker reaches first (Grady 2006)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what no walker reaches, and of the solver's tolerance
        reached = random_walker(
            np.moveaxis(channels(case), 0, -1),
            case.partial,
            beta=130,
            mode="cg_mg" if find_spec("pyamg") else "cg_j",  # several times as fast, to the same answer
            channel_axis=-1,
            spacing=np.asarray(case.spacing),
        )
    return np.asarray(reached == Marker.OBJECT)


def by_geodesic(case: Case) -> Mask:
    """Give each voxel to the strokes that are nearer by geodesic distance (Bai & Sapiro 2007)."""
    inside, outside = _geodesics(case, EDGE)
    return inside < outside


def by_geodesic_cut(case: Case) -> Mask:
    """Cut a graph with the geodesic distances as probabilities (Price et al. 2010)."""
    inside, outside = _geodesics(case, EDGE_OF_CUT)
    return cut(outside / np.maximum(inside + outside, 1e-9), case)


def by_histogram_cut(case: Case) -> Mask:
    """Cut a graph with the histograms of the strokes, once (Boykov & Jolly 2001)."""
    codes = Codes.of(case.read())
    return cut(codes.probability(case.partial == Marker.OBJECT, case.partial == Marker.BACKGROUND), case)


def by_grabcut(case: Case) -> Mask:
    """Fit mixtures of colours and cut, in turn (Rother et al. 2004), from a guess near the strokes inside."""
    import cv2

    image = (255 * channels(case)).astype(np.uint8)
    colours = np.ascontiguousarray(np.moveaxis(image if len(image) == 3 else np.repeat(image[:1], 3, 0), 0, -1))
    near = ndimage.distance_transform_edt(case.partial != Marker.OBJECT) < 0.1 * max(case.shape)
    guess = np.where(near, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[case.partial == Marker.OBJECT] = cv2.GC_FGD
    guess[case.partial == Marker.BACKGROUND] = cv2.GC_BGD
    with suppress(cv2.error):  # one of the two mixtures has no voxel: the guess stays
        cv2.grabCut(colours, guess, None, np.zeros((1, 65)), np.zeros((1, 65)), GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD))


def by_random_forest(case: Case) -> Mask:
    """Classify each voxel by its neighbourhood at several scales, learnt from the strokes (as ilastik does)."""
    from sklearn.ensemble import RandomForestClassifier

    image = np.moveaxis(channels(case), 0, -1)
    features = multiscale_basic_features(image, sigma_min=1, sigma_max=8, channel_axis=-1)
    known = case.partial != Marker.UNKNOWN
    forest = RandomForestClassifier(50, max_depth=10, random_state=0, n_jobs=1)
    forest.fit(features[known], case.partial[known])
    answer = forest.predict(features.reshape(-1, features.shape[-1])).reshape(case.shape)
    return np.asarray(answer == Marker.OBJECT)


def instances_by_forest(case: Case, marks: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return objects by a random forest of the strokes' pixels, parted by a watershed of the distance to the border.

    Parameters
    ----------
    case : Case
    marks : uint8 array of the spatial shape
        A `Marker` for every voxel.
    """
    from skimage.feature import peak_local_max
    from sklearn.ensemble import RandomForestClassifier

    features = _forest_features(case)
    forest = RandomForestClassifier(50, max_depth=10, n_jobs=1, random_state=0)
    marked = marks > 0
    forest.fit(features[marked], marks[marked])
    probability = forest.predict_proba(features.reshape(-1, features.shape[-1]))
    inside = probability[:, list(forest.classes_).index(Marker.OBJECT)].reshape(marks.shape) > 0.5
    inside = ndimage.binary_opening(inside)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1.0)
    markers = np.zeros(marks.shape, dtype=np.int32)
    peaks = peak_local_max(depth, min_distance=4, labels=ndimage.label(inside)[0])
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, markers, mask=inside), dtype=np.int32)


_features: tuple[Case, NDArray[Any]] | None = None  # of the latest image: all strokes on it share them


def _forest_features(case: Case) -> NDArray[Any]:
    global _features
    if _features is None or _features[0] is not case:
        found = multiscale_basic_features(case.read(), sigma_min=1, sigma_max=8, channel_axis=0)
        _features = case, found
    return _features[1]


def flooding(answer: Answer) -> Answer:
    """Return a method that gives everything to the only kind of stroke there is, for one that needs both."""

    def careful(case: Case) -> Mask:
        kinds = set(np.unique(case.partial).tolist()) - {Marker.UNKNOWN}
        return answer(case) if len(kinds) == 2 else np.full(case.shape, kinds == {Marker.OBJECT})

    return careful


PEERS: dict[str, Answer] = {
    "watershed": flooding(by_watershed),
    "random walker": flooding(by_random_walker),
    "geodesic": flooding(by_geodesic),
    "geodesic cut": flooding(by_geodesic_cut),
    "histogram cut": flooding(by_histogram_cut),
    "GrabCut": by_grabcut,
    "random forest": flooding(by_random_forest),
}


def channels(case: Case) -> NDArray[np.float32]:
    """Return the image from 0 to 1 in each channel, (C, ...)."""
    image = case.read()
    axes = tuple(range(1, image.ndim))
    low, high = image.min(axes, keepdims=True), image.max(axes, keepdims=True)
    return np.asarray((image - low) / np.where(high > low, high - low, 1), dtype=np.float32)


def _geodesics(case: Case, edge: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the distance to the strokes inside, and to those outside."""
    image = channels(case)
    image = image / max(float(image.std()), 1e-6)
    inside, outside = (
        geodesic_distance(
            image,
            case.partial == marker,
            spacing=case.spacing,
            edge_weight=edge * float(np.mean(case.spacing or 1)),
            n_rounds=3,
        )
        for marker in (Marker.OBJECT, Marker.BACKGROUND)
    )
    return inside, outside
