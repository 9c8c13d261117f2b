"""What the results in a folder were made with: a file beside them, so that it is told where something else is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_probseg.io.atomic import write_whole
from napari_probseg.io.json_file import read_json

MADE_WITH = ".made_with.json"


class MadeWith:
    """Notes on the results of a folder, by their names.

    Parameters
    ----------
    folder : path
        Without notes, or with some that are damaged, nothing is known of its results.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MADE_WITH
        self._notes: dict[str, Any] = {}
        with suppress(ValueError, OSError):
            self._notes = read_json(self._path)

    def note(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Note with what results are about to be made.

        Parameters
        ----------
        results : mapping from str to mapping
            By the name of the file, what JSON can hold: ``{"smoothness": 1.0}``.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if results:
            self._notes |= json.loads(json.dumps(results))
            write_whole(self._path, json.dumps(self._notes, indent=1, sort_keys=True).encode())

    def difference(self, name: str, asked: Mapping[str, Any]) -> str:
        """Return in words how a result was made otherwise than is asked now; empty if it was not, or nobody knows.

        Returns
        -------
        str
            Such as "smoothness 1.0, not 5.0".
        """
        before = self._notes.get(name)
        if not isinstance(before, dict):
            return ""
        now = json.loads(json.dumps(asked))
        return ", ".join(
            f"{option} {before[option]}, not {value}"
            for option, value in now.items()
            if option in before and before[option] != value
        )
