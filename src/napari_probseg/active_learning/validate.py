"""Validation of a model on held-out images: Dice of objects completed after a few simulated dabs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected

from napari_probseg.active_learning.comparison import Comparison, Judgement
from napari_probseg.active_learning.registry import model_of, name_in_use, weights_of
from napari_probseg.candidates import Proposer
from napari_probseg.case import Case, Marker
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.raw import LabelledImage
from napari_probseg.dataset.split import CASES_PER_HELD_OUT
from napari_probseg.metrics import dice
from napari_probseg.proposers import load_completer, load_proposer
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.simulate.annotator import dab

N_DABS = (1, 3, 5)
N_OBJECTS = 3  # of each label in each image, the largest ones
MIN_OBJECT_VOXELS = 30  # voxels

Mask = NDArray[np.bool_]


def load_models(weights: str | Path, *, device: str = "auto") -> tuple[Proposer, UNetCut]:
    """Return the proposer and the completer of a model; where it knows images or volumes alone, the shipped ones help.

    Parameters
    ----------
    weights : str or path
        As `model_in_use` gives them.
    device : str

    Raises
    ------
    FileNotFoundError
        If there are no such weights.
    ValueError
        If they are damaged, or of another network.
    RuntimeError
        If the device is not there.
    """
    completer = load_completer(weights, device=device)
    if not isinstance(completer, UNetCut):
        raise ValueError(f"the weights {str(weights)!r} are of another network: the loop trains those of 'general'")
    return load_proposer(weights, device=device), completer


def judge(collection: Collection, weights: str | Path, *, device: str = "auto") -> Generator[str, None, Judgement]:
    """Return the mean Dice of a model's completions of the held-out images, the same at each call.

    Of each label in each held-out image the `N_OBJECTS` largest parts are completed. Dabs are simulated
    (`simulate.annotator.dab`): the first in the deepest place of the object, each next one where the model's own answer
    is most wrong.

    Parameters
    ----------
    collection : Collection
    weights : str or path
        As `model_in_use` gives them.
    device : str

    Yields
    ------
    str
        What is done, after each object.

    Raises
    ------
    ValueError
        If no image is held out yet, or those that are have no labels.
    """
    names = collection.split("test")
    if not names:
        n = len(collection.cases)
        raise ValueError(
            f"{collection.folder} holds out no image yet, and on such alone models are compared: the first images are "
            f"for training, and of {CASES_PER_HELD_OUT} one is held out; add {CASES_PER_HELD_OUT - n} more"
        )
    _, completer = load_models(weights, device=device)
    scores: list[list[float]] = []
    for i, name in enumerate(names, 1):
        labelled = collection.load(name)
        for truth in objects_of(labelled):
            yield f"judging {weights_name(weights)} on held-out image {i} of {len(names)}"
            scores.append(completed(completer, labelled, truth))
    if not scores:
        raise ValueError(f"the held-out images of {collection.folder} have no labels: label {names[0]} again")
    means = np.mean(scores, axis=0).tolist()
    return Judgement(dict(zip(N_DABS, means, strict=True)), len(names), len(scores))


def compare(
    collection: Collection, model: str | None = None, *, device: str = "auto"
) -> Generator[str, None, Comparison]:
    """Return how a trained model does beside the one in use, on held-out images; see `judge`.

    Parameters
    ----------
    collection : Collection
        With the models and the images.
    model : str, optional
        Its name; the newest if absent.
    device : str
        Where the networks run.

    Yields
    ------
    str
        What is done, after each object.

    Raises
    ------
    LookupError
        If there is no such model.
    ValueError
        If no image is held out yet, or the model is in use already.
    """
    new, in_use = model_of(collection, model), name_in_use(collection)
    if new.name == in_use:
        raise ValueError(f"model {new.name} is in use already: train another one first")
    first = yield from judge(collection, new.weights, device=device)
    second = yield from judge(collection, weights_of(collection, in_use), device=device)
    return Comparison(new.name, in_use, first, second)


def objects_of(labelled: LabelledImage) -> list[Mask]:
    """Return the objects to complete in an image: of each label its largest connected parts, or instances."""
    found: list[Mask] = []
    if labelled.instances:
        kinds = [labelled.label]
    else:
        values = np.unique(labelled.label[labelled.label > 0])
        kinds = [connected(labelled.label == value, connectivity=labelled.label.ndim) for value in values]
    for parts in kinds:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        largest = np.argsort(-sizes, kind="stable")[:N_OBJECTS]
        found.extend(parts == i for rank, i in enumerate(largest) if sizes[i] >= (MIN_OBJECT_VOXELS if rank else 1))
    return found


def completed(completer: Proposer, labelled: LabelledImage, truth: Mask, dabs: Sequence[int] = N_DABS) -> list[float]:
    """Return the Dice of a completer's answers after each of these numbers of dabs."""
    case = Case(labelled.image, spacing=labelled.spacing, channel_axis=0)
    answer: Mask = np.zeros(truth.shape, dtype=bool)
    scores = []
    for n in range(1, max(dabs) + 1):
        drawn = dab(answer, truth, spacing=labelled.spacing)
        if drawn is not None:
            case = case.mark(*drawn)
            answer = completer.propose(case, 1).partial[0] == Marker.OBJECT
        if n in dabs:
            scores.append(dice(answer, truth))
    return scores


def weights_name(weights: str | Path) -> str:
    """Return what to call weights in a sentence."""
    return f"model {weights.parent.name}" if isinstance(weights, Path) else "the shipped weights"
