"""Warnings to the user: what was assumed of a file, or could not be kept in one."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

_PACKAGE = __name__.partition(".")[0]


def tell(sentence: str) -> None:
    """Warn in one sentence, as from the line outside of this package that asked for it.

    napari shows such a warning as a notification, the command line as a line of its own.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, stacklevel=level)


@contextmanager
def heard(logger: str) -> Iterator[list[logging.LogRecord]]:
    """Yield what a library says to its log in this thread meanwhile, which nobody else hears then."""
    said: list[logging.LogRecord] = []
    mine = get_ident()

    def is_for_others(record: logging.LogRecord) -> bool:
        if get_ident() == mine:
            said.append(record)
        return get_ident() != mine

    logging.getLogger(logger).addFilter(is_for_others)
    try:
        yield said
    finally:
        logging.getLogger(logger).removeFilter(is_for_others)
