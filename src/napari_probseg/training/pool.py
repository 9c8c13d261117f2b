"""Crops of labelled images, of one size, packed so that a batch costs nothing to draw; they travel as a zip.

For images and volumes alike: where a shape says (Y, X), it may be (Z, Y, X).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.dataset.raw import RawDataset
from napari_probseg.io.atomic import write_whole
from napari_probseg.simulate.noise import Chance, each
from napari_probseg.simulate.scenes import Scene, degraded
from napari_probseg.training.crops import Crop, crops_of

SEEN_SHARE = {2: (0.65, 1.0), 3: (0.55, 0.95)}  # of a crop's side: a turned cube sticks out more than a square
SHARE_MIXED = 0.15  # of each channel that comes from another, as a standard deviation
INDEX = "index.json"
JPEG_QUALITY = 70


class Pool:
    """Crops with what is on them: the labelled objects of most, super-pixels as pseudo-labels of some.

    Parameters
    ----------
    image : (N, 3, 128, 128) or (N, 2, 64, 64, 64) uint8 array
    instance : (N, 128, 128) or (N, 64, 64, 64) uint8 array
        The objects of each crop, or its super-pixels; 0 is background.
    kind : (N, 64) uint8 array
        The class of each.
    sets : sequence of str
        The names of the data sets that the crops are of.
    origin : (N,) int array, optional
        The data set of each crop, an index of ``sets``; each set is drawn from alike. All crops alike if absent.
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        instance: NDArray[np.uint8],
        kind: NDArray[np.uint8],
        *,
        sets: Sequence[str] = (),
        origin: NDArray[np.intp] | None = None,
    ) -> None:
        self.image, self.instance, self.kind = (torch.from_numpy(a) for a in (image, instance, kind))
        self.sets = tuple(sets)
        self.origin = np.zeros(len(image), dtype=np.intp) if origin is None else origin
        self._weight = torch.from_numpy(1.0 / np.bincount(self.origin)[self.origin])

    def __len__(self) -> int:
        return len(self.image)

    def parted(self, share: float = 0.04) -> tuple[Pool, Pool]:
        """Return the crops to train on, and every so many of each data set that are held out."""
        every = max(2, round(1 / share))
        order = np.argsort(self.origin, kind="stable")
        held_out = np.sort(order[every - 1 :: every])
        parts = (np.setdiff1d(order, held_out), held_out)
        return tuple(self._chosen(part, self.sets, self.origin[part]) for part in parts)  # type: ignore[return-value]

    def only(self, names: Collection[str]) -> Pool:
        """Return the crops of some data sets.

        Raises
        ------
        ValueError
            If there are none.
        """
        kept = [i for i, name in enumerate(self.sets) if name in names]
        chosen = np.flatnonzero(np.isin(self.origin, kept))
        if not chosen.size:
            raise ValueError("no data set is left that there are crops of: leave fewer sets out")
        number = np.cumsum(np.isin(np.arange(len(self.sets)), kept)) - 1
        return self._chosen(chosen, [self.sets[i] for i in kept], number[self.origin[chosen]])

    def _chosen(self, crops: NDArray[np.intp], sets: Sequence[str], origin: NDArray[np.intp]) -> Pool:
        """Return the pool of some crops, counted through all."""
        return Pool(*(t[crops].numpy() for t in (self.image, self.instance, self.kind)), sets=sets, origin=origin)

    def to(self, device: str | torch.device) -> Pool:
        """Keep the crops on a device, so that a batch is drawn there; return the pool."""
        self.image, self.instance, self.kind = (t.to(device) for t in (self.image, self.instance, self.kind))
        return self

    @classmethod
    def load(cls, path: str | Path) -> Pool:
        """Read a pool that `save_pool` wrote.

        Raises
        ------
        ValueError
            If the file is damaged, or an earlier release wrote it.
        """
        try:
            with ZipFile(path) as file:
                about = json.loads(file.read(INDEX))
                shape = tuple(about["shape"])
                crops = [_unpacked(file, i, shape) for i in range(len(about["kinds"]))]
        except (BadZipFile, KeyError, OSError, ValueError) as error:
            raise ValueError(
                f"{path} holds no crops of this release ({error}): delete it, and it is made anew"
            ) from error
        image, instance = (np.stack(part) for part in zip(*crops, strict=True))
        kind, origin = np.asarray(about["kinds"], dtype=np.uint8), np.asarray(about["origin"], dtype=np.intp)
        return cls(image, instance, kind, sets=about["sets"], origin=origin)

    def save(self, path: str | Path) -> None:
        """Write the pool as a zip of pictures: JPEG of the images, PNG of what is on them."""
        content = BytesIO()
        with ZipFile(content, "w") as file:
            for i, (image, instance) in enumerate(zip(self.image.numpy(), self.instance.numpy(), strict=True)):
                _pack(file, i, image, instance)
            about: dict[str, Any] = {"sets": self.sets, "shape": self.image.shape[1:]}
            about |= {"kinds": self.kind.tolist(), "origin": self.origin.tolist()}
            file.writestr(INDEX, json.dumps(about), ZIP_DEFLATED)
        write_whole(path, content.getvalue())

    def scene(self, n: int, size: int, chance: Chance) -> Scene:
        """Return ``n`` crops of ``size`` pixels, of each data set alike, turned, stretched and degraded at random."""
        index = torch.multinomial(self._weight, n, replacement=True, generator=chance.scalars).to(self.image.device)
        device, ndim = chance.device, self.image.ndim - 2
        image = self.image[index].to(device).float() / 255
        labels = self.instance[index].to(device).float()[:, None]
        grid = _random_grid(n, (size,) * ndim, chance)
        image = F.grid_sample(image, grid, align_corners=False, padding_mode="border")
        labels = F.grid_sample(labels, grid, mode="nearest", align_corners=False).long()
        image = degraded(_recoloured(image, chance), chance, strength=0.4)
        return Scene(image, labels[:, 0], self.kind[index].to(device).long())


def _pack(file: ZipFile, i: int, image: NDArray[np.uint8], instance: NDArray[np.uint8]) -> None:
    """Add an image (C, ...) and what is on it, as pictures; a volume's slices lie below one another."""
    width = image.shape[-1]
    if len(image) == 3 and (image[1:] != image[0]).any():
        picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    else:
        channels = image[:1] if (image[1:] == image[0]).all() else image
        picture = Image.fromarray(channels.reshape(-1, width))
    for name, content, options in (
        (f"{i:06}.jpg", picture, {"quality": JPEG_QUALITY, "subsampling": 0}),
        (f"{i:06}.png", Image.fromarray(instance.reshape(-1, width)), {"optimize": True}),
    ):
        written = BytesIO()
        content.save(written, "JPEG" if name.endswith("jpg") else "PNG", **options)
        file.writestr(name, written.getvalue())


def _unpacked(file: ZipFile, i: int, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image of ``shape`` (C, ...) and what is on it."""
    pixels = np.asarray(Image.open(BytesIO(file.read(f"{i:06}.jpg"))))
    pixels = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels.reshape(-1, *shape[1:])
    instance = np.asarray(Image.open(BytesIO(file.read(f"{i:06}.png"))))
    return np.broadcast_to(pixels, shape), instance.reshape(shape[1:])


def _recoloured(image: Tensor, chance: Chance) -> Tensor:
    """Mix the channels a little, (B, C, Y, X): other stains and other lights; some lose their colours."""
    n, n_channels = image.shape[:2]
    same = torch.eye(n_channels, device=image.device)
    mixed = same + SHARE_MIXED * chance.normal(n, n_channels, n_channels)
    mixed = torch.where(chance.yes(n, 0.5)[:, None, None], mixed / mixed.sum(2, keepdim=True).clamp(min=0.2), same)
    mixed = torch.where(chance.yes(n, 0.08)[:, None, None], torch.full_like(same, 1 / n_channels), mixed)
    return torch.einsum("bij,bj...->bi...", mixed, image)


def _random_grid(n: int, shape: tuple[int, ...], chance: Chance) -> Tensor:
    """Return a sampling grid of random rotation, flip, scale and smooth warp, (n, *shape, ndim)."""
    ndim = len(shape)
    low, high = SEEN_SHARE[ndim]
    stretch = chance.uniform(n, 1, ndim, low=0.92, high=1.08)
    turn = chance.turns(n, ndim, ndim) * stretch * chance.uniform(n, 1, 1, low=low, high=high)
    grid = F.affine_grid(torch.cat([turn, torch.zeros_like(turn[:, :, :1])], 2), [n, 1, *shape], align_corners=False)
    warp = chance.smooth(n, ndim, shape=shape, cells=5) * each(chance.uniform(n, 1, high=0.05), ndim)
    return grid + warp.movedim(1, -1)


def save_pool(
    path: str | Path,
    datasets: Iterable[RawDataset],
    *,
    n_per_dataset: int,
    seed: int,
    ndim: int = 2,
    share_pseudo: float = 0.12,
) -> Iterator[str]:
    """Cut crops from the training part of each data set and write them, yielding the data sets' names when done.

    Planes are cut from volumes for ``ndim=2``; data sets of images are passed over for ``ndim=3``. ``share_pseudo`` of
    the crops have super-pixels for labels.

    Raises
    ------
    ValueError
        If there are no crops at all.
    """
    rng = np.random.default_rng(seed)
    crops: list[Crop] = []
    sets: list[str] = []
    origin: list[int] = []
    for i, dataset in enumerate(datasets):
        crops.extend(crops_of(dataset, n_per_dataset, rng, ndim=ndim, share_pseudo=share_pseudo))
        origin.extend([i] * (len(crops) - len(origin)))
        sets.append(dataset.folder.name)
        yield dataset.folder.name
    if not crops:
        raise ValueError(f"no data set holds labelled {'images' if ndim == 2 else 'volumes'}: nothing to cut from")
    packed(crops, sets=sets, origin=origin).save(path)


def kept_pool(
    path: Path,
    datasets: Sequence[RawDataset],
    *,
    n_per_dataset: int,
    seed: int,
    ndim: int = 2,
    share_pseudo: float = 0.12,
) -> Pool:
    """Return the crops of some data sets in ``path`` (of all if none is named), cut by `save_pool` if it is not there.

    Raises
    ------
    ValueError
        If it does not hold crops of all of them; and as `save_pool` does.
    """
    if not path.is_file():
        options = {"n_per_dataset": n_per_dataset, "seed": seed, "ndim": ndim, "share_pseudo": share_pseudo}
        for _ in save_pool(path, datasets, **options):  # type: ignore[arg-type]
            pass
    pool, wanted = Pool.load(path), [dataset.folder.name for dataset in datasets]
    if missing := sorted(set(wanted) - set(pool.sets)):
        raise ValueError(f"{path} holds no crops of {', '.join(missing)}: choose an empty folder for those, too")
    return pool.only(wanted) if wanted else pool


def packed(crops: Sequence[Crop], *, sets: Sequence[str] = (), origin: Sequence[int] = ()) -> Pool:
    """Return the pool of some crops."""
    image, instance, kind = (np.stack(part) for part in zip(*crops, strict=True))
    return Pool(image, instance, kind, sets=sets, origin=np.asarray(origin, dtype=np.intp) if origin else None)
