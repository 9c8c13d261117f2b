"""Strokes as a person makes them: dabs and short lines in the middle of a thing, and beside it.

In a volume a person draws on a slice of some axis, or on a few; rarely a ball. Where a shape says (B, Y, X), it may be
(B, Z, Y, X).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_probseg.simulate.noise import Chance, depth, each


def random_point(weight: Tensor, chance: Chance) -> Tensor:
    """Return a pixel of each item, (B, ndim), drawn in proportion to ``weight`` (B, Y, X).

    Where an item's weight is zero everywhere, the pixel is any.
    """
    n, *shape = weight.shape
    exponential = -torch.log(chance.uniform(n, weight[0].numel()).clamp(min=1e-12))
    index = (weight.reshape(n, -1) / exponential.clamp(min=1e-12)).argmax(1)
    return torch.stack(torch.unravel_index(index, shape), 1)


def drawn_line(start: Tensor, end: Tensor, radius: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the pixels within ``radius`` (B,) of the segments from start to end (B, ndim), as (B, *shape) bool."""
    ndim, nothing = len(shape), torch.zeros((), device=start.device)
    line = end.float() - start.float()
    offset = [_along(axis, shape, start) for axis in range(ndim)]
    along = sum((o * each(line[:, axis], ndim) for axis, o in enumerate(offset)), start=nothing)
    t = (along / each(line.square().sum(1).clamp(min=1e-6), ndim)).clamp(0, 1)
    squared = sum(((o - t * each(line[:, axis], ndim)).square() for axis, o in enumerate(offset)), start=nothing)
    return squared <= each(radius, ndim).square()


def _along(axis: int, shape: Sequence[int], start: Tensor) -> Tensor:
    """Return how far the pixels lie behind ``start`` (B, ndim) along one axis, (B, 1, ..., n, ..., 1)."""
    place = torch.arange(shape[axis], device=start.device).float() - start[:, axis, None]
    return place.reshape(len(start), *(n if a == axis else 1 for a, n in enumerate(shape)))


def slice_through(middle: Tensor, shape: Sequence[int], chance: Chance, *, share_whole: float) -> Tensor:
    """Return a slice of any axis through ``middle`` (B, ndim), or everything, as (B, *shape) bool.

    Images have no slices, so it is everything. A slice is up to three voxels thick, since a window of a volume may be
    finer than its slices.
    """
    n = len(middle)
    everything = torch.ones(n, *shape, dtype=torch.bool, device=middle.device)
    if len(shape) == 2:
        return everything
    half = each(chance.uniform(n, high=1.5), 3)
    slices = torch.stack([(_along(a, shape, middle).abs() <= half).expand_as(everything) for a in range(3)])
    axis = (chance.uniform(n) * 3).long()
    one = slices[axis, torch.arange(n, device=middle.device)]
    return torch.where(each(chance.yes(n, share_whole), 3), everything, one)


def looked_at(mask: Tensor, chance: Chance) -> Tensor:
    """Return what a person sees while drawing in ``mask`` (B, Y, X) bool: mostly a slice through a deep place of it."""
    middle = random_point(depth(mask, 6).pow(2), chance)
    return slice_through(middle, mask.shape[1:], chance, share_whole=0.25)


def stroke(mask: Tensor, chance: Chance, *, seen: Tensor | None = None) -> Tensor:
    """Return one stroke in each item of ``mask`` (B, Y, X) bool: a dab or a line, inside the mask and what is seen."""
    n, *shape = mask.shape
    weight = depth(mask, 6).pow(2)
    if seen is not None:
        mask, weight = mask & seen, weight * seen
    start, end = random_point(weight, chance), random_point(weight, chance)
    dab = chance.yes(n, 0.6)[:, None]
    short = chance.uniform(n, 1, high=0.7)  # people stop early
    end = torch.where(dab, start.float(), start + short * (end - start))
    return drawn_line(start, end, chance.uniform(n, low=0.6, high=3.6), shape) & mask


def first_strokes(target: Tensor, anchor: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return strokes inside and outside of a target, (B, Y, X) bool each.

    Parameters
    ----------
    target : (B, Y, X) bool tensor
        What is meant.
    anchor : (B, Y, X) bool tensor
        The part of it that the person looks at first.
    """
    n, ndim = len(target), target.ndim - 1
    seen = looked_at(anchor & target, chance)
    inside = stroke(anchor & target, chance, seen=seen)
    more = stroke(target, chance, seen=looked_at(target, chance)) & each(chance.yes(n, 0.35), ndim)
    outside = torch.zeros_like(inside)
    near = depth(~target, 10) < 10
    for probability, where in ((0.6, ~target), (0.3, ~target & near), (0.2, ~target)):
        outside |= stroke(where, chance, seen=seen) & each(chance.yes(n, probability), ndim)
    return inside | more, outside


def correction(prediction: Tensor, target: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return one dab in the deepest wrong place of each item, as (inside, outside), (B, Y, X) bool each."""
    n, *shape = target.shape
    wrong = prediction != target
    middle = random_point(depth(wrong, 6).pow(4), chance)
    dab = drawn_line(middle, middle, chance.uniform(n, low=1.0, high=3.6), shape)
    dab &= slice_through(middle, shape, chance, share_whole=0.5)
    on_object = target[torch.arange(n, device=target.device), *middle.unbind(1)]
    dab &= each(wrong.flatten(1).any(1), len(shape))
    dab &= target == each(on_object, len(shape))
    return dab & target, dab & ~target
