"""Busy bar: how far work is; where nobody knows, a piece of it moves to and fro."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QProgressBar

from napari_probseg.widgets.style import colour, lively

if TYPE_CHECKING:
    from napari.viewer import Viewer

_N_PLACES, _STEP_MS = 8, 250  # of the piece, and how long it stays at each


class BusyBar(QProgressBar):
    """A thin bar that moves a few times a second at most.

    Qt's own moves thirty times, and each time a window with an OpenGL canvas is composed anew: without a graphics card
    that takes a third of a core, which what is waited for may need.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        In whose theme it is drawn.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(maximum=0, textVisible=False)
        self._viewer, self._at = viewer, 0
        self._moving = QTimer(self, interval=_STEP_MS)
        self._moving.timeout.connect(self._move)

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._moving.start()

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        self._moving.stop()

    def paintEvent(self, _: Any) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour(self._viewer, "foreground"))
        whole, place = self.width(), self._at % (2 * _N_PLACES - 2)
        if self.maximum() > self.minimum():
            left, right = 0, whole * (self.value() - self.minimum()) // (self.maximum() - self.minimum())
        else:
            left = whole * min(place, 2 * _N_PLACES - 2 - place) // _N_PLACES
            right = left + whole // _N_PLACES
        painter.fillRect(left, 0, right - left, self.height(), lively(self._viewer))
        painter.end()

    def _move(self) -> None:
        if self.maximum() == self.minimum():
            self._at += 1
            self.update()
