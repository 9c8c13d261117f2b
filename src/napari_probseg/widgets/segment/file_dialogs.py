"""File dialogs of the Segment widget: save objects, save and open sessions, in a thread."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_probseg.session.session import Session
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.tasks.background import Background, Task

_SESSIONS = "Session (*.npz)"
_OBJECTS = "NIfTI (*.nii.gz *.nii);;TIFF (*.tif *.tiff);;All files (*)"


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
        layers = self._work.layers
        if layers is None:
            return
        path = self._ask_to_save("Save objects", f"{layers.image_name}_objects.nii.gz", _OBJECTS)
        if path is not None:
            data, meta, _ = layers.objects.as_layer_data_tuple()
            self._start(lambda: _write_objects(Labels(data.copy(), **meta), path))

    def save_session(self) -> None:
        """Ask for a file and write the session to it."""
        layers = self._work.layers
        if layers is None:
            return
        self._work.take_strokes()
        path = self._ask_to_save("Save session", f"{layers.image_name}_session.npz", _SESSIONS)
        if path is not None:
            self._start(lambda: _write_session(layers.session, path))

    def open_session(self) -> None:
        """Ask for a file and go on with the session in it, in place of the one at hand."""
        path, _ = QFileDialog.getOpenFileName(self._widget, "Open session", "", _SESSIONS)
        if not path or not self._may_replace():
            return
        try:
            self._opened_on = self._work.open_layers()
        except (ValueError, TypeError) as error:
            self._work.refuse(error)
            return
        case = self._opened_on.session.case
        self._start(lambda: _read_session(Path(path), case))

    @property
    def _widget(self) -> QWidget:
        parent: QWidget = self.parent()
        return parent

    def _ask_to_save(self, title: str, name: str, kinds: str) -> Path | None:
        path, kind = QFileDialog.getSaveFileName(self._widget, title, name, kinds)
        if not path:
            return None
        if not Path(path).suffix:
            path += kind.partition("*")[2].partition(" ")[0].rstrip(")")
        return Path(path)

    def _may_replace(self) -> bool:
        session = self._work.session
        if session is None or not session.steps:
            return True
        asked = QMessageBox.question(
            self._widget, "Open session", "Replace the work at hand? What is not saved is lost."
        )
        return bool(asked == QMessageBox.StandardButton.Yes)

    def _start(self, task: Task) -> None:
        self._work.hold()
        self.background.start(task)

    def _end(self, result: Session | str) -> None:
        self._work.release_hold()
        if isinstance(result, str):
            self._work.say(result)
        else:
            self._work.replace_session(result, self._opened_on)

    def _fail(self, error: Exception) -> None:
        self._work.release_hold()
        self._work.refuse(error)


def _write_objects(layer: Labels, path: Path) -> Generator[str, None, str]:
    yield "Saving the objects…"
    if not layer.save(str(path)):
        raise ValueError(f"no writer knows “{path.name}”: choose a name that ends in .nii.gz or .tif")
    return f"Saved the objects as {path.name}."


def _write_session(session: Session, path: Path) -> Generator[str, None, str]:
    yield "Saving the session…"
    session.save(path)
    return f"Saved the session as {path.name}."


def _read_session(path: Path, case: Any) -> Generator[str, None, Session]:
    yield "Opening the session…"
    return Session.load(path, case.image)
