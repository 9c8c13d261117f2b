"""Answers in windows of several scales, fused into one: each counts by how good the network thinks that it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.case import Case
from napari_probseg.inference.inputs import enlarged
from napari_probseg.inference.windows import Window, cut_off
from napari_probseg.region import Region, overlap, relative
from napari_probseg.strokes import n_strokes, told

WEIGHT_POWER = 4.0  # power of the weights: the better answers count for nearly all
AGREEMENT_SHARE = 0.5  # after one stroke: share of a weight that hangs on whether the next larger window sees the same
SCALE_POWER = 0.2  # after one stroke: power of a window's side in its weight
SIZE_SPREAD = 0.6  # of the logarithm of an object's size around one that it may be of ...
ANY_SIZE = 0.6  # ... beside which so many are known of every size
RIM_PENALTY = 4.0  # of an answer that is cut off by its window, per share of the rim
MIN_EXPECTED = 0.1  # Dice, of an answer that is cut off
FEATHER_STEEPNESS = 8.0  # over the width of a window on a part: how steeply its weight rises from its rim


@dataclass(frozen=True)
class Looks:
    """What a network says of a case in some windows, (W, S, S) or (W, S, S, S).

    Parameters
    ----------
    windows : list of Window
    logit : (W, S, ...) tensor
        Of object.
    expected : (W,) tensor
        The Dice that is expected of each window's answer, less what is cut off, above 0.
    is_part : (W,) bool tensor
        Which windows lie on a part of the object alone: what is outside of them they do not judge.
    likely : (W,) tensor
        How likely each window's object is of its size, in (0, 1], by what was finished before.
    is_scale_known : bool
        Whether more than a single stroke tells how large the object is.
    """

    windows: list[Window]
    logit: Tensor
    expected: Tensor
    is_part: Tensor
    likely: Tensor
    is_scale_known: bool = True

    @classmethod
    def of(cls, case: Case, windows: list[Window], logit: Tensor, quality: Tensor, *, parts: bool = False) -> Looks:
        """Return answers, with the Dice that is expected of them, and the less the more they are cut off.

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
            (quality.sigmoid() * free).clamp(min=MIN_EXPECTED),
            torch.full(free.shape, parts),
            likely(case, windows, logit > 0),
        )

    @cached_property
    def weight(self) -> Tensor:
        """How much each window's answer counts, (W,), above 0: by what is expected of it.

        Where a single stroke is all that is known, a network is surer of what it sees from close by than it is right:
        the nucleus under the stroke is as good an object as the gland around it. Then a window on the whole counts the
        more the larger it is, and the more the next larger one sees the same. What was finished before tells of which
        size it may be.
        """
        trust = self.likely.clone()
        by_side = sorted(torch.nonzero(~self.is_part)[:, 0].tolist(), key=lambda i: max(self.windows[i].size))
        if not self.is_scale_known and len(by_side) > 1:
            largest = max(self.windows[by_side[-1]].size)
            for i, other in zip(by_side, [*by_side[1:], by_side[-2]], strict=True):
                agreement = AGREEMENT_SHARE * self._agreement(i, other) + 1 - AGREEMENT_SHARE
                trust[i] *= agreement * (max(self.windows[i].size) / largest) ** SCALE_POWER
        return (self.expected * trust).pow(WEIGHT_POWER)

    @property
    def confidence(self) -> float:
        """The Dice that is expected of that answer to the whole that counts most, in [0, 1]."""
        return told(float(self.expected[(self.weight * ~self.is_part).argmax()]))

    @property
    def whole(self) -> Looks:
        """The answers in windows on the whole object."""
        kept = ~self.is_part
        windows = [window for window, is_kept in zip(self.windows, kept.tolist(), strict=True) if is_kept]
        return replace(
            self,
            windows=windows,
            logit=self.logit[kept],
            expected=self.expected[kept],
            is_part=self.is_part[kept],
            likely=self.likely[kept],
        )

    def __add__(self, other: Looks) -> Looks:
        """Return the answers of both."""
        return replace(
            self,
            windows=self.windows + other.windows,
            logit=torch.cat([self.logit, other.logit]),
            expected=torch.cat([self.expected, other.expected]),
            is_part=torch.cat([self.is_part, other.is_part]),
            likely=torch.cat([self.likely, other.likely]),
        )

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

    def _agreement(self, i: int, k: int) -> float:
        """Return the Dice of what two windows see, over the larger of them."""
        near, far = sorted((i, k), key=lambda w: max(self.windows[w].size))
        is_far = self.logit[far] > 0
        on_far = resampled((self.logit[near] > 0).float(), self.windows[near], self.windows[far], len(is_far))
        return float(2 * (is_far & (on_far > 0.5)).sum() / (is_far.sum() + (on_far > 0.5).sum()).clamp(min=1))


def likely(case: Case, windows: list[Window], inside: Tensor) -> Tensor:
    """Return how likely objects are of their sizes, (W,) in (0, 1]: 1 where no sizes are known; see `Case`.

    With each stroke that counts less: they tell themselves how large the object is.

    Parameters
    ----------
    case : Case
    windows : list of Window
    inside : (W, S, ...) bool tensor
        An object over each.
    """
    if not case.sizes:
        return torch.ones(len(windows))
    mm = torch.tensor([w.size for w in windows]) * torch.tensor(case.spacing)  # along each side
    share = inside.flatten(1).float().mean(1).clamp(min=1 / inside[0].numel())
    size = (share * mm.prod(1)) ** (1 / case.ndim)
    apart = (size[:, None] / torch.tensor(case.sizes)).log() / SIZE_SPREAD
    known = (ANY_SIZE + (-(apart**2) / 2).exp().sum(1)) / (ANY_SIZE + len(case.sizes))
    return known ** (1 / max(1, sum(n_strokes(case.strokes[case.drawn]))))


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
