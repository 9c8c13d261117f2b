"""Costs of the cheapest ways from marks by raster scans in torch, for whole batches of images or volumes at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LARGEST = {2: F.max_pool2d, 3: F.max_pool3d}
_FAR_COST = 1e4


def way_costs(cost: Tensor, marks: Tensor, *, n_rounds: int, full_scan: bool = True) -> Tensor:
    """Return the least summed cost of a way to each side's marks, (2, B, T, Y, X) for T kinds of cost.

    A step costs the mean of its two voxels, times its length. Ways are found by raster scans along every axis, forth
    and back (Toivanen 1996): ``n_rounds`` on half of the resolution, then one on the full one if there is to be one.

    Parameters
    ----------
    cost : (B, T, Y, X) tensor
        Above 0.
    marks : (B, 2, Y, X) bool tensor
        The marks of both sides.
    """
    pool, ndim = _LARGEST[cost.ndim - 2], cost.ndim - 2
    sides = marks.transpose(0, 1)[:, :, None]  # (2, B, 1, Y, X)
    coarse = _FAR_COST * (1 - pool(marks.float(), 2).transpose(0, 1)[:, :, None])
    coarse = coarse.repeat(1, 1, cost.shape[1], *[1] * ndim)
    half = 2 * pool(cost, 2)[None]
    for _ in range(n_rounds):
        coarse = _scanned(coarse, half)
    found = coarse
    for axis in range(3, found.ndim):
        found = found.repeat_interleave(2, axis)
    found = found.masked_fill(sides, 0.0)
    return _scanned(found, cost[None]) if full_scan else found


def _scanned(found: Tensor, cost: Tensor) -> Tensor:
    """Let every voxel take what its neighbours offer, plane after plane along each axis, forth and back."""
    for axis in range(3, found.ndim):
        planes = found.movedim(axis, 0).contiguous()  # (n, 2, B, T, ...)
        heights = cost.movedim(axis, 0)
        low, high = heights[:-1], heights[1:]
        ways: list[tuple[Tensor, tuple[int, int, int] | None]] = [((low + high) / 2, None)]
        for across in range(4, heights.ndim):
            m = heights.shape[across] - 1
            for here in (0, 1):  # of the plane in front; its neighbour in the plane behind is the other
                sum_ = high.narrow(across, here, m) + low.narrow(across, 1 - here, m)
                ways.append((sum_ * (math.sqrt(2) / 2), (across - 1, here, m)))
        buffer = torch.empty_like(planes[0])
        for i in range(1, len(planes)):
            _offer(planes[i - 1], planes[i], [(way[i - 1], shift) for way, shift in ways], buffer, forth=True)
        for i in range(len(planes) - 2, -1, -1):
            _offer(planes[i + 1], planes[i], [(way[i], shift) for way, shift in ways], buffer, forth=False)
        found = planes.movedim(0, axis)
    return found


def _offer(
    source: Tensor,
    plane: Tensor,
    ways: list[tuple[Tensor, tuple[int, int, int] | None]],
    buffer: Tensor,
    *,
    forth: bool,
) -> None:
    """Lower a plane in place by what comes from the one beside it, straight and diagonally."""
    for way, shift in ways:
        if shift is None:
            torch.minimum(plane, torch.add(source, way, out=buffer), out=plane)
            continue
        across, here, m = shift
        to = here if forth else 1 - here
        target = plane.narrow(across, to, m)
        offered = torch.add(source.narrow(across, 1 - to, m), way, out=buffer.narrow(across, 0, m))
        torch.minimum(target, offered, out=target)
