"""Data augmentation by MONAI: flips, rotations and scales, elastic deformation, intensities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import pi

import torch

from napari_probseg.inference.sliding_window import monai
from napari_probseg.training.examples import Batch


def augmentation(spacing: Sequence[float], *, mirror: bool) -> Callable[[Iterable[Batch], int], list[Batch]]:
    """Return a function from patches and a seed to changed patches of the same sizes.

    Parameters
    ----------
    spacing : sequence of float
        In mm: a volume with one coarse axis turns about it alone, so that slices stay slices.
    mirror : bool
        Whether patches are flipped; not where labels tell left from right.

    Raises
    ------
    RuntimeError
        If MONAI is not installed.
    """
    transforms = monai("transforms")
    both = ("image", "label")
    flat = len(spacing) == 2
    coarse = [i for i, mm in enumerate(spacing) if mm > 2 * min(spacing)]
    turns = [pi] if flat else [0.5] * 3 if not coarse else [pi * (i in coarse) for i in range(3)]
    placed = {"mode": ("bilinear", "nearest"), "padding_mode": "reflection"}
    if flat:
        elastic = transforms.Rand2DElasticd(both, spacing=(30, 30), magnitude_range=(0, 5), prob=0.2, **placed)
    else:
        elastic = transforms.Rand3DElasticd(both, sigma_range=(4, 6), magnitude_range=(0, 100), prob=0.1, **placed)
    flips = [transforms.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(len(spacing) if mirror else 0)]
    change = transforms.Compose(
        [
            *flips,
            transforms.RandAffined(both, prob=0.3, rotate_range=turns, scale_range=[0.2] * len(spacing), **placed),
            elastic,
            transforms.RandGaussianNoised("image", prob=0.15, std=0.1),
            transforms.RandGaussianSmoothd("image", prob=0.1, sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1)),
            transforms.RandScaleIntensityd("image", factors=0.25, prob=0.15),
            transforms.RandAdjustContrastd("image", gamma=(0.7, 1.5), prob=0.15),
        ]
    )

    def augment(patches: Iterable[Batch], seed: int) -> list[Batch]:
        change.set_random_state(seed)
        changed = (change({"image": image, "label": label[None].float()}) for image, label in patches)
        return [(_plain(c["image"]), _plain(c["label"])[0].round().short()) for c in changed]

    return augment


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without MONAI's record of what was done to it."""
    return torch.as_tensor(tensor.numpy())
