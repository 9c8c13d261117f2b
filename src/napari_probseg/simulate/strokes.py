"""Strokes as a person makes them: dabs and short lines in the middle of a thing, and beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_probseg.simulate.noise import Chance, depth


def random_point(weight: Tensor, chance: Chance) -> Tensor:
    """Return a pixel of each item, (B, 2) as y and x, drawn in proportion to ``weight`` (B, Y, X).

    Where an item's weight is zero everywhere, the pixel is any.
    """
    n, height, width = weight.shape
    exponential = -torch.log(chance.uniform(n, height * width).clamp(min=1e-12))
    index = (weight.reshape(n, -1) / exponential.clamp(min=1e-12)).argmax(1)
    return torch.stack([index // width, index % width], 1)


def drawn_line(start: Tensor, end: Tensor, radius: Tensor, size: int) -> Tensor:
    """Return the pixels within ``radius`` (B,) of the segments from start to end (B, 2), as (B, Y, X) bool."""
    line = torch.arange(size, device=start.device).float()
    p = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)[None]  # (1, Y, X, 2)
    a, b = start.float()[:, None, None], end.float()[:, None, None]
    along = b - a
    t = ((p - a) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
    nearest = a + t.clamp(0, 1)[..., None] * along
    return (p - nearest).square().sum(-1) <= radius[:, None, None].square()


def stroke(mask: Tensor, chance: Chance) -> Tensor:
    """Return one stroke in each item of ``mask`` (B, Y, X) bool: a dab or a line, inside the mask."""
    n, size = mask.shape[0], mask.shape[-1]
    weight = depth(mask, 6).pow(2)
    start, end = random_point(weight, chance), random_point(weight, chance)
    dab = chance.yes(n, 0.6)[:, None]
    short = chance.uniform(n, 1, high=0.7)  # people stop early
    end = torch.where(dab, start.float(), start + short * (end - start))
    return drawn_line(start, end, chance.uniform(n, low=0.6, high=3.6), size) & mask


def first_strokes(target: Tensor, anchor: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return strokes inside and outside of a target, (B, Y, X) bool each.

    Parameters
    ----------
    target : (B, Y, X) bool tensor
        What is meant.
    anchor : (B, Y, X) bool tensor
        The part of it that the person looks at first.
    """
    n = len(target)
    inside = stroke(anchor & target, chance)
    more = stroke(target, chance) & chance.yes(n, 0.35)[:, None, None]
    outside = torch.zeros_like(inside)
    near = depth(~target, 10) < 10
    for probability, where in ((0.6, ~target), (0.3, ~target & near), (0.2, ~target)):
        outside |= stroke(where, chance) & chance.yes(n, probability)[:, None, None]
    return inside | more, outside


def correction(prediction: Tensor, target: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return one dab in the deepest wrong place of each item, as (inside, outside), (B, Y, X) bool each."""
    size = target.shape[-1]
    wrong = prediction != target
    middle = random_point(depth(wrong, 6).pow(4), chance)
    dab = drawn_line(middle, middle, chance.uniform(len(target), low=1.0, high=3.6), size)
    on_object = target[torch.arange(len(target), device=target.device), middle[:, 0], middle[:, 1]]
    dab &= wrong.flatten(1).any(1)[:, None, None]
    dab &= target == on_object[:, None, None]
    return dab & target, dab & ~target
