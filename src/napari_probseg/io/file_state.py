"""What tells whether a file is still as it was left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FileState:
    """A file as it is at some time.

    Parameters
    ----------
    path : str
        In full.
    changed_ns : int
        When it was changed last.
    n_bytes : int
    """

    path: str
    changed_ns: int
    n_bytes: int

    @classmethod
    def of(cls, path: str | Path) -> FileState | None:
        """Return how a file is now; None if there is none."""
        try:
            about = Path(path).stat()
        except OSError:
            return None
        return cls(os.path.realpath(path), about.st_mtime_ns, about.st_size)

    @property
    def told(self) -> dict[str, Any]:
        """What JSON can hold, for `restored`."""
        return asdict(self)

    @classmethod
    def restored(cls, told: Mapping[str, Any]) -> FileState:
        """Return what was told; it may hold more.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it does not hold that.
        """
        return cls(str(told["path"]), int(told["changed_ns"]), int(told["n_bytes"]))
