"""Whole numbers that a file holds as floats."""

from __future__ import annotations

from typing import Any

import numpy as np


def in_whole_numbers(values: Any) -> Any:
    """Return floats that are whole numbers as integers; anything else as it is."""
    if values.dtype.kind != "f":
        return values
    array = np.asarray(values)
    if not array.size or not np.isfinite(array).all() or (array != np.rint(array)).any() or abs(array).max() >= 2**53:
        return values
    return array.astype(np.int64 if abs(array).max() >= 2**31 else np.int32)
