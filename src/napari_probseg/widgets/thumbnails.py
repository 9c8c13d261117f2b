"""Pictures of candidates: the image around what changes, with the candidate drawn over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates
from napari_probseg.case import Marker, Region
from napari_probseg.widgets.layers import BLUE, RED

_MARGIN, _LARGEST = 0.2, 160


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A picture of one candidate and what it says of itself.

    Parameters
    ----------
    picture : (h, w, 3) uint8 array
        The image around what changes; object red, background blue, what is new stronger than what was decided.
    n_object, n_background : int
        How many voxels it decides.
    share : float
        The share of the samples that agree with it, in [0, 1].
    stretch : float
        Height of a pixel of the picture over its width, in mm over mm.
    """

    picture: NDArray[np.uint8]
    n_object: int
    n_background: int
    share: float
    stretch: float


def thumbnails(candidates: Candidates, axes: tuple[int, int]) -> list[Thumbnail]:
    """Return a picture of each candidate; all show the same place, so that they can be compared.

    Parameters
    ----------
    candidates : Candidates
        What is on offer.
    axes : (int, int)
        The image's axes that run downwards and to the right on the canvas.
    """
    case = candidates.case
    region = _crop(candidates, axes)
    step = _steps(region, axes)
    height, width = ((case.spacing or ())[axis] * n for axis, n in zip(axes, step, strict=True))
    grey = _picture(case.read(region), axes)[:: step[0], :: step[1]]
    before = _flat(case.partial[region], axes)[:: step[0], :: step[1]]
    pictures = []
    for i in range(len(candidates)):
        after = _flat(_patch(candidates, i, region), axes)[:: step[0], :: step[1]]
        n_object, n_background = candidates.added(i)
        share = float(candidates.share[i])
        pictures.append(Thumbnail(_drawn(grey, before, after), n_object, n_background, share, height / width))
    return pictures


def _crop(candidates: Candidates, axes: tuple[int, int]) -> Region:
    """Return the box around what any candidate adds, one voxel thick along the axis that is not shown.

    What is added as object counts; background may fill the image and would make the object a dot.
    """
    unknown = candidates.case.partial[candidates.where] == Marker.UNKNOWN
    changed = ((candidates.patches == Marker.OBJECT) & unknown).any(axis=0)
    if not changed.any():
        changed = ((candidates.patches == Marker.BACKGROUND) & unknown).any(axis=0)
    if not changed.any():
        changed = np.ones_like(changed)
    region = []
    for axis, (part, n) in enumerate(zip(candidates.where, candidates.case.shape, strict=True)):
        start = part.start or 0
        profile = changed.sum(axis=tuple(a for a in range(changed.ndim) if a != axis))
        if axis not in axes:
            thickest = start + int(profile.argmax())
            region.append(slice(thickest, thickest + 1))
            continue
        found = np.flatnonzero(profile)
        margin = max(4, int(_MARGIN * (found[-1] - found[0] + 1)))
        region.append(slice(max(0, start + int(found[0]) - margin), min(n, start + int(found[-1]) + 1 + margin)))
    return tuple(region)


def _steps(region: Region, axes: tuple[int, int]) -> tuple[int, int]:
    """Return how many voxels to go per pixel, so that no side has more than ``_LARGEST`` of them."""
    down, right = (region[axis].stop - region[axis].start for axis in axes)
    return max(1, round(down / _LARGEST)), max(1, round(right / _LARGEST))


def _patch(candidates: Candidates, i: int, region: Region) -> NDArray[np.uint8]:
    """Return what candidate ``i`` says in a region that may reach beyond the one it changes."""
    patch = candidates.case.partial[region].copy()
    inner, outer = [], []
    for part, wanted in zip(candidates.where, region, strict=True):
        start = part.start or 0
        first, last = max(start, wanted.start), min(part.stop, wanted.stop)
        inner.append(slice(first - wanted.start, last - wanted.start))
        outer.append(slice(first - start, last - start))
    patch[tuple(inner)] = candidates.patches[i][tuple(outer)]
    return patch


def _flat(values: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
    """Return the plane on show, turned as on the canvas."""
    hidden = tuple(axis for axis in range(values.ndim) if axis not in axes)
    plane = values.squeeze(axis=hidden)
    return plane if axes[0] < axes[1] else plane.T


def _picture(channels: NDArray[np.float32], axes: tuple[int, int]) -> NDArray[np.float32]:
    """Return (C, ...) intensities as an (h, w, 3) picture in [0, 1]: three channels as colours, others as grey."""
    values = np.stack([_flat(channel, axes) for channel in channels])
    colours = len(values) == 3
    of_each = None if colours else (1, 2)
    low, high = np.percentile(values, (1, 99), axis=of_each, keepdims=not colours)
    values = np.clip((values - low) / np.maximum(high - low, 1e-9), 0, 1)
    if not colours:
        values = np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
    return np.moveaxis(values, 0, -1).astype(np.float32)


def _drawn(picture: NDArray[np.float32], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture with the markers over it."""
    drawn = picture.copy()
    for marker, colour, strength in ((Marker.OBJECT, RED, 0.55), (Marker.BACKGROUND, BLUE, 0.4)):
        for mask, alpha in ((after == marker, strength), (before == marker, 0.35)):
            drawn[mask] = (1 - alpha) * drawn[mask] + alpha * np.asarray(colour, np.float32)
    return (255 * np.clip(drawn, 0, 1)).astype(np.uint8)
