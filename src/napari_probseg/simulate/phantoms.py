"""Pictures made at run time to try things on: disks, a 2-D phantom, a 3-D phantom."""

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
    """Return a slice through a body: two organs with a lesion in one, vessels, a textured background."""
    return _phantom((size, size), seed)


def phantom_3d(seed: int = 0, *, size: int = 96, n_slices: int = 40) -> Phantom:
    """Return a body of ``(n_slices, size, size)`` voxels, to be shown with a spacing of ``(2.4, 1, 1)``."""
    return _phantom((n_slices, size, size), seed)


def _phantom(shape: tuple[int, ...], seed: int) -> Phantom:
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    wobble = [0.06 * _smooth(shape, 0.12, rng) for _ in shape]
    place = [axis + shift for axis, shift in zip(axes, wobble, strict=True)]
    image, labels = 0.08 + 0.02 * _smooth(shape, 0.05, rng), np.zeros(shape, np.uint8)
    parts = (  # centre (y, x), radii (y, x), intensity, label; later parts lie on top
        ((0.0, 0.0), (0.82, 0.9), 0.32, 0),
        ((-0.1, -0.42), (0.5, 0.34), 0.55, 1),
        ((-0.02, -0.36), (0.16, 0.13), 0.74, 2),
        ((0.08, 0.4), (0.3, 0.24), 0.5, 3),
        ((0.1, 0.42), (0.12, 0.09), 0.36, 4),
        ((-0.42, 0.16), (0.09, 0.09), 0.82, 5),
        ((-0.36, 0.38), (0.07, 0.07), 0.8, 5),
        ((0.5, 0.0), (0.14, 0.16), 0.9, 6),
    )
    for (cy, cx), (ry, rx), intensity, label in parts:
        squared = ((place[-2] - cy) / ry) ** 2 + ((place[-1] - cx) / rx) ** 2
        if len(shape) == 3 and label not in (0, 5, 6):  # vessels and spine run through all slices
            squared = squared + (place[0] / (1.4 * ry if label in (2, 4) else 0.7)) ** 2
        inside = squared < 1
        image[inside] = intensity
        image[inside] += (0.04 * _smooth(shape, 0.03, rng))[inside]
        labels[inside] = label
    image = ndimage.gaussian_filter(image, 0.8) + rng.normal(0, 0.025, shape)
    return np.asarray(1000 * image.clip(0, 1), dtype=np.float32), labels


def _smooth(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), [scale * n for n in shape], mode="nearest")
    return np.asarray(noise / max(float(noise.std()), 1e-9))
