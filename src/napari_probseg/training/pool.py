"""Crops of labelled images, of one size, packed so that a batch costs nothing to draw; they travel as one npz."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as connected
from skimage.segmentation import felzenszwalb
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.scenes import N_CHANNELS, Scene, degraded
from napari_probseg.training.dataset import LabelledImage, RawDataset

SIZE = 128
N_LABELS = 64


class Pool:
    """Real crops with instances and kinds, and super-pixels as pseudo-labels.

    Parameters
    ----------
    image : (N, 3, 128, 128) uint8 array
    instance : (N, 2, 128, 128) uint8 array
        The labelled instances, and super-pixels of the image; 0 is background.
    kind : (N, 64) uint8 array
        The class of each labelled instance.
    """

    def __init__(self, image: NDArray[np.uint8], instance: NDArray[np.uint8], kind: NDArray[np.uint8]) -> None:
        self.image, self.instance, self.kind = (torch.from_numpy(a) for a in (image, instance, kind))

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def load(cls, path: str | Path) -> Pool:
        """Read a pool that `save_pool` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["image"], file["instance"], file["kind"])

    def scene(self, n: int, size: int, chance: Chance) -> Scene:
        """Return ``n`` crops of ``size`` pixels, turned, stretched and degraded at random."""
        index = (chance.uniform(n) * len(self)).long().cpu()
        device = chance.device
        image = self.image[index].to(device).float() / 255
        labels = self.instance[index].to(device).float()
        grid = _random_grid(n, size, chance)
        image = F.grid_sample(image, grid, align_corners=False, padding_mode="border")
        labels = F.grid_sample(labels, grid, mode="nearest", align_corners=False).long()
        pseudo = chance.yes(n, 0.12)[:, None, None]
        kind = self.kind[index].to(device).long()
        every = torch.arange(N_LABELS, device=device).expand(n, -1)
        return Scene(
            degraded(image, chance, strength=0.4),
            torch.where(pseudo, labels[:, 1], labels[:, 0]),
            torch.where(pseudo[:, 0], every, kind),
        )


def _random_grid(n: int, size: int, chance: Chance) -> Tensor:
    """Return a sampling grid of random rotation, flip, scale and smooth warp, (n, size, size, 2)."""
    angle = chance.uniform(n, high=2 * torch.pi)
    scale = chance.uniform(n, low=0.65, high=1.0)
    flip = 1 - 2 * chance.yes(n, 0.5).float()
    stretch = chance.uniform(n, low=0.85, high=1.18)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    zero = torch.zeros_like(cos)
    rows = [torch.stack([cos * stretch * flip, -sin, zero], 1), torch.stack([sin * stretch * flip, cos, zero], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, size, size], align_corners=False)
    warp = chance.smooth(n, 2, size, size, cells=5) * chance.uniform(n, 1, 1, 1, high=0.05)
    return grid + warp.permute(0, 2, 3, 1)


def save_pool(path: str | Path, datasets: Iterable[RawDataset], *, n_per_dataset: int, seed: int) -> Iterator[str]:
    """Cut crops from the training part of each data set and write them, yielding the data sets' names when done."""
    rng = np.random.default_rng(seed)
    images, instances, kinds = [], [], []
    for dataset in datasets:
        names = dataset.split("training")
        for i, name in enumerate(names):
            case = dataset.load(name)
            n_crops = n_per_dataset // len(names) + (i < n_per_dataset % len(names))
            for image, instance, kind in _crops(case, n_crops, rng):
                images.append(image)
                instances.append(instance)
                kinds.append(kind)
        yield dataset.folder.name
    np.savez_compressed(path, image=np.stack(images), instance=np.stack(instances), kind=np.stack(kinds))


def _crops(
    case: LabelledImage, n: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
    """Cut ``n`` squares around random objects of random planes, objects large and small in them."""
    done = attempts = 0
    while done < n and attempts < 20 * n:
        attempts += 1
        image, label, spacing = _random_plane(case, rng)
        instance, kind = _instances(label, case.instances)
        if kind.size < 2:
            continue
        areas = np.bincount(instance.ravel(), minlength=kind.size)[1:]
        chosen = 1 + rng.choice(areas.size, p=np.sqrt(areas) / np.sqrt(areas).sum())
        ys, xs = np.nonzero(instance == chosen)
        if ys.size < 4:
            continue
        mm_y, mm_x = spacing
        extent = max(np.ptp(ys) * mm_y, np.ptp(xs) * mm_x) + min(spacing)
        whole = max(instance.shape[0] * mm_y, instance.shape[1] * mm_x)
        side = float(np.clip(extent * np.exp(rng.uniform(np.log(1.3), np.log(7))), 20 * min(spacing), 1.15 * whole))
        j = rng.integers(len(ys))
        room = max(0.0, side - extent) / 2
        centre_y = (ys.min() + ys.max()) / 2 * mm_y if room else ys[j] * mm_y
        centre_x = (xs.min() + xs.max()) / 2 * mm_x if room else xs[j] * mm_x
        centre = np.array([centre_y, centre_x]) + rng.uniform(-0.8, 0.8, 2) * room
        crop, inst = _cut(image, instance, centre / spacing, side / np.asarray(spacing))
        kept, kinds = _renumbered(inst, kind)
        if kept.max() == 0 or np.ptp(crop) == 0:
            continue
        yield crop, np.stack([kept, _superpixels(crop, rng)]), kinds
        done += 1


def _random_plane(
    case: LabelledImage, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32], tuple[float, float]]:
    if case.label.ndim == 2:
        return case.image, case.label, (case.spacing[0], case.spacing[1])
    axis = int(rng.integers(3))
    where = np.flatnonzero(case.label.any(axis=tuple(a for a in range(3) if a != axis)))
    index = int(rng.choice(where)) if where.size else case.label.shape[axis] // 2
    first, second = (mm for a, mm in enumerate(case.spacing) if a != axis)
    return (
        np.take(case.image, [index], axis + 1).squeeze(axis + 1),
        np.take(case.label, [index], axis).squeeze(axis),
        (first, second),
    )


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
    inst = np.pad(instance[window], pads)
    crop = resize(crop, (len(crop), SIZE, SIZE), order=1, anti_aliasing=max(crop.shape[1:]) > SIZE)
    inst = resize(inst, (SIZE, SIZE), order=0, anti_aliasing=False, preserve_range=True).astype(np.int32)
    return _as_bytes(_three_channels(crop)), inst


def _three_channels(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(crop) == 2:
        return np.stack([crop[0], crop[1], crop.mean(0)])
    return np.broadcast_to(crop, (N_CHANNELS, *crop.shape[1:])) if len(crop) == 1 else crop[:N_CHANNELS]


def _as_bytes(crop: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(crop, (0.5, 99.5))
    return np.asarray(np.clip((crop - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)


def _renumbered(instance: NDArray[np.int32], kind: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Keep the largest instances that fit into the table of kinds."""
    ids, counts = np.unique(instance[instance > 0], return_counts=True)
    keep = ids[np.argsort(-counts)][: N_LABELS - 1]
    table = np.zeros(int(instance.max()) + 1, dtype=np.uint8)
    table[keep] = np.arange(1, keep.size + 1)
    kinds = np.zeros(N_LABELS, dtype=np.uint8)
    kinds[1 : keep.size + 1] = kind[keep]
    return table[instance], kinds


def _superpixels(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    scale = float(np.exp(rng.uniform(np.log(20), np.log(400))))
    smooth = ndimage.gaussian_filter(crop.astype(np.float32) / 255, (0, 1.0, 1.0))
    parts = felzenszwalb(np.moveaxis(smooth, 0, -1), scale=scale, sigma=0.5, min_size=40, channel_axis=-1)
    renumbered, _ = _renumbered(parts + 1, np.ones(int(parts.max()) + 2, dtype=np.uint8))
    return renumbered
