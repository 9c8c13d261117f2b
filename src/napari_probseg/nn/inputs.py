"""Inputs of the networks: intensities normalised, the same in training and inference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N_MARKS = 3  # channels of x behind the image's: inside, outside, accepted


def network_input(image: Tensor, inside: Tensor, outside: Tensor, accepted: Tensor | None = None) -> Tensor:
    """Return x, (B, C + 3, Y, X): each channel of the image normalised over the region, the marks, what was accepted.

    Parameters
    ----------
    image : (B, C, Y, X) tensor
    inside, outside : (B, Y, X) bool tensors
        The strokes.
    accepted : (B, Y, X) tensor, optional
        What was accepted before: 1 object, -1 background, 0 nothing. Nothing if absent.
    """
    marks = [inside, outside, torch.zeros_like(inside) if accepted is None else accepted]
    return torch.cat([normalised(image), torch.stack(marks, 1).to(image.dtype)], 1)


def as_marks(x: Tensor) -> Tensor:
    """Return x, (B, C + 2, Y, X), with what was accepted among the marks, for a network that knows no difference."""
    image, (inside, outside, accepted) = x[:, :-N_MARKS], x[:, -N_MARKS:].unbind(1)
    inside, outside = torch.where(accepted > 0, 1.0, inside), torch.where(accepted < 0, 1.0, outside)
    return torch.cat([image, torch.stack([inside, outside], 1)], 1)


def normalised(image: Tensor) -> Tensor:
    """Return (B, C, ...) with mean 0 and standard deviation 1 of each channel, clipped to [-4, 4]."""
    axes = tuple(range(2, image.ndim))
    largest = image.abs().amax(axes, keepdim=True)
    image = image / torch.where(largest > 0, largest, 1.0)  # so that no square is too small, or too large, to be told
    sd, mean = torch.std_mean(image, axes, keepdim=True)
    return ((image - mean) / sd.clamp(min=1e-6)).clamp(-4, 4)


def z_scored(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (C, ...) with mean 0 and standard deviation 1 in each channel (Isensee et al. 2018, section 2.3)."""
    axes = tuple(range(1, image.ndim))
    centred = image - image.mean(axes, keepdims=True)
    deviation = centred.std(axes, keepdims=True)
    floor = 1e-6 * np.abs(centred).max(axes, keepdims=True)  # of rounding alone; whatever the unit
    return np.asarray(centred / np.where(deviation > floor, deviation, 1), dtype=np.float32)
