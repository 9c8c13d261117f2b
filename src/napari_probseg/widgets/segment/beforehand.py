"""Beforehand: what is done for an image in turns of the event loop of its own, before a person paints on it."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication

BEGIN_MS, NEXT_MS = 200, 20  # until the first thing is done, and from one to the next
PAUSE_MS = 2000  # without a step, in which what is left is done


class Beforehand(QObject):
    """Does one thing after the other, while nobody drags anything with the mouse.

    Parameters
    ----------
    do : bound method
        Does one of the things that are left to do, and returns whether there was one.
    must_wait : bound method
        Returns whether nothing may be done now.
    """

    def __init__(self, do: Callable[[], bool], must_wait: Callable[[], bool]) -> None:
        super().__init__()
        self._do, self._must_wait = WeakMethod(do), WeakMethod(must_wait)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._go_on)

    def begin(self) -> None:
        """Begin soon."""
        self._timer.start(BEGIN_MS)

    def put_off(self) -> None:
        """Let what is left wait for a pause: a person is at work."""
        if self._timer.isActive():
            self._timer.start(PAUSE_MS)

    def stop(self) -> None:
        """Leave the rest undone."""
        self._timer.stop()

    def _go_on(self) -> None:
        do, must_wait = self._do(), self._must_wait()
        if do is None or must_wait is None:
            return
        if must_wait() or QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            self._timer.start(BEGIN_MS)
        elif do():
            self._timer.start(NEXT_MS)
