"""Tasks of the Dataset widget: opening, adding, training, comparing, adopting."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_probseg.active_learning.comparison import Comparison
from napari_probseg.active_learning.registry import (
    GENERAL,
    adopt,
    is_under_way,
    model_in_use,
    models_of,
    name_in_use,
    rollback,
)
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.labelled import Finished
from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.models import Model
from napari_probseg.engine.teaching import Compare, Curve, Train, Trained
from napari_probseg.io import Picture
from napari_probseg.progress import counted
from napari_probseg.widgets.models import Models

if TYPE_CHECKING:
    from napari_probseg.session.session import Session

Steps = Generator[Any, None, Any]  # sentences, or a `Progress`; in the end what came of it


@dataclass(frozen=True)
class Row:
    """An image of the data set."""

    name: str
    held_out: bool
    date: str


@dataclass(frozen=True)
class State:
    """What the widget shows of a data set.

    Parameters
    ----------
    folder : path
    labels : tuple of str
        The kinds of objects.
    rows : tuple of Row
        Its images.
    in_use : str
        The model in use; ``"general"`` is the shipped one.
    newest : str
        The newest model, if it is newer than the one in use; empty if none is.
    can_go_back, is_under_way : bool
        Whether a model was adopted, and whether a training was broken off or runs.
    """

    folder: Path
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    in_use: str
    newest: str
    can_go_back: bool
    is_under_way: bool

    @property
    def n_training(self) -> int:
        return sum(not row.held_out for row in self.rows)

    @property
    def n_held_out(self) -> int:
        return sum(row.held_out for row in self.rows)

    @classmethod
    def of(cls, collection: Collection) -> State:
        """Read the state of a data set."""
        entries = [(entry, str(entry.metadata().get("date", ""))[:10]) for entry in collection.entries]
        in_use = name_in_use(collection)
        names = [model.name for model in models_of(collection) if model.name != in_use]
        newest = names[-1] if names and (in_use == GENERAL or names[-1] > in_use) else ""
        return cls(
            folder=collection.folder,
            labels=tuple(name for name, number in collection.labels.items() if number != 0),
            rows=tuple(Row(entry.name, entry.held_out, date) for entry, date in entries),
            in_use=in_use,
            newest=newest,
            can_go_back=in_use != GENERAL,
            is_under_way=is_under_way(collection),
        )


@dataclass(frozen=True, eq=False)
class Done:
    """What came of a task: the state after it, a sentence, and what else there is."""

    state: State
    sentence: str
    models: Models | None = None
    comparison: Comparison | None = None
    added: bool = False


@dataclass(frozen=True, eq=False)
class Lesson:
    """A finished image, on its way into the data set.

    Parameters
    ----------
    name : str
        Of the image's layer.
    session : Session
        Holds the image and the objects.
    like : Picture or None
        The geometry of the file that the image came from.
    kinds : mapping from int to str
        What each object is.
    source : str
        The image's file, if it has one.
    """

    name: str
    session: Session
    like: Picture | None
    kinds: Mapping[int, str]
    source: str


def opening(folder: Path, *, give: bool) -> Steps:
    """Open a data set; ``give`` asks for its model also where that is the shipped one."""
    yield f"Opening {folder.name}…"
    collection = Collection(folder)
    state = State.of(collection)
    n = len(state.rows)
    sentence = (
        f"{folder.name} has {counted(n, 'image')}." if n else f"{folder.name} is empty: add the first finished image."
    )
    if give or state.in_use != GENERAL:
        yield "Loading the model in use…"
        return Done(state, sentence, _models(collection))
    return Done(state, sentence)


def making(folder: Path, labels: Sequence[str], session: Session | None, *, ending: str) -> Steps:
    """Make a new data set, for images like that of a session."""
    yield f"Making {folder.name}…"
    n_channels = 1 if session is None else session.case.n_channels
    channels = ["image"] if n_channels == 1 else [f"channel {i}" for i in range(n_channels)]
    collection = Collection.create(folder, labels, channels=channels, ending=ending)
    return Done(State.of(collection), f"{folder.name} is ready: add the first finished image.")


def adding(folder: Path, lesson: Lesson) -> Steps:
    """Add a finished image; one that is there already gets its new labels."""
    yield f"Adding {lesson.name}…"
    collection, session = Collection(folder), lesson.session
    case, like = session.case, lesson.like
    image, axis = case.image, case.channel_axis
    if case.in_time:
        raise ValueError("a time series is more than one image: split it (right-click the layer, Split Stack)")
    if like is None or tuple(image.shape) not in (like.shape, tuple(like.data.shape)):
        spacing = None if all(mm == 1 for mm in case.spacing or ()) else case.spacing
        place: dict[str, Any] = {"spacing": spacing, "channel_axis": axis}
    else:
        place = {"like": like}
    finished = Finished.of(image, session.objects, **place)
    there = collection.find(finished.fingerprint)
    if there is None and not session.max_label:
        return Done(State.of(collection), f"{lesson.name} has no object, and was not added.", added=True)
    name = there or _free_name(collection, lesson.name)
    for kind in dict.fromkeys(lesson.kinds.values()):
        if kind not in collection.labels:
            collection.add_label(kind)
    told = {"image": lesson.source, "model": str(model_in_use(collection)), "n_steps": len(session.steps)}
    entry = collection.add(name, image, session.objects, **place, kinds=lesson.kinds, provenance=told, session=session)
    session.note_saved(folder, whole=True)
    part = "is held out, to compare models on" if entry.held_out else "is for training"
    news = "has new labels; the earlier ones are kept" if there else part
    return Done(
        State.of(collection), f"{name} {news}. {folder.name} has {counted(len(collection.cases), 'image')}.", added=True
    )


def training(
    engine: Engine | Local, folder: Path, points: list[tuple[int, float]], stop: Event, device: str, *, anew: bool
) -> Steps:
    """Train until done or told to stop, adding to the points of the curve; then compare, if that can be done."""
    got = yield from _until_stopped(engine, Train(folder, device, anew), stop, points)
    state = State.of(Collection(folder))
    if not got.name:
        return Done(state, "Stopped: “Go on training” takes it up again. Nothing is lost.")
    if not got.can_compare:
        sentence = f"Model {got.name} is trained. No image is held out yet, so it cannot be compared: add more first."
        return Done(state, sentence)
    if got.comparison is None:
        return Done(state, f"Model {got.name} is trained; compare it when you like.")
    return _compared(state, got.comparison)


def comparing(engine: Engine | Local, folder: Path, model: str, stop: Event, device: str) -> Steps:
    """Compare a model with the one in use."""
    got = yield from _until_stopped(engine, Compare(folder, model, device), stop, [])
    state = State.of(Collection(folder))
    return Done(state, "Stopped; nothing has changed.") if got.comparison is None else _compared(state, got.comparison)


def _until_stopped(
    engine: Engine | Local, asked: Train | Compare, stop: Event, points: list[tuple[int, float]]
) -> Generator[Any, None, Trained]:
    """Put something to the engine, which is told once when it is to stop."""
    steps, is_told = engine.answering(asked), False
    try:
        told = next(steps)
        while True:
            if isinstance(told, Curve):
                points[:] = told.points
            else:
                yield told
            is_told, was_told = is_told or stop.is_set(), is_told
            told = steps.send("stop") if is_told and not was_told else next(steps)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def adopting(folder: Path, comparison: Comparison) -> Steps:
    """Put the better model into use."""
    yield f"Adopting model {comparison.model}…"
    collection = Collection(folder)
    adopt(collection, comparison)
    sentence = f"Model {comparison.model} is in use from now on, here and in Segment. “Go back” takes it back."
    return Done(State.of(collection), sentence, _models(collection))


def going_back(folder: Path) -> Steps:
    """Put the model before into use again."""
    yield "Going back…"
    collection = Collection(folder)
    change = rollback(collection)
    name = "The shipped model" if change.after == GENERAL else f"Model {change.after}"
    return Done(State.of(collection), f"{name} is in use again.", _models(collection))


def _models(collection: Collection) -> Models:
    model = Model(str(model_in_use(collection)))
    return Models(model, model)


def _compared(state: State, comparison: Comparison) -> Done:
    better = "is better: adopt it?" if comparison.is_better else "is not better; the one in use stays."
    return Done(state, f"Model {comparison.model} {better}", comparison=comparison)


def _free_name(collection: Collection, layer: str) -> str:
    """Return a name for an image that no other image has."""
    name = re.sub(r"[^\w.-]+", "_", layer).strip("_.-") or "image"
    taken, i = set(collection.cases), 2
    chosen = name
    while chosen in taken:
        chosen, i = f"{name}_{i}", i + 1
    return chosen
