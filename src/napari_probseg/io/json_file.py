"""JSON files, of which anything may be broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_probseg.io.failures import reason_of

MAX_BYTES = 2**28


def read_json(path: Path, *, advice: str = "get it anew") -> dict[str, Any]:
    """Return the mapping that a JSON file holds.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is damaged, or holds something else; ``advice`` says what to do then.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not a mapping")
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is damaged ({reason_of(error)}): {advice}") from error
    return content
