"""Result rows of an evaluation, in csv files that survive an interruption."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_probseg.io.atomic import write_whole

INTERACTIONS, SAMPLES, PROMISES = "interactions.csv", "samples.csv", "promises.csv"
TEXTS = ("dataset", "case", "method", "verb", "of")  # columns that hold no numbers

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table, numbers as numbers; none if it is not there. A half last row is left out.

    What an earlier release did not write is not a number.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(whole.splitlines())
    return [
        {name: value if name in TEXTS else float(value or "nan") for name, value in r.items() if name} for r in rows
    ]


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a table, which is made with its header if it is not there or empty."""
    is_new = not path.exists() or not path.stat().st_size
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(_text(rows, header=is_new))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a table anew."""
    write_whole(path, _text(rows, header=True).encode() if rows else b"")


def _text(rows: Sequence[Row], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([list(rows[0])] if header else [])
    writer.writerows([[f"{v:.6g}" if isinstance(v, float) else v for v in row.values()] for row in rows])
    return text.getvalue()
