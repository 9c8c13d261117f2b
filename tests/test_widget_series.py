"""Hundreds of images: Finish image, and back to an earlier one; objects are refined, with real clicks and keys."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.layers import Image
from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.case import Marker
from napari_probseg.napari_io.layer_data import read_layers
from napari_probseg.widgets.layers.source import add_read, source_of
from window import back, click, disk, finished, forward, on, press, stroke, turned

SHIFT = Qt.KeyboardModifier.ShiftModifier


# Finish image -----------------------------------------------------------------------------------------------------


def test_one_key_saves_the_objects_and_opens_the_next_image(opened, qtbot, folder):
    viewer, widget = opened
    viewer.layers["cell0"].colormap = "green"
    viewer.layers["cell0"].contrast_limits = (0, 3)
    widget.work.set(brush_size=7, kind="cell")
    stroke(qtbot, widget, (30, 30))
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    saved = ps.read(folder / "cell0_objects.tif").data
    assert set(np.unique(saved)) == {0, 1} and "cell" in (folder / "cell0_objects.csv").read_text()
    image = widget.work.image
    assert source_of(image) == folder / "cell1.tif"
    assert image.colormap.name == "green" and tuple(image.contrast_limits) == (0, 3)
    markers = widget.work.layers.markers
    assert (markers.mode, markers.selected_label, markers.brush_size) == ("paint", 1, 7), "the brush is in hand"
    assert not [layer for layer in viewer.layers if "cell0" in layer.name], "what is finished is put away"
    assert "Image 2 of 3" in widget.panel.status.text()
    assert widget.panel.progress_text.text().startswith("1 of 3 images · 1 object")


def test_the_next_image_begins_with_the_sizes_of_what_was_finished(opened, qtbot):
    viewer, widget = opened
    finished(qtbot, widget)
    sizes = widget.work.session.sizes()
    assert len(sizes) == 1
    for name in ("cell1", "cell2"):  # where nothing is finished they are those of the image before
        press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
        on(qtbot, widget, name)
        stroke(qtbot, widget, (10, 50))
        assert widget.work.session.question().sizes == pytest.approx(sizes)
        press(qtbot, widget, Qt.Key.Key_U)
    viewer.add_image(np.random.default_rng(0).random((4, 30, 30)), name="volume")
    stroke(qtbot, widget, (1, 10, 10))
    assert widget.work.session.case.ndim == 3 and not widget.work.session.question().sizes


def test_contrast_that_nobody_changed_is_that_of_each_image(opened, qtbot):
    _, widget = opened
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    assert widget.work.image.contrast_limits[1] == 2


def test_after_the_last_image_it_says_so_and_stays(opened, qtbot):
    _, widget = opened
    for name in ("cell1", "cell2"):
        finished(qtbot, widget)
        press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
        on(qtbot, widget, name)
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    qtbot.waitUntil(lambda: "All 3 images" in widget.panel.status.text(), timeout=20_000)
    assert widget.work.image.name == "cell2" and not widget.work.session.has_unsaved_objects


def test_back_to_an_earlier_image_everything_is_as_it_was_left(opened, qtbot, folder):
    _, widget = opened
    stroke(qtbot, widget, (30, 30))
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    click(qtbot, widget.panel.image_before)
    on(qtbot, widget, "cell0")
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert widget.panel.objects.rows.model().rowCount() == 1 and widget.work.session.can_undo
    finished(qtbot, widget, (10, 50))
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    qtbot.waitUntil(lambda: widget.work.image.name in ("cell1", "cell2") and not widget.work.is_held, timeout=20_000)
    assert ps.read(folder / "cell0_objects.tif").data.max() == 2
    assert not list(folder.glob("*_before_*")), "it is the same work"


def test_of_a_file_that_is_open_twice_the_objects_of_both_are_kept(opened, qtbot, folder):
    viewer, widget = opened
    add_read(viewer, folder / "cell0.tif", read_layers(str(folder / "cell0.tif")))
    turned(qtbot)
    first, second = (layer for layer in viewer.layers if isinstance(layer, Image) and not widget.work.owns(layer))
    stroke(qtbot, widget, (10, 50))
    widget.work.bring_up(first)
    finished(qtbot, widget, (30, 30))
    forward(qtbot, widget, "cell1")
    saved = ps.read(folder / "cell0_objects.tif").data
    widget.work.bring_up(second)
    forward(qtbot, widget, "cell1")
    (aside,) = folder.glob("cell0_objects_before_*.tif")
    assert aside.name in widget.panel.status.text() and np.array_equal(ps.read(aside).data, saved)
    assert ps.read(folder / "cell0_objects.tif").data[10, 50] == 1 and saved[30, 30] == 1
    back(qtbot, widget, "cell0")
    finished(qtbot, widget, (50, 10))
    forward(qtbot, widget, "cell1")
    again = ps.read(folder / "cell0_objects.tif").data
    assert (again[10, 50], again[50, 10]) == (1, 2), "the same work replaces what it wrote"
    assert list(folder.glob("cell0_objects_before_*.tif")) == [aside]


def images(viewer):
    return [layer.name for layer in viewer.layers if isinstance(layer, Image)]


def test_the_image_one_goes_back_from_closes_and_is_gone_on_with_when_its_turn_comes(opened, qtbot):
    viewer, widget = opened
    finished(qtbot, widget)
    forward(qtbot, widget, "cell1")
    finished(qtbot, widget)
    stroke(qtbot, widget, (20, 20))
    back(qtbot, widget, "cell0")
    assert images(viewer) == ["cell0"] and len(viewer.layers) <= 4, "nothing is left beneath"
    stroke(qtbot, widget, (10, 50))
    forward(qtbot, widget, "cell1")
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    session = widget.work.session
    assert images(viewer) == ["cell1"] and not widget.work.question, "it is not asked: one was just there"
    turned(qtbot)
    assert viewer.layers[-1].name == "preview", "what is on offer lies over what is decided"
    assert len(session.finished) == 1 and session.case.strokes[20, 20] == Marker.OBJECT and session.can_undo
    stroke(qtbot, widget, (21, 21))


def test_what_was_changed_of_a_finished_image_is_saved_when_one_goes_back_from_it(opened, qtbot, folder):
    viewer, widget = opened
    for name in ("cell1", "cell2"):
        finished(qtbot, widget)
        forward(qtbot, widget, name)
    back(qtbot, widget, "cell1")
    finished(qtbot, widget, (10, 50))
    back(qtbot, widget, "cell0")
    assert images(viewer) == ["cell0"]
    assert ps.read(folder / "cell1_objects.tif").data.max() == 2
    assert not list(folder.glob("*_before_*")), "it is the same work"


def test_an_image_whose_work_is_in_no_journal_stays_open(opened, qtbot, monkeypatch):
    viewer, widget = opened
    finished(qtbot, widget)
    forward(qtbot, widget, "cell1")
    finished(qtbot, widget)
    monkeypatch.setattr(type(widget.work.session.journal), "flush", lambda journal, timeout=None: False)
    session = widget.work.session
    back(qtbot, widget, "cell0")
    assert set(images(viewer)) == {"cell0", "cell1"}
    widget.work.choose(viewer.layers["cell1"])
    qtbot.waitUntil(lambda: widget.work.session is session)  # at once, or after what waits


def test_objects_of_an_earlier_day_are_taken_up_where_there_is_no_journal(opened, qtbot, folder):
    _, widget = opened
    widget.work.set(kind="cell")
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    for journal in widget.work.recovery.folders()[0].glob("*.journal"):
        journal.unlink()
    click(qtbot, widget.panel.image_before)
    on(qtbot, widget, "cell0")
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert widget.work.session.kinds == {1: "cell"}


def test_where_nothing_can_be_written_beside_the_image_objects_that_were_saved_elsewhere_are_enough(
    opened, qtbot, folder, monkeypatch, answer_dialog
):
    def refused(*_, **__):
        raise OSError("cell0_objects.tif could not be written: choose another place")

    monkeypatch.setattr("napari_probseg.widgets.tasks.series.write_beside", refused)
    _, widget = opened
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    qtbot.waitUntil(lambda: "choose another place: “Save objects…”" in widget.panel.status.text(), timeout=20_000)
    assert widget.work.image.name == "cell0" and len(widget.work.session.finished) == 1
    (folder / "elsewhere").mkdir()
    answer_dialog(folder / "elsewhere" / "cell0.tif")
    click(qtbot, widget.panel.save)
    qtbot.waitUntil(lambda: not widget.work.session.has_unsaved_objects, timeout=20_000)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    assert "where you saved them. Image 2 of 3" in widget.panel.status.text()
    assert widget.panel.progress_text.text().startswith("1 of 3 images · 1 object")


def test_an_image_without_objects_is_passed_over_and_nothing_is_written(opened, qtbot, folder):
    _, widget = opened
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    assert not list(folder.glob("*_objects*")) and "nothing was saved" in widget.panel.status.text()


def test_further_channels_come_along(open_widget, qtbot, tmp_path):
    for i in range(3):
        for channel in range(2):
            ps.write(tmp_path / f"a{i}_000{channel}.tif", (disk() * (i + 1.0)).astype(np.float32), labels=False)
    viewer, widget = open_widget()
    for channel in range(2):
        viewer.open(str(tmp_path / f"a0_000{channel}.tif"), plugin="napari")
    image, further = viewer.layers["a0_0000"], viewer.layers["a0_0001"]
    widget.work.choose(getattr(image, "__wrapped__", image))
    widget.work.images.set_channels(widget.work.image, [getattr(further, "__wrapped__", further)])
    finished(qtbot, widget)
    assert widget.work.session.case.n_channels == 2
    for i in (1, 2):
        press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
        on(qtbot, widget, f"a{i}_0000")
        assert [layer.name for layer in widget.work.images.channels] == [f"a{i}_0001"]
        finished(qtbot, widget)
        assert widget.work.session.case.n_channels == 2
        assert not [layer for layer in viewer.layers if f"a{i - 1}" in layer.name]


def test_channels_that_nobody_asked_for_go_with_their_image(open_widget, qtbot, tmp_path):
    for i in range(3):
        planes = np.stack([disk() * (i + 1), disk() * 7]).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"a{i}.ome.tif", planes, photometric="minisblack", metadata={"axes": "CYX"})
    viewer, widget = open_widget()
    add_read(viewer, tmp_path / "a0.ome.tif", read_layers(str(tmp_path / "a0.ome.tif")))
    images = {layer.name: getattr(layer, "__wrapped__", layer) for layer in viewer.layers}
    widget.work.choose(images["a0"])
    finished(qtbot, widget)
    for i, go in ((1, forward), (2, forward), (1, back)):
        go(qtbot, widget, f"a{i}")
        assert {layer.name for layer in viewer.layers if isinstance(layer, Image)} == {f"a{i}", f"a{i} [1]"}
        if go is forward:
            finished(qtbot, widget)
    assert not widget.work.question and len(widget.work.session.finished) == 1


def test_an_image_of_no_file_is_told_what_to_do(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    assert "comes from no file" in widget.panel.status.text() and widget.work.session.has_unsaved_objects


def test_a_place_that_cannot_be_written_to_leaves_the_image_open(opened, qtbot, monkeypatch):
    _, widget = opened
    finished(qtbot, widget)

    def full(*_, **__):
        raise OSError("no space left on the device: free some")

    monkeypatch.setattr("napari_probseg.widgets.tasks.series.write_beside", full)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    qtbot.waitUntil(lambda: "No space left" in widget.panel.status.text(), timeout=20_000)
    assert widget.work.image.name == "cell0" and not widget.work.is_held
    assert widget.work.session.has_unsaved_objects


def test_any_image_of_the_folder_is_in_the_menu(opened, qtbot):
    _, widget = opened
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    widget.panel.menu.aboutToShow.emit()
    images = next(action.menu() for action in widget.panel.menu.actions() if action.text() == "Go to image")
    named = [action.text() for action in images.actions() if action.text()]
    assert named[0].startswith("✓ cell0.tif: 1 object,") and named[1:] == ["cell1.tif", "cell2.tif"]
    images.triggered.emit(images.actions()[-1])
    on(qtbot, widget, "cell2")


# Refining ---------------------------------------------------------------------------------------------------------


def refine(widget, title, text):
    widget.panel.menu.aboutToShow.emit()
    menu = next(action.menu() for action in widget.panel.menu.actions() if action.text() == title)
    next(action for action in menu.actions() if action.text() == text).trigger()


def test_slices_between_are_filled_and_taken_back_in_one_step(open_widget, qtbot):
    viewer, widget = open_widget(np.zeros((9, 64, 64), np.float32))
    for z in (2, 6):
        viewer.dims.set_point(0, z)
        stroke(qtbot, widget, (z, 30, 30))
    partial = widget.work.session.case.partial.copy()
    refine(widget, "Refine the object", "Fill between slices")
    qtbot.waitUntil(lambda: "Undo takes it back" in widget.panel.status.text(), timeout=20_000)
    inside = widget.work.session.case.partial == 1
    assert inside[2:7].any(axis=(1, 2)).all() and np.array_equal(inside[2], partial[2] == 1)
    assert np.array_equal(viewer.layers["markers of image"].data == 1, inside)
    click(qtbot, widget.panel.undo)
    assert np.array_equal(widget.work.session.case.partial, partial)
    refine(widget, "Refine the object", "Remove specks")
    qtbot.waitUntil(lambda: "nothing to change" in widget.panel.status.text(), timeout=20_000)


def test_what_cannot_be_refined_is_said_and_the_work_goes_on(open_widget, qtbot):
    _, widget = open_widget(np.zeros((9, 64, 64), np.float32))
    stroke(qtbot, widget, (0, 30, 30))
    refine(widget, "Refine the object", "Fill between slices")
    qtbot.waitUntil(lambda: "No slice is empty between" in widget.panel.status.text(), timeout=20_000)
    assert not widget.work.is_held
    click(qtbot, widget.panel.finish)
    refine(widget, "Refine all finished objects", "Smooth")
    qtbot.waitUntil(lambda: not widget.work.is_held, timeout=20_000)
    assert len(widget.work.session.finished) == 1


def test_the_layers_over_an_image_lie_over_the_next_one(opened, qtbot, folder):
    """New ones would take napari a second of the window's time; they stay as the user has set them."""
    ps.write(folder / "cell1.tif", np.pad(disk(), 9).astype(np.float32), labels=False)
    viewer, widget = opened
    finished(qtbot, widget)
    before = [layer for layer in viewer.layers if layer.name != "cell0"]
    viewer.layers["objects of cell0"].opacity = 0.3
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    assert [layer.name for layer in viewer.layers] == ["cell1", "objects of cell1", "markers of cell1", "preview"]
    assert [layer for layer in viewer.layers if layer.name != "cell1"] == before
    assert all(layer.data.shape == (82, 82) and not layer.data.any() and layer.visible for layer in before)
    camera = getattr(viewer, "scene", viewer).camera
    assert tuple(camera.center[-2:]) == (40.5, 40.5), "the view fits the next image, which is larger"
    assert viewer.layers["objects of cell1"].opacity == 0.3 and not viewer.layers["objects of cell1"].editable
    viewer.layers["markers of cell1"].undo()
    assert not viewer.layers["markers of cell1"].data.any(), "what was painted on another image is forgotten"
    finished(qtbot, widget, (75, 75))
    assert widget.work.session.objects[75, 75] == 1


def test_no_layer_of_an_image_lingers_where_nothing_is_drawn_on_the_next(opened, qtbot):
    viewer, widget = opened
    finished(qtbot, widget)
    viewer.layers["markers of cell0"].mode = "pan_zoom"
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    assert widget.work.layers is None
    assert not [layer for layer in viewer.layers if layer.name.startswith(("markers", "objects"))]


def test_a_volume_after_an_image_has_layers_of_its_own(opened, qtbot, folder):
    ps.write(folder / "cell1.tif", np.stack([disk()] * 5).astype(np.float32), labels=False)
    viewer, widget = opened
    finished(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    stroke(qtbot, widget, (2, 30, 30))
    assert viewer.layers["markers of cell1"].ndim == 3
    assert sum(layer.name.startswith(("markers", "objects")) for layer in viewer.layers) == 2
