"""Steady: a widget that lays itself out anew does not make the whole window do so, unless it wants another size."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QSize
from qtpy.QtWidgets import QWidget


class Steady(QWidget):
    """Holds a widget, and tells what lies around of it only where the size that it wants has changed.

    Qt's layouts tell theirs each time, up to the window, which then composes its canvas anew: without a graphics card
    that takes 10 to 20 ms of the processor for each sentence that is said, while an answer is worked on.

    Parameters
    ----------
    content : QWidget
        Takes all the room.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        content.setParent(self)
        self._told: tuple[QSize, QSize] | None = None

    def sizeHint(self) -> QSize:
        return self._content.sizeHint()

    def minimumSizeHint(self) -> QSize:
        return self._content.minimumSizeHint().expandedTo(self._content.minimumSize())

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._content.setGeometry(self.rect())

    def event(self, event: QEvent) -> bool:
        """Hear that the content was laid out anew."""
        if event.type() == QEvent.Type.LayoutRequest and self._told != (
            now := (self.sizeHint(), self.minimumSizeHint())
        ):
            self._told = now
            self.updateGeometry()
        return bool(super().event(event))
