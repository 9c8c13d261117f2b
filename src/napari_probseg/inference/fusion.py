"""Answers in windows of several scales, fused into one: each counts by how good the network thinks that it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.case import Case
from napari_probseg.inference.inputs import enlarged
from napari_probseg.inference.windows import Window, cut_off
from napari_probseg.region import Region, overlap, relative

WEIGHT_POWER = 4.0  # power of the weights: the better answers count for nearly all
RIM_PENALTY = 4.0  # of an answer that is cut off by its window, per share of the rim
MIN_WEIGHT = 1e-4
FEATHER_STEEPNESS = 8.0  # over the width of a window on a part: how steeply its weight rises from its rim


@dataclass(frozen=True)
class Looks:
    """What a network says of a case in some windows, (W, S, S) or (W, S, S, S).

    Parameters
    ----------
    windows : list of Window
    logit : (W, S, ...) tensor
        Of object.
    weight : (W,) tensor
        How much each window's answer counts, above 0.
    is_part : (W,) bool tensor
        Which windows lie on a part of the object alone: what is outside of them they do not judge.
    """

    windows: list[Window]
    logit: Tensor
    weight: Tensor
    is_part: Tensor

    @classmethod
    def of(cls, case: Case, windows: list[Window], logit: Tensor, quality: Tensor, *, parts: bool = False) -> Looks:
        """Return answers, weighed by the Dice that is expected of them, and by how much they are cut off.

        Parameters
        ----------
        quality : (W,) tensor
            Logit of that Dice.
        parts : bool
            Whether these windows lie on parts of the object.
        """
        cut = torch.stack([cut_off(inside > 0, w, case.shape) for w, inside in zip(windows, logit, strict=True)])
        free = 1 - RIM_PENALTY * cut.clamp(max=1 / RIM_PENALTY)
        return cls(
            windows,
            logit,
            (quality.sigmoid() * free).pow(WEIGHT_POWER).clamp(min=MIN_WEIGHT),
            torch.full(free.shape, parts),
        )

    @property
    def expected(self) -> Tensor:
        """The Dice that is expected of each window's answer, less what is cut off, (W,)."""
        return self.weight.pow(1 / WEIGHT_POWER)

    @property
    def confidence(self) -> float:
        """The Dice that is expected of the best answer to the whole, in [0, 1]."""
        return float(self.expected[~self.is_part].max())

    @property
    def whole(self) -> Looks:
        """The answers in windows on the whole object."""
        kept = ~self.is_part
        windows = [window for window, is_kept in zip(self.windows, kept.tolist(), strict=True) if is_kept]
        return Looks(windows, self.logit[kept], self.weight[kept], self.is_part[kept])

    def __add__(self, other: Looks) -> Looks:
        """Return the answers of both."""
        both = (torch.cat([getattr(looks, name) for looks in (self, other)]) for name in ("logit", "weight", "is_part"))
        return Looks(self.windows + other.windows, *both)

    def probability(self, over: Window, size: int) -> Tensor:
        """Return the fused probability of object on a grid over a window, (size, ...).

        What lies outside of a window is background to it, but to those on parts of the object.
        """
        total = weights = torch.zeros(())
        for logit, window, weight, is_part in zip(self.logit, self.windows, self.weight, self.is_part, strict=True):
            here = weight * resampled(feathered(logit.shape), window, over, size) if is_part else weight
            total = total + here * resampled(logit.sigmoid(), window, over, size)
            weights = weights + here
        return total / weights


def feathered(shape: torch.Size) -> Tensor:
    """Return weights of a window, 1 but near its rim, where they fall to 0."""
    lines = [(FEATHER_STEEPNESS * (0.5 - ((torch.arange(n) + 0.5) / n - 0.5).abs())).clamp(max=1) for n in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).amin(0)


def resampled(values: Tensor, of: Window, over: Window, size: int) -> Tensor:
    """Return a map over one window, (S, ...), on a grid over another, (size, ...); 0 where it does not reach.

    What is made much smaller is averaged first. Several maps, (N, S, ...), are resampled at once.
    """
    ndim = len(over.size)
    lines = []
    for low, n, first, m in zip(of.low, of.size, over.low, over.size, strict=True):
        place = first + (torch.arange(size, dtype=torch.float32) + 0.5) * (m / size)  # in voxels of the image
        lines.append((place - low) / n * 2 - 1)
    fineness = min(m / size / (n / s) for n, m, s in zip(of.size, over.size, values.shape[-ndim:], strict=True))
    halved = values.reshape(1, -1, *values.shape[-ndim:])
    while fineness >= 2:
        halved = (F.avg_pool2d if ndim == 2 else F.avg_pool3d)(halved, 2)
        fineness /= 2
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1)
    sampled = F.grid_sample(halved, grid[None].to(values), align_corners=False, padding_mode="border")[0]
    within = torch.ones((size,) * ndim, device=values.device)
    for axis, line in enumerate(lines):
        view = [-1 if a == axis else 1 for a in range(ndim)]
        within = within * (line.abs() <= 1).to(within).view(view)
    return (sampled * within).reshape(*values.shape[:-ndim], *within.shape)


def in_region(values: Tensor, window: Window, where: Region) -> NDArray[np.float32]:
    """Return a map over a window, (S, ...), in the voxels of a region of the image; 0 outside of the window."""
    full = np.zeros(tuple(s.stop - s.start for s in where), dtype=np.float32)
    both = overlap(where, window.region)
    if both is not None:
        full[relative(both, where)] = enlarged(values[None], window.size, relative(both, window.region))[0].numpy()
    return full
