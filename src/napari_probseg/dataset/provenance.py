"""Provenance of a case: its files, how its labels were made, and what ``dataset.json`` remembers of its image."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.dataset.labelled import Finished
from napari_probseg.io.json_file import read_json
from napari_probseg.io.notice import tell

VERSION = 1
KEY = "napari_probseg"  # of our part of dataset.json


@dataclass(frozen=True)
class Entry:
    """One case of a collection.

    Parameters
    ----------
    name : str
    held_out : bool
        Whether models are compared on it, and never trained.
    images : tuple of path
        One for each channel.
    label : path
    provenance : path or None
        The ``.json`` file about this label; None for what was added by other programs. Beside it lies the session,
        if there was one, with the ending ``.npz``.
    earlier : tuple of path
        The labels that this one replaced, oldest first.
    """

    name: str
    held_out: bool
    images: tuple[Path, ...]
    label: Path
    provenance: Path | None
    earlier: tuple[Path, ...]

    def metadata(self) -> dict[str, Any]:
        """Return what is known of how the label was made; empty if nothing is, or the file of it is broken."""
        if self.provenance is None:
            return {}
        try:
            return read_json(self.provenance)
        except (ValueError, OSError) as error:
            tell(f"how the label of {self.name} was made is not known any more: {error}")
            return {}


@dataclass(frozen=True)
class Note:
    """What ``dataset.json`` remembers of an image: its fingerprint, and its spatial shape."""

    fingerprint: str
    shape: tuple[int, ...]


def remembered(folder: Path, about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what our part of ``dataset.json`` tells of each case; nothing where other programs wrote it."""
    if KEY not in about:
        return {}
    try:
        found, cases = about[KEY]["version"], dict(about[KEY]["cases"])
        is_sound = all(
            isinstance(case["held_out"], bool)
            and isinstance(case["image"], str)
            and all(isinstance(n, int) and n > 0 for n in case["shape"])
            for case in cases.values()
        )
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder / 'dataset.json'} is damaged (what it remembers of its images): put back a whole copy, or remove "
            f"the entry {KEY!r} from it to open it as of another program"
        ) from None
    if not is_sound or found != VERSION:
        raise ValueError(
            f"{folder} is of version {found}, this release knows version {VERSION}: open it with the release that "
            f"wrote it"
        )
    return cases


def circumstances(finished: Finished) -> dict[str, Any]:
    """Return when and with what a case was added, and where its image lies."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "napari-probseg": version("napari-probseg"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "spacing": finished.like.spacing,
        "affine": finished.like.affine,  # which not every format keeps
    }


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return content as JSON, with arrays as lists and paths as text.

    Raises
    ------
    TypeError
        If it cannot be that.
    """
    try:
        return json.dumps(content, indent=1, ensure_ascii=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"provenance must be of what JSON can hold ({error}): numbers, text, lists, mappings"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"not {type(value).__name__}")
