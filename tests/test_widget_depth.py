"""In napari's 3-D display none of our layers is drawn that holds nothing: rays are cast through each of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from window import Balls, click, disk, offer, stroke

SHAPE, MIDDLE = (20, 48, 56), (10, 24, 30)
OURS = {"objects of image", "markers of image", "preview"}


@pytest.fixture
def volume(open_widget, qtbot):
    """Return a viewer and the widget, on a volume over which our layers lie, and which nobody paints on."""
    viewer, widget = open_widget(disk(SHAPE, MIDDLE).astype(np.float32), Balls())
    viewer.dims.set_current_step(0, MIDDLE[0])
    click(qtbot, widget.panel.inside)
    widget.panel.brush_size.setValue(3)
    qtbot.waitUntil(lambda: {layer.name for layer in viewer.layers} == {"image", *OURS})
    assert shown(viewer) == OURS, "test invalid"
    return viewer, widget


def shown(viewer) -> set[str]:
    return {layer.name for layer in viewer.layers if layer.visible} - {"image"}


def lay_brush_down(widget) -> None:
    widget.work.layers.markers.mode = "pan_zoom"


def test_layers_that_hold_nothing_are_hidden_in_depth_and_come_back(volume, qtbot):
    viewer, widget = volume
    lay_brush_down(widget)
    viewer.dims.ndisplay = 3
    assert shown(viewer) == set()
    viewer.dims.ndisplay = 2
    assert shown(viewer) == OURS


def test_what_comes_to_hold_something_in_depth_is_shown(volume, qtbot):
    viewer, widget = volume
    stroke(qtbot, widget, MIDDLE)
    offer(qtbot, widget)
    viewer.dims.ndisplay = 3
    assert shown(viewer) == {"markers of image", "preview"}
    lay_brush_down(widget)
    widget.work.accept()
    widget.work.finish()
    assert shown(viewer) >= {"objects of image"}
    viewer.dims.ndisplay = 2
    assert shown(viewer) == OURS
    lay_brush_down(widget)
    viewer.dims.ndisplay = 3
    assert shown(viewer) == {"objects of image"}


def test_a_brush_is_taken_up_in_depth_on_a_layer_that_is_seen(volume, qtbot):
    viewer, widget = volume
    lay_brush_down(widget)
    viewer.dims.ndisplay = 3
    click(qtbot, widget.panel.inside)
    assert shown(viewer) == {"markers of image"}


def test_what_a_person_has_hidden_stays_hidden(volume, qtbot):
    viewer, widget = volume
    lay_brush_down(widget)
    viewer.layers["objects of image"].visible = False
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert shown(viewer) == OURS - {"objects of image"}


def test_layers_that_are_left_to_the_viewer_are_shown(volume, qtbot):
    viewer, widget = volume
    lay_brush_down(widget)
    viewer.dims.ndisplay = 3
    widget.release()
    assert shown(viewer) >= {"markers of image", "objects of image"}


def test_all_layers_go_at_once_while_candidates_are_on_show(volume, qtbot):
    """The viewer turns to 2 axes as the last layer of a volume goes, and nothing of ours may come back by that."""
    viewer, widget = volume
    stroke(qtbot, widget, MIDDLE)
    offer(qtbot, widget)
    lay_brush_down(widget)
    viewer.layers.clear()
    assert not len(viewer.layers) and not list(widget.work.images) and widget.work.image is None
