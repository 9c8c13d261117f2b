"""What is on show, what is accepted and what is drawn on belong together, whichever image is at work."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.case import Marker
from napari_probseg.session.series import Done, Series
from napari_probseg.widgets.messages import progress_of
from napari_probseg.widgets.segment.gallery import share_of
from napari_probseg.widgets.segment.view_state import (
    BOX_HINT,
    BRUSH_HINT,
    BUSY_HINT,
    CORRECT_HINT,
    LIVE_HINT,
    PROPOSE_HINT,
    SLICE_HINT,
    STROKES_HINT,
    view_state,
)
from window import Balls, click, disk, offer, press, stroke, threads_ended


class Gated(Balls):
    """Balls that wait at a gate, which is open until it is shut."""

    def __init__(self) -> None:
        super().__init__(threading.Event())
        self.gate.set()


@pytest.fixture
def two_images(open_widget):
    """Return a viewer with the images "A" and "B", the widget, A at work, and a proposer with a gate."""
    proposer = Gated()
    viewer, widget = open_widget(None, proposer)
    for name in "AB":
        viewer.add_image(disk().astype(np.float32), name=name)
    widget.panel.images.setCurrentText("A")
    yield viewer, widget, proposer
    proposer.gate.set()


def at_work(widget) -> str:
    assert widget.panel.images.currentText() == widget.work.image.name, "the list tells the image at work"
    return widget.work.image.name


def turn_to(widget, name: str) -> None:
    widget.panel.images.setCurrentText(name)
    assert at_work(widget) == name


def nothing_to_accept(qtbot, widget) -> None:
    """Assert that no candidate is on show, and that neither the button nor the key accepts one."""
    before = widget.work.session.case
    assert not widget.panel.gallery.cells and not widget.panel.accept.isEnabled()
    assert widget.work.candidates is None
    press(qtbot, widget, Qt.Key.Key_K)
    assert widget.work.session.case is before


def test_candidates_wait_while_another_image_is_at_work(two_images, qtbot):
    viewer, widget, _ = two_images
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    offered = widget.work.candidates
    turn_to(widget, "B")
    assert not widget.panel.gallery.cells and not widget.panel.accept.isEnabled()
    turn_to(widget, "A")
    assert len(widget.panel.gallery.cells) == len(offered) and widget.panel.accept.isEnabled()
    assert viewer.layers["preview"].visible and viewer.layers["preview"].data.any(), "the canvas shows it, too"
    press(qtbot, widget, Qt.Key.Key_J)
    press(qtbot, widget, Qt.Key.Key_K)
    assert np.array_equal(widget.work.session.case.partial, offered.accept(1).partial)


def test_the_list_shows_the_image_that_strokes_land_on(two_images, qtbot):
    viewer, widget, _ = two_images
    sessions = {}
    for i, name in enumerate("ABAB"):
        turn_to(widget, name)
        stroke(qtbot, widget, (30, 10 + 10 * i))
        offer(qtbot, widget)
        sessions[name] = widget.work.session
        assert at_work(widget) == name
    assert sessions["A"] is not sessions["B"]
    assert [len(sessions[name].steps) for name in "AB"] == [2, 2]
    viewer.layers.remove("preview")
    assert at_work(widget) == "B", "a layer that goes changes nothing"


def test_a_stroke_on_the_markers_of_another_image_turns_to_it(two_images, qtbot):
    _, widget, _ = two_images
    stroke(qtbot, widget, (30, 30))
    layers = widget.work.layers
    turn_to(widget, "B")
    stroke(qtbot, widget, (10, 10))
    other = widget.work.session
    layers.markers.paint((50, 50), 1)
    qtbot.waitUntil(lambda: len(layers.session.steps) == 2)
    assert at_work(widget) == "A" and widget.work.session is layers.session and len(other.steps) == 1


def test_ctrl_z_on_the_markers_of_another_image_takes_back_its_step(two_images, qtbot):
    viewer, widget, _ = two_images
    stroke(qtbot, widget, (30, 30))
    layers = widget.work.layers
    turn_to(widget, "B")
    stroke(qtbot, widget, (10, 10))
    other = widget.work.session
    viewer.layers.selection.active = layers.markers
    press(qtbot, widget, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not layers.session.steps and len(other.steps) == 1 and at_work(widget) == "A"


def test_what_was_rejected_cannot_be_accepted_while_others_are_drawn(two_images, qtbot):
    _, widget, proposer = two_images
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    proposer.gate.clear()
    press(qtbot, widget, Qt.Key.Key_N)
    nothing_to_accept(qtbot, widget)
    proposer.gate.set()
    qtbot.waitUntil(lambda: widget.work.candidates is not None, timeout=20_000)
    assert [seed for _, seed, _ in proposer.asked] == [0, 1]


def test_what_was_cancelled_cannot_be_accepted(two_images, qtbot):
    _, widget, proposer = two_images
    proposer.gate.clear()
    stroke(qtbot, widget, (30, 30))
    press(qtbot, widget, Qt.Key.Key_G)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    click(qtbot, widget.panel.cancel)
    nothing_to_accept(qtbot, widget)
    proposer.gate.set()
    offer(qtbot, widget)
    assert widget.panel.accept.isEnabled()


def test_what_was_on_show_before_a_question_that_was_cancelled_can_be_accepted_again(two_images, qtbot):
    _, widget, proposer = two_images
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    before, n_asked = widget.work.candidates, len(proposer.asked)
    proposer.gate.clear()
    press(qtbot, widget, Qt.Key.Key_G)
    qtbot.waitUntil(lambda: len(proposer.asked) > n_asked)
    click(qtbot, widget.panel.cancel)
    proposer.gate.set()
    assert widget.work.candidates is before and widget.panel.accept.isEnabled()
    assert len(widget.panel.gallery.cells) == len(before)
    press(qtbot, widget, Qt.Key.Key_K)
    decided = widget.work.session.case.partial[before.where]
    assert np.array_equal(decided, before.patches[0])


def test_a_question_about_one_image_is_given_up_on_another(two_images, qtbot):
    _, widget, proposer = two_images
    stroke(qtbot, widget, (30, 30))
    proposer.gate.clear()
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    turn_to(widget, "B")
    stroke(qtbot, widget, (20, 20))
    proposer.gate.set()
    offer(qtbot, widget)
    assert widget.work.candidates.case.image is widget.work.session.case.image
    turn_to(widget, "A")
    nothing_to_accept(qtbot, widget)


def test_an_answer_that_a_stroke_waited_for_comes_when_its_image_is_turned_to_again(two_images, qtbot):
    _, widget, proposer = two_images
    turn_to(widget, "A")
    widget.panel.live.setChecked(True)
    proposer.gate.clear()
    stroke(qtbot, widget, (30, 30))
    qtbot.waitUntil(lambda: bool(proposer.asked))
    turn_to(widget, "B")
    proposer.gate.set()
    threads_ended(qtbot)
    assert widget.work.on_offer is None
    n_asked = len(proposer.asked)
    turn_to(widget, "A")
    qtbot.waitUntil(lambda: widget.work.on_offer is not None, timeout=20_000)
    assert len(proposer.asked) == n_asked + 1 and widget.work.on_offer.candidates.case.strokes[30, 30]
    turn_to(widget, "B")
    turn_to(widget, "A")
    threads_ended(qtbot)
    assert len(proposer.asked) == n_asked + 1, "it is there: nothing is asked again"


def test_a_saved_session_knows_how_often_it_asked(two_images, qtbot, tmp_path):
    _, widget, proposer = two_images
    stroke(qtbot, widget, (30, 30))
    for _ in range(3):
        offer(qtbot, widget)
    widget.work.session.save(tmp_path / "session.npz")
    widget.work.replace_session(ps.Session.load(tmp_path / "session.npz", widget.work.session.case.image))
    offer(qtbot, widget)
    assert [seed for _, seed, _ in proposer.asked] == [0, 1, 2, 3]


def test_each_image_counts_its_own_questions(two_images, qtbot):
    _, widget, proposer = two_images
    for name in "AB":
        turn_to(widget, name)
        stroke(qtbot, widget, (30, 30))
        offer(qtbot, widget)
    assert [seed for _, seed, _ in proposer.asked] == [0, 0]


def test_list_and_work_agree_while_a_file_is_written(two_images, qtbot, monkeypatch, tmp_path):
    _, widget, _ = two_images
    stroke(qtbot, widget, (30, 30))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "session.npz"), ""))
    widget._files.save_session()
    widget.panel.images.setCurrentText("B")
    assert at_work(widget) == "A"
    qtbot.waitUntil(lambda: not widget._files.background.is_busy, timeout=20_000)
    qtbot.waitUntil(lambda: at_work(widget) == "B")


def test_a_session_that_is_read_for_an_image_that_goes_is_refused(two_images, qtbot, monkeypatch, tmp_path):
    viewer, widget, _ = two_images
    stroke(qtbot, widget, (30, 30))
    widget.work.session.save(tmp_path / "session.npz")
    click(qtbot, widget.panel.undo)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "session.npz"), ""))
    widget._files.open_session()
    viewer.layers.remove("A")
    qtbot.waitUntil(lambda: not widget._files.background.is_busy, timeout=20_000)
    assert "was removed meanwhile" in widget.panel.status.text()
    assert at_work(widget) == "B" and widget.work.session is None


def test_the_script_tells_which_completer_made_what():
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def propose(self, case, n=1, *, seed=0, plane=None):
            return GrowingProposer().propose(case, 1, seed=len(self.name))  # each says something else

    work, dot = ps.Session(ps.Case(np.zeros((64, 64)))), np.zeros((64, 64), dtype=bool)
    dot[30, 30] = True
    work.mark(inside=dot)
    for name in ("general", "intensities"):
        work.completer = Named(name)
        work.complete()
        work.accept()
    lines = [line for line in work.script().splitlines() if line.startswith("session.c")]
    assert lines == [
        "session.completer = ps.load_completer('general')",
        "session.complete()",
        "session.completer = ps.load_completer('intensities')",
        "session.complete()",
    ]


def test_the_view_follows_from_the_session():
    def seen(session, *, is_asking=False, is_held=False, is_live=False, mode="", label=0, **awaits):
        return view_state(
            session,
            **awaits,
            is_live=is_live,
            has_image=session is not None,
            is_asking=is_asking,
            is_held=is_held,
            knows_uncertainty=False,
            mode=mode,
            label=label,
        )

    assert not seen(None).has_image and seen(None).hint == BRUSH_HINT
    session = ps.Session(ps.Case(np.zeros((64, 64))), Balls())
    assert not seen(session).can_finish and not seen(session).is_volume
    session.mark(inside=disk() & ~disk(middle=(32, 30)))
    assert seen(session).hint == PROPOSE_HINT and seen(session).can_undo and seen(session).can_finish
    session.propose(3)
    assert seen(session).can_accept and seen(session).can_choose and not seen(session).can_cut
    asking = seen(session, is_asking=True)
    assert asking.hint == BUSY_HINT and not asking.can_accept and asking.is_busy, "what is drawn anew is not on show"
    session.accept(0)
    assert not seen(session).can_accept and seen(session, is_live=True).hint == CORRECT_HINT
    session.finish()
    assert len(seen(session).objects) == 1 and seen(session).hint == BRUSH_HINT, "there is nothing to propose for yet"
    assert not seen(session).can_finish
    assert seen(session, is_live=True).hint == LIVE_HINT
    boxing = seen(session, is_boxing=True)
    assert boxing.hint == BOX_HINT and boxing.can_cancel and not boxing.is_busy
    session.reopen(1)
    assert seen(session).hint == CORRECT_HINT
    session.undo()
    session.undo()
    assert seen(session).can_redo and not seen(session).objects
    assert seen(session, is_live=True).hint == CORRECT_HINT
    session.undo()
    assert seen(session, is_live=True).hint == STROKES_HINT, "they are there, and nothing is on offer"
    session.mark(erase=session.case.strokes > 0)
    assert seen(session, is_live=True).hint == LIVE_HINT and seen(session).hint == BRUSH_HINT
    session.undo()
    session.undo()
    assert seen(session, is_live=True).hint == LIVE_HINT
    assert seen(session, mode="erase").brush is Marker.UNKNOWN
    assert seen(session, mode="paint", label=2).brush is Marker.BACKGROUND
    assert seen(session, mode="paint", label=0).brush is seen(session, mode="erase").brush is Marker.UNKNOWN
    assert seen(session, mode="paint", label=7).brush is None and seen(session, is_held=True).is_busy


def test_once_a_slice_of_a_volume_is_accepted_the_way_into_the_volume_is_told():
    session = ps.Session(ps.Case(np.zeros((4, 64, 64))), Balls())
    session.mark(inside=(disk() & ~disk(middle=(32, 30)))[None], where=np.s_[2:3, :, :])

    def hint() -> str:
        return view_state(session, has_image=True, is_asking=False, is_held=False, knows_uncertainty=False).hint

    session.propose(3, plane=(0, 2))
    session.accept(2)
    assert hint() == SLICE_HINT
    session.undo()
    session.propose(3)
    session.accept(2)
    assert hint() == CORRECT_HINT, "it was accepted in the volume"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "1 of 3 images · 2 objects"),
        (41, "1 of 3 images · 2 objects · 41 s per image"),
        (84, "· 1.4 min per image"),
    ],
)
def test_the_time_for_an_image_is_told_as_it_is(seconds, told):
    images = tuple(Path(f"{i}.tif") for i in range(3))
    assert progress_of(Series(images, (Done(images[0], 2, seconds),))).endswith(told)


def test_a_share_is_none_where_it_is_none():
    assert [share_of(share) for share in (0, 0.001, 0.01, 0.41, 1)] == ["0%", "<1%", "1%", "41%", "100%"]


def test_the_panel_is_drawn_once_for_all_that_a_verb_changes(open_widget, qtbot, monkeypatch):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    drawn, draw = [], widget._draw

    def counted(state):
        drawn.append(state)
        draw(state)

    monkeypatch.setattr(widget, "_draw", counted)
    for button in (widget.panel.accept, widget.panel.finish, widget.panel.undo):
        drawn.clear()
        click(qtbot, button)
        assert len(drawn) == 1 and drawn[0] == widget.state()
    drawn.clear()
    widget.work.reopen(7)
    assert len(drawn) == 1, "also where it is refused"
