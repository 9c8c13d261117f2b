"""How much a file may unpack to: what its bytes can hold, and what memory holds."""

from __future__ import annotations

import os
from math import prod

from napari_probseg.io.picture import NotReadHereError

MAX_DEFLATE_RATIO = 1032  # how many bytes one byte of gzip or zlib can stand for at most
MAX_LZW_RATIO = 1366
MAX_UNPACKED_BYTES = 2**34


def refuse_to_unpack(
    shape: tuple[int, ...], itemsize: int, n_stored: int, *, most: float, advice: str, in_memory: bool = True
) -> None:
    """Raise if an array cannot come out of so many bytes, or does not fit into memory.

    Parameters
    ----------
    shape : tuple of int
    itemsize : int
        Bytes of a voxel.
    n_stored : int
        Bytes of the file.
    most : float
        How many bytes one of them can stand for; 1 of a file that is not compressed.
    advice : str
        What to do if it does not fit into memory.
    in_memory : bool
        Whether it is to.

    Raises
    ------
    ValueError
        If the file cannot hold it: it is damaged.
    NotReadHereError
        If memory cannot.
    """
    if not shape or min(shape) < 1:
        raise ValueError(f"it says that it holds {shape} voxels")
    n_bytes = prod(map(int, shape)) * itemsize
    if n_bytes > most * n_stored:
        raise ValueError(f"it says that it holds {shape} voxels, which {n_stored} bytes cannot")
    memory = _bytes_of_memory()
    if in_memory and n_bytes > memory:
        raise NotReadHereError(
            f"unpacked, its {shape} voxels take {n_bytes / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB of "
            f"memory: {advice}"
        )


class Allowance:
    """How much a file may unpack to in all, piece by piece.

    Parameters
    ----------
    most : float, optional
        In bytes; a quarter of the machine's memory, and at most `MAX_UNPACKED_BYTES`, if absent.
    """

    def __init__(self, most: float | None = None) -> None:
        self.most = min(MAX_UNPACKED_BYTES, _bytes_of_memory() / 4) if most is None else most
        self._left = self.most

    def take(self, n_bytes: int) -> None:
        """Note that a piece is unpacked.

        Raises
        ------
        NotReadHereError
            If it is more than is left.
        """
        self._left -= n_bytes
        if self._left < 0:
            raise NotReadHereError(f"it unpacks to more than {self.most / 1e9:.3g} GB: open it on a larger machine")


def _bytes_of_memory() -> float:
    """Return how much memory the machine has; infinitely much where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return float("inf")
