"""Finished images, as tests add them to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FLAT, DEEP = (12, 15), (5, 12, 15)


def image(seed: object, shape: tuple[int, ...] = FLAT) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(list(str(seed).encode()))
    return rng.integers(0, 255, shape).astype(np.uint8)


def labels(shape: tuple[int, ...] = FLAT, value: int = 1) -> np.ndarray[Any, Any]:
    drawn = np.zeros(shape, dtype=np.int64)
    drawn[..., 3:8, 4:9] = value
    return drawn


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
