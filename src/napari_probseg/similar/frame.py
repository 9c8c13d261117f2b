"""Frames: regular grids of samples over an image, on which it is looked at and from which answers come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.case import Case
from napari_probseg.region import Region

MAX_READ_VOXELS = 2**25  # of a frame; of a larger one every second voxel is read, or every third ...


@dataclass(frozen=True)
class Frame:
    """Places of samples, which may lie beyond the image.

    Parameters
    ----------
    origin, step : tuple of float
        Of the first sample, and between two, in voxels along each axis.
    shape : tuple of int
    """

    origin: tuple[float, ...]
    step: tuple[float, ...]
    shape: tuple[int, ...]

    @classmethod
    def over(cls, case: Case, mm: float) -> Frame:
        """Return the frame over a whole image whose samples are ``mm`` apart."""
        step = tuple(mm / float(own) for own in case.spacing or ())
        shape = tuple(max(1, round(n / s)) for n, s in zip(case.shape, step, strict=True))
        return cls(tuple(s / 2 - 0.5 for s in step), step, shape)

    @classmethod
    def around(cls, case: Case, middle: Sequence[float], side: float, n: int) -> Frame:
        """Return a frame of ``n`` samples along each axis, ``side`` mm long, around a place in voxels."""
        step = tuple(side / n / float(own) for own in case.spacing or ())
        origin = tuple(float(m) - s * (n - 1) / 2 for m, s in zip(middle, step, strict=True))
        return cls(origin, step, (n,) * len(step))

    def part(self, where: Region, margin: int = 0) -> Frame:
        """Return the samples of a region of this frame, and a margin around it."""
        first = [s.start - margin for s in where]
        origin = tuple(o + s * i for o, s, i in zip(self.origin, self.step, first, strict=True))
        return Frame(origin, self.step, tuple(s.stop - s.start + 2 * margin for s in where))

    def finer(self) -> Frame:
        """Return the frame that has two samples along each axis where this one has one."""
        origin = tuple(o - s / 4 for o, s in zip(self.origin, self.step, strict=True))
        return Frame(origin, tuple(s / 2 for s in self.step), tuple(2 * n for n in self.shape))

    def tiles(self, side: int) -> list[Region]:
        """Return regions of at most ``side`` samples along each axis, which cover this frame once."""
        edges = [np.linspace(0, n, -(-n // side) + 1).round().astype(int).tolist() for n in self.shape]
        spans = [[slice(a, b) for a, b in pairwise(line)] for line in edges]
        return list(product(*spans))

    def within(self, shape: Sequence[int]) -> Region:
        """Return the voxels of an image of ``shape`` that the samples stand for."""
        found = []
        for o, s, n, size in zip(self.origin, self.step, self.shape, shape, strict=True):
            first, last = int(np.ceil(o - s / 2)), int(np.floor(o + s * (n - 0.5)))
            found.append(
                slice(min(max(0, first), size - 1), max(min(size, last + 1), min(max(0, first), size - 1) + 1))
            )
        return tuple(found)

    def holding(self, where: Region) -> Region:
        """Return the region of this frame that stands for a region of the image."""
        found = []
        for o, s, n, box in zip(self.origin, self.step, self.shape, where, strict=True):
            first = min(max(0, int(np.floor((box.start - o) / s))), n - 1)
            found.append(slice(first, min(n, max(first + 1, int(np.ceil((box.stop - 1 - o) / s)) + 1))))
        return tuple(found)

    def voxel(self, place: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
        """Return the voxel of an image of ``shape`` that is nearest to a sample."""
        sides = zip(self.origin, self.step, place, shape, strict=True)
        return tuple(int(min(max(0, round(o + s * i)), n - 1)) for o, s, i, n in sides)

    def lines(self) -> list[NDArray[np.float64]]:
        """Return the places of the samples along each axis, in voxels."""
        return [
            o + s * np.arange(n, dtype=np.float64) for o, s, n in zip(self.origin, self.step, self.shape, strict=True)
        ]

    def image(self, case: Case) -> Tensor:
        """Return what an image has there, (C, ...): averaged where samples are far apart, its rim repeated outside."""
        first = [max(0, int(np.floor(line[0] - s))) for line, s in zip(self.lines(), self.step, strict=True)]
        last = [int(np.ceil(line[-1] + s)) + 1 for line, s in zip(self.lines(), self.step, strict=True)]
        first = [min(a, n - 1) for a, n in zip(first, case.shape, strict=True)]
        last = [max(a + 1, min(b, n)) for a, b, n in zip(first, last, case.shape, strict=True)]
        n_voxels = np.prod([float(b - a) for a, b in zip(first, last, strict=True)])
        skip = max(1, round((n_voxels / MAX_READ_VOXELS) ** (1 / case.ndim)))
        values = torch.from_numpy(case.read(tuple(slice(a, b, skip) for a, b in zip(first, last, strict=True))))
        lines = [(line - a) / skip for line, a in zip(self.lines(), first, strict=True)]
        for axis, s in enumerate(self.step):
            if (n := min(int(s / skip), values.shape[axis + 1])) > 1:
                values, lines[axis] = _averaged(values, axis + 1, n), (lines[axis] - (n - 1) / 2) / n
        return sampled(values, lines)

    def mask(self, where: Region, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the share of a mask, which covers a region of the image, in each sample."""
        values, lines = torch.from_numpy(np.pad(mask, 1).astype(np.float32))[None], []
        for axis, (line, s, box) in enumerate(zip(self.lines(), self.step, where, strict=True)):
            place = line - box.start + 1
            if (n := min(int(s), values.shape[axis + 1])) > 1:
                values, place = _averaged(values, axis + 1, n), (place - (n - 1) / 2) / n
            lines.append(place)
        return np.asarray(sampled(values, lines)[0])

    def on_voxels(self, values: Tensor, where: Region) -> NDArray[np.float32]:
        """Return values of the samples, (...), interpolated to the voxels of a region."""
        sides = zip(where, self.origin, self.step, strict=True)
        return np.asarray(
            sampled(values[None], [(np.arange(w.start, w.stop, dtype=np.float64) - o) / s for w, o, s in sides])[0]
        )


def sampled(values: Tensor, lines: Sequence[NDArray[np.float64]]) -> Tensor:
    """Return (C, ...) linearly interpolated at places along each axis; beyond the rim its values are repeated."""
    for axis, line in enumerate(lines, 1):
        place = torch.from_numpy(np.clip(line, 0, values.shape[axis] - 1))
        before = place.floor().long()
        weight = (place - before).to(values.dtype).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        after = (before + 1).clamp(max=values.shape[axis] - 1)
        values = torch.lerp(values.index_select(axis, before), values.index_select(axis, after), weight)
    return values


def _averaged(values: Tensor, axis: int, n: int) -> Tensor:
    """Return means of ``n`` neighbours along an axis; what is left over at its end repeats the last value."""
    moved = values.movedim(axis, -1)
    if rest := -moved.shape[-1] % n:
        moved = torch.cat([moved, moved[..., -1:].expand(*moved.shape[:-1], rest)], -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    return F.avg_pool1d(flat, n).reshape(*moved.shape[:-1], -1).movedim(-1, axis)
