"""Saving objects and sessions from the widget, opening them again, and the script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

import nibabel
import tifffile
from qtpy.QtWidgets import QApplication, QMessageBox

import napari_probseg as ps
from napari_probseg.widgets.segment.script_dialog import ScriptDialog
from window import click, disk, finish_one, stroke


def menu(widget, text):
    widget.panel.menu.aboutToShow.emit()
    (action,) = [action for action in widget.panel.menu.actions() if action.text() == text]
    assert action.isEnabled(), text
    return action


def idle(qtbot, widget) -> None:
    qtbot.waitUntil(lambda: not widget._files.background.is_busy, timeout=20_000)


def test_objects_are_saved_to_a_file(open_widget, qtbot, answer_dialog, tmp_path):
    viewer, widget = open_widget(disk().astype(np.float32))
    finish_one(qtbot, widget)
    answer_dialog(tmp_path / "objects.tif")
    click(qtbot, widget.panel.save)
    idle(qtbot, widget)
    said = "Saved the objects as “objects.tif”, and their classes and sizes as “objects.csv”."
    assert widget.panel.status.text() == said
    assert np.array_equal(tifffile.imread(tmp_path / "objects.tif"), viewer.layers["objects of image"].data)


def test_classes_and_sizes_are_saved_beside_the_objects_but_not_over_another_table(
    open_widget, qtbot, answer_dialog, tmp_path
):
    _, widget = open_widget(disk().astype(np.float32), scale=(0.5, 0.5), units=("mm", "mm"))
    finish_one(qtbot, widget)
    widget.work.classify(1, "cell")
    n = int((widget.work.session.objects == 1).sum())
    (tmp_path / "taken.csv").write_text("patient,age\n1,50\n")
    for name in ("mine.png", "mine.png", "taken.tif"):
        answer_dialog(tmp_path / name, "NIfTI (*.nii.gz *.nii)")
        click(qtbot, widget.panel.save)
        idle(qtbot, widget)
    assert widget.panel.status.text() == "Saved the objects as “taken.tif”."
    assert (tmp_path / "taken.csv").read_text() == "patient,age\n1,50\n"
    table = f"object,class,voxels,area_mm2,image\n1,cell,{n},{n / 4:.6g},image\n"
    assert (tmp_path / "mine.csv").read_text() == table
    assert np.array_equal(ps.read(tmp_path / "mine.png").data, widget.work.session.objects)


KIND = "TIFF (*.tif *.tiff)"


def test_a_name_without_an_ending_gets_that_of_the_kind_in_the_dialog(open_widget, qtbot, answer_dialog, tmp_path):
    _, widget = open_widget(disk().astype(np.float32))
    finish_one(qtbot, widget)
    for typed, kind, saved in (
        ("objects", KIND, "objects.tif"),
        ("mouse_0.5um", KIND, "mouse_0.5um.tif"),
        ("all", "All files (*)", "all.nii.gz"),
        ("CAPITAL.TIF", "All files (*)", "CAPITAL.TIF"),
    ):
        answer_dialog(tmp_path / typed, kind)
        click(qtbot, widget.panel.save)
        idle(qtbot, widget)
        assert (tmp_path / saved).is_file() and f"as “{saved}”" in widget.panel.status.text()


@pytest.mark.parametrize("kind", [KIND, "All files (*)"])
def test_another_ending_is_refused_in_a_sentence_and_nothing_is_written(
    open_widget, qtbot, answer_dialog, tmp_path, kind
):
    _, widget = open_widget(disk().astype(np.float32))
    finish_one(qtbot, widget)
    endings = ".nii.gz, .nii, .tif, .tiff, .png"
    for name in ("x.nrrd", "x.foo"):
        answer_dialog(tmp_path / name, kind)
        click(qtbot, widget.panel.save)
        idle(qtbot, widget)
        said = f"{name} has an ending that is not known here: use one of {endings}."
        assert widget.panel.status.text().lower() == said
        menu(widget, "Save session…").trigger()
        assert widget.panel.status.text().lower() == f"{name} has an ending that is not known here: use .npz."
    assert not list(tmp_path.iterdir()) and widget.work.session.has_unsaved_objects


def test_a_file_that_has_the_name_once_it_has_an_ending_is_asked_about(
    open_widget, qtbot, answer_dialog, tmp_path, monkeypatch
):
    _, widget = open_widget(disk().astype(np.float32))
    finish_one(qtbot, widget)
    (tmp_path / "taken.tif").write_bytes(b"mine")
    answer_dialog(tmp_path / "taken", KIND)
    asked = []
    monkeypatch.setattr(QMessageBox, "question", lambda *a: (asked.append(a[2]), QMessageBox.StandardButton.No)[1])
    click(qtbot, widget.panel.save)
    idle(qtbot, widget)
    assert (tmp_path / "taken.tif").read_bytes() == b"mine" and "“taken.tif” is there already" in asked[0]


def test_objects_are_not_saved_over_their_image(open_widget, qtbot, answer_dialog, tmp_path):
    viewer, widget = open_widget()
    ps.write(tmp_path / "cell.tif", disk().astype(np.float32), labels=False)
    before = (tmp_path / "cell.tif").read_bytes()
    viewer.open(str(tmp_path / "cell.tif"), plugin="napari")
    finish_one(qtbot, widget)
    answer_dialog(tmp_path / "cell.tif", KIND)
    click(qtbot, widget.panel.save)
    idle(qtbot, widget)
    assert "choose another name" in widget.panel.status.text() and (tmp_path / "cell.tif").read_bytes() == before


def test_a_place_that_cannot_be_written_is_said(open_widget, qtbot, answer_dialog, tmp_path):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    (tmp_path / "file").write_text("in the way")
    answer_dialog(tmp_path / "file" / "session.npz")
    menu(widget, "Save session…").trigger()
    idle(qtbot, widget)
    assert widget.panel.status.property("error")
    stroke(qtbot, widget, (50, 50))  # the session is let go again


def test_a_session_goes_on_where_it_was_left(open_widget, qtbot, answer_dialog, tmp_path):
    viewer, widget = open_widget(disk().astype(np.float32))
    finish_one(qtbot, widget)
    stroke(qtbot, widget, (50, 50))
    saved = viewer.layers["markers of image"].data.copy(), viewer.layers["objects of image"].data.copy()
    answer_dialog(tmp_path / "session.npz")
    menu(widget, "Save session…").trigger()
    idle(qtbot, widget)
    stroke(qtbot, widget, (10, 10))
    click(qtbot, widget.panel.finish)

    menu(widget, "Open session…").trigger()
    qtbot.waitUntil(lambda: "open" in widget.panel.status.text(), timeout=20_000)
    assert np.array_equal(viewer.layers["markers of image"].data, saved[0])
    assert np.array_equal(viewer.layers["objects of image"].data, saved[1])
    click(qtbot, widget.panel.undo)
    click(qtbot, widget.panel.undo)
    assert not viewer.layers["objects of image"].data.any()


def test_a_file_that_is_no_session_is_refused(open_widget, qtbot, answer_dialog, tmp_path):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    before = viewer.layers["markers of image"].data.copy()
    (tmp_path / "no.npz").write_bytes(b"no session")
    answer_dialog(tmp_path / "no.npz")
    menu(widget, "Open session…").trigger()
    idle(qtbot, widget)
    assert widget.panel.status.property("error")
    assert np.array_equal(viewer.layers["markers of image"].data, before)


def test_strokes_drawn_while_a_file_is_written_are_kept(open_widget, qtbot, answer_dialog, tmp_path):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    answer_dialog(tmp_path / "session.npz")
    menu(widget, "Save session…").trigger()
    viewer.layers["markers of image"].paint((50, 50), 1)
    click(qtbot, widget.panel.undo)
    assert len(widget.work.session.steps) == 1
    idle(qtbot, widget)
    qtbot.waitUntil(lambda: widget.work.session.can_redo)
    assert len(widget.work.session.steps) == 1, "the stroke was taken in, and then taken back"
    click(qtbot, widget.panel.redo)
    assert len(widget.work.session.steps) == 2


def test_the_script_is_shown_and_copied(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    menu(widget, "Show script…").trigger()
    (dialog,) = [child for child in widget.children() if isinstance(child, ScriptDialog)]
    dialog.copy_button.click()
    assert "session.mark(" in QApplication.clipboard().text()
    dialog.close()


def test_objects_of_a_nifti_image_keep_its_geometry(open_widget, qtbot, answer_dialog, tmp_path):
    path = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
    viewer, widget = open_widget()
    viewer.open(str(path), plugin="napari-probseg")
    image = viewer.layers[0]
    viewer.dims.set_point(0, float(image.scale[0]) * 10)
    stroke(qtbot, widget, (10, 12, 14))
    click(qtbot, widget.panel.finish)
    answer_dialog(tmp_path / "objects.nii.gz")
    click(qtbot, widget.panel.save)
    idle(qtbot, widget)
    saved, original = nibabel.load(tmp_path / "objects.nii.gz"), nibabel.load(path)
    assert saved.shape == original.shape and np.array_equal(saved.affine, original.affine)
    assert np.count_nonzero(saved.dataobj) == np.count_nonzero(viewer.layers[f"objects of {image.name}"].data) > 0
