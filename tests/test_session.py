"""The verbs of a session, one by one."""

from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg import case as case_module
from sessions import SHAPE, square, state


def test_the_main_job(session: ps.Session) -> None:
    session.mark(square(10, 10), square(30, 30))
    candidates = session.propose(4)
    assert session.candidates is candidates
    session.accept(1)
    assert session.candidates is None
    assert (session.case.partial == ps.Marker.OBJECT).sum() > 9
    step = session.finish()
    assert step.arguments == {"label": 1, "n_voxels": int((session.objects == 1).sum()), "n_locked": 0}
    assert (session.case.partial[session.objects == 1] == ps.Marker.BACKGROUND).all()
    assert not session.case.strokes.any()
    session.mark(square(25, 10))
    session.finish()
    assert np.unique(session.objects).tolist() == [0, 1, 2]


def test_every_step_is_undone_and_done_again(session: ps.Session) -> None:
    states = [state(session)]
    for act in (
        lambda: session.mark(square(10, 10), square(30, 30)),
        lambda: (session.propose(4), session.accept(2)),
        lambda: session.mark(outside=square(10, 13), erase=square(30, 30)),
        lambda: (session.propose(4), session.accept(0)),
        session.finish,
        lambda: session.reopen(1),
        session.finish,
        lambda: session.take(square(35, 5) * 4),
        lambda: session.remove(1),
    ):
        act()
        states.append(state(session))
    assert len(set(states)) > 6, "test invalid"
    assert len(session.steps) == 9
    for expected in states[-2::-1]:
        session.undo()
        assert state(session) == expected
    assert not session.can_undo
    with pytest.raises(RuntimeError, match="nothing to undo"):
        session.undo()
    for expected in states[1:]:
        session.redo()
        assert state(session) == expected
    with pytest.raises(RuntimeError, match="nothing to redo"):
        session.redo()


def test_a_new_step_forgets_what_was_undone(session: ps.Session) -> None:
    session.mark(square(10, 10))
    session.undo()
    session.mark(square(20, 20))
    assert not session.can_redo


def test_a_stroke_that_changes_nothing_is_no_step(session: ps.Session) -> None:
    session.mark(square(10, 10))
    session.mark(square(10, 10))
    assert len(session.steps) == 1


def test_steps_are_small_however_large_the_volume() -> None:
    session = ps.Session(ps.Case(np.zeros((20, 400, 400), np.uint8)), GrowingProposer())
    mask = np.zeros((20, 400, 400), dtype=bool)
    mask[7, 200:205, 100:103] = True
    step = session.mark(mask)
    assert all(change.before.size == 15 for change in step.changes)
    session.propose(3, plane=(0, 7))
    assert all(change.before.size < 40 * 40 for change in session.accept(2).changes)


def test_finished_objects_are_locked(session: ps.Session) -> None:
    session.mark(square(10, 10, 4))
    session.finish()
    before = session.objects.copy()
    session.mark(square(12, 12, 4))
    step = session.finish()
    assert step.arguments["n_locked"] > 0
    assert np.array_equal(session.objects == 1, before == 1)
    session.mark(square(10, 10, 1))
    with pytest.raises(RuntimeError, match="all of this belongs to finished objects"):
        session.finish()


def test_a_candidate_never_takes_a_finished_object(session: ps.Session) -> None:
    session.mark(square(10, 10, 3))
    session.finish()
    session.mark(square(10, 16))
    session.propose(8)
    session.accept(7)
    assert not (session.case.partial[session.objects > 0] == ps.Marker.OBJECT).any()


def test_reopening_keeps_the_number(session: ps.Session) -> None:
    for y in (8, 20, 32):
        session.mark(square(y, 8))
        session.finish()
    session.reopen(2)
    assert (session.case.partial == ps.Marker.OBJECT).sum() == 9
    session.mark(square(20, 11))
    assert session.finish().arguments["label"] == 2
    assert (session.objects == 2).sum() == 18
    session.mark(square(8, 30))
    assert session.finish().arguments["label"] == 4
    with pytest.raises(ValueError, match="no finished object 9"):
        session.reopen(9)
    session.mark(square(30, 30))
    with pytest.raises(RuntimeError, match="finish or undo the object in work first"):
        session.reopen(1)


def test_a_removed_object_leaves_its_place_open_and_the_object_in_work_as_it_is(session: ps.Session) -> None:
    for y in (8, 20):
        session.mark(square(y, 8))
        session.finish("cell")
    session.mark(square(20, 11), outside=square(8, 10))  # strokes lie on both finished ones
    drawn = session.case.strokes.copy()
    in_work = session.in_work
    session.remove(2)
    assert session.kinds == {1: "cell"} and not (session.objects == 2).any() and session.in_work == in_work
    assert np.array_equal(session.case.strokes, drawn)
    opened = square(20, 8) & (drawn == ps.Marker.UNKNOWN)
    assert (session.case.partial[opened] == ps.Marker.UNKNOWN).all() and opened.any()
    assert session.finish().arguments["label"] == 2 and session.kinds == {1: "cell"}, "the next one is another object"
    names: dict[str, object] = {"np": np, "ps": ps, "case": session.start}
    body = session.script().split("session = ps.Session(case)")[1]
    exec("from napari_probseg.session.script import unpack\nsession = ps.Session(case)" + body, names)
    assert np.array_equal(names["objects"], session.objects)
    with pytest.raises(ValueError, match="no finished object 9"):
        session.remove(9)


def test_objects_from_elsewhere(session: ps.Session) -> None:
    session.take(square(10, 10) * np.int16(7))
    assert np.unique(session.objects).tolist() == [0, 7]
    session.take(square(11, 11) * 2 + square(30, 30) * 1)
    assert np.unique(session.objects).tolist() == [0, 7, 8, 9]
    assert (session.objects == 7).sum() == 9, "locked"
    for bad, says in (
        (np.zeros((3, 3), int), "image's shape"),
        (np.full(SHAPE, 0.5), "whole numbers"),
        (np.full(SHAPE, -1), "whole"),
    ):
        with pytest.raises(ValueError, match=says):
            session.take(bad)


def test_a_correction_makes_evidence_of_what_was_accepted(session: ps.Session) -> None:
    session.mark(square(20, 10))
    session.propose(8)
    session.accept(7)
    grown = session.case.partial == ps.Marker.OBJECT
    assert grown[20, 24], "test invalid"
    session.mark(outside=square(20, 24))
    asked = session.question()
    assert asked.partial[20, 24] == ps.Marker.BACKGROUND
    assert asked.partial[20, 21] == asked.partial[20, 13] == ps.Marker.UNKNOWN
    assert asked.partial[20, 10] == ps.Marker.OBJECT, "strokes hold"
    assert asked.accepted((slice(0, 40),) * 2)[20, 13] == ps.Marker.OBJECT
    assert session.case.partial[20, 21] == ps.Marker.OBJECT, "nothing changes before a candidate is accepted"
    before = state(session)
    session.propose(8)
    session.accept(0)
    assert session.question() is session.case, "the correction is used up"
    session.undo()
    assert state(session) == before


def test_every_part_of_a_scattered_stroke_is_looked_at(session: ps.Session) -> None:
    session.mark(square(20, 10))
    session.propose(8)
    session.accept(7)
    session.mark(outside=square(20, 24) | square(2, 2) | square(37, 37))
    assert session.question().partial[20, 21] == ps.Marker.UNKNOWN


def test_a_correction_works_on_the_plane_of_a_volume() -> None:
    session = ps.Session(ps.Case(np.random.default_rng(0).random((5, 40, 40)), spacing=(3, 1, 1)), GrowingProposer())
    where = (slice(2, 3), slice(0, 40), slice(0, 40))
    session.mark(square(20, 10)[None], where=where)
    session.propose(8, plane=(0, 2))
    session.accept(7)
    session.mark(outside=square(20, 24)[None], where=where)
    asked = session.question((0, 2))
    assert asked.partial[2, 20, 21] == ps.Marker.UNKNOWN
    assert asked.plane(0, 2).accepted((slice(0, 40),) * 2)[20, 13] == ps.Marker.OBJECT
    assert asked.plane(0, 1).evidence is None


def test_an_answer_to_an_old_question_is_refused(session: ps.Session) -> None:
    session.mark(square(10, 10))
    stale = GrowingProposer().propose(session.question())
    session.mark(square(11, 11))
    with pytest.raises(ValueError, match="earlier state"):
        session.offer(stale)
    session.offer(GrowingProposer().propose(session.case))
    session.undo()
    assert session.candidates is None


def test_none_of_these_asks_again(session: ps.Session) -> None:
    session.mark(square(10, 10))
    first = session.propose(3, reach=0.5)
    other = session.reject()
    assert not np.array_equal(first.patches, other.patches)
    assert session.accept(0).arguments["request"] == {"n": 3, "seed": 1, "plane": None, "reach": 0.5}


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda s: s.accept(0), "nothing to choose from"),
        (lambda s: s.reject(), "nothing to reject"),
        (lambda s: s.finish(), "no object to finish yet"),
        (lambda s: (setattr(s, "proposer", None), s.propose()), "load_proposer"),
        (lambda s: s.propose(), "no stroke yet"),
        (lambda s: s.mark(np.zeros((3, 3))), "shape"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(session: ps.Session, act: object, says: str) -> None:
    before = state(session)
    with pytest.raises((RuntimeError, ValueError), match=says):
        act(session)  # type: ignore[operator]
    assert state(session) == before
    assert not session.steps


def test_objects_are_never_merged_by_their_numbers(session: ps.Session) -> None:
    for y in (5, 15):
        session.mark(square(y, 5))
        session.finish()
    session.reopen(2)
    session.take(square(30, 30) * 1)
    session.finish()
    assert {int(i): int((session.objects == i).sum()) for i in np.unique(session.objects)} == {
        0: 1573,
        1: 9,
        2: 9,
        3: 9,
    }


@pytest.mark.parametrize(("label", "dtype"), [(2**32 + 1, np.int64), (2**32 - 1, np.uint32), (2**31, np.uint64)])
def test_numbers_that_objects_cannot_have_are_refused(session: ps.Session, label: int, dtype: type) -> None:
    with pytest.raises(ValueError, match="numbered up to 2147483647"):
        session.take(square(5, 5).astype(dtype) * dtype(label))
    assert not session.steps


def test_taking_nothing_new_is_refused(session: ps.Session) -> None:
    for labels in (np.zeros(SHAPE, int), square(5, 5) * 3):
        if labels.any():
            session.take(labels)
        with pytest.raises(ValueError, match="no object that is not finished already"):
            session.take(labels)


def test_taken_objects_are_locked_under_the_object_in_work(session: ps.Session) -> None:
    session.mark(square(10, 10))
    session.propose(4)
    session.accept(3)
    session.take(square(10, 12, 3) * 1)
    assert (session.case.partial[session.objects > 0] == ps.Marker.BACKGROUND).all()
    assert not session.case.strokes[session.objects > 0].any()
    session.mark(square(10, 5))
    session.mark(erase=square(10, 12, 3))
    assert (session.case.partial[session.objects > 0] == ps.Marker.BACKGROUND).all(), "erasing does not unlock"


def test_objects_cannot_be_changed_from_outside(session: ps.Session) -> None:
    for act in (lambda: session.mark(square(10, 10)), session.finish, session.undo):
        act()
        with pytest.raises(ValueError, match="read-only"):
            session.objects[0, 0] = 1


def test_an_empty_offer_is_told(session: ps.Session) -> None:
    session.mark(square(10, 10))
    some = GrowingProposer().propose(session.case, 2)
    nothing = ps.Candidates(some.case, some.where, some.patches[:0], some.score[:0], some.share[:0], some.probability)
    session.offer(nothing)
    with pytest.raises(RuntimeError, match="nothing is left to add near the strokes: brush further out"):
        session.accept()


@pytest.mark.parametrize(
    "where",
    [
        np.s_[-10:-5, -8:],
        np.s_[::-1, 3:20],
        np.s_[30:4:-3, ::2],
        np.s_[:0, :],
        np.s_[5:100, -100:7],
    ],
)
def test_a_stroke_in_any_slices_is_recorded_where_it_lies(session: ps.Session, tmp_path: Path, where: object) -> None:
    session.mark(square(20, 20, 18))
    before = state(session)
    drawn = np.random.default_rng(1).random(np.zeros(SHAPE)[where].shape) < 0.5
    expected = session.case.partial.copy()
    expected[where][drawn] = ps.Marker.BACKGROUND
    session.mark(outside=drawn, where=where)
    assert np.array_equal(session.case.partial, expected)
    session.save(tmp_path / "work.npz")
    assert state(ps.Session.load(tmp_path / "work.npz", session.case.image)) == state(session)
    if drawn.any():
        session.undo()
    assert state(session) == before


@pytest.mark.parametrize("where", [np.s_[3:5], np.s_[3, 4:5], np.s_[..., 3:5], [slice(0, 3)] * 3])
def test_what_is_no_region_is_told(session: ps.Session, where: object) -> None:
    with pytest.raises(ValueError, match="one slice for each of 2 axes"):
        session.mark(np.ones((2, 2), bool), where=where)
    assert not session.steps


def test_undo_is_exact_after_a_correction_elsewhere_in_the_volume() -> None:
    image = np.random.default_rng(0).random((5, 40, 40))
    session = ps.Session(ps.Case(image, spacing=(3, 1, 1)), GrowingProposer())
    for z, n in ((1, 2), (3, 1)):
        where = (slice(z, z + 1), slice(0, 40), slice(0, 40))
        session.mark(square(20, 10, n)[None], where=where)
        session.propose(8, plane=(0, z))
        session.accept(7)
    session.mark(outside=square(20, 24)[None], where=where)
    before = state(session)
    session.propose(8)  # on the plane with most strokes, which is another one
    assert session.candidates.where[0] == slice(1, 2), "test invalid"
    assert session.candidates.case is not session.case, "test invalid"
    session.accept(3)
    session.undo()
    assert state(session) == before
    session.redo()
    session.undo()
    assert state(session) == before


@pytest.mark.parametrize("verb", ["undo", "redo"])
def test_what_fails_for_lack_of_memory_changes_nothing(
    session: ps.Session, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    session.take(square(30, 30) * 1)
    session.mark(square(10, 10))
    session.finish()
    if verb == "redo":
        session.undo()
    before, steps, undone = state(session), session.steps, session.undone
    copied, made = [], case_module.copied

    def scarce(array: np.ndarray, pages: np.ndarray) -> np.ndarray:
        copied.append(made(array, pages))
        if len(copied) == 2:
            raise MemoryError
        return copied[-1]

    with monkeypatch.context() as patched:
        patched.setattr(case_module, "copied", scarce)
        with pytest.raises(MemoryError):
            getattr(session, verb)()
    assert state(session) == before and session.steps == steps and session.undone == undone
    getattr(session, verb)()
    assert state(session) != before
