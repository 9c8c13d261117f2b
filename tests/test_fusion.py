"""Answers in windows of several scales, fused: how much each counts, by what is expected, and by what was finished."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference import answer as answers
from napari_probseg.inference.fusion import Looks
from napari_probseg.inference.windows import Window, is_scale_known


def test_after_one_stroke_what_is_seen_from_close_by_is_believed_less() -> None:
    near, far, whole = (Window((128 - n // 2,) * 2, (n, n)) for n in (48, 106, 233))
    y, x = np.ogrid[:32, :32]
    from_middle = np.hypot(y - 15.5, x - 15.5) / 32
    nucleus, cell = 10, 40  # pixels: radii
    seen = [from_middle * w.size[0] < radius for w, radius in ((near, nucleus), (far, cell), (whole, cell))]
    logit = torch.from_numpy(np.where(seen, 8.0, -8.0).astype(np.float32))
    looks = Looks([near, far, whole], logit, torch.tensor([0.9, 0.7, 0.7]), torch.zeros(3).bool(), torch.ones(3), False)
    said = replace(looks, is_scale_known=True)
    assert said.probability(whole, 64)[32, 36] < 0.5 < looks.probability(whole, 64)[32, 36]
    assert (said.confidence, looks.confidence) == pytest.approx((0.9, 0.7))

    alone = Looks([near], logit[:1], torch.tensor([0.8]), torch.zeros(1).bool(), torch.ones(1), False)
    assert alone.weight == pytest.approx(0.8**4)
    part = Looks([near], logit[:1], torch.tensor([0.8]), torch.ones(1).bool(), torch.ones(1), False)
    assert (looks + part).weight[3] == pytest.approx(0.8**4)


def test_what_was_finished_tells_of_which_size_the_next_object_is() -> None:
    windows = [Window((128 - n // 2,) * 2, (n, n)) for n in (48, 106, 233)]
    y, x = np.ogrid[:32, :32]
    from_middle = np.hypot(y - 15.5, x - 15.5) / 32
    radii = (10, 25, 80)
    seen = np.array([from_middle * w.size[0] < radius for w, radius in zip(windows, radii, strict=True)])
    logit = torch.from_numpy(np.where(seen, 8.0, -8.0).astype(np.float32))
    one = ps.Case(np.random.default_rng(0).normal(size=(256, 256))).mark(on(128, 128))
    quality = torch.tensor([1.0, 1.0, 1.0])

    def confident(case: ps.Case) -> int:
        return int(
            replace(Looks.of(case, windows, logit, quality), is_scale_known=is_scale_known(case)).weight.argmax()
        )

    sizes = [radius * np.pi**0.5 for radius in radii]
    assert [confident(one.with_sizes([size])) for size in sizes] == [0, 1, 2]
    assert [confident(one.with_sizes([size] * 8)) for size in sizes] == [0, 1, 2]
    assert confident(one.with_sizes([10 * size for size in sizes])) == 2, "nothing is as large: the largest"
    told = Looks.of(one.with_sizes([sizes[0]] * 4 + [sizes[2]] * 4), windows, logit, quality).likely
    assert told[1] < told[0] and told[1] < told[2], "two kinds, and nothing in between"

    weights = []
    marked = one.with_sizes([sizes[0]] * 8)
    for i in range(6):
        weights.append(float(Looks.of(marked, windows, logit, quality).likely[2]))
        marked = marked.mark(on(140 + 8 * i, 100))
    assert weights == sorted(weights) and weights[0] < 0.1 and weights[-1] > 0.6, "strokes tell it themselves"
    assert torch.equal(Looks.of(one, windows, logit, quality).likely, torch.ones(3))


def on(y: int, x: int) -> np.ndarray:
    mask = np.zeros((256, 256), dtype=bool)
    mask[y - 2 : y + 3, x - 2 : x + 3] = True
    return mask


def test_an_object_of_a_known_size_is_looked_at_without_others_like_it() -> None:
    apart = torch.full((1, 64, 64), -8.0)
    apart[0, 4:12, 4:12] = apart[0, 40:60, 40:60] = 8.0
    whole = Window((0, 0), (256, 256))
    case = ps.Case(np.random.default_rng(0).normal(size=(256, 256))).mark(on(200, 200))
    looks = Looks([whole], apart, torch.ones(1), torch.zeros(1).bool(), torch.ones(1), is_scale_known=False)
    assert answers._last_window(case, looks).size[0] > 240
    known = case.with_sizes([80.0])
    assert 80 < answers._last_window(known, looks).size[0] < 160
    assert answers._last_window(known, replace(looks, is_scale_known=True)).size[0] > 240
    beside = ps.Case(case.image, sizes=[80.0]).mark(on(100, 200))  # on nothing that was found
    assert answers._last_window(beside, looks).size[0] > 240


def test_a_window_on_a_part_does_not_judge_what_is_outside_of_it() -> None:
    case = ps.Case(np.random.default_rng(0).normal(size=(120, 150)))
    whole, part = Window((0, 0), (64, 64)), Window((0, 0), (32, 32))
    says_all, says_nothing = torch.full((1, 32, 32), 8.0), torch.full((1, 32, 32), -8.0)
    good = torch.full((1,), 4.0)
    looks = Looks([whole], says_all, torch.ones(1), torch.tensor([False]), torch.ones(1))
    looks += Looks([part], says_nothing, 3 * torch.ones(1), torch.tensor([True]), torch.ones(1))
    p = looks.probability(whole, 64)
    assert p[40:, 40:].min() > 0.99
    assert p[12:20, 12:20].max() < 0.3
    assert Looks.of(case, [part], says_nothing, good, parts=True).is_part.all()
    assert looks.whole.windows == [whole]
