"""From scenes to tasks: what is meant, what is marked so far, and the larger partial segmentation to reach.

For images and volumes alike: where a shape says (B, Y, X), it may be (B, Z, Y, X).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.simulate.noise import Chance, depth, each, eroded
from napari_probseg.simulate.scenes import Scene
from napari_probseg.simulate.strokes import brush, first_strokes, looked_at, random_point

_POOLED = {2: F.max_pool2d, 3: F.max_pool3d}


@dataclass(frozen=True)
class Task:
    """Input and target of the conditional VAE; all (B, Y, X), and bool where nothing else is said."""

    image: Tensor  # (B, C, Y, X)
    inside: Tensor  # strokes: they hold
    outside: Tensor
    accepted: Tensor  # float: what was accepted before, 1 object, -1 background, 0 nothing; it may be wrong
    target: Tensor  # the whole object
    decided: Tensor  # y_m
    reach: Tensor  # (B,) share of the region that y_m decides
    radius: Tensor  # (B,) of the brush


def make_task(scene: Scene, chance: Chance, *, share_wrong: float = 0.0, share_careless: float = 0.0) -> Task:
    """Choose a reading in each scene, draw strokes for it, and say how far the answer should grow.

    Parameters
    ----------
    scene : Scene
    chance : Chance
    share_wrong : float
        Share of what was accepted that is wrong somewhere.
    share_careless : float
        Share of the strokes that are not clipped to their side.
    """
    target, anchor = _reading(scene, chance)
    radius = brush(len(target), target.ndim - 1, chance)
    inside, outside = first_strokes(target, anchor, chance, radius=radius, share_careless=share_careless)
    wrong = chance.yes(len(target), share_wrong)
    believed = torch.where(each(wrong, target.ndim - 1), _mistaken(target, anchor, chance), target)
    known = _known_already(believed, inside | outside, chance)
    accepted = known * (2.0 * believed - 1) * ~(inside | outside)
    decided, reach = _grown(inside | (accepted > 0), outside | (accepted < 0), chance)
    return Task(scene.image, inside, outside, accepted, target, decided, reach, radius)


def _mistaken(target: Tensor, anchor: Tensor, chance: Chance) -> Tensor:
    """Return what someone may have taken for the target: a part of it, or one with another border."""
    n, *shape = target.shape
    ndim = len(shape)
    signed = depth(target, 12) - depth(~target, 12)
    noise = chance.smooth(n, shape=shape, cells=chance.integers(4, 9))
    other = signed + each(chance.uniform(n, low=1, high=10), ndim) * noise > each(
        chance.uniform(n, low=-5, high=5), ndim
    )
    return torch.where(each(chance.yes(n, 0.3), ndim), anchor & target, other)


def _reading(scene: Scene, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return what is meant and the instance it started from: one thing, its kind, or it with its neighbours."""
    n, n_labels = scene.kind.shape
    instance = scene.instance.flatten(1)
    count = torch.zeros(n, n_labels, device=instance.device)
    count.scatter_add_(1, instance, torch.ones(1, device=count.device).expand_as(instance))
    foreground = (scene.kind > 0) & (count >= 6)
    weight = foreground * (count + 1).pow(0.3)  # small things as often as large ones, nearly
    anchor_id = random_point(weight, chance)[:, 0]
    anchor = scene.instance == each(anchor_id, scene.instance.ndim - 1)
    same_kind = scene.kind == scene.kind.gather(1, anchor_id[:, None])
    touched = _touching(scene.instance, anchor, n_labels) & foreground
    some = touched & (chance.uniform(n, n_labels) < 0.5)
    draw = chance.uniform(n, 1)
    only = F.one_hot(anchor_id, n_labels).bool()
    chosen = torch.where(draw < 0.5, only, torch.where(draw < 0.78, same_kind, only | some))
    return chosen.gather(1, instance).view_as(scene.instance), anchor


def _touching(instance: Tensor, anchor: Tensor, n_labels: int) -> Tensor:
    """Return which instances lie within two pixels of the anchor, (B, K) bool."""
    rim = ~eroded(eroded(~anchor))
    near = torch.zeros(len(instance), n_labels, device=instance.device)
    near.scatter_add_(1, instance.flatten(1), rim.flatten(1).float())
    return near > 0


def _known_already(target: Tensor, strokes: Tensor, chance: Chance) -> Tensor:
    """Return what earlier, accepted candidates have decided: nothing, a random smooth part, in a volume a slice."""
    n, *shape = target.shape
    ndim = len(shape)
    noise = chance.smooth(n, shape=shape, cells=chance.integers(4, 8))
    part = noise > each(chance.uniform(n, low=-0.5, high=1.5), ndim)
    around = depth(~strokes, 24) < each(chance.uniform(n, low=3, high=24), ndim)
    kind = each(chance.uniform(n), ndim)
    known = torch.where(kind < 0.15, part & around, (kind < 0.25) & part) | ((kind > 0.9) & (ndim == 2))
    if ndim == 2:
        return known
    return known | ((kind > 0.7) & _finished_slice(target, chance))


def _finished_slice(target: Tensor, chance: Chance) -> Tensor:
    """Return a slice through the target (B, Z, Y, X), as far as a candidate of that slice would have decided it."""
    near = depth(~target, 16) < each(chance.uniform(len(target), low=3, high=17), 3)
    seen = looked_at(target, chance)
    return seen & near & ~each(seen.flatten(1).all(1), 3)


def _grown(inside: Tensor, outside: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return y_m and its share: half of the time everything, else what is near the marks, unevenly."""
    n, *shape = inside.shape
    ndim = len(shape)
    coarse = _POOLED[ndim]((inside | outside).float()[:, None], 4)[:, 0] > 0
    distance = depth(~coarse, 24)[:, None] * 4
    distance = F.interpolate(distance, shape, mode="bilinear" if ndim == 2 else "trilinear")[:, 0]
    order = distance + 4 * chance.smooth(n, shape=shape, cells=6)
    share = torch.where(chance.yes(n, 0.6), 1.0, chance.uniform(n, low=0.05, high=0.6))
    limit = torch.quantile(order.flatten(1), share.clamp(max=0.999), dim=1).diagonal()
    decided = (order <= each(limit, ndim)) | each(share == 1, ndim) | inside | outside
    return decided, decided.flatten(1).float().mean(1)
