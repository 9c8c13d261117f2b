"""Completion of many seeds at once: the network looks at each in windows of the scale that the examples tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.graph_cut import Cutter, noise_of
from napari_probseg.inference.inputs import with_channels
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.inputs import network_input
from napari_probseg.nn.presets import General
from napari_probseg.region import Region, bounding_box, grown
from napari_probseg.similar.frame import Frame

WINDOW_SIDE_RATIOS = {2: (3.4, 4.6), 3: (2.0, 3.0)}  # sides over the diameter of what is looked for
DAB_RADIUS_RATIO = 0.12  # radius of the mark on a seed, over that diameter
N_BATCH = {2: 8, 3: 4}  # seeds
WINDOW_WEIGHT_POWER = 4.0  # power of what a window's answer is worth, by which it counts
SMOOTHNESS, EDGES = 1.0, 2.0  # of the cut: lambda, and sigma over the noise of the image


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network makes of a seed.

    Parameters
    ----------
    where : tuple of slices
        The voxels that it is about.
    log_odds : float32 array of that shape
        Of object.
    estimate : float
        The Dice that is expected of it, in [0, 1].
    readings : tuple of bool arrays of that shape
        What is object in each window alone.
    """

    where: Region
    log_odds: NDArray[np.float32]
    estimate: float
    readings: tuple[NDArray[np.bool_], ...] = ()


@torch.inference_mode()
def completed(
    network: General, case: Case, places: Sequence[Sequence[float]], diameters: Sequence[float]
) -> list[Answer]:
    """Return an answer for each seed.

    Parameters
    ----------
    places : sequence of places in voxels
    diameters : sequence of float
        Of what is looked for there, in mm.
    """
    size, device = WINDOW_SIDE[case.ndim], next(network.parameters()).device
    n_channels = network.config.n_image_channels
    frames = [
        [Frame.around(case, place, k * diameter, size) for k in WINDOW_SIDE_RATIOS[case.ndim]]
        for place, diameter in zip(places, diameters, strict=True)
    ]
    flat = [frame for of_seed in frames for frame in of_seed]
    images = torch.stack([_seen(case, frame, n_channels) for frame in flat])
    dabs = torch.stack(
        [_dab(size, case.ndim, size / k * DAB_RADIUS_RATIO) for k in WINDOW_SIDE_RATIOS[case.ndim]] * len(places)
    )
    x = network_input(images, dabs, torch.zeros_like(dabs)).to(device)
    said = network.decode_control(network.features(x), torch.ones(len(x), device=device))
    logits, quality = said.object.float().cpu(), said.quality.sigmoid().float().cpu()
    n = len(WINDOW_SIDE_RATIOS[case.ndim])
    return [_fused(case, frames[i], logits[n * i : n * i + n], quality[n * i : n * i + n]) for i in range(len(places))]


def _seen(case: Case, frame: Frame, n_channels: int) -> Tensor:
    image = frame.image(case).numpy()
    return torch.from_numpy(with_channels(image, n_channels))


def _dab(size: int, ndim: int, radius: float) -> Tensor:
    axes = np.ogrid[(slice(0, size),) * ndim]
    squared = sum((axis - (size - 1) / 2) ** 2 for axis in axes)
    return torch.from_numpy(np.asarray(squared <= max(1.0, radius) ** 2))


def _fused(case: Case, frames: Sequence[Frame], logits: Tensor, quality: Tensor) -> Answer:
    """Join the answers in the windows of one seed, each counting by how good it is thought to be."""
    where = frames[0].within(case.shape)
    weight = quality.pow(WINDOW_WEIGHT_POWER).clamp(min=1e-4)
    maps = [frame.on_voxels(logit, where) for frame, logit in zip(frames, logits, strict=True)]
    total = sum(float(w) * values for w, values in zip(weight, maps, strict=True))
    expected = float((weight * quality).sum() / weight.sum())
    log_odds = np.asarray(total / float(weight.sum()), dtype=np.float32)
    return Answer(where, log_odds, expected, tuple(values > 0 for values in maps))


def ends_with(mask: NDArray[np.bool_], where: Region, shape: Sequence[int]) -> bool:
    """Return whether a mask in a region reaches a side of it beyond which the image goes on."""
    return any(
        (s.start > 0 and mask.take(0, axis).any()) or (s.stop < n and mask.take(-1, axis).any())
        for axis, (s, n) in enumerate(zip(where, shape, strict=True))
    )


def object_at(
    log_odds: NDArray[np.float32], place: Sequence[int], locked: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Return the connected object at a place, or the one nearest to it within its own size; None if there is none."""
    inside = (log_odds > 0) & ~locked
    labels, n = ndimage.label(inside)
    if not n:
        return None
    label = int(labels[tuple(place)])
    if not label:
        near = grown(tuple(slice(p, p + 1) for p in place), [2] * inside.ndim, inside.shape)
        counts = np.bincount(labels[near].ravel())
        if len(counts) < 2:
            return None
        label = 1 + int(counts[1:].argmax())
    found = labels == label
    return np.asarray(ndimage.binary_fill_holes(found)) & ~locked


def divided(mask: NDArray[np.bool_], place: Sequence[int], others: Sequence[Sequence[int]]) -> NDArray[np.bool_] | None:
    """Return the part of an object that belongs to one seed where others lie in it, too; None if none does.

    Touching objects are parted where they are narrow: a watershed of the distance to the border (Beucher 1979).
    """
    from skimage.segmentation import watershed

    within = [other for other in others if all(0 <= p < n for p, n in zip(other, mask.shape, strict=True))]
    within = [other for other in within if mask[tuple(other)] and tuple(other) != tuple(place)]
    if not within or not mask[tuple(place)]:
        return None
    markers = np.zeros(mask.shape, dtype=np.int32)
    for i, other in enumerate((place, *within), 1):
        markers[tuple(other)] = i
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
    return np.asarray(watershed(-ndimage.gaussian_filter(depth, 1.0), markers, mask=mask) == 1)


def cut_out(
    case: Case, answer: Answer, mask: NDArray[np.bool_], locked: NDArray[np.bool_]
) -> tuple[Region, NDArray[np.bool_]]:
    """Return the region and the mask of least energy (Boykov & Jolly 2001) of an object that was found.

    Parameters
    ----------
    answer : Answer
    mask, locked : bool arrays of the answer's region
        The object as it is more likely than not; and what belongs to finished objects.
    """
    box = bounding_box(mask)
    assert box is not None
    margins = [2 + (s.stop - s.start) // 4 for s in box]
    inner = grown(box, margins, mask.shape)
    where = tuple(slice(s.start + o.start, s.start + o.stop) for s, o in zip(answer.where, inner, strict=True))
    image = case.read(where)
    partial = np.where(locked[inner], Marker.BACKGROUND, Marker.UNKNOWN)
    partial[(answer.log_odds[inner] > 0) & ~mask[inner]] = Marker.BACKGROUND  # of a neighbour that it touches
    depth = ndimage.distance_transform_edt(np.pad(mask[inner], 1))[(slice(1, -1),) * mask.ndim]
    partial[depth == depth.max()] = Marker.OBJECT
    if np.ptp(image) > 0:
        region = Case(image, case.spacing, 0, partial)
        noise = noise_of(region.image, channel_axis=0) or 1.0
        probability = (1 / (1 + np.exp(-np.clip(answer.log_odds[inner], -12, 12)))).astype(np.float32)
        cut = Cutter(region, sigma=EDGES * noise).cut(probability, smoothness=SMOOTHNESS)
        labels, _ = ndimage.label(cut)
        middle = np.unravel_index(int(depth.argmax()), depth.shape)
        found = labels == labels[middle]
    else:
        found = mask[inner]
    tight = bounding_box(found)
    assert tight is not None
    return tuple(slice(w.start + t.start, w.start + t.stop) for w, t in zip(where, tight, strict=True)), found[tight]
