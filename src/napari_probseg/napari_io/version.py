"""The version of the napari that is installed, told without importing it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

OLDEST_NAPARI = (0, 7)


def numbers(text: str) -> tuple[int, int]:
    """Return the first two numbers of a version: (0, 9) of "0.9.2" and of "0.9.0rc1"."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"a version begins with two numbers, got {text!r}")
    return int(found[1]), int(found[2])


def check_version(text: str) -> None:
    """Refuse a napari that is older than what the widgets are tested with.

    Raises
    ------
    RuntimeError
        If it is.
    """
    if numbers(text) < OLDEST_NAPARI:
        oldest = ".".join(map(str, OLDEST_NAPARI))
        raise RuntimeError(
            f"napari-probseg needs napari {oldest} or newer, and this is {text}: pip install --upgrade napari"
        )


def draws_any_byte_order() -> bool:
    """Return whether napari draws numbers in another byte order than the machine's, as it does since 0.9."""
    try:
        return numbers(version("napari")) >= (0, 9)
    except PackageNotFoundError:
        return True
