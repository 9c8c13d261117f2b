"""Warnings to the user: what was assumed of a file, or could not be kept in one."""

from __future__ import annotations

import sys
import warnings

_PACKAGE = __name__.partition(".")[0]


def tell(sentence: str) -> None:
    """Warn in one sentence, as from the line outside of this package that asked for it.

    napari shows such a warning as a notification, the command line as a line of its own.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, stacklevel=level)
