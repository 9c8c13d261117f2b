"""Synthetic images with label maps, in the spirit of SynthMorph, SynthSeg and AnyStar: random shapes, random looks.

For images and volumes alike: where a shape says (B, Y, X), it may be (B, Z, Y, X).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.simulate.noise import Chance, blurred, each, pixel_grid

N_BLOBS = 14
N_LABELS = 2 * N_BLOBS + 2

# By number of dimensions: a crop of a volume has fewer voxels along an axis, and most of a ball is near its border.
LOG_RADIUS = {2: (-2.6, -0.6), 3: (-1.8, -0.3)}
TUBE_RADIUS = {2: (0.8, 4.5), 3: (0.6, 2.2)}  # pixels
REGION_CELLS = {2: (4, 8), 3: (3, 5)}
ROUGHNESS = {2: 0.35, 3: 0.15}
TEXTURE = {2: 0.2, 3: 0.12}
NOISE = {2: 1.0, 3: 0.7}


@dataclass(frozen=True)
class Scene:
    """Images with what is on them.

    ``instance`` counts the things of each image from 1 (0 is background); ``kind`` gives each instance's class, so
    that "all that look alike" is a possible reading.
    """

    image: Tensor  # (B, C, Y, X) float
    instance: Tensor  # (B, Y, X) long
    kind: Tensor  # (B, K) long, by instance; 0 for background and for absent ones


def synthetic_scene(n: int, shape: Sequence[int], chance: Chance, *, n_channels: int = 3) -> Scene:
    """Return ``n`` scenes of ``shape``, (Y, X) or (Z, Y, X): blobs, nested blobs, regions or tubes."""
    makers = (_blobs, _regions, _tubes)
    counts = _shares(n, (0.55, 0.2, 0.25), chance)
    parts = [maker(k, tuple(shape), chance) for maker, k in zip(makers, counts, strict=True) if k]
    instance = torch.cat([p[0] for p in parts])
    kind = torch.cat([p[1] for p in parts])
    return Scene(_painted(instance, kind, n_channels, chance), instance, kind)


def _shares(n: int, share: tuple[float, ...], chance: Chance) -> list[int]:
    """Return how many of ``n`` fall to each share, on average exactly (systematic sampling)."""
    start = chance.integers(0, 999) / 1000
    edges = [0, *(math.floor(sum(share[:i]) * n + start) for i in range(1, len(share))), n]
    return [b - a for a, b in pairwise(edges)]


def _warp(n: int, shape: tuple[int, ...], chance: Chance) -> Tensor:
    """Return smoothly displaced coordinates, (n, ndim, *shape)."""
    strength = each(chance.uniform(n, 1, high=0.25), len(shape))
    shift = chance.smooth(n, len(shape), shape=shape, cells=chance.integers(4, 9))
    return pixel_grid(shape, chance.device) + strength * shift


def _blobs(n: int, shape: tuple[int, ...], chance: Chance) -> tuple[Tensor, Tensor]:
    """Many or few ellipsoids with wavy outlines, some with cores; like nuclei, lesions, organs."""
    ndim = len(shape)
    place = _warp(n, shape, chance)
    low, high = LOG_RADIUS[ndim]
    scale = chance.uniform(n, 1, low=low, high=high).exp()
    radius = scale * chance.uniform(n, N_BLOBS, low=0.6, high=1.4)
    centre = chance.uniform(n, N_BLOBS, ndim, low=-1, high=1)
    centre[:, -1] *= 0.6  # something always lies inside, and on top
    stretch = chance.uniform(n, N_BLOBS, ndim, 1, low=0.55, high=1.0)
    turn = chance.turns(n, N_BLOBS, ndim, ndim) / (stretch * radius[..., None, None])
    amount, n_waves, phase = chance.uniform(n, high=0.25), chance.integers(2, 6), chance.uniform(n, N_BLOBS, high=6.3)
    present = chance.uniform(n, N_BLOBS) < chance.uniform(n, 1, low=0.1, high=1.0)
    present[:, -1] = True
    core = torch.where(chance.yes(n, 0.35), chance.uniform(n, low=0.35, high=0.75), 0.0)
    instance = torch.zeros(n, *shape, dtype=torch.long, device=chance.device)
    for i in range(N_BLOBS):  # later blobs lie on top of earlier ones
        own = torch.einsum("nij,nj...->in...", turn[:, i], place - each(centre[:, i], ndim))
        wave = each(amount, ndim) * torch.sin(n_waves * torch.atan2(own[0], own[1]) + each(phase[:, i], ndim))
        distance = _wavy_distance(own, wave)
        instance = torch.where((distance < 1) & each(present[:, i], ndim), 2 * i + 1, instance)
        instance = torch.where((distance < each(core, ndim)) & each(present[:, i], ndim), 2 * i + 2, instance)
    return instance, _kinds_of_blobs(n, chance)


def _wavy_distance(own: Tensor, wave: Tensor) -> Tensor:
    """Return the distance to a blob's centre, 1 at its border, from the place along its own axes, (ndim, n, *shape).

    The waves run around the blob in the plane of its first two axes and fade out of it, so that a volume's blob is
    smooth at its poles.
    """
    squared, in_plane = own.square().sum(0), own[:2].square().sum(0)
    return squared.sqrt() / (1 + wave * (in_plane / squared.clamp(min=1e-9)).sqrt())


def _kinds_of_blobs(n: int, chance: Chance) -> Tensor:
    """Return one to three kinds of blobs, and of their cores, (n, N_LABELS)."""
    n_kinds = 1 + (chance.uniform(n, 1) * 3).long()
    kinds = (chance.uniform(n, N_BLOBS) * n_kinds).long()  # 0 .. n_kinds - 1
    kind = torch.zeros(n, N_LABELS, dtype=torch.long, device=chance.device)
    kind[:, 1:-1:2] = 1 + 2 * kinds
    kind[:, 2:-1:2] = 2 + 2 * kinds
    return kind


def _regions(n: int, shape: tuple[int, ...], chance: Chance) -> tuple[Tensor, Tensor]:
    """A map without background: the greatest of several smooth noises; like tissues."""
    n_labels = chance.integers(3, 9)
    noise = chance.smooth(n, n_labels, shape=shape, cells=chance.integers(*REGION_CELLS[len(shape)]))
    noise += ROUGHNESS[len(shape)] * chance.smooth(n, n_labels, shape=shape, cells=14)
    kind = torch.arange(N_LABELS, device=chance.device).expand(n, -1).clone()
    kind[:, n_labels:] = 0
    return noise.argmax(1), kind


def _tubes(n: int, shape: tuple[int, ...], chance: Chance) -> tuple[Tensor, Tensor]:
    """Thin curved and branching things, the level sets of smooth noise; like vessels and membranes."""
    ndim = len(shape)
    low, high = TUBE_RADIUS[ndim]
    radius = each(chance.uniform(n, low=low, high=high), ndim)
    is_sheet = each(chance.yes(n, 0.3), ndim)
    tubes = []
    for cells in (chance.integers(4, 6), chance.integers(6, 10)):
        squared = _squared_distance(n, shape, cells, chance)
        for _ in range(ndim - 2):  # in a volume two level sets meet in a tube, and one alone is a sheet
            squared += torch.where(is_sheet, 0.0, _squared_distance(n, shape, cells, chance))
        taper = 1 + 0.5 * chance.smooth(n, shape=shape, cells=4)
        tubes.append(squared.sqrt() < radius * taper.clamp(min=0.3))
    tube = tubes[0] | (tubes[1] & each(chance.yes(n, 0.6), ndim))
    tube &= chance.smooth(n, shape=shape, cells=4) > each(chance.uniform(n, low=-2.5, high=0.2), ndim)  # they vanish
    background, kind = _regions(n, shape, chance)
    background = torch.where(each(chance.yes(n, 0.5), ndim), 0, background)
    kind[:, -1] = N_LABELS - 1
    return torch.where(tube, N_LABELS - 1, background), kind


def _squared_distance(n: int, shape: tuple[int, ...], cells: int, chance: Chance) -> Tensor:
    """Return about how far each pixel is from where a smooth noise is zero, squared, (n, *shape)."""
    noise = chance.smooth(n, shape=shape, cells=cells)
    slopes = torch.gradient(noise, dim=tuple(range(1, noise.ndim)))
    squared = torch.stack([slope.square() for slope in slopes]).sum(0)
    return noise.square() / squared.clamp(min=(0.3 / max(shape)) ** 2)


def _painted(instance: Tensor, kind: Tensor, n_channels: int, chance: Chance) -> Tensor:
    """Give every instance a mean, a texture and noise; then blur, bias, noise, gamma."""
    n, *shape = instance.shape
    contrast = chance.uniform(n, 1, 1, low=0.2, high=1.0)
    mean = 0.5 + contrast * chance.uniform(n, n_channels, N_LABELS, low=-0.5, high=0.5)
    grey = chance.yes(n, 1 - 0.4 * (n_channels - 1) / 2)[:, None, None]
    mean = torch.where(grey, mean[:, :1], mean)
    mean = mean.gather(2, kind[:, None].expand(-1, n_channels, -1))  # one mean for each kind ...
    mean = mean + chance.uniform(n, 1, 1, high=0.12) * contrast * chance.normal(n, 1, N_LABELS)  # ... a little apart
    texture = chance.uniform(n, N_LABELS, high=TEXTURE[len(shape)]) * chance.yes(n, 0.6)[:, None] * contrast[:, 0]
    texture = texture.gather(1, kind)
    flat = instance.reshape(n, 1, -1)
    image = mean.gather(2, flat.expand(-1, n_channels, -1)).reshape(n, n_channels, *shape)
    amount = texture.gather(1, flat[:, 0]).reshape(n, 1, *shape)
    coarse = chance.smooth(n, 1, shape=shape, cells=chance.integers(6, 20))
    fine = chance.smooth(n, 1, shape=shape, cells=chance.integers(24, 60))
    image = image + amount * (coarse + fine)
    image = blurred(image, chance.uniform(n, high=1.6))
    return degraded(image, chance, strength=NOISE[len(shape)])


def degraded(image: Tensor, chance: Chance, *, strength: float = 1.0) -> Tensor:
    """Add bias field, speckle, noise, thick slices, gamma and inversion to (B, C, Y, X) in about [0, 1].

    ``strength`` scales the bias field, the speckle and the noise; only volumes have slices.
    """
    n, _, *shape = image.shape
    ndim = len(shape)

    def amount(high: float, probability: float) -> Tensor:
        return each(chance.uniform(n, 1, high=high * strength) * chance.yes(n, probability)[:, None], ndim)

    image = image * (amount(0.3, 0.5) * chance.smooth(n, 1, shape=shape, cells=3)).exp()
    speckle = blurred(chance.normal(n, 1, *shape), chance.uniform(n, high=1.0))
    image = image * (1 + amount(0.3, 0.2) * speckle)
    image = image + amount(0.1, 0.7) * chance.normal(n, 1, *shape)
    if ndim == 3:
        image = torch.stack(
            [_thick_sliced(volume, chance) if chance.integers(0, 9) < 5 else volume for volume in image]
        )
    gamma = each((0.35 * chance.normal(n, 1)).exp(), ndim)
    image = image.clamp(0.001, 1.5) ** gamma
    return torch.where(each(chance.yes(n, 0.3)[:, None], ndim), 1.0 - image, image)


def _thick_sliced(volume: Tensor, chance: Chance) -> Tensor:
    """Return (C, Z, Y, X) as if its slices along some axis were 2 to 8 times as thick, rarely with one missing.

    Slices are resampled as a network's input is, linearly, or repeated.
    """
    axis, thickness = chance.integers(1, 3), 2.0 ** (chance.integers(4, 12) / 4)
    lines = volume.movedim(axis, -1)
    rows = lines.reshape(1, -1, lines.shape[-1])
    slices = F.adaptive_avg_pool1d(rows, max(4, round(rows.shape[-1] / thickness)))
    if chance.integers(0, 19) == 0:
        slices[..., chance.integers(0, slices.shape[-1] - 1)] = 0
    mode = "linear" if chance.integers(0, 2) else "nearest"
    return F.interpolate(slices, rows.shape[-1], mode=mode).reshape(lines.shape).movedim(-1, axis)
