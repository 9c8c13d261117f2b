"""Costs of the cheapest ways from marks by raster scans in torch, for whole batches of images or volumes at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
        buffer = torch.empty_like(planes[0])
        links = [_Link.between(planes, planes, (low + high) / 2, buffer)]
        for across in range(4, heights.ndim):
            m = heights.shape[across] - 1
            for here in (0, 1):  # of the plane in front; its neighbour in the plane behind is the other
                sum_ = high.narrow(across, here, m) + low.narrow(across, 1 - here, m)
                front, behind = (planes.narrow(across, side, m) for side in (here, 1 - here))
                links.append(_Link.between(front, behind, sum_ * (math.sqrt(2) / 2), buffer.narrow(across - 1, 0, m)))
        for i in range(1, len(planes)):
            for link in links:
                link.forth(i)
        for i in range(len(planes) - 2, -1, -1):
            for link in links:
                link.back(i)
        found = planes.movedim(0, axis)
    return found


@dataclass(frozen=True)
class _Link:
    """Ways between the voxels of neighbouring planes, straight or diagonal, as views of all planes."""

    front: Sequence[Tensor]  # the voxels of each plane that are reached from the plane before it ...
    behind: Sequence[Tensor]  # ... and those that they are reached from
    cost: Sequence[Tensor]  # of the way between a plane and the next
    buffer: Tensor

    @classmethod
    def between(cls, front: Tensor, behind: Tensor, cost: Tensor, buffer: Tensor) -> _Link:
        return cls(front.unbind(), behind.unbind(), cost.unbind(), buffer)

    def forth(self, i: int) -> None:
        """Lower plane ``i`` in place by what comes from the one before it."""
        target = self.front[i]
        torch.minimum(target, torch.add(self.behind[i - 1], self.cost[i - 1], out=self.buffer), out=target)

    def back(self, i: int) -> None:
        """Lower plane ``i`` in place by what comes from the one after it."""
        target = self.behind[i]
        torch.minimum(target, torch.add(self.front[i + 1], self.cost[i], out=self.buffer), out=target)
