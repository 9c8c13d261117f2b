"""Pairwise terms of the graph cut: neighbours and their boundary costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case
from napari_probseg.region import Region

DEFAULT_CONNECTIVITY = {2: 8, 3: 6}
_FACES_ONLY = {2: {4: True, 8: False}, 3: {6: True, 26: False}}
_N_SAMPLES = 100_000


@dataclass(frozen=True, eq=False)
class Links:
    """The boundary term B of an image.

    Parameters
    ----------
    values : (C, ...) float32 array
        Intensities.
    offsets : (S, 2) or (S, 3) int array
        One of each pair of opposite neighbours, in voxels.
    nearness : (S,) float64 array
        Their 1 / r: 1 for the nearest.
    fineness : (2,) or (3,) float64 array
        The finest spacing / the axis's: 1 for the finest.
    sigma : float
        The difference of intensity that counts as an edge, in the units of ``values``.
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.intp]
    nearness: NDArray[np.float64]
    fineness: NDArray[np.float64]
    sigma: float

    @classmethod
    def of(cls, case: Case, *, sigma: float | None = None, connectivity: int | None = None) -> Links:
        """Return the links of a case; by default 8 neighbours in 2-D, 6 in 3-D, and the image's own noise.

        Raises
        ------
        ValueError
            If ``sigma`` is not a positive number or ``connectivity`` is not one of the dimension's two.
        """
        if sigma is not None and not (np.isfinite(sigma) and sigma > 0):
            raise ValueError(
                f"sigma must be a positive difference of intensity, got {sigma}: leave it out to follow the noise"
            )
        choices = _FACES_ONLY[case.ndim]
        connectivity = DEFAULT_CONNECTIVITY[case.ndim] if connectivity is None else connectivity
        if connectivity not in choices:
            raise ValueError(f"connectivity in {case.ndim}-D must be one of {sorted(choices)}, got {connectivity}")
        values = np.ascontiguousarray(case.read())
        spacing = np.array(case.spacing)
        offsets = _half_of_neighbours(case.ndim, faces_only=choices[connectivity])
        nearness = spacing.min() / np.linalg.norm(offsets * spacing, axis=1)
        # A constant image has no noise and no edges: any sigma gives B = 1 / r.
        return cls(values, offsets, nearness, spacing.min() / spacing, sigma or noise_of(values, channel_axis=0) or 1.0)

    @property
    def most(self) -> float:
        """The most that the links of one voxel can cost together."""
        return 2 * float(self.nearness.sum())

    def cost(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return B * r for pairs of voxels, each given by its flat index: (N,) and (N,) -> (N,) in [0, 1]."""
        squared = np.zeros(len(first))
        for channel in self.values.reshape(len(self.values), -1):
            squared += np.square(channel[first].astype(np.float64) - channel[second])
        squared *= -0.5 / (len(self.values) * self.sigma**2)
        return np.exp(squared, out=squared)

    def grid_cost(self, offset: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return B * r of every voxel and its neighbour at an offset, in the image's shape; 0 where there is none."""
        here, there = _ends(offset)
        cost = np.zeros(self.values.shape[1:])
        within = cost[here]
        for channel in self.values:
            within += np.square(np.subtract(channel[here], channel[there], dtype=np.float64))
        within *= -0.5 / (len(self.values) * self.sigma**2)
        np.exp(within, out=within)
        return cost

    def cost_of_boundary(self, mask: NDArray[np.bool_]) -> float:
        """Return the sum of B over the neighbours that a mask of the image's shape labels differently."""
        total = 0.0
        voxels = np.arange(mask.size).reshape(mask.shape)
        for offset, nearness in zip(self.offsets, self.nearness, strict=True):
            here, there = _ends(offset)
            differ = mask[here] != mask[there]
            total += float(nearness * self.cost(voxels[here][differ], voxels[there][differ]).sum())
        return total


def noise_of(image: NDArray[Any], *, channel_axis: int | None = None) -> float:
    """Return the typical difference between neighbouring voxels that noise alone makes, in units of the image.

    ``1.4826 median |X_i - X_j|``, a robust standard deviation: it ignores edges while they are fewer than half of the
    neighbours. Where most neighbours are equal (few grey levels, a synthetic image) it is the root mean square
    difference instead; 0 for a constant image. Several channels: the root of their mean square.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array, with one more axis if ``channel_axis`` is given
        Intensities.
    channel_axis : int, optional
        The axis that counts channels.

    Returns
    -------
    float
        At least 0, in the units of the image.
    """
    channels = np.asarray(image)[None] if channel_axis is None else np.moveaxis(np.asarray(image), channel_axis, 0)
    return float(np.sqrt(np.mean([_noise_of_channel(channel) ** 2 for channel in channels])))


def _noise_of_channel(channel: NDArray[Any]) -> float:
    # A regular sample of the pairs is enough for a median; the slices are views.
    every = max(1, int((channel.size / _N_SAMPLES) ** (1 / channel.ndim)))
    sample = np.concatenate(list(_differences(channel, every)) or [np.zeros(1)])
    robust = 1.4826 * _median(np.abs(sample))
    if robust > 0:
        return robust
    every_pair = list(_differences(channel, 1))
    n_pairs = max(1, sum(d.size for d in every_pair))
    return float(np.sqrt(sum(float(np.square(d).sum()) for d in every_pair) / n_pairs))


def _median(values: NDArray[np.float64]) -> float:
    """Return the median as `numpy.median` has it, which takes several times as long where many values are equal."""
    half = values.size // 2
    values = np.partition(values, half)
    upper = float(values[half])
    return upper if values.size % 2 else (float(values[:half].max()) + upper) / 2


def _differences(channel: NDArray[Any], every: int) -> Iterator[NDArray[np.float64]]:
    for axis in range(channel.ndim):
        offset = np.eye(channel.ndim, dtype=int)[axis]
        sampled = (slice(None, None, min(every, max(1, channel.shape[a] - 1))) for a in range(channel.ndim))
        grid = tuple(sampled)
        here, there = (channel[end][grid] for end in _ends(offset))
        yield (here.astype(np.float64) - there).ravel()


def _half_of_neighbours(ndim: int, *, faces_only: bool) -> NDArray[np.intp]:
    """Return one offset of each pair of opposite ones: (S, ndim)."""
    offsets = [offset for offset in product((-1, 0, 1), repeat=ndim) if offset > (0,) * ndim]
    return np.array([offset for offset in offsets if not faces_only or np.count_nonzero(offset) == 1])


def _ends(offset: Iterable[int]) -> tuple[Region, Region]:
    """Return the regions of the voxels that have a neighbour at an offset, and of these neighbours."""
    here = tuple(slice(max(0, -o), -o if o > 0 else None) for o in offset)
    there = tuple(slice(max(0, o), o if o < 0 else None) for o in offset)
    return here, there
