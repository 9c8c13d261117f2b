"""Synthetic data of Wong, Guttag & Dalca (2022), section 3: three disks, any subset of which may be meant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIZE = 32
GROWTH_OBJECT = (0.1, 0.28)  # how much more of the image's noise y_m takes than x_m: on the object ...
GROWTH_BACKGROUND = (0.02, 0.07)  # ... and beside it: samples then add as many pixels of both as the paper says


@dataclass(frozen=True)
class Disks:
    """Images of three disks.

    Parameters
    ----------
    image : (N, 32, 32) float32 array in [0, 1]
    disk : (N, 3, 32, 32) bool array
        Each disk; they may overlap.
    """

    image: NDArray[np.float32]
    disk: NDArray[np.bool_]

    def reading(self, i: int, subset: int) -> NDArray[np.bool_]:
        """Return the union of the disks whose bits are set in ``subset``, 1 to 7."""
        chosen = [bool(subset >> k & 1) for k in range(3)]
        return np.asarray(self.disk[i][chosen].any(0))


def make_disks(n: int, rng: np.random.Generator) -> Disks:
    """Return ``n`` images; radii, places and intensities are uniform."""
    y, x = np.mgrid[:SIZE, :SIZE]
    centre = rng.uniform(4, SIZE - 4, (n, 3, 2))
    radius = rng.uniform(6, 11, (n, 3))
    disk = np.hypot(y - centre[..., 0, None, None], x - centre[..., 1, None, None]) < radius[..., None, None]
    image = np.broadcast_to(rng.uniform(0, 1, (n, 1, 1)), (n, SIZE, SIZE)).copy()
    for k in range(3):
        image = np.where(disk[:, k], rng.uniform(0, 1, (n, 1, 1)), image)
    return Disks(image.astype(np.float32), disk)


def partial_pair(truth: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return x_m, x_s and y_m, y_s of a ground truth, (2, 32, 32) each, with x_m a part of y_m.

    Both masks are one smoothed noise above thresholds (as in SynthMorph, Hoffmann et al. 2022), so that y_m grows from
    x_m; on the object it grows by more than beside it.
    """
    noise = ndimage.gaussian_filter(rng.normal(size=truth.shape), rng.uniform(3, 5), mode="wrap")
    share = rng.uniform(0.03, 0.2)
    small, on_object, beside = (
        noise > np.quantile(noise, 1 - share - growth)
        for growth in (0.0, rng.uniform(*GROWTH_OBJECT), rng.uniform(*GROWTH_BACKGROUND))
    )
    return _masked(small, truth), _masked(np.where(truth, on_object, beside), truth)


def _masked(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.stack([mask, mask & truth]).astype(np.float32)
