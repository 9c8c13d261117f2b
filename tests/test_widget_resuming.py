"""The latest work is offered before its image is opened."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")


import napari_probseg as ps
from napari_probseg.session.journal import journals_in
from napari_probseg.widgets.messages import offer_of
from sessions import state
from window import asked, click, crash, disk, finish_one, gone_on

IMAGE = disk().astype(np.float32)


def worked_on_file(open_widget, qtbot, path, image=IMAGE) -> ps.Session:
    """Work on an image in a file, until the program is killed."""
    tifffile.imwrite(path, image)
    viewer, widget = open_widget()
    viewer.open(str(path), plugin="napari")
    finish_one(qtbot, widget)
    session = crash(widget)
    viewer.layers.clear()
    return session


def offered(qtbot, widget) -> str:
    qtbot.waitUntil(lambda: not widget.work.resuming.is_looking, timeout=20_000)
    empty = widget.panel.empty
    assert empty.isVisibleTo(widget)
    return empty.go_on.text() if empty.earlier.isVisibleTo(widget) else ""


def test_the_latest_work_is_offered_before_its_image_is_opened(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "first.tif")
    before = worked_on_file(open_widget, qtbot, tmp_path / "second.tif", IMAGE + 1)
    viewer, widget = open_widget()
    assert offered(qtbot, widget) == "Go on with “second”"
    assert "3 steps, 1 finished object, today" in widget.panel.empty.go_on.toolTip()
    click(qtbot, widget.panel.empty.go_on)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert widget.panel.status.text() == "Go on where you were." and not widget.work.question
    assert state(widget.work.session) == state(before) and widget.work.image.name == "second"
    assert np.array_equal(viewer.layers["objects of second"].data, before.objects)


def test_the_offer_is_made_once_and_leaves_the_work_where_it_is(open_widget, qtbot, tmp_path):
    before = worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    viewer, widget = open_widget()
    assert offered(qtbot, widget)
    click(qtbot, widget.panel.empty.not_now)
    assert not offered(qtbot, widget)
    viewer.open(str(tmp_path / "cell.tif"), plugin="napari")
    asked(qtbot, widget)
    assert state(gone_on(qtbot, widget)) == state(before)


def test_to_open_an_image_takes_the_offer_back(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    viewer, widget = open_widget()
    assert offered(qtbot, widget)
    viewer.add_image(IMAGE + 5)
    viewer.layers.clear()
    assert not offered(qtbot, widget)
    viewer, widget = open_widget(IMAGE + 5)
    assert not widget.work.resuming.is_looking and not widget.work.offered_work


def test_what_cannot_be_opened_is_not_offered_or_told(open_widget, qtbot, tmp_path):
    before = worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    worked_on_file(open_widget, qtbot, tmp_path / "gone.tif", IMAGE + 1)
    (tmp_path / "gone.tif").unlink()
    _, widget = open_widget()
    assert offered(qtbot, widget) == "Go on with “cell”", "the latest one whose image is there"
    (tmp_path / "cell.tif").write_bytes(b"II*" + bytes(40))
    click(qtbot, widget.panel.empty.go_on)
    assert widget.panel.status.property("error") and widget.panel.empty.isVisibleTo(widget)
    tifffile.imwrite(tmp_path / "cell.tif", IMAGE + 2)
    _, widget = open_widget()
    assert offered(qtbot, widget)
    click(qtbot, widget.panel.empty.go_on)
    assert "its intensities are others" in asked(qtbot, widget), "another image is asked about"
    assert state(gone_on(qtbot, widget)) == state(before)


def test_another_shape_than_the_work_was_done_on_is_told(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    tifffile.imwrite(tmp_path / "cell.tif", IMAGE[:-3])
    _, widget = open_widget()
    assert offered(qtbot, widget)
    click(qtbot, widget.panel.empty.go_on)
    assert "another image than the work was done on" in widget.panel.status.text() and widget.work.image is not None


def test_journals_beside_images_are_offered_too(open_widget, qtbot, tmp_path, monkeypatch, journals):
    from napari_probseg.widgets.segment import widget as module
    from napari_probseg.widgets.settings import BESIDE_IMAGE, Settings

    monkeypatch.setattr(module, "read_settings", lambda: Settings(journal=BESIDE_IMAGE))
    before = worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    assert journals_in(tmp_path) and not journals_in(journals)
    _, widget = open_widget()
    assert offered(qtbot, widget) == "Go on with “cell”"
    click(qtbot, widget.panel.empty.go_on)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert state(widget.work.session) == state(before)


def test_a_long_name_is_shortened_where_it_is_offered():
    title, what = offer_of("mouse_brain_slice_000123_left", 3, 0, 0.0).split("\n")
    assert title == "Go on with “mouse_brain_s…123_left”" and what.startswith("mouse_brain_slice_000123_left: 3 steps,")


def test_work_on_a_copy_of_the_image_is_called_what_it_is(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    tifffile.imwrite(tmp_path / "copy.tif", IMAGE)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "copy.tif"), plugin="napari")
    assert "Go on here with the work on “cell.tif”, which holds the same image?" in asked(qtbot, widget)
