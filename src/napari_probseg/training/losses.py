"""Losses: overlap, cross-entropy, and the KL of the conditional VAE (Wong, Guttag & Dalca 2022, Eq. 3).

Those of several labels take logits (B, L, ...), background first, and the true label of each voxel, (B, ...) int64.
They count the voxels of the whole batch together, since a label may be absent from an item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LabelLoss = Callable[[Tensor, Tensor], Tensor]


def soft_dice_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return 1 - soft Dice of each item, (B,); 0 where both are empty.

    Parameters
    ----------
    prediction, target : (B, ...) tensors in [0, 1]
    weight : (B, ...) tensor, optional
        How much each voxel counts; with it this is the paper's WDL.
    """
    weight = torch.ones_like(target) if weight is None else weight
    axes = tuple(range(1, target.ndim))
    overlap = (weight * prediction * target).sum(axes)
    total = (weight * (prediction + target)).sum(axes)
    return 1 - (2 * overlap + 1e-3) / (total + 1e-3)


def kl_to_prior(mean: Tensor, log_variance: Tensor, *, free_bits: float = 0.0) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, I)) of each item in nats, (B,).

    Parameters
    ----------
    mean, log_variance : (B, D) tensors
    free_bits : float
        Nats per dimension that cost nothing, so that the latent is used
        (Kingma et al. 2016, section 2.3).
    """
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)  # (B, D)
    return kl.clamp(min=free_bits).sum(1)


def dice_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return cross-entropy plus 1 - soft Dice, the mean over the foreground labels (Isensee et al. 2018)."""
    return F.cross_entropy(logits.float(), target) + multiclass_dice_loss(logits, target)


def multiclass_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - soft Dice, the mean over the foreground labels."""
    prediction, truth = _per_label(logits, target)
    return soft_dice_loss(prediction[1:], truth[1:]).mean()


def jaccard_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 1 - soft intersection over union of each item, (B,); 0 where both are empty.

    Parameters
    ----------
    prediction, target : (B, ...) tensors in [0, 1]
    """
    axes = tuple(range(1, target.ndim))
    overlap = (prediction * target).sum(axes)
    union = (prediction + target - prediction * target).sum(axes)
    return 1 - (overlap + 1e-3) / (union + 1e-3)


def multiclass_jaccard_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - sum min(P, T) / sum max(P, T), the mean over the labels that are there (Kayalibay et al. 2017).

    Background counts as a label. All labels summed up together would leave rare ones next to no weight.
    """
    prediction, truth = _per_label(logits, target)
    there = truth.sum(1) > 0
    shares = torch.minimum(prediction, truth).sum(1) / torch.maximum(prediction, truth).sum(1)
    return 1 - shares[there].mean()


def foreground_iou_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - soft intersection over union, the mean over the foreground labels (Avetisian 2018)."""
    prediction, truth = _per_label(logits, target)
    return jaccard_distance(prediction[1:], truth[1:]).mean()


def deep_supervision(loss: LabelLoss, maps: Sequence[Tensor], target: Tensor) -> Tensor:
    """Return a loss of several maps, the finest first: each coarser one counts half, the weights sum to 1.

    The target is brought to each map's size by the nearest voxel (Isensee et al. 2021).
    """
    weights = [0.5**i for i in range(len(maps))]
    total = sum(
        (w * loss(logits, _at_size(target, logits)) for w, logits in zip(weights, maps, strict=True)),
        start=maps[0].new_zeros(()),
    )
    return total / sum(weights)


def _at_size(target: Tensor, logits: Tensor) -> Tensor:
    if target.shape[1:] == logits.shape[2:]:
        return target
    return F.interpolate(target[:, None].float(), logits.shape[2:], mode="nearest-exact")[:, 0].long()


def _per_label(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities and truth of each label, (L, voxels of the batch) each."""
    n_labels = logits.shape[1]
    prediction = logits.float().softmax(1).movedim(1, 0).flatten(1)
    return prediction, F.one_hot(target, n_labels).movedim(-1, 0).flatten(1).to(prediction)
