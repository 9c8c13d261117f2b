"""Seeded-watershed prior on a probability map (Meyer 1994)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from napari_probseg.case import Marker
from napari_probseg.strokes import n_strokes

MIN_STROKES = 3  # strokes; fewer flood the image at random
WEIGHT_LOG_ODDS = 2.0  # in log-odds; chosen on training parts
MIN_PROBABILITY = 1e-3  # what no probability is below, so that it can be moved


def with_flood(
    probability: NDArray[np.float32], image: NDArray[np.float32], markers: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return probabilities of object moved by `WEIGHT_LOG_ODDS` towards the side that the strokes flood (Meyer 1994).

    Where a network is sure it is as before; where it is not, strokes count that it does not heed. They stay as they are
    with fewer than `MIN_STROKES` strokes, or with strokes on one side alone.

    Parameters
    ----------
    probability : float32 array of the spatial shape
    image : (C, ...) float32 array
        The strongest edge of its channels counts.
    markers : uint8 array of the spatial shape
        A `Marker` for every voxel.

    Returns
    -------
    float32 array of the spatial shape
        In [0, 1].
    """
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    n_inside, n_outside = n_strokes(markers)
    if min(n_inside, n_outside) == 0 or n_inside + n_outside < MIN_STROKES:
        return probability
    edges = np.max([sobel(channel) for channel in image], axis=0)
    side = np.where(watershed(edges, markers.astype(np.int32)) == Marker.OBJECT, WEIGHT_LOG_ODDS, -WEIGHT_LOG_ODDS)
    p = np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return np.asarray(expit(logit(p) + side), dtype=np.float32)
