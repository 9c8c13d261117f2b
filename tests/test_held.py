"""What is nearly right stays where a new answer floods far more: a correction changes what lies near it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.area import Area
from napari_probseg.inference.fusion import Looks
from napari_probseg.inference.held import changed_near, corrected, corrected_untold, given, held
from napari_probseg.inference.windows import Window
from napari_probseg.morphology import ball
from napari_probseg.strokes import TAKEN

SHAPE = (120, 160)
EVERYWHERE = (slice(0, 120), slice(0, 160))


def disk(y: int, x: int, radius: float) -> np.ndarray:
    return ball(SHAPE, (y, x), radius, np.ones(2))


SMALL, FAR = disk(60, 20, 8), disk(60, 130, 3)  # a part that is nearly right, and a stroke on another one
FLOOD = np.ones(SHAPE, dtype=bool)


def case(inside: np.ndarray = FAR, shown: np.ndarray = SMALL, expected_dice: float = 0.9) -> ps.Case:
    image = np.random.default_rng(0).normal(size=SHAPE)
    return ps.Case(image).mark(disk(60, 20, 2)).mark(inside).with_shown(EVERYWHERE, shown, expected_dice)


def answered(object_: np.ndarray, window: Window | None = None) -> Answer:
    """What a network may have said."""
    window = window or Window((0, 0), SHAPE)
    logit = torch.from_numpy(np.where(object_[window.region], 4.0, -4.0).astype(np.float32))
    return Answer(
        Looks([window], logit[None], torch.ones(1), torch.zeros(1).bool(), torch.ones(1)), window, logit, 0.6, []
    )


def in_image(answer: Answer) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[answer.window.within(SHAPE)] = answer.probability(SHAPE) > 0.5
    return mask


def test_a_stroke_on_another_part_does_not_flood_the_image() -> None:
    kept = held(case(), answered(FLOOD))
    assert in_image(kept)[FAR].all() and in_image(kept)[SMALL].all(), "near the stroke the new answer counts"
    assert in_image(kept).mean() < 0.05, "and not much farther away than the first part is deep"
    assert kept.confidence == 0.9, "as much is expected of it as before"


@pytest.mark.parametrize(
    ("of", "found"),
    [
        (case(expected_dice=0.7), FLOOD),  # not much was expected of it
        (case(), disk(60, 20, 20) | FAR),  # it grows, as objects do
        (case(), disk(60, 20, 3)),  # it shrinks
        (ps.Case(np.zeros(SHAPE)).mark(FAR), FLOOD),  # nothing was on show
        (case(shown=np.zeros(SHAPE, dtype=bool)), FLOOD),
    ],
)
def test_other_answers_are_given_as_they_are(of: ps.Case, found: np.ndarray) -> None:
    said = answered(found)
    assert held(of, said) is said and given(of, said) is said


def test_a_stroke_that_agrees_with_what_is_on_show_changes_nothing_far_away() -> None:
    kept = in_image(held(case(inside=disk(60, 22, 2)), answered(FLOOD & ~disk(60, 20, 4))))
    assert (kept == SMALL).all()


def test_what_is_on_show_may_reach_beyond_the_new_answer() -> None:
    near = Window((0, 40), (120, 120))
    kept = in_image(held(case(), answered(FLOOD, near)))
    assert kept[SMALL].all() and kept[FAR].all() and kept.mean() < 0.05


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_what_was_on_show_grows_by_a_stroke_inside_and_shrinks_by_one_outside(side: str) -> None:
    """Where the answer says so, and near the stroke alone: it may say that anything else is otherwise, too."""
    shown = disk(60, 60, 20)
    y, x = (60, 90) if side == "inside" else (60, 72)
    of = ps.Case(np.zeros(SHAPE)).mark(disk(60, 60, 2)).mark(**{side: disk(y, x, 2)}).with_shown(EVERYWHERE, shown, 0.5)
    near = disk(y, x, 8)
    said = (near if side == "inside" else ~near) ^ disk(20, 60, 5)
    changed = in_image(corrected(of, answered(said), Area.shown(of))) ^ shown
    assert changed[disk(y, x, 4)].all() and not changed[~disk(y, x, 22)].any()
    assert not (changed & (shown if side == "inside" else ~shown)).any()


def test_without_a_correction_nothing_of_an_old_object_changes() -> None:
    nowhere = np.zeros(SHAPE, dtype=bool)
    logit = changed_near(nowhere, nowhere, SMALL, torch.full(SHAPE, 3.0))
    assert ((logit > 0).numpy() == SMALL).all()


def test_a_large_image_is_looked_at_on_a_grid() -> None:
    shape, every = (1500, 1300), (slice(0, 1500), slice(0, 1300))
    part, far = ball(shape, (750, 200), 120, np.ones(2)), ball(shape, (750, 1200), 5, np.ones(2))
    of = ps.Case(np.zeros(shape)).mark(ball(shape, (750, 200), 5, np.ones(2))).mark(far).with_shown(every, part, 0.9)
    found = replace(answered(FLOOD), window=Window((0, 0), shape), logit=torch.full((320, 320), 4.0))
    kept = held(of, found)
    assert kept.logit.numel() <= 400_000
    mask = np.zeros(shape, dtype=bool)
    mask[kept.window.within(shape)] = kept.probability(shape) > 0.5
    assert mask[part].mean() > 0.99 and mask[far].all() and mask.mean() < 0.4


BUMP = disk(60, 84, 9)  # on an object that was taken for one


def test_what_a_person_took_for_the_object_changes_near_a_correction_alone() -> None:
    old = disk(60, 60, 20) | BUMP
    of = ps.Case(np.random.default_rng(0).normal(size=SHAPE)).mark(outside=disk(60, 84, 2))
    found = given(of.with_shown(EVERYWHERE, old, TAKEN), answered(disk(20, 130, 12)))
    assert not in_image(found)[disk(60, 84, 4)].any()
    assert (in_image(found) ^ old)[~disk(60, 84, 16)].sum() == 0
    assert found.confidence == TAKEN, "so the next stroke corrects it, too"


def test_a_dab_as_wide_as_what_a_small_object_misses_adds_little_more_than_itself() -> None:
    small, missed = disk(60, 60, 6), disk(60, 68, 3)
    of = ps.Case(np.zeros(SHAPE)).mark(missed).with_shown(EVERYWHERE, small & ~missed, TAKEN)
    found = in_image(given(of, answered(FLOOD)))
    assert found[missed].all() and found[small].all()
    assert not found[~disk(60, 62, 12)].any() and found.sum() < 1.8 * (small | missed).sum()


def test_an_answer_that_agrees_with_what_was_accepted_and_corrected_takes_its_place() -> None:
    old, better = disk(60, 60, 40) | disk(60, 102, 8), disk(60, 60, 40.6)
    of = ps.Case(np.zeros(SHAPE)).mark(outside=disk(60, 106, 2)).with_shown(EVERYWHERE, old, TAKEN)
    found = corrected_untold(of, answered(better))
    assert (in_image(found) == better).all() and found.confidence == TAKEN
    nothing = ps.Case(np.zeros(SHAPE)).mark(FAR).with_shown(EVERYWHERE, np.zeros(SHAPE, dtype=bool), TAKEN)
    assert (in_image(corrected_untold(nothing, answered(FLOOD))) == FLOOD).all()
