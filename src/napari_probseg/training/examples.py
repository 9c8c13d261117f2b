"""Training examples of a U-Net: labelled images in memory, and random patches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_probseg.dataset.raw import RawDataset
from napari_probseg.nn.inputs import z_scored

MAX_CENTRES = 5000  # voxels of each label and image that a patch may be centred on

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Example:
    """A labelled image as a network sees it.

    Parameters
    ----------
    name : str
    image : (C, Z, Y, X) or (C, Y, X) float32 tensor
        Each channel with mean 0 and standard deviation 1.
    label : (Z, Y, X) or (Y, X) int16 tensor
    spacing : tuple of float
        In mm.
    foreground : tuple of (n, 2 or 3) int arrays
        Some voxels of each label that is there, background left out.
    """

    name: str
    image: Tensor
    label: Tensor
    spacing: tuple[float, ...]
    foreground: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, name: str, image: Tensor, label: Tensor, spacing: tuple[float, ...]) -> Example:
        """Return an example whose foreground is found: at most `MAX_CENTRES` voxels of each label."""
        rng = np.random.default_rng(0)
        foreground = []
        values = label.numpy()
        for value in np.unique(values[values > 0]):
            voxels = np.argwhere(values == value)
            foreground.append(voxels if len(voxels) <= MAX_CENTRES else rng.choice(voxels, MAX_CENTRES, replace=False))
        return cls(name, image, label, spacing, tuple(foreground))


def read_examples(dataset: RawDataset, cases: Sequence[str]) -> list[Example]:
    """Read and check cases; where values above 1 tell objects apart, each is label 1.

    Raises
    ------
    ValueError
        If an image and its label do not fit, a label has values that ``dataset.json`` does not list, or the images
        differ in their channels or axes. The sentence names the files.
    FileNotFoundError
        If a label has no image.
    """
    n_labels = count_labels(dataset)
    found: list[Example] = []
    for labelled in map(dataset.load, cases):
        where = f"{labelled.name}{dataset.ending}"
        if labelled.instances:
            label = (labelled.label > 0).astype(np.int16)
        else:
            unlisted = sorted(set(np.unique(labelled.label).tolist()) - set(range(n_labels)))
            if unlisted:
                raise ValueError(
                    f"{dataset.folder / 'labelsTr' / where} has the values {unlisted}, dataset.json lists 0 to "
                    f"{n_labels - 1}: correct the one or the other"
                )
            label = labelled.label.astype(np.int16)
        if not np.isfinite(labelled.image).all():
            raise ValueError(f"the image of {where} in {dataset.folder} has values that are not finite: replace them")
        image = torch.from_numpy(z_scored(labelled.image))
        found.append(Example.of(labelled.name, image, torch.from_numpy(label), labelled.spacing))
        if found[-1].image.ndim != found[0].image.ndim or len(found[-1].image) != len(found[0].image):
            first, last = found[0], found[-1]
            raise ValueError(
                f"{dataset.folder} mixes images: {first.name} is {tuple(first.image.shape)}, {last.name} is "
                f"{tuple(last.image.shape)} (channels first), and all must have the same channels and axes"
            )
    return found


def count_labels(dataset: RawDataset) -> int:
    """Return the number of labels, background included.

    Raises
    ------
    ValueError
        If ``dataset.json`` numbers them otherwise than 0, 1, 2, ...
    """
    values = list(dataset.labels.values())
    if len(values) < 2 or not all(isinstance(v, int) for v in values) or sorted(values) != list(range(len(values))):
        raise ValueError(f"{dataset.folder / 'dataset.json'} must number its labels 0, 1, 2, ..., got {dataset.labels}")
    return len(values)


def batch_maker(
    examples: Sequence[Example],
    patch: Sequence[int],
    *,
    n_batch: int,
    share_foreground: float,
    augment: Callable[[Iterable[Batch], int], list[Batch]] | None = None,
    device: str = "cpu",
) -> Callable[[torch.Generator], Batch]:
    """Return a function from random numbers to images (B, C, *patch) and labels (B, *patch).

    Parameters
    ----------
    share_foreground : float
        Probability that a patch is centred on a voxel of a label, each label alike (Isensee et al. 2018); elsewhere
        it lies anywhere.
    augment : callable, optional
        From patches and a seed to changed patches.
    """

    def make(generator: torch.Generator) -> Batch:
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        patches = [
            random_patch(
                examples[int(rng.integers(len(examples)))], patch, rng, foreground=rng.random() < share_foreground
            )
            for _ in range(n_batch)
        ]
        if augment is not None:
            patches = augment(patches, int(rng.integers(2**31)))
        image, label = (torch.stack(part) for part in zip(*patches, strict=True))
        return image.to(device), label.long().to(device)

    return make


def random_patch(example: Example, patch: Sequence[int], rng: np.random.Generator, *, foreground: bool) -> Batch:
    """Return image (C, *patch) and label (*patch); what lies beyond the image is its mean, and background."""
    shape = example.label.shape
    if foreground and example.foreground:
        voxels = example.foreground[rng.integers(len(example.foreground))]
        start = [int(c) - n // 2 for c, n in zip(voxels[rng.integers(len(voxels))], patch, strict=True)]
    else:
        start = [int(rng.integers(max(0, size - n) + 1)) for size, n in zip(shape, patch, strict=True)]
    image, label = example.image, example.label
    pads: list[int] = []
    for axis, (size, n) in enumerate(zip(shape, patch, strict=True)):
        first = min(max(start[axis], 0), max(0, size - n))
        image = image.narrow(axis + 1, first, min(n, size))
        label = label.narrow(axis, first, min(n, size))
        before = max(0, n - size) // 2
        pads = [before, max(0, n - size) - before, *pads]
    return torch.nn.functional.pad(image, pads), torch.nn.functional.pad(label, pads)
