"""Strokes in the midst of something: an answer that comes, a refinement that runs, napari's encircling."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_probseg.case import Marker
from napari_probseg.session.refinement import Refinement
from napari_probseg.widgets.layers.encircling import IS_KNOWN
from window import (
    LEFT,
    NONE,
    canvas_of,
    disk,
    laid_out,
    offer,
    place,
    press,
    stroke,
    threads_ended,
    turned,
)

RIGHT = Qt.MouseButton.RightButton


@pytest.fixture
def shown(open_widget, qtbot):
    """Return a viewer and the widget, in a window that is shown, with a brush in hand."""
    viewer, widget = open_widget(disk().astype(np.float32))
    laid_out(qtbot, viewer)
    widget.work.set(brush_size=3)
    press(qtbot, widget, Qt.Key.Key_8)
    turned(qtbot)
    return viewer, widget


def brushed(qtbot, viewer, start, end):
    """Draw a line of some pixels with the mouse, slowly enough that napari sees it move."""
    canvas = canvas_of(viewer)
    QTest.mouseMove(canvas, place(viewer, start))
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, start))
    for at in np.linspace(start, end, 5)[1:]:
        QTest.mouseMove(canvas, place(viewer, at))
        qtbot.wait(15)
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, end))


def test_keys_change_the_brush_whatever_layer_is_active(shown, qtbot):
    viewer, widget = shown
    viewer.layers.selection.active = viewer.layers["image"]
    qtbot.keyClick(canvas_of(viewer), Qt.Key.Key_BracketRight)
    assert widget.panel.brush_size.value() == 4
    for _ in range(5):
        qtbot.keyClick(canvas_of(viewer), Qt.Key.Key_BracketLeft)
    assert widget.panel.brush_size.value() == widget.work.layers.markers.brush_size == 1


def test_a_label_that_is_no_marker_is_told_of(shown, qtbot):
    viewer, widget = shown
    widget.work.layers.markers.selected_label = 3  # as napari's key M does
    brushed(qtbot, viewer, (20, 20), (20, 26))
    qtbot.waitUntil(lambda: "take up a brush" in widget.panel.status.text())
    assert not widget.work.session.steps and not widget.work.layers.markers.data.any()


def test_it_is_told_where_no_stroke_would_be_drawn_over_the_image(open_widget, qtbot):
    viewer, widget = open_widget(disk((8, 32, 32), (4, 16, 16)).astype(np.float32))
    told = {}
    for name, change in {"": {}, "depth": {"ndisplay": 3}, "grid": {"ndisplay": 2}}.items():
        viewer.dims.update(change)
        getattr(viewer, "canvas", viewer).grid.enabled = name == "grid"
        press(qtbot, widget, Qt.Key.Key_8)
        turned(qtbot)
        told[name] = widget.panel.status.text()
    getattr(viewer, "canvas", viewer).grid.enabled = False
    assert not told[""] and "back to 2-D" in told["depth"] and "grid off" in told["grid"]


def hurled(viewer, start, middle, end):
    """Draw with the mouse through three pixels, and let the button go before napari looks at it again."""
    canvas = canvas_of(viewer)
    QTest.mouseMove(canvas, place(viewer, start))
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, start))
    for at in (middle, end):
        there = QPointF(place(viewer, at))
        moved = QMouseEvent(QEvent.Type.MouseMove, there, QPointF(canvas.mapToGlobal(there)), LEFT, LEFT, NONE)
        QApplication.sendEvent(canvas, moved)
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, end))


def agrees(widget):
    """Return whether the markers that are seen are those of the session."""
    return np.array_equal(widget.work.layers.markers.data, widget.work.session.case.partial)


def test_a_stroke_reaches_to_where_the_button_is_let_go(shown, qtbot):
    viewer, widget = shown
    hurled(viewer, (20, 20), (20, 24), (26, 40))
    qtbot.waitUntil(lambda: widget.work.session is not None and len(widget.work.session.steps) == 1)
    strokes = widget.work.session.case.strokes
    assert all(strokes[at] == Marker.OBJECT for at in ((20, 20), (20, 24), (23, 32), (26, 40))) and agrees(widget)
    assert not strokes[30, 40] and not strokes[20, 32], "and no farther"
    press(qtbot, widget, Qt.Key.Key_0)
    hurled(viewer, (26, 40), (25, 37), (20, 24))
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == 2)
    strokes = widget.work.session.case.strokes
    assert not strokes[20, 24] and not strokes[26, 40] and strokes[20, 20] == Marker.OBJECT and agrees(widget)
    press(qtbot, widget, Qt.Key.Key_9)
    hurled(viewer, (50, 10), (50, 12), (90, 20))
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == 3)
    assert (widget.work.session.case.strokes[63] == Marker.BACKGROUND).any(), "also to the border of the image"


def test_an_answer_that_takes_something_back_leaves_the_stroke_that_is_being_drawn(shown, qtbot):
    viewer, widget = shown
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    widget.work.accept(5)  # radius 16
    stroke(qtbot, widget, (30, 41), Marker.BACKGROUND)  # contradicts it: all that was accepted is evidence
    canvas = canvas_of(viewer)
    QTest.mouseMove(canvas, place(viewer, (20, 20)))
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, (20, 20)))
    for column in (25, 30):  # napari looks at the mouse once in a few ms
        QTest.mouseMove(canvas, place(viewer, (20, column)))
        qtbot.wait(20)
    markers = widget.work.layers.markers
    assert widget.work.layers.is_drawing and (markers.data[20, 21:29] == Marker.BACKGROUND).all()
    n_steps, session = len(widget.work.session.steps), widget.work.session
    layers, taken = widget.work.layers, np.zeros(session.case.shape, bool)
    taken[15:35, 15:35] = session.case.partial[15:35, 15:35] == Marker.OBJECT
    layers.leave_open(((slice(0, 64), slice(0, 64)), taken))  # as a candidate on show does
    assert (markers.data[20, 21:29] == Marker.BACKGROUND).all(), "the stroke stays"
    assert markers.data[25, 25] == Marker.UNKNOWN, "test invalid"
    layers.leave_open(None)
    assert (markers.data[20, 21:29] == Marker.BACKGROUND).all() and markers.data[25, 25] == Marker.OBJECT
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, (20, 30)))
    qtbot.waitUntil(lambda: len(session.steps) > n_steps)
    assert (session.case.strokes[20, 21:29] == Marker.BACKGROUND).all() and agrees(widget)


def test_a_stroke_while_the_object_is_refined_stays_and_is_refined_too(shown, qtbot, monkeypatch):
    viewer, widget = shown
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    widget.work.accept(5)
    gate, plain, n_asked = threading.Event(), Refinement.changes, []

    def slow(self, *args):
        n_asked.append(None)
        assert gate.wait(20)
        return plain(self, *args)

    monkeypatch.setattr(Refinement, "changes", slow)
    widget.work.refine("smooth")
    qtbot.waitUntil(lambda: bool(n_asked))
    brushed(qtbot, viewer, (30, 44), (30, 54))  # on from the object's rim
    gate.set()
    qtbot.waitUntil(lambda: widget.work.session.steps[-1].verb == "refine", timeout=20_000)
    threads_ended(qtbot)
    session = widget.work.session
    assert [step.verb for step in session.steps][-2:] == ["mark", "refine"] and len(n_asked) == 2
    assert (session.case.strokes[30, 47:53] == Marker.OBJECT).all()
    assert (session.case.partial[30, 45:53] == Marker.OBJECT).all() and agrees(widget)
    widget.work.undo()
    widget.work.undo()
    assert not session.case.strokes[30, 47:53].any() and agrees(widget)


def encircle(qtbot, viewer, *, upto):
    """Click with the right button beside the middle and go around it without a button, as far as an angle."""
    canvas = canvas_of(viewer)
    way = [(30 + 12 * np.sin(t), 30 + 12 * np.cos(t)) for t in np.linspace(0, upto, 30)]
    QTest.mouseMove(canvas, place(viewer, way[0]))
    QTest.mouseClick(canvas, RIGHT, NONE, place(viewer, way[0]))
    for at in way:
        QTest.mouseMove(canvas, place(viewer, at))
        qtbot.wait(8)


@pytest.mark.skipif(not IS_KNOWN, reason="this napari cannot encircle")
class TestEncircling:
    def test_what_is_encircled_is_a_stroke(self, shown, qtbot):
        viewer, widget = shown
        encircle(qtbot, viewer, upto=1)
        assert "encircle" in widget.panel.status.text()
        press(qtbot, widget, Qt.Key.Key_U)  # gives up what was drawn by now: it is the latest stroke
        turned(qtbot)
        assert not widget.work.session.case.strokes.any() and agrees(widget)
        encircle(qtbot, viewer, upto=2 * np.pi)
        qtbot.waitUntil(lambda: len(widget.work.session.steps) == 1)
        strokes = widget.work.session.case.strokes
        assert strokes[30, 30] == Marker.OBJECT and (strokes == Marker.OBJECT).sum() > 350 and agrees(widget)
        assert not widget.work.layers.is_encircling

    def test_escape_gives_it_up(self, shown, qtbot):
        viewer, widget = shown
        encircle(qtbot, viewer, upto=3)
        assert widget.work.layers.markers.data.any()
        QTest.keyClick(canvas_of(viewer), Qt.Key.Key_Escape)
        turned(qtbot)
        assert not widget.work.layers.markers.data.any() and not widget.work.session.steps
        assert "Given up" in widget.panel.status.text()
        brushed(qtbot, viewer, (20, 20), (20, 26))
        qtbot.waitUntil(lambda: widget.work.session.case.strokes[20, 23] == Marker.OBJECT)

    @pytest.mark.parametrize("key", [Qt.Key.Key_9, Qt.Key.Key_0, Qt.Key.Key_G, Qt.Key.Key_Q])
    def test_a_verb_takes_in_what_was_drawn_and_ends_it(self, shown, qtbot, key):
        viewer, widget = shown
        stroke(qtbot, widget, (30, 30))
        encircle(qtbot, viewer, upto=3)
        press(qtbot, widget, key)
        threads_ended(qtbot)
        session = widget.work.session
        assert [step.verb for step in session.steps][:2] == ["mark", "mark"]
        assert not widget.work.layers.is_encircling
        before = widget.work.layers.markers.data.copy()
        QTest.mouseMove(canvas_of(viewer), place(viewer, (55, 55)))
        qtbot.wait(30)
        assert np.array_equal(widget.work.layers.markers.data, before), "it does not go on"
        finished = session.objects > 0
        assert finished.any() if key == Qt.Key.Key_Q else (session.case.strokes == Marker.OBJECT).sum() > 60

    def test_it_is_not_begun_with_the_eraser_nor_with_the_left_button(self, shown, qtbot):
        viewer, widget = shown
        brushed(qtbot, viewer, (20, 20), (20, 26))
        assert not widget.work.layers.is_encircling
        press(qtbot, widget, Qt.Key.Key_0)
        QTest.mouseClick(canvas_of(viewer), RIGHT, NONE, place(viewer, (40, 40)))
        assert not widget.work.layers.is_encircling
