"""Focus of our panels: a part that can be used no longer gives it back to the window, and no other part gets it."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget


class OwnFocus(QWidget):
    """A panel that passes the focus on by Tab alone.

    Qt passes it on from a part that is hidden or disabled, too: the next press of the space bar would push another
    button, be it one that napari draws above the panel. Here keys go to the canvas again.
    """

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Pass the focus on, if it is where it can be."""
        part = self.focusWidget()
        if part is None or (part.isVisibleTo(self) and part.isEnabled()):
            return bool(super().focusNextPrevChild(forward))
        part.clearFocus()
        return True
