"""Grids of places over a region of a volume: nearly cubic in mm, however thick its slices are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.inputs import enlarged, input_of, interpolated, resized, with_channels
from napari_probseg.inference.resampling import interpolating, transformed
from napari_probseg.inference.windows import Window
from napari_probseg.region import Region, indices_of

MAX_PLACE_ASPECT = 2.0  # sides of a place, over its shortest
MIN_PLACES, PLACES_MULTIPLE = 16, 4  # places along an axis: the advisers halve them
MAX_PLACES = 64**3
MOST_OF_A_VOXEL = 4  # places along a thick slice
PLACE_GROWTH_RATIO = 1.1  # by which places grow until they are few enough


@dataclass(frozen=True)
class Grid:
    """Places over a region of a volume.

    Parameters
    ----------
    region : tuple of slices
    shape : (int, int, int)
        Places along each axis.
    """

    region: Region
    shape: tuple[int, ...]

    @classmethod
    def over(cls, case: Case, region: Region, *, most: int = MAX_PLACES) -> Grid:
        """Return the finest grid of at most about so many places, and none finer than the finest voxel side."""
        spacing = np.asarray(case.spacing, dtype=float)
        n_voxels = np.array([s.stop - s.start for s in region])
        extent = n_voxels * spacing
        side = float(spacing.min())
        while True:
            count = np.minimum(extent / np.clip(spacing, side, MAX_PLACE_ASPECT * side), MOST_OF_A_VOXEL * n_voxels)
            if count.prod() <= most:
                break
            side *= PLACE_GROWTH_RATIO
        return cls(region, tuple(max(MIN_PLACES, PLACES_MULTIPLE * round(float(n) / PLACES_MULTIPLE)) for n in count))

    @property
    def n_voxels(self) -> tuple[int, ...]:
        """The region's voxels along each axis."""
        return tuple(s.stop - s.start for s in self.region)

    @property
    def fineness(self) -> float:
        """Voxels to a place, along the axis with the most."""
        return max(n / g for n, g in zip(self.n_voxels, self.shape, strict=True))

    def lines(self) -> list[Tensor]:
        """Return the middles of the places along each axis, in voxels of the image from its edge."""
        return [
            s.start + (torch.arange(g, dtype=torch.float32) + 0.5) * ((s.stop - s.start) / g)
            for s, g in zip(self.region, self.shape, strict=True)
        ]

    def sampled(self, values: Tensor, window: Window, *, beyond: float) -> Tensor:
        """Return a map over a window, (S, S, S), in the places; ``beyond`` where the window does not reach."""
        shares = [(line - low) / n for line, low, n in zip(self.lines(), window.low, window.size, strict=True)]
        sides = zip(values.shape, shares, strict=True)
        found = transformed(values.float(), [interpolating(n, share * n - 0.5) for n, share in sides])
        for axis, share in enumerate(shares):
            if bool((out := (share < 0) | (share > 1)).any()):
                found = found.index_fill(axis, out.nonzero()[:, 0], beyond)
        return found

    def on_slice(self, values: Tensor, axis: int, index: int, window: Window, size: int) -> Tensor:
        """Return a map over the places on one slice of the volume, in a window of it, (size, size); the nearest beyond.

        Parameters
        ----------
        values : (Z, Y, X) tensor
        axis, index : int
            The slice.
        window : Window
            Of two axes.
        size : int
        """
        middle = [torch.tensor([index + 0.5]) if a == axis else None for a in range(3)]
        across = iter(
            low + (torch.arange(size, dtype=torch.float32) + 0.5) * (n / size)
            for low, n in zip(window.low, window.size, strict=True)
        )
        lines = [next(across) if line is None else line for line in middle]
        sides = zip(values.shape, lines, self.region, strict=True)
        places = [(n, (line - s.start) / (s.stop - s.start) * n - 0.5) for n, line, s in sides]
        plane = interpolated(values, axis, places.pop(axis)[1]).squeeze(axis)
        return transformed(plane, [interpolating(*along) for along in places])

    def of_markers(self, where: Region, markers: NDArray[np.uint8]) -> Tensor:
        """Return what markers of a region of the image say in the places: 1 object, -1 background, 0 nothing.

        Parameters
        ----------
        where : tuple of slices
        markers : uint8 array of that region's shape
        """
        found = torch.zeros(self.shape)
        index = [line.floor().long().numpy() - s.start for line, s in zip(self.lines(), where, strict=True)]
        held = [(i >= 0) & (i < n) for i, n in zip(index, markers.shape, strict=True)]
        chosen = markers[np.ix_(*(i[h] for i, h in zip(index, held, strict=True)))]
        signs = (chosen == Marker.OBJECT) * 1.0 - (chosen == Marker.BACKGROUND) * 1.0
        found[np.ix_(*held)] = torch.from_numpy(signs.astype(np.float32))
        return found

    def in_voxels(self, values: Tensor) -> NDArray[np.float32]:
        """Return a map over the places in the region's voxels."""
        return np.asarray(enlarged(values[None].float(), self.n_voxels, tuple(slice(0, n) for n in self.n_voxels))[0])


def near(mask: Tensor, radius: float) -> Tensor:
    """Return how near places lie to those of a mask: 1 on it, e^-1 at a radius in places from it; 0 if it is empty.

    Parameters
    ----------
    mask : (Z, Y, X) bool tensor
    radius : float
    """
    if not bool(mask.any()):
        return torch.zeros(mask.shape)
    far = torch.from_numpy(ndimage.distance_transform_edt(~mask.numpy())).float()
    return (-((far / radius) ** 2)).exp()


def grid_input(case: Case, grid: Grid, *, n_channels: int) -> Tensor:
    """Return x of a grid, (n_channels + 3, Z, Y, X): the image, the strokes, what was accepted."""
    every = [max(1, n // (2 * g)) for n, g in zip(grid.n_voxels, grid.shape, strict=True)]
    values = case.read(tuple(slice(s.start, s.stop, k) for s, k in zip(grid.region, every, strict=True)))
    if len(values) > n_channels:
        values = with_channels(values, n_channels)
    pixels = resized(torch.from_numpy(values), grid.shape)
    inside, outside = strokes_on(case, grid)
    known = torch.from_numpy(case.accepted(grid.region)[_nearest(grid)])
    accepted = ((known == Marker.OBJECT) * 1.0 - (known == Marker.BACKGROUND) * 1.0) * ~(inside | outside)
    return input_of(pixels, [mark[None] for mark in (inside, outside, accepted.float())], n_channels)


def strokes_on(case: Case, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the places of strokes inside, and of those outside, (Z, Y, X) bool tensors; the smallest survives."""
    strokes = case.strokes[grid.region]
    inside, outside = (_marks(strokes, marker, grid) for marker in (Marker.OBJECT, Marker.BACKGROUND))
    return torch.from_numpy(inside), torch.from_numpy(outside & ~inside)


def _nearest(grid: Grid) -> tuple[NDArray[np.intp], ...]:
    """Return the voxel of the region in the middle of each place."""
    sides = zip(grid.shape, grid.n_voxels, strict=True)
    return np.ix_(*(np.minimum(((np.arange(g) + 0.5) * n / g).astype(int), n - 1) for g, n in sides))


def _marks(strokes: NDArray[np.uint8], marker: Marker, grid: Grid) -> NDArray[np.bool_]:
    found = strokes[_nearest(grid)] == marker
    places = zip(indices_of(strokes == marker), grid.shape, grid.n_voxels, strict=True)
    found[tuple(((a + 0.5) * g / n).astype(int) for a, g, n in places)] = True
    return np.asarray(found)
