"""Images of a folder with an object to segment in each, for ``session_time.py``: real ones of data sets, or made up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile

import napari_probseg as ps
from napari_probseg.dataset.raw import datasets_below
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.simulate.phantoms import phantom_2d, phantom_3d

IMAGES = ("Nuclei", "BreastNucleiHE", "ColonGlands", "BreastUltrasound", "HeartCT", "Pets")
VOLUMES = ("Hippocampus", "HeadNeckCT", "FetalBrainMRI", "EmbryoNuclei3D")


@dataclass(frozen=True, eq=False)
class Task:
    """A file with an image, and the object that is wanted of it.

    Parameters
    ----------
    path : path
    case : Case
        The image, nothing marked.
    truth : bool array of the spatial shape
    """

    path: Path
    case: ps.Case
    truth: np.ndarray


def bodies(folder: Path, n: int, *, in_3d: bool) -> Iterator[list[Task]]:
    """Write made-up bodies to a folder, one series of images."""
    tasks = []
    for seed in range(n):
        image, labels = (phantom_3d if in_3d else phantom_2d)(seed)
        path, spacing = folder / (f"body{seed:02}.nii.gz" if in_3d else f"body{seed:02}.tif"), (2.4, 1.0, 1.0)
        ps.write(path, image, labels=False, spacing=spacing if in_3d else None)
        numbers = [i for i in np.unique(labels) if i and np.count_nonzero(labels == i) > 60]
        case = ps.Case(image, spacing=spacing if in_3d else (1.0, 1.0))
        tasks.append(Task(path, case, labels == numbers[seed % len(numbers)]))
    yield tasks


def real(folder: Path, n: int, *, data: Path, sets: Sequence[str], in_3d: bool) -> Iterator[list[Task]]:
    """Write images of the test parts of data sets to a folder for each set, as evenly as possible ``n`` in all."""
    found = {d.folder.name: d for d in datasets_below(data)}
    for i, name in enumerate(sets):
        n_here = n // len(sets) + (i < n % len(sets))
        dataset = next((d for full, d in found.items() if full.endswith(name)), None)
        if dataset is None:
            raise FileNotFoundError(f"{data} holds no data set {name}: it has {', '.join(found)}")
        (own := folder / name).mkdir()
        if n_here:
            yield [_written(own, t) for t in islice(targets_of(dataset, ndim=2 + in_3d), n_here)]


def _written(folder: Path, target: Target) -> Task:
    """Write the image of a target as it would be found: numbers without fractions as integers, colours as RGB."""
    image = target.image
    whole = np.array_equal(image, np.round(image)) and image.min() >= 0
    if whole:
        image = image.astype(np.uint8 if image.max() < 256 else np.uint16)
    if image.ndim == 4:
        path = folder / f"{target.name}.nii.gz"
        ps.write(path, image[0], labels=False, spacing=target.spacing)
    elif len(image) == 3:
        path = folder / f"{target.name}.tif"
        tifffile.imwrite(path, np.moveaxis(image, 0, -1), photometric="rgb")
    else:
        path = folder / f"{target.name}.tif"
        ps.write(path, image[0], labels=False)
    channels = image if len(image) == 3 and image.ndim == 3 else image[:1]
    return Task(path, ps.Case(channels, spacing=target.spacing, channel_axis=0), target.truth)
