"""What a network sees of a case: a window of image and marks, sampled to the size that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.case import Case, Marker, Region
from napari_probseg.proposers.window import Window, wider
from napari_probseg.training.general import network_input

LARGEST = 2**24  # voxels that are read of a window; of a larger one every second is, or every third ...

_POOLED = {2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


def window_inputs(
    case: Case, windows: Sequence[Window], size: int, *, n_channels: int = 3
) -> tuple[list[Window], Tensor]:
    """Return windows and x of them, (windows, n_channels + 2, S, ...).

    While the image is constant in the farthest, a wider one takes the place of the closest.

    Raises
    ------
    ValueError
        If the image is constant as far as can be seen, or not finite.
    """
    seen, x = list(windows), [window_input(case, window, size, n_channels=n_channels) for window in windows]
    while not x[-1][:n_channels].any():
        window = wider(case, seen[-1])
        if window is None:
            value = float(case.read(tuple(slice(n // 2, n // 2 + 1) for n in case.shape)).flat[0])
            raise ValueError(f"the image is constant ({value:g} everywhere): there is nothing to follow")
        seen, x = [*seen[1:], window], [*x[1:], window_input(case, window, size, n_channels=n_channels)]
    return seen, torch.stack(x)


def window_input(case: Case, window: Window, size: int, *, n_channels: int = 3) -> Tensor:
    """Return x of one window, (n_channels + 2, S, ...): the image, and what is inside and outside by now.

    Raises
    ------
    ValueError
        If the image is not finite there.
    """
    where, padding = window.within(case.shape), window.padding(case.shape)
    step = max(1, round((np.prod([float(s.stop - s.start) for s in where]) / LARGEST) ** (1 / case.ndim)))
    image = case.read(tuple(slice(s.start, s.stop, step) for s in where))
    if np.ptp(image) == 0:
        image = np.zeros_like(image)
    thinned = [(before // step, after // step) for before, after in padding]
    image = np.pad(with_channels(image, n_channels), [(0, 0), *thinned], mode="edge")
    partial = np.pad(case.partial[where], padding)
    marks = np.stack([partial == Marker.OBJECT, partial == Marker.BACKGROUND]).astype(np.float32)
    inside, outside = _resized_marks(torch.from_numpy(marks), size) > 0
    pixels = resized(torch.from_numpy(image), (size,) * case.ndim)
    return network_input(pixels[None], inside[None], (outside & ~inside)[None])[0]


def resized(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Return (C, ...) linearly interpolated to another shape; what is made smaller is averaged first."""
    if len(shape) == 2:
        return F.interpolate(values[None], tuple(shape), mode="bilinear", antialias=True)[0]
    smaller = tuple(min(a, b) for a, b in zip(values.shape[1:], shape, strict=True))
    return F.interpolate(F.interpolate(values[None], smaller, mode="area"), tuple(shape), mode="trilinear")[0]


def enlarged(values: Tensor, shape: Sequence[int], where: Region) -> Tensor:
    """Return a region of (C, ...) linearly interpolated to another shape, at the cost of that region.

    Parameters
    ----------
    values : (C, S, ...) tensor
    shape : sequence of int
        Of the whole.
    where : tuple of slices
        The region of it.
    """
    for axis, (n, part) in enumerate(zip(shape, where, strict=True), 1):
        s = values.shape[axis]
        at = ((torch.arange(part.start, part.stop) + 0.5) * (s / n) - 0.5).clamp(0, s - 1)
        before = at.floor().long()
        weight = (at - before).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        after = (before + 1).clamp(max=s - 1)
        values = torch.lerp(values.index_select(axis, before), values.index_select(axis, after), weight)
    return values


def _resized_marks(marks: Tensor, size: int) -> Tensor:
    """Return (2, S, ...) in which the smallest mark survives."""
    smaller = [min(n, size) for n in marks.shape[1:]]
    pooled = _POOLED[len(smaller)](marks, smaller)
    return F.interpolate(pooled[None], (size,) * len(smaller), mode="nearest-exact")[0]


def with_channels(image: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Return (n, ...) of any number of channels: few are filled up with their mean, many give their principal ones."""
    if len(image) <= n:
        mean = image.mean(0, keepdims=True)
        return np.concatenate([image, *[mean] * (n - len(image))])
    flat = image.reshape(len(image), -1)
    flat = (flat - flat.mean(1, keepdims=True)) / np.maximum(flat.std(1, keepdims=True), 1e-6)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    return np.asarray(vectors[:, : -n - 1 : -1].T @ flat, dtype=np.float32).reshape(n, *image.shape[1:])
