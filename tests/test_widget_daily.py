"""What the daily work stumbled over, each through the real widget."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_probseg.io import write
from window import Balls, disk, stroke, threads_ended


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


@pytest.mark.parametrize("name", ["n", "objects.kind"])
def test_keys_work_after_a_number_was_typed(open_widget, qtbot, name):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    widget.work.finish()
    viewer.window._qt_window.activateWindow()
    box = attrgetter(name)(widget.panel)
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert not box.hasFocus()


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
