"""Which of several windows to believe: the one whose neighbours see the same object."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference.scale_selection import beliefs, seen_from
from napari_probseg.inference.windows import Window

SIZE = 32
CASE = ps.Case(np.zeros((200, 200)))


def window(side: int) -> Window:
    return Window((100 - side // 2,) * 2, (side, side))


def seen(in_window: Window, radius: float) -> torch.Tensor:
    """Return the logits of a disk in the middle of the image, as a window sees it."""
    place = torch.linspace(-0.5, 0.5, SIZE) * in_window.size[0]
    distance = torch.sqrt(place[:, None] ** 2 + place[None] ** 2)
    return torch.where(distance < radius, 6.0, -6.0)


def test_a_window_whose_neighbours_agree_is_believed() -> None:
    windows = [window(side) for side in (40, 80, 160)]
    agreed = beliefs(CASE, windows, torch.stack([seen(w, 18) for w in windows]))
    assert len(agreed) == 3 and all(0 <= belief <= 1.5 for belief in agreed)
    alone = torch.stack([seen(windows[0], 18), seen(windows[1], 18), seen(windows[2], 70)])
    believed = beliefs(CASE, windows, alone)
    assert int(np.argmax(believed)) != 2, "what one window sees alone is an accident of the zoom"


def test_a_window_that_cuts_the_object_off_is_believed_less() -> None:
    windows = [window(side) for side in (40, 80, 160)]
    found = beliefs(CASE, windows, torch.stack([seen(w, 30) for w in windows]))
    assert found[0] < max(found[1:])


@pytest.mark.parametrize("size", [None, 48])
def test_a_near_window_is_seen_from_a_far_one(size: int | None) -> None:
    near, far = window(40), window(80)
    there = seen_from(near, far, seen(near, 12)[None], size)[0]
    side = size or SIZE
    assert there.shape == (side, side)
    distance = np.hypot(*(np.indices((side, side)) - (side - 1) / 2)) * 80 / side
    assert ((there.numpy() > 0) == (distance < 12)).mean() > 0.97
    assert (there[0] < 0).all(), "beyond the near window there is nothing"


@pytest.mark.parametrize("rim", [0, 1])
@pytest.mark.parametrize("seed", range(20))
def test_a_region_holds_all_that_is_true_over_a_window_and_little_else(seed: int, rim: int) -> None:
    rng = np.random.default_rng(seed)
    size, shape = tuple(rng.integers(12, 60, 2).tolist()), tuple(rng.integers(40, 90, 2).tolist())
    over = Window(tuple(rng.integers(-15, 30, 2).tolist()), size)
    on = torch.from_numpy(rng.random((12, 12)) < 0.05)
    region = over.region_of(on, shape, rim=rim)
    inside = np.zeros(shape, dtype=bool)
    for y, x in np.ndindex(*shape):
        place = [(v - low) * 12 // n for v, low, n in zip((y, x), over.low, size, strict=True)]
        inside[y, x] = all(0 <= p < 12 for p in place) and bool(on[place[0], place[1]])
    if region is None:
        assert not inside.any()
        return
    left_out = inside.copy()
    left_out[region] = False
    assert not left_out.any()
    if over.within(shape) == tuple(slice(a, a + n) for a, n in zip(over.low, over.size, strict=True)):
        for s, axis, n in zip(region, (1, 0), size, strict=True):
            at, places = np.flatnonzero(inside.any(axis)), -(-n // 12) * (1 + rim)
            assert at[0] - places <= s.start and s.stop <= at[-1] + 2 + places
