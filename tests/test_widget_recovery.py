"""Never a lost stroke: journals of the window, going on where one was, closing the dock and napari."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from copy import copy, deepcopy
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

import napari_probseg as ps
from napari_probseg.proposers.fine_tuned import fingerprint, unpacked
from napari_probseg.session.journal import journals_in, read_journal
from napari_probseg.session.journal.records import records_of
from napari_probseg.widgets.messages import offer_of, question_of
from napari_probseg.widgets.segment import closing
from napari_probseg.widgets.segment.closing import CANCEL, DISCARD, KEEP, Guard
from napari_probseg.widgets.segment.widget import SegmentWidget
from sessions import state
from window import Balls, click, disk, offer, press, stroke

IMAGE = disk().astype(np.float32)


def finish_one(qtbot, widget, at=(30, 30)) -> None:
    stroke(qtbot, widget, at)
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)


def crash(widget) -> ps.Session:
    """Let the work end as a killed program leaves it: nothing more is written."""
    session = widget.work.session
    assert session.journal.flush(10)
    session.journal.close()
    session.journal = None
    return session


def asked(qtbot, widget) -> str:
    qtbot.waitUntil(lambda: bool(widget.work.question), timeout=20_000)
    assert widget.panel.question.isVisibleTo(widget) and not widget.panel.work.isVisibleTo(widget)
    return widget.panel.question.text.text()


def gone_on(qtbot, widget) -> ps.Session:
    click(qtbot, widget.panel.question.go_on)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert widget.panel.work.isVisibleTo(widget)
    return widget.work.session


def test_every_step_of_the_window_is_in_its_journal(open_widget, qtbot, journals):
    _, widget = open_widget(IMAGE)
    assert not journals_in(journals), "nothing was done"
    finish_one(qtbot, widget)
    stroke(qtbot, widget, (50, 50))
    click(qtbot, widget.panel.undo)
    session = widget.work.session
    assert session.journal.flush(10)
    (path,) = journals_in(journals)
    kept = read_journal(path)
    assert [s.verb for s in kept.stored.done] == ["mark", "accept", "finish"] and len(kept.stored.undone) == 1
    assert kept.n_objects == 1 and kept.subject.name == "image"


def test_the_work_goes_on_where_it_was(open_widget, qtbot, journals):
    _, widget = open_widget(IMAGE)
    finish_one(qtbot, widget)
    stroke(qtbot, widget, (50, 50))
    stroke(qtbot, widget, (5, 5), ps.Marker.BACKGROUND)
    click(qtbot, widget.panel.undo)
    before = crash(widget)
    viewer, again = open_widget(IMAGE)
    question = asked(qtbot, again)
    assert "4 steps, 1 finished object, today" in question and "“image”" in question
    session = gone_on(qtbot, again)
    assert state(session) == state(before)
    assert np.array_equal(viewer.layers["objects of image"].data, before.objects)
    assert viewer.layers["markers of image"].data[50, 50] == 1
    click(qtbot, again.panel.redo)
    assert session.case.strokes[5, 5] == 2
    while session.can_undo:
        click(qtbot, again.panel.undo)
    assert not session.objects.any()
    assert session.journal.flush(10)
    (path,) = journals_in(journals)
    assert len(read_journal(path).stored.undone) == 5, "the same journal goes on"


def test_what_was_learnt_of_the_image_comes_back(open_widget, qtbot):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    completer = ps.load_completer(device="cpu")
    tuned, network = copy(completer), deepcopy(completer.networks[2])
    next(network.control.parameters()).data.add_(1)
    tuned.networks = {**completer.networks, 2: network}
    widget.work.session.adapt(tuned)
    crash(widget)
    _, again = open_widget(IMAGE)
    asked(qtbot, again)
    session = gone_on(qtbot, again)
    assert (
        fingerprint(unpacked(session.learnt.tuned, [completer]).networks[2]) == fingerprint(network)
        and not session.lacks_learnt
    )
    assert again.panel.status.text() == "Go on where you were."
    crash(again)
    _, third = open_widget(IMAGE)
    asked(qtbot, third)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("napari_probseg.proposers.fine_tuned.fingerprint", lambda _: "another")
        session = gone_on(qtbot, third)
    assert session.lacks_learnt and "fine-tune again" in third.panel.status.text()


def test_to_start_anew_puts_the_earlier_work_aside(open_widget, qtbot, journals):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    before = crash(widget)
    _, again = open_widget(IMAGE)
    asked(qtbot, again)
    press(qtbot, again, Qt.Key.Key_8)
    assert "choose Go on or Start anew first" in again.panel.status.text() and again.work.session is None
    click(qtbot, again.panel.question.anew)
    assert not again.work.question and "stays in a file" in again.panel.status.text()
    stroke(qtbot, again, (10, 10))
    (aside,) = [path for path in journals_in(journals) if path.name.endswith(".earlier.journal")]
    assert state(ps.Session.load(aside, IMAGE)) == state(before)
    crash(again)
    _, third = open_widget(IMAGE)
    assert "1 step," in asked(qtbot, third)
    assert gone_on(qtbot, third).case.strokes[10, 10], "the work put aside is not offered"


def worked_on_file(open_widget, qtbot, path, image=IMAGE) -> ps.Session:
    """Work on an image in a file, until the program is killed."""
    tifffile.imwrite(path, image)
    viewer, widget = open_widget()
    viewer.open(str(path), plugin="napari")
    finish_one(qtbot, widget)
    session = crash(widget)
    viewer.layers.clear()
    return session


def offered(qtbot, widget) -> str:
    qtbot.waitUntil(lambda: not widget.work.resuming.is_looking, timeout=20_000)
    empty = widget.panel.empty
    assert empty.isVisibleTo(widget)
    return empty.go_on.text() if empty.earlier.isVisibleTo(widget) else ""


def test_the_latest_work_is_offered_before_its_image_is_opened(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "first.tif")
    before = worked_on_file(open_widget, qtbot, tmp_path / "second.tif", IMAGE + 1)
    viewer, widget = open_widget()
    assert offered(qtbot, widget) == "Go on with “second”"
    assert "3 steps, 1 finished object, today" in widget.panel.empty.go_on.toolTip()
    click(qtbot, widget.panel.empty.go_on)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert widget.panel.status.text() == "Go on where you were." and not widget.work.question
    assert state(widget.work.session) == state(before) and widget.work.image.name == "second"
    assert np.array_equal(viewer.layers["objects of second"].data, before.objects)


def test_the_offer_is_made_once_and_leaves_the_work_where_it_is(open_widget, qtbot, tmp_path):
    before = worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    viewer, widget = open_widget()
    assert offered(qtbot, widget)
    click(qtbot, widget.panel.empty.not_now)
    assert not offered(qtbot, widget)
    viewer.open(str(tmp_path / "cell.tif"), plugin="napari")
    asked(qtbot, widget)
    assert state(gone_on(qtbot, widget)) == state(before)


def test_to_open_an_image_takes_the_offer_back(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    viewer, widget = open_widget()
    assert offered(qtbot, widget)
    viewer.add_image(IMAGE + 5)
    viewer.layers.clear()
    assert not offered(qtbot, widget)
    viewer, widget = open_widget(IMAGE + 5)
    assert not widget.work.resuming.is_looking and not widget.work.offered_work


def test_what_cannot_be_opened_is_not_offered_or_told(open_widget, qtbot, tmp_path):
    before = worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    worked_on_file(open_widget, qtbot, tmp_path / "gone.tif", IMAGE + 1)
    (tmp_path / "gone.tif").unlink()
    _, widget = open_widget()
    assert offered(qtbot, widget) == "Go on with “cell”", "the latest one whose image is there"
    (tmp_path / "cell.tif").write_bytes(b"II*" + bytes(40))
    click(qtbot, widget.panel.empty.go_on)
    assert widget.panel.status.property("error") and widget.panel.empty.isVisibleTo(widget)
    tifffile.imwrite(tmp_path / "cell.tif", IMAGE + 2)
    _, widget = open_widget()
    assert offered(qtbot, widget)
    click(qtbot, widget.panel.empty.go_on)
    assert "its intensities are others" in asked(qtbot, widget), "another image is asked about"
    assert state(gone_on(qtbot, widget)) == state(before)


def test_another_shape_than_the_work_was_done_on_is_told(open_widget, qtbot, tmp_path):
    worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    tifffile.imwrite(tmp_path / "cell.tif", IMAGE[:-3])
    _, widget = open_widget()
    assert offered(qtbot, widget)
    click(qtbot, widget.panel.empty.go_on)
    assert "another image than the work was done on" in widget.panel.status.text() and widget.work.image is not None


def test_journals_beside_images_are_offered_too(open_widget, qtbot, tmp_path, monkeypatch, journals):
    from napari_probseg.widgets.segment import widget as module
    from napari_probseg.widgets.settings import BESIDE_IMAGE, Settings

    monkeypatch.setattr(module, "read_settings", lambda: Settings(journal=BESIDE_IMAGE))
    before = worked_on_file(open_widget, qtbot, tmp_path / "cell.tif")
    assert journals_in(tmp_path) and not journals_in(journals)
    _, widget = open_widget()
    assert offered(qtbot, widget) == "Go on with “cell”"
    click(qtbot, widget.panel.empty.go_on)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert state(widget.work.session) == state(before)


def test_another_image_is_not_asked_about_unless_its_file_is_the_same(open_widget, qtbot, tmp_path, journals):
    path = tmp_path / "cell.tif"
    tifffile.imwrite(path, IMAGE)
    viewer, widget = open_widget()
    viewer.open(str(path), plugin="napari")
    stroke(qtbot, widget, (30, 30))
    before = crash(widget)
    _, other = open_widget(IMAGE + 1)
    qtbot.waitUntil(lambda: not other.work.recovery.is_pending, timeout=20_000)
    assert not other.work.question
    tifffile.imwrite(path, IMAGE + 1)
    viewer, again = open_widget()
    viewer.open(str(path), plugin="napari")
    assert "another image of the same shape: its intensities are others" in asked(qtbot, again)
    session = gone_on(qtbot, again)
    assert state(session) == state(before) and session.journal.flush(10)
    assert len(journals_in(journals)) == 2, "the work on the image as it was stays"


def test_work_in_another_window_is_left_alone(open_widget, qtbot):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    assert widget.work.session.journal.flush(10)
    _, other = open_widget(IMAGE)
    qtbot.waitUntil(lambda: not other.work.recovery.is_pending, timeout=20_000)
    assert not other.work.question
    stroke(qtbot, other, (10, 10))
    assert other.work.session.journal.path != widget.work.session.journal.path


def test_journals_lie_beside_the_image_where_that_is_set(open_widget, qtbot, tmp_path, monkeypatch, journals):
    from napari_probseg.widgets.segment import widget as module
    from napari_probseg.widgets.settings import BESIDE_IMAGE, LIVE_OFF, Settings

    monkeypatch.setattr(module, "read_settings", lambda: Settings(journal=BESIDE_IMAGE, live=LIVE_OFF))
    tifffile.imwrite(tmp_path / "cell.tif", IMAGE)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell.tif"), plugin="napari")
    stroke(qtbot, widget, (30, 30))
    assert widget.work.session.journal.flush(10)
    assert len(journals_in(tmp_path)) == 1 and not journals_in(journals)


def test_a_disk_that_fails_is_told_and_the_work_goes_on(open_widget, qtbot, monkeypatch):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    assert widget.work.session.journal.flush(10)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        stroke(qtbot, widget, (10, 10))
        qtbot.waitUntil(lambda: "No space left on device" in widget.panel.status.text())
        assert widget.panel.status.property("error") and "goes on in memory" in widget.panel.status.text()
        stroke(qtbot, widget, (50, 10))
    stroke(qtbot, widget, (50, 50))
    assert widget.work.session.journal.flush(10)
    assert len(read_journal(widget.work.session.journal.path).stored.done) == 4


def test_closing_the_dock_keeps_the_session(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    finish_one(qtbot, widget)
    stroke(qtbot, widget, (50, 50))
    offer(qtbot, widget)
    session, names = widget.work.session, [layer.name for layer in viewer.layers]
    viewer.window.remove_dock_widget(widget)
    viewer.layers["markers of image"].paint((10, 10), 2)
    again = SegmentWidget(viewer, Balls())
    viewer.window.add_dock_widget(again, name="Segment")
    assert again.work.session is session and again.work.candidates is not None and again.panel.gallery.cells
    qtbot.waitUntil(lambda: len(session.steps) == 5)
    assert session.case.strokes[10, 10] == 2, "what was painted meanwhile is a stroke"
    assert [layer.name for layer in viewer.layers if layer.name != "preview"] == [n for n in names if n != "preview"]
    stroke(qtbot, again, (50, 10))
    click(qtbot, again.panel.undo)
    assert viewer.layers["markers of image"].data[50, 10] == 0
    again.release()


def test_objects_changed_while_the_dock_was_closed_stay_as_a_layer(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    finish_one(qtbot, widget)
    session = widget.work.session
    viewer.window.remove_dock_widget(widget)
    edited = viewer.layers["objects of image"]
    edited.paint((60, 60), 9)
    again = SegmentWidget(viewer, Balls())
    viewer.window.add_dock_widget(again, name="Segment")
    assert edited in viewer.layers and edited.data[60, 60] == 9 and not session.objects[60, 60]
    assert np.array_equal(again.work.layers.objects.data, session.objects)
    again.release()


def test_a_stroke_that_is_still_drawn_when_a_key_accepts_is_kept(open_widget, qtbot):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    layers, n_steps = widget.work.layers, len(widget.work.session.steps)
    event = type("Event", (), {"type": "mouse_press"})()
    drag = next(c for c in layers.markers.mouse_drag_callbacks if c.__name__ == "follow")(layers.markers, event)
    next(drag)
    layers.markers.data[31, 29:33] = 2  # what the brush has written so far: napari tells of it at the end
    press(qtbot, widget, Qt.Key.Key_K)
    session = widget.work.session
    assert (session.case.strokes[31, 29:33] == 2).all() and len(session.steps) == n_steps + 1
    assert "propose first" in widget.panel.status.text(), "the candidates were about other strokes"
    event.type = "mouse_release"
    assert next(drag, None) is None and not layers.is_drawing


@pytest.mark.parametrize("answer", [KEEP, DISCARD, CANCEL])
def test_closing_napari_asks_about_unsaved_objects(open_widget, qtbot, monkeypatch, answer, journals):
    _, widget = open_widget(IMAGE)
    window = widget.parent()
    while window.parent() is not None:
        window = window.parent()
    closing.guard(widget, widget.work.images)
    guard = window.findChild(Guard)
    asked_about = []
    monkeypatch.setattr(closing, "_ask", lambda _, unsaved: asked_about.append(len(unsaved)) or answer)
    stroke(qtbot, widget, (50, 50))
    assert guard._may_close() and not asked_about, "strokes alone stay in the journal"
    finish_one(qtbot, widget)
    assert guard._may_close() is (answer != CANCEL) and asked_about == [1]
    assert len(journals_in(journals)) == (answer != DISCARD)
    stroke(qtbot, widget, (10, 10))
    session = widget.work.session
    assert session.journal.flush(10) and len(read_journal(session.journal.path).stored.done) == len(session.steps)


def test_what_is_saved_is_not_asked_about_and_its_journal_is_removed(
    open_widget, qtbot, monkeypatch, tmp_path, journals
):
    _, widget = open_widget(IMAGE)
    closing.guard(widget, widget.work.images)
    guard = closing.Guard(widget.window(), widget.work.images)
    monkeypatch.setattr(closing, "_ask", lambda *_: pytest.fail("asked"))
    finish_one(qtbot, widget)
    session = widget.work.session
    session.save(tmp_path / "work.npz")
    session.note_saved(tmp_path / "work.npz", whole=True)
    assert session.journal.flush(10) and read_journal(session.journal.path).saved_as.endswith("work.npz")
    assert guard._may_close() and not journals_in(journals)


def test_the_box_at_closing_says_what_there_is(open_widget, qtbot, monkeypatch):
    _, widget = open_widget(IMAGE)
    finish_one(qtbot, widget)
    said = []

    def click_keep(box) -> None:
        said.append((box.text(), [b.text() for b in box.buttons()]))
        next(b for b in box.buttons() if b.text() == KEEP).click()

    monkeypatch.setattr(QMessageBox, "exec", click_keep)
    assert closing._ask(widget, list(widget.work.images)) == KEEP
    ((text, buttons),) = said
    assert "image" in text and set(buttons) == {closing.SAVE, KEEP, DISCARD, CANCEL}


def test_a_long_name_is_shortened_where_it_is_offered():
    title, what = offer_of("mouse_brain_slice_000123_left", 3, 0, 0.0).split("\n")
    assert title == "Go on with “mouse_brain_s…123_left”" and what.startswith("mouse_brain_slice_000123_left: 3 steps,")


@pytest.mark.parametrize(("days", "says"), [(0, "today "), (1, "yesterday "), (40, " 2026 ")])
def test_the_question_tells_when_it_was(days, says):
    now = time.mktime((2026, 11, 26, 14, 3, 0, 0, 0, -1))
    assert says in question_of("cell", 14, 2, now - days * 86400, now=now)
    assert "14 steps, 2 finished objects" in question_of("cell", 14, 2, now, now=now)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_killed_window_loses_no_choice_that_it_told_of(tmp_path):
    script = Path(__file__).parents[1] / "benchmarks" / "journal.py"
    process = subprocess.Popen([sys.executable, script, "window", tmp_path, "1"], stdout=subprocess.PIPE, text=True)
    told = []
    for line in process.stdout:
        told.append(line.split()[0])
        if told.count("accept") == 3:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (path,) = journals_in(tmp_path)
    with path.open("rb") as file:
        file.readline()
        n_records = sum(1 for _ in records_of(file)) - 1  # the first is about the image
    assert n_records >= len(told)
    read_journal(path)
