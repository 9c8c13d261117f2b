"""Field for a class: one of those that there are, or a new one."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox


class ClassField(QComboBox):
    """A class, to choose or to type; it changes by neither the wheel nor an arrow alone.

    Parameters
    ----------
    tip : str
        What it is the class of.
    placeholder : str
        What stands there while there is none.
    """

    def __init__(self, tip: str, placeholder: str) -> None:
        super().__init__(editable=True, toolTip=tip)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.lineEdit().setPlaceholderText(placeholder)

    @property
    def kind(self) -> str:
        """What is chosen or typed; empty if that is nothing."""
        return self.currentText().strip()

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to what scrolls around it."""
        event.ignore()

    def keyPressEvent(self, event: Any) -> None:
        """Open the list by an arrow, which would take the first class at once."""
        if event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Up) and self.count():
            self.showPopup()
        else:
            super().keyPressEvent(event)
