"""Threshold: an even object on an even ground is parted from it by the greys of the strokes alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.grid import Grid
from napari_probseg.region import Region, absolute

STEEPNESS = 3.0  # odds' half logarithm, of a voxel that is as grey as the strokes on its side
MAX_SPACING_RATIO = 2.0  # spacing over the finest, up to which voxels are averaged with the next ones along an axis
N_ROUNDS = 3  # in which the greys of the strokes become those of all that is nearer to them (Lloyd 1982)
MAX_CHANGE_RATIO = 1.0  # of half of their difference, by which they may change then: strokes are small and noisy
MAX_RIM_SHARE = 0.25  # of the region, that the object may lie on: what goes on everywhere is not it
MAX_MISSED_SHARE = 0.2  # share of the strokes of a side that may lie on the other
SIDES = ((Marker.OBJECT, False), (Marker.BACKGROUND, True))


def by_threshold(case: Case, grid: Grid) -> tuple[Tensor, float]:
    """Return on which side of a threshold the places of a grid lie, and how well that parts the image there.

    It lies half way between two greys, which begin with those under the strokes inside and outside, in the channel
    where these differ most, and become those of all that is nearer to them (k-means). What is like the object, but does
    not hang together with a stroke inside, counts as outside.

    Returns
    -------
    says : (Z, Y, X) tensor
        In [-1, 1], positive inside.
    evenness : float
        Share of the variance that the two greys explain, in [0, 1] (eta, Otsu 1979): near 1 where there are but these
        two; 0 where they are not the strokes', strokes of a side are missing or lie on the other, or the object goes
        on beyond the grid nearly everywhere.
    """
    greys = [_greys(case, marker) for marker in (Marker.OBJECT, Marker.BACKGROUND)]
    if not all(values.size for values in greys):
        return torch.zeros(grid.shape), 0.0
    within, without = (values.mean(1) for values in greys)
    channel = int(np.abs(within - without).argmax())
    every = [max(1, n // g) for n, g in zip(grid.n_voxels, grid.shape, strict=True)]
    where = tuple(slice(s.start, s.stop, k) for s, k in zip(grid.region, every, strict=True))
    values, strokes = _averaged(case, where)[channel], case.strokes[where]
    told = float(within[channel]), float(without[channel])
    found = told
    for _ in range(N_ROUNDS):
        nearer = np.abs(values - found[0]) < np.abs(values - found[1])
        if nearer.all() or not nearer.any():
            return torch.zeros(grid.shape), 0.0
        found = float(values[nearer].mean()), float(values[~nearer].mean())
    half = (found[0] - found[1]) / 2
    depth = (values - found[1]) / (half or np.inf) - 1  # 1 as the object, -1 as the ground
    object_ = depth > 0
    reached = _reached(object_, strokes == Marker.OBJECT)
    missed = [(object_[strokes == marker] == wrong).mean() for marker, wrong in SIDES if marker in strokes]
    is_else = max(abs(a - b) for a, b in zip(told, found, strict=True)) > MAX_CHANGE_RATIO * abs(half)
    if max(missed, default=0.0) > MAX_MISSED_SHARE or is_else or _share_of_rim(reached) > MAX_RIM_SHARE:
        return torch.zeros(grid.shape), 0.0
    evenness = 1 - float(np.square(np.abs(depth) - 1).mean()) / max(float(depth.var()), 1e-12)
    says = torch.from_numpy(np.tanh(STEEPNESS * np.where(reached, depth, -np.abs(depth))).astype(np.float32))
    index = [
        ((line - s.start) / k).long().clamp(max=n - 1)
        for line, s, k, n in zip(grid.lines(), grid.region, every, says.shape, strict=True)
    ]
    return says[torch.meshgrid(*index, indexing="ij")], max(0.0, evenness)


def _greys(case: Case, marker: Marker) -> NDArray[np.float32]:
    """Return the intensities under the strokes of one side, (C, N)."""
    drawn, n = ndimage.label(case.strokes[case.drawn] == marker)
    found = [np.zeros((case.n_channels, 0), dtype=np.float32)]
    for i, box in enumerate(ndimage.find_objects(drawn) if n else (), 1):
        found.append(case.read(absolute(box, case.drawn))[:, drawn[box] == i])
    return np.concatenate(found, axis=1)


def _averaged(case: Case, where: Region) -> NDArray[np.float32]:
    """Return intensities, each the mean of it and its neighbours along the axes with fine voxels."""
    spacing = np.asarray(case.spacing, dtype=float)
    values = case.read(where)
    for axis in np.flatnonzero(spacing <= MAX_SPACING_RATIO * spacing.min()):
        values = ndimage.uniform_filter1d(values, 3, axis=1 + int(axis))
    return values


def _reached(object_: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected parts of an object that strokes inside lie in."""
    parts, n = ndimage.label(object_)
    is_reached = np.zeros(n + 1, dtype=bool)
    is_reached[parts[inside & object_]] = True
    return np.asarray(is_reached[parts])


def _share_of_rim(mask: NDArray[np.bool_]) -> float:
    """Return the share of the sides of a box that an object lies on."""
    sides = [mask.take(i, axis) for axis in range(mask.ndim) for i in (0, -1)]
    return float(np.mean(np.concatenate([side.ravel() for side in sides])))
