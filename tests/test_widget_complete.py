"""Completing an object through the Segment widget: strokes or a box, sliders, slices and volumes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.proposers.histogram_cut import GraphCut
from napari_probseg.widgets import models as in_use
from window import click, dice, threads_ended


class Counted(GraphCut):
    """The completer without a network, which counts how often it has to look at the image."""

    def __init__(self) -> None:
        self.n_looks = 0

    def complete(self, case):
        self.n_looks += 1
        return super().complete(case)


def truth(shape: tuple[int, ...] = (64, 64)) -> np.ndarray:
    middle = np.array([n // 2 for n in shape]).reshape(-1, *(1,) * len(shape))
    return np.sqrt(((np.indices(shape) - middle) ** 2).sum(0)) <= 12


def image(shape: tuple[int, ...] = (64, 64)) -> np.ndarray:
    return (truth(shape) + np.random.default_rng(0).normal(0, 0.3, shape)).astype(np.float32)


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def open_widget(open_widget, counted):
    """Return a function that opens a noisy disk or ball, completed without a network."""

    def opener(shape=(64, 64), **kwargs):
        viewer, widget = open_widget(image(shape), GraphCut(), **kwargs)
        in_use.give(viewer, in_use.Models(GraphCut(), counted))
        return viewer, widget

    return opener


def dab(qtbot, widget, at, marker) -> None:
    click(qtbot, widget.panel.inside if marker == 1 else widget.panel.outside)
    n_steps = len(widget.work.session.steps)
    widget.work.layers.markers.brush_size = 6
    widget.work.layers.markers.paint(at, marker)
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == n_steps + 1)


def brushed(qtbot, widget) -> None:
    dab(qtbot, widget, (32, 32), 1)
    dab(qtbot, widget, (6, 6), 2)


def completed(qtbot, widget) -> np.ndarray:
    click(qtbot, widget.panel.complete)
    qtbot.waitUntil(
        lambda: widget.work.on_offer is not None and widget.work.on_offer.completion is not None, timeout=20_000
    )
    return widget.work.candidates.partial[0] == ps.Marker.OBJECT


def test_one_click_completes_the_object(open_widget, qtbot):
    viewer, widget = open_widget()
    brushed(qtbot, widget)
    assert dice(completed(qtbot, widget), truth()) > 0.93
    assert len(widget.panel.gallery.cells) == 1
    assert not widget.panel.none.isEnabled() and not widget.panel.next.isEnabled()
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    assert dice(viewer.layers["objects of image"].data == 1, truth()) > 0.93


def test_the_key_does_it_too(open_widget, qtbot):
    _, widget = open_widget()
    brushed(qtbot, widget)
    qtbot.keyClick(widget.panel, Qt.Key.Key_W)
    qtbot.waitUntil(lambda: widget.work.candidates is not None, timeout=20_000)


def test_sliders_cut_again_without_another_look(open_widget, qtbot, counted):
    _, widget = open_widget()
    assert not widget.panel.smoothness.isEnabled(), "there is nothing to cut yet"
    brushed(qtbot, widget)
    completed(qtbot, widget)
    first = widget.work.candidates
    widget.panel.smoothness.setValue(0)
    widget.panel.smoothness.setValue(20)
    qtbot.waitUntil(lambda: widget.work.on_offer.request.arguments.get("smoothness", 0) > 50, timeout=20_000)
    assert counted.n_looks == 1
    assert widget.work.candidates is not first
    assert not np.array_equal(widget.work.candidates.patches, first.patches)
    click(qtbot, widget.panel.accept)
    session = widget.work.session
    accepted, n_steps = session.case.partial.copy(), len(session.steps)
    assert widget.panel.smoothness.isEnabled(), "what was accepted can be changed"
    widget.panel.smoothness.setValue(0)
    qtbot.waitUntil(lambda: session.steps[-1].arguments["request"].get("smoothness") == 0, timeout=20_000)
    assert counted.n_looks == 1 and len(session.steps) == n_steps and session.steps[-1].verb == "accept"
    assert not np.array_equal(session.case.partial, accepted) and session.case.strokes[32, 32] == 1
    click(qtbot, widget.panel.finish)
    assert not widget.panel.smoothness.isEnabled(), "it is finished"


def test_a_stroke_takes_the_completion_off_offer(open_widget, qtbot, counted):
    _, widget = open_widget()
    brushed(qtbot, widget)
    completed(qtbot, widget)
    dab(qtbot, widget, (50, 50), 2)
    assert widget.work.on_offer is None
    widget.panel.smoothness.setValue(3)
    threads_ended(qtbot)
    assert widget.work.candidates is None
    assert not completed(qtbot, widget)[50, 50]
    assert counted.n_looks == 2


def test_undo_takes_a_completion_back(open_widget, qtbot):
    viewer, widget = open_widget()
    brushed(qtbot, widget)
    before = viewer.layers["markers of image"].data.copy()
    completed(qtbot, widget)
    click(qtbot, widget.panel.accept)
    assert not np.array_equal(viewer.layers["markers of image"].data, before)
    click(qtbot, widget.panel.undo)
    assert np.array_equal(viewer.layers["markers of image"].data, before)


def test_the_rectangle_of_a_selected_shapes_layer_is_taken(open_widget, qtbot):
    viewer, widget = open_widget(scale=(0.5, 0.5))
    click(qtbot, widget.panel.inside)
    viewer.add_shapes([[[8.5, 8.5], [8.5, 23.5], [23.5, 23.5], [23.5, 8.5]]], shape_type="rectangle", name="mine")
    click(qtbot, widget.panel.box)
    markers = viewer.layers["markers of image"].data
    assert not markers[17:48, 17:48].any() and (markers[15:17, 15:50] == ps.Marker.BACKGROUND).all()
    assert "mine" in viewer.layers, "a layer of the user stays"


def test_a_slice_or_the_volume(open_widget, qtbot):
    shape = (30, 40, 44)
    viewer, widget = open_widget(shape)
    viewer.dims.set_current_step(0, 15)
    assert widget.panel.extent.isVisibleTo(widget.panel)
    dab(qtbot, widget, (15, 20, 22), 1)
    dab(qtbot, widget, (15, 4, 4), 2)
    flat = completed(qtbot, widget)
    assert dice(flat[15], truth(shape)[15]) > 0.93
    assert flat.sum() == flat[15].sum()
    click(qtbot, widget.panel.volume)
    assert dice(completed(qtbot, widget), truth(shape)) > 0.93


def test_a_volume_adds_millilitres_and_a_slice_an_area(open_widget, qtbot):
    viewer, widget = open_widget((30, 40, 44), scale=(2, 1, 1), units="mm")
    viewer.dims.set_current_step(0, 15)
    dab(qtbot, widget, (15, 20, 22), 1)
    dab(qtbot, widget, (15, 4, 4), 2)
    completed(qtbot, widget)
    assert "mm² of object" in widget.panel.gallery.cells[0].toolTip()
    click(qtbot, widget.panel.volume)
    mask = completed(qtbot, widget)
    caption = widget.panel.gallery.cells[0].toolTip()
    assert f"{2 * np.count_nonzero(mask) / 1000:.2g}"[:3] in caption
    assert "mL of object" in caption
    assert "samples" not in caption


def test_the_probability_becomes_a_layer(open_widget, qtbot):
    viewer, widget = open_widget()
    brushed(qtbot, widget)
    completed(qtbot, widget)
    menu_of(widget)["Probability as a layer"].trigger()
    layer = viewer.layers["probability"]
    assert layer.data.shape == (64, 64)
    assert layer.data[truth()].mean() > 0.8
    assert layer.data[~truth()].mean() < 0.2


def test_the_menu_says_what_completes_and_changes_it(open_widget, qtbot):
    _, widget = open_widget()
    means = {action.text(): action for action in menu_of(widget)["Complete by"].menu().actions()}
    assert [text for text, action in means.items() if action.isChecked()] == ["a network"]
    means["the strokes’ intensities (no network)"].trigger()
    assert widget.work.tools.completer == "intensities"


def test_how_many_candidates_there_are_is_chosen_in_the_menu(open_widget):
    def ways():
        return {action.text(): action for action in menu_of(widget)["Candidates"].menu().actions()}

    _, widget = open_widget()
    assert [text for text, action in ways().items() if action.isChecked()] == [f"{widget.work.tools.n} ways"]
    ways()["4 ways"].trigger()
    assert widget.work.tools.n == 4
    assert [text for text, action in ways().items() if action.isChecked()] == ["4 ways"]


def menu_of(widget):
    widget.panel.menu.aboutToShow.emit()
    return {action.text(): action for action in widget.panel.menu.actions()}


def test_contradicting_strokes_and_none_are_told(open_widget, qtbot):
    _, widget = open_widget()
    click(qtbot, widget.panel.complete)
    qtbot.waitUntil(lambda: "no stroke" in widget.panel.status.text(), timeout=20_000)


def test_the_script_does_it_again(open_widget, qtbot, tmp_path):
    _, widget = open_widget()
    brushed(qtbot, widget)
    completed(qtbot, widget)
    click(qtbot, widget.panel.accept)
    ps.write(tmp_path / "image.tif", image())
    program = widget.work.session.script(str(tmp_path / "image.tif"))
    assert "session.completer = ps.load_completer('intensities')" in program
    done: dict[str, object] = {}
    exec(program, done)
    assert np.array_equal(done["partial"], widget.work.session.case.partial)
