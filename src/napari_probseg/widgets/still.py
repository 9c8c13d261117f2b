"""Still: while layers are exchanged, a turn of the event loop each, half of an exchange is neither shown nor told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QWidget


class StillCanvas:
    """Keeps the middle of a window as it is drawn: half of an exchange is not seen, nor drawn in vain.

    Parameters
    ----------
    widget : QWidget
        Anything in the window.
    """

    def __init__(self, widget: QWidget) -> None:
        self._widget = widget
        self._held: QWidget | None = None

    def hold(self) -> None:
        """Draw nothing from now on."""
        window = self._widget.window()
        if self._held is None and isinstance(window, QMainWindow):
            self._held = window.centralWidget()
        if self._held is not None:
            self._held.setUpdatesEnabled(False)

    def release(self) -> None:
        """Draw again, and first what there is now."""
        held, self._held = self._held, None
        if held is not None:
            held.setUpdatesEnabled(True)


@contextmanager
def units_may_differ() -> Iterator[None]:
    """Let napari warn of all but units: those of an image that goes and of one that comes may differ for a moment."""
    n = len(notification_manager.records)
    try:
        with notification_manager.notification_ready.blocker():
            yield
    finally:
        for told in list(notification_manager.records)[n:]:
            if "units" not in str(told.message):
                notification_manager.notification_ready(told)


def in_turns(owner: QObject, acts: Sequence[Callable[[], Any]], failed: Callable[[Exception], Any]) -> None:
    """Do things one after the other, in a turn of the event loop each, so that none is long.

    Parameters
    ----------
    owner : QObject
        When it is gone, nothing more is done.
    acts : sequence of function
    failed : function
        Is told of the first error; what would follow is not done then.
    """
    timer = QTimer(owner)
    timer.setSingleShot(True)

    def do() -> None:
        try:
            with units_may_differ():
                acts[0]()
            if acts[1:]:
                in_turns(owner, acts[1:], failed)
        except Exception as error:  # napari may raise anything
            failed(error)

    timer.timeout.connect(do)
    timer.timeout.connect(timer.deleteLater)
    timer.start(0)
