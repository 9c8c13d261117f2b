"""Pages of an array: stretches of its memory, of which a copy takes only those that something was written to."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterable
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_probseg.region import Region

PAGE_VOXELS = 4096  # of one byte: what the system gives memory by
MIN_MAPPED_BYTES = 2**22
Pages: TypeAlias = NDArray[np.bool_]  # one for each page of an array, in C order


def no_pages(shape: tuple[int, ...]) -> Pages:
    """Return the pages of an array of a shape, none of them chosen."""
    return np.zeros(-(-prod(shape) // PAGE_VOXELS), dtype=bool)


def pages_of(regions: Iterable[Region], shape: tuple[int, ...]) -> Pages:
    """Return the pages that some regions of an array lie on."""
    pages = no_pages(shape)
    for region in regions:
        edges = [s.indices(n) for s, n in zip(region, shape, strict=True)]
        if any(stop <= start for start, stop, _ in edges):
            continue
        *leading, (first, last, _) = edges
        rows = np.zeros((1,), dtype=np.int64)
        for (start, stop, _), n in zip(leading, shape, strict=False):
            rows = (rows[:, None] * n + np.arange(start, stop)).ravel()
        begin, end = (rows * shape[-1] + first) // PAGE_VOXELS, (rows * shape[-1] + last - 1) // PAGE_VOXELS
        for further in range(int((end - begin).max()) + 1):
            pages[np.minimum(begin + further, end)] = True
    return pages


def pages_with_values(array: NDArray[Any]) -> Pages:
    """Return the pages of an array that hold something else than 0."""
    flat = np.ascontiguousarray(array).reshape(-1)
    n_whole = flat.size // PAGE_VOXELS
    pages = no_pages(array.shape)
    pages[:n_whole] = flat[: n_whole * PAGE_VOXELS].reshape(-1, PAGE_VOXELS).any(axis=1)
    pages[n_whole:] = flat[n_whole * PAGE_VOXELS :].any()
    return pages


def copied(array: NDArray[Any], pages: Pages) -> NDArray[Any]:
    """Return a copy of an array that is 0 but on some pages; the rest of a large one takes no memory."""
    copy = zeros(array.shape, array.dtype)
    if not array.flags.c_contiguous:
        copy[...] = array
        return copy
    before, after = array.reshape(-1), copy.reshape(-1)
    n_whole = before.size // PAGE_VOXELS
    end = n_whole * PAGE_VOXELS
    chosen = np.flatnonzero(pages[:n_whole])
    after[:end].reshape(-1, PAGE_VOXELS)[chosen] = before[:end].reshape(-1, PAGE_VOXELS)[chosen]
    after[end:] = before[end:]
    return copy


def packed(array: NDArray[Any], pages: Pages) -> NDArray[Any]:
    """Return the values of a contiguous array on some pages, and what is beyond the last whole one, in a row."""
    flat = array.reshape(-1)
    n_whole = flat.size // PAGE_VOXELS
    end = n_whole * PAGE_VOXELS
    return np.concatenate([flat[:end].reshape(-1, PAGE_VOXELS)[pages[:n_whole]].ravel(), flat[end:]])


def unpacked(values: NDArray[Any], pages: Pages, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the array of which `packed` returned the values; it is 0 but on these pages."""
    array = zeros(shape, values.dtype)
    flat = array.reshape(-1)
    n_whole = flat.size // PAGE_VOXELS
    end = n_whole * PAGE_VOXELS
    chosen = np.flatnonzero(pages[:n_whole])
    flat[:end].reshape(-1, PAGE_VOXELS)[chosen] = values[: chosen.size * PAGE_VOXELS].reshape(-1, PAGE_VOXELS)
    flat[end:] = values[chosen.size * PAGE_VOXELS :]
    return array


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of zeros, of which only what is written to takes memory.

    NumPy asks Linux for pages of 2 MB where an array is large, and a stroke would fill many of them with zeros.

    Raises
    ------
    MemoryError
        If there is not so much.
    """
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < MIN_MAPPED_BYTES:
        return np.zeros(shape, dtype=dtype)
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    try:
        return np.frombuffer(mmap.mmap(-1, n_bytes, **private), dtype=dtype).reshape(shape)
    except OSError as error:
        raise MemoryError(f"there is no memory for an array of {shape}") from error
