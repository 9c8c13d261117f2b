"""JSON files, of which anything may be broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_probseg.io.failures import reason_of
from napari_probseg.io.paths import reading_failure, refuse_no_file

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
    refuse_no_file(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        # From bytes it tells UTF-8 from UTF-16 by itself, with a mark at the beginning or without.
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not a mapping")
    except (ValueError, RecursionError, MemoryError, OSError) as error:
        if isinstance(error, OSError):
            raise reading_failure(path, error) or error from error
        if isinstance(error, UnicodeDecodeError):
            raise ValueError(f"{path} is no text in UTF-8 ({reason_of(error)}): save it as UTF-8") from error
        raise ValueError(f"{path} is damaged ({reason_of(error)}): {advice}") from error
    return content
