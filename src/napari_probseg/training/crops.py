"""Crops of one size around random objects of labelled images.

For images and volumes alike: where a shape says (Y, X), it may be (Z, Y, X).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as connected
from skimage.segmentation import felzenszwalb, watershed
from skimage.transform import resize
from torch.nn import functional as F

from napari_probseg.dataset.raw import LabelledImage, RawDataset

SIDE_VOXELS = {2: 128, 3: 64}  # of a crop, by number of dimensions
N_CHANNELS = {2: 3, 3: 2}
N_LABELS = 64
SIDE_EXTENTS = {2: (0.9, 11.0), 3: (1.2, 5.0)}  # of its object; a part of a crop is seen, see `pool.SEEN_SHARE`
SHIFT_SHARE = {2: 0.8, 3: 0.4}  # of the room, that an object lies off the centre at most: a turned cube loses more

Crop = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]  # image, instance, kind: one item of a `Pool`


def crops_of(
    dataset: RawDataset, n: int, rng: np.random.Generator, *, ndim: int, share_pseudo: float = 0.12
) -> Iterator[Crop]:
    """Yield ``n`` crops of the training part of a data set, of each case alike; none of images for ``ndim=3``."""
    names = dataset.split("training")
    for i, name in enumerate(names):
        case = dataset.load(name)
        if case.label.ndim < ndim:
            return
        for crop in _crops(case, n // len(names) + (i < n % len(names)), rng, ndim=ndim):
            yield _with_superpixels(crop, rng) if rng.random() < share_pseudo else crop


def _crops(case: LabelledImage, n: int, rng: np.random.Generator, *, ndim: int) -> Iterator[Crop]:
    """Cut ``n`` squares or cubes in mm around random objects; fewer if they are hard to find."""
    done = 0
    for _, (image, instance, kind, spacing) in zip(range(20 * n), _views(case, rng, ndim), strict=False):
        if done == n:
            return
        found = _around_an_object(instance, spacing, rng)
        if found is None:
            continue
        centre, side = found
        crop, inst = _cut(image, instance, centre / spacing, side / spacing)
        kept, kinds = _renumbered(inst, kind)
        if kept.max() == 0 or np.ptp(crop) == 0:
            continue
        yield crop, kept, kinds
        done += 1


def _around_an_object(
    instance: NDArray[np.int32], spacing: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float] | None:
    """Return centre and side in mm of a crop that shows some object, from near or far; None if there is none."""
    sizes = np.bincount(instance.ravel())[1:]
    if not sizes.size:
        return None
    chosen = 1 + rng.choice(sizes.size, p=np.sqrt(sizes) / np.sqrt(sizes).sum())
    voxels = np.argwhere(instance == chosen)
    if len(voxels) < 4:
        return None
    low, high = voxels.min(0), voxels.max(0)
    extent = float(np.max((high - low) * spacing)) + spacing.min()
    whole = float(np.max(np.asarray(instance.shape) * spacing))
    smallest, largest = SIDE_EXTENTS[instance.ndim]
    side = extent * np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    side = float(np.clip(side, 20 * spacing.min(), 1.15 * whole))
    room = max(0.0, side - extent) / 2
    middle = ((low + high) / 2 if room else voxels[rng.integers(len(voxels))]) * spacing
    return middle + rng.uniform(-1, 1, instance.ndim) * room * SHIFT_SHARE[instance.ndim], side


View = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.uint8], NDArray[np.float64]]


def _views(case: LabelledImage, rng: np.random.Generator, ndim: int) -> Iterator[View]:
    """Yield image, instances, their classes and the spacing without end: the case, or random planes of a volume."""
    if case.label.ndim == ndim:
        instance, kind = _instances(case.label, case.instances)
        yield from repeat((case.image, instance, kind, np.asarray(case.spacing)))
    while True:
        axis = int(rng.integers(3))
        where = np.flatnonzero(case.label.any(axis=tuple(a for a in range(3) if a != axis)))
        index = int(rng.choice(where)) if where.size else case.label.shape[axis] // 2
        image, label = (np.asarray(np.take(a, index, axis - 3)) for a in (case.image, case.label))
        instance, kind = _instances(label, case.instances)
        yield image, instance, kind, np.delete(case.spacing, axis)


def _instances(label: NDArray[np.int32], instances: bool) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the label map with one id for each object, and the class of each id."""
    if instances:
        ids, inverse = np.unique(label, return_inverse=True)
        if ids[0] != 0:
            inverse = inverse + 1
        kind = np.ones(int(inverse.max()) + 1, dtype=np.uint8)
        kind[0] = 0
        return inverse.reshape(label.shape).astype(np.int32), kind
    parts = connected(label, background=0, connectivity=2).astype(np.int32)
    kind = np.zeros(int(parts.max()) + 1, dtype=np.uint8)
    kind[parts.ravel()] = np.clip(label, 0, 255).ravel()
    return parts, kind


def _cut(
    image: NDArray[np.float32], instance: NDArray[np.int32], centre: NDArray[np.float64], side: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    low = np.round(centre - side / 2).astype(int)
    high = np.maximum(low + np.round(side).astype(int), low + 4)
    before = np.maximum(0, -low)
    after = np.maximum(0, high - np.array(instance.shape))
    window = tuple(slice(max(0, a), max(0, b)) for a, b in zip(low, high, strict=True))
    pads = list(zip(before, after, strict=True))
    crop = np.pad(image[(slice(None), *window)], [(0, 0), *pads], mode="edge")
    return _as_bytes(_with_channels(_resized(crop))), _resized_labels(np.pad(instance[window], pads))


def _resized(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (C, Y, X) at the pool's size; what is made smaller is averaged first."""
    ndim = crop.ndim - 1
    size = (SIDE_VOXELS[ndim],) * ndim
    if ndim == 2:
        return np.asarray(resize(crop, (len(crop), *size), order=1, anti_aliasing=max(crop.shape[1:]) > SIDE_VOXELS[2]))
    smaller = [min(a, b) for a, b in zip(crop.shape[1:], size, strict=True)]
    values = F.interpolate(torch.from_numpy(crop)[None], smaller, mode="area")
    return np.asarray(F.interpolate(values, size, mode="trilinear")[0])


def _resized_labels(instance: NDArray[np.int32]) -> NDArray[np.int32]:
    size = (SIDE_VOXELS[instance.ndim],) * instance.ndim
    values = F.interpolate(torch.from_numpy(instance).double()[None, None], size, mode="nearest-exact")
    return np.asarray(values[0, 0].int())


def _with_channels(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return as many channels as the pool has: few are filled up with their mean."""
    n = N_CHANNELS[crop.ndim - 1]
    return np.concatenate([crop[:n], *[crop.mean(0, keepdims=True)] * (n - len(crop))])


def _as_bytes(crop: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(crop, (0.5, 99.5), axis=tuple(range(1, crop.ndim)), keepdims=True)
    spread = np.where(high > low, high - low, 1)
    return np.asarray(np.clip((crop - low) / spread, 0, 1) * 255, dtype=np.uint8)


def _renumbered(instance: NDArray[np.int32], kind: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Keep the largest instances that fit into the table of kinds."""
    ids, counts = np.unique(instance[instance > 0], return_counts=True)
    keep = ids[np.argsort(-counts)][: N_LABELS - 1]
    table = np.zeros(int(instance.max()) + 1, dtype=np.uint8)
    table[keep] = np.arange(1, keep.size + 1)
    kinds = np.zeros(N_LABELS, dtype=np.uint8)
    kinds[1 : keep.size + 1] = kind[keep]
    return table[instance], kinds


def _with_superpixels(crop: Crop, rng: np.random.Generator) -> Crop:
    """Return a crop with regions of it for labels, each of a kind of its own.

    Those of Felzenszwalb & Huttenlocher (2004) in images, the basins of the gradient in volumes.
    """
    image = crop[0]
    values = image.astype(np.float32) / 255
    if image.ndim == 3:
        scale = float(np.exp(rng.uniform(np.log(20), np.log(400))))
        smooth = np.moveaxis(ndimage.gaussian_filter(values, (0, 1.0, 1.0)), 0, -1)
        parts = 1 + felzenszwalb(smooth, scale=scale, sigma=0.5, min_size=40, channel_axis=-1)
    else:
        sigma = float(np.exp(rng.uniform(np.log(1.5), np.log(5.0))))
        parts = watershed(ndimage.gaussian_gradient_magnitude(values.mean(0), sigma))
    renumbered, _ = _renumbered(parts, np.ones(int(parts.max()) + 1, dtype=np.uint8))
    return image, renumbered, np.arange(N_LABELS, dtype=np.uint8)
