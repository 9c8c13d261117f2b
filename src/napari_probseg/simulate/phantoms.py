"""Phantoms to try things on: disks, a 2-D and a 3-D body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Phantom = tuple[NDArray[np.float32], NDArray[np.uint8]]


def disks_image(seed: int = 0, *, size: int = 32) -> Phantom:
    """Return three disks of random place, radius and intensity with their labels, (size, size) each.

    Like the pictures of Wong, Guttag & Dalca (2022), section 3, but no two intensities come too close to be told apart.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    grey = rng.permutation([0.1, 0.37, 0.63, 0.9]) + rng.uniform(-0.08, 0.08, 4)
    image, labels = np.full((size, size), grey[0], np.float32), np.zeros((size, size), np.uint8)
    for label in (1, 2, 3):
        cy, cx = rng.uniform(0.15, 0.85, 2) * size
        disk = np.hypot(y - cy, x - cx) < rng.uniform(0.12, 0.25) * size
        image[disk], labels[disk] = grey[label], label
    return image, labels


def phantom_2d(seed: int = 0, *, size: int = 320) -> Phantom:
    """Return a slice through a body, (size, size): see `phantom_3d`."""
    return _phantom((size, size), seed)


def phantom_3d(seed: int = 0, *, size: int = 128, n_slices: int = 48) -> Phantom:
    """Return a body with its labels, (n_slices, size, size) each, to be shown with a spacing of (2.4, 1, 1).

    Intensities are in [0, 1000]. Labels: 1 liver, 2 lesions in it, 3 kidneys, 4 their pelves, 5 vessels, 6 spine;
    so there are nested objects and repeated ones.
    """
    return _phantom((n_slices, size, size), seed)


# Centre and radii as (y, x) in [-1, 1], half length along z, intensity, label; later parts lie on earlier ones.
_PARTS = (
    ((0.0, 0.0), (0.82, 0.9), 9.0, 0.32, 0),
    ((-0.22, -0.42), (0.42, 0.34), 0.7, 0.55, 1),
    ((-0.12, -0.36), (0.14, 0.12), 0.4, 0.74, 2),
    ((-0.42, -0.5), (0.08, 0.08), 0.3, 0.72, 2),
    ((-0.3, -0.22), (0.05, 0.06), 0.2, 0.75, 2),
    ((0.42, -0.4), (0.2, 0.15), 0.5, 0.48, 3),
    ((0.42, -0.36), (0.09, 0.06), 0.3, 0.38, 4),
    ((0.36, 0.44), (0.22, 0.16), 0.6, 0.48, 3),
    ((0.36, 0.4), (0.1, 0.06), 0.35, 0.38, 4),
    ((-0.42, 0.16), (0.09, 0.09), 9.0, 0.82, 5),
    ((-0.36, 0.38), (0.07, 0.07), 9.0, 0.8, 5),
    ((0.5, 0.02), (0.14, 0.16), 9.0, 0.9, 6),
)


def _phantom(shape: tuple[int, ...], seed: int) -> Phantom:
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    place = [axis + 0.04 * _smooth(shape, 0.1, rng) for axis in axes]
    image, labels = 0.08 + 0.02 * _smooth(shape, 0.05, rng), np.zeros(shape, np.uint8)
    texture = 0.03 * _smooth(shape, 0.03, rng) + 0.02 * _smooth(shape, 0.008, rng)
    for (cy, cx), (ry, rx), rz, intensity, label in _PARTS:
        squared = ((place[-2] - cy) / ry) ** 2 + ((place[-1] - cx) / rx) ** 2
        if len(shape) == 3:
            squared = squared + (place[0] / rz) ** 2
        inside = squared < 1
        image[inside], labels[inside] = (intensity + texture)[inside], label
    image = ndimage.gaussian_filter(image, 0.8) + rng.normal(0, 0.025, shape)
    return np.asarray(1000 * image.clip(0, 1), dtype=np.float32), labels


def _smooth(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise with a mean of 0 and a spread of 1, smooth over ``scale`` of the picture's width."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), [scale * n for n in shape], mode="nearest", truncate=3)
    noise -= noise.mean()
    return np.asarray(noise / max(float(noise.std()), 1e-9))
