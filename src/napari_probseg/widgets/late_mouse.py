"""Late mouse: strokes that a person draws while another image is on its way are drawn once it is there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

_DOWN = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick)
_REST_MS = 8  # between moves of the mouse: napari looks at one in 5 ms, and lets go of what comes within


class LateMouse(QObject):
    """Keeps what is done with the left button in the middle of a window, in its order, for later.

    Parameters
    ----------
    parent : QWidget
        Anything in the window.
    wait : function
        Takes what is to be done later.
    """

    def __init__(self, parent: QWidget, wait: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__(parent)
        self._widget, self._wait = parent, wait
        self._middle: QWidget | None = None
        self._pressed: QObject | None = None
        self._is_off = False
        self._moved = 0.0  # when a move was sent last

    @property
    def rest_ms(self) -> int:
        """Milliseconds until napari sees what is sent next."""
        return max(0, math.ceil(_REST_MS - 1000 * (time.monotonic() - self._moved)))

    def begin(self) -> None:
        """Keep what is done from now on."""
        window, app = self._widget.window(), QApplication.instance()
        if self._middle is None and isinstance(window, QMainWindow) and app is not None:
            self._middle, self._pressed = window.centralWidget(), None
            app.installEventFilter(self)

    def end(self) -> None:
        """Let the mouse do what it does at once, also in the midst of a stroke."""
        app = QApplication.instance()
        if self._middle is not None and app is not None:
            app.removeEventFilter(self)
        self._middle = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if self._is_off or self._middle is None or not isinstance(watched, QWidget):
            return False
        kind = event.type()
        if kind in _DOWN and event.button() == Qt.MouseButton.LeftButton and self._middle.isAncestorOf(watched):
            self._pressed = watched
        is_kept = self._pressed is watched and kind in (*_DOWN, QEvent.Type.MouseMove, QEvent.Type.MouseButtonRelease)
        if is_kept:
            self._wait(partial(self._send, watched, event.clone()))
            if kind == QEvent.Type.MouseButtonRelease:
                self._pressed = None
        return is_kept

    def _send(self, watched: QWidget, event: QEvent) -> None:
        self._is_off = True
        try:
            QApplication.sendEvent(watched, event)
        finally:
            self._is_off = False
            if event.type() == QEvent.Type.MouseMove:
                self._moved = time.monotonic()
