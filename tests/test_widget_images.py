"""Which images the Segment widget takes, how it lays markers over them, which plane it works on."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_probseg import Case
from napari_probseg.candidates import Candidates
from napari_probseg.engine.thumbnails import thumbnails
from napari_probseg.widgets.layers.edits import touched_region
from napari_probseg.widgets.layers.image import case_of, placement
from napari_probseg.widgets.segment.widget import SegmentWidget
from window import Balls, click, disk, offer, stroke

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("data", "options", "shape", "n_channels"),
    [
        pytest.param(np.ones((8, 9)), {}, (8, 9), 1, id="2-D"),
        pytest.param(np.ones((7, 8, 9)), {}, (7, 8, 9), 1, id="3-D"),
        pytest.param(np.ones((8, 9, 3), np.uint8), {"rgb": True}, (8, 9), 3, id="RGB"),
        pytest.param(np.ones((5, 8, 9, 3), np.uint8), {"rgb": True}, (5, 8, 9), 3, id="RGB volume"),
        pytest.param(np.ones((4, 8, 9)), {"axis_labels": ("c", "y", "x")}, (8, 9), 4, id="channels first"),
        pytest.param([np.ones((16, 18)), np.ones((8, 9))], {"multiscale": True}, (16, 18), 1, id="multiscale"),
    ],
)
def test_an_image_layer_gives_a_case(data, options, shape, n_channels):
    case = case_of(Image(data, **options))
    assert (case.shape, case.n_channels) == (shape, n_channels)


def test_the_scale_of_the_layer_is_the_spacing():
    assert case_of(Image(np.ones((7, 8, 9)), scale=(3, -0.5, 0.5))).spacing == (3, 0.5, 0.5)


def test_a_time_series_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"4 axes .* Split Stack"):
        case_of(Image(np.ones((2, 3, 8, 9))))


@pytest.mark.parametrize("labels", [None, ("z", "c", "y", "x"), ("t", "c", "y", "x"), ("y", "x", "c")])
def test_channels_in_another_place_than_first_are_refused_with_a_way_out(labels):
    told = {} if labels is None else {"axis_labels": labels}
    axis = 1 if labels is None else labels.index("c")
    with pytest.raises(ValueError, match=rf"viewer\.add_image\(layer\.data, channel_axis={axis}\)"):
        case_of(Image(np.ones((6, 3, 8, 9)[: len(labels or "zcyx")]), **told))


def test_a_time_series_is_refused_in_the_widget(open_widget, qtbot):
    viewer, widget = open_widget(np.ones((2, 3, 8, 9), np.float32))
    click(qtbot, widget.panel.inside)
    assert widget.panel.status.property("error") and "4 axes" in widget.panel.status.text()
    assert len(viewer.layers) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (2, 0.5), "translate": (5, -3)},
        {"rotate": 30, "scale": (2, 1)},
        {"affine": np.array([[0, 2, 1], [1, 0.5, 0], [0, 0, 1]])},
    ],
)
def test_labels_lie_exactly_over_the_image(options):
    image = Image(np.ones((8, 9)), **options)
    labels = Labels(np.zeros((8, 9), np.uint8), **placement(image, 2))
    for corner in ((0, 0), (7, 0), (3, 8)):
        assert np.allclose(image.data_to_world(corner), labels.data_to_world(corner))


def test_labels_lie_over_an_image_with_channels_first():
    image = Image(np.ones((4, 8, 9)), axis_labels=("c", "y", "x"), scale=(1, 2, 3), translate=(0, 5, 6))
    labels = Labels(np.zeros((8, 9), np.uint8), **placement(image, 2))
    assert np.allclose(image.data_to_world((0, 7, 8))[1:], labels.data_to_world((7, 8)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_candidates_are_drawn_on_the_slice_on_view(open_widget, qtbot, axis):
    proposer, at, scale = Balls(), (10, 12, 14), (2.0, 1.0, 0.5)
    viewer, widget = open_widget(disk((20, 24, 28), at).astype(np.float32), proposer, scale=scale)
    viewer.dims.order = (axis, *(a for a in range(3) if a != axis))
    viewer.dims.set_point(axis, at[axis] * scale[axis])
    stroke(qtbot, widget, at)
    offer(qtbot, widget)
    assert proposer.asked[0][2] == (axis, at[axis])
    click(qtbot, widget.panel.accept)
    changed = np.argwhere(viewer.layers["markers of image"].data)
    assert set(changed[:, axis]) == {at[axis]}, "the rest of the volume is untouched"


def test_a_volume_on_view_in_3d_is_refused_with_a_way_out(open_widget, qtbot):
    viewer, widget = open_widget(disk((20, 24, 28), (10, 12, 14)).astype(np.float32))
    stroke(qtbot, widget, (10, 12, 14))
    viewer.dims.ndisplay = 3
    click(qtbot, widget.panel.propose)
    assert "switch the viewer back to 2-D" in widget.panel.status.text()
    assert not widget.work.asking.background.is_busy


def test_a_flat_image_among_volumes_needs_no_plane(open_widget, qtbot):
    proposer = Balls()
    viewer, widget = open_widget(disk().astype(np.float32), proposer)
    viewer.add_labels(np.zeros((5, 64, 64), int), name="a volume")
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    assert proposer.asked[0][2] is None


def test_new_data_in_the_image_begins_anew(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    first = widget.work.session
    viewer.layers["image"].data = np.zeros((32, 32), np.float32)
    click(qtbot, widget.panel.inside)
    assert widget.work.session is not first and widget.work.session.case.shape == (32, 32)


@pytest.mark.parametrize("options", [{}, {"channel_axis": -1}])
def test_thumbnails_are_cropped_each_for_itself(options):
    image = rng.random((64, 80, 3)) if options else rng.random((64, 80))
    case = Case(image, **options).mark(inside=disk((64, 80), (30, 30)) & (rng.random((64, 80)) > 0.9))
    pictures = thumbnails(Balls().propose(case, 4), (0, 1))
    drawn = [pane.picture for picture in pictures for pane in picture.panes]
    assert len(drawn) == 4
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in drawn)
    assert max(drawn[0].shape) <= 160
    crops = [max(picture.shape[:2]) for picture in drawn]
    assert crops == sorted(crops) and crops[0] < crops[-1], "a small candidate is no dot in the crop of a large one"
    assert crops[0] >= 0.35 * crops[-1] - 1, "and stays a small one"


def test_no_candidates_have_no_thumbnails():
    case = Case(rng.random((64, 80))).mark(inside=disk((64, 80), (30, 30)))
    some = Balls().propose(case, 2)
    nothing = [some.patches[:0], some.score[:0], some.share[:0]]
    none = Candidates(case, some.where, *nothing, probability=some.probability)
    assert thumbnails(none, (0, 1)) == []


def test_thumbnails_keep_the_proportions_of_the_body():
    volume = Case(rng.random((12, 64, 64)), spacing=(5, 1, 1)).mark(inside=disk((12, 64, 64), (6, 30, 30)))
    (upright,) = thumbnails(Balls().propose(volume, 1, plane=(1, 30)), (0, 2))[0].panes
    assert upright.stretch == 5
    (turned,) = thumbnails(Balls().propose(volume, 1, plane=(1, 30)), (2, 0))[0].panes
    assert turned.picture.shape[:2] == upright.picture.shape[1::-1]


def test_a_volumes_thumbnails_show_three_planes_through_what_most_candidates_add():
    shape = (24, 64, 64)
    candidates = Balls().propose(Case(rng.random(shape), spacing=(3, 1, 1)).mark(inside=dot(shape, (9, 30, 40))), 5)
    pictures = thumbnails(candidates, (1, 2), in_volume=True)
    (middle,) = {picture.place for picture in pictures[2:]}
    assert candidates.case.partial[middle] == 0 and sum(partial[middle] for partial in candidates.partial) >= 3
    assert all(partial[picture.place] for partial, picture in zip(candidates.partial, pictures, strict=True))
    for picture in pictures:
        assert [pane.stretch for pane in picture.panes] == [1, 3, 3]
    red = [[_n_red(pane.picture) for pane in picture.panes] for picture in pictures]
    assert all(np.all(np.greater(more, less)) for less, more in pairwise(red))


def test_a_volume_of_one_slice_has_one_picture():
    flat = Case(rng.random((1, 64, 64))).mark(inside=dot((1, 64, 64), (0, 30, 30)))
    assert len(thumbnails(Balls().propose(flat, 2), (1, 2), in_volume=True)[0].panes) == 1


def dot(shape: tuple[int, ...], at: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[at] = True
    return inside


def _n_red(picture: np.ndarray) -> int:
    return int(np.count_nonzero(picture[..., 0] > 1.5 * picture[..., 2].clip(1)))


@pytest.mark.parametrize(
    ("edits", "region"),
    [
        ([type("Box", (), {"slice_key": (slice(1, 3), slice(4, 5))})()], (slice(1, 3), slice(4, 5))),
        ([((np.array([2, 7]), np.array([3, 3])), 0, 1)], (slice(2, 8), slice(3, 4))),
        ([((slice(0, 2), slice(None)), 0, 1), ((np.array([5]), np.array([1])), 0, 1)], (slice(0, 6), slice(0, 9))),
        ("something new", (slice(0, 8), slice(0, 9))),
        (None, (slice(0, 8), slice(0, 9))),
    ],
)
def test_the_edited_region_is_read_from_what_napari_tells(edits, region):
    assert touched_region(edits, (8, 9)) == region


def test_other_layers_can_be_further_channels(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    for name, shape in (("green", (64, 64)), ("small", (32, 32))):
        viewer.add_image(np.zeros(shape, np.float32), name=name)
    widget.panel.images.setCurrentIndex(0)
    widget.panel.menu.aboutToShow.emit()
    channels = next(a.menu() for a in widget.panel.menu.actions() if a.text() == "Further channels")
    assert [action.text() for action in channels.actions()] == ["green"]
    channels.actions()[0].trigger()
    click(qtbot, widget.panel.inside)
    case = widget.work.session.case
    assert (case.n_channels, case.shape) == (2, (64, 64))
    assert np.array_equal(case.read()[0], disk())


def worked_in_a_viewer():
    """Work on an image in a viewer, let go of all of it, and return weak references."""
    viewer = ViewerModel()
    viewer.add_image(disk().astype(np.float32))
    widget = SegmentWidget(viewer, Balls())
    while widget.work.recovery.is_pending:
        QApplication.processEvents()
    widget.work.prepare()
    session = widget.work.session
    session.mark(inside=disk())
    assert session.journal.flush(10)
    widget._was_docked = True
    widget.release()
    widget.deleteLater()
    return weakref.ref(viewer), weakref.ref(session)


def test_a_viewer_that_is_gone_takes_the_work_on_its_images_along(qtbot):
    gone = worked_in_a_viewer()
    for _ in range(5):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # what an event loop does between its turns
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
