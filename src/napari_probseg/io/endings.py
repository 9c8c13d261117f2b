"""Endings of file names: which one a name has, and the one that it is given where it has none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_TYPED = re.compile(r"\.[a-z]\w{0,4}", re.IGNORECASE)  # what is meant as an ending; ".5um" is a part of the name


def known_ending(path: Path, endings: Sequence[str]) -> str:
    """Return the ending of a file's name that is one of some, also in capital letters.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if found := [ending for ending in endings if path.name.lower().endswith(ending)]:
        return found[0]
    what = "an ending that is not known here" if path.suffix else "no ending"
    known = f"one of {', '.join(endings)}" if len(endings) > 1 else endings[0]
    raise ValueError(f"{path.name} has {what}: use {known}")


def with_ending(path: Path, endings: Sequence[str], *, default: str) -> Path:
    """Return a path with an ending: as it is, or with the default one where none was typed.

    Raises
    ------
    ValueError
        If another ending was typed.
    """
    if path.name.lower().endswith(tuple(endings)) or _TYPED.fullmatch(path.suffix):
        known_ending(path, endings)
        return path
    return path.with_name(path.name.rstrip(".") + default)
