"""Conditional VAE of Wong, Guttag & Dalca (2022), with the sizes of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL_SIDE_VOXELS = 8  # voxels along each side of what one latent stands for


class Wong2022(nn.Module):
    """``q(z | y; x)`` and ``g(z, x)`` for images of any size, the sides being multiples of 8.

    x is (B, 3, Y, X): image in [0, 1], partialness mask x_m, segmentation x_s. y is (B, 2, Y, X): y_m, y_s. z is a map
    at 1/8 of the resolution, (B, n_latent, Y / 8, X / 8), brought to the size of x.

    Parameters
    ----------
    n_latent : int
        Channels of z.
    """

    def __init__(self, *, n_latent: int = 4) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.encoder = nn.Sequential(_pooled(5, 5), _pooled(5, 32), _pooled(32, 16))
        self.moments = nn.Conv2d(16, 2 * n_latent, 1)
        self.decoder = nn.Sequential(
            _convolved(n_latent + 3, 4),
            nn.MaxPool2d(2),
            _convolved(4, 64),
            nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            _convolved(64, 64),
            nn.Conv2d(64, 2, 3, padding=1),
            nn.Sigmoid(),
        )
        self._start_alive()

    def _start_alive(self) -> None:
        """Start with channels that are on, and with a posterior that says something: else both may die early.

        All passes through 4 channels with ReLU; if these go silent, no gradient brings them back. And a latent that is
        mostly noise is one that the decoder learns to ignore.
        """
        with torch.no_grad():
            self.decoder[0][0].bias.fill_(1.0)  # type: ignore[index]
            self.moments.bias[self.n_latent :] = -2.0  # type: ignore[index]

    def latent_shape(self, x: Tensor) -> tuple[int, int, int]:
        """Return the shape of one z for images like x."""
        return self.n_latent, x.shape[2] // CELL_SIDE_VOXELS, x.shape[3] // CELL_SIDE_VOXELS

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | y; x), (B, n_latent, Y / 8, X / 8) each."""
        mean, log_variance = self.moments(self.encoder(torch.cat([x, y], 1))).chunk(2, 1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, x: Tensor, z: Tensor) -> Tensor:
        """Return K samples of y for each x, (B * K, 2, Y, X) in [0, 1].

        What x has decided stays, and nothing is object outside of y_m: y_s is the product of y_m and the probability
        of object where it is decided. The mask gets no gradient through y_s, else it learns to decide objects alone.

        Parameters
        ----------
        x : (B, 3, Y, X) tensor
        z : (B * K, n_latent, Y / 8, X / 8) tensor
            The latents, K of the first item before those of the second.
        """
        x = x.repeat_interleave(len(z) // len(x), 0)
        everywhere = F.interpolate(z, x.shape[2:], mode="bilinear")  # (B * K, n_latent, Y, X)
        mask, inside = self.decoder(torch.cat([everywhere, x], 1)).unbind(1)
        known, known_object = x[:, 1], x[:, 2]
        mask = known + (1 - known) * mask
        return torch.stack([mask, known_object + (1 - known) * mask.detach() * inside], 1)


def decided(y: Tensor, *, sure: float = 0.5) -> Tensor:
    """Return y as yes or no, (B, 2, Y, X) bool: decided where that is likelier than `sure`, and object likewise there.

    Parameters
    ----------
    y : (B, 2, Y, X) tensor
    sure : float
        The higher, the fewer pixels are decided.
    """
    mask, segmentation = y.unbind(1)
    return torch.stack([mask > sure, (mask > sure) & (segmentation > 0.5 * mask)], 1)


def _convolved(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU())


def _pooled(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(_convolved(n_in, n_out), nn.MaxPool2d(2))
