"""What a fast user does while something short is under way waits, and is done then, in its order."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

import napari_probseg as ps
from napari_probseg.case import Marker
from napari_probseg.widgets.settings import LIVE_ON
from window import canvas_of, click, disk, drag, finished, laid_out, on, place, press, stroke, threads_ended

LIVE = LIVE_ON
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier


@pytest.fixture
def refused(monkeypatch):
    """Return the errors that are told."""
    from napari_probseg.widgets.segment.controller import Workspace

    errors = []
    plain = Workspace.refuse
    monkeypatch.setattr(Workspace, "refuse", lambda work, error: (errors.append(error), plain(work, error)))
    return errors


def drawn(widget, at):
    return widget.work.session.case.strokes[at]


def begun(viewer, widget, qtbot):
    """Finish an object, and let the view be drawn."""
    finished(qtbot, widget)
    qtbot.waitUntil(lambda: bool(widget.work.session.finished))
    laid_out(qtbot, viewer)


def test_brush_and_stroke_right_after_finish_image_are_on_the_next_one(opened, qtbot, refused):
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    press(qtbot, widget, Qt.Key.Key_9)
    drag(viewer, (20, 20), (20, 30))
    press(qtbot, widget, Qt.Key.Key_8)
    drag(viewer, (40, 40), (40, 44))
    on(qtbot, widget, "cell1")
    qtbot.waitUntil(lambda: widget.work.session is not None and drawn(widget, (40, 42)) == Marker.OBJECT)
    assert drawn(widget, (20, 25)) == Marker.BACKGROUND and not refused
    drag(viewer, (50, 10), (50, 14))
    qtbot.waitUntil(lambda: drawn(widget, (50, 12)) == Marker.OBJECT)


@pytest.mark.parametrize("turn", range(8))
def test_a_stroke_is_drawn_wherever_on_the_way_it_begins(opened, qtbot, refused, turn):
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    for _ in range(turn):
        qtbot.wait(15)
    drag(viewer, (40, 40), (40, 44))
    on(qtbot, widget, "cell1")
    qtbot.waitUntil(lambda: widget.work.session is not None and drawn(widget, (40, 42)) == Marker.OBJECT)
    assert not refused


def test_a_stroke_that_goes_on_as_the_next_image_comes_is_whole(opened, qtbot, refused):
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    canvas = canvas_of(viewer)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, (20, 20)))
    QTest.mouseMove(canvas, place(viewer, (20, 24)))
    qtbot.waitUntil(lambda: widget.work.image.name == "cell1" and not widget.work.is_held, timeout=20_000)
    qtbot.waitUntil(lambda: widget.work.layers is not None and widget.work.layers.is_drawing)
    for x in (30, 36, 40):
        QTest.mouseMove(canvas, place(viewer, (20, x)))
        qtbot.wait(20)
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, (20, 40)))
    qtbot.waitUntil(lambda: widget.work.session is not None and bool(widget.work.session.steps))
    qtbot.waitUntil(lambda: (widget.work.session.case.strokes[20, 21:40] == Marker.OBJECT).all())
    assert not refused


def test_finish_image_in_the_midst_of_a_stroke_waits_for_its_end(opened, qtbot, refused):
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    canvas, session = canvas_of(viewer), widget.work.session
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, (50, 50)))
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    QTest.mouseMove(canvas, place(viewer, (50, 56)))
    qtbot.wait(50)
    assert widget.work.session is session and not widget.work.is_held
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, (50, 56)))
    on(qtbot, widget, "cell1")
    assert len(session.finished) == 2 and not refused, "the stroke is of the image it was drawn on"


def test_finish_image_pressed_twice_passes_over_no_image(opened, qtbot):
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    for _ in range(3):
        press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    assert widget._series.series.n_done == 1


def test_two_steps_back_pressed_at_once_are_two(opened, qtbot, refused):
    _, widget = opened
    for name in ("cell1", "cell2"):
        finished(qtbot, widget)
        press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
        on(qtbot, widget, name)
    for _ in range(2):
        press(qtbot, widget, Qt.Key.Key_Q, ALT)
    on(qtbot, widget, "cell0")
    assert not refused


def test_a_brush_pressed_as_an_image_opens_waits_until_earlier_work_is_looked_for(opened, qtbot, refused, tmp_path):
    """It is not refused, and where there is a question, that comes first."""
    viewer, widget = opened
    stroke(qtbot, widget, (30, 30))
    widget.work.session.journal.flush(10)
    viewer.layers.remove(viewer.layers["cell0"])
    viewer.open(str(tmp_path / "cell1.tif"), plugin="napari")
    press(qtbot, widget, Qt.Key.Key_8)
    qtbot.waitUntil(lambda: widget.work.layers is not None and widget.work.layers.has_brush_in_hand)
    widget._series.go_to(tmp_path / "cell0.tif")
    press(qtbot, widget, Qt.Key.Key_9)
    on(qtbot, widget, "cell0")
    qtbot.waitUntil(lambda: widget.work.session is not None)
    qtbot.waitUntil(lambda: widget.work.layers.markers.selected_label == Marker.BACKGROUND)
    assert not refused


def test_verbs_wait_while_a_file_is_written_and_are_done_in_their_order(
    open_widget, qtbot, monkeypatch, tmp_path, refused
):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    qtbot.waitUntil(lambda: bool(widget.work.session.finished))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "objects.tif"), ""))
    widget._files.save_objects()
    assert widget.work.is_held
    press(qtbot, widget, Qt.Key.Key_K, SHIFT)  # reopen
    press(qtbot, widget, Qt.Key.Key_Q)
    click(qtbot, widget.panel.undo)
    widget._files.save_objects()
    qtbot.waitUntil(lambda: [s.verb for s in widget.work.session.steps][-1] == "reopen", timeout=20_000)
    qtbot.waitUntil(lambda: not ps.read(tmp_path / "objects.tif").data.any(), timeout=20_000)  # as it is by then
    assert not refused


def test_an_object_finished_before_its_answer_came_is_finished_with_it(open_widget, qtbot, refused):
    from threading import Event

    from window import Balls

    gate = Event()
    _, widget = open_widget(disk().astype(np.float32), Balls(gate))
    stroke(qtbot, widget, (30, 30))
    qtbot.waitUntil(lambda: widget.work.asking.is_live)
    press(qtbot, widget, Qt.Key.Key_Q)
    assert "on its way" in widget.panel.status.text() and not widget.work.session.finished
    press(qtbot, widget, Qt.Key.Key_Q)  # as nothing has happened yet
    gate.set()
    qtbot.waitUntil(lambda: bool(widget.work.session.finished), timeout=20_000)
    threads_ended(qtbot)
    qtbot.wait(60)
    assert widget.work.session.finished[0].n_voxels > 100 and not refused


def test_cancel_ends_what_waits(open_widget, qtbot):
    from threading import Event

    from window import Balls

    gate = Event()
    _, widget = open_widget(disk().astype(np.float32), Balls(gate))
    stroke(qtbot, widget, (30, 30))
    qtbot.waitUntil(lambda: widget.work.asking.is_live)
    press(qtbot, widget, Qt.Key.Key_Q)
    widget.work.cancel()
    gate.set()
    threads_ended(qtbot)
    qtbot.wait(60)
    assert not widget.work.session.finished


def test_what_is_about_an_object_is_done_on_no_other_image(opened, qtbot):
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    widget.panel.objects.opened.emit(1)
    on(qtbot, widget, "cell1")
    qtbot.waitUntil(lambda: "Another image" in widget.panel.status.text())


def test_an_image_that_is_selected_while_a_file_is_written_is_turned_to_then(open_widget, qtbot, monkeypatch, tmp_path):
    viewer, widget = open_widget(disk().astype(np.float32))
    viewer.add_image(disk().astype(np.float32), name="B")
    viewer.layers.selection.active = viewer.layers["image"]
    finished(qtbot, widget)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "objects.tif"), ""))
    widget._files.save_objects()
    viewer.layers.selection.active = viewer.layers["B"]
    assert widget.work.image.name == "image"
    qtbot.waitUntil(lambda: widget.work.image.name == "B", timeout=20_000)
    assert widget.panel.images.currentText() == "B"


def test_a_long_stroke_on_the_way_is_drawn_to_its_end(opened, qtbot, refused):
    """All that was kept is done in one turn, in which napari looks at the mouse once."""
    viewer, widget = opened
    begun(viewer, widget, qtbot)
    canvas = canvas_of(viewer)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    corner, way = (10, 50), [(10, x) for x in range(10, 51, 4)] + [(y, 50) for y in range(14, 55, 4)]
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, way[0]))
    for at in way:
        QTest.mouseMove(canvas, place(viewer, at))
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, way[-1]))
    on(qtbot, widget, "cell1")
    qtbot.waitUntil(lambda: widget.work.session is not None and bool(widget.work.session.steps))
    strokes = widget.work.session.case.strokes
    assert all(strokes[at] == Marker.OBJECT for at in [*way, corner]), np.argwhere(strokes).tolist()
    assert not strokes[30, 20:40].any() and not refused
    assert [step.verb for step in widget.work.session.steps] == ["mark"], "it is one stroke"
