"""Focus: a click on the canvas that takes it from a field where something was typed does not paint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer


class FocusClick(QObject):
    """Swallows the click by which the fields of a panel lose the focus.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose canvas is clicked.
    fields : QWidget
        Those that keys are typed into.
    """

    def __init__(self, viewer: Viewer, *fields: QWidget) -> None:
        super().__init__(fields[0])
        self._viewer = viewer
        self._is_freed = False  # by the click that is being dealt with
        for field in fields:
            field.installEventFilter(self)
        viewer.mouse_drag_callbacks.insert(0, self._clicked)

    def release(self) -> None:
        """Let all clicks pass."""
        if self._clicked in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._clicked)

    def eventFilter(self, _: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FocusOut and event.reason() == Qt.FocusReason.MouseFocusReason:
            self._is_freed = True
            QTimer.singleShot(0, self._forget)
        return False

    def _forget(self) -> None:
        self._is_freed = False

    def _clicked(self, _: Any, event: Any) -> None:
        if self._is_freed:
            event.handled = True
