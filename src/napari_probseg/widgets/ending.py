"""The end of Python: windows of napari that are still open are closed before PyQt takes Qt apart.

A script that ends by an error, or never runs napari, leaves its window open. PyQt then deletes one widget after the
other, and where these answer in Python what it goes through changes meanwhile: that can end in a segmentation fault.
"""

from __future__ import annotations

import atexit
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QMainWindow, QWidget

_docked: WeakSet[QWidget] = WeakSet()


def main_window(widget: QWidget) -> QMainWindow | None:
    """Return the window that a widget is docked in, also where its dock floats; None if it is in none."""
    window: Any = widget.parent()
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parent()
    return window


def close_at_the_end(widget: QWidget) -> None:
    """Close the window that a widget is docked in when Python ends, if it is still open then."""
    _docked.add(widget)


@atexit.register  # after PyQt did, which is imported above: what was registered last is done first
def close_windows() -> None:
    """Close all such windows; nobody is asked, since Python ends all the same, and the journals have what was done."""
    for widget in tuple(_docked):
        with suppress(RuntimeError):  # Qt has deleted it
            if (window := main_window(widget)) is not None:
                window.hide()
                window.close()
    if QCoreApplication.instance() is not None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
