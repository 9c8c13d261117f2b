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
from napari_probseg.proposers.histogram_cut import GraphCut
from napari_probseg.proposers.time_series import through_time
from napari_probseg.session.beside import read_beside
from napari_probseg.widgets import models as in_use
from napari_probseg.widgets.layers.image import is_in_time, place_of
from napari_probseg.widgets.layers.source import add_read
from test_similar import disks
from test_time_series import moving
from test_widget_files import idle, menu
from window import asked, click, crash, dice, gone_on, offer, stroke

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
    case = widget.work.session.case
    assert case.in_time and case.axes == "TYX" and case.spacing == (0.5, 0.5)
    assert not [text for text in entries(widget) if "slice" in text]
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    assert widget.work.measure_of(range(3)) == (1.0, "px"), "through time it is no volume"
    assert widget.work.measure_of((1, 2)) == (0.25, "µm²")


def told_otherwise(name: str) -> dict[str, object]:
    """Return how a layer says that its first axis is time, in another way, and that a second is a thousand of it."""
    return {
        "seconds": {"scale": (0.001, 0.5, 0.5), "units": ("s", "um", "um")},
        "milliseconds": {"scale": (1000, 0.5, 0.5), "units": ("ms", "um", "um")},
        "frames": {"scale": (1, 0.5, 0.5), "axis_labels": ("Frame", "y", "x"), "units": ("pixel", "um", "um")},
        "no unit": {"scale": (7, 0.5, 0.5), "axis_labels": ("time", "y", "x")},
    }[name]


@pytest.mark.parametrize("told", ["seconds", "milliseconds", "frames", "no unit"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_time_is_never_a_length_however_it_is_told(open_widget, qtbot, told, ndim):
    viewer, widget = open_widget()
    image, truth = moving(ndim)
    options = told_otherwise(told)
    if ndim == 3:  # slices, 2 apart
        options = {
            name: (value[0], 2 if name == "scale" else "z" if name == "axis_labels" else value[1], *value[1:])
            for name, value in options.items()
        }
    layer = viewer.add_image(image, name="moving", **options)
    viewer.dims.set_point(0, 3 * layer.scale[0])
    click(qtbot, widget.panel.inside)
    case = widget.work.session.case
    assert case.axes == "TZYX"[ndim == 2 :] if ndim == 3 else "TYX"
    assert case.spacing == pytest.approx((2, 0.5, 0.5)[-ndim:]) and len(case.spacing) == ndim
    place = place_of(layer)
    assert place.axes == case.axes and len(place.spacing) == ndim
    assert widget.work.tools.brush_size > 1
    assert widget.work.view.passing.thickness((ndim - 1, ndim)) < 12
    size, _ = widget.work.measure_of(range(1, ndim + 1))
    assert size == pytest.approx(float(np.prod(case.spacing)) if told != "no unit" else 1.0)
    assert widget.work.measure_of(range(ndim + 1))[0] == 1.0
    offered = stroke_inside(qtbot, viewer, widget, truth)
    assert offered.request.plane == (0, 3)
    assert next(s.stop - s.start for s in offered.candidates.where) == 1


def stroke_inside(qtbot, viewer, widget, truth):
    """Brush in the midst of the object on view, and return what is proposed."""
    middle = tuple(int(a) for a in np.argwhere(truth[3]).mean(0))
    for axis, at in enumerate(middle[:-2], start=1):
        viewer.dims.set_current_step(axis, at)
    stroke(qtbot, widget, (3, *middle))
    offer(qtbot, widget)
    return widget.work.on_offer


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
    for took_back in ("a candidate.", "a stroke on image 5."):  # what is not on view is told where
        click(qtbot, widget.panel.undo)
        assert widget.panel.status.text() == f"Took back: {took_back}"


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
@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
def test_labels_in_time_come_back_from_a_file_and_time_is_no_distance(tmp_path, ending, axes):
    labels = (np.random.default_rng(0).random((4, 5, 6, 7)[-len(axes) :]) > 0.5).astype(np.uint8)
    like = Picture(labels, axes, (2.0, 0.5, 0.5)[1 - len(axes) :], "mm")
    ps.write(tmp_path / f"labels{ending}", labels, like=like, labels=True)
    back = ps.read(tmp_path / f"labels{ending}")
    assert back.axes == axes and back.spacing == pytest.approx(like.spacing)
    assert np.array_equal(read_labels(tmp_path / f"labels{ending}", like, of="series"), labels)


@pytest.mark.parametrize("told", [("z", "t", "y", "x"), None], ids=["not first", "not told"])
def test_where_time_lies_elsewhere_or_is_not_told_the_window_says_what_to_do(open_widget, qtbot, told):
    viewer, widget = open_widget()
    viewer.add_image(np.zeros((3, 4, 20, 20), np.float32), **({"axis_labels": told} if told else {}))
    click(qtbot, widget.panel.inside)
    assert "Split Stack" in widget.panel.status.text()
    assert ("to the front" if told else "axis_labels") in widget.panel.status.text()


def test_an_object_is_followed_through_volumes(open_widget, qtbot):
    viewer, widget = open_widget()
    image, truth = moving(3)
    viewer.add_image(image, name="moving", axis_labels=("t", "z", "y", "x"), scale=(30, 3, 1, 1))
    in_use.give(viewer, in_use.Models(in_use.given(viewer).proposer, GraphCut()))
    viewer.dims.set_current_step(0, 3)
    click(qtbot, widget.panel.inside)
    assert "each volume" in widget.panel.status.text() and not widget.panel.extent.isVisibleTo(widget)
    where = (slice(3, 4), *[slice(None)] * 3)
    widget.work.session.mark(truth[3][None], outside=~truth[3][None], where=where)
    widget.work.changed.emit()
    follow(qtbot, widget)
    assert "Followed through 6 images" in widget.panel.status.text()
    click(qtbot, widget.panel.accept)
    found = widget.work.session.case.partial == Marker.OBJECT
    assert all(dice(a, b) > 0.8 for a, b in zip(found, truth, strict=True))
    click(qtbot, widget.panel.finish)
    widget.work.go_to_object(1)
    widget.work.refine("holes", True)
    qtbot.waitUntil(lambda: not widget.work.is_held, timeout=20_000)
    assert widget.work.measure_of(range(4)) == (1.0, "voxels")


def test_others_like_it_are_offered_on_the_image_on_view(open_widget, qtbot):
    viewer, widget = open_widget()
    one, labels = disks((160, 160))
    named(viewer, np.stack([one, one[::-1]]), name="disks")
    in_use.give(viewer, in_use.Models(GraphCut(), GraphCut()))
    viewer.dims.set_current_step(0, 0)
    click(qtbot, widget.panel.inside)
    widget.work.session.mark((labels == 6)[None], where=(slice(0, 1), slice(None), slice(None)))
    widget.work.finish()
    for t, truth in enumerate((labels, labels[::-1])):
        viewer.dims.set_current_step(0, t)
        click(qtbot, widget.panel.more)
        if t == 1:  # nothing is finished there: what was learnt of the first image is kept by the engine alone
            qtbot.waitUntil(lambda: not widget.work.asking.is_busy, timeout=60_000)
        else:
            qtbot.waitUntil(lambda: bool(widget.work.alike), timeout=60_000)
        if not widget.work.alike:
            assert "finish" in widget.panel.status.text()
            break
        assert {o.where[0].start for o in widget.work.alike} == {t}
        before = widget.work.session.max_label
        click(qtbot, widget.panel.take_all)
        objects = widget.work.session.objects
        assert widget.work.session.max_label > before + 5
        new = objects[t] > before
        assert np.count_nonzero(truth[new]) > 0.9 * np.count_nonzero(new)
        assert not (objects[1 - t] > before).any()


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
    assert set(row) == {"object", "class", "voxels", "image"} and int(row["voxels"]) == truth[3].sum()
    assert row["image"] == path.name
    labels, _ = read_beside(path, place)
    assert np.array_equal(labels > 0, np.where(np.arange(N)[:, None, None] == 3, truth, False))


def test_a_session_of_a_series_is_saved_opened_and_shown_as_a_script(series, qtbot, answer_dialog, tmp_path):
    viewer, widget, truth = series
    accept_one(qtbot, viewer, widget, truth)
    click(qtbot, widget.panel.finish)
    answer_dialog(tmp_path / "session.npz")
    menu(widget, "Save session…").trigger()
    idle(qtbot, widget)
    click(qtbot, widget.panel.undo)
    assert not widget.work.session.max_label
    menu(widget, "Open session…").trigger()
    qtbot.waitUntil(lambda: "open" in widget.panel.status.text(), timeout=20_000)
    assert widget.work.session.case.in_time and widget.work.session.max_label == 1
    assert np.array_equal(viewer.layers["objects of moving"].data[3] > 0, truth[3])
    assert "in_time=True" in widget.work.session.script()


def test_work_on_a_series_is_gone_on_with_after_a_crash(open_widget, qtbot):
    image, truth = moving(2)
    viewer, widget = open_widget()
    named(viewer, image, name="moving")
    accept_one(qtbot, viewer, widget, truth)
    before = crash(widget)
    viewer, widget = open_widget()
    named(viewer, image, name="moving")
    asked(qtbot, widget)
    session = gone_on(qtbot, widget)
    assert session.case.in_time and np.array_equal(session.case.partial, before.case.partial)
