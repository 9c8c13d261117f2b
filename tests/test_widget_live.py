"""Live answers in the window: after each stroke, as an outline; nothing is lost, and nothing stale is accepted."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.case import Marker
from napari_probseg.engine.models import Model
from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.layers.outline import outline
from napari_probseg.widgets.segment.slider_scales import smoothness_at
from napari_probseg.widgets.segment.view_state import BUSY_HINT, LIVE_HINT, PROPOSE_HINT, STROKES_HINT
from napari_probseg.widgets.settings import LIVE_ON
from window import Balls, asked, click, crash, disk, gone_on, press, shown, stroke, threads_ended, turned

LIVE = LIVE_ON


@pytest.fixture
def gated(open_widget):
    """Return the widget and its proposer, which answers when its gate opens."""
    proposer = Balls(threading.Event())
    viewer, widget = open_widget(disk().astype(np.float32), proposer)
    yield viewer, widget, proposer
    proposer.gate.set()


def test_after_each_stroke_the_answer_is_on_show(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    assert widget.panel.live.isChecked()
    stroke(qtbot, widget, (30, 30))
    first = shown(qtbot, widget).copy()
    assert first.any() and widget.panel.accept.isEnabled() and len(widget.panel.gallery.cells) == 6
    stroke(qtbot, widget, (50, 50))
    assert not np.array_equal(shown(qtbot, widget), first)
    press(qtbot, widget, Qt.Key.Key_K)
    assert (widget.work.session.case.partial == Marker.OBJECT).sum() > 50
    threads_ended(qtbot)


def test_who_goes_on_sees_the_answer_to_the_latest_strokes_again(open_widget, qtbot):
    image = disk().astype(np.float32)
    _, widget = open_widget(image)
    stroke(qtbot, widget, (30, 30))
    before = shown(qtbot, widget).copy()
    crash(widget)
    _, again = open_widget(image)
    asked(qtbot, again)
    gone_on(qtbot, again)
    assert np.array_equal(shown(qtbot, again), before)
    press(qtbot, again, Qt.Key.Key_Q)
    assert (again.work.session.objects > 0).sum() > 50, "the object is finished with it"
    threads_ended(qtbot)


def test_who_goes_on_in_a_volume_is_where_the_latest_stroke_was_drawn(open_widget, qtbot):
    image = np.stack([disk().astype(np.float32)] * 9)
    viewer, widget = open_widget(image)
    viewer.dims.set_current_step(0, 2)
    stroke(qtbot, widget, (2, 30, 30))
    crash(widget)
    viewer, again = open_widget(image)
    viewer.dims.set_current_step(0, 4)
    asked(qtbot, again)
    gone_on(qtbot, again)
    assert viewer.dims.current_step[0] == 2 and shown(qtbot, again).any()


def test_an_answer_on_show_comes_again_where_the_image_has_other_distances_or_channels(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    other = viewer.add_image(disk().astype(np.float32), name="other")
    viewer.layers.selection.active = viewer.layers["image"]
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    offered = widget.work.on_offer
    widget.work.use_channels([bare(other)])
    qtbot.waitUntil(lambda: widget.work.on_offer not in (None, offered), timeout=20_000)
    assert widget.work.candidates.case.n_channels == 2
    offered = widget.work.on_offer
    viewer.layers["image"].scale = (2, 1)
    assert widget.work.possible_channels() == [bare(other)], "else it could be given up no more"
    qtbot.waitUntil(lambda: widget.work.on_offer not in (None, offered), timeout=20_000)
    assert widget.work.session.case.spacing == (2, 1)
    viewer.layers["image"].name = "another name"
    assert widget.panel.images.currentText() == "another name"


def test_an_answer_on_show_comes_again_where_the_finished_objects_are_refined(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    widget.work.prepare()
    widget.work.session.mark(disk(middle=(8, 8)) | (disk(middle=(55, 55)) > 0))
    widget.work.finish_object()
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    offered = widget.work.on_offer
    widget.work.refine("largest", True)
    qtbot.waitUntil(lambda: widget.work.session.steps[-1].verb == "refine", timeout=20_000)
    qtbot.waitUntil(lambda: widget.work.on_offer not in (None, offered), timeout=20_000)


def test_strokes_during_an_answer_are_all_in_the_next_one(gated, qtbot):
    _, widget, proposer = gated
    stroke(qtbot, widget, (20, 20))
    qtbot.waitUntil(lambda: len(proposer.asked) == 1)
    for at in ((30, 30), (30, 40), (40, 30)):
        stroke(qtbot, widget, at)
    assert not widget.panel.progress.isVisible() and widget.panel.propose.isEnabled(), "it is calm"
    proposer.gate.set()
    shown(qtbot, widget)
    threads_ended(qtbot)
    assert [step.verb for step in widget.work.session.steps] == ["mark"] * 4
    assert all((proposer.asked[-1][0].strokes[at] == Marker.OBJECT) for at in ((20, 20), (30, 30), (30, 40), (40, 30)))


def test_what_is_stale_stays_on_show_and_is_not_accepted(gated, qtbot):
    _, widget, proposer = gated
    proposer.gate.set()
    stroke(qtbot, widget, (30, 30))
    before = shown(qtbot, widget).copy()
    threads_ended(qtbot)
    proposer.gate.clear()
    stroke(qtbot, widget, (40, 40))
    np.testing.assert_array_equal(widget.work.view.passing._layer.data, before, "the border does not flicker")
    assert not widget.panel.accept.isEnabled() and not widget.panel.gallery.isEnabled()
    press(qtbot, widget, Qt.Key.Key_K)
    widget.panel.gallery.chosen.emit(1)
    assert [step.verb for step in widget.work.session.steps] == ["mark", "mark"]
    proposer.gate.set()
    shown(qtbot, widget)
    assert widget.panel.accept.isEnabled()


def test_finishing_takes_what_is_on_show(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    widget.work.view.show(2)
    n_shown = int((widget.work.candidates.patches[2] == Marker.OBJECT).sum())
    press(qtbot, widget, Qt.Key.Key_Q)
    assert [step.verb for step in widget.work.session.steps] == ["mark", "accept", "finish"]
    assert (widget.work.session.objects == 1).sum() == n_shown
    press(qtbot, widget, Qt.Key.Key_U)
    press(qtbot, widget, Qt.Key.Key_U)
    assert [step.verb for step in widget.work.session.steps] == ["mark"]


def test_an_error_that_nobody_asked_for_is_said_calmly(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (50, 50), Marker.BACKGROUND)
    qtbot.waitUntil(lambda: "brush inside" in widget.panel.status.text())
    assert not widget.panel.status.property("error")


def test_the_switch_turns_it_off_and_on(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    widget.panel.live.setChecked(False)
    stroke(qtbot, widget, (30, 30))
    threads_ended(qtbot)
    assert widget.work.candidates is None and not widget.work.asking.is_busy
    widget.panel.live.setChecked(True)
    assert shown(qtbot, widget).any(), "the answer to what was drawn comes at once"


def test_an_outline_is_the_rim_of_the_object_and_a_fill_all_of_it(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    inside = np.zeros((64, 64), bool)
    candidates = widget.work.candidates
    inside[candidates.where] = candidates.patches[0] == Marker.OBJECT
    drawn = viewer.layers["preview"].data == Marker.OBJECT
    assert drawn.any() and not (drawn & ~inside).any() and drawn.sum() < inside.sum() / 2
    widget.panel.fill.setChecked(True)
    new = inside & (widget.work.session.case.partial != Marker.OBJECT)
    np.testing.assert_array_equal(viewer.layers["preview"].data == Marker.OBJECT, new)


@pytest.mark.parametrize("thickness", [1, 2])
def test_the_outline_of_a_square(thickness):
    square = np.zeros((12, 12), bool)
    square[2:10, 3:9] = True
    core = np.zeros_like(square)
    core[2 + thickness : 10 - thickness, 3 + thickness : 9 - thickness] = True
    np.testing.assert_array_equal(outline(square, (0, 1), thickness), square & ~core)
    stack = np.stack([square, square])
    np.testing.assert_array_equal(outline(stack, (1, 2), thickness)[1], square & ~core, "on each slice")


def test_a_held_key_or_button_shows_the_image_alone(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    viewer.layers["objects of image"].visible = False
    before = {layer.name: layer.visible for layer in viewer.layers}
    button, left = widget.panel.bare, Qt.MouseButton.LeftButton
    for hold, let_go in (
        (
            lambda: qtbot.keyPress(widget.panel, Qt.Key.Key_Comma),
            lambda: qtbot.keyRelease(widget.panel, Qt.Key.Key_Comma),
        ),
        (lambda: qtbot.mousePress(button, left), lambda: qtbot.mouseRelease(button, left)),
    ):
        hold()
        assert [layer.name for layer in viewer.layers if layer.visible] == ["image"]
        let_go()
        assert {layer.name: layer.visible for layer in viewer.layers} == before


def test_escape_gives_up_what_was_asked(gated, qtbot):
    _, widget, proposer = gated
    widget.panel.live.setChecked(False)
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    assert widget.panel.cancel.isEnabled()
    press(qtbot, widget, Qt.Key.Key_Escape)
    assert "Cancelled" in widget.panel.status.text() and not widget.panel.cancel.isEnabled()
    proposer.gate.set()
    threads_ended(qtbot)
    turned(qtbot)
    assert widget.work.candidates is None


def test_what_is_given_up_for_a_stroke_is_told_beside_the_answer_to_that(gated, qtbot):
    _, widget, proposer = gated
    widget.panel.live.click()
    stroke(qtbot, widget, (30, 30))
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: len(proposer.asked) == 1)
    stroke(qtbot, widget, (40, 40))
    assert widget.panel.status.text() == "“Propose” was given up for your stroke: ask again."
    click(qtbot, widget.panel.propose)
    widget.panel.live.click()
    stroke(qtbot, widget, (20, 20))
    proposer.gate.set()
    shown(qtbot, widget)
    assert "given up" not in widget.panel.status.text(), "that is the answer to it"


def test_the_hint_is_true_whatever_became_of_a_question(gated, qtbot):
    _, widget, proposer = gated

    def hint() -> str:
        return widget.panel.gallery._hint.text()

    assert hint() == LIVE_HINT
    stroke(qtbot, widget, (30, 30))
    assert hint() == BUSY_HINT, "the answer is awaited"
    widget.work.cancel()
    assert hint() == STROKES_HINT
    press(qtbot, widget, Qt.Key.Key_U)
    assert hint() == LIVE_HINT, "nothing is drawn"
    proposer.propose = refusing
    stroke(qtbot, widget, (30, 30))
    qtbot.waitUntil(lambda: "no such thing" in widget.panel.status.text(), timeout=20_000)
    assert hint() == STROKES_HINT
    widget.panel.live.click()
    assert hint() == PROPOSE_HINT


def refusing(*_, **__):
    raise ValueError("there is no such thing here")


REAL = """
import sys, time, tempfile
from pathlib import Path
import napari
from qtpy.QtWidgets import QApplication
from skimage.data import cell
from napari_probseg.widgets.segment import recovery
from napari_probseg.widgets.segment.widget import SegmentWidget
from napari_probseg.widgets.settings import Settings
import napari_probseg.widgets.segment.widget as module
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
recovery.settings_folder = lambda: Path(folder.name)
module.read_settings = lambda: Settings(live="always", device="cpu")

def until(done, seconds=150):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, widget.panel.status.text()
        QApplication.processEvents()
        time.sleep(0.005)

viewer = napari.Viewer()
viewer.add_image(cell()[300:500, 350:550])
widget = SegmentWidget(viewer)
viewer.window.add_dock_widget(widget)
work = widget.work
widget.panel.inside.click()
work.layers.markers.paint((85, 80), 1)
until(lambda: work.session.on_offer is not None and work.session.on_offer.is_sampled)
assert (work.candidates.patches[0] == 1).sum() > 5000, "the cell"
work.accept()
work.layers.markers.paint((10, 10), 2)
until(lambda: work.session.on_offer is not None and work.session.on_offer.is_sampled)
work.complete()
until(lambda: work.on_offer is not None and work.on_offer.completion is not None)
work.finish()
assert work.session.max_label == 1
work.session.note_saved("", whole=False)  # else it asks what is to become of the object
widget.release()
viewer.close()
assert "torch" not in sys.modules
"""


def test_a_real_window_imports_no_torch():
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_script_of_what_was_taken_live_gives_the_same(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    press(qtbot, widget, Qt.Key.Key_K)
    session = widget.work.session
    again = ps.Session(ps.Case(disk().astype(np.float32)), Balls())
    step = session.steps[0]
    where = step.changes[0].where
    again.mark(step.changes[1].after == Marker.OBJECT, where=where)
    request = session.steps[1].arguments["request"]
    again.propose(request["n"], seed=request["seed"])
    again.accept(session.steps[1].arguments["i"])
    np.testing.assert_array_equal(again.case.partial, session.case.partial)


def test_what_was_turned_to_stays_on_show_after_the_next_stroke(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    shown(qtbot, widget)
    for _ in range(5):
        widget.work.next()
    chosen = shown(qtbot, widget).copy()
    stroke(qtbot, widget, (31, 30))
    after = shown(qtbot, widget)
    threads_ended(qtbot)
    session = widget.work.session
    assert session.looked_at == widget.work.view.current > 0 and session.is_chosen
    assert [cell.index for cell in widget.panel.gallery.cells if cell._current] == [session.looked_at]
    assert np.count_nonzero(after != chosen) < 0.3 * np.count_nonzero(chosen)


def test_the_gallery_goes_along_with_the_sliders(open_widget, qtbot):
    image = (disk() + np.random.default_rng(0).normal(0, 0.2, (64, 64))).astype(np.float32)
    _, widget = open_widget(image, Model())
    panel = widget.panel

    def gallery(smoothness=None):
        """Return whether other ways to go on are on offer that are cut so."""
        offer = widget.work.on_offer
        is_there = offer is not None and offer.is_sampled
        return is_there and offer.request.arguments.get("smoothness") == smoothness and len(panel.gallery.cells) > 1

    stroke(qtbot, widget, (30, 30))
    qtbot.waitUntil(gallery, timeout=60_000)
    before = widget.work.candidates.patches[0]
    panel.smoothness.setValue(panel.smoothness.value() + 3)
    smoothness = smoothness_at(panel.smoothness.value())
    qtbot.waitUntil(lambda: gallery(smoothness), timeout=60_000)
    session = widget.work.session
    assert panel.smoothness.isEnabled()
    after = session.candidates.patches[0]
    assert after.shape != before.shape or (after != before).any()
    stroke(qtbot, widget, (32, 34))
    qtbot.waitUntil(lambda: gallery(smoothness), timeout=60_000)
    widget.work.accept(0)
    assert f"smoothness={smoothness}" in session.script("image.tif") and panel.smoothness.isEnabled()
    accepted = session.case.partial.copy()
    panel.smoothness.setValue(0)
    qtbot.waitUntil(lambda: session.steps[-1].arguments["request"].get("smoothness") == 0, timeout=60_000)
    assert (session.case.partial != accepted).any() and session.steps[-1].verb == "accept", "alone, as it was accepted"
    threads_ended(qtbot)


def test_another_candidate_that_was_accepted_is_not_cut_anew(open_widget, qtbot):
    image = (disk() + np.random.default_rng(0).normal(0, 0.2, (64, 64))).astype(np.float32)
    _, widget = open_widget(image, Model())
    stroke(qtbot, widget, (30, 30))
    qtbot.waitUntil(lambda: len(widget.panel.gallery.cells) > 1, timeout=60_000)
    widget.work.accept(1)
    assert widget.work.session.accepted is None and not widget.panel.smoothness.isEnabled()
    threads_ended(qtbot)
