"""What a network sees of a case: a window of image and marks, sampled to the size that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.case import Case, Marker
from napari_probseg.inference.resampling import interpolating, resizing, transformed
from napari_probseg.inference.windows import Window, wider
from napari_probseg.intensities import computed, sameness
from napari_probseg.nn.inputs import network_input, z_scored
from napari_probseg.region import Region, hull, indices_of, overlap

# Voxels that are read of a window; of a larger one every second is, or every third ... The network sees far fewer.
MAX_READ_VOXELS = {2: 2**24, 3: 2**21}

_MARKERS = (Marker.OBJECT, Marker.BACKGROUND)
_T = TypeVar("_T", bound=np.generic)


class NothingToSeeError(ValueError):
    """The image is constant as far as can be seen."""


def window_inputs(
    case: Case, windows: Sequence[Window], size: int, *, n_channels: int = 3
) -> tuple[list[Window], Tensor]:
    """Return windows and x of them, (windows, n_channels + 3, S, ...).

    While the image is constant in the farthest, a wider one takes the place of the closest.

    Raises
    ------
    NothingToSeeError
        If the image is constant as far as can be seen.
    ValueError
        If it is not finite.
    """
    seen, x = list(windows), [window_input(case, window, size, n_channels=n_channels) for window in windows]
    while not x[-1][:n_channels].any():
        window = wider(case, seen[-1])
        if window is None:
            raise NothingToSeeError(f"{evenness(case, seen[-1].within(case.shape))}: there is nothing to follow")
        seen, x = [*seen[1:], window], [*x[1:], window_input(case, window, size, n_channels=n_channels)]
    return seen, torch.stack(x)


def evenness(case: Case, where: Region) -> str:
    """Return in words why nothing is told apart in a region, of which `Case.read` gives one value everywhere.

    Parameters
    ----------
    case : Case
        The image.
    where : tuple of slices
        The region.
    """
    region = list(where)
    if case.channel_axis is not None:
        region.insert(case.channel_axis, slice(None))
    values = computed(case.image[tuple(region)])
    channels = values[None] if case.channel_axis is None else np.moveaxis(values, case.channel_axis, 0)
    is_whole = all(s.stop - s.start == n for s, n in zip(where, case.shape, strict=True))
    return sameness(channels, "everywhere" if is_whole else "where it was looked at")


def is_even(image: NDArray[np.float32]) -> bool:
    """Return whether all channels of (C, ...) are constant."""
    return all(np.ptp(channel) == 0 for channel in image)


def differing(case: Case, where: Region, advice: str) -> NDArray[np.float32]:
    """Return the intensities of a region as `Case.read` does, (C, ...) float32, if any of them differ.

    Raises
    ------
    ValueError
        If none do: why, and the advice.
    """
    image = case.read(where)
    if is_even(image):
        raise ValueError(f"{evenness(case, where)}: {advice}")
    return image


def window_input(case: Case, window: Window, size: int, *, n_channels: int = 3) -> Tensor:
    """Return x of one window, (n_channels + 3, S, ...): the image, the strokes inside and outside, what was accepted.

    Raises
    ------
    ValueError
        If the image is not finite there.
    """
    where, padding = window.within(case.shape), window.padding(case.shape)
    step = max(
        1, round((np.prod([float(s.stop - s.start) for s in where]) / MAX_READ_VOXELS[case.ndim]) ** (1 / case.ndim))
    )
    image = case.read(tuple(slice(s.start, s.stop, step) for s in where))
    if is_even(image):
        image = np.zeros_like(image)
    if len(image) > n_channels:
        image = with_channels(image, n_channels)
    sampled = _with_padding(torch.from_numpy(image), window, where, padding, step, size)
    inside, outside = (marks_on(case, marker, window, size) for marker in _MARKERS)
    outside = outside & ~inside
    accepted = _accepted(case, window, size) * ~(inside | outside)
    marks = [torch.from_numpy(a)[None] for a in (inside, outside, accepted)]
    return input_of(sampled, marks, n_channels)


def input_of(image: Tensor, marks: Sequence[Tensor], n_channels: int) -> Tensor:
    """Return x, (n_channels + 3, ...), of an image (C, ...) and marks (1, ...); one channel alone is repeated last."""
    if len(image) > 1:
        filled = torch.from_numpy(with_channels(image.numpy(), n_channels))
        return network_input(filled[None], *marks)[0]
    x = network_input(image[None], *marks)[0]
    return torch.cat([x[:1].expand(n_channels, *x.shape[1:]), x[1:]])


def _with_padding(
    image: Tensor, window: Window, where: Region, padding: Sequence[tuple[int, int]], step: int, size: int
) -> Tensor:
    """Return (C, S, ...) of the part of a window that lies in the image; what sticks out repeats the image's rim."""
    ndim = image.ndim - 1
    if math.prod(n / step for n in window.size) <= 4 * MAX_READ_VOXELS[ndim]:
        thinned = [(before // step, after // step) for before, after in padding]
        if ndim == 3:
            sides = zip(image.shape[1:], thinned, strict=True)
            return transformed(image, [resizing(n, size, pads) for n, pads in sides])
        return resized(torch.from_numpy(np.pad(image.numpy(), [(0, 0), *thinned], mode="edge")), (size,) * ndim)
    # Where one axis is a thousand times as coarse as another, a cube in mm is mostly outside: that is left out here.
    shares = [
        (min(int(before * size / n), size - 1), max(1, round((s.stop - s.start) * size / n)))
        for (before, _), s, n in zip(padding, where, window.size, strict=True)
    ]
    shares = [(first, min(length, size - first)) for first, length in shares]
    seen = resized(image, [length for _, length in shares]).numpy()
    return torch.from_numpy(np.pad(seen, [(0, 0), *((a, size - a - n) for a, n in shares)], mode="edge"))


def resized(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Return (C, ...) linearly interpolated to another shape; what is made smaller is averaged first."""
    if len(shape) == 2:
        return F.interpolate(values[None], tuple(shape), mode="bilinear", antialias=True)[0]
    return transformed(values, [resizing(a, b) for a, b in zip(values.shape[1:], shape, strict=True)])


def enlarged(values: Tensor, shape: Sequence[int], where: Region) -> Tensor:
    """Return a region of what `resized` returns, at the cost of that region; it leaves no range that it comes from.

    Parameters
    ----------
    values : (C, S, ...) tensor
    shape : sequence of int
        Of the whole.
    where : tuple of slices
        The region of it.
    """
    low, high = values.aminmax()
    smaller = [min(a, b) for a, b in zip(values.shape[1:], shape, strict=True)]
    values = values if smaller == list(values.shape[1:]) else resized(values, smaller)
    sides = zip(values.shape[1:], shape, where, strict=True)
    places = [(torch.arange(part.start, part.stop) + 0.5) * (old / n) - 0.5 for old, n, part in sides]
    if len(places) == 3:
        values = transformed(values, [interpolating(n, p) for n, p in zip(values.shape[1:], places, strict=True)])
    else:  # a large image would cost more by matrices
        for axis, along in enumerate(places, 1):
            values = interpolated(values, axis, along)
    return values.clamp(low, high)  # what is interpolated is rounded


def interpolated(values: Tensor, axis: int, places: Tensor) -> Tensor:
    """Return values linearly interpolated along an axis; beyond its ends they are those of the ends.

    Parameters
    ----------
    values : (..., S, ...) tensor
    axis : int
    places : (N,) tensor
        Where along it: 0 is the middle of the first entry.
    """
    last = values.shape[axis] - 1
    at = places.clamp(0, last)
    before = at.floor().long()
    weight = (at - before).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    after = (before + 1).clamp(max=last)
    return torch.lerp(values.index_select(axis, before), values.index_select(axis, after), weight)


def _accepted(case: Case, window: Window, size: int) -> NDArray[np.float32]:
    """Return (S, ...): 1 where most of what was accepted is object, -1 where it is background, 0 where nothing was."""
    marked = hull(case.marked, *([] if case.evidence is None else [case.evidence[0]]))
    where = overlap(marked, window.within(case.shape))
    if where is None:
        return np.zeros((size,) * case.ndim, dtype=np.float32)
    known = case.accepted(where)
    if not known.any():
        return np.zeros((size,) * case.ndim, dtype=np.float32)
    return on_places((known == Marker.OBJECT) * np.float32(1) - (known == Marker.BACKGROUND), where, window, size)


def on_places(values: NDArray[_T], where: Region, window: Window, size: int) -> NDArray[_T]:
    """Return values of a region of an image on a grid over a window, (size, ...); 0 where the region does not reach."""
    axes = zip(window.low, window.size, strict=True)
    index = [np.floor((np.arange(size) + 0.5) * n / size + low).astype(int) for low, n in axes]
    held = [(i >= s.start) & (i < s.stop) for i, s in zip(index, where, strict=True)]
    found = np.zeros((size,) * values.ndim, dtype=values.dtype)
    found[np.ix_(*held)] = values[np.ix_(*(i[h] - s.start for i, h, s in zip(index, held, where, strict=True)))]
    return found


def marks_on(case: Case, marker: Marker, window: Window, size: int) -> NDArray[np.bool_]:
    """Return (S, ...) in which the smallest stroke in a window survives, at the cost of the region that is marked."""
    marks = np.zeros((size,) * case.ndim, dtype=bool)
    near = overlap(case.marked, window.within(case.shape))
    if near is None:
        return marks
    axes = zip(indices_of(case.strokes[near] == marker), near, window.low, window.size, strict=True)
    ends = [_places(voxels + s.start - low, n, size) for voxels, s, low, n in axes]
    corners = np.zeros((size + 1,) * case.ndim, dtype=np.int32)  # each voxel adds 1 to its places, by their corners
    for corner in product((0, 1), repeat=case.ndim):
        np.add.at(corners, tuple(end[side] for end, side in zip(ends, corner, strict=True)), (-1) ** sum(corner))
    for axis in range(case.ndim):
        np.cumsum(corners, axis, out=corners)
    return np.asarray(corners[(slice(size),) * case.ndim] > 0)


def _places(voxels: NDArray[np.intp], n: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which of ``size`` places along an axis of ``n`` hold voxels, from and to; a place holds one at least."""
    if n < size:
        return -((n - 2 * voxels * size) // (2 * n)), -((n - 2 * (voxels + 1) * size) // (2 * n))
    return voxels * size // n, -(-(voxels + 1) * size // n)


def with_channels(image: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Return (n, ...) of any number of channels: few are filled up with their mean, many give their principal ones."""
    if len(image) <= n:
        mean = image.mean(0, keepdims=True)
        return np.concatenate([image, *[mean] * (n - len(image))])
    flat = image.reshape(len(image), -1)
    flat = z_scored(flat)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    return np.asarray(vectors[:, : -n - 1 : -1].T @ flat, dtype=np.float32).reshape(n, *image.shape[1:])
