"""Fine-tuning to an image through the Segment widget: progress, cancelling, undo, forgetting, what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.progress import Progress
from napari_probseg.proposers.histogram_cut import GraphCut
from napari_probseg.widgets import models as in_use
from window import click, press, threads_ended

SHAPE = (48, 48)


class Learner(GraphCut):
    """Completes by intensities; what it learns makes it see one more pixel of object."""

    name = "general"

    def __init__(self, n_learnt: int = 0) -> None:
        self.n_learnt, self.may_go_on, self.helps, self.refuses = n_learnt, threading.Event(), True, False
        self.may_go_on.set()

    def complete(self, case):
        completion = super().complete(case)
        completion.probability = completion.probability.copy()
        completion.probability[0, : self.n_learnt] = 1
        return completion

    def adapting(self, case, config=None, *, plane=None):
        if self.refuses:
            raise ValueError("not today")
        if not (case.partial == ps.Marker.BACKGROUND).any():
            raise ValueError("brush a little outside, too")
        for step in range(1, 4):
            yield Progress(step, 3)
            assert self.may_go_on.wait(20)
        return Learner(self.n_learnt + 1) if self.helps else self

    def adapt(self, case, config=None, *, plane=None):
        return Learner(self.n_learnt + 1)

    def learning(self, case, finished, config=None, *, plane=None):
        yield Progress(1, 1)
        return Learner(10 * len(finished))


@pytest.fixture
def learner():
    return Learner()


@pytest.fixture
def widget(open_widget, learner):
    truth = np.hypot(*(np.indices(SHAPE) - 24)) <= 10
    noise = np.random.default_rng(0).normal(0, 0.2, SHAPE)
    viewer, widget = open_widget((truth + noise).astype(np.float32), GraphCut())
    in_use.give(viewer, in_use.Models(GraphCut(), learner))
    yield widget
    learner.may_go_on.set()


def dab(qtbot, widget, at, marker) -> None:
    (widget._brush_inside if marker == 1 else widget._brush_outside)()
    n_steps = len(widget.work.session.steps)
    widget.work.layers.markers.brush_size = 5
    widget.work.layers.markers.paint(at, marker)
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == n_steps + 1)


def brushed(qtbot, widget) -> None:
    dab(qtbot, widget, (24, 24), 1)
    dab(qtbot, widget, (40, 6), 2)


def tuned(qtbot, widget) -> int:
    """Fine-tune, wait for the completion that follows, and return how often its completer has learnt."""
    qtbot.mouseClick(widget.panel.tune, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: widget.work.on_offer is not None and widget.work.on_offer.completion is not None, timeout=20_000
    )
    return n_learnt(widget)


def completed(qtbot, widget) -> int:
    qtbot.mouseClick(widget.panel.complete, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: widget.work.on_offer is not None and widget.work.on_offer.completion is not None, timeout=20_000
    )
    return n_learnt(widget)


def n_learnt(widget) -> int:
    return getattr(widget.work.on_offer.maker, "n_learnt", 0)


def forget(widget) -> None:
    widget.panel.menu.aboutToShow.emit()
    entry = next(a for a in widget.panel.menu.actions() if a.text().startswith("Forget"))
    assert entry.isEnabled()
    entry.trigger()


def test_it_learns_and_completes_again_from_what_was_learnt(widget, qtbot):
    brushed(qtbot, widget)
    assert completed(qtbot, widget) == 0
    assert tuned(qtbot, widget) == 1
    assert "learnt" in widget.panel.status.text()
    dab(qtbot, widget, (24, 30), 1)
    assert completed(qtbot, widget) == 1, "it stays learnt"
    assert tuned(qtbot, widget) == 2, "and learns on"


def test_it_learns_from_what_is_finished_and_completes_only_what_is_marked(widget, qtbot):
    brushed(qtbot, widget)
    click(qtbot, widget.panel.finish)
    click(qtbot, widget.panel.tune)
    qtbot.waitUntil(lambda: widget.work.session.learnt is not None, timeout=20_000)
    assert widget.panel.status.text().startswith("Learnt from 1 finished object:")
    assert not widget.work.asking.is_busy and widget.work.on_offer is None
    dab(qtbot, widget, (8, 40), 1)
    assert completed(qtbot, widget) == 10
    click(qtbot, widget.panel.finish)
    dab(qtbot, widget, (40, 40), 1)
    assert tuned(qtbot, widget) == 20
    widget.work.undo()
    assert completed(qtbot, widget) == 10, "the one before"


def test_it_is_told_once_that_finished_objects_can_be_learnt_from(widget, qtbot):
    told = []
    for y in (4, 16, 28, 40):
        dab(qtbot, widget, (y, 4), 1)
        click(qtbot, widget.panel.finish)
        told.append("Fine-tune" in widget.panel.status.text())
    assert told == [False, False, True, False]


def test_undo_redo_and_forget(widget, qtbot):
    brushed(qtbot, widget)
    tuned(qtbot, widget)
    widget.work.undo()
    assert "fine-tuning" in widget.panel.status.text()
    assert completed(qtbot, widget) == 0
    widget.work.redo()
    assert completed(qtbot, widget) == 1
    forget(widget)
    assert completed(qtbot, widget) == 0
    widget.work.undo()
    assert completed(qtbot, widget) == 1


def test_progress_is_told_and_cancelling_changes_nothing(widget, qtbot, learner):
    brushed(qtbot, widget)
    learner.may_go_on.clear()
    qtbot.mouseClick(widget.panel.tune, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.panel.status.text() == "Learning… 1 of 3", timeout=20_000)
    assert (widget.panel.progress.value(), widget.panel.progress.maximum()) == (1, 3)
    assert not widget.panel.tune.isEnabled()
    n_steps = len(widget.work.session.steps)
    qtbot.mouseClick(widget.panel.cancel, Qt.MouseButton.LeftButton)
    learner.may_go_on.set()
    assert widget.panel.status.text() == "Cancelled; nothing has changed."
    threads_ended(qtbot)
    assert len(widget.work.session.steps) == n_steps and widget.work.session.learnt is None


def test_what_was_on_offer_is_so_again_after_esc_and_after_a_refusal(widget, qtbot, learner):
    brushed(qtbot, widget)
    click(qtbot, widget.panel.complete)
    qtbot.waitUntil(lambda: widget.work.on_offer is not None, timeout=20_000)
    before, drawn = widget.work.candidates, widget.work.view.passing._layer.data.copy()
    learner.may_go_on.clear()
    click(qtbot, widget.panel.tune)
    assert widget.work.candidates is None and not widget.panel.accept.isEnabled()
    press(qtbot, widget, Qt.Key.Key_Escape)
    learner.may_go_on.set()
    threads_ended(qtbot)
    assert widget.work.candidates is before and widget.panel.accept.isEnabled()
    assert np.array_equal(widget.work.view.passing._layer.data, drawn) and len(widget.panel.gallery.cells) == 1
    learner.refuses = True
    click(qtbot, widget.panel.tune)
    qtbot.waitUntil(lambda: widget.panel.status.text() == "Not today.", timeout=20_000)
    assert widget.work.candidates is before
    offer = widget.work.on_offer
    widget.panel.smoothness.setValue(widget.panel.smoothness.value() + 5)
    qtbot.waitUntil(lambda: widget.work.on_offer is not offer, timeout=20_000)
    click(qtbot, widget.panel.accept)
    assert widget.work.session.steps[-1].verb == "accept"


def test_learning_that_does_not_help_is_told(widget, qtbot, learner):
    brushed(qtbot, widget)
    click(qtbot, widget.panel.complete)
    qtbot.waitUntil(lambda: widget.work.on_offer is not None, timeout=20_000)
    before = widget.work.candidates
    learner.helps = False
    qtbot.mouseClick(widget.panel.tune, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "stays as it was" in widget.panel.status.text(), timeout=20_000)
    assert widget.work.session.learnt is None and widget.work.candidates is before


def test_strokes_of_one_side_and_no_network_are_refused(widget, qtbot):
    dab(qtbot, widget, (24, 24), 1)
    widget.work.tune()
    qtbot.waitUntil(lambda: widget.panel.status.text() == "Brush a little outside, too.", timeout=20_000)
    widget.work.set(completer="intensities")
    widget.work.tune()
    qtbot.waitUntil(lambda: "no network to fine-tune" in widget.panel.status.text(), timeout=20_000)


def test_another_completer_knows_nothing_of_it(widget, qtbot):
    brushed(qtbot, widget)
    assert tuned(qtbot, widget) == 1
    widget.work.set(completer="intensities")
    assert completed(qtbot, widget) == 0
    widget.work.set(completer="general")
    assert completed(qtbot, widget) == 1


def test_each_image_has_its_own(widget, qtbot):
    viewer = widget._viewer
    brushed(qtbot, widget)
    tuned(qtbot, widget)
    viewer.add_image(np.random.default_rng(1).random(SHAPE), name="other")
    widget.panel.images.setCurrentText("other")
    brushed(qtbot, widget)
    assert completed(qtbot, widget) == 0
    widget.panel.images.setCurrentText("image")
    assert completed(qtbot, widget) == 1


def test_script_and_saved_session(widget, qtbot, tmp_path):
    brushed(qtbot, widget)
    tuned(qtbot, widget)
    widget.work.accept()
    session = widget.work.session
    lines = session.script().splitlines()
    assert "session.completer = ps.load_completer('general')" in lines
    assert [line for line in lines if line.startswith(("session.adapt", "session.accept"))] == [
        "session.adapt()",
        "session.accept(0)",
    ]
    session.save(tmp_path / "session.npz")
    again = ps.Session.load(tmp_path / "session.npz", session.case.image)
    assert [step.verb for step in again.steps] == [step.verb for step in session.steps]
    assert again.learnt is None
    widget.work.replace_session(again)
    assert "not at hand" in widget.panel.status.text()
    while again.can_undo:
        widget.work.undo()
    assert not again.case.partial.any()
