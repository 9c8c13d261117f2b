"""Refinements of objects: what they do, that strokes and other objects hold, and that each is one step to take back."""

from __future__ import annotations

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.session.refinement import (
    WAYS,
    Refinement,
    between,
    largest_part,
    smoothed,
    without_holes,
    without_specks,
)
from sessions import square, state

SHAPE = (12, 40, 40)


def ball(shape: tuple[int, ...], middle: tuple[int, ...], radius: float) -> np.ndarray:
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return sum((axis - at) ** 2 for axis, at in zip(axes, middle, strict=True)) <= radius**2


def at_work(mask: np.ndarray, **strokes: np.ndarray) -> ps.Session:
    """Return a session with a mask accepted as the object in work."""
    partial = np.where(mask, ps.Marker.OBJECT, ps.Marker.UNKNOWN).astype(np.uint8)
    session = ps.Session(ps.Case(np.zeros(mask.shape), partial=partial))
    if strokes:
        session.mark(**strokes)
    return session


def test_slices_between_are_filled_and_those_that_were_there_are_exact() -> None:
    truth = ball(SHAPE, (6, 20, 20), 9) & np.isin(np.arange(12), range(1, 11))[:, None, None]
    given = truth.copy()
    given[[2, 3, 5, 6, 7, 9]] = False
    session = at_work(given)
    session.refine("between")
    inside = session.case.partial == ps.Marker.OBJECT
    for i in (1, 4, 8, 10):
        assert np.array_equal(inside[i], given[i]), i
    assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.93
    assert not inside[0].any() and not inside[11].any(), "nothing beyond the ends"


def test_what_moves_from_slice_to_slice_stays_whole() -> None:
    given = np.zeros(SHAPE, bool)
    given[0], given[10] = ball(SHAPE[1:], (10, 8), 4), ball(SHAPE[1:], (10, 30), 4)
    assert not (given[0] & given[10]).any(), "test invalid"
    filled = between(given, axis=0, spacing=(1, 1, 1))
    for i in range(11):
        assert abs(int(filled[i].sum()) - int(given[0].sum())) < 8
        assert np.allclose(np.argwhere(filled[i]).mean(0), (10, 8 + 2.2 * i), atol=0.6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_across_any_axis(axis: int) -> None:
    given = np.moveaxis(np.zeros((9, 20, 20), bool), 0, axis).copy()
    view = np.moveaxis(given, axis, 0)
    view[2], view[6] = ball((20, 20), (10, 10), 5), ball((20, 20), (10, 10), 5)
    filled = np.moveaxis(between(given, axis=axis, spacing=(1, 1, 1)), axis, 0)
    assert (filled[2:7] == view[2]).all() and filled.sum() == 5 * view[2].sum()


def test_nothing_to_fill_in_is_told() -> None:
    with pytest.raises(ValueError, match="no slice is empty between"):
        at_work(ball(SHAPE, (6, 20, 20), 4)).refine("between")
    with pytest.raises(ValueError, match="only a volume"):
        at_work(square(10, 10)).refine("between")
    with pytest.raises(RuntimeError, match="no object in work"):
        ps.Session(ps.Case(np.zeros((9, 9)))).refine("smooth")
    with pytest.raises(RuntimeError, match="no object is finished"):
        at_work(square(10, 10)).refine(Refinement("smooth", finished=True))
    with pytest.raises(ValueError, match="refined by smooth"):
        Refinement("melt")


def test_smoothing_takes_thorns_away_and_keeps_the_size() -> None:
    disk = ball((60, 60), (30, 30), 14)
    rough = disk ^ (np.random.default_rng(0).random(disk.shape) < 0.05)
    smooth = smoothed(rough, (1.0, 1.0))
    assert (smooth ^ disk).sum() < 0.25 * (rough ^ disk).sum()
    assert abs(int(smooth.sum()) - int(disk.sum())) < 0.03 * disk.sum()
    thick = smoothed(np.repeat(disk[None], 3, 0), (10.0, 1.0, 1.0))
    assert np.array_equal(thick[0], thick[1]), "what is far in mm is not mixed"


def test_parts_holes_and_specks() -> None:
    ring = ball((40, 40), (15, 15), 10) & ~ball((40, 40), (15, 15), 3)
    other = ball((40, 40), (33, 33), 4)
    speck = square(2, 35, 0)
    assert np.array_equal(largest_part(ring | other | speck), ring)
    assert np.array_equal(without_specks(ring | other | speck), ring | other)
    assert np.array_equal(without_holes(ring), ball((40, 40), (15, 15), 10))
    assert np.array_equal(without_holes(ring[None])[0], without_holes(ring)), "a plane of a volume is one"


def test_strokes_hold() -> None:
    disk = ball((40, 40), (20, 20), 8)
    hole = square(20, 20, 0)
    session = at_work(disk & ~square(20, 20, 1), inside=square(35, 35, 0), outside=hole)
    session.refine("holes")
    partial = session.case.partial
    assert partial[20, 20] == ps.Marker.BACKGROUND and partial[21, 21] == ps.Marker.OBJECT
    session.refine("largest")
    assert session.case.partial[35, 35] == ps.Marker.OBJECT, "a stroke is no speck"


@pytest.mark.parametrize("how", sorted(set(WAYS) - {"between"}))
def test_finished_objects_are_refined_each_for_itself(how: str) -> None:
    session = ps.Session(ps.Case(np.zeros((60, 60))))
    left, right = ball((60, 60), (20, 20), 9), ball((60, 60), (20, 37), 9)
    labels = np.where(left, 1, np.where(right, 2, 0))
    labels[20, 20], labels[50, 20], labels[11:13, 20] = 0, 1, 0
    session.take(labels)
    session.mark(inside=square(45, 45, 2, (60, 60)))
    before = state(session)
    step = session.refine(Refinement(how, finished=True))
    assert {one.label for one in session.finished} == {1, 2}
    assert (session.objects == 2)[right & ~left].mean() > 0.95
    assert (session.case.partial[session.objects > 0] == ps.Marker.BACKGROUND).all()
    assert (session.objects[square(45, 45, 2, (60, 60))] == 0).all(), "the object in work holds"
    assert step.changes and state(session) != before
    session.undo()
    assert state(session) == before
    session.redo()
    assert (session.objects == 1)[50, 20] == (how == "holes")


def test_on_a_plane_alone_the_others_stay() -> None:
    rough = ball(SHAPE, (6, 20, 20), 5) | square(35, 5, 0, SHAPE)
    session = at_work(rough)
    session.refine(Refinement("largest", plane=(0, 6)))
    inside = session.case.partial == ps.Marker.OBJECT
    assert not inside[6, 35, 5] and inside[5, 35, 5] and np.array_equal(inside[7], rough[7])


def test_it_is_kept_and_written_as_a_script(tmp_path) -> None:
    given = ball(SHAPE, (6, 20, 20), 5)
    given[6] = False
    session = ps.Session(ps.Case(np.zeros(SHAPE)))
    session.mark(inside=given)
    session.refine(Refinement("between"))
    session.mark(erase=square(20, 20, 1, SHAPE))
    session.refine("holes")
    session.finish()
    session.refine(Refinement("smooth", finished=True, axis=1))
    session.save(tmp_path / "a.npz")
    again = ps.Session.load(tmp_path / "a.npz", np.zeros(SHAPE))
    assert state(again) == state(session) and [s.verb for s in again.steps] == [s.verb for s in session.steps]
    _, _, body = session.script("x").partition("session = ps.Session(case)")
    names = {"np": np, "ps": ps, "case": ps.Case(np.zeros(SHAPE))}
    exec("from napari_probseg.session.script import unpack\nsession = ps.Session(case)" + body, names)
    assert state(names["session"]) == state(session)
