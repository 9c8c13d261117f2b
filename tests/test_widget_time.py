"""Time series in the window: named as such, answered image by image, followed through time, never as millimetres."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

import napari_probseg as ps
from napari_probseg.case import Marker
from napari_probseg.io import Picture
from napari_probseg.io.labels import read_labels
from napari_probseg.napari_io.layer_data import read_layers
from napari_probseg.proposers.time_series import through_time
from napari_probseg.session.beside import read_beside
from napari_probseg.widgets.layers.image import is_in_time, place_of
from napari_probseg.widgets.layers.source import add_read
from test_time_series import moving
from window import click, dice, offer, stroke

N = 7


def named(viewer, image, **options):
    return viewer.add_image(image, axis_labels=("t", "y", "x"), **options)


def entries(widget) -> list[str]:
    widget.panel.menu.aboutToShow.emit()
    return [action.text() for action in widget.panel.menu.actions() if action.isEnabled()]


def follow(qtbot, widget) -> None:
    widget.panel.menu.aboutToShow.emit()
    next(action for action in widget.panel.menu.actions() if action.text().startswith("Follow")).trigger()
    qtbot.waitUntil(lambda: widget.work.on_offer is not None, timeout=120_000)


@pytest.fixture
def series(open_widget):
    """Return the viewer and the widget on a series of a disk that moves, and where that is."""
    viewer, widget = open_widget()
    image, truth = moving(2)
    named(viewer, image, name="moving", scale=(30, 0.5, 0.5), units=("s", "um", "um"))
    return viewer, widget, truth


def accept_one(qtbot, viewer, widget, truth, t=3) -> None:
    """Accept the whole object on one image."""
    viewer.dims.set_point(0, 30 * t)
    click(qtbot, widget.panel.inside)
    widget.work.session.mark(truth[t][None], outside=~truth[t][None], where=(slice(t, t + 1), slice(None), slice(None)))
    widget.work.changed.emit()


def test_it_is_named_as_such_and_answered_image_by_image(series, qtbot):
    viewer, widget, _ = series
    viewer.dims.set_point(0, 90)
    click(qtbot, widget.panel.inside)
    assert "time series" in widget.panel.status.text() and not widget.panel.extent.isVisibleTo(widget)
    widget.work.set(whole_volume=True)  # as it was set for a volume before
    stroke(qtbot, widget, (3, 32, 30))
    offer(qtbot, widget)
    assert widget.work.on_offer.request.plane == (0, 3)
    assert widget.work.session.case.spacing == (0.5, 0.5, 0.5)
    assert not [text for text in entries(widget) if "slice" in text or text in ("Show script…", "Refine all finished")]
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    assert widget.work.measure_of(range(3)) == (1.0, "px"), "through time it is no volume"
    assert widget.work.measure_of((1, 2)) == (0.25, "µm²")
    click(qtbot, widget.panel.more)
    assert "split the series" in widget.panel.status.text()


def test_it_is_followed_through_time(series, qtbot):
    viewer, widget, truth = series
    accept_one(qtbot, viewer, widget, truth)
    follow(qtbot, widget)
    assert "Followed through 6 images" in widget.panel.status.text()
    click(qtbot, widget.panel.accept)
    found = widget.work.session.case.partial == Marker.OBJECT
    assert all(dice(a, b) > 0.9 for a, b in zip(found, truth, strict=True))
    click(qtbot, widget.panel.undo)
    assert not (widget.work.session.case.partial == Marker.OBJECT)[[0, 6]].any()


def test_what_is_decided_stays_while_it_is_followed(series, qtbot):
    _, widget, truth = series
    accept_one(qtbot, widget.work.viewer, widget, truth)
    outside = np.zeros(truth.shape, bool)
    outside[5, 30:34, 42:46] = True
    widget.work.session.mark(outside=outside)
    follow(qtbot, widget)
    click(qtbot, widget.panel.accept)
    assert not (widget.work.session.case.partial == Marker.OBJECT)[outside].any()


def test_what_cannot_be_followed_is_told(series, qtbot):
    viewer, widget, _ = series
    click(qtbot, widget.panel.inside)
    widget.work.carry()
    qtbot.waitUntil(lambda: "nothing is marked" in widget.panel.status.text().lower(), timeout=60_000)
    viewer.dims.order = (1, 0, 2)
    stroke(qtbot, widget, (3, 32, 30))
    widget.work.propose()
    assert "urn the axes back" in widget.panel.status.text()
    with pytest.raises(ValueError, match="only a time series"):
        list(through_time(None, ps.Case(np.zeros((9, 9)))))


@pytest.mark.parametrize("ending", [".tif", ".nii.gz"])
def test_labels_in_time_come_back_from_a_file_and_time_is_no_distance(tmp_path, ending):
    labels = (np.random.default_rng(0).random((4, 6, 7)) > 0.5).astype(np.uint8)
    like = Picture(labels, "TYX", (0.5, 0.5), "mm")
    ps.write(tmp_path / f"labels{ending}", labels, like=like, labels=True)
    back = ps.read(tmp_path / f"labels{ending}")
    assert back.axes == "TYX" and back.spacing == pytest.approx((0.5, 0.5))
    assert np.array_equal(read_labels(tmp_path / f"labels{ending}", like, of="series"), labels)


def test_volumes_in_time_are_refused(open_widget, qtbot):
    viewer, widget = open_widget()
    viewer.add_image(np.zeros((3, 4, 20, 20), np.float32), axis_labels=("t", "z", "y", "x"))
    click(qtbot, widget.panel.inside)
    assert "Split Stack" in widget.panel.status.text()


@pytest.mark.parametrize("has_file", [True, False], ids=["of a file", "of a script"])
def test_its_objects_are_saved_as_a_series_and_taken_up_again(open_widget, qtbot, tmp_path, has_file):
    viewer, widget = open_widget()
    image, truth = moving(2)
    path = Path(tmp_path / "moving.tif")
    tifffile.imwrite(
        path, image, imagej=True, resolution=(2, 2), metadata={"axes": "TYX", "unit": "um", "finterval": 30}
    )
    if has_file:
        (layer,) = add_read(viewer, path, read_layers(str(path)))
    else:
        layer = named(viewer, image, scale=(30, 0.5, 0.5), units=("s", "um", "um"))
        layer.metadata["napari_probseg_file"] = str(path)
    assert is_in_time(layer)
    place = place_of(layer)
    assert place.axes == "TYX" and place.spacing == pytest.approx((0.0005, 0.0005))
    accept_one(qtbot, viewer, widget, truth)
    click(qtbot, widget.panel.finish)
    click(qtbot, widget.panel.finish_image)
    beside = tmp_path / "moving_objects.tif"
    qtbot.waitUntil(lambda: "Saved 1 object" in widget.panel.status.text(), timeout=20_000)
    with tifffile.TiffFile(beside) as file:
        assert file.series[0].axes == "TYX" and file.series[0].shape == truth.shape
    (row,) = csv.DictReader((tmp_path / "moving_objects.csv").read_text(encoding="utf-8").splitlines())
    assert set(row) == {"object", "class", "voxels"} and int(row["voxels"]) == truth[3].sum()
    labels, _ = read_beside(path, place)
    assert np.array_equal(labels > 0, np.where(np.arange(N)[:, None, None] == 3, truth, False))
