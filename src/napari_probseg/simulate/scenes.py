"""Synthetic images with label maps, in the spirit of SynthMorph, SynthSeg and AnyStar: random shapes, random looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_probseg.simulate.noise import Chance, blurred, pixel_grid

N_CHANNELS = 3
N_BLOBS = 14


@dataclass(frozen=True)
class Scene:
    """Images with what is on them.

    ``instance`` counts the things of each image from 1 (0 is background); ``kind`` gives each instance's class, so
    that "all that look alike" is a possible reading.
    """

    image: Tensor  # (B, 3, Y, X) float
    instance: Tensor  # (B, Y, X) long
    kind: Tensor  # (B, K) long, by instance; 0 for background and for absent ones


def synthetic_scene(n: int, size: int, chance: Chance) -> Scene:
    """Return ``n`` scenes of ``size`` x ``size`` pixels: blobs, nested blobs, regions or tubes."""
    makers = (_blobs, _regions, _tubes)
    counts = torch.tensor([0.55, 0.2, 0.25]).mul(n).round().long()
    counts[0] += n - counts.sum()
    parts = [maker(int(k), size, chance) for maker, k in zip(makers, counts, strict=True)]
    instance = torch.cat([p[0] for p in parts])
    kind = torch.cat([p[1] for p in parts])
    return Scene(_painted(instance, kind, chance), instance, kind)


def _warp(n: int, size: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """Return smoothly displaced y and x coordinates, (n, Y, X) each."""
    y, x = pixel_grid(size, chance.device)
    strength = chance.uniform(n, 1, 1, high=0.25)
    cells = chance.integers(4, 9)
    dy, dx = chance.smooth(2, n, size, size, cells=cells)
    return y + strength * dy, x + strength * dx


def _blobs(n: int, size: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """Many or few ellipses with wavy outlines, some with cores; like nuclei, lesions, organs."""
    y, x = _warp(n, size, chance)
    scale = chance.uniform(n, 1, low=-2.6, high=-0.6).exp()
    radius = scale * chance.uniform(n, N_BLOBS, low=0.6, high=1.4)
    centre = chance.uniform(2, n, N_BLOBS, low=-1, high=1)
    angle = chance.uniform(n, N_BLOBS, high=3.1416)
    stretch = chance.uniform(n, N_BLOBS, low=0.55, high=1.0)
    dy = y[:, None] - centre[0][..., None, None]
    dx = x[:, None] - centre[1][..., None, None]
    cos, sin = angle.cos()[..., None, None], angle.sin()[..., None, None]
    u, v = (cos * dx + sin * dy), (cos * dy - sin * dx) / stretch[..., None, None]
    wave = 1 + chance.uniform(n, 1, 1, 1, high=0.25) * torch.sin(
        chance.integers(2, 6) * torch.atan2(v, u) + angle[..., None, None]
    )
    distance = (u.square() + v.square()).sqrt() / (radius[..., None, None] * wave)  # 1 at the border
    present = chance.uniform(n, N_BLOBS) < chance.uniform(n, 1, low=0.1, high=1.0)
    present[:, 0] = True
    with_core = chance.yes(n, 0.35)
    core = chance.uniform(n, 1, 1, 1, low=0.35, high=0.75)
    instance = torch.zeros(n, size, size, dtype=torch.long, device=chance.device)
    for i in range(N_BLOBS):  # later blobs lie on top of earlier ones
        here = (distance[:, i] < 1) & present[:, i, None, None]
        instance = torch.where(here, 2 * i + 1, instance)
        inner = here & (distance[:, i] < core[:, 0]) & with_core[:, None, None]
        instance = torch.where(inner, 2 * i + 2, instance)
    n_kinds = 1 + (chance.uniform(n, 1) * 3).long()
    kinds = (chance.uniform(n, N_BLOBS) * n_kinds).long()  # 0 .. n_kinds - 1
    kind = torch.zeros(n, 2 * N_BLOBS + 2, dtype=torch.long, device=chance.device)
    kind[:, 1:-1:2] = 1 + 2 * kinds
    kind[:, 2:-1:2] = 2 + 2 * kinds
    return instance, kind


def _regions(n: int, size: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """A map without background: the greatest of several smooth noises; like tissues."""
    n_labels = chance.integers(3, 9)
    noise = chance.smooth(n, n_labels, size, size, cells=chance.integers(4, 8))
    noise = noise + 0.35 * chance.smooth(n, n_labels, size, size, cells=14)
    instance = noise.argmax(1)
    kind = torch.arange(2 * N_BLOBS + 2, device=chance.device).expand(n, -1).clone()
    kind[:, n_labels:] = 0
    return instance, kind


def _tubes(n: int, size: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """Thin curved and branching lines, the level sets of smooth noise; like vessels and membranes."""
    width = chance.uniform(n, 1, 1, low=0.8, high=4.5) / size
    tubes = []
    for cells in (chance.integers(4, 6), chance.integers(6, 10)):
        noise = chance.smooth(n, size, size, cells=cells)
        dy, dx = torch.gradient(noise, dim=(1, 2))
        slope = (dy.square() + dx.square()).sqrt() * size
        taper = 1 + 0.5 * chance.smooth(n, size, size, cells=4)
        tubes.append(noise.abs() < width * slope.clamp(min=0.3) * taper.clamp(min=0.3))
    both = chance.yes(n, 0.6)[:, None, None]
    tube = torch.where(both, tubes[0] | tubes[1], tubes[0])
    vanishing = chance.smooth(n, size, size, cells=4) > chance.uniform(n, 1, 1, low=-2.5, high=0.2)
    background, kind = _regions(n, size, chance)
    plain = chance.yes(n, 0.5)[:, None, None]
    background = torch.where(plain, 0, background)
    kind[:, -1] = kind.shape[1] - 1
    return torch.where(tube & vanishing, kind.shape[1] - 1, background), kind


def _painted(instance: Tensor, kind: Tensor, chance: Chance) -> Tensor:
    """Give every instance a mean, a texture and noise; then blur, bias, noise, gamma."""
    n, size = instance.shape[0], instance.shape[-1]
    n_labels = kind.shape[1]
    kinds = kind.clamp(max=n_labels - 1)
    contrast = chance.uniform(n, 1, 1, low=0.2, high=1.0)
    mean = 0.5 + contrast * chance.uniform(n, N_CHANNELS, n_labels, low=-0.5, high=0.5)
    grey = chance.yes(n, 0.6)[:, None, None]
    mean = torch.where(grey, mean[:, :1], mean)
    index = kinds[:, None].expand(-1, N_CHANNELS, -1)
    mean = mean.gather(2, index)  # one mean for each kind ...
    mean = mean + chance.uniform(n, 1, 1, high=0.12) * contrast * chance.normal(n, 1, n_labels)  # ... a little apart
    texture = chance.uniform(n, n_labels, high=0.2) * chance.yes(n, 0.6)[:, None] * contrast[:, 0]
    texture = texture.gather(1, kinds)
    flat = instance.reshape(n, 1, -1)
    image = mean.gather(2, flat.expand(-1, N_CHANNELS, -1)).reshape(n, N_CHANNELS, size, size)
    amount = texture.gather(1, flat[:, 0]).reshape(n, 1, size, size)
    coarse = chance.smooth(n, 1, size, size, cells=chance.integers(6, 20))
    fine = chance.smooth(n, 1, size, size, cells=chance.integers(24, 60))
    image = image + amount * (coarse + fine)
    image = blurred(image, chance.uniform(n, high=1.6))
    return degraded(image, chance)


def degraded(image: Tensor, chance: Chance, *, strength: float = 1.0) -> Tensor:
    """Add bias field, speckle, noise, gamma and inversion to (B, C, Y, X) in about [0, 1].

    ``strength`` scales the bias field, the speckle and the noise.
    """
    n, _, height, width = image.shape
    bias = (
        chance.smooth(n, 1, height, width, cells=3)
        * chance.uniform(n, 1, 1, 1, high=0.3 * strength)
        * chance.yes(n, 0.5)[:, None, None, None]
    )
    image = image * bias.exp()
    speckle = chance.uniform(n, 1, 1, 1, high=0.3 * strength) * chance.yes(n, 0.2)[:, None, None, None]
    image = image * (1 + speckle * blurred(chance.normal(n, 1, height, width), chance.uniform(n, high=1.0)))
    noise = chance.uniform(n, 1, 1, 1, high=0.1 * strength) * chance.yes(n, 0.7)[:, None, None, None]
    image = image + noise * chance.normal(n, 1, height, width)
    gamma = (0.35 * chance.normal(n, 1, 1, 1)).exp()
    image = image.clamp(0.001, 1.5) ** gamma
    upside_down = chance.yes(n, 0.3)[:, None, None, None]
    return torch.where(upside_down, 1.0 - image, image)
