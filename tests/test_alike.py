"""All that looks like the strokes as a reading beside one object, and when it is the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference import alike, places
from napari_probseg.inference.alike import Alike, preferred
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.fusion import Looks
from napari_probseg.inference.windows import Window
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.unaries.pixel_classifier import features_of, foresight, likeness, probability

Y, X = np.mgrid[:150, :180]
BRANCHES = (np.abs(Y - 70 - 25 * np.sin(X / 20)) < 1.5) | (np.abs(X - 110 - Y / 8) < 1.5) | (np.abs(Y - X - 5) < 1.5)
IMAGE = BRANCHES * 0.5 + 0.3 * np.sin(Y / 40) + np.random.default_rng(0).normal(0, 0.1, Y.shape)


def on_branches(*columns: int) -> np.ndarray:
    """Strokes on the wavy branch, around some columns."""
    wave = np.abs(Y - 70 - 25 * np.sin(X / 20)) < 1.5
    return wave & np.isin(X, [x + i for x in columns for i in range(-2, 3)])


def beside(*places: tuple[int, int]) -> np.ndarray:
    return np.any([ball(Y.shape, place, 2, np.ones(2)) for place in places], 0) & ~BRANCHES


def marked() -> ps.Case:
    return ps.Case(IMAGE).mark(on_branches(10, 60, 120, 165), beside((20, 60), (120, 160)))


def answered(case: ps.Case, object_: np.ndarray, foretold: float | None = 0.1) -> Answer:
    """What a network may have said."""
    window = Window((0, 0), case.shape)
    logit = torch.from_numpy(np.where(object_, 4.0, -4.0).astype(np.float32))
    looks = Looks([window], logit[None], torch.ones(1), torch.zeros(1).bool(), torch.ones(1))
    return Answer(looks, window, logit, 0.5, [], foretold)


def in_image(answer: Answer, case: ps.Case) -> np.ndarray:
    mask = np.zeros(case.shape, dtype=bool)
    mask[answer.window.within(case.shape)] = answer.probability(case.shape) > 0.5
    return mask


def test_what_is_rare_is_learnt_from_what_is_not_marked() -> None:
    features = features_of(IMAGE[None].astype(np.float32))
    inside, outside = on_branches(60, 120), beside((20, 60))
    by_strokes, by_all = probability(features, inside, outside) > 0.5, likeness(features, inside, outside) > 0.5
    assert dice(by_all, BRANCHES) > 0.8 > dice(by_strokes, BRANCHES)
    nothing_outside = likeness(features, inside, np.zeros_like(inside)) > 0.5
    assert dice(nothing_outside, BRANCHES) > 0.7
    everything = likeness(features, inside, ~inside)
    assert np.isfinite(everything).all()


def test_what_is_guessed_to_be_object_is_no_lesson_of_what_surrounds_it() -> None:
    half = np.indices((60, 80))[1] < 40
    image = (half + np.random.default_rng(0).normal(0, 0.2, half.shape)).astype(np.float32)[None]
    features = features_of(image)
    inside, outside = (ball(half.shape, place, 3, np.ones(2)) for place in ((30, 20), (30, 60)))
    guessed = likeness(features, inside, outside, half.astype(np.float32))
    assert dice(guessed > 0.5, half) > 0.95
    assert guessed[half].mean() > likeness(features, inside, outside)[half].mean()


def test_strokes_that_look_alike_foretell_each_other() -> None:
    features = features_of(IMAGE[None].astype(np.float32))
    case = marked()
    inside, outside = case.strokes == ps.Marker.OBJECT, case.strokes == ps.Marker.BACKGROUND
    assert foresight(features, inside, outside) > 0.8
    anywhere = np.random.default_rng(1)
    places = [tuple(anywhere.integers(5, 140, 2)) for _ in range(12)]
    at_random = [np.any([ball(Y.shape, p, 2, np.ones(2)) for p in places[i::2]], 0) for i in (0, 1)]
    assert foresight(features, at_random[0], at_random[1] & ~at_random[0]) < 0.5


def test_too_few_strokes_foretell_nothing() -> None:
    features, none = features_of(IMAGE[None].astype(np.float32)), np.zeros_like(BRANCHES)
    assert foresight(features, on_branches(60), beside((20, 60))) == 0, "one inside"
    assert foresight(features, on_branches(60, 120), none) == 0, "none outside"
    assert foresight(features, none, none) == 0


def test_of_a_large_answer_no_other_one_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    case = marked()
    found = answered(case, case.strokes == ps.Marker.OBJECT)
    monkeypatch.setattr(alike, "MAX_ANSWERED", BRANCHES.size - 1)
    assert preferred(case, found) is found


def test_a_kind_of_thing_is_the_answer_where_the_network_does_not_foretell_the_strokes() -> None:
    case = marked()
    found = answered(case, case.strokes == ps.Marker.OBJECT)
    assert dice(in_image(found, case), BRANCHES) < 0.3
    assert dice(in_image(preferred(case, found), case), BRANCHES) > 0.8


def test_one_object_stays_one() -> None:
    case = marked()
    few = case.strokes == ps.Marker.OBJECT
    foretold = answered(case, few, foretold=0.9)
    assert preferred(case, foretold) is foretold, "the network explains the strokes"
    too_few = answered(case, few, foretold=None)
    assert preferred(case, too_few) is too_few, "too few strokes"
    alike_to_it = answered(case, BRANCHES)
    assert preferred(case, alike_to_it) is alike_to_it, "there is nothing to choose"
    at_one_place = ps.Case(IMAGE).mark(on_branches(10, 18, 26), beside((20, 20), (110, 20)))
    near = answered(at_one_place, at_one_place.strokes == ps.Marker.OBJECT)
    assert preferred(at_one_place, near) is near, "who means all of it marks all over it"
    in_two_places = ps.Case(IMAGE).mark(on_branches(10, 165), beside((20, 60), (120, 160)))
    twice = answered(in_two_places, in_two_places.strokes == ps.Marker.OBJECT)
    assert preferred(in_two_places, twice) is twice, "two strokes may be on one object"


def test_what_looks_alike_stays_on_show_until_something_else_is() -> None:
    case = marked()
    found = answered(case, case.strokes == ps.Marker.OBJECT, foretold=0.9)
    everywhere = tuple(slice(0, n) for n in case.shape)
    held = preferred(case.with_shown(everywhere, BRANCHES), found)
    assert dice(in_image(held, case), BRANCHES) > 0.8
    assert preferred(case.with_shown(everywhere, in_image(found, case)), found) is found


def shown_as(case: ps.Case, mask: np.ndarray) -> ps.Case:
    return case.with_shown(tuple(slice(0, n) for n in case.shape), mask)


def test_an_answer_that_a_stroke_hardly_changes_stays() -> None:
    case = marked()
    found = answered(case, case.strokes == ps.Marker.OBJECT)
    assert preferred(shown_as(case, in_image(found, case)), found) is found


def test_what_looks_alike_is_the_answer_where_a_correction_speaks_for_it() -> None:
    case = marked()
    strokes = case.strokes == ps.Marker.OBJECT
    found = answered(case, strokes)
    of_a_branch, speck = strokes & ~on_branches(60), strokes & ~on_branches(165)
    assert preferred(shown_as(case, of_a_branch), found) is not found, "the middle of a branch was missing"
    assert preferred(shown_as(case, speck), found) is found, "far more is wrong by the likeness than the end of one"
    blob = ball(Y.shape, (125, 40), 12, np.ones(2))
    elsewhere = ball(Y.shape, (20, 60), 2, np.ones(2))
    large = answered(case, strokes | blob)
    assert preferred(shown_as(case, blob | elsewhere), large) is large, "what was corrected is no part of it"


def test_what_looks_alike_goes_where_a_correction_speaks_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MAX_SPOKEN", 0.5)
    in_the_middle, at_the_rim = (marked().mark(ball(Y.shape, (105, x), 3, np.ones(2))) for x in (150, 167))
    for case, goes in ((in_the_middle, True), (at_the_rim, False)):
        object_ = (case.strokes == ps.Marker.OBJECT) | ball(Y.shape, (105, 150), 20, np.ones(2))
        found = answered(case, object_, foretold=0.9)
        assert (preferred(shown_as(case, BRANCHES), found) is found) == goes


@pytest.mark.parametrize("shape", [(1200, 900), (900, 40)])
def test_a_large_image_is_looked_at_on_a_grid(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    monkeypatch.setattr(places, "MAX_PLACES", 10_000)
    case = ps.Case(np.random.default_rng(0).normal(size=shape)).mark(ball(shape, (30, 20), 0.4, np.ones(2)))
    seen = Alike.of(case)
    assert seen is not None and seen.inside.sum() == 1, "the smallest stroke survives"
    assert seen.inside.size <= 10_000 and seen.features.shape[1:] == seen.inside.shape
    found = answered(case, np.zeros(shape, dtype=bool))
    assert seen.logit(found).shape == seen.inside.shape


def test_an_image_of_many_channels_is_looked_at_by_its_principal_ones() -> None:
    image = np.random.default_rng(0).normal(size=(7, 30, 40))
    seen = Alike.of(ps.Case(image, channel_axis=0).mark(ball((30, 40), (15, 20), 2, np.ones(2))))
    assert seen is not None
    assert len(seen.features) == len(features_of(image[:3].astype(np.float32)))


def test_nothing_is_alike_where_there_is_nothing_to_see() -> None:
    flat = ps.Case(np.zeros((30, 40))).mark(ball((30, 40), (15, 20), 2, np.ones(2)))
    assert Alike.of(flat) is None
    outside_alone = ps.Case(IMAGE).mark(outside=beside((20, 60)))
    assert Alike.of(outside_alone) is None
