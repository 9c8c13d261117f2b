"""Smooth noise and the other fields that scenes and strokes are made of; tensors on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class Chance:
    """Random numbers of one batch, drawn on the CPU where they do not depend on the device."""

    def __init__(self, generator: torch.Generator, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._scalars = generator
        self._fields = torch.Generator(self.device)
        self._fields.manual_seed(int(torch.randint(2**31, (), generator=generator)))

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

    def smooth(self, *shape: int, cells: int) -> Tensor:
        """Return standard normal noise of ``(..., Y, X)`` that varies over ``1 / cells`` of the width."""
        *lead, height, width = shape
        grid = self.normal(1, max(1, torch.Size(lead).numel()), cells, cells)
        field = F.interpolate(grid, (height, width), mode="bicubic", align_corners=True)
        return (field / 0.8).reshape(shape)


def pixel_grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the y and x of every pixel, each (Y, X), from -1 to 1."""
    line = torch.linspace(-1, 1, size, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return y, x


def depth(mask: Tensor, n: int) -> Tensor:
    """Return for each pixel how many erosions by one pixel it survives, up to ``n``, float.

    Parameters
    ----------
    mask : (B, Y, X) bool tensor
    """
    inside = mask.float()[:, None]
    total = inside.clone()
    for i in range(n - 1):  # alternating cross and square, which makes octagons: close to Euclidean
        inside = _eroded_by_cross(inside) if i % 2 == 0 else -F.max_pool2d(-inside, 3, 1, 1)
        total += inside
    return total[:, 0]


def _eroded_by_cross(inside: Tensor) -> Tensor:
    along_y = -F.max_pool2d(-inside, (3, 1), 1, (1, 0))
    along_x = -F.max_pool2d(-inside, (1, 3), 1, (0, 1))
    return torch.minimum(along_y, along_x)


def blurred(image: Tensor, sigma: Tensor) -> Tensor:
    """Return (B, C, Y, X) blurred by a Gaussian of each item's ``sigma``, (B,), in pixels (at most 3)."""
    n, c = image.shape[:2]
    offset = torch.arange(-6, 7, device=image.device).float()
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=0.05)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (B * C, 13)
    flat = F.pad(image.reshape(1, n * c, *image.shape[2:]), (6, 6, 6, 6), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * c)
    return F.conv2d(flat, kernel[:, None, None, :], groups=n * c).reshape(image.shape)
