"""The Segment widget, used as a person uses it: clicks, keys, strokes."""

from __future__ import annotations

import gc
import logging
import threading
import weakref

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image
from qtpy.QtCore import Qt

from napari_probseg import Marker
from napari_probseg.widgets.segment.widget import SegmentWidget
from window import Balls, click, dice, disk, names, offer, press, stroke, threads_ended, turned


def test_the_main_job_is_a_few_clicks(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    assert dice(disk(), disk(middle=(30, 45))) < 0.5, "test invalid"
    stroke(qtbot, widget, (30, 30))
    stroke(qtbot, widget, (55, 55), Marker.BACKGROUND)
    offer(qtbot, widget)
    assert len(widget.panel.gallery.cells) == 6
    click(qtbot, widget.panel.gallery.cells[3])
    click(qtbot, widget.panel.finish)
    objects = viewer.layers["objects of image"]
    assert dice(objects.data == 1, disk()) > 0.99
    assert not objects.editable
    assert not viewer.layers["markers of image"].data.any(), "the next object starts empty"
    assert not viewer.layers["preview"].data.any()


def test_a_wrong_candidate_is_taken_back_and_all_of_them_are_in_the_gallery_again(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    offered = widget.work.candidates
    click(qtbot, widget.panel.gallery.cells[5])
    assert not widget.panel.accept.isEnabled()
    click(qtbot, widget.panel.undo)
    assert widget.work.candidates is offered and viewer.layers["preview"].data.any()
    click(qtbot, widget.panel.gallery.cells[3])
    click(qtbot, widget.panel.finish)
    assert dice(viewer.layers["objects of image"].data == 1, disk()) > 0.99


def test_an_object_of_strokes_alone_is_told_of_as_it_is_finished(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.finish)
    assert "your strokes alone" in widget.panel.status.text() and "Complete" in widget.panel.status.text()
    click(qtbot, widget.panel.undo)
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    assert "strokes alone" not in widget.panel.status.text()


def test_every_step_is_undone_and_done_again(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    markers, objects, work = viewer.layers["markers of image"], viewer.layers["objects of image"], widget.work
    seen = [(markers.data.copy(), objects.data.copy())]
    offer(qtbot, widget)
    for verb in (widget.panel.accept, widget.panel.finish):
        click(qtbot, verb)
        seen.append((markers.data.copy(), objects.data.copy()))
    for shown, finished in reversed(seen):
        assert np.array_equal(markers.data, shown) and np.array_equal(objects.data, finished)
        click(qtbot, widget.panel.undo)
    assert not markers.data.any() and not objects.data.any() and not work.session.can_undo
    for shown, finished in seen:
        click(qtbot, widget.panel.redo)
        assert np.array_equal(markers.data, shown) and np.array_equal(objects.data, finished)


def test_ctrl_z_on_the_layer_is_the_sessions_undo(open_widget, qtbot):
    """napari's own history would write the pixels of the stroke into what was accepted since."""
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    brushed = viewer.layers["markers of image"].data.copy()
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    accepted = viewer.layers["markers of image"].data.copy()
    assert not np.array_equal(brushed, accepted), "test invalid"
    viewer.layers.selection.active = viewer.layers["markers of image"]
    control = Qt.KeyboardModifier.ControlModifier
    press(qtbot, widget, Qt.Key.Key_Z, control)
    assert np.array_equal(viewer.layers["markers of image"].data, brushed)
    press(qtbot, widget, Qt.Key.Key_Z, control | Qt.KeyboardModifier.ShiftModifier)
    assert np.array_equal(viewer.layers["markers of image"].data, accepted)
    press(qtbot, widget, Qt.Key.Key_Z, control)
    press(qtbot, widget, Qt.Key.Key_Z, control)
    assert not viewer.layers["markers of image"].data.any()


def test_keys_do_what_the_buttons_do(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    press(qtbot, widget, Qt.Key.Key_8)
    viewer.layers["markers of image"].paint((30, 30), 1)
    press(qtbot, widget, Qt.Key.Key_G)
    qtbot.waitUntil(lambda: widget.work.candidates is not None, timeout=20_000)
    press(qtbot, widget, Qt.Key.Key_J)
    press(qtbot, widget, Qt.Key.Key_J)
    press(qtbot, widget, Qt.Key.Key_H)
    assert widget.work.view.current == 1
    expected = widget.work.candidates.partial[1].copy()
    press(qtbot, widget, Qt.Key.Key_K)
    assert np.array_equal(viewer.layers["markers of image"].data, expected)
    press(qtbot, widget, Qt.Key.Key_U)
    press(qtbot, widget, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert np.array_equal(viewer.layers["markers of image"].data, expected)
    press(qtbot, widget, Qt.Key.Key_Q)
    assert viewer.layers["objects of image"].data.max() == 1


def test_hovering_shows_a_candidate_and_leaves_no_trace(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    n_steps = len(widget.work.session.steps)
    offer(qtbot, widget)
    first = viewer.layers["preview"].data.copy()
    widget.panel.gallery.cells[4].entered.emit(4)
    hovered = viewer.layers["preview"].data.copy()
    assert np.count_nonzero(hovered) > np.count_nonzero(first) > 0
    widget.panel.gallery.cells[4].gone.emit()
    assert np.array_equal(viewer.layers["preview"].data, first)
    assert viewer.layers.selection.active == viewer.layers["markers of image"], "the brush stays in hand"
    stroke(qtbot, widget, (40, 40))
    preview = viewer.layers["preview"]
    assert not preview.data.any()
    assert len(widget.work.session.steps) == n_steps + 1


def test_none_of_these_asks_with_another_seed(open_widget, qtbot):
    proposer = Balls()
    _, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    first = widget.work.candidates
    click(qtbot, widget.panel.none)
    qtbot.waitUntil(lambda: widget.work.candidates not in (None, first), timeout=20_000)
    assert len({seed for _, seed, _ in proposer.asked}) == 2


def test_proposing_leaves_the_main_thread_free(open_widget, qtbot):
    proposer = Balls(threading.Event())
    _, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    assert proposer.threads[0] is not threading.main_thread()
    assert widget.panel.cancel.isEnabled() and not widget.panel.propose.isEnabled()
    proposer.gate.set()
    qtbot.waitUntil(lambda: widget.work.candidates is not None)
    assert not widget.panel.cancel.isEnabled()


def test_cancel_leaves_everything_as_it_was(open_widget, qtbot):
    proposer = Balls(threading.Event())
    viewer, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    before, layers = widget.work.session.case, names(viewer)
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    click(qtbot, widget.panel.cancel)
    proposer.gate.set()
    threads_ended(qtbot)
    assert widget.work.candidates is None and widget.work.session.case is before and names(viewer) == layers


def test_a_stroke_during_the_drawing_wins(open_widget, qtbot):
    proposer = Balls(threading.Event())
    _, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    stroke(qtbot, widget, (50, 50), Marker.BACKGROUND)
    proposer.gate.set()
    threads_ended(qtbot)
    assert widget.work.candidates is None
    offer(qtbot, widget)


def test_the_image_may_go_while_candidates_are_drawn(open_widget, qtbot):
    proposer = Balls(threading.Event())
    viewer, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    viewer.layers.remove("image")
    proposer.gate.set()
    threads_ended(qtbot)
    assert names(viewer) == ["objects of image", "markers of image"]
    assert widget.work.image is None and not widget.panel.empty.isHidden()


def test_layers_that_were_removed_come_back_with_the_work(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    brushed = viewer.layers["markers of image"].data.copy()
    viewer.layers.remove("markers of image")
    viewer.layers.remove("objects of image")
    assert "nothing is lost" in widget.panel.status.text()
    stroke(qtbot, widget, (50, 50))
    assert viewer.layers["markers of image"].data[brushed == 1].all()


def test_finished_objects_cannot_be_painted_over(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    finished = viewer.layers["objects of image"].data.copy()
    click(qtbot, widget.panel.inside)
    viewer.layers["markers of image"].paint((30, 30), 1)
    qtbot.waitUntil(lambda: "reopen one" in widget.panel.status.text())
    assert np.array_equal(viewer.layers["objects of image"].data, finished)
    assert not viewer.layers["markers of image"].data[finished > 0].any()


def test_a_finished_object_is_reopened_by_number_and_by_click(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    accepted = viewer.layers["markers of image"].data.copy()
    click(qtbot, widget.panel.finish)
    click(qtbot, widget.panel.reopen)
    assert not viewer.layers["objects of image"].data.any()
    assert np.array_equal(viewer.layers["markers of image"].data == 1, accepted == 1)
    click(qtbot, widget.panel.finish)
    click(qtbot, widget.panel.pick)
    callback = viewer.mouse_drag_callbacks[-1]
    callback(viewer, type("Event", (), {"position": (30.0, 30.0)})())
    assert not viewer.layers["objects of image"].data.any() and not widget.panel.pick.isChecked()


def test_objects_are_taken_from_another_layer(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    viewer.add_labels(disk().astype(int) * 7, name="elsewhere")
    widget.panel.menu.aboutToShow.emit()
    taking = next(action.menu() for action in widget.panel.menu.actions() if action.text() == "Take objects from layer")
    assert [action.text() for action in taking.actions()] == ["elsewhere"]
    taking.triggered.emit(taking.actions()[0])
    assert np.array_equal(viewer.layers["objects of image"].data > 0, disk())


def test_uncertainty_is_a_layer_and_a_place_to_go_to(open_widget, qtbot):
    viewer, widget = open_widget(disk((20, 64, 64), (10, 30, 30)).astype(np.float32), scale=(2, 1, 1))
    viewer.dims.set_point(0, 20)
    stroke(qtbot, widget, (10, 30, 30))
    offer(qtbot, widget)
    widget.panel.uncertainty.click()
    layer = viewer.layers["uncertainty"]
    assert layer.data.max() > 0.5 and not layer.data[:10].any()
    viewer.dims.set_point(0, 0)
    click(qtbot, widget.panel.most_uncertain)
    assert viewer.dims.point[0] == 20
    _, y, x = getattr(viewer, "scene", viewer).camera.center
    assert layer.data[10, round(y), round(x)] == layer.data.max()
    widget.panel.uncertainty.click()
    assert "uncertainty" not in names(viewer)


def test_an_error_becomes_one_sentence_and_changes_nothing(open_widget, qtbot, caplog):
    viewer, widget = open_widget(disk().astype(np.float32))
    caplog.set_level(logging.INFO, logger="napari_probseg")
    stroke(qtbot, widget, (50, 50), Marker.BACKGROUND)
    before = viewer.layers["markers of image"].data.copy()
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(widget.panel.status.property("error")))
    assert widget.panel.status.text() == "There is no stroke inside: brush inside the object first."
    assert np.array_equal(viewer.layers["markers of image"].data, before)
    assert "refused" in caplog.text, "a log that is asked for has it"
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING], "the console has no traceback"


def test_without_an_image_a_sample_is_offered(open_widget, qtbot):
    viewer, widget = open_widget()
    assert not widget.panel.empty.isHidden() and widget.panel.work.isHidden()
    click(qtbot, widget.panel.empty.sample)
    assert widget.panel.empty.isHidden() and not widget.panel.work.isHidden()
    assert isinstance(viewer.layers[0], Image)


def test_each_image_keeps_its_own_work(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    brushed, first = viewer.layers["markers of image"].data.copy(), widget.work.session
    viewer.add_image(np.zeros((32, 32), np.float32), name="other")
    widget.panel.images.setCurrentIndex(1)
    stroke(qtbot, widget, (5, 5))
    assert widget.work.session is not first
    widget.panel.images.setCurrentIndex(0)
    assert widget.work.session is first and np.array_equal(viewer.layers["markers of image"].data, brushed)


def test_two_viewers_do_not_meet(open_widget, qtbot):
    (one, left), (two, right) = open_widget(disk().astype(np.float32)), open_widget(disk().astype(np.float32))
    stroke(qtbot, left, (30, 30))
    assert right.work.session is None and names(two) == ["image"]
    offer(qtbot, left)
    assert right.work.candidates is None and "preview" in names(one)


def test_a_closed_widget_is_released(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(disk().astype(np.float32), name="image")
    widget = SegmentWidget(viewer, Balls())
    viewer.window.add_dock_widget(widget, name="Segment")
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    gone, work = weakref.ref(widget), weakref.ref(widget.work)
    viewer.window.remove_dock_widget(widget)
    assert names(viewer) == ["image", "objects of image", "markers of image"], "the work stays in ordinary layers"
    assert viewer.layers["objects of image"].editable
    del widget
    turned(qtbot)
    gc.collect()
    assert gone() is None and work() is None
    viewer.bind_key("G", lambda _: None)  # raises if the key is still taken


def test_a_viewer_may_close_while_candidates_are_drawn(make_napari_viewer_proxy, qtbot):
    proposer = Balls(threading.Event())
    viewer = make_napari_viewer_proxy()
    viewer.add_image(disk().astype(np.float32), name="image")
    widget = SegmentWidget(viewer, proposer)
    viewer.window.add_dock_widget(widget, name="Segment")
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    viewer.close()
    proposer.gate.set()
    threads_ended(qtbot)


@pytest.mark.parametrize(("button", "says"), [("undo", "Took back: a stroke."), ("finish", "Object 1 is finished")])
def test_a_question_that_is_given_up_for_another_step_is_told(open_widget, qtbot, button, says):
    proposer = Balls(threading.Event())
    _, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    click(qtbot, getattr(widget.panel, button))
    told = widget.panel.status.text()
    assert told.startswith(says) and told.endswith("“Propose” was given up: ask again.")
    click(qtbot, widget.panel.redo if button == "undo" else widget.panel.undo)
    assert "given up" not in widget.panel.status.text()
    proposer.gate.set()


@pytest.mark.parametrize("tool", ["paint", "fill", "polygon", "data"])
def test_strokes_of_every_tool_reach_the_session(open_widget, qtbot, tool):
    _, widget = open_widget(disk().astype(np.float32))
    click(qtbot, widget.panel.inside)
    markers = widget.work.layers.markers
    {
        "paint": lambda: markers.paint((30, 30), 1),
        "fill": lambda: markers.fill((30, 30), 1),
        "polygon": lambda: markers.paint_polygon([(10, 10), (10, 20), (20, 20)], 1),
        "data": lambda: markers.data_setitem((np.array([3, 4]), np.array([5, 6])), 1),
    }[tool]()
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == 1)
    assert np.array_equal(widget.work.session.case.partial == 1, markers.data == 1) and markers.data.any()
    assert np.array_equal(widget.work.session.case.strokes == 1, markers.data == 1)


def test_a_drag_of_the_mouse_is_one_step(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    click(qtbot, widget.panel.inside)
    markers = widget.work.layers.markers
    with markers.block_history():
        for x in range(20, 40):
            markers.paint((30, x), 1)
            turned(qtbot)
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == 1)
    turned(qtbot)
    assert len(widget.work.session.steps) == 1
