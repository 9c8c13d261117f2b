"""Acquisition: the images of a folder ranked by the uncertainty of the model in use."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from napari_probseg.active_learning.registry import GENERAL, model_in_use, n_axes
from napari_probseg.active_learning.validate import load_models
from napari_probseg.case import Case
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.labelled import fingerprint
from napari_probseg.io import read
from napari_probseg.io.folder import images_in
from napari_probseg.morphology import ball
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.simulate.annotator import dab_radius

__all__ = ["Ranked", "images_in", "rank", "uncertainty_of"]

N_PLACES = {2: 3, 3: 2}  # along each axis, where the model is asked


@dataclass(frozen=True)
class Ranked:
    """An image file and how unsure the model is of it.

    Parameters
    ----------
    path : path
    uncertainty : float
        See `uncertainty_of`; 0 to 1, and -1 for what was passed over.
    passed_over : str
        Why it was not looked at; empty if it was.
    """

    path: Path
    uncertainty: float
    passed_over: str = ""


def rank(
    collection: Collection | None, images: Sequence[Path], *, device: str = "auto"
) -> Generator[Ranked, None, tuple[Ranked, ...]]:
    """Return image files by the uncertainty of the model in use, the most uncertain first.

    Files that cannot be read, or do not fit the collection, or are in it already, come last and say why.

    Parameters
    ----------
    collection : Collection or None
        Whose model is asked; the shipped one if None.
    images : sequence of path
        Such as `napari_probseg.io.folder.images_in` finds.
    device : str

    Yields
    ------
    Ranked
        Each image, as soon as it is looked at.

    Raises
    ------
    LookupError, ValueError
        If the model in use is gone or damaged.
    """
    weights = GENERAL if collection is None else model_in_use(collection)
    _, completer = load_models(weights, device=device)
    found = []
    for path in images:
        try:
            case = read(path).case()
            _refuse_misfit(case, collection)
            ranked = Ranked(path, uncertainty_of(case, completer))
        except (ValueError, TypeError, OSError, MemoryError) as error:
            ranked = Ranked(path, -1.0, str(error).splitlines()[0] if str(error) else type(error).__name__)
        found.append(ranked)
        yield ranked
    return tuple(sorted(found, key=lambda ranked: (-ranked.uncertainty, ranked.path.name)))


def uncertainty_of(case: Case, completer: UNetCut) -> float:
    """Return how unsure a completer is of an image in which nothing is marked.

    It is asked what object lies under a single dab, at each place of a coarse grid in turn. What counts is the mean
    binary entropy of its probabilities, in bits per voxel of the window that it settles on, at the more uncertain half
    of the places: 0 if it knows everywhere, 1 if it never does. It is a weak hint: docs/loop.md tells how weak.

    Raises
    ------
    ValueError
        If the image is constant or not finite at all places.
    """
    spacing = np.asarray(case.spacing, dtype=float)
    radius = dab_radius(case.shape, spacing)
    found, error = [], None
    for place in _places(case):
        try:
            completion = completer.complete(case.mark(ball(case.shape, place, radius, spacing)))
        except ValueError as reason:  # a constant part, such as the air around a body
            error = reason
            continue
        found.append(_entropy(completion.probability))
    if not found:
        raise error or ValueError("there is no place to look at")
    return float(np.mean(sorted(found)[len(found) // 2 :]))


def _places(case: Case) -> Iterator[tuple[int, ...]]:
    """Yield the middles of the cells of a coarse grid."""
    n = N_PLACES[case.ndim]
    for cell in product(range(n), repeat=case.ndim):
        yield tuple(int((i + 0.5) / n * size) for i, size in zip(cell, case.shape, strict=True))


def _entropy(probability: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean())


def _refuse_misfit(case: Case, collection: Collection | None) -> None:
    """Raise if an image could not be added to a collection, or is in it already."""
    if collection is None or not collection.cases:
        return
    if case.n_channels != len(collection.channels) or case.ndim != n_axes(collection):
        raise ValueError(
            f"it is {case.ndim}-D with {case.n_channels} channels, the images of {collection.folder.name} are "
            f"{n_axes(collection)}-D with {len(collection.channels)}"
        )
    if (name := collection.find(fingerprint(case.read()))) is not None:
        raise ValueError(f"it is in {collection.folder.name} already, as {name}")
