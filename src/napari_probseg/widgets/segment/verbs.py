"""Verbs: what a user calls by a button, a key or a command; an error becomes one sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_probseg.widgets.messages import sentence_of

logger = logging.getLogger(__name__)


class Speaking(QObject):
    """Tells the user what was done, and why something was not."""

    changed = Signal()
    said = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self.is_held = False  # while a file is read or written: then no verb does anything

    def say(self, sentence: str) -> None:
        """Tell the user something."""
        self.said.emit(sentence, False)

    def refuse(self, error: Exception) -> None:
        """Tell the user in one sentence why something was not done; a log that is asked for gets all of it."""
        logger.info("refused", exc_info=error)  # the console of a user stays free of tracebacks
        self.said.emit(sentence_of(error), True)
        self.changed.emit()

    def take_strokes(self) -> None:
        """Take in what was painted; every verb does it first."""


def verb(method: Callable[..., Any]) -> Callable[..., None]:
    """Make a method of `Speaking` one the user calls: strokes are taken in first, an error becomes one sentence."""

    @wraps(method)
    def called(self: Speaking, *args: Any) -> None:
        try:
            if self.is_held:
                raise RuntimeError("a file is being read or written: wait a moment")
            self.take_strokes()
            method(self, *args)
        except (ValueError, TypeError, RuntimeError, LookupError, OSError, MemoryError) as error:
            self.refuse(error)

    return called
