"""What is removed of a finished image is gone from its file, and from the data set; what is not of it stays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import napari_probseg as ps
from napari_probseg.dataset.collection import Collection
from window import back, click, disk, finished, forward, stroke


def test_a_finished_image_whose_objects_are_removed_has_none_in_its_file(opened, qtbot, folder):
    _, widget = opened
    finished(qtbot, widget)
    forward(qtbot, widget, "cell1")
    back(qtbot, widget, "cell0")
    widget.work.remove_object(1)
    forward(qtbot, widget, "cell1")
    assert not ps.read(folder / "cell0_objects.tif").data.any()
    assert (folder / "cell0_objects.csv").read_text().count("\n") == 1, "the table has no row either"


def test_what_is_removed_and_left_is_gone_from_the_file_too(opened, qtbot, folder):
    _, widget = opened
    for name in ("cell1", "cell2"):
        finished(qtbot, widget)
        forward(qtbot, widget, name)
    back(qtbot, widget, "cell1")
    widget.work.remove_object(1)
    back(qtbot, widget, "cell0")
    assert not ps.read(folder / "cell1_objects.tif").data.any()


def test_what_is_made_and_removed_leaves_a_file_of_earlier_objects_alone(opened, qtbot, folder):
    ps.write(folder / "cell0_objects.tif", disk().astype(np.uint8), labels=True)
    before = (folder / "cell0_objects.tif").read_bytes()
    _, widget = opened
    finished(qtbot, widget)
    widget.work.remove_object(1)
    forward(qtbot, widget, "cell1")
    assert (folder / "cell0_objects.tif").read_bytes() == before and not list(folder.glob("*_before_*"))


def test_with_a_data_set_open_images_go_into_it_and_their_classes_with_them(opened, qtbot, folder, tmp_path):
    viewer, widget = opened
    place = tmp_path / "Dataset001_Mine"
    Collection.create(place, ["cell", "nucleus"], ending=".tif")
    _, there = viewer.window.add_plugin_dock_widget("napari-probseg", "Dataset")
    there.teaching.open(place)
    qtbot.waitUntil(lambda: there.teaching.state is not None, timeout=20_000)
    widget.work.set(kind="nucleus")
    stroke(qtbot, widget, (30, 30))
    forward(qtbot, widget, "cell1")
    data = Collection(place)
    assert data.cases == ["cell0"] and set(np.unique(data.load("cell0").label)) == {0, 2}
    assert not list(folder.glob("*_objects*"))
    assert "1 of 3 images" in widget.panel.progress_text.text()
    finished(qtbot, widget)
    forward(qtbot, widget, "cell2")
    n_voxels = np.count_nonzero(data.load("cell0").label)
    back(qtbot, widget, "cell1")
    finished(qtbot, widget, (10, 50))
    back(qtbot, widget, "cell0")
    assert np.count_nonzero(Collection(place).load("cell1").label) > n_voxels, "what was changed goes into it, too"
    widget.work.remove_object(1)
    forward(qtbot, widget, "cell2")
    assert (
        not Collection(place).load("cell0").label.any() and "nor has it in the data set" in widget.panel.status.text()
    )
    there.release()


def test_what_is_no_image_is_passed_over_and_what_cannot_be_read_is_told_after_what_was_saved(opened, qtbot, folder):
    ps.write(folder / "cell00.tif", disk().astype(np.uint8), labels=True)  # behind cell0; saved by hand
    _, widget = opened
    finished(qtbot, widget)
    forward(qtbot, widget, "cell1")
    assert "Saved 1 object as “cell0_objects.tif”. “cell00.tif” holds no image" in widget.panel.status.text()
    assert "Image 2 of 3" in widget.panel.status.text()
    (folder / "cell2.tif").write_bytes(b"")
    finished(qtbot, widget)
    click(qtbot, widget.panel.finish_image)
    told = widget.panel.status
    qtbot.waitUntil(lambda: "cell2.tif" in told.text() and "Opening" not in told.text(), timeout=20_000)
    assert told.text().startswith("Saved 1 object as “cell1_objects.tif”. ") and widget.work.image.name == "cell1"
