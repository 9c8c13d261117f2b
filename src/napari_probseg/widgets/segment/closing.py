"""Closing napari: unsaved objects are saved, kept in the journal or discarded, as the user says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_probseg.progress import counted
from napari_probseg.session.journal import count_objects
from napari_probseg.session.learnt import can_be_kept
from napari_probseg.widgets.ending import main_window
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.messages import sentence_of
from napari_probseg.widgets.segment.file_dialogs import OBJECTS, SESSION, save_at_once

if TYPE_CHECKING:
    from napari_probseg.widgets.segment.images import Images


class Guard(QObject):
    """Watches a napari window until it closes; it outlives the Segment widget, as the work does.

    Parameters
    ----------
    window : QMainWindow
    images : Images
        What is worked on in it.
    """

    def __init__(self, window: QMainWindow, images: Images) -> None:
        super().__init__(window)
        self._window, self._images = window, images
        window.installEventFilter(self)

    def eventFilter(self, _: QObject, event: QEvent) -> bool:
        """Ask before the window closes, if it can be seen; leave it open if that is what is wanted."""
        if event.type() == QEvent.Type.Close and self._window.isVisible() and not self._may_close():
            event.ignore()
            return True
        return False

    def _may_close(self) -> bool:
        """Return whether to close; journals are written to their end, and removed where all is saved or discarded."""
        unsaved = [layers for layers in self._images if layers.session.has_unsaved_objects]
        answer = _ask(self._window, unsaved) if unsaved else KEEP
        if answer == CANCEL:
            return False
        if answer == SAVE and not all(save_at_once(OBJECTS, layers, self._window) for layers in unsaved):
            return False
        discarded = unsaved if answer == DISCARD else []
        unwritten = [layers for layers in self._images.in_memory if layers not in discarded and not _is_kept(layers)]
        if unwritten and not self._may_lose(unwritten):
            return False
        for layers in self._images.in_memory:
            journal = layers.session.journal
            if journal is not None and (journal.is_saved or layers in discarded):
                journal.remove()
            elif journal is not None:
                journal.close()
        return True

    def _may_lose(self, unwritten: list[SessionLayers]) -> bool:
        """Return whether to close though some journals are not written to their end, their sessions saved if wanted."""
        answer = _ask_of_journals(self._window, unwritten)
        if answer == SAVE_SESSION:
            return all(save_at_once(SESSION, layers, self._window) for layers in unwritten)
        return answer == LOSE


SAVE, KEEP, DISCARD, CANCEL = "Save…", "Keep in the journal", "Discard", "Cancel"
SAVE_SESSION, LOSE = "Save the session…", "Close all the same"
MAX_WAIT = 10  # seconds for a journal to be written


def guard(widget: QWidget, images: Images) -> None:
    """Watch the window that a widget is docked in, once."""
    window = main_window(widget)
    if window is not None and window.findChild(Guard) is None:
        Guard(window, images)


def _ask(parent: QWidget, unsaved: list[SessionLayers]) -> str:
    """Ask what is to become of finished objects that are in no file; return the text of the button."""
    counts = [(layers.image_name, layers.session) for layers in unsaved]
    names = "\n".join(f"{counted(count_objects(session.steps), 'object')} of “{name}”" for name, session in counts)
    box = QMessageBox(parent)
    box.setWindowTitle("Unsaved objects")
    box.setText(f"Finished, and not saved to a file:\n{names}")
    lost = any(session.learnt is not None and not can_be_kept(session.learnt) for _, session in counts)
    box.setInformativeText(
        "What is kept in the journal is offered when the image is opened again."
        + (" What was learnt of the image is lost, however it is closed." if lost else "")
    )
    roles = QMessageBox.ButtonRole
    kinds = ((SAVE, roles.AcceptRole), (KEEP, roles.AcceptRole), (DISCARD, roles.DestructiveRole))
    return _answered(box, kinds, default=KEEP)


def _is_kept(layers: SessionLayers) -> bool:
    """Return whether all that was done on an image is in its journal, or was saved."""
    session = layers.session
    if session.journal is None:
        return not session.steps
    return session.journal.is_saved or session.journal.flush(MAX_WAIT)


def _ask_of_journals(parent: QWidget, unwritten: list[SessionLayers]) -> str:
    """Ask what is to become of work that could not be written to its journal; return the text of the button."""
    names = ", ".join(f"“{layers.image_name}”" for layers in unwritten)
    journals = [layers.session.journal for layers in unwritten]
    box = QMessageBox(parent)
    box.setWindowTitle("Work that is in no file")
    box.setText(f"What was done last on {names} is in no file, and is lost if napari is closed now.")
    box.setInformativeText(" ".join(sentence_of(RuntimeError(j.trouble)) for j in journals if j and j.trouble))
    roles = QMessageBox.ButtonRole
    kinds = ((SAVE_SESSION, roles.AcceptRole), (LOSE, roles.DestructiveRole))
    return _answered(box, kinds, default=SAVE_SESSION)


def _answered(box: QMessageBox, kinds: Sequence[tuple[str, QMessageBox.ButtonRole]], *, default: str) -> str:
    """Show a question, which can be cancelled, and return the text of the button that was clicked."""
    buttons = {text: box.addButton(text, role) for text, role in (*kinds, (CANCEL, QMessageBox.ButtonRole.RejectRole))}
    box.setDefaultButton(buttons[default])
    box.setEscapeButton(buttons[CANCEL])
    box.exec()
    return next((text for text, button in buttons.items() if button is box.clickedButton()), CANCEL)
