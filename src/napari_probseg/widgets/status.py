"""Status line of a widget: the latest sentence, whole, however long it is and whatever names are in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel

from napari_probseg.widgets.style import colour

if TYPE_CHECKING:
    from napari.viewer import Viewer

_LEAST = 42  # pixels, two lines of letters that are not large: nothing above moves for most sentences


_BREAK = "\u200b"  # a space without width, at which Qt begins a new line if it must
_LONG = re.compile(r"[^\s<>&]{24,}")  # a word, as names of files are, that may be wider than a line
_PART = re.compile(r".{8}")  # of it, that stays together


class Paragraph(QLabel):
    """A text in as many lines as it needs; a long word is broken, and never makes the window wider."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.setWordWrap(True)

    def setText(self, text: str) -> None:
        """Show a text, which is plain unless it has a link."""
        self.setTextFormat(Qt.TextFormat.RichText if "<a " in text else Qt.TextFormat.PlainText)
        super().setText(_LONG.sub(lambda word: _PART.sub(rf"\g<0>{_BREAK}", word[0]), text))

    def text(self) -> str:
        """Return the text as it was given."""
        return str(super().text()).replace(_BREAK, "")


class StatusLine(Paragraph):
    """What was done or refused last; a longer sentence takes the lines that it needs from what is above.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose theme it is drawn in.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(objectName="status")
        self._viewer = viewer
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setFixedHeight(_LEAST)
        self._again = QTimer(self, singleShot=True, interval=0)  # once Qt has taken in the style
        self._again.timeout.connect(self._fit)

    def say(self, sentence: str, is_error: bool = False) -> None:
        """Show a sentence, which may have a link."""
        # Qt draws links in a blue of its own, which the dark theme swallows.
        link = f'<a style="color: {colour(self._viewer, "text").name()}"'
        text = sentence.replace("<a", link)
        if (text, is_error) == (self.text(), self.property("error")):
            return
        self.setText(text)
        self.setToolTip(sentence)
        self.setProperty("error", is_error)
        self.style().unpolish(self)
        self.style().polish(self)
        self._fit()
        self._again.start()

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(0)  # below which Qt would not measure
        two_lines = 2 * self.fontMetrics().lineSpacing()
        self.setFixedHeight(max(_LEAST, two_lines, self.heightForWidth(self.width())))
