"""Memory-mapped files, read piece by piece: scaled where that is asked for, and guarded against a file that shrinks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES_IN_MEMORY = 2**28  # of a mapped file; what is larger stays on disk until its pieces are asked for


class OnDisk:
    """An array in a mapped file: slicing it is free, and what becomes a NumPy array is copied, and scaled, then.

    Touching a mapped file of which the end is gone would kill the process, so that its length is looked at first.

    Parameters
    ----------
    stored : array
        A memory map, or a view of one.
    slope, intercept : float
        What makes intensities, float32, of the numbers; 1 and 0 leave them and their dtype alone.
    """

    def __init__(self, stored: NDArray[Any], slope: float = 1.0, intercept: float = 0.0) -> None:
        self._stored, self._slope, self._intercept = stored, slope, intercept
        self._is_scaled = (slope, intercept) != (1.0, 0.0)
        self.dtype = np.dtype(np.float32) if self._is_scaled else stored.dtype
        self.shape, self.ndim, self.size = stored.shape, stored.ndim, stored.size

    @property
    def stored(self) -> NDArray[Any]:
        """The array in the file, as it is there."""
        return self._stored

    @property
    def scaling(self) -> tuple[float, float]:
        """What makes intensities of it: slope and intercept."""
        return self._slope, self._intercept

    def __getitem__(self, where: Any) -> Any:
        refuse_if_shorter(self._stored)
        piece = self._stored[where]
        part = OnDisk(np.asarray(piece), self._slope, self._intercept)
        return part if np.ndim(piece) and np.may_share_memory(piece, self._stored) else np.asarray(part)[()]

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        refuse_if_shorter(self._stored)
        if not self._is_scaled:
            return np.array(self._stored, dtype=dtype or self.dtype, subok=False)
        scaled = np.multiply(self._stored, self._slope, dtype=np.float64) + self._intercept
        return np.asarray(scaled).astype(np.float32).astype(dtype or self.dtype, copy=False)


def piecewise(data: Any) -> Any:
    """Return data to be read piece by piece without harm: a memory map as an `OnDisk`, all else as it is."""
    return OnDisk(data) if isinstance(data, np.ndarray) and memory_map_of(data) is not None else data


def in_memory_or_on_disk(data: Any) -> Any:
    """Return data that a file which shrinks can do no harm to: a small memory map is read, a large one guarded."""
    if isinstance(data, np.ndarray) and memory_map_of(data) is not None:
        return np.array(data, subok=False) if data.nbytes <= MAX_BYTES_IN_MEMORY else OnDisk(data)
    return data


def refuse_if_shorter(array: NDArray[Any]) -> None:
    """Raise if the file that an array is mapped from has lost its end.

    Raises
    ------
    OSError
        If it has.
    """
    mapped = memory_map_of(array)
    if mapped is None or (area := getattr(mapped, "_mmap", None)) is None:
        return
    if area.size() < len(area):
        raise OSError(f"{mapped.filename} became shorter since it was opened, another program changed it: open it anew")


def memory_map_of(array: Any) -> np.memmap[Any, Any] | None:
    """Return the memory map that an array is a view of; None if it is in memory."""
    found = None
    while isinstance(array, np.ndarray):
        found = array if isinstance(array, np.memmap) and getattr(array, "_mmap", None) is not None else found
        array = array.base
    return found
