"""Registry of the models trained on a data set: which is in use, adoption and rollback; without torch.

They lie below ``COLLECTION/models``, which nnU-Net ignores: a folder ``0001``, ``0002``, ... of each trained model,
``training`` of the training under way, and ``models.json``, which tells what was adopted and taken back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_probseg.active_learning.comparison import Comparison
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.provenance import Entry
from napari_probseg.io import read
from napari_probseg.io.atomic import locked, write_whole
from napari_probseg.io.json_file import read_json
from napari_probseg.proposers.shipped import GENERAL as SHIPPED
from napari_probseg.proposers.shipped import weights_path

GENERAL = "general"  # the shipped weights, as `load_proposer` and `load_completer` call them
VERSION = 1
ABOUT = "about.json"
WEIGHTS = "weights.safetensors"
UNDER_WAY = "training"  # the folder of the training that is running, or was broken off


@dataclass(frozen=True)
class Model:
    """A model that a collection has taught.

    Parameters
    ----------
    name : str
        ``"0001"`` is the first.
    folder : path
    metadata : mapping
        What it was trained from and on, when, and by which versions.
    """

    name: str
    folder: Path
    metadata: Mapping[str, Any]

    @property
    def weights(self) -> Path:
        """What `load_proposer` and `load_completer` take."""
        return self.folder / WEIGHTS

    @property
    def n_images(self) -> int:
        """How many images it was trained on."""
        return len(self.metadata["cases"])


@dataclass(frozen=True)
class Change:
    """One line of the history of the model in use.

    Parameters
    ----------
    verb : str
        ``"adopt"`` or ``"rollback"``.
    before, after : str
        The names of the models in use.
    date : str
        In ISO format.
    told : mapping
        Of an adoption: both judgements, the number of training images, and versions.
    """

    verb: str
    before: str
    after: str
    date: str
    told: Mapping[str, Any] = field(default_factory=dict)


def models_of(collection: Collection) -> tuple[Model, ...]:
    """Return the trained models, oldest first, adopted or not."""
    found = []
    for folder in sorted(models_folder(collection).glob("[0-9]*")):
        with suppress(OSError, ValueError):  # a folder that is none of ours
            metadata = read_json(folder / ABOUT)
            if (folder / WEIGHTS).is_file() and isinstance(metadata.get("cases"), list | dict):
                found.append(Model(folder.name, folder, metadata))
    return tuple(found)


def model_of(collection: Collection, name: str | None = None) -> Model:
    """Return a model by its name; the newest if absent.

    Raises
    ------
    LookupError
        If there is none.
    """
    models = models_of(collection)
    chosen = [model for model in models if name is None or model.name == name]
    if not chosen:
        there = ", ".join(model.name for model in models) or "none: train one first"
        lacking = "has no model yet: train one first" if name is None else f"has no model {name}: it has {there}"
        raise LookupError(f"{collection.folder} {lacking}")
    return chosen[-1]


def weights_of(collection: Collection, name: str) -> str | Path:
    """Return what `load_proposer` and `load_completer` take for a model's name.

    Raises
    ------
    LookupError
        If the model is gone.
    """
    return GENERAL if name == GENERAL else model_of(collection, name).weights


def name_in_use(collection: Collection) -> str:
    """Return the name of the model in use; ``"general"`` until one is adopted."""
    adopted = _adopted(history(collection))
    return adopted[-1] if adopted else GENERAL


def model_in_use(collection: Collection) -> str | Path:
    """Return the weights of the model in use: a path, or the name of the shipped ones.

    Raises
    ------
    LookupError
        If the model's folder is gone.
    ValueError
        If ``models.json`` is damaged or of another version.
    """
    return weights_of(collection, name_in_use(collection))


def is_under_way(collection: Collection) -> bool:
    """Return whether a training was broken off, or is running."""
    return (models_folder(collection) / UNDER_WAY / ABOUT).is_file()


def history(collection: Collection) -> tuple[Change, ...]:
    """Return what was adopted and taken back, oldest first.

    Raises
    ------
    ValueError
        If ``models.json`` is damaged or of another version.
    """
    path = models_folder(collection) / "models.json"
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"it is of version {content['version']}, this release knows version {VERSION}")
        return tuple(Change(**change) for change in content["history"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): put back a whole copy, or delete it to use the shipped weights again"
        ) from error


def adopt(collection: Collection, comparison: Comparison) -> Change:
    """Put a model that is better than the one in use into its place, and remember both figures.

    Raises
    ------
    ValueError
        If it is not better.
    RuntimeError
        If the model in use is another by now.
    LookupError
        If the model is gone.
    OSError
        If it cannot be written; the model in use is as before then.
    """
    if not comparison.is_better:
        raise ValueError(f"model {comparison.model} is not better and is not adopted: {comparison}")
    model = model_of(collection, comparison.model)
    judged = {
        "new": asdict(comparison.new),
        "old": asdict(comparison.old),
        "n_training": model.n_images,
        "versions": {"napari-probseg": version("napari-probseg")},
    }
    with locked(collection.folder):
        done = history(collection)
        in_use = (_adopted(done) or [GENERAL])[-1]
        if in_use != comparison.in_use:
            raise RuntimeError(
                f"the model in use is {in_use} by now, the comparison was with {comparison.in_use}: compare again"
            )
        change = Change("adopt", in_use, model.name, now(), judged)
        _write(collection, (*done, change))
    return change


def rollback(collection: Collection) -> Change:
    """Go back to the model that was in use before the latest adoption.

    Raises
    ------
    RuntimeError
        If there is nothing to go back to.
    LookupError
        If the model before is gone.
    OSError
        If it cannot be written; the model in use is as before then.
    """
    with locked(collection.folder):
        done = history(collection)
        adopted = _adopted(done)
        if not adopted:
            raise RuntimeError("the shipped weights are in use: there is nothing to go back to")
        before = adopted[-2] if len(adopted) > 1 else GENERAL
        weights_of(collection, before)
        change = Change("rollback", adopted[-1], before, now())
        _write(collection, (*done, change))
    return change


def models_folder(collection: Collection) -> Path:
    """Return where the models lie."""
    return collection.folder / "models"


def n_axes(collection: Collection) -> int:
    """Return whether the images have 2 or 3 axes.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not collection.cases:
        raise ValueError(f"{collection.folder} has no image yet: add a finished one first")
    return len(read(collection[collection.cases[0]].label).shape)


def version_of(entry: Entry) -> int:
    """Return the number of a case's label; 0 if another program wrote it."""
    return 0 if entry.provenance is None else int(entry.provenance.stem)


def shipped(n_axes: int) -> Path:
    """Return the shipped weights for images (2) or volumes (3)."""
    return weights_path(SHIPPED[n_axes])


def now() -> str:
    """Return the time, in ISO format."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _adopted(done: tuple[Change, ...]) -> list[str]:
    """Return the adopted models that were not taken back, oldest first."""
    adopted: list[str] = []
    for change in done:
        if change.verb == "adopt":
            adopted.append(change.after)
        elif adopted:
            adopted.pop()
    return adopted


def _write(collection: Collection, done: tuple[Change, ...]) -> None:
    content = {"version": VERSION, "history": [asdict(change) for change in done]}
    write_whole(models_folder(collection) / "models.json", json.dumps(content, indent=1).encode())
