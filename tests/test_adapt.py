"""Fine-tuning to an image: the old completer stays, the new one foresees the strokes no worse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference.inputs import window_input
from napari_probseg.inference.windows import Window
from napari_probseg.morphology import ball
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.proposers.completion import Completion
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.training.adapt import AdaptConfig, agreement, lesson

QUICK = AdaptConfig(n_rounds=1, n_steps=3)


@pytest.fixture(scope="module")
def completer() -> UNetCut:
    return ps.load_completer(device="cpu")


@pytest.fixture
def case() -> ps.Case:
    """A ring, of which the middle is not meant: strokes on it, in its hole and beside it."""
    y, x = np.mgrid[:90, :110]
    distance = np.hypot(y - 45, x - 55)
    image = 0.2 + 0.6 * ((distance < 30) & (distance > 12)) + np.random.default_rng(0).normal(0, 0.05, (90, 110))
    one = np.ones(2)
    inside = ball((90, 110), (45, 76), 3, one) | ball((90, 110), (24, 55), 3, one)
    outside = ball((90, 110), (45, 55), 3, one) | ball((90, 110), (8, 8), 3, one)
    return ps.Case(image).mark(inside, outside)


def probability(completer: UNetCut, case: ps.Case) -> np.ndarray:
    return completer.complete(case).probability


def test_a_new_completer_and_the_old_one_as_it_was(completer: UNetCut, case: ps.Case) -> None:
    before = {name: t.clone() for name, t in completer.networks[2].state_dict().items()}
    tuned = completer.adapt(case, AdaptConfig(n_rounds=1, n_steps=4, learning_rate=1e-2))
    after = completer.networks[2].state_dict()
    assert all(torch.equal(t, after[name]) for name, t in before.items())
    assert (tuned.propose(case).partial[0] != ps.Marker.UNKNOWN).all()


@pytest.mark.parametrize("learning_rate", [1e-3, 0.3], ids=["gentle", "destructive"])
def test_strokes_are_obeyed_and_foreseen_no_worse(completer: UNetCut, case: ps.Case, learning_rate: float) -> None:
    tuned = completer.adapt(case, AdaptConfig(n_steps=4, learning_rate=learning_rate))
    before, after = completer.complete(case), tuned.complete(case)
    x = window_input(case, before.window, WINDOW_SIDE[2])
    assert agreement(tuned.networks[2], x) >= agreement(completer.networks[2], x)
    assert after.foreseen() >= before.foreseen()
    result = tuned.propose(case).partial[0]
    assert (result[case.partial > 0] == case.partial[case.partial > 0]).all()


def test_learning_that_does_harm_leaves_the_completer_as_it_was(completer: UNetCut, case: ps.Case) -> None:
    assert completer.adapt(case, AdaptConfig(n_rounds=1, n_steps=4, learning_rate=3.0)) is completer
    assert completer.adapt(case, AdaptConfig(n_rounds=1, n_steps=8)) is not completer, "test invalid"


def test_what_is_foreseen_is_what_the_network_alone_gets_right() -> None:
    partial = np.zeros((8, 8), dtype=np.uint8)
    partial[0, :4], partial[7, :2] = ps.Marker.OBJECT, ps.Marker.BACKGROUND
    probability = np.zeros((8, 8), dtype=np.float32)
    probability[0, :3] = probability[7, :1] = 0.9
    case = ps.Case(np.random.default_rng(0).random((8, 8)), partial=partial)
    assert Completion(case, Window((0, 0), (8, 8)), probability).foreseen() == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_progress_and_giving_up(completer: UNetCut, case: ps.Case) -> None:
    before = probability(completer, case)
    steps = completer.adapting(case, QUICK)
    assert [next(steps).step for _ in range(2)] == [1, 2]
    steps.close()
    assert np.array_equal(probability(completer, case), before)


def test_same_case_same_completer(completer: UNetCut, case: ps.Case) -> None:
    first, second = (completer.adapt(case, QUICK).networks[2].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_counts_in_a_lesson() -> None:
    x = torch.zeros(3 + N_MARKS, 32, 32)
    x[3, 16, 8], x[4, 16, 24] = 1, 1
    target = torch.zeros(32, 32, dtype=torch.bool)
    target[:, :26] = True  # the cut went over the stroke outside
    probability = torch.where(target, 0.95, 0.05)
    probability[0] = 0.5
    taught = lesson(x, target, probability, AdaptConfig())
    assert not taught.target[16, 24] and taught.target[16, 8]
    assert taught.weight[16, 8] == taught.weight[16, 24] == AdaptConfig().stroke_weight
    assert (taught.weight[0] == 0).all(), "unsure"
    assert taught.weight[16, 22] == 0, "object, beside a stroke outside"
    assert taught.weight[16, 12] == 1


def marked(image: np.ndarray, *, inside: bool = True, outside: bool = True) -> ps.Case:
    partial = np.zeros(image.shape, dtype=np.uint8)
    partial[20, 20], partial[5, 5] = inside * ps.Marker.OBJECT, outside * ps.Marker.BACKGROUND
    return ps.Case(image, partial=partial)


NOISE = np.random.default_rng(0).random((40, 40))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (ps.Case(NOISE), "no stroke"),
        (marked(NOISE, outside=False), "a little outside, too"),
        (marked(NOISE, inside=False), "a little inside, too"),
        (marked(np.ones((40, 40))), "constant"),
    ],
)
def test_bad_input_is_told_in_one_sentence(completer: UNetCut, bad: ps.Case, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        completer.adapt(bad, QUICK)
    assert "\n" not in str(error.value)
