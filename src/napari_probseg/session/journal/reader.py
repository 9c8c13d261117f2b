"""Reading a journal: the session that it holds, up to the first record that is not whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_probseg.io.file_state import FileState
from napari_probseg.io.paths import reading_failure, refuse_no_file
from napari_probseg.io.picture import NotReadHereError
from napari_probseg.session.encoding import BROKEN, Stored, restored
from napari_probseg.session.history import Step
from napari_probseg.session.identity import Identity
from napari_probseg.session.journal.records import FIRST_LINE, FORMAT, VERSION, records_of

MAX_TIME = 2.5e11  # seconds since 1970: of the year 9892, after which calendars end


@dataclass(frozen=True)
class Subject:
    """What a journal is about, as the user knows it.

    Parameters
    ----------
    name : str
        What the image is called.
    source : str
        The path of its file; empty if it has none.
    reader : str
        What read it, as napari calls it; empty if that is not known.
    """

    name: str = ""
    source: str = ""
    reader: str = ""

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Subject:
        """Return what the first record of a journal tells."""
        return cls(*(str(about.get(key, "")) for key in ("name", "source", "reader")))

    def other_name(self, path: Path | None) -> str:
        """Return what the file is called, where it and another one have different names; else nothing."""
        name = Path(self.source).name
        return name if path is not None and name not in ("", path.name) else ""


@dataclass(frozen=True, eq=False)
class Kept:
    """What a journal holds.

    Parameters
    ----------
    path : Path
    stored : Stored
    subject : Subject
    time : float
        Of the last record, in seconds since 1970.
    saved_as : str
        The file that everything was saved to last; empty if something was done since.
    n_objects : int
        How many objects are finished.
    n_bytes : int
        Of the journal as far as it is whole.
    is_damaged : bool
        Whether more follows than the half-written end that a crash leaves.
    size : int
        Of the file when it was read, in bytes.
    beside : FileState, optional
        What the work wrote last beside its image.
    """

    path: Path
    stored: Stored
    subject: Subject
    time: float
    saved_as: str
    n_objects: int
    n_bytes: int
    is_damaged: bool
    size: int
    beside: FileState | None = None


def read_journal(path: str | Path) -> Kept:
    """Return what a journal holds, up to the first record that is not whole.

    Raises
    ------
    FileNotFoundError, PermissionError
        If it is not there, or may not be read.
    ValueError
        If it is no journal of this version, or damaged from the beginning.
    """
    path = Path(path)
    about: dict[str, Any] = {}
    done: list[Step] = []
    undone: list[Step] = []
    n_asked, n_bytes, when, saved_as, beside, is_damaged = 0, 0, 0.0, "", None, False
    with _opened_to_read(path) as file:
        about, start = _beginning_of(path, file)
        identity, channel_axis = _subject_of(path, about)
        in_time = about.get("in_time", False) is True  # of journals without it, none is
        size = os.fstat(file.fileno()).st_size
        n_bytes, when = file.tell(), _time(about)
        records = records_of(file)
        while True:
            try:
                told, unpacked = next(records)
                what = told["what"]
                if what == "step":
                    done.append(restored(told["step"], unpacked, identity.shape))
                    undone.clear()
                    n_asked = max(n_asked, int(told["n_asked"]))
                elif what in ("undo", "redo"):
                    source, target = (done, undone) if what == "undo" else (undone, done)
                    target.append(source.pop())
                elif what == "saved":
                    saved_as = str(told["path"])
                elif what == "beside":
                    beside = FileState.restored(told)
                saved_as = saved_as if what in ("saved", "beside") else ""
                when = _time({"time": when, **told})
                n_bytes = file.tell()
            except StopIteration:
                break
            except NotReadHereError as error:
                raise ValueError(f"{path} cannot be opened: {error}") from error
            except BROKEN:
                is_damaged = True
                break
    stored = Stored(
        identity.shape, identity.spacing, channel_axis, start, tuple(done), tuple(undone), n_asked, identity, in_time
    )
    subject, n_objects = Subject.of(about), count_objects(done)
    return Kept(path, stored, subject, when, saved_as, n_objects, n_bytes, is_damaged, size, beside)


def read_identity(path: str | Path) -> tuple[Identity, Subject]:
    """Return of which image a journal is, without reading the steps; see `read_journal` for what it raises."""
    path = Path(path)
    with _opened_to_read(path) as file:
        about, _ = _beginning_of(path, file, shape_only=True)
    return _subject_of(path, about)[0], Subject.of(about)


def _opened_to_read(path: Path) -> BinaryIO:
    refuse_no_file(path, "journal")
    try:
        return path.open("rb")
    except OSError as error:
        raise reading_failure(path, error) or error from error


def _beginning_of(path: Path, file: BinaryIO, *, shape_only: bool = False) -> tuple[dict[str, Any], Step]:
    first_line = file.readline(len(FIRST_LINE) + 20)
    if first_line.startswith(FORMAT) and first_line != FIRST_LINE:
        version = first_line[len(FORMAT) :].decode("ascii", "replace").strip()
        raise ValueError(
            f"{path} is of version {version}, this release reads version {VERSION}: open it with the release that "
            f"wrote it"
        )
    try:
        if first_line == FIRST_LINE:
            about, unpacked = next(records_of(file))
            identity = Identity.restored(about["identity"])
            if shape_only:
                return about, Step("start")
            return about, restored(about["step"], unpacked, identity.shape, verbs=("start",))
    except NotReadHereError as error:
        raise ValueError(f"{path} cannot be opened: {error}") from error
    except (StopIteration, *BROKEN) as error:
        raise _no_journal(path) from error
    raise _no_journal(path)


def _subject_of(path: Path, about: Mapping[str, Any]) -> tuple[Identity, int | None]:
    try:
        axis = about["channel_axis"]
        _time(about)
        return Identity.restored(about["identity"]), None if axis is None else int(axis)
    except BROKEN as error:
        raise _no_journal(path) from error


def _time(about: Mapping[str, Any]) -> float:
    """Return when a record was written, in seconds since 1970."""
    seconds = float(about["time"])
    if not 0 <= seconds < MAX_TIME:
        raise ValueError(f"there is no time {seconds}")
    return seconds


def _no_journal(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged or no journal of napari-probseg: open another file")


def count_objects(steps: Sequence[Step]) -> int:
    """Return how many objects are finished after some steps."""
    labels: set[int] = set()
    for step in steps:
        if step.verb == "finish":
            labels.add(int(step.arguments["label"]))
        elif step.verb in ("reopen", "remove"):
            labels.discard(int(step.arguments["label"]))
        elif step.verb == "take":
            new = [c.after[c.before != c.after] for c in step.changes if c.name == "objects"]
            labels.update(int(label) for values in new for label in np.unique(values))
    return len(labels)
