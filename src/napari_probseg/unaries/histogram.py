"""Histogram unary: P(object) from the intensities under the strokes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq

N_CODES = 64
N_SAMPLE = 20_000
SHARE_SPREAD = 0.02  # share of each histogram that is spread evenly, so that no intensity is impossible


@dataclass(frozen=True, eq=False)
class Codes:
    """An image in few intensities, or colours, that are near each other or far apart.

    Parameters
    ----------
    code : integer array of the region's spatial shape
        Which one each voxel has.
    kernel : (N, N) float array
        How alike they are; each row sums to 1.
    """

    code: NDArray[np.integer[Any]]
    kernel: NDArray[np.float64]

    @classmethod
    def of(cls, image: NDArray[np.float32]) -> Codes:
        """Return the codes of a channels-first image, (C, ...).

        One channel is cut into steps between its 0.5th and 99.5th percentile. Several are told apart by k-means (always
        of one seed), or colour by colour if there are no more of them than codes.

        Raises
        ------
        ValueError
            If the image is constant.
        """
        flat = image.reshape(len(image), -1)
        low, high = np.percentile(flat, (0.5, 99.5), axis=1)
        if (high <= low).all():
            low, high = flat.min(1), flat.max(1)
        if (high <= low).all():
            raise ValueError(f"the image is constant ({flat[0, 0]:g} everywhere): its intensities tell nothing apart")
        scaled = (np.clip(flat.T, low, high) - low) / np.maximum(high - low, 1e-12)  # (voxels, C)
        if len(image) == 1:
            code = np.minimum((scaled[:, 0] * N_CODES).astype(np.uint8), N_CODES - 1)
            centres = (np.arange(N_CODES)[:, None] + 0.5) / N_CODES
        else:
            sample = scaled[:: max(1, len(scaled) // N_SAMPLE)]
            colours = np.unique(sample, axis=0)
            if 1 < len(colours) <= N_CODES:
                centres = colours
            else:
                centres, _ = kmeans2(sample, N_CODES, iter=8, minit="++", seed=0)
            code = vq(scaled, centres)[0].astype(np.uint8)
        return cls(code.reshape(image.shape[1:]), _kernel(centres))

    def probability(self, inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return how likely each voxel is object, from the histograms of two masks; no prior but these.

        Parameters
        ----------
        inside, outside : bool arrays of the region's spatial shape
            An empty one has an even histogram.

        Returns
        -------
        float32 array of the region's spatial shape
            ``H_inside / (H_inside + H_outside)`` at each voxel's code, in [0, 1].
        """
        of_object, of_background = (self._histogram(mask) for mask in (inside, outside))
        return np.asarray((of_object / (of_object + of_background))[self.code], dtype=np.float32)

    def _histogram(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        counts = np.bincount(self.code[mask], minlength=len(self.kernel)).astype(float)
        smooth = counts @ self.kernel / max(1.0, counts.sum())
        return np.asarray((1 - SHARE_SPREAD) * smooth + SHARE_SPREAD / len(self.kernel))


def _kernel(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights by which a code counts for those near it: a Gaussian as wide as a step or two."""
    squared = ((centres[:, None] - centres[None]) ** 2).sum(-1)
    nearest = np.sqrt(np.partition(squared, 1, axis=1)[:, 1])
    width = 1.5 * (float(np.median(nearest)) or 1.0)
    weights = np.exp(-squared / (2 * width**2))
    return np.asarray(weights / weights.sum(1, keepdims=True))
