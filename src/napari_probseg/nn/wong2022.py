"""The conditional VAE of Wong, Guttag & Dalca (2022), with the sizes of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Wong2022(nn.Module):
    """``q(z | y; x)`` and ``g(z, x)`` for images whose sides are multiples of 8.

    x is (B, 3, Y, X): image, partialness mask x_m, segmentation x_s. y is (B, 2, Y, X): y_m, y_s. The latent is a map
    of 8 channels at an eighth of the resolution: the encoder's 16 channels are its mean and its log variance.
    """

    n_latent = 8

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_pooled(5, 5), _pooled(5, 32), _pooled(32, 16), nn.Conv2d(16, 16, 1))
        self.mix = nn.Sequential(_convolved(self.n_latent + 3, 4), nn.MaxPool2d(2), _convolved(4, 64))
        self.grow = nn.Sequential(nn.ConvTranspose2d(64, 64, 2, stride=2), nn.ReLU(), _convolved(64, 64))
        self.out = nn.Conv2d(64, 2, 1)

    def latent_shape(self, x: Tensor) -> tuple[int, int, int]:
        """Return the shape of the latent of one item of x."""
        return self.n_latent, x.shape[2] // 8, x.shape[3] // 8

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | y; x), (B, 8, Y/8, X/8) each."""
        mean, log_variance = self.encoder(torch.cat([x, y], 1)).chunk(2, 1)
        return mean, log_variance.clamp(-8, 4)

    def decode(self, x: Tensor, z: Tensor) -> Tensor:
        """Return y, (B, 2, Y, X) in [0, 1]: what x has decided stays, and nothing is object outside of y_m."""
        z = F.interpolate(z, x.shape[2:])
        mask, inside = self.out(self.grow(self.mix(torch.cat([z, x], 1)))).sigmoid().unbind(1)
        known, known_object = x[:, 1], x[:, 2]
        mask = known + (1 - known) * mask
        return torch.stack([mask, known_object + (1 - known) * mask * inside], 1)


def _convolved(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU())


def _pooled(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
