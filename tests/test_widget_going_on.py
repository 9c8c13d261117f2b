"""Going on: from one image to another and back, each is seen whole, where it was left, and nothing of others stays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import tifffile
from qtpy.QtCore import Qt

import napari_probseg as ps
from window import click, disk, finished, names, on, press, stroke

IN_TIME = {"axes": "TYX", "finterval": 5.0}
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def opened(open_widget, tmp_path):
    """Return a viewer and the widget, with the first of three images of a folder."""
    for i in range(3):
        ps.write(tmp_path / f"cell{i}.tif", (disk() * (i + 1)).astype(np.float32), labels=False)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.tif"), plugin="napari")
    return viewer, widget


def next_image(qtbot, widget, name):
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, name)


def test_back_and_forth_leaves_no_layer_behind(opened, qtbot):
    viewer, widget = opened
    finished(qtbot, widget)
    next_image(qtbot, widget, "cell1")
    finished(qtbot, widget)
    click(qtbot, widget.panel.image_before)
    on(qtbot, widget, "cell0")
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    for name in ("cell1", "cell2"):
        next_image(qtbot, widget, name)
        assert [one for one in names(viewer) if one != "preview"] == [name, f"objects of {name}", f"markers of {name}"]


def test_an_image_that_lies_over_the_first_hides_no_other(opened, qtbot):
    viewer, widget = opened
    finished(qtbot, widget)
    viewer.add_image(disk() * np.float32(9), name="over")
    widget.panel.images.setCurrentIndex(0)
    for name in ("cell0", "cell1"):
        stroke(qtbot, widget, (10, 10))
        assert names(viewer)[:2] == ["over", name]
        next_image(qtbot, widget, "cell1" if name == "cell0" else "cell2")


def test_a_volume_that_follows_is_shown_in_its_middle_and_one_like_it_on_the_same_slice(open_widget, qtbot, tmp_path):
    for i, n in enumerate((0, 8, 8, 4)):
        ps.write(tmp_path / f"cell{i}.tif", np.stack([disk()] * n) if n else disk(), labels=False)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.tif"), plugin="napari")
    next_image(qtbot, widget, "cell1")
    assert viewer.dims.current_step[0] == 4
    viewer.dims.set_current_step(0, 6)
    next_image(qtbot, widget, "cell2")
    assert viewer.dims.current_step[0] == 6
    next_image(qtbot, widget, "cell3")
    assert viewer.dims.current_step[0] == 2


def test_a_time_series_that_follows_is_shown_from_its_beginning(open_widget, qtbot, tmp_path):
    ps.write(tmp_path / "cell0.nii.gz", np.stack([disk()] * 4).astype(np.float32), labels=False)
    tifffile.imwrite(tmp_path / "cell1.tif", np.stack([disk()] * 8).astype(np.uint8), imagej=True, metadata=IN_TIME)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.nii.gz"), plugin="napari-probseg")
    next_image(qtbot, widget, "cell1")
    assert widget.work.is_in_time and viewer.dims.current_step[0] == 0


def test_the_canvas_stands_still_until_the_next_image_is_there(opened, qtbot, monkeypatch):
    """Both images at once are neither seen nor told of by napari, whose units may differ."""
    viewer, widget = opened
    canvas, seen = widget.window().centralWidget(), []
    for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
        event.connect(lambda _: seen.append(canvas.updatesEnabled()))
    next_image(qtbot, widget, "cell1")
    assert seen and not any(seen) and canvas.updatesEnabled()
    monkeypatch.setattr(type(widget.work), "succeed", lambda *_: [][1])
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    qtbot.waitUntil(lambda: "out of range" in widget.panel.status.text(), timeout=20_000)
    assert canvas.updatesEnabled() and not widget.work.is_held
