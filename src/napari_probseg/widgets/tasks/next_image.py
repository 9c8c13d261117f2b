"""Tasks of the next image: ranking a folder, thumbnails, and reading one of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_probseg.dataset.collection import Collection
from napari_probseg.io import read
from napari_probseg.widgets.tasks.dataset import Steps, counted
from napari_probseg.widgets.tasks.torch_import import quiet_import

if TYPE_CHECKING:
    from napari_probseg.active_learning.acquisition import Ranked

_SIDE = 96  # pixels of a thumbnail


@dataclass(frozen=True, eq=False)
class Suggestion:
    """An image of the folder that was ranked, with a small picture of it, (h, w, 3) uint8."""

    ranked: Ranked
    picture: NDArray[np.uint8]


def ranking(folder: Path | None, images: Path, found: list[Suggestion], stop: Event, device: str) -> Steps:
    """Rank the images of a folder, adding each to what is found as soon as it is looked at."""
    yield "Loading the network…"
    with quiet_import():
        from napari_probseg.active_learning.acquisition import images_in, rank
    collection = None if folder is None else Collection(folder)
    paths = images_in(images)
    passed_over = []
    steps = rank(collection, paths, device=device)
    yield f"Looking at image 1 of {len(paths)}…"
    for i, ranked in enumerate(steps, 2):
        if stop.is_set():
            return f"Stopped after {i - 1} of {counted(len(paths))}."
        if ranked.passed_over:
            passed_over.append(ranked)
        else:
            found.append(Suggestion(ranked, thumbnail(ranked.path)))
            found.sort(key=lambda one: -one.ranked.uncertainty)
        if i <= len(paths):
            yield f"Looking at image {i} of {len(paths)}…"
    sentence = f"{counted(len(found))}, the most uncertain first: click one to open it."
    if passed_over:
        first = passed_over[0]
        sentence += f" {len(passed_over)} passed over; {first.path.name}: {first.passed_over}."
    return sentence


def reading(path: Path) -> Steps:
    """Read an image file; return the arguments of ``viewer.add_image``."""
    from napari_probseg.napari_io.layer_data import read_layers

    yield f"Opening {path.name}…"
    data, attributes, _ = read_layers(str(path))[0]
    axis = attributes.pop("channel_axis", None)
    if axis is not None:  # one layer, as the data set's images have all their channels
        data = np.moveaxis(np.asarray(data), axis, 0)
        scale = attributes["scale"]
        attributes["scale"] = [1.0, *scale]
        attributes["axis_labels"] = ("c", *"zyx"[-len(scale) :])
        attributes.pop("units", None)
    return path, data, attributes


def thumbnail(path: Path) -> NDArray[np.uint8]:
    """Return a small picture of an image file, of a volume its middle slice."""
    case = read(path).case()
    if case.ndim == 3:
        case = case.plane(0, case.shape[0] // 2)
    step = max(1, -(-max(case.shape) // _SIDE))
    values = case.read((slice(None, None, step),) * 2)
    low, high = np.percentile(values, (1, 99))
    values = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    colours = values if len(values) == 3 else np.repeat(values.mean(0, keepdims=True), 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(255 * colours, 0, -1).astype(np.uint8))
