"""Smooth noise and the other fields that scenes and strokes are made of; tensors on any device.

Everything here is for images and volumes alike: where a shape says (B, Y, X), it may be (B, Z, Y, X).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.replay import replayed


class Chance:
    """Random numbers of one batch, drawn on the CPU where they do not depend on the device."""

    def __init__(self, generator: torch.Generator, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._scalars = generator
        self._fields = torch.Generator(self.device)
        self._fields.manual_seed(int(torch.randint(2**31, (), generator=generator)))

    @property
    def scalars(self) -> torch.Generator:
        """The random numbers on the CPU."""
        return self._scalars

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return numbers in [low, high) of ``shape``."""
        return low + (high - low) * torch.rand(shape, generator=self._fields, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers of ``shape``."""
        return torch.randn(shape, generator=self._fields, device=self.device)

    def yes(self, n: int, probability: float) -> Tensor:
        """Return ``n`` independent yes/no answers."""
        return self.uniform(n) < probability

    def integers(self, low: int, high: int) -> int:
        """Return one integer in [low, high]."""
        return int(torch.randint(low, high + 1, (), generator=self._scalars))

    def turns(self, *shape: int) -> Tensor:
        """Return random rotations and reflections, square matrices of ``(..., ndim, ndim)``."""
        turn: Tensor = torch.linalg.qr(self.normal(*shape).cpu()).Q.to(self.device)  # many small ones: slow on a GPU
        return turn * (1 - 2 * (self.uniform(*shape[:-2], 1, shape[-1]) < 0.5).float())

    def smooth(self, *lead: int, shape: Sequence[int], cells: int) -> Tensor:
        """Return standard normal noise of ``(*lead, *shape)`` that varies over ``1 / cells`` of the width."""
        n = max(1, torch.Size(lead).numel())
        grid = self.normal(1, n, *[cells] * len(shape))
        field = along_axes(grid, [_cubic(cells, size, self.device) for size in shape])
        spread = math.pow(0.8, len(shape) / 2)  # about what cubic interpolation leaves
        return (field / spread).reshape(*lead, *shape)


def _cubic(cells: int, size: int, device: torch.device) -> Tensor:
    """Return the matrix of cubic interpolation from ``cells`` to ``size`` points, (size, cells)."""
    one = torch.eye(cells, device=device)[None, None]
    return F.interpolate(one, (size, cells), mode="bicubic", align_corners=True)[0, 0]


def along_axes(field: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply a matrix along each axis of space; a filter is one, and so is an interpolation.

    Parameters
    ----------
    field : (B, C, Y, X) tensor
    matrices : tensors (Y', Y) and (X', X), or (B, Y', Y) and (B, X', X)
        One for each axis, the same for all items or of each item its own.
    """
    for matrix in reversed(matrices):
        if matrix.ndim == 3:
            matrix = matrix.reshape(len(matrix), *[1] * (field.ndim - 3), *matrix.shape[1:])
        field = (field @ matrix.transpose(-1, -2)).movedim(-1, 2)
    return field.contiguous()


def blurred(image: Tensor, sigma: Tensor) -> Tensor:
    """Return (B, C, Y, X) blurred by a Gaussian of each item's ``sigma``, (B,), in pixels."""
    return along_axes(image, [_gaussian(size, sigma) for size in image.shape[2:]])


def _gaussian(size: int, sigma: Tensor) -> Tensor:
    place = torch.arange(size, device=sigma.device).float()
    offset = place[:, None] - place
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=0.05)[:, None, None]) ** 2)
    return kernel / kernel.sum(2, keepdim=True)


def pixel_grid(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return the coordinates of every pixel, (ndim, *shape), from -1 to 1 along each axis."""
    lines = [torch.linspace(-1, 1, n, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


def each(values: Tensor, ndim: int) -> Tensor:
    """Return ``values`` with ``ndim`` axes of length 1 behind, so that they meet fields of ``ndim`` dimensions."""
    return values.reshape(*values.shape, *[1] * ndim)


@replayed
def depth(mask: Tensor, n: int) -> Tensor:
    """Return for each pixel how many erosions by one pixel it survives, up to ``n`` (at most 255), float.

    Parameters
    ----------
    mask : (B, Y, X) bool tensor
    """
    total = mask.to(torch.uint8)
    for i in range(n - 1):  # alternating cross and square, which makes octagons: close to Euclidean
        mask = _eroded_by_cross(mask) if i % 2 == 0 else eroded(mask)
        total += mask
    return total.float()


def eroded(mask: Tensor) -> Tensor:
    """Return (B, Y, X) without the pixels of which one of the 8 (of 26) neighbours is not in it."""
    for axis in range(1, mask.ndim):
        mask = _eroded_along(mask, axis)
    return mask


def _eroded_by_cross(mask: Tensor) -> Tensor:
    result = mask
    for axis in range(1, mask.ndim):
        result = result & _eroded_along(mask, axis)
    return result


def _eroded_along(mask: Tensor, axis: int) -> Tensor:
    n = mask.shape[axis]
    result = mask.clone()
    result.narrow(axis, 1, n - 1).logical_and_(mask.narrow(axis, 0, n - 1))
    result.narrow(axis, 0, n - 1).logical_and_(mask.narrow(axis, 1, n - 1))
    return result
