"""File dialogs of the Segment widget: save objects, save and open sessions, in a thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_probseg.case import Case
from napari_probseg.io.endings import with_ending
from napari_probseg.io.paths import refuse_to_write
from napari_probseg.napari_io.layer_data import write_labels
from napari_probseg.napari_io.layer_place import picture_of
from napari_probseg.progress import result_of
from napari_probseg.session.beside import write_table
from napari_probseg.session.encoding import Stored
from napari_probseg.session.identity import Identity
from napari_probseg.session.learnt import can_be_kept
from napari_probseg.session.session import Session
from napari_probseg.session.storage import read_stored
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.messages import sentence_of
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.recovery import subject_of
from napari_probseg.widgets.tasks.background import Background, Task

_ENDING = re.compile(r"\*(\.[\w.]+)")
_SESSIONS_AND_JOURNALS = "Sessions and journals (*.npz *.journal)"


class Files(QObject):
    """What the widget reads and writes; the session is held still meanwhile.

    Parameters
    ----------
    work : Workspace
        What is saved.
    parent : QWidget
        What the dialogs lie over.
    """

    def __init__(self, work: Workspace, parent: QWidget) -> None:
        super().__init__(parent)
        self._work = work
        self._opened_on: SessionLayers | None = None  # of the image that a session is read for
        self.background = Background()
        self.background.said.connect(work.say)
        self.background.failed.connect(self._fail)
        self.background.done.connect(self._end)

    def save_objects(self) -> None:
        """Ask for a file and write the finished objects to it."""
        if (layers := self._work.layers) is not None:
            self._save(OBJECTS, layers)

    def save_session(self) -> None:
        """Ask for a file and write the session to it."""
        if (layers := self._work.layers) is not None:
            self._work.take_strokes()
            self._save(SESSION, layers)

    def _save(self, what: Savable, layers: SessionLayers) -> None:
        try:
            path = _path_to_save(what, layers, self._beside(""), self._widget)
        except ValueError as error:
            self._work.refuse(error)
            return
        if path is not None:
            self._start(lambda: what.write(layers, path), of=layers)

    def _beside(self, name: str) -> str:
        """Return where a dialog begins: with a name beside the file of the image, if it has one."""
        image = self._work.image
        source = "" if image is None else subject_of(image).source
        return str(Path(source).parent / name) if source else name

    def open_session(self) -> None:
        """Ask for a file and go on with the session in it, in place of the one at hand."""
        path, _ = QFileDialog.getOpenFileName(self._widget, "Open session", self._beside(""), _SESSIONS_AND_JOURNALS)
        if path and self._may_replace():
            self._work.act(lambda: self._read_session(Path(path)))

    def _read_session(self, path: Path) -> None:
        self._opened_on = self._work.open_layers()
        case = self._opened_on.session.case
        self._start(lambda: _read_session(path, case, self._work.restoring))

    def _may_be_of_another_image(self, found: _OfAnotherImage) -> bool:
        asked = QMessageBox.question(
            self._widget,
            "Open session",
            f"This session was made on another image of the same shape: of this one, {found.difference}. "
            f"Open it all the same?",
        )
        return bool(asked == QMessageBox.StandardButton.Yes)

    @property
    def _widget(self) -> QWidget:
        parent: QWidget = self.parent()
        return parent

    def _may_replace(self) -> bool:
        session = self._work.session
        if session is None or not session.steps:
            return True
        asked = QMessageBox.question(
            self._widget, "Open session", "Replace the work at hand? What is not saved stays in its journal."
        )
        return bool(asked == QMessageBox.StandardButton.Yes)

    def _start(self, task: Task, *, of: SessionLayers | None = None) -> None:
        """Hold the session still, and read or write, once nothing else is read or written."""

        def start() -> None:
            if of is not None and of is not self._work.layers:
                raise RuntimeError("another image is at work by now: nothing was saved")
            self._work.hold()
            self.background.start(task)

        self._work.act(start)

    def _end(self, result: _OfAnotherImage | Session | str) -> None:
        self._work.release_hold()
        if isinstance(result, str):
            self._work.say(result)
        elif isinstance(result, Session):
            self._work.at_once(partial(self._work.replace_session, result, self._opened_on))
        elif self._may_be_of_another_image(result):
            self._work.at_once(lambda: self._start(lambda: self._work.restoring(result.stored, result.case)))

    def _fail(self, error: Exception) -> None:
        self._work.release_hold()
        self._work.refuse(error)


@dataclass(frozen=True, eq=False)
class _OfAnotherImage:
    """A session that was made on another image of the same shape."""

    stored: Stored
    case: Case
    difference: str


@dataclass(frozen=True)
class Savable:
    """What can be saved of an image.

    Parameters
    ----------
    title : str
        Of the dialog.
    name : str
        That follows the image's in the name which is proposed.
    kinds : str
        Of files, as Qt's dialogs take them.
    write : function
        Returns the task that writes it to a path.
    """

    title: str
    name: str
    kinds: str
    write: Callable[[SessionLayers, Path], Generator[str, None, str]]


def save_at_once(what: Savable, layers: SessionLayers, parent: QWidget) -> bool:
    """Ask for a file and write the objects or the session of an image to it; return whether that was done."""
    try:
        path = _path_to_save(what, layers, "", parent)
        if path is not None:
            result_of(what.write(layers, path))
        return path is not None
    except (ValueError, TypeError, OSError, MemoryError) as error:
        QMessageBox.warning(parent, what.title, sentence_of(error))
        return False


def _path_to_save(what: Savable, layers: SessionLayers, folder: str, parent: QWidget) -> Path | None:
    """Ask for a file, which gets an ending where none was typed; None if the user turned away.

    Raises
    ------
    ValueError
        If the ending is unknown.
    """
    begin = str(Path(folder) / f"{layers.image_name}{what.name}")
    typed, kind = QFileDialog.getSaveFileName(parent, what.title, begin, what.kinds)
    if not typed:
        return None
    known, chosen = (_ENDING.findall(text) for text in (what.kinds, kind))
    path = with_ending(Path(typed), known, default=(chosen or known)[0])
    if path == Path(typed) or not path.exists():
        return path
    asked = QMessageBox.question(parent, what.title, f"“{path.name}” is there already. Replace it?")
    return path if asked == QMessageBox.StandardButton.Yes else None


def _write_objects(layers: SessionLayers, path: Path) -> Generator[str, None, str]:
    """Write the objects as they are, with a table of their classes and sizes."""
    data, attributes, _ = layers.objects.as_layer_data_tuple()
    journal = layers.session.journal
    source = "" if journal is None else journal.subject.source
    return _writing(path, data.copy(), attributes, layers.session, Path(source or layers.image_name))


def _writing(
    path: Path, data: NDArray[Any], attributes: dict[str, Any], session: Session, image: Path
) -> Generator[str, None, str]:
    yield "Saving the objects…"
    refuse_to_write(path, made_from=[image] if image.is_file() else [])
    write_labels(str(path), data, attributes)
    session.note_saved(path, whole=False)
    table = write_table(path, session.finished, like=picture_of(data.shape, attributes), image=image)
    also = f", and their classes and sizes as “{table.name}”" if table is not None else ""
    return f"Saved the objects as “{path.name}”{also}."


def _write_session(layers: SessionLayers, path: Path) -> Generator[str, None, str]:
    session = layers.session
    yield "Saving the session…"
    session.save(path)
    session.note_saved(path, whole=True)
    is_lost = session.learnt is not None and not can_be_kept(session.learnt)
    return f"Saved the session as “{path.name}”." + " What was learnt of the image is not in it." * is_lost


def _read_session(
    path: Path, case: Case, restoring: Callable[[Stored, Case], Generator[Any, None, Session]]
) -> Generator[Any, None, Session | _OfAnotherImage]:
    yield "Opening the session…"
    stored = read_stored(path)
    case = Case(case.image, case.spacing, case.channel_axis, in_time=case.in_time)
    stored.check(case, path.name, any_image=True)
    if stored.identity is not None and (difference := stored.identity.difference(Identity.of(case))):
        return _OfAnotherImage(stored, case, difference)
    return (yield from restoring(stored, case))


OBJECTS = Savable(
    "Save objects",
    "_objects.nii.gz",
    "NIfTI (*.nii.gz *.nii);;TIFF (*.tif *.tiff);;PNG (*.png);;All files (*)",
    _write_objects,
)
SESSION = Savable("Save session", "_session.npz", "Session (*.npz)", _write_session)
