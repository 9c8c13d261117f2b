"""Finished objects: their sizes, places and classes are always those of the label image, whatever is done and undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.session.finished import Tally, kinds_by
from napari_probseg.session.history import Change
from sessions import square, worked

IMAGE = np.random.default_rng(0).random((40, 40))


def is_true(session: ps.Session) -> bool:
    """Return whether sizes and boxes are what the label image says."""
    found = session.finished
    labels, counts = np.unique(session.objects[session.objects > 0], return_counts=True)
    right = [(one.label, one.n_voxels) for one in found] == list(zip(labels.tolist(), counts.tolist(), strict=True))
    held = all((session.objects[one.box] == one.label).sum() == one.n_voxels for one in found)
    return right and held and session.max_label == int(session.objects.max())


def test_the_tally_is_true_at_every_step_there_and_back() -> None:
    session = worked(ps.Session(ps.Case(IMAGE), GrowingProposer()))
    assert is_true(session) and len(session.finished) >= 2
    while session.can_undo:
        session.undo()
        assert is_true(session)
    assert not session.finished
    while session.can_redo:
        session.redo()
        assert is_true(session)


@pytest.mark.parametrize("most", [5, 2**31 - 1])
def test_numbers_may_be_large(most: int) -> None:
    tally, after = Tally(), np.zeros((8, 8), np.uint32)
    after[2:4, 1] = most
    tally.take(Change("objects", (slice(0, 8), slice(4, 12)), np.zeros_like(after), after))
    (one,) = tally.objects({most: "big"})
    assert (one.label, one.kind, one.n_voxels, one.box) == (most, "big", 2, (slice(2, 4), slice(5, 6)))
    tally.take(Change("objects", (slice(0, 8), slice(4, 12)), after, np.zeros_like(after)))
    assert tally.max_label == 0


def test_finished_objects_tell_of_which_size_the_next_one_may_be() -> None:
    session = ps.Session(ps.Case(IMAGE, spacing=(0.5, 2.0), sizes=[7.0]), GrowingProposer())
    assert session.question().sizes == (7.0,)
    for side in (2, 3, 4):
        mask = np.zeros(IMAGE.shape, dtype=bool)
        mask[8 * side : 9 * side, :side] = True
        session.mark(mask)
        session.finish()
    sizes = [np.sqrt(side * side * 1.0) for side in (4, 3, 2)]  # mm, the latest first
    assert session.question().sizes == pytest.approx((*sizes, 7.0))
    session.mark(square(5, 20))
    assert session.ask().question.sizes == pytest.approx((*sizes, 7.0))
    session.undo(), session.undo()
    assert session.question().sizes == pytest.approx((*sizes[1:], 7.0))
    for i in range(9):
        session.mark(square(2 + 4 * i, 30))
        session.finish()
    assert len(session.question().sizes) == 8, "those of long ago tell nothing"


def test_sizes_on_planes_and_in_time_series_are_of_what_lies_there() -> None:
    mask = np.zeros((6, 20, 30), dtype=bool)
    mask[1:5, 2:6, 2:11] = True  # on each of four planes 4x9
    volume = ps.Session(ps.Case(np.random.default_rng(0).random(mask.shape), spacing=(3.0, 1.0, 1.0)))
    series = ps.Session(ps.Case(volume.case.image, in_time=True))
    for session in (volume, series):
        session.mark(mask)
        session.finish()
    assert volume.sizes() == pytest.approx((432 ** (1 / 3),)) and volume.sizes((0, 2)) == pytest.approx((6,))
    assert volume.question((0, 2)).at((0, 2)).sizes == pytest.approx((6,))
    assert volume.sizes((2, 4)) == pytest.approx((48**0.5,)), "planes along x: 4 planes of 3 mm by 4 pixels"
    assert series.sizes() == series.sizes((0, 2)) == pytest.approx((6,))


def test_a_script_begins_with_the_sizes_that_its_session_began_with(tmp_path: Path) -> None:
    session = ps.Session(ps.Case(IMAGE, sizes=(4.0, 5.5)))
    assert "sizes=(4.0, 5.5)" in session.script("image.tif")
    assert "sizes" not in ps.Session(ps.Case(IMAGE)).script("image.tif")


def finished(session: ps.Session, y: int, x: int, kind: str = "") -> int:
    session.mark(square(y, x))
    return int(session.finish(kind).arguments["label"])


def test_classes_are_given_changed_taken_back_and_kept(tmp_path: Path) -> None:
    session = ps.Session(ps.Case(IMAGE))
    assert finished(session, 5, 5, "cell") == 1 and finished(session, 20, 20) == 2
    assert session.kinds == {1: "cell"}
    session.classify(2, "nucleus")
    session.classify(1, "")
    assert session.kinds == {2: "nucleus"}
    session.undo()
    assert session.kinds == {1: "cell", 2: "nucleus"}
    session.redo()
    session.reopen(2)
    assert session.kinds == {}, "it is in work"
    session.finish("cell")
    assert session.kinds == {2: "nucleus"}, "one that was reopened keeps its class"
    session.save(tmp_path / "a.npz")
    again = ps.Session.load(tmp_path / "a.npz", IMAGE)
    assert again.kinds == session.kinds and again.finished == session.finished and is_true(again)
    session.keep(tmp_path / "a.journal").close()
    assert ps.Session.load(tmp_path / "a.journal", IMAGE).kinds == session.kinds


def test_classes_that_are_given_at_once_are_taken_back_and_given_again_at_once(tmp_path: Path) -> None:
    session = ps.Session(ps.Case(IMAGE))
    for x in (5, 20, 35):
        finished(session, 5, x)
    session.classify(1, "cell")
    with pytest.raises(ValueError, match="no finished object 7"):
        session.classify_all({2: "cell", 7: "cell"})
    given = session.classify_all({1: "cell", 2: "nucleus", 3: "cell"})
    assert [step.arguments["label"] for step in given] == [2, 3], "the first has its class already"
    session.note_saved("a.tif", whole=False)
    session.keep(tmp_path / "a.journal").flush()
    for one in (session, ps.Session.load(tmp_path / "a.journal", IMAGE)):
        one.undo()
        assert one.kinds == {1: "cell"} and one.has_other_objects
        one.undo()
        assert one.kinds == {}, "what was given by itself is taken back by itself"
        one.redo()
        assert one.kinds == {1: "cell"}
        one.redo()
        assert one.kinds == {1: "cell", 2: "nucleus", 3: "cell"} and not one.can_redo
    session.journal.close()
    again = ps.Session.load(tmp_path / "a.journal", IMAGE)
    assert again.kinds == session.kinds and len(again.steps) == len(session.steps)


def test_the_same_class_again_is_no_step() -> None:
    session = ps.Session(ps.Case(IMAGE))
    finished(session, 5, 5, "cell")
    n = len(session.steps)
    session.classify(1, "cell")
    assert len(session.steps) == n
    with pytest.raises(ValueError, match="no finished object 7"):
        session.classify(7, "cell")


def test_a_number_that_is_used_again_has_no_class_of_the_one_before() -> None:
    session = ps.Session(ps.Case(IMAGE))
    finished(session, 5, 5), finished(session, 20, 20, "cell")
    session.reopen(2)
    session.mark(erase=session.case.partial == 1)
    session.take(square(30, 30) * 1)
    assert session.kinds == {}
    assert kinds_by(session.steps).get(2) is None or session.max_label != 2


def test_classes_come_with_labels_that_are_taken() -> None:
    session = ps.Session(ps.Case(IMAGE))
    finished(session, 5, 5)
    session.take(square(20, 20) * 4, {4: "cell"})
    assert session.kinds == {5: "cell"}


def test_a_class_is_something_to_save() -> None:
    session = ps.Session(ps.Case(IMAGE))
    finished(session, 5, 5)
    session.note_saved("a.tif", whole=False)
    assert not session.has_unsaved_objects
    session.classify(1, "cell")
    assert session.has_unsaved_objects
    session.note_saved("a.tif", whole=False)
    session.undo()
    assert session.has_unsaved_objects


def test_objects_that_are_gone_are_something_to_save_where_they_were_saved_or_left(tmp_path: Path) -> None:
    session = ps.Session(ps.Case(IMAGE))
    finished(session, 5, 5)
    session.remove(1)
    assert not session.has_other_objects, "it was made and removed"
    finished(session, 5, 5)
    session.save(tmp_path / "left.npz")
    session.note_saved("a.tif", whole=False)
    for one in (session, ps.Session.load(tmp_path / "left.npz", IMAGE)):
        one.remove(one.max_label)
        assert one.has_other_objects and not one.has_unsaved_objects
        one.note_saved("a.tif", whole=False)
        assert not one.has_other_objects


def test_the_script_gives_the_same_classes() -> None:
    session = ps.Session(ps.Case(IMAGE))
    finished(session, 5, 5, "cell"), finished(session, 20, 20)
    session.classify(2, "it's")
    session.take(square(30, 30) * 3, {3: "third"})
    script = session.script("x")
    _, _, body = script.partition("session = ps.Session(case)")
    names = {"np": np, "ps": ps, "case": ps.Case(IMAGE)}
    exec("from napari_probseg.session.script import unpack\nsession = ps.Session(case)" + body, names)
    assert names["session"].kinds == session.kinds == {1: "cell", 2: "it's", 5: "third"}


def test_pauses_are_no_work(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("napari_probseg.session.work.time.monotonic", lambda: now[0])
    session = ps.Session(ps.Case(IMAGE))
    for x, wait in enumerate((10.0, 4000.0, 20.0)):
        now[0] += wait
        session.mark(square(5, 5 + x))
    assert session.seconds == 90.0
