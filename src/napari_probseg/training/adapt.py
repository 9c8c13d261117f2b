"""Image-specific fine-tuning (BIFSeg, Wang et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.geodesic import geodesic_distance
from napari_probseg.morphology import numbered_parts
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.presets import General
from napari_probseg.progress import Progress
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import soft_dice_loss

N_VIEWS = {2: 4, 3: 2}  # of the window, in a step
EDGE_WEIGHT = 4.0  # voxels that a step of one standard deviation of the image counts as
MOST_STROKES = 6
_INSIDE, _OUTSIDE = -N_MARKS, -N_MARKS + 1  # channels of x


@dataclass(frozen=True)
class AdaptConfig:
    """How a network is fine-tuned to an image.

    Parameters
    ----------
    n_rounds : int
        How often the image is segmented and the network trained towards that.
    n_steps : int
        Steps of training in each round.
    learning_rate : float
    stroke_weight : float
        w of BIFSeg, Eq. 4: what a voxel under a stroke counts, others counting 1. The paper has 5; dabs want more.
    unsure : (float, float)
        Probabilities between which a voxel counts nothing.
    near : float
        Geodesic distance to a stroke of the other label, in voxels of the network's grid, below which one counts
        nothing.
    """

    n_rounds: int = 2
    n_steps: int = 12
    learning_rate: float = 5e-4
    stroke_weight: float = 100.0
    unsure: tuple[float, float] = (0.2, 0.7)
    near: float = 3.0


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn of one window.

    Parameters
    ----------
    x : (C + 3, S, ...) tensor
        The network's input: image, strokes inside and outside, what was accepted.
    target : (S, ...) bool tensor
        The object.
    weight : (S, ...) tensor
        How much each voxel counts.
    """

    x: Tensor
    target: Tensor
    weight: Tensor


def lesson(x: Tensor, target: Tensor, probability: Tensor, config: AdaptConfig) -> Lesson:
    """Return what is to be learnt of a window: all but where it is unsure, and the strokes more than the rest."""
    inside, outside = x[_INSIDE] > 0, x[_OUTSIDE] > 0
    weight = torch.ones(target.shape)
    low, high = config.unsure
    weight[(probability > low) & (probability < high)] = 0
    image = x[:-N_MARKS].numpy()
    for stroke, of_the_other in ((inside, ~target), (outside, target)):
        if stroke.any():
            distance = geodesic_distance(image, stroke.numpy(), edge_weight=EDGE_WEIGHT, n_rounds=2)
            weight[of_the_other & (torch.from_numpy(distance) < config.near)] = 0
    weight[inside | outside] = config.stroke_weight
    return Lesson(x, (target | inside) & ~outside, weight)


def tune(network: General, lesson: Lesson, config: AdaptConfig, *, seed: int = 0) -> Iterator[Progress]:
    """Train the last block of the trunk and the deterministic head in place.

    Yields
    ------
    Progress
        After each step.
    """
    learning = [network.up[0], network.control]
    network.requires_grad_(False)
    for part in learning:
        part.requires_grad_(True)
    fit_config = FitConfig(
        config.n_steps, learning_rate=config.learning_rate, weight_decay=0, n_warmup=3, average=0.8, seed=seed
    )
    device = next(network.parameters()).device
    yield from fit(network, _views_of(lesson), _loss, fit_config, device=device)


def agreement(network: General, x: Tensor) -> float:
    """Return how well a network foresees each stroke from the others, in [0, 1]; 0.5 where there is one stroke alone.

    Parameters
    ----------
    x : (C + 3, S, ...) tensor
    """
    strokes = [(marker, part) for marker in (_INSIDE, _OUTSIDE) for part in _parts(x[marker] > 0)]
    if len(strokes) < 2:
        return 0.5
    chosen = np.random.default_rng(0).permutation(len(strokes))[:MOST_STROKES]
    hidden = torch.stack([x] * len(chosen))
    for item, i in zip(hidden, chosen, strict=True):
        marker, part = strokes[i]
        item[marker][part] = 0
    probability = _probability(network, hidden)
    right = []
    for p, i in zip(probability, chosen, strict=True):
        marker, part = strokes[i]
        right.append((p if marker == _INSIDE else 1 - p)[part].mean())
    return float(torch.stack(right).mean())


@torch.inference_mode()
def _probability(network: General, x: Tensor) -> Tensor:
    device = next(network.parameters()).device
    features = network.features(x.to(device))
    return network.decode_control(features, torch.ones(len(x), device=device)).object.sigmoid().cpu()


def _views_of(lesson: Lesson) -> Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]:
    """Return what draws a batch: the window turned over. All its strokes are seen: hiding some brought nothing."""
    axes = list(range(lesson.target.ndim))

    def make(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        views = []
        for _ in range(N_VIEWS[len(axes)]):
            turned = [axis for axis in axes if torch.rand((), generator=generator) < 0.5]
            order = torch.randperm(len(axes), generator=generator).tolist()
            views.append(
                (
                    lesson.x.permute(0, *(1 + a for a in order)).flip([1 + a for a in turned]),
                    lesson.target.permute(order).flip(turned),
                    lesson.weight.permute(order).flip(turned),
                )
            )
        x, target, weight = (torch.stack(parts) for parts in zip(*views, strict=True))
        return x, target, weight

    return make


def _loss(network: nn.Module, batch: tuple[Tensor, Tensor, Tensor], step: int) -> Losses:
    assert isinstance(network, General)
    device = next(network.parameters()).device
    x, target, weight = (t.to(device) for t in batch)
    answer = network.decode_control(network.features(x), torch.ones(len(x), device=device)).object
    entropy = F.binary_cross_entropy_with_logits(answer, target.float(), reduction="none")
    axes = tuple(range(1, answer.ndim))
    loss = (entropy * weight).sum(axes) / weight.sum(axes).clamp(min=1)
    return {"total": (loss + soft_dice_loss(answer.sigmoid(), target.float(), weight)).mean()}


def _parts(mask: Tensor) -> list[Tensor]:
    """Return the strokes of a mask, one by one."""
    labels, n = numbered_parts(mask.numpy())
    return [torch.from_numpy(labels == i + 1) for i in range(n)]
