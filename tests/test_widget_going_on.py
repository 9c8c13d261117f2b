"""Going on: from one image to another and back, each is seen whole, where it was left, and nothing of others stays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import tifffile
from napari.utils.notifications import notification_manager, show_info
from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.widgets.still import units_may_differ
from window import click, disk, finished, names, on, press, stroke

IN_TIME = {"axes": "TYX", "finterval": 5.0}
SHIFT = Qt.KeyboardModifier.ShiftModifier


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
        ps.write(tmp_path / f"cell{i}.tif", np.stack([disk()] * n) if n else np.pad(disk(), 40), labels=False)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.tif"), plugin="napari")
    click(qtbot, widget.panel.inside)
    next_image(qtbot, widget, "cell1")
    assert viewer.dims.current_step[0] == 4 and all(layer.ndim == 3 for layer in viewer.layers)
    camera = getattr(viewer, "scene", viewer).camera
    assert tuple(camera.center[-2:]) == (31.5, 31.5), "the view fits it"
    viewer.dims.set_current_step(0, 6)
    next_image(qtbot, widget, "cell2")
    assert viewer.dims.current_step[0] == 6
    next_image(qtbot, widget, "cell3")
    assert viewer.dims.current_step[0] == 2


@pytest.fixture
def told():
    """Return what napari tells the user."""
    messages = []

    def note(notification):
        messages.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)


@pytest.mark.parametrize("names", [("cell0.tif", "cell1.nii.gz"), ("cell0.nii.gz", "cell1.tif")])
def test_napari_warns_of_no_units_while_both_images_are_there(open_widget, qtbot, tmp_path, told, names):
    for name in names:
        flat = disk().astype(np.float32)
        ps.write(tmp_path / name, np.stack([flat] * 4) if "nii" in name else flat, labels=False)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / names[0]), plugin="napari-probseg" if "nii" in names[0] else "napari")
    click(qtbot, widget.panel.inside)
    next_image(qtbot, widget, "cell1")
    assert not told


def test_only_what_is_told_of_units_is_kept_back(told):
    with units_may_differ():
        show_info("Inconsistent units across layers")
        show_info("another thing")
    assert told == ["another thing"]


def test_a_time_series_that_follows_is_shown_from_its_beginning(open_widget, qtbot, tmp_path):
    ps.write(tmp_path / "cell0.nii.gz", np.stack([disk()] * 4).astype(np.float32), labels=False)
    tifffile.imwrite(tmp_path / "cell1.tif", np.stack([disk()] * 8).astype(np.uint8), imagej=True, metadata=IN_TIME)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.nii.gz"), plugin="napari-probseg")
    next_image(qtbot, widget, "cell1")
    assert widget.work.is_in_time and viewer.dims.current_step[0] == 0


def test_the_canvas_stands_still_until_the_next_image_is_there(opened, qtbot, monkeypatch):
    """Both images at once are not seen."""
    viewer, widget = opened
    canvas, seen = widget.window().centralWidget(), []
    events = viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers["cell0"].events.data
    for event in events:
        event.connect(lambda _: seen.append(canvas.updatesEnabled()))
    next_image(qtbot, widget, "cell1")
    assert seen and not any(seen) and canvas.updatesEnabled()
    monkeypatch.setattr(type(widget.work), "begin_anew", lambda *_: [][1])
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    qtbot.waitUntil(lambda: "out of range" in widget.panel.status.text(), timeout=20_000)
    assert canvas.updatesEnabled() and not widget.work.is_held
