"""Thumbnails of candidates: the image around what changes, with the candidate drawn over it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.morphology import deepest
from napari_probseg.region import Region, bounding_box
from napari_probseg.rendering import BLUE, RED

_MARGIN, _LARGEST, _COARSE = 0.2, 160, 64
_LEAST = 0.35  # of the crop of all candidates, on a side: the smallest crop of one
_ONE, _THREE = 1.0, 1.5  # width over height of a pane, alone and among three


@dataclass(frozen=True, eq=False)
class Pane:
    """A candidate on one plane.

    Parameters
    ----------
    picture : (h, w, 3) uint8 array
        The image around what changes; object red, background blue, what is new stronger than what was decided.
    stretch : float
        Height of a pixel of the picture over its width, in mm over mm.
    """

    picture: NDArray[np.uint8]
    stretch: float


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """Pictures of one candidate and what it says of itself.

    Parameters
    ----------
    panes : tuple of Pane
        The plane on view; of a volume's candidate then the two planes across it.
    n_object, n_background : int
        How many voxels it decides.
    share : float
        The share of the samples that agree with it, in [0, 1].
    place : tuple of int
        A voxel that it adds: the one that all pictures go through, or the nearest to that.
    is_kept : bool
        Whether it is what was on show, changed near the latest correction alone.
    """

    panes: tuple[Pane, ...]
    n_object: int
    n_background: int
    share: float
    place: tuple[int, ...]
    is_kept: bool = False


def thumbnails(candidates: Candidates, axes: tuple[int, int], *, in_volume: bool = False) -> list[Thumbnail]:
    """Return pictures of each candidate, on the same plane.

    On one plane each is cropped for itself, so that none is a dot because another one fills the image; on three planes
    all show the same place.

    Parameters
    ----------
    candidates : Candidates
        What is on offer.
    axes : (int, int)
        The image's axes that run downwards and to the right on the canvas.
    in_volume : bool
        Whether the candidates are of the whole volume, which takes three planes to show.
    """
    case, views = candidates.case, [axes]
    if case.in_time:
        return _at_a_time(candidates, axes) if len(candidates) else []
    if in_volume and min(case.shape) > 1:
        views += [pair for pair in combinations(range(3), 2) if set(pair) != set(axes)]
    votes = _votes(candidates)
    middle = _middle(votes, candidates)
    if not len(candidates):
        return []
    if len(views) == 1:
        panes = _cropped_each(candidates, votes, middle, axes)
        return [
            Thumbnail((pane,), *_told(candidates, i), _place(candidates, i, middle), i == candidates.kept)
            for i, pane in enumerate(panes)
        ]
    aspect = _THREE
    regions = [_around(votes, candidates, middle, view, aspect) for view in views]
    greys = _pictures([case.read(region) for region in regions], views, in_colours=_is_in_colours(case))
    drawn = list(zip(regions, views, greys, strict=True))
    return [
        Thumbnail(
            tuple(_pane(candidates, i, region, view, grey) for region, view, grey in drawn),
            *_told(candidates, i),
            _place(candidates, i, middle),
            i == candidates.kept,
        )
        for i in range(len(candidates))
    ]


def _told(candidates: Candidates, i: int) -> tuple[int, int, float]:
    """Return how much a candidate decides, as object and as background, and the share of the samples behind it."""
    return *candidates.added(i), float(candidates.share[i])


def _at_a_time(candidates: Candidates, axes: tuple[int, int]) -> list[Thumbnail]:
    """Return pictures of candidates of a time series: of the image that they add most to, as of one by itself."""
    t = int(_votes(candidates).sum(axis=tuple(range(1, candidates.case.ndim)), dtype=np.int64).argmax())
    at = (candidates.where[0].start or 0) + t
    one = Candidates(
        candidates.case.plane(0, at),
        candidates.where[1:],
        candidates.patches[:, t],
        candidates.score,
        candidates.share,
        candidates.probability[t],
        candidates.kept,
    )
    pictures = thumbnails(one, (axes[0] - 1, axes[1] - 1), in_volume=one.case.ndim == 3)
    added = [candidates.added(i) for i in range(len(candidates))]
    return [
        replace(picture, place=(at, *picture.place), n_object=n_object, n_background=n_background)
        for picture, (n_object, n_background) in zip(pictures, added, strict=True)
    ]


def _cropped_each(
    candidates: Candidates, votes: NDArray[np.uint8], middle: tuple[int, ...], view: tuple[int, int]
) -> list[Pane]:
    """Return every candidate on the plane through the middle, cropped to what it says, of one contrast.

    None is cropped to less than a part of what all of them add: a small one stays a small one.
    """
    whole = _around(votes, candidates, middle, view, _ONE)
    regions = []
    for patch in candidates.patches:
        own = (patch == Marker.OBJECT).view(np.uint8)
        region = list(_around(own, candidates, middle, view, _ONE) if own.any() else whole)
        for axis in view:
            least = round(_LEAST * (whole[axis].stop - whole[axis].start))
            region[axis] = _grown(region[axis], least, candidates.case.shape[axis])
        regions.append(tuple(region))
    distinct = list(dict.fromkeys(tuple((s.start, s.stop) for s in region) for region in regions))
    planes = [candidates.case.read(tuple(slice(*ends) for ends in region)) for region in distinct]
    greys = dict(
        zip(distinct, _pictures(planes, [view] * len(planes), in_colours=_is_in_colours(candidates.case)), strict=True)
    )
    return [
        _pane(candidates, i, region, view, greys[tuple((s.start, s.stop) for s in region)])
        for i, region in enumerate(regions)
    ]


def _votes(candidates: Candidates) -> NDArray[np.uint8]:
    """Return how many candidates add each voxel of the region that they change.

    What is added as object counts; background may fill the image and would make the object a dot.
    """
    unknown = candidates.case.partial[candidates.where] == Marker.UNKNOWN
    votes = np.zeros(unknown.shape, np.uint8)
    for marker in (Marker.OBJECT, Marker.BACKGROUND):
        for patch in candidates.patches:
            votes += (patch == marker) & unknown
        if votes.any():
            return votes
    return votes + np.uint8(1)


def _middle(votes: NDArray[np.uint8], candidates: Candidates) -> tuple[int, ...]:
    """Return the voxel of the image deepest in what most candidates add: few of them show nothing there."""
    core = votes == votes.max()
    box = bounding_box(core) or (slice(0, 1),) * core.ndim
    step = [1 + (part.stop - part.start) // _COARSE for part in box]
    if not (coarse := core[box][tuple(slice(None, None, n) for n in step)]).any():
        step, coarse = [1] * core.ndim, core[box]
    at = deepest(coarse, np.multiply(candidates.case.spacing or (), step))
    parts = zip(candidates.where, box, at, step, strict=True)
    return tuple(int((part.start or 0) + inner.start + i * n) for part, inner, i, n in parts)


def _place(candidates: Candidates, i: int, middle: tuple[int, ...]) -> tuple[int, ...]:
    """Return the voxel nearest to the middle that candidate ``i`` adds as object, or as background if it adds none."""
    before, after = candidates.case.partial[candidates.where], candidates.patches[i]
    start = np.array([part.start or 0 for part in candidates.where])
    for marker in (Marker.OBJECT, Marker.BACKGROUND):
        new = (after == marker) & (before == Marker.UNKNOWN)
        if new[tuple(middle - start)]:
            return middle
        if new.any():
            found = np.argwhere(new) + start
            squared = (((found - middle) * np.asarray(candidates.case.spacing)) ** 2).sum(axis=1)
            return tuple(int(at) for at in found[squared.argmin()])
    return middle


def _around(
    votes: NDArray[np.uint8], candidates: Candidates, middle: tuple[int, ...], view: tuple[int, int], aspect: float
) -> Region:
    """Return the plane through the middle, cut to what changes there and grown to the shape of its pane.

    What changes is what any candidate adds; in a small pane, what half of them add: the largest of them can be the
    whole body, in which all others would be dots.
    """
    case, starts = candidates.case, [part.start or 0 for part in candidates.where]
    mm, enough = case.spacing or (), 1 if aspect == _ONE else min(int(votes.max()), (len(candidates) + 1) // 2)
    plane = [slice(at - start, at - start + 1) for at, start in zip(middle, starts, strict=True)]
    for axis in view:
        plane[axis] = slice(None)
    box = bounding_box(votes[tuple(plane)] >= enough) or (slice(0, 1),) * votes.ndim
    region = [slice(at, at + 1) for at in middle]
    for axis in view:
        n = box[axis].stop - box[axis].start
        margin = max(4, int(_MARGIN * n))
        first = starts[axis] + box[axis].start
        region[axis] = slice(first - margin, first + n + margin)
    tall, wide = ((region[axis].stop - region[axis].start) * mm[axis] for axis in view)
    tall = max(tall, wide / aspect)
    for axis, length in zip(view, (tall, tall * aspect), strict=True):
        region[axis] = _grown(region[axis], round(length / mm[axis]), case.shape[axis])
    return tuple(region)


def _grown(part: slice, wanted: int, n: int) -> slice:
    """Return a part of an axis made at least ``wanted`` voxels long about its middle, inside an image of ``n``."""
    length = min(n, max(wanted, part.stop - part.start))
    start = min(max(0, (part.start + part.stop - length) // 2), n - length)
    return slice(start, start + length)


def _pane(candidates: Candidates, i: int, region: Region, view: tuple[int, int], picture: NDArray[np.float32]) -> Pane:
    """Return candidate ``i`` drawn on one plane, with no more than about ``_LARGEST`` pixels on a side."""
    down, right = (max(1, round((region[axis].stop - region[axis].start) / _LARGEST)) for axis in view)
    mm = candidates.case.spacing or ()
    stretch = mm[view[0]] * down / (mm[view[1]] * right)
    before = _flat(candidates.case.partial[region], view)[::down, ::right]
    after = _flat(_patch(candidates, i, region), view)[::down, ::right]
    return Pane(_drawn(picture[::down, ::right], before, after), stretch)


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


def _flat(values: NDArray[Any], view: tuple[int, int]) -> NDArray[Any]:
    """Return the plane on show, turned as on the canvas."""
    hidden = tuple(axis for axis in range(values.ndim) if axis not in view)
    plane = values.squeeze(axis=hidden)
    return plane if view[0] < view[1] else plane.T


def _is_in_colours(case: Case) -> bool:
    """Return whether the channels of a case are red, green and blue: those of images of their own come first."""
    return case.n_channels == 3 and case.channel_axis != 0


def _pictures(
    planes: list[NDArray[np.float32]], views: list[tuple[int, int]], *, in_colours: bool
) -> list[NDArray[np.float32]]:
    """Return (C, ...) intensities as (h, w, 3) pictures in [0, 1] of one contrast.

    Channels that are no colours are shown as grey, all of them as one.
    """
    joined = np.concatenate([plane.reshape(len(plane), -1) for plane in planes], axis=1)
    low, high = np.percentile(joined, (1, 99), axis=None if in_colours else 1, keepdims=True)[..., None]
    pictures = []
    for plane, view in zip(planes, views, strict=True):
        values = np.stack([_flat(channel, view) for channel in plane])
        values = np.clip((values - low) / np.maximum(high - low, 1e-9), 0, 1)
        if not in_colours:
            values = np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
        pictures.append(np.moveaxis(values, 0, -1).astype(np.float32))
    return pictures


def _drawn(picture: NDArray[np.float32], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture with the markers over it."""
    drawn = picture.copy()
    for marker, colour, strength in ((Marker.OBJECT, RED, 0.55), (Marker.BACKGROUND, BLUE, 0.4)):
        for mask, alpha in ((after == marker, strength), (before == marker, 0.35)):
            drawn[mask] = (1 - alpha) * drawn[mask] + alpha * np.asarray(colour, np.float32)
    return (255 * np.clip(drawn, 0, 1)).astype(np.uint8)
