"""From scenes to tasks: what is meant, what is marked so far, and the larger partial segmentation to reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.simulate.noise import Chance, depth
from napari_probseg.simulate.scenes import Scene
from napari_probseg.simulate.strokes import first_strokes, random_point


@dataclass(frozen=True)
class Task:
    """Input and target of the conditional VAE; all (B, Y, X) bool but for the image and ``reach``."""

    image: Tensor  # (B, 3, Y, X)
    inside: Tensor  # x_m and x_s together: decided as object
    outside: Tensor  # decided as background
    target: Tensor  # the whole object
    decided: Tensor  # y_m
    reach: Tensor  # (B,) share of the region that y_m decides


def make_task(scene: Scene, chance: Chance) -> Task:
    """Choose a reading in each scene, draw strokes for it, and say how far the answer should grow."""
    target, anchor = _reading(scene, chance)
    inside, outside = first_strokes(target, anchor, chance)
    known = _known_already(target, inside | outside, chance)
    inside, outside = inside | (known & target), outside | (known & ~target)
    decided, reach = _grown(inside, outside, chance)
    return Task(scene.image, inside, outside, target, decided, reach)


def _reading(scene: Scene, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return what is meant and the instance it started from: one thing, its kind, or it with its neighbours."""
    n, height, width = scene.instance.shape
    n_labels = scene.kind.shape[1]
    count = torch.zeros(n, n_labels, device=scene.instance.device)
    count.scatter_add_(1, scene.instance.reshape(n, -1), torch.ones(1, device=count.device).expand(n, height * width))
    foreground = (scene.kind > 0) & (count >= 6)
    weight = foreground * (count + 1).pow(0.3)  # small things as often as large ones, nearly
    anchor_id = random_point(weight[:, None], chance)[:, 1]
    anchor = scene.instance == anchor_id[:, None, None]
    same_kind = scene.kind == scene.kind.gather(1, anchor_id[:, None])
    touched = _touching(scene.instance, anchor, n_labels) & foreground
    some = touched & (chance.uniform(n, n_labels) < 0.5)
    draw = chance.uniform(n, 1)
    only = F.one_hot(anchor_id, n_labels).bool()
    chosen = torch.where(draw < 0.55, only, torch.where(draw < 0.75, same_kind, only | some))
    target = chosen.gather(1, scene.instance.reshape(n, -1)).reshape(n, height, width)
    return target, anchor


def _touching(instance: Tensor, anchor: Tensor, n_labels: int) -> Tensor:
    """Return which instances lie within two pixels of the anchor, (B, K) bool."""
    rim = F.max_pool2d(anchor.float()[:, None], 5, 1, 2)[:, 0] > 0
    near = torch.zeros(len(instance), n_labels, device=instance.device)
    near.scatter_add_(1, instance.flatten(1), rim.flatten(1).float())
    return near > 0


def _known_already(target: Tensor, strokes: Tensor, chance: Chance) -> Tensor:
    """Return what earlier, accepted candidates have decided: nothing, or a random smooth part."""
    n, height, width = target.shape
    noise = chance.smooth(n, height, width, cells=chance.integers(4, 8))
    part = noise > chance.uniform(n, 1, 1, low=-0.5, high=1.5)
    around = depth(~strokes, 24) < chance.uniform(n, 1, 1, low=3, high=24)
    kind = chance.uniform(n, 1, 1)
    return torch.where(kind < 0.15, part & around, (kind < 0.25) & part)


def _grown(inside: Tensor, outside: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return y_m and its share: half of the time everything, else what is near the marks, unevenly."""
    n, height, width = inside.shape
    marks = (inside | outside).float()[:, None]
    coarse = F.max_pool2d(marks, 4)[:, 0] > 0
    distance = depth(~coarse, 24)[:, None] * 4
    distance = F.interpolate(distance, (height, width), mode="bilinear")[:, 0]
    order = distance + 4 * chance.smooth(n, height, width, cells=6)
    share = torch.where(chance.yes(n, 0.6), 1.0, chance.uniform(n, low=0.05, high=0.6))
    limit = torch.quantile(order.flatten(1), share.clamp(max=0.999).cpu().to(order.device), dim=1).diagonal()
    decided = (order <= limit[:, None, None]) | (share == 1)[:, None, None] | inside | outside
    return decided, decided.float().mean((1, 2))
