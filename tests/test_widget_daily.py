"""What the daily work stumbled over, each through the real widget."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QLineEdit

from napari_probseg.case import Marker
from napari_probseg.io import write
from napari_probseg.widgets.layers.image import bring_into_view
from napari_probseg.widgets.segment.brush_fit import WIDTH, BrushFit, camera_of, fitting
from window import Balls, click, disk, names, offer, stroke, threads_ended, turned


def test_it_follows_the_image_that_is_opened_or_selected(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    first = widget.work.image
    second = viewer.add_image(disk().astype(np.float32), name="second")
    assert widget.work.image is not first and widget.panel.images.currentText() == "second"
    stroke(qtbot, widget, (20, 20))
    viewer.layers.selection.active = viewer.layers["image"]
    assert widget.work.image is first and widget.panel.images.currentText() == "image"
    assert (widget.work.session.case.strokes[30, 30], widget.work.session.case.strokes[20, 20]) == (1, 0)
    other = next(layers for layers in widget.work.images if layers is not widget.work.layers)
    viewer.layers.selection.active = other.markers
    assert widget.work.image.name == second.name, "its layers are as good as the image"


def test_only_what_lies_over_the_image_at_work_is_seen(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    mine = widget.work.layers
    mine.objects.visible = False
    viewer.add_image(disk().astype(np.float32), name="second")
    stroke(qtbot, widget, (20, 20))
    assert not mine.markers.visible and widget.work.layers.markers.visible and widget.work.layers.objects.visible
    viewer.layers.selection.active = viewer.layers["image"]
    assert mine.markers.visible and not mine.objects.visible, "as the user left it"
    widget.release()
    assert all(layers.markers.visible for layers in widget.work.images), "they are ordinary layers again"


def test_what_is_said_of_an_image_that_is_removed_is_true(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    viewer.layers.clear()
    assert not widget.panel.status.text(), "nothing was done on it"
    for remove, end in ((lambda: viewer.layers.remove("image"), "in their layer."), (viewer.layers.clear, "again.")):
        viewer.add_image(np.random.default_rng(len(end)).random((64, 64)), name="image")
        qtbot.waitUntil(lambda: not widget.work.recovery.is_pending, timeout=20_000)
        stroke(qtbot, widget, (30, 30))
        click(qtbot, widget.panel.finish)
        remove()
        assert widget.panel.status.text().endswith(end)
        viewer.layers.clear()


@pytest.mark.parametrize("blending", ["translucent_no_depth", "opaque", "additive"])
def test_what_is_brushed_is_not_hidden_by_another_image(open_widget, qtbot, blending):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    widget.work.say("What there is to say.")
    viewer.add_image(disk().astype(np.float32), name="over", blending=blending)
    assert widget.work.image.name == "over" and not widget.panel.status.text(), "what was said is of the other"
    viewer.layers.selection.active = viewer.layers["image"]
    own = ["image", "objects of image", "markers of image", "preview"]
    assert names(viewer) == [*own, "over"], "selecting a layer moves none"
    click(qtbot, widget.panel.outside)
    assert names(viewer) == ([*own, "over"] if blending == "additive" else ["over", *own])


def test_the_image_that_is_chosen_is_seen_and_its_channels_with_it(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    for name in ("green", "over"):
        viewer.add_image(disk().astype(np.float32), name=name)
    image, green = viewer.layers["image"], viewer.layers["green"]
    widget.work.images.set_channels(getattr(image, "__wrapped__", image), [getattr(green, "__wrapped__", green)])
    widget.panel.images.setCurrentIndex(0)
    assert names(viewer) == ["over", "image", "green"]


def test_a_double_click_on_propose_is_one_propose(open_widget, qtbot):
    proposer = Balls()
    _, widget = open_widget(disk().astype(np.float32), proposer)
    stroke(qtbot, widget, (30, 30))
    button = widget.panel.propose
    qtbot.mousePress(button, Qt.MouseButton.LeftButton)
    qtbot.mouseRelease(button, Qt.MouseButton.LeftButton)
    qtbot.mouseDClick(button, Qt.MouseButton.LeftButton)
    qtbot.mouseRelease(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.work.candidates is not None)
    threads_ended(qtbot)
    assert len(proposer.asked) == 1


def test_keys_work_after_a_class_was_typed(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    widget.work.finish()
    viewer.window._qt_window.activateWindow()
    box = widget.panel.objects.kind
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert not box.hasFocus()


def test_what_a_dock_takes_room_from_fits_still_unless_it_was_moved(open_widget, qtbot):
    viewer, widget = open_widget()
    camera = camera_of(viewer.__wrapped__)
    camera.zoom = 1.0
    viewer.add_image(disk().astype(np.float32), name="first")
    fitted = camera.zoom
    camera.zoom = 2 * fitted  # as it would be on a larger canvas
    qtbot.waitUntil(lambda: camera.zoom == pytest.approx(fitted, rel=0.1), timeout=2000)
    camera.center, camera.zoom = (0, 10, 10), 2 * fitted
    widget._first_view.fit()
    qtbot.wait(100)
    assert camera.zoom == pytest.approx(2 * fitted)


def test_letting_go_leaves_no_brush_in_hand(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    markers = widget.work.layers.markers
    assert str(markers.mode) == "paint", "test invalid"
    widget.release()
    assert str(markers.mode) == "pan_zoom"


def test_dialogs_begin_beside_the_image(open_widget, qtbot, tmp_path, monkeypatch):
    path = tmp_path / "cell.tif"
    write(path, disk().astype(np.float32))
    viewer, widget = open_widget()
    viewer.open(str(path), plugin="napari")
    stroke(qtbot, widget, (30, 30))
    widget.work.finish()
    begun = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **_: (begun.append(a[2]), ("", ""))[1])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **_: (begun.append(a[2]), ("", ""))[1])
    widget._files.save_objects()
    widget._files.save_session()
    widget._files.open_session()
    assert begun[:2] == [str(tmp_path / "cell_objects.nii.gz"), str(tmp_path / "cell_session.npz")]
    assert begun[2] == str(tmp_path)


def test_a_small_screen_scrolls_what_it_does_not_hold(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    assert widget.minimumSizeHint().height() <= 500
    assert widget.panel.work.widget().minimumSizeHint().height() > widget.panel.work.minimumHeight()


def test_layers_are_called_after_their_image_and_renamed_with_it(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    assert names(viewer)[:3] == ["image", "objects of image", "markers of image"]
    viewer.layers["objects of image"].name = "mine"
    viewer.layers["image"].name = "cell.tif"
    assert "markers of cell.tif" in names(viewer) and "mine" in names(viewer)
    assert "markers of image" not in names(viewer)


@pytest.mark.parametrize(
    ("name", "value"),
    [("scale", (2.0, 0.5)), ("translate", (5, -3)), ("rotate", 30), ("affine", [[0, 2, 1], [1, 0.5, 0], [0, 0, 1]])],
)
def test_an_image_that_is_laid_elsewhere_takes_all_along(open_widget, qtbot, name, value):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    n_steps = len(widget.work.session.steps)
    image = viewer.layers["image"]
    setattr(image, name, value)
    for layer in ("markers of image", "objects of image", "preview"):
        for corner in ((0, 0), (7, 0), (3, 8)):
            assert np.allclose(image.data_to_world(corner), viewer.layers[layer].data_to_world(corner)), layer
    if name == "scale":
        assert widget.work.session.case.spacing == (2.0, 0.5) and widget.work.candidates is None
    assert len(widget.work.session.steps) == n_steps and widget.work.session.case.strokes[30, 30] == 1
    stroke(qtbot, widget, (20, 20))
    click(qtbot, widget.panel.undo)
    assert widget.work.session.case.strokes[20, 20] == 0


def test_a_click_that_frees_the_focus_does_not_paint(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    guard = viewer.mouse_drag_callbacks[0]

    def handled() -> bool:
        event = type("Event", (), {"handled": False})()
        guard(viewer, event)
        return event.handled

    assert not handled()
    for field in (widget.panel.objects.kind, widget.panel.objects.kind.lineEdit()):
        for reason, is_eaten in ((Qt.FocusReason.MouseFocusReason, True), (Qt.FocusReason.TabFocusReason, False)):
            QApplication.sendEvent(field, QFocusEvent(QEvent.Type.FocusOut, reason))
            assert handled() == is_eaten
            turned(qtbot)
            assert not handled(), "the next click paints"


def test_the_brush_fits_the_screen_until_its_size_is_chosen(open_widget, qtbot):
    assert fitting(1.0, (1, 1)) == WIDTH and fitting(0.1, (1, 1)) == 10 * WIDTH and fitting(1.0, (2, 0.5)) == 2 * WIDTH
    assert fitting(1e-9, (1, 1)) == 400 and fitting(100, (1, 1)) == 1
    viewer, widget = open_widget(disk().astype(np.float32))
    work = widget.work
    work.brush_fit = BrushFit(0)
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom = 2.0
    assert work.tools.brush_size == 7 and widget.panel.brush_size.value() == 7
    stroke(qtbot, widget, (30, 30))
    camera.zoom = 0.1
    assert work.layers.markers.brush_size == 140 == widget.panel.brush_size.value()
    work.layers.markers.brush_size = 20
    camera.zoom = 4.0
    assert work.tools.brush_size == 20, "it was chosen"


@pytest.mark.parametrize(("side", "stays"), [(64, True), (120, True), (300, False), (20, False)])
@pytest.mark.parametrize("setting", [0, 9])
def test_a_size_of_the_brush_is_chosen_for_images_of_about_that_size(open_widget, qtbot, side, stays, setting):
    viewer, widget = open_widget(disk().astype(np.float32))
    work = widget.work
    work.brush_fit = BrushFit(setting)
    click(qtbot, widget.panel.inside)
    work.layers.markers.brush_size = 3
    viewer.add_image(np.zeros((side, side), np.float32), name="next")
    fits = fitting(float(camera_of(viewer).zoom), (1, 1))
    assert fits != 3, "test invalid"
    assert work.tools.brush_size == widget.panel.brush_size.value() == (3 if stays else setting or fits)
    assert work.brush_fit.fits_screen == (not stays and not setting)
    click(qtbot, widget.panel.inside)
    assert work.layers.markers.brush_size == work.tools.brush_size


def test_the_brush_has_the_size_that_is_typed_beside_its_slider(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    number = widget.panel.brush_size.findChild(QLineEdit)
    number.setFocus()
    number.selectAll()
    qtbot.keyClicks(number, "21")
    qtbot.keyClick(number, Qt.Key.Key_Return)
    assert widget.work.tools.brush_size == 21 == widget.panel.brush_size.value()
    assert not number.hasFocus(), "keys are the verbs' again"


def test_sliders_change_what_was_accepted(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    session = widget.work.session
    candidates = Balls().propose(session.question(), 2)
    session.offer(candidates, session.ask("complete"), completion=object())
    widget.work._show()
    click(qtbot, widget.panel.accept)
    assert widget.panel.smoothness.isEnabled(), "what was accepted can be cut in another way"
    n_steps, before = len(session.steps), (session.case.partial == 1).sum()
    asked = session.accepted.candidates.case
    larger = Balls().propose(asked.mark(inside=disk(asked.shape, (30, 30))), 1)
    widget.work._recut(SimpleNamespace(candidates=larger, request=session.accepted.request, completion=object()))
    assert len(session.steps) == n_steps and session.steps[-1].verb == "accept"
    assert (session.case.partial == 1).sum() > before
    click(qtbot, widget.panel.undo)
    assert (session.case.partial == 1).sum() < before, "one step takes it back"
    click(qtbot, widget.panel.redo)
    stroke(qtbot, widget, (10, 50))
    assert session.accepted is None
    assert not widget.panel.smoothness.isEnabled(), "something was done since"


def test_the_place_that_is_gone_to_is_ringed_until_something_else_is_shown(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    preview = viewer.layers["preview"].data
    before = preview.copy()
    click(qtbot, widget.panel.most_uncertain)
    assert (preview == 4).any()
    widget.work.next()
    widget.work.previous()
    assert np.array_equal(preview, before)
    click(qtbot, widget.panel.most_uncertain)
    click(qtbot, widget.panel.accept)
    assert not (preview == 4).any()


@pytest.mark.parametrize(
    ("place", "moved"),
    [((50, 60), (0, 0)), ((0, 60), (0, 0)), ((97, 60), (22, 0)), ((160, 60), (85, 0)), ((50, 12), (0, -23))],
)
def test_the_canvas_moves_only_to_a_place_that_it_does_not_show(open_widget, qtbot, place, moved):
    viewer, widget = open_widget(np.zeros((200, 200), np.float32))
    click(qtbot, widget.panel.inside)
    markers, camera = widget.work.layers.markers, camera_of(viewer)
    markers.corner_pixels = np.array([[0, 10], [100, 110]])  # as napari notes when it draws the canvas
    camera.center = (0, 50, 60)
    bring_into_view(viewer, markers, place)
    assert tuple(camera.center)[-2:] == (50 + moved[0], 60 + moved[1])
    markers.corner_pixels = np.zeros((2, 2), int)  # nothing of it is shown
    bring_into_view(viewer, markers, place)
    assert tuple(camera.center)[-2:] == place


def test_channels_are_told_and_changed_while_one_works(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    assert not widget.panel.channels.isVisibleTo(widget.panel)
    viewer.add_image(disk().astype(np.float32) * 3, name="dapi")
    viewer.layers.selection.active = viewer.layers["image"]
    assert widget.panel.channels.text() == "1 of 2 ch" and widget.panel.channels.isVisibleTo(widget.panel)
    stroke(qtbot, widget, (30, 30))
    widget.panel.channels_menu.aboutToShow.emit()
    (action,) = widget.panel.channels_menu.actions()
    action.trigger()
    session = widget.work.session
    assert widget.panel.channels.text() == "2 of 2 ch" and session.case.n_channels == 2
    assert session.case.strokes[30, 30] == 1 and session.can_undo
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    widget.work.use_channels([])
    assert session.case.n_channels == 1 and (session.case.partial == 1).sum() > 9


def test_uncertainty_is_seen_on_bright_and_on_dark_images(open_widget, qtbot):
    viewer, widget = open_widget(np.full((64, 64, 3), 255, np.uint8), rgb=True)
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    widget.panel.uncertainty.setChecked(True)
    layer = viewer.layers["uncertainty"]
    clear, sure = layer.colormap.map(np.array([0.0, 1.0]))
    assert clear[3] == 0 and sure[3] == 1 and "translucent" in str(layer.blending)
    assert np.abs(sure[:3] - 1).max() > 0.5 and sure[:3].max() > 0.5, "neither white nor black"


def test_a_stroke_on_what_a_candidate_takes_back_counts(open_widget, qtbot):
    """It has the colour of what was accepted, of which napari would tell nothing."""
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    widget.work.accept(5)  # radius 16
    widget.work.set(brush_size=3)
    stroke(qtbot, widget, (30, 41), Marker.BACKGROUND)  # contradicts it: all that was accepted is evidence
    offer(qtbot, widget)
    markers, there = widget.work.layers.markers, (30, 19)
    assert widget.work.candidates.patches[0][there] != Marker.OBJECT, "test invalid"
    assert widget.work.session.case.partial[there] == Marker.OBJECT and markers.data[there] == Marker.UNKNOWN
    widget.work.next()
    widget.work.previous()
    stroke(qtbot, widget, there)
    assert widget.work.session.case.strokes[there] == Marker.OBJECT
    assert np.array_equal(markers.data, widget.work.session.case.partial), "nothing is on show: what is decided is"
    widget.work.undo()
    offer(qtbot, widget)
    widget.work.accept(5)
    assert np.array_equal(markers.data, widget.work.session.case.partial)
