"""Exchange: the layer of an image that is finished takes the next one of its kind, and nothing of the first stays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import nibabel
import tifffile
from napari.layers import Image
from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.widgets.layers.exchange import may_take, take
from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.layers.source import source_of
from window import click, disk, finished, names, on, press

SHIFT = Qt.KeyboardModifier.ShiftModifier


def changes_of(viewer):
    """Return a list that grows with each image layer that is added to a viewer or taken out of it."""
    seen = []
    for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
        event.connect(lambda event: seen.append(event.value.name) if isinstance(event.value, Image) else None)
    return seen


def next_image(qtbot, widget, name):
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, name)


def test_the_next_image_is_all_that_its_layer_tells_of(opened, qtbot, tmp_path):
    viewer, widget = opened
    layer, seen = bare(viewer.layers["cell0"]), changes_of(viewer)
    finished(qtbot, widget)
    next_image(qtbot, widget, "cell1")
    assert widget.work.image is layer and not seen, "no layer was added or removed"
    assert source_of(layer) == tmp_path / "cell1.tif" and layer.source.path is None
    assert layer.data.max() == 2 and tuple(layer.contrast_limits) == (0, 2) == tuple(layer.contrast_limits_range)
    finished(qtbot, widget)
    next_image(qtbot, widget, "cell2")
    for i in range(2):
        assert ps.read(tmp_path / f"cell{i}_objects.tif").data.max() == 1, "each has its own object"
    assert not widget.work.layers.objects.data.any() and not widget.work.layers.markers.data.any()


def test_going_back_takes_the_layer_too_and_the_work_is_there(opened, qtbot):
    viewer, widget = opened
    seen = changes_of(viewer)
    finished(qtbot, widget)
    objects = widget.work.layers.objects.data.copy()
    next_image(qtbot, widget, "cell1")
    layers = {layer.name.split(" of ")[0] for layer in viewer.layers}
    click(qtbot, widget.panel.image_before)
    on(qtbot, widget, "cell0")
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    np.testing.assert_array_equal(widget.work.layers.objects.data, objects)
    assert not seen and {layer.name.split(" of ")[0] for layer in viewer.layers} == {*layers} - {"cell1"} | {"cell0"}
    assert widget.work.layers.has_brush_in_hand


def test_the_brush_is_taken_up_once_the_layers_are_laid(opened, qtbot, monkeypatch):
    """What is found of earlier work meanwhile refuses nothing."""
    _, widget = opened
    refused = []
    monkeypatch.setattr(type(widget.work), "refuse", lambda _, error: refused.append(error))
    for name in ("cell1", "cell2"):
        finished(qtbot, widget)
        next_image(qtbot, widget, name)
    click(qtbot, widget.panel.image_before)
    on(qtbot, widget, "cell1")
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert not refused


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((40, 40, 3), np.uint8),
        np.zeros((5, 40, 40), np.float32),
        np.zeros((40, 40), np.uint16),
    ],
    ids=["colours", "volume", "numbers"],
)
def test_another_kind_of_image_has_a_layer_of_its_own(opened, qtbot, tmp_path, other):
    viewer, widget = opened
    before = bare(viewer.layers["cell0"])
    tifffile.imwrite(tmp_path / "cell1.tif", other)
    next_image(qtbot, widget, "cell1")
    assert widget.work.image is not before and "cell0" not in names(viewer)
    assert widget.work.image.data.shape == other.shape


def test_another_size_and_distance_are_taken(open_widget, qtbot, tmp_path):
    """Of an image in mm; what is drawn over it is as large, and lies there."""
    for i, (shape, spacing) in enumerate((((64, 64), (1.0, 1.0)), ((80, 50), (0.5, 0.25)))):
        image = nibabel.Nifti1Image(disk(shape).T.astype(np.float32), np.diag([*spacing[::-1], 1, 1]))
        image.header.set_xyzt_units("mm")
        nibabel.save(image, tmp_path / f"cell{i}.nii.gz")
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.nii.gz"), plugin="napari-probseg")
    layer = bare(viewer.layers["cell0"])
    finished(qtbot, widget)
    next_image(qtbot, widget, "cell1")
    assert widget.work.image is layer and layer.data.shape == (80, 50)
    for over in (layer, widget.work.layers.markers, widget.work.layers.objects):
        assert over.data.shape == (80, 50) and tuple(over.scale) == (0.5, 0.25)
    assert widget.work.session.case.spacing == (0.5, 0.25)
    assert viewer.dims.range[-2][1] < 41, "nothing larger stays"


def test_what_may_be_taken():
    grey, other = Image(np.zeros((4, 4), np.uint8)), Image(np.ones((5, 5), np.uint8), name="other")
    assert may_take([grey], [other]) and not may_take([grey], [other, other])
    assert not may_take([grey], [Image(np.zeros((4, 4), np.float32))])
    grey.colormap, grey.gamma = "green", 0.5
    take(grey, other)
    assert (grey.name, grey.data.shape, grey.colormap.name, grey.gamma) == ("other", (5, 5), "green", 0.5)
