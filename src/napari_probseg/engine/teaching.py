"""Requests of a data set: train a model, compare it with the one in use, rank the images of a folder."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_probseg.active_learning.comparison import Comparison
from napari_probseg.active_learning.registry import models_of
from napari_probseg.dataset.collection import Collection
from napari_probseg.engine.models import Resources
from napari_probseg.engine.requests import LOADING
from napari_probseg.io import read
from napari_probseg.progress import Progress

_SIDE = 96  # pixels of a thumbnail


@dataclass(frozen=True)
class Curve:
    """The loss of a training so far, (step, loss) each."""

    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Trained:
    """What came of a training or of a comparison; no name if it was stopped before there was a model.

    Parameters
    ----------
    name : str
        Of the newest model.
    comparison : Comparison, optional
        With the one in use.
    can_compare : bool
        Whether there are images to compare models on.
    """

    name: str = ""
    comparison: Comparison | None = None
    can_compare: bool = True


@dataclass(frozen=True)
class Train:
    """Train on what is in a data set, until done or told to stop; then compare, if that can be done.

    Parameters
    ----------
    folder : path
    device : str
    anew : bool
        Begin anew, in place of going on with a training that was stopped.
    """

    folder: Path
    device: str
    anew: bool = False

    def answer(self, resources: Resources) -> Generator[str | Progress | Curve, None, Trained]:
        """Train, telling how far it is."""
        yield LOADING
        from napari_probseg.active_learning.train import curve_of, train

        collection = Collection(self.folder)
        curve, steps = curve_of(collection), train(collection, anew=self.anew, device=self.device)
        for told in steps:
            if resources.stop.is_set():
                steps.close()
                return Trained()
            if isinstance(told, Progress):
                curve.add(told)
                yield Curve(tuple(curve.loss))
                yield told
            else:
                yield _sentence(told)
        collection = Collection(self.folder)
        newest = models_of(collection)[-1].name
        if not collection.split("test"):
            return Trained(newest, can_compare=False)
        return (yield from Compare(self.folder, newest, self.device).answer(resources))


@dataclass(frozen=True)
class Compare:
    """Compare a model of a data set with the one in use, unless told to stop.

    Parameters
    ----------
    folder : path
    model : str
    device : str
    """

    folder: Path
    model: str
    device: str

    def answer(self, resources: Resources) -> Generator[str, None, Trained]:
        """Compare them."""
        yield LOADING
        from napari_probseg.active_learning.validate import compare

        steps = compare(Collection(self.folder), self.model, device=self.device)
        while not resources.stop.is_set():
            try:
                said = next(steps)
            except StopIteration as done:
                return Trained(self.model, done.value)
            yield _sentence(said)
        return Trained(self.model)


@dataclass(frozen=True, eq=False)
class Suggestion:
    """An image of a folder that was ranked.

    Parameters
    ----------
    path : path
    uncertainty : float
        Of the model in use, 0 to 1.
    passed_over : str
        Why it was not looked at; empty if it was.
    picture : (h, w, 3) uint8 array
        A small picture of it; of no size if it was passed over.
    """

    path: Path
    uncertainty: float
    passed_over: str = ""
    picture: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))


@dataclass(frozen=True)
class Rank:
    """Rank the images of a folder by how unsure the model in use is of them, until told to stop.

    Parameters
    ----------
    collection : path, optional
        The data set whose model is in use; the shipped one if absent.
    images : path
    device : str
    """

    collection: Path | None
    images: Path
    device: str

    def answer(self, resources: Resources) -> Generator[str | Suggestion, None, tuple[int, int]]:
        """Yield each image as soon as it is looked at; return how many of how many were."""
        yield LOADING
        from napari_probseg.active_learning.acquisition import images_in, rank

        collection = None if self.collection is None else Collection(self.collection)
        paths = images_in(self.images)
        yield f"Looking at image 1 of {len(paths)}…"
        for i, ranked in enumerate(rank(collection, paths, device=self.device), 1):
            if resources.stop.is_set():
                return i, len(paths)
            if ranked.passed_over:
                yield Suggestion(ranked.path, ranked.uncertainty, ranked.passed_over)
            else:
                yield Suggestion(ranked.path, ranked.uncertainty, picture=thumbnail(ranked.path))
            if i < len(paths):
                yield f"Looking at image {i + 1} of {len(paths)}…"
        return len(paths), len(paths)


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


def _sentence(said: str) -> str:
    return f"{said[0].upper()}{said[1:]}…"
