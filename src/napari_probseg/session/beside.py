"""Finished objects in files beside their image: the label image, and a table of numbers, classes and sizes."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io import NIFTI, PIXEL, READABLE, Picture, write
from napari_probseg.io.atomic import write_whole
from napari_probseg.io.file_state import FileState
from napari_probseg.io.folder import ASIDE, OBJECTS, stem_of
from napari_probseg.io.labels import read_labels
from napari_probseg.session.finished import FinishedObject

if TYPE_CHECKING:
    from napari_probseg.session.session import Session


def objects_beside(image: Path) -> Path:
    """Return the file of the objects of an image file: NIfTI beside NIfTI, else TIFF.

    Where another image beside it has the same name up to the ending, the ending is kept in the name. What was saved
    before that one came, or after it had gone, is found under its own name all the same.
    """
    short, full = (_called_after(image, name) for name in (stem_of(image), image.name))
    others = [other for other in _called(stem_of(image), image.parent) if not _is_same(other, image)]
    there = [path for path in (short, full) if path.is_file() and (path == full or _is_of(path, image, others))]
    if there:
        return max(there, key=lambda path: path.stat().st_mtime_ns)
    return full if others else short


def _called_after(image: Path, name: str) -> Path:
    return image.with_name(name + OBJECTS + (NIFTI[0] if image.name.lower().endswith(NIFTI) else ".tif"))


def _is_of(path: Path, image: Path, others: Iterable[Path]) -> bool:
    """Return whether objects under a name that suits several images are of one: as their table says, or of the oldest.

    Tables of earlier versions say nothing of it, and an image that came later is younger in most cases.
    """
    rivals = [
        other
        for other in others
        if _called_after(other, stem_of(other)) == path and not _called_after(other, other.name).is_file()
    ]
    told = _image_in(_table_of(path))
    if told in (image.name, *(other.name for other in others)):
        return told == image.name
    return all((image.stat().st_mtime_ns, image.name) < (other.stat().st_mtime_ns, other.name) for other in rivals)


def write_beside(
    image: Path,
    objects: NDArray[np.uint32],
    finished: Iterable[FinishedObject],
    *,
    like: Picture | None,
    is_own: bool,
) -> tuple[Path, Path | None]:
    """Write the objects of an image file beside it.

    Parameters
    ----------
    image : path
    objects : uint32 array of the spatial shape
    finished : iterable of FinishedObject
        What there is to tell of them.
    like : Picture, optional
        Where the image lies.
    is_own : bool
        Whether a file that is there already is of the same work, and may be replaced; else it is kept under another
        name.

    Returns
    -------
    path, path or None
        The file of the objects, and that which one that was there before has now.
    """
    path, aside = objects_beside(image), None
    if path.exists() and not is_own:
        aside = _new_aside(path)
        _move(path, aside)
    try:
        write(path, objects.astype(np.min_scalar_type(int(objects.max(initial=0)))), like=like, labels=True)
    except BaseException:
        if aside is not None and not path.exists():
            _move(aside, path)
        raise
    write_whole(_table_of(path), _table(finished, like, image))
    return path, aside


class Written:
    """Which work wrote the objects beside each image: that alone may replace them, as long as they are as it left them.

    Work that is gone on with, from its journal, is the same work: there it is noted.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Session, FileState] = WeakKeyDictionary()

    def note(self, image: Path, session: Session) -> None:
        """Note that the objects beside an image are those of a session."""
        if (state := FileState.of(objects_beside(image))) is not None:
            self._of[session] = state
            if session.journal is not None:
                session.journal.wrote(state)

    def is_by(self, image: Path, session: Session) -> bool:
        """Return whether the objects beside an image are those that a session wrote there, or took up from there."""
        kept = None if session.journal is None else session.journal.beside
        state = FileState.of(objects_beside(image))
        return state is not None and state in (self._of.get(session), kept)


def write_table(path: Path, finished: Iterable[FinishedObject], *, like: Picture | None, image: Path) -> Path | None:
    """Write the table of objects beside their file, wherever that is.

    Parameters
    ----------
    path : path
        The file of the objects.
    finished, like : optional
        See `write_beside`.
    image : path
        What the table says that it is of.

    Returns
    -------
    path or None
        The table; None if another one has its name, which stays as it is.
    """
    table = _table_of(path)
    if table.exists() and not all("object" in row and "voxels" in row for row in _rows_of(table) or [{}]):
        return None
    write_whole(table, _table(finished, like, image))
    return table


def _move(path: Path, to: Path) -> None:
    """Give a file of objects another name, and the table of their classes, if there is one."""
    if (table := _table_of(path)).exists():
        table.replace(_table_of(to))
    path.replace(to)


def _new_aside(path: Path) -> Path:
    """Return another name for a file of objects that is of other work, which no file has yet."""
    then = f"{OBJECTS}{ASIDE}{time.strftime('%Y%m%d-%H%M%S')}"
    numbers = ("", *(f"-{i}" for i in range(2, 10_000)))
    places = (path.with_name(path.name.replace(OBJECTS, f"{then}{n}")) for n in numbers)
    return next(place for place in places if not place.exists())


def read_beside(image: Path, like: Picture) -> tuple[NDArray[np.uint32], dict[int, str]]:
    """Return the objects of an image file from the file beside it, and the classes of those that have one.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it does not lie on the image.
    """
    path = objects_beside(image)
    labels = read_labels(path, like, of=image).astype(np.uint32)
    return labels, _kinds_in(_table_of(path))


def _called(name: str, folder: Path) -> Iterator[Path]:
    """Yield the image files of a folder that have a name up to the ending, in small or capital letters."""
    spelled = (f"{name}{written}" for ending in READABLE for written in (ending, ending.upper()))
    return (path for path in map(folder.joinpath, spelled) if path.is_file())


def _is_same(path: Path, image: Path) -> bool:
    """Return whether two names are of one file; many file systems do not tell capital letters from small ones."""
    return path == image or (image.exists() and path.samefile(image))


def _table_of(path: Path) -> Path:
    return path.with_name(f"{stem_of(path)}.csv")


def _table(finished: Iterable[FinishedObject], like: Picture | None, image: Path) -> bytes:
    """Return a table of the objects of an image as CSV."""
    is_sized = like is not None and like.unit != PIXEL and "T" not in like.axes  # through time it is no area
    size = float(np.prod(like.steps)) if like is not None and is_sized else 1.0
    names = ["object", "class", "voxels"]
    if like is not None and is_sized:
        unit = like.unit.replace("µ", "u")  # as spreadsheets and scripts spell it
        names.append(f"area_{unit}2" if len(like.steps) == 2 else f"volume_{unit}3")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*names, "image"])
    for one in finished:
        sizes = [one.n_voxels, *([f"{one.n_voxels * size:.6g}"] if is_sized else [])]
        rows.writerow([one.label, one.kind, *sizes, image.name])
    return text.getvalue().encode()


def _kinds_in(path: Path) -> dict[int, str]:
    """Return the classes in a table of objects; none if it is not there, or is another table."""
    try:
        return {int(row["object"]): row["class"] for row in _rows_of(path) if row["class"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _image_in(path: Path) -> str:
    """Return the name of the image that a table of objects is of; empty if it does not say."""
    return next((str(row.get("image") or "") for row in _rows_of(path)), "")


def _rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if there is no table that can be read."""
    try:
        return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, csv.Error):
        return []
