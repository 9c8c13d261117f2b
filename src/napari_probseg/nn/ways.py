"""Costs of the cheapest ways from marks by raster scans in torch, for whole batches of images or volumes at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
    ndim = found.ndim - 3
    planes = found.permute(*range(3, 3 + ndim), 0, 1, 2)  # (Y, X, 2, B, T): what lies side by side is lowered at once
    heights = cost.expand_as(found).permute(*range(3, 3 + ndim), 0, 1, 2)
    for axis in range(ndim):
        planes = planes.movedim(axis, 0).contiguous()
        _scan(planes, heights.movedim(axis, 0).contiguous(), ndim)
        planes = planes.movedim(0, axis)
    return planes.permute(ndim, ndim + 1, ndim + 2, *range(ndim))


def _scan(planes: Tensor, heights: Tensor, ndim: int) -> None:
    """Lower planes in place, each by what its neighbours offer, forth and back."""
    low, high = heights[:-1], heights[1:]
    buffer = torch.empty_like(planes[0])
    ways = [(planes, planes, (low + high) / 2, buffer)]
    for across in range(1, ndim):
        m = heights.shape[across] - 1
        for here in (0, 1):  # of the plane in front; its neighbour in the plane behind is the other
            sum_ = high.narrow(across, here, m) + low.narrow(across, 1 - here, m)
            front, behind = (planes.narrow(across, side, m) for side in (here, 1 - here))
            ways.append((front, behind, sum_ * (math.sqrt(2) / 2), buffer.narrow(across - 1, 0, m)))
    add, minimum, parts = _calls(planes.device)
    links = [(parts(front), parts(behind), parts(cost), parts(own[None])[0]) for front, behind, cost, own in ways]
    for i in range(len(planes) - 1):
        for after, before, step, own in links:
            minimum(after[i + 1], add(before[i], step[i], out=own), out=after[i + 1])
    for i in range(len(planes) - 2, -1, -1):
        for after, before, step, own in links:
            minimum(before[i], add(after[i + 1], step[i], out=own), out=before[i])


def _calls(device: torch.device) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[Tensor], Sequence[Any]]]:
    """Return what adds, what takes the lesser, and what parts planes; NumPy's calls are the shorter on a CPU."""
    if device.type == "cpu":
        return np.add, np.minimum, lambda planes: list(planes.detach().numpy())
    return torch.add, torch.minimum, Tensor.unbind
