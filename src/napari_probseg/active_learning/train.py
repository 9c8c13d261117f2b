"""Training of a model on a data set, from the one in use; resumable after a stop or a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_probseg.active_learning.registry import (
    ABOUT,
    GENERAL,
    UNDER_WAY,
    WEIGHTS,
    model_of,
    models_folder,
    n_axes,
    name_in_use,
    now,
    shipped,
    version_of,
)
from napari_probseg.dataset.collection import Collection
from napari_probseg.inference.device import chosen_device
from napari_probseg.io.atomic import locked, write_whole
from napari_probseg.io.json_file import read_json
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.progress import Progress, counted
from napari_probseg.training.crops import Crop, crops_of
from napari_probseg.training.curve import STEPS_PER_POINT, Curve
from napari_probseg.training.fit import CHECKPOINT_FILE, FitConfig
from napari_probseg.training.general import POOL, SETS, train_general
from napari_probseg.training.pool import packed
from napari_probseg.training.recipe import RECIPES, GeneralTraining

STEPS = {2: 300, 3: 200}  # three minutes of one core
# A fifth of what is seen is synthetic, so that what the model has not met here is not forgotten.
TRAINING = {
    2: replace(RECIPES[2].training, n_batch=10, share_real=0.8, n_crops=200, n_samples=3, n_corrections=2),
    3: GeneralTraining(
        ndim=3, size=WINDOW_SIDE[3], n_batch=6, share_real=0.5, n_crops=48, n_samples=2, n_corrections=2
    ),
}
FIT = FitConfig(0, learning_rate=5e-4, n_warmup=20, average=0.98, save_every=15)


def train(
    collection: Collection,
    *,
    steps: int | None = None,
    start: str | Path | None = None,
    seed: int = 0,
    anew: bool = False,
    device: str = "auto",
) -> Generator[str | Progress, None, None]:
    """Train a model on the training images of a collection; the model in use stays that until `adopt`.

    A training that was broken off, however it ended, goes on where its last checkpoint was written, on the images that
    it began with and as it was asked for then.

    Parameters
    ----------
    collection : Collection
    steps : int, optional
        Steps in all; `STEPS` if absent, which take minutes on two cores.
    start : path, optional
        Weights to start from; those in use if absent.
    seed : int
        Of everything random.
    anew : bool
        Whether to begin again where a training was broken off.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Yields
    ------
    str or Progress
        A sentence that tells what is done, or a step of training. When all is done, `models_of` has one model more.

    Raises
    ------
    ValueError
        If there is no image to train on, or ``start`` is no file of weights.
    LookupError
        If the model in use is gone.
    TimeoutError
        If another program trains on this collection.
    OSError
        If it cannot be written.
    """
    if steps is not None and steps < 1:
        raise ValueError(f"a training takes at least 1 step, got {steps}")
    folder = models_folder(collection)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, timeout=1):
        under_way = folder / UNDER_WAY
        if anew or not (under_way / ABOUT).is_file():
            shutil.rmtree(under_way, ignore_errors=True)
            yield from _begin(collection, under_way, steps=steps, start=start, seed=seed)
        plan = read_json(under_way / ABOUT, advice="begin the training anew")
        model = "the shipped model" if plan["start"] == GENERAL else f"model {plan['start']}"
        yield f"training on {counted(len(plan['cases']), 'image')}, from {model}"
        yield from _train(collection, under_way, plan, str(chosen_device(device)))
        yield f"trained model {_as_model(under_way)}"


def curve_of(collection: Collection, model: str | None = None) -> Curve:
    """Return the learning curve of a model, or of the training under way."""
    return Curve.load(models_folder(collection) / (model or UNDER_WAY) / "curve.csv")


def _begin(
    collection: Collection, folder: Path, *, steps: int | None, start: str | Path | None, seed: int
) -> Iterator[str]:
    """Cut the crops to train on, and note what the training is to be; the note is what makes it one."""
    cases = collection.split("training")
    if not cases:
        raise ValueError(f"{collection.folder} has no image for training yet: add a finished one first")
    ndim = n_axes(collection)
    in_use = name_in_use(collection)
    weights = shipped(ndim) if in_use == GENERAL else model_of(collection, in_use).weights
    plan: dict[str, Any] = {
        "start": in_use if start is None else str(start),
        "weights": str(weights if start is None else Path(start).resolve()),
        "cases": {name: version_of(collection[name]) for name in cases},
        "n_axes": ndim,
        "steps": steps or STEPS[ndim],
        "seed": seed,
        "date": now(),
        "versions": {"napari-probseg": version("napari-probseg"), "torch": torch.__version__},
    }
    n_crops = TRAINING[ndim].n_crops
    crops: list[Crop] = []
    for crop in crops_of(collection, n_crops, np.random.default_rng(seed), ndim=ndim):
        if len(crops) % 10 == 0:
            yield f"looking at {counted(len(cases), 'image')}: {100 * len(crops) // n_crops} %"
        crops.append(crop)
    if not crops:
        raise ValueError(
            f"no object of at least 4 voxels is in the {counted(len(cases), 'image')} for training: label some"
        )
    folder.mkdir(parents=True)
    packed(crops).save(folder / POOL)
    write_whole(folder / ABOUT, json.dumps(plan, indent=1).encode())


def _train(collection: Collection, folder: Path, plan: Mapping[str, Any], device: str) -> Iterator[Progress]:
    """Take the steps that are missing, and write the weights."""
    ndim, curve = plan["n_axes"], Curve.load(folder / "curve.csv")
    fit_config = replace(FIT, n_steps=plan["steps"], seed=plan["seed"])
    training = train_general(
        folder,
        ndim=ndim,
        data=collection.folder,  # of which the crops are there already
        start=plan["weights"],
        fit_config=fit_config,
        config=TRAINING[ndim],
        device=device,
    )
    for progress in training:
        curve.add(progress)
        if progress.step % (10 * STEPS_PER_POINT) == 0 or progress.step == progress.n_steps:
            curve.save(folder)
        yield progress
    curve.save(folder)
    (folder / f"{RECIPES[ndim].name}.safetensors").replace(folder / WEIGHTS)


def _as_model(under_way: Path) -> str:
    """Make a model of a training that has ended, and return its name."""
    earlier = under_way.parent.glob("[0-9][0-9][0-9][0-9]")
    done = under_way.with_name(f"{max((int(path.name) for path in earlier), default=0) + 1:04d}")
    under_way.rename(done)  # from here on it is a model; what follows only makes room
    for name in (POOL, SETS, CHECKPOINT_FILE):
        (done / name).unlink(missing_ok=True)
    return done.name
