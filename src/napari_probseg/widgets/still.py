"""Still: the canvas shows what it showed while layers are exchanged, which takes some turns of the event loop."""

from __future__ import annotations

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
