"""Pages of an array: a copy takes those that something lies on, and is equal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_probseg import pages as module
from napari_probseg.pages import PAGE_VOXELS, copied, no_pages, packed, pages_of, pages_with_values, unpacked, zeros

SHAPES = [(7, 5), (90, 9000), (40, 60, 70), (1, 300, 300)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_the_pages_of_regions_hold_all_that_is_written_there(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    array, regions = np.zeros(shape, np.uint8), []
    for _ in range(seed + 1):
        low = [int(rng.integers(0, n)) for n in shape]
        regions.append(tuple(slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(low, shape, strict=True)))
        array[regions[-1]] = 1
    chosen = pages_of(regions, shape)
    assert (pages_with_values(array) <= chosen).all()
    assert np.array_equal(pages_with_values(array), chosen), "and no others, as all of the regions is written"
    assert np.array_equal(copied(array, chosen), array)
    values = packed(array, chosen)
    assert values.size <= (np.count_nonzero(chosen) + 1) * PAGE_VOXELS
    assert np.array_equal(unpacked(values, chosen, shape), array)


def test_only_chosen_pages_are_copied() -> None:
    array = np.ones((3, PAGE_VOXELS), np.uint8)
    chosen = no_pages(array.shape)
    chosen[1] = True
    assert copied(array, chosen).sum(axis=1).tolist() == [0, PAGE_VOXELS, 0]


def test_arrays_in_another_order_and_large_ones_are_copied_too(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.asfortranarray(np.random.default_rng(0).integers(0, 3, (50, 70, 30), dtype=np.uint8))
    for least in (2**40, 0):
        monkeypatch.setattr(module, "MIN_MAPPED_BYTES", least)
        for one in (array, np.ascontiguousarray(array), array[::2, 3:, 1]):
            copy = copied(one, pages_with_values(one))
            assert np.array_equal(copy, one) and copy.flags.writeable and copy.flags.c_contiguous


def test_an_empty_region_has_no_pages() -> None:
    assert not pages_of([(slice(3, 3), slice(0, 5))], (9, 9)).any()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory is taken")
def test_zeros_take_memory_where_they_are_written_alone() -> None:
    """A voxel here and there of a large volume, as an object has them on each slice, would take pages of 2 MB."""
    array = zeros((64, 2048, 2048), np.uint8)
    assert not array[::7, ::99].any() and array.flags.writeable
    before = _taken()
    array[:, 100, 100] = 1
    assert np.count_nonzero(array[:, 100]) == 64
    assert _taken() - before < 2**24, "of 2**28"


def _taken() -> int:
    """Return the bytes of memory that this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
