"""Candidates of a whole volume in the Segment widget: asked for, looked at, accepted, done again."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("napari")

from qtpy.QtCore import QPoint
from qtpy.QtGui import QContextMenuEvent
from qtpy.QtWidgets import QApplication

import napari_probseg as ps
from napari_probseg.widgets.segment.gallery import added, measure
from window import Balls, click, disk, offer, stroke, threads_ended, turned

SHAPE, MIDDLE = (20, 48, 56), (10, 24, 30)


class Balls3D(Balls):
    """Balls on a plane, or in the volume where that is asked for."""

    def propose(self, case, n=8, *, seed=0, plane=None, ndim=2):
        assert (plane is None) == (ndim == 3), "a plane or the volume"
        return super().propose(case, n, seed=seed, plane=plane)


@pytest.fixture
def open_volume(open_widget, qtbot):
    """Return a function that opens a volume, with a dab inside and one outside on one slice."""

    def opener(proposer=None, **kwargs):
        viewer, widget = open_widget(disk(SHAPE, MIDDLE).astype(np.float32), proposer or Balls3D(), **kwargs)
        viewer.dims.set_current_step(0, MIDDLE[0])
        click(qtbot, widget.panel.inside)
        widget.panel.brush_size.setValue(3)
        stroke(qtbot, widget, MIDDLE)
        stroke(qtbot, widget, (10, 4, 4), 2)
        return viewer, widget

    return opener


def offer_anew(qtbot, widget, button) -> None:
    first = widget.work.candidates
    click(qtbot, button)
    qtbot.waitUntil(lambda: widget.work.candidates not in (None, first), timeout=20_000)


def right_click(cell) -> None:
    place = QPoint(5, 5)
    QApplication.sendEvent(cell, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, cell.mapToGlobal(place)))


def test_one_choice_governs_what_is_asked_of_all(open_volume, qtbot):
    viewer, widget = open_volume()
    offer(qtbot, widget)
    assert np.unique(np.nonzero(viewer.layers["preview"].data)[0]) == [10], "the slice on view"
    click(qtbot, widget.panel.volume)
    offer_anew(qtbot, widget, widget.panel.propose)
    assert len(np.unique(np.nonzero(viewer.layers["preview"].data)[0])) > 5
    assert widget.work._place().plane is None
    offer_anew(qtbot, widget, widget.panel.none)
    assert widget.work.view.exhibit.in_volume
    click(qtbot, widget.panel.slice)
    assert widget.work._place().plane == (0, 10)


def test_a_proposer_that_knows_no_volumes_says_so(open_volume, qtbot):
    _, widget = open_volume(Balls())
    click(qtbot, widget.panel.volume)
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(widget.panel.status.property("error")))
    assert "slices alone: choose Slice" in widget.panel.status.text()


def test_captions_are_millilitres_and_pictures_show_three_planes(open_volume, qtbot):
    _, widget = open_volume(scale=(2, 1, 1), units="mm")
    click(qtbot, widget.panel.volume)
    offer(qtbot, widget)
    n_object, _ = widget.work.candidates.added(2)
    tip = widget.panel.gallery.cells[2].toolTip()
    assert f"Adds {2 * n_object / 1000:.3g} mL of object" in tip and "samples agree" in tip
    pictures = widget.work.view.exhibit.pictures
    assert [len(picture.panes) for picture in pictures] == [3] * len(pictures)
    assert len({widget.panel.gallery.cells[i].size().height() for i in range(len(pictures))}) == 1


@pytest.mark.parametrize(
    ("spacing", "length", "axes", "n", "caption"),
    [
        ((2, 1, 1), "mm", (0, 1, 2), 1500, "+3 mL"),
        ((2, 1, 1), "mm", (0, 1, 2), 600_000, "+1.2 L"),
        ((2, 1, 1), "mm", (0, 2), 20, "+40 mm²"),
        ((0.5, 0.5, 0.5), "µm", (0, 1, 2), 8, "+1 µm³"),
        ((1, 1, 1), None, (0, 1, 2), 14_900, "+14.9k voxels"),
        ((1, 1), None, (0, 1), 204, "+204 px"),
    ],
)
def test_what_is_added_is_told_in_the_images_unit(spacing, length, axes, n, caption):
    size, unit = measure(spacing, length, axes)
    assert added(n, size=size, unit=unit) == caption


def test_an_empty_slice_is_told_and_left_only_on_request(open_volume, qtbot):
    viewer, widget = open_volume()
    click(qtbot, widget.panel.volume)
    offer(qtbot, widget)
    assert "adds nothing" not in widget.panel.status.text()
    viewer.dims.set_current_step(0, 1)
    assert "Candidate 1 adds nothing on this slice" in widget.panel.status.text()
    widget.panel.gallery.cells[5].entered.emit(5)
    assert "adds nothing" not in widget.panel.status.text(), "the largest ball reaches this slice"
    widget.panel.gallery.cells[5].gone.emit()
    assert "adds nothing" in widget.panel.status.text() and viewer.dims.current_step[0] == 1
    right_click(widget.panel.gallery.cells[0])
    assert not widget.work.view.passing.is_empty(0, viewer.dims.current_step[0])
    assert "adds nothing" not in widget.panel.status.text()


def test_strokes_on_another_slice_than_the_one_on_view_are_told_of_and_not_asked_about(open_volume, qtbot):
    viewer, widget = open_volume()
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    viewer.dims.set_current_step(0, 1)
    click(qtbot, widget.panel.undo)
    widget.work.asking.give_up()
    click(qtbot, widget.panel.undo)
    assert widget.work.session.has_strokes((0, MIDDLE[0])) and not widget.work.asking.is_busy
    assert widget.panel.status.text() == f"Took back: a stroke on slice {MIDDLE[0]}."
    click(qtbot, widget.panel.complete)
    assert "on another slice than the one on view" in widget.panel.status.text()


def test_steps_keep_to_the_volume_and_the_script_repeats_them(open_volume, qtbot, tmp_path, monkeypatch):
    viewer, widget = open_volume()
    markers, work = viewer.layers["markers of image"], widget.work
    brushed = markers.data.copy()
    click(qtbot, widget.panel.volume)
    offer(qtbot, widget)
    offer_anew(qtbot, widget, widget.panel.none)
    click(qtbot, widget.panel.gallery.cells[2])
    accepted = markers.data.copy()
    assert np.count_nonzero(accepted) > 2 * np.count_nonzero(brushed)
    click(qtbot, widget.panel.undo)
    assert np.array_equal(markers.data, brushed)
    click(qtbot, widget.panel.redo)
    assert np.array_equal(markers.data, accepted)
    path = str(tmp_path / "volume.tif")
    ps.write(path, disk(SHAPE, MIDDLE).astype(np.float32))
    program = work.session.script(path)
    assert "ndim=3" in program and "plane" not in program
    monkeypatch.setattr(ps, "load_proposer", lambda name: Balls3D())
    done: dict[str, object] = {}
    exec(program, done)
    assert np.array_equal(done["partial"], work.session.case.partial)


def test_cancel_leaves_a_volume_as_it_was(open_volume, qtbot):
    proposer = Balls3D(threading.Event())
    _, widget = open_volume(proposer)
    before = widget.work.session.case
    click(qtbot, widget.panel.volume)
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: bool(proposer.asked))
    click(qtbot, widget.panel.cancel)
    proposer.gate.set()
    threads_ended(qtbot)
    assert widget.work.candidates is None and widget.work.session.case is before


def test_uncertainty_spans_the_volume(open_volume, qtbot):
    viewer, widget = open_volume()
    click(qtbot, widget.panel.volume)
    offer(qtbot, widget)
    widget.panel.uncertainty.click()
    uncertain = viewer.layers["uncertainty"].data
    assert len(np.unique(np.nonzero(uncertain)[0])) > 5
    viewer.dims.set_current_step(0, 0)
    click(qtbot, widget.panel.most_uncertain)
    assert uncertain[viewer.dims.current_step[0]].max() == uncertain.max()


def test_in_3d_display_the_object_alone_is_seen_and_volumes_are_proposed(open_volume, qtbot):
    viewer, widget = open_volume()
    opacity = {name: viewer.layers[name].colormap.color_dict[2][3] for name in ("markers of image", "preview")}
    assert all(opacity.values()), "test invalid"
    viewer.dims.ndisplay = 3
    assert not any(viewer.layers[name].colormap.color_dict[2][3] for name in opacity)
    click(qtbot, widget.panel.propose)
    assert "2-D first, or choose Volume" in widget.panel.status.text()
    click(qtbot, widget.panel.volume)
    offer(qtbot, widget)
    assert viewer.layers["preview"].visible and viewer.layers["preview"].data.any()
    viewer.dims.ndisplay = 2
    assert {name: viewer.layers[name].colormap.color_dict[2][3] for name in opacity} == opacity


@pytest.mark.parametrize(
    ("shape", "names", "is_volume"),
    [
        ((20, 30, 40), ("z", "y", "x"), True),
        ((2, 20, 30, 40), ("c", "z", "y", "x"), True),
        ((3, 30, 40), ("c", "y", "x"), False),
        ((9, 30, 40), ("t", "y", "x"), False),
        ((30, 40), ("y", "x"), False),
    ],
)
def test_slice_or_volume_can_be_chosen_before_anything_is_brushed(open_widget, shape, names, is_volume):
    _, widget = open_widget(np.zeros(shape, np.float32), axis_labels=names)
    assert widget.panel.extent.isVisibleTo(widget) is is_volume
    if is_volume:
        widget.panel.volume.click()
        assert widget.work.tools.whole_volume and widget.work.session is None


def test_the_choice_makes_no_window_grow(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    height = widget.minimumSizeHint().height()
    assert height <= 700 and not widget.panel.extent.isVisibleTo(widget)
    viewer.add_image(disk(SHAPE, MIDDLE).astype(np.float32), name="volume")
    widget.panel.images.setCurrentIndex(1)
    click(qtbot, widget.panel.inside)
    turned(qtbot)
    assert widget.panel.extent.isVisibleTo(widget) and widget.minimumSizeHint().height() == height


def test_an_accepted_slice_is_carried_through_the_volume(open_volume, qtbot):
    _, widget = open_volume()
    work = widget.work
    truth = disk(SHAPE, MIDDLE)
    work.carry()
    qtbot.waitUntil(lambda: "slice" in widget.panel.status.text().lower() and work.candidates is None, timeout=20_000)
    slice_ = np.zeros(SHAPE, dtype=bool)
    slice_[MIDDLE[0]] = True
    work.session.mark(inside=truth & slice_, outside=~truth & slice_)
    work.carry()
    qtbot.waitUntil(lambda: work.candidates is not None, timeout=20_000)
    qtbot.waitUntil(lambda: "Carried to " in widget.panel.status.text(), timeout=20_000)
    assert (
        not widget.panel.none.isEnabled()
        and not widget.panel.smoothness.isEnabled()
        and work.on_offer.completion is None
    )
    click(qtbot, widget.panel.accept)
    added = work.session.case.partial == ps.Marker.OBJECT
    assert added.any((1, 2)).sum() > 4 and ps.metrics.dice(added, truth) > 0.7
    assert "session.carry(plane=(0, 10))" in work.session.script("volume.tif")
    click(qtbot, widget.panel.undo)
    assert (work.session.case.partial == ps.Marker.OBJECT).any((1, 2)).sum() == 1


def test_the_answer_on_show_is_what_is_carried(open_volume, qtbot):
    _, widget = open_volume()
    work, truth = widget.work, disk(SHAPE, MIDDLE)
    here = np.s_[MIDDLE[0] : MIDDLE[0] + 1, :, :]
    work.session.mark(inside=ndimage.binary_erosion(truth[here][0], iterations=4)[None], where=here)
    work.complete()
    qtbot.waitUntil(lambda: work.on_offer is not None and not work.asking.is_busy, timeout=20_000)
    widget.panel.live.setChecked(True)
    n_steps = len(work.session.steps)
    work.carry()
    qtbot.waitUntil(lambda: "Carried to " in widget.panel.status.text(), timeout=20_000)
    assert [step.verb for step in work.session.steps[n_steps:]] == ["accept"]


def test_the_answer_on_a_slice_is_kept_when_another_is_drawn_on(open_volume, qtbot):
    viewer, widget = open_volume()
    work, k = widget.work, MIDDLE[0]
    widget.panel.live.setChecked(True)
    stroke(qtbot, widget, (k, MIDDLE[1] + 1, MIDDLE[2]))  # on the same slice it goes on
    qtbot.waitUntil(lambda: work.on_offer is not None and work.on_offer is work.view.offer, timeout=20_000)
    found = work.candidates.partial[work.view.current][k] == ps.Marker.OBJECT
    viewer.dims.set_current_step(0, k + 2)
    work.layers.markers.paint((k + 2, *MIDDLE[1:]), int(ps.Marker.OBJECT))
    qtbot.waitUntil(lambda: len(work.session.steps) == 5)
    assert [step.verb for step in work.session.steps] == ["mark", "mark", "mark", "accept", "mark"]
    assert np.array_equal(work.session.case.partial[k] == ps.Marker.OBJECT, found) and found.sum() > 20
    qtbot.waitUntil(lambda: work.on_offer is not None and work.on_offer.request.plane == (0, k + 2), timeout=20_000)
    click(qtbot, widget.panel.undo)
    click(qtbot, widget.panel.undo)
    assert (work.session.case.partial == ps.Marker.OBJECT).any((1, 2)).sum() == 1 and work.candidates is not None


class Nothing(Balls3D):
    """Finds nothing to offer."""

    def propose(self, case, n=8, *, seed=0, plane=None, ndim=2):
        found = super().propose(case, n, seed=seed, plane=plane, ndim=ndim)
        return replace(found, patches=found.patches[:0], score=found.score[:0], share=found.share[:0])


def test_where_nothing_was_found_on_a_slice_a_stroke_on_another_is_not_lost(open_volume, qtbot):
    viewer, widget = open_volume(Nothing())
    work, k = widget.work, MIDDLE[0]
    widget.panel.live.setChecked(True)
    stroke(qtbot, widget, (k, MIDDLE[1] + 1, MIDDLE[2]))
    qtbot.waitUntil(lambda: work.on_offer is not None and not work.asking.is_busy, timeout=20_000)
    viewer.dims.set_current_step(0, k + 2)
    stroke(qtbot, widget, (k + 2, *MIDDLE[1:]))
    assert [step.verb for step in work.session.steps] == ["mark"] * 4


def test_only_a_volume_has_slices_to_carry_to(open_widget, qtbot):
    _, widget = open_widget(disk((48, 56), (24, 30)).astype(np.float32))
    widget.work.carry()
    assert "only a volume" in widget.panel.status.text().lower()
