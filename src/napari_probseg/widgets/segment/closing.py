"""Closing napari: unsaved objects are saved, kept in the journal or discarded, as the user says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_probseg.session.journal import count_objects
from napari_probseg.session.learnt import can_be_kept
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.messages import counted_objects
from napari_probseg.widgets.segment.file_dialogs import save_objects_at_once

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
        if answer == SAVE and not all(save_objects_at_once(layers, self._window) for layers in unsaved):
            return False
        for layers in self._images:
            journal = layers.session.journal
            if journal is None:
                continue
            if journal.is_saved or (answer == DISCARD and layers in unsaved):
                journal.remove()
            else:
                journal.close()
        return True


SAVE, KEEP, DISCARD, CANCEL = "Save…", "Keep in the journal", "Discard", "Cancel"


def guard(widget: QWidget, images: Images) -> None:
    """Watch the window that a widget is docked in, once."""
    window: Any = widget.parent()
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parent()
    if window is not None and window.findChild(Guard) is None:
        Guard(window, images)


def _ask(parent: QWidget, unsaved: list[SessionLayers]) -> str:
    """Ask what is to become of finished objects that are in no file; return the text of the button."""
    counts = [(layers.image_name, layers.session) for layers in unsaved]
    names = "\n".join(f"{counted_objects(count_objects(session.steps))} of “{name}”" for name, session in counts)
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
    buttons = {text: box.addButton(text, role) for text, role in (*kinds, (CANCEL, roles.RejectRole))}
    box.setDefaultButton(buttons[KEEP])
    box.setEscapeButton(buttons[CANCEL])
    box.exec()
    return next((text for text, button in buttons.items() if button is box.clickedButton()), CANCEL)
