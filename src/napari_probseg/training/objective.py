"""Loss of the general networks: the ELBO, the best of K samples, the completion, and how good they expect to be.

For images and volumes alike: where a shape says (B, C, Y, X), it may be (B, C, Z, Y, X).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.nn.general import Features, Sample
from napari_probseg.nn.inputs import network_input
from napari_probseg.nn.presets import General
from napari_probseg.simulate.noise import Chance, each
from napari_probseg.simulate.strokes import correction
from napari_probseg.simulate.tasks import Task
from napari_probseg.training.fit import Losses
from napari_probseg.training.losses import kl_to_prior, soft_dice_loss
from napari_probseg.training.recipe import GeneralTraining

_T = TypeVar("_T", Task, Features)


def loss_of(config: GeneralTraining) -> Callable[[nn.Module, tuple[Task, Chance], int], Losses]:
    """Return the loss of a step: ELBO, best of K with a little of the mean, the control, and the quality."""

    def loss(network: nn.Module, batch: tuple[Task, Chance], step: int) -> Losses:
        assert isinstance(network, General)
        whole, chance = batch
        whole, all_features = after_corrections(network, whole, chance, config)
        completed = network.decode_control(all_features, torch.ones_like(whole.reach))
        entire = replace(whole, decided=torch.ones_like(whole.decided))
        control = reconstruction(completed, entire)
        n_sampled = max(1, round(config.share_sampled * len(whole.reach)))
        task, features = _some(whole, n_sampled), _some(all_features, n_sampled)
        y = torch.stack([task.decided, task.decided & task.target], 1).float()
        mean, log_variance = network.encode(features, y)
        z = mean + (0.5 * log_variance).exp() * chance.normal(*mean.shape)
        posterior = reconstruction(network.decode(features, z, task.reach), task)
        kl = kl_to_prior(mean, log_variance, free_bits=config.free_bits)
        (z_best, z_other), quality = _best_of(
            network, features, task, chance.normal(len(mean), config.n_samples, network.n_latent)
        )
        best = reconstruction(network.decode(features, z_best, task.reach), task)
        other = reconstruction(network.decode(features, z_other, task.reach), task)
        parts = {
            "posterior": posterior.mean(),
            "kl": kl.mean(),
            "best": best.mean(),
            "other": other.mean(),
            "control": control.mean(),
            "quality": quality,
            "estimate": _estimate_loss(completed, entire),
        }
        total = parts["posterior"] + config.weight_kl * parts["kl"] + parts["best"] + 0.05 * parts["other"]
        parts["total"] = 0.5 * total + 1.5 * parts["control"] + 0.5 * (quality + parts["estimate"])
        return parts

    return loss


def control_loss_of(
    config: GeneralTraining, *, estimate_weight: float = 0.0
) -> Callable[[nn.Module, tuple[Task, Chance], int], Losses]:
    """Return the part of `loss_of` that trains the head without a latent, which completes.

    Parameters
    ----------
    config : GeneralTraining
    estimate_weight : float
        Of how good it expects its answer to be.
    """

    def loss(network: nn.Module, batch: tuple[Task, Chance], step: int) -> Losses:
        assert isinstance(network, General)
        task, chance = batch
        task, features = after_corrections(network, task, chance, config)
        completed = network.decode_control(features, task.reach)
        total = reconstruction(completed, task).mean()
        return {"total": total + estimate_weight * _estimate_loss(completed, task) if estimate_weight else total}

    return loss


def reconstruction(sample: Sample, task: Task) -> Tensor:
    """Return the reconstruction part of Eq. 3 of each item, (B,).

    Cross-entropy stands beside each Dice: alone, the Dice of the mask saturates at "decide everything".
    """
    known = task.inside | task.outside
    new = (task.decided & ~known).float()
    target, decided = task.target.float(), task.decided.float()
    inside = torch.where(known, target, sample.object.sigmoid())
    mask = torch.where(known, 1.0, sample.mask.sigmoid())
    segmentation = soft_dice_loss(inside, target, new) + _cross_entropy(sample.object, target, new)
    return segmentation + soft_dice_loss(mask, decided) + _cross_entropy(sample.mask, decided, (~known).float())


def _cross_entropy(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    return (loss * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1)


@torch.no_grad()
def corrected(network: General, task: Task, chance: Chance, config: GeneralTraining) -> Task:
    """Return the task after a person has seen the control's answer and put some dabs where it is wrong.

    Some accept the answer as it is before they go on.
    """
    inside, outside, known = task.inside, task.outside, task.inside | task.outside
    logit = network.decode_control(features_of(network, task), torch.ones_like(task.reach)).object
    answer = torch.where(known, inside, logit > 0)
    n_dabs = chance.integers(1, config.n_dabs)
    dabs = correction(answer, task.target, chance, radius=task.radius, n_dabs=n_dabs)
    is_accepted = each(chance.yes(len(answer), config.share_answered), answer.ndim - 1)
    accepted = torch.where(is_accepted, 2.0 * answer - 1, task.accepted)
    inside, outside = (inside | dabs[0]) & ~dabs[1], (outside | dabs[1]) & ~dabs[0]
    accepted = accepted * ~(inside | outside)
    decided = task.decided | inside | outside
    return replace(task, inside=inside, outside=outside, accepted=accepted, decided=decided)


def after_corrections(network: General, task: Task, chance: Chance, config: GeneralTraining) -> tuple[Task, Features]:
    """Return the task after a random number of looks at the answer, and its features."""
    for _ in range(chance.integers(0, config.n_corrections)):
        task = corrected(network, task, chance, config)
    return task, features_of(network, task)


def features_of(network: General, task: Task) -> Features:
    """Return what a network knows of a task's image and marks."""
    return network.features(network_input(task.image, task.inside, task.outside, task.accepted))


def _estimate_loss(completed: Sample, task: Task) -> Tensor:
    """Return the cross-entropy of the Dice that a completion expects of itself with the one that it has."""
    with torch.no_grad():
        answer = (((completed.object > 0) | task.inside) & ~task.outside).float()
        dice = 1 - soft_dice_loss(answer, task.target.float())
    return F.binary_cross_entropy_with_logits(completed.quality, dice.clamp(0, 1))


def _some(of_batch: _T, n: int) -> _T:
    """Return the first ``n`` items of a batch."""
    return replace(of_batch, **{f.name: getattr(of_batch, f.name)[:n] for f in fields(of_batch)})


def _best_of(network: General, features: Features, task: Task, z: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the best and the first of the K latents of each item, and the loss of the expected quality.

    Parameters
    ----------
    z : (B, K, n_latent) tensor
    """
    n, k = z.shape[:2]
    detached = replace(features, coarse=features.coarse.detach(), fine=features.fine.detach())
    repeated = Task(*(getattr(task, field.name).repeat_interleave(k, 0) for field in fields(Task)))
    sample = network.decode(detached, z.flatten(0, 1), repeated.reach)
    with torch.no_grad():
        best = reconstruction(sample, repeated).view(n, k).argmin(1)  # (B,)
        new = (repeated.decided & ~(repeated.inside | repeated.outside)).float()
        dice = 1 - soft_dice_loss((sample.object > 0).float(), repeated.target.float(), new)
    quality = F.binary_cross_entropy_with_logits(sample.quality, dice.clamp(0, 1))
    return (z[torch.arange(n, device=z.device), best], z[:, 0]), quality
