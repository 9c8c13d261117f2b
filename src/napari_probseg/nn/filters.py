"""Filters of images and volumes in torch, whole batches at once: (B, C, Y, X), or (B, C, Z, Y, X)."""

from __future__ import annotations

import torch
from torch import Tensor


def smoothed(image: Tensor) -> Tensor:
    """Return (B, C, Y, X), each voxel the mean of it and its neighbours."""
    for axis in range(2, image.ndim):
        n = image.shape[axis]
        ends = image.narrow(axis, 0, 1), image, image.narrow(axis, n - 1, 1)
        padded = torch.cat(ends, axis)
        image = (padded.narrow(axis, 0, n) + padded.narrow(axis, 1, n) + padded.narrow(axis, 2, n)) / 3
    return image


def edge_strength(smooth: Tensor) -> Tensor:
    """Return the gradient's magnitude of the strongest channel, (B, 1, Y, X)."""
    squared = torch.zeros_like(smooth)
    for axis in range(2, smooth.ndim):
        squared += torch.gradient(smooth, dim=axis)[0].square()
    return squared.amax(1, keepdim=True).sqrt()


def curvatures(level: Tensor) -> tuple[Tensor, Tensor]:
    """Return trace and anisotropy of the Hessian, (B, C, Y, X) each: blobs and ridges, and ridges alone.

    In a volume the anisotropy is the norm of what the Hessian has beside its trace, too.
    """
    axes = list(range(2, level.ndim))
    trace, norm = torch.zeros_like(level), torch.zeros_like(level)
    for i, slope in enumerate(torch.gradient(level, dim=axes)):
        straight, *mixed = torch.gradient(slope, dim=axes[i:])
        trace += straight
        norm += straight.square()
        for second in mixed:  # it stands on both sides of the diagonal
            norm += 2 * second.square()
    return trace, (norm - trace.square() / len(axes)).clamp(min=0).sqrt()


def without_copies(image: Tensor) -> tuple[Tensor, int]:
    """Return an image with one channel in place of several that are all the same, as of grey, and how many they were.

    Channels that differ stay as they are, each for itself: 1.
    """
    n = image.shape[1]
    if n == 1 or not bool((image[:, 1:] == image[:, :1]).all()):
        return image, 1
    return image[:, :1], n
