"""Inputs of the networks: intensities normalised, the same in training and inference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def network_input(image: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Return x, (B, C + 2, Y, X): each channel of the image normalised over the region, and the marks.

    Voxels that lie outside the image are to be 0 in ``image`` and true in ``outside`` already.
    """
    return torch.cat([normalised(image), inside[:, None].to(image.dtype), outside[:, None].to(image.dtype)], 1)


def normalised(image: Tensor) -> Tensor:
    """Return (B, C, ...) with mean 0 and standard deviation 1 of each channel, clipped to [-4, 4]."""
    sd, mean = torch.std_mean(image, tuple(range(2, image.ndim)), keepdim=True)
    return ((image - mean) / sd.clamp(min=1e-6)).clamp(-4, 4)


def z_scored(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (C, ...) with mean 0 and standard deviation 1 in each channel (Isensee et al. 2018, section 2.3)."""
    axes = tuple(range(1, image.ndim))
    deviation = image.std(axes, keepdims=True)
    return np.asarray((image - image.mean(axes, keepdims=True)) / np.maximum(deviation, 1e-6), dtype=np.float32)
