"""A box around the object, drawn on the canvas with the mouse."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QRubberBand

from napari_probseg.case import Marker
from napari_probseg.widgets.messages import GIVEN_UP
from napari_probseg.widgets.segment.brush_fit import BrushFit, camera_of
from napari_probseg.widgets.segment.view_state import BOX_HINT
from window import LEFT, NONE, canvas_of, click, disk, drag, finished, laid_out, names, place, press, turned


@pytest.fixture
def shown(open_widget, qtbot):
    """Return a viewer and the widget, in a window that is shown."""
    viewer, widget = open_widget(disk().astype(np.float32))
    laid_out(qtbot, viewer)
    return viewer, widget


def framed(widget, low, high):
    """Return whether a box was taken: two pixels around it are background, and nothing is in it."""
    marks = widget.work.session.case.strokes
    frame = np.zeros(marks.shape, bool)
    frame[low - 2 : high + 3, low - 2 : high + 3] = True
    frame[low : high + 1, low : high + 1] = False
    return np.array_equal(marks == Marker.BACKGROUND, frame)


def test_a_box_is_drawn_with_the_mouse_and_adds_no_layer(shown, qtbot):
    viewer, widget = shown
    click(qtbot, widget.panel.inside)
    turned(qtbot)
    before, camera = names(viewer), getattr(viewer.__wrapped__, "scene", viewer.__wrapped__).camera
    center = tuple(camera.center)
    click(qtbot, widget.panel.box)
    assert widget.panel.box.isChecked() and names(viewer) == before
    canvas = canvas_of(viewer)
    QTest.mouseMove(canvas, place(viewer, (17, 17)))
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, (17, 17)))
    QTest.mouseMove(canvas, place(viewer, (30, 30)))
    qtbot.wait(20)
    QTest.mouseMove(canvas, place(viewer, (47, 47)))
    qtbot.wait(20)
    band = canvas.findChild(QRubberBand)
    assert band.isVisible()
    drawn = band.geometry()
    assert (drawn.topLeft() - place(viewer, (17, 17))).manhattanLength() <= 3
    assert (drawn.bottomRight() - place(viewer, (47, 47))).manhattanLength() <= 3
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, (47, 47)))
    qtbot.waitUntil(lambda: not widget.panel.box.isChecked())
    qtbot.waitUntil(lambda: canvas.findChild(QRubberBand) is None)
    assert tuple(camera.center) == center and names(viewer) == before
    assert framed(widget, 17, 47)
    active = viewer.layers.selection.active
    assert (active.name, str(active.mode), active.selected_label) == ("markers of image", "paint", 1)
    drag(viewer, (30, 30), (30, 34))
    qtbot.waitUntil(lambda: widget.work.session.case.strokes[30, 32] == Marker.OBJECT)


def test_a_box_is_one_step_and_nothing_is_brushed_where_the_button_is_let_go(shown, qtbot):
    viewer, widget = shown
    for _ in range(2):
        click(qtbot, widget.panel.box)
        drag(viewer, (17, 17), (47, 47))
        qtbot.wait(50)
        assert framed(widget, 17, 47) and len(widget.work.session.steps) == 1
        press(qtbot, widget, Qt.Key.Key_U)
        assert widget.panel.status.text() == "Took back: a box." and not widget.work.session.steps


def test_a_box_that_is_drawn_anew_takes_the_place_of_the_first(shown, qtbot):
    viewer, widget = shown
    for low, high in ((22, 40), (17, 47)):
        click(qtbot, widget.panel.box)
        drag(viewer, (low, low), (high, high))
        turned(qtbot)
    session = widget.work.session
    assert framed(widget, 17, 47) and np.array_equal(session.case.partial, session.case.strokes)
    assert np.array_equal(np.asarray(viewer.layers["markers of image"].data), session.case.strokes)
    press(qtbot, widget, Qt.Key.Key_U)
    assert framed(widget, 22, 40)
    qtbot.keyClick(canvas_of(viewer), Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert framed(widget, 17, 47)


def test_a_click_is_no_box_and_is_no_stroke(shown, qtbot):
    viewer, widget = shown
    click(qtbot, widget.panel.box)
    QTest.mouseClick(canvas_of(viewer), LEFT, NONE, place(viewer, (30, 30)))
    turned(qtbot)
    assert widget.panel.box.isChecked() and not widget.work.session.steps
    drag(viewer, (17, 17), (47, 47))
    qtbot.waitUntil(lambda: bool(widget.work.session.steps))
    assert framed(widget, 17, 47)


@pytest.mark.parametrize("how", ["click", "brush", "layer", "mode"])
def test_whatever_is_taken_up_instead_ends_it(shown, qtbot, how):
    viewer, widget = shown
    click(qtbot, widget.panel.box)
    if how == "click":
        click(qtbot, widget.panel.box)
    elif how == "brush":
        press(qtbot, widget, Qt.Key.Key_9)
    elif how == "layer":
        viewer.layers.selection.active = viewer.layers["image"]
    else:
        viewer.layers["markers of image"].mode = "erase"
    turned(qtbot)
    assert not widget.panel.box.isChecked() and "rectangle" not in widget.panel.status.text()
    drag(viewer, (17, 17), (47, 47))
    turned(qtbot)
    strokes = widget.work.session.case.strokes
    assert bool((strokes == Marker.BACKGROUND).any()) is (how == "brush") and not framed(widget, 17, 47)


def test_the_brush_that_follows_a_box_has_the_size_that_the_panel_tells(shown, qtbot):
    viewer, widget = shown
    size, work, canvas = widget.panel.brush_size, widget.work, canvas_of(viewer)
    work.brush_fit = BrushFit(0)
    camera_of(viewer).zoom *= 0.3
    click(qtbot, widget.panel.box)
    before = size.value()
    assert work.layers.markers.brush_size == before != 10 and widget.panel.gallery._hint.text() == BOX_HINT
    qtbot.keyClick(canvas, Qt.Key.Key_BracketRight)
    assert size.value() > before and widget.panel.box.isChecked()
    chosen = size.value()
    drag(viewer, (17, 17), (47, 47))
    qtbot.waitUntil(lambda: bool(work.session.steps))
    assert viewer.cursor.size == work.layers.markers.brush_size == size.value() == chosen
    qtbot.keyClick(canvas, Qt.Key.Key_BracketLeft)
    assert size.value() < chosen


@pytest.mark.parametrize("where", ["canvas", "panel"])
@pytest.mark.parametrize("tool", ["box", "pick"])
def test_escape_gives_up_what_waits_for_the_mouse(shown, qtbot, tool, where):
    viewer, widget = shown
    finished(qtbot, widget)
    button, other = widget.panel.box, widget.panel.pick
    if tool == "pick":
        button, other = other, button
    click(qtbot, other)
    click(qtbot, button)
    turned(qtbot)
    assert button.isChecked() and not other.isChecked() and widget.panel.cancel.isEnabled()
    n_steps = len(widget.work.session.steps)
    qtbot.keyClick(canvas_of(viewer) if where == "canvas" else widget.panel, Qt.Key.Key_Escape)
    turned(qtbot)
    assert not button.isChecked() and not widget.panel.cancel.isEnabled()
    assert widget.panel.status.text() == GIVEN_UP
    click(qtbot, button)
    press(qtbot, widget, Qt.Key.Key_9)
    turned(qtbot)
    assert not button.isChecked() and widget.panel.outside.isChecked()
    QTest.mouseClick(canvas_of(viewer), LEFT, NONE, place(viewer, (30, 30)))
    turned(qtbot)
    assert len(widget.work.session.finished) == 1 and len(widget.work.session.steps) == n_steps


def test_an_object_is_picked_on_the_image_that_is_at_work(shown, qtbot):
    viewer, widget = shown
    finished(qtbot, widget)
    click(qtbot, widget.panel.pick)
    viewer.add_image(disk().astype(np.float32), name="next")
    turned(qtbot)
    assert widget.work.image.name == "next" and not widget.panel.pick.isChecked()
    assert "Click a finished object" not in widget.panel.status.text()


def test_a_box_outside_of_the_image_is_refused(shown, qtbot):
    viewer, widget = shown
    getattr(viewer.__wrapped__, "scene", viewer.__wrapped__).camera.zoom /= 4
    click(qtbot, widget.panel.box)
    drag(viewer, (100, 100), (120, 120))
    qtbot.waitUntil(lambda: not widget.panel.box.isChecked())
    assert "outside of the image" in widget.panel.status.text()
    assert not widget.work.session.steps


def test_in_depth_no_box_can_be_drawn(open_widget, qtbot):
    viewer, widget = open_widget(np.zeros((8, 16, 16), np.float32))
    viewer.dims.ndisplay = 3
    click(qtbot, widget.panel.box)
    assert "2-D first" in widget.panel.status.text() and not widget.panel.box.isChecked()


def test_on_a_slice_of_a_volume_it_lies_on_that_slice(open_widget, qtbot):
    viewer, widget = open_widget(np.zeros((9, 64, 64), np.float32), scale=(2, 1, 1))
    viewer.dims.set_current_step(0, 3)
    laid_out(qtbot, viewer)
    click(qtbot, widget.panel.box)
    drag(viewer, (17, 17), (47, 47))
    qtbot.waitUntil(lambda: bool(widget.work.session.steps))
    marked = widget.work.session.case.strokes == Marker.BACKGROUND
    assert marked[3].any() and marked.sum() == marked[3].sum()


def test_a_widget_that_is_closed_waits_for_no_box(shown, qtbot):
    viewer, widget = shown
    click(qtbot, widget.panel.box)
    n_callbacks = len(viewer.mouse_drag_callbacks)
    viewer.window.remove_dock_widget(widget)
    turned(qtbot)
    assert len(viewer.mouse_drag_callbacks) < n_callbacks
    drag(viewer, (17, 17), (47, 47))
    turned(qtbot)


def test_a_box_of_which_little_lies_in_the_image_asks_for_a_stroke_inside(shown):
    _, widget = shown
    widget.work.mark_box(np.array([[-5, -5], [80, 80]]))
    assert "whole image: brush a little inside" in widget.panel.status.text() and not widget.work.session.steps
    widget.work.mark_box(np.array([[-5, -5], [40, 80]]))
    assert "brush a little inside the object, too" in widget.panel.status.text()
    assert len(widget.work.session.steps) == 1
