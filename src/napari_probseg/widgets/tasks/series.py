"""Tasks of a series of images: saving the objects of one beside it, reading the next, taking up its objects."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_probseg.dataset.collection import Collection
from napari_probseg.io import Picture
from napari_probseg.napari_io.layer_data import LayerData, read_layers
from napari_probseg.progress import counted
from napari_probseg.session.beside import Written, objects_beside, read_beside, write_beside
from napari_probseg.session.series import Done, Series
from napari_probseg.session.session import Session
from napari_probseg.widgets.layers.source import images_read
from napari_probseg.widgets.readers import NAPARI


@dataclass(frozen=True, eq=False)
class Left:
    """An image that is finished, in its series, and what there is to say of it."""

    series: Series
    done: Done
    sentence: str


@dataclass(frozen=True, eq=False)
class Read:
    """An image file and those of its channels, as layer data and as image layers of no viewer."""

    path: Path
    layers: list[LayerData]
    images: list[Image]


@dataclass(frozen=True, eq=False)
class Found:
    """Objects beside an image, with their classes."""

    session_of: Path
    labels: NDArray[np.uint32]
    kinds: dict[int, str]


def leaving(
    done: Done,
    series: Series | None,
    *,
    session: Session | None,
    like: Picture | None,
    channels: Sequence[Path],
    collection: Path | None,
    written: Written,
) -> Generator[str, None, Left]:
    """Save the objects of an image beside it, if there are any or were, and note it as finished.

    Parameters
    ----------
    done : Done
    series : Series or None
        The series so far; a new one begins where the image is of another.
    session : Session, optional
        Of the image; None where its objects are saved already.
    like : Picture, optional
        Where the image lies.
    channels : sequence of path
        The files of its further channels.
    collection : path, optional
        The data set whose images count as finished.
    written : Written
        Which work wrote what lies beside images.
    """
    sentence = f"“{done.path.name}” has no object, and nothing was saved."
    if series is None or done.path not in series.images:
        yield "Looking at the images of the folder…"
        series = Series.of(done.path, channels, before=() if collection is None else _sources(collection))
    has_gone = session is not None and session.has_other_objects and objects_beside(done.path).is_file()
    if session is not None and (done.n_objects or has_gone):
        yield "Saving the objects…"
        sentence = _saved_beside(session, done, like=like, written=written)
    elif done.n_objects:
        sentence = f"Added {counted(done.n_objects, 'object')} to the data set."
    elif collection is not None:
        sentence = f"“{done.path.name}” has no object, nor has it in the data set."
    if session is not None and session.journal is not None:
        session.journal.flush()
    return Left(series.with_done(done), done, sentence)


def _saved_beside(session: Session, done: Done, *, like: Picture | None, written: Written) -> str:
    """Save the objects of an image beside it; else they have to be in another file. Return what to say.

    Raises
    ------
    OSError
        If they are in none.
    """
    is_own = written.is_by(done.path, session)
    try:
        path, aside = write_beside(done.path, session.objects, session.finished, like=like, is_own=is_own)
    except OSError as error:
        if session.has_unsaved_objects:
            raise OSError(f"{error}: “Save objects…” writes them there, and then the image can be finished") from error
        return f"Nothing can be written beside “{done.path.name}”: its objects are where you saved them."
    session.note_saved(path, whole=False)
    written.note(done.path, session)
    moved = "" if aside is None else f" What was there is “{aside.name}” now."
    return f"Saved {counted(done.n_objects, 'object')} as “{path.name}”.{moved}"


def arriving(
    path: Path, channels: Sequence[Path] = (), *, reader: str = "", is_joined: bool = False
) -> Generator[str, None, Read]:
    """Read an image file, and those of its channels.

    Parameters
    ----------
    path : path
    channels : sequence of path
    reader : str
        `NAPARI` for its own reader; else this plugin's reads them.
    is_joined : bool
        Whether the channels of a file become the first axis of one layer.
    """
    yield f"Opening {path.name}…"
    read = _read_by_napari if reader == NAPARI else read_layers
    told, images = list[LayerData](), list[Image]()
    for file in (path, *channels):
        layers = read(str(file))
        if is_joined:
            layers = [(*joined(data, attributes), kind) for data, attributes, kind in layers]
        told += layers
        images += images_read(file, layers, reader)
    return Read(path, told, images)


def _read_by_napari(path: str) -> list[LayerData]:
    """Return what napari's own reader makes of a file, named as napari names it."""
    from npe2 import read

    found: list[LayerData] = []
    for told in read([path], stack=False, plugin_name=NAPARI):
        data, attributes, kind = (*told, {}, "image")[:3] if len(told) != 2 else (*told, "image")
        found.append((data, {"name": Path(path).stem, **attributes}, kind))
    return found


def taking_up(path: Path, like: Picture) -> Generator[str, None, Found]:
    """Read the objects beside an image."""
    yield "Reading the objects that were saved…"
    return Found(path, *read_beside(path, like))


def _sources(collection: Path) -> list[Path]:
    """Return the files that the images of a data set came from."""
    told = (entry.metadata().get("image") for entry in Collection(collection).entries)
    return [Path(str(source)) for source in told if source]


def joined(data: Any, attributes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return layer data with its channels as the first axis of one layer, as the images of a data set have them."""
    attributes = dict(attributes)
    if (axis := attributes.pop("channel_axis", None)) is not None:
        data = np.moveaxis(np.asarray(data), axis, 0)
        scale = attributes["scale"]
        attributes["scale"] = [1.0, *scale]
        attributes["axis_labels"] = ("c", *"zyx"[-len(scale) :])
        attributes.pop("units", None)
    return data, attributes
