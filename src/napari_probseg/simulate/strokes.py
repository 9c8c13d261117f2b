"""Strokes as a person makes them: dabs and short lines in the middle of a thing, and beside it.

In a volume a person draws on a slice of some axis, or on a few; rarely a ball. Where a shape says (B, Y, X), it may be
(B, Z, Y, X).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from napari_probseg.simulate.noise import Chance, depth, each

# By number of dimensions.
LOG_BRUSH = {2: (-0.4, 1.9), 3: (-0.5, 1.3)}
DEEPEST = {2: 16, 3: 6}  # voxels from the border, beyond which all places are as good
SHARE_ONE_DAB = {2: 0.4, 3: 0.0}
SHARE_BOX = {2: 0.06, 3: 0.0}


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


def brush(n: int, ndim: int, chance: Chance) -> Tensor:
    """Return the radius of each item's brush in voxels of the window, (B,): the same one seems large from close by."""
    low, high = LOG_BRUSH[ndim]
    return chance.uniform(n, low=low, high=high).exp()


def stroke(
    mask: Tensor,
    chance: Chance,
    *,
    seen: Tensor | None = None,
    radius: Tensor | None = None,
    share_careless: float = 0.0,
) -> Tensor:
    """Return one stroke in each item of ``mask`` (B, Y, X) bool: a dab or a line, inside the mask and what is seen.

    ``share_careless`` of them are not clipped to the mask.
    """
    n, *shape = mask.shape
    weight = depth(mask, DEEPEST[len(shape)]).pow(2)
    if seen is not None:
        weight = weight * seen
    start, end = random_point(weight, chance), random_point(weight, chance)
    dab = chance.yes(n, 0.6)[:, None]
    short = chance.uniform(n, 1, high=0.7)  # people stop early
    end = torch.where(dab, start.float(), start + short * (end - start))
    drawn = drawn_line(start, end, brush(n, len(shape), chance) if radius is None else radius, shape)
    careless = each(chance.yes(n, share_careless), len(shape)) & mask.flatten(1).any(1).view(-1, *[1] * len(shape))
    return drawn & (mask | careless) & (True if seen is None else seen)


def first_strokes(
    target: Tensor, anchor: Tensor, chance: Chance, *, radius: Tensor | None = None, share_careless: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return strokes inside and outside of a target, (B, Y, X) bool each, which do not meet.

    Most people begin with one dab in the middle of the object, or with a few strokes on both sides; some draw a box
    around it (its sides lie outside, and its middle stands for a dab inside).

    Parameters
    ----------
    target : (B, Y, X) bool tensor
        What is meant.
    anchor : (B, Y, X) bool tensor
        The part of it that the person looks at first.
    radius : (B,) tensor, optional
        Of the brush.
    share_careless : float
        Share of the strokes that are not clipped to their side.
    """
    n, ndim = len(target), target.ndim - 1
    seen = looked_at(anchor & target, chance)
    options: dict[str, Any] = {"radius": radius, "share_careless": share_careless}
    inside = stroke(anchor & target, chance, seen=seen, **options)
    more = stroke(target, chance, seen=looked_at(target, chance), **options) & each(chance.yes(n, 0.35), ndim)
    outside = torch.zeros_like(inside)
    near = depth(~target, 10) < 10
    for probability, where in ((0.6, ~target), (0.3, ~target & near), (0.2, ~target)):
        outside |= stroke(where, chance, seen=seen, **options) & each(chance.yes(n, probability), ndim)
    kind = each(chance.uniform(n), ndim)
    alone = kind < SHARE_ONE_DAB[ndim]
    middle = random_point(depth(anchor & target, 2 * DEEPEST[ndim]).pow(8), chance)
    dab = drawn_line(middle, middle, brush(n, ndim, chance) if radius is None else radius, target.shape[1:])
    boxed = kind > 1 - SHARE_BOX[ndim]
    inside = torch.where(alone | boxed, dab & target, inside | more)
    outside = torch.where(alone, False, torch.where(boxed, box_around(target, chance), outside))
    return inside & ~(outside & ~target), outside & ~(inside & target)


def box_around(target: Tensor, chance: Chance) -> Tensor:
    """Return the sides of a box around each target (B, Y, X) bool, a little larger than it, without what is target."""
    n, *shape = target.shape
    sides, within = torch.zeros_like(target), torch.ones_like(target)
    for axis, size in enumerate(shape, 1):
        lines = target.movedim(axis, 1).flatten(2).any(2).float()  # (B, size)
        low = lines.argmax(1) - 1 - (chance.uniform(n) * 0.12 * lines.sum(1)).long()
        high = size - lines.flip(1).argmax(1) + (chance.uniform(n) * 0.12 * lines.sum(1)).long()
        place = torch.arange(size, device=target.device)
        view = [n if a == 0 else size if a == axis else 1 for a in range(target.ndim)]
        between = ((place >= low[:, None]) & (place <= high[:, None])).view(view)
        end = ((place == low[:, None]) | (place == high[:, None])).view(view)
        sides, within = (sides & between) | (within & end), within & between
    return sides & ~target


def correction(
    prediction: Tensor, target: Tensor, chance: Chance, *, radius: Tensor | None = None, n_dabs: int = 1
) -> tuple[Tensor, Tensor]:
    """Return dabs in deep wrong places of each item, as (inside, outside), (B, Y, X) bool each.

    Parameters
    ----------
    prediction, target : (B, Y, X) bool tensors
    radius : (B,) tensor, optional
        Of the brush.
    n_dabs : int
        Most of them lie apart, as if each had been answered in part; items get up to so many.
    """
    n, *shape = target.shape
    wrong = prediction != target
    inside, outside = torch.zeros_like(target), torch.zeros_like(target)
    for i in range(n_dabs):
        deep = depth(wrong, DEEPEST[len(shape)])
        middle = random_point(deep.pow(4), chance)
        size = chance.uniform(n, low=1.0, high=3.6) if radius is None else radius
        dab = drawn_line(middle, middle, size, shape)
        dab &= slice_through(middle, shape, chance, share_whole=0.5)
        item = torch.arange(n, device=target.device)
        on_object = target[item, *middle.unbind(1)]
        is_drawn = wrong.flatten(1).any(1) & (chance.yes(n, 0.75) if i else True)
        dab &= each(is_drawn, len(shape)) & (target == each(on_object, len(shape)))
        inside, outside = inside | (dab & target), outside | (dab & ~target)
        wrong = wrong & ~drawn_line(middle, middle, size + 2 * deep[item, *middle.unbind(1)], shape)
    return inside, outside
