"""The losses of the conditional VAE (Wong, Guttag & Dalca 2022, Eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor


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
