"""Boxes of voxels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_probseg.region import absolute, bounding_box, grown, hull, overlap, parts, relative

BOX = (slice(2, 5), slice(1, 4))


def test_the_bounding_box_holds_all_and_no_more() -> None:
    mask = np.zeros((6, 7), dtype=bool)
    assert bounding_box(mask) is None
    mask[2, 3] = mask[4, 1] = True
    assert bounding_box(mask) == BOX and bounding_box(np.where(mask, 9, 0)) == BOX


def test_the_hull_holds_all_boxes_but_empty_ones() -> None:
    empty = (slice(0, 0), slice(0, 0))
    assert hull(BOX, (slice(4, 9), slice(3, 4)), empty) == (slice(2, 9), slice(1, 4))
    assert hull(empty) == empty


def test_relative_and_absolute_are_the_inverse_of_each_other() -> None:
    inner = (slice(3, 4), slice(1, 3))
    assert relative(inner, BOX) == (slice(1, 2), slice(0, 2))
    assert absolute(relative(inner, BOX), BOX) == inner


def test_what_two_boxes_have_in_common() -> None:
    assert overlap(BOX, (slice(4, 9), slice(0, 2))) == (slice(4, 5), slice(1, 2))
    assert overlap(BOX, (slice(5, 9), slice(0, 2))) is None


def test_a_box_grows_as_far_as_the_image() -> None:
    assert grown(BOX, [1, 3], (6, 7)) == (slice(1, 6), slice(0, 7))
    assert grown(BOX, [0, 0], (6, 7)) == BOX


@pytest.mark.parametrize("seed", range(6))
def test_parts_hold_all_do_not_overlap_and_are_small_where_a_mask_is_scattered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((70, 300, 400), dtype=bool)
    for _ in range(seed * 4):
        z, y, x = (int(rng.integers(0, n - 9)) for n in mask.shape)
        mask[z : z + 9, y : y + 9, x : x + 9] = rng.random((9, 9, 9)) < 0.5
    found = parts(mask)
    covered = np.zeros(mask.shape, dtype=int)
    for part in found:
        covered[part] += 1
    assert covered.max() <= 1 and covered[mask].all() and bool(found) == mask.any()
    assert covered.sum() <= seed * 4 * 2 * 32**3 < mask.size / 2
    assert parts(mask.astype(np.uint8) * 2) == found


def test_what_is_near_or_dense_is_one_part() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[3, 4] = mask[20, 30] = True
    assert parts(mask) == [(slice(3, 21), slice(4, 31))]
    mask[...] = np.random.default_rng(0).random(mask.shape) < 0.1
    assert len(parts(mask)) == 1
