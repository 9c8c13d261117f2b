"""Appearance of strokes: what a regression on the marked voxels says of all others, for whole batches at once.

For images and volumes alike: where a shape says (B, 1, Y, X), it may be (B, 1, Z, Y, X).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.nn.adviser_config import AdviserConfig
from napari_probseg.nn.filters import curvatures, edge_strength, smoothed, without_copies

N_BLOCKS = 8  # along each side of a window, where half of the marks foretell the other half
_AVERAGED = {2: F.avg_pool2d, 3: F.avg_pool3d}
_LARGEST = {2: F.max_pool2d, 3: F.max_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Seen:
    """What is seen of an image's appearance: its channels, smoothed at several scales, their edges there, the place.

    Parameters
    ----------
    features : (B, F, ...) tensor
        On the grid that appearance is looked at.
    counts : (F,) tensor
        How many features each stands for: channels that are all the same are looked at once.
    shape : sequence of int
        Of the image.
    """

    features: Tensor
    counts: Tensor
    shape: Sequence[int]


@torch.no_grad()
def seen_in(image: Tensor, config: AdviserConfig) -> Seen:
    """Return what is seen of images, (B, C, Y, X); on a coarse grid they are smoothed first."""
    ndim, stride = image.ndim - 2, config.appearance_stride
    level, n_alike = without_copies(image)
    if stride > 1:
        level = _AVERAGED[ndim](smoothed(level), stride)
    return _seen_at_all_levels(level, n_alike, config, image.shape[2:])


def appearance(seen: Seen, marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return what a ridge logistic regression on the marked voxels' appearance says, (B, 1, Y, X)."""
    slope = _logistic(*_lesson(seen, _coarse(marks, config), config), seen.counts, config)
    return _said(seen, slope)


def likeness(seen: Seen, marks: Tensor, guess: Tensor, config: AdviserConfig) -> Tensor:
    """Return what looks like the marks inside and unlike all that surrounds the object, (B, 1, Y, X).

    As `appearance`, but unmarked voxels count as outside, too, the less the likelier they are object by a guess, the
    probability of object, (B, Y, X). A few marks outside show little of what surrounds an object; where it is rare,
    nearly all that is unmarked does. It learns from positive and unlabelled data (Elkan & Noto 2008), in rounds in
    which what looks like object is believed less.
    """
    return _said(seen, _against_rest(seen, _coarse(marks, config), guess, config))


def _coarse(marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return marks (B, 2, ...) on the grid that appearance is looked at."""
    return _LARGEST[marks.ndim - 2](marks.float(), config.appearance_stride) > 0


def _said(seen: Seen, slope: Tensor) -> Tensor:
    """Return what slopes and offset (B, F + 1) make of what is seen, (B, 1, Y, X) in [-1, 1]."""
    odds = torch.baddbmm(slope[:, None, -1:], slope[:, None, :-1], seen.features.flatten(2))  # (B, 1, places)
    says = (odds / 2).tanh().view(len(odds), 1, *seen.features.shape[2:])
    if says.shape[2:] == tuple(seen.shape):
        return says
    return F.interpolate(says, tuple(seen.shape), mode=_LINEAR[len(seen.shape)], align_corners=False)


def _against_rest(seen: Seen, marks: Tensor, guess: Tensor, config: AdviserConfig) -> Tensor:
    """Return slopes and offset (B, F + 1) of a regression that learns from unmarked places as outside, too."""
    features = seen.features
    x, y, weight = _lesson(seen, marks, config)
    guess = F.interpolate(guess[:, None].to(features), features.shape[2:], mode=_LINEAR[features.ndim - 2])[:, 0]
    spread = tuple(slice(k // 2, None, k) for k in (-(-n // config.rest_side) for n in features.shape[2:]))
    everyone = slice(None)
    rest = features[(everyone, everyone, *spread)].flatten(2).transpose(1, 2)  # (B, places, F)
    free = (marks.amax(1) == 0)[(everyone, *spread)].flatten(1)
    doubt = free * (1 - guess[(everyone, *spread)].flatten(1)) + 1e-4
    marked = torch.where(y > 0, weight, weight * (1 - config.rest_weight))
    x, y = torch.cat([x, rest], 1), F.pad(y, (0, rest.shape[1]))
    trust = doubt
    for round_ in range(config.n_rest_rounds + 1):
        share = config.rest_weight * trust / trust.sum(1, keepdim=True)
        slope = _logistic(x, y, torch.cat([marked, share], 1), seen.counts, config)
        if round_ < config.n_rest_rounds:
            odds = torch.einsum("bnf,bf->bn", rest, slope[:, :-1]) + slope[:, -1:]
            trust = doubt * (-odds).sigmoid()
    return slope


def _seen_at(level: Tensor, config: AdviserConfig) -> Tensor:
    """Return the features of one scale: intensities, edges, and curvatures."""
    found = [level, edge_strength(level)]
    if config.curvatures:
        found += curvatures(level)
    return torch.cat(found, 1)


@torch.no_grad()
def foresight(seen: Seen, marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return how well the appearance of some marks tells the side of others, (B,): 1 always, 0 no better than chance.

    The window is parted into blocks, half of which are learnt from and the other half foretold, and the other way
    round; each side counts alike.
    """
    marks = _coarse(marks, config)
    half = _checkered(marks.shape[2:]).to(marks.device)
    right = torch.zeros(len(marks), 2, device=marks.device)
    count = torch.zeros_like(right)
    for learnt in (half, ~half):
        slope = _logistic(*_lesson(seen, marks & learnt, config), seen.counts, config)
        x, y, weight = _lesson(seen, marks & ~learnt, config)
        odds = torch.einsum("bnf,bf->bn", x, slope[:, :-1]) + slope[:, -1:]
        for side in (0, 1):
            chosen = (weight > 0) & (y == 1 - side)
            right[:, side] += (((odds > 0) == (y > 0)) & chosen).sum(1)
            count[:, side] += chosen.sum(1)
    return (2 * (right / count.clamp(min=1)).mean(1) - 1).clamp(min=0)


def _checkered(shape: Sequence[int]) -> Tensor:
    """Return every second of the blocks, eight along each side, that a window is parted into, (Y, X) bool."""
    blocks = [torch.arange(n) // max(1, -(-n // N_BLOCKS)) for n in shape]
    return torch.stack(torch.meshgrid(*blocks, indexing="ij")).sum(0).remainder(2).bool()


def _lesson(seen: Seen, marks: Tensor, config: AdviserConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return features (B, 2 n, F), the side (1 inside) and the weight (B, 2 n) of some marked voxels."""
    flat = seen.features.flatten(2)
    sides = [_sampled(flat, mark.flatten(1), config.n_marked) for mark in marks.unbind(1)]
    x = torch.cat([side[0] for side in sides], 1)
    y = torch.cat([torch.ones_like(sides[0][1]), torch.zeros_like(sides[1][1])], 1)
    return x, y, torch.cat([side[1] for side in sides], 1)


def _seen_at_all_levels(level: Tensor, n_alike: int, config: AdviserConfig, whole: Sequence[int]) -> Seen:
    """Return what is seen of an image on the finest grid, of which each channel stands for ``n_alike``."""
    ndim, shape = level.ndim - 2, level.shape[2:]
    of_channel = [float(n_alike)] * level.shape[1]
    counts = [*of_channel, 1.0, *of_channel * (2 * config.curvatures)] * config.n_levels + [1.0] * ndim
    found = [_seen_at(level, config)]
    for _ in range(1, config.n_levels):
        level = _AVERAGED[ndim](level, 2)
        both = _seen_at(level, config)
        found.append(F.interpolate(both, shape, mode=_LINEAR[ndim], align_corners=False))
    lines = [torch.linspace(-1, 1, n, device=level.device) for n in shape]
    place = torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(len(level), -1, *shape)
    features = torch.cat([*found, config.place * place], 1)
    if config.squares:
        features, counts = torch.cat([features, features.square() - 1], 1), 2 * counts
    return Seen(features, torch.tensor(counts, device=level.device), whole)


def _sampled(flat: Tensor, mark: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return features (B, n, F) of evenly chosen marked voxels, and their weights, which sum to one (or zero)."""
    count = mark.sum(1, keepdim=True)
    n = max(1, min(n, int(count.max())))
    order = mark.cumsum(1)
    wanted = (torch.arange(n, device=flat.device) * (count / n).clamp(min=1)).floor().long() + 1  # (B, n)
    index = torch.searchsorted(order, wanted.clamp(max=flat.shape[2]))
    index = index.clamp(max=flat.shape[2] - 1)
    weight = (wanted <= count).float()
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2), weight


def _logistic(x: Tensor, y: Tensor, weight: Tensor, counts: Tensor, config: AdviserConfig) -> Tensor:
    """Return slopes and offset (B, F + 1) by Newton's method.

    A feature that stands for several which are all the same is penalised as these would be together.
    """
    scale = F.pad(counts.sqrt(), (0, 1), value=1.0)
    x = F.pad(x, (0, 1), value=1.0) * scale
    n = x.shape[2]
    penalty = torch.full((n,), config.ridge / math.sqrt(float(counts.sum()) + 1), device=x.device)
    penalty[-1] = 1e-3
    slope = x.new_zeros(len(x), n)
    for _ in range(config.n_newton_steps):
        p = torch.einsum("bnf,bf->bn", x, slope).sigmoid()
        gradient = torch.einsum("bnf,bn->bf", x, weight * (p - y)) + penalty * slope
        curvature = torch.einsum("bnf,bn,bng->bfg", x, weight * (p * (1 - p)).clamp(min=1e-3), x) + penalty.diag()
        slope = slope - torch.linalg.solve(curvature, gradient)
    return slope * scale
