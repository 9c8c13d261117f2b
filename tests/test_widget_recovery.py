"""Never a lost stroke: the window's journals, and going on where one was."""

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

import napari_probseg as ps
from napari_probseg.proposers.fine_tuned import fingerprint, unpacked
from napari_probseg.session.journal import journals_in, read_journal
from napari_probseg.session.journal.records import records_of
from napari_probseg.widgets.messages import question_of
from sessions import state
from window import asked, click, crash, disk, finish_one, gone_on, offer, press, stroke

IMAGE = disk().astype(np.float32)


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


def test_of_an_image_that_was_open_twice_the_other_work_is_told_of(open_widget, qtbot, journals):
    viewer, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    first = widget.work.session
    viewer.add_image(IMAGE, name="again")
    stroke(qtbot, widget, (50, 50))
    latest = crash(widget)
    first.journal.close()
    first.journal, other = None, first.journal.path
    _, again = open_widget(IMAGE)
    asked(qtbot, again)
    assert state(gone_on(qtbot, again)) == state(latest)
    assert again.panel.status.text().endswith(f"Open session… > {other}.")


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


def test_layers_are_made_in_turns_of_their_own_before_the_work_goes_on(open_widget, qtbot, monkeypatch):
    image = disk().astype(np.float32)
    _, first = open_widget(image.copy())
    stroke(qtbot, first, (30, 30))
    crash(first)
    viewer, widget = open_widget(image.copy())
    asked(qtbot, widget)
    work, made, at_once, adopt = widget.work, [], [], widget.work.images.adopt

    def adopting(image, session):
        n = len(made)
        layers = adopt(image, session)
        at_once.append(len(made) - n)
        return layers

    monkeypatch.setattr(work.images, "adopt", adopting)
    viewer.layers.events.inserted.connect(lambda _: made.append(work.recovery.is_pending))
    gone_on(qtbot, widget)
    assert at_once == [0] and made == [True] * 3, "no stroke begins other work meanwhile"


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


def test_an_image_of_which_a_part_cannot_be_read_loses_no_step(open_widget, qtbot, tmp_path, monkeypatch):
    def unreadable(image):
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "cell.tif"
    tifffile.imwrite(path, IMAGE)
    with monkeypatch.context() as patched:
        patched.setattr("napari_probseg.session.identity.fingerprint", unreadable)
        viewer, widget = open_widget()
        viewer.open(str(path), plugin="napari")
        stroke(qtbot, widget, (30, 30))
        before = crash(widget)
    viewer, again = open_widget()
    viewer.open(str(path), plugin="napari")
    assert "another image" not in asked(qtbot, again)
    assert state(gone_on(qtbot, again)) == state(before)


def test_work_in_another_window_is_left_alone(open_widget, qtbot):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    assert widget.work.session.journal.flush(10)
    _, other = open_widget(IMAGE)
    qtbot.waitUntil(lambda: not other.work.recovery.is_pending, timeout=20_000)
    assert not other.work.question
    stroke(qtbot, other, (10, 10))
    assert other.work.session.journal.path != widget.work.session.journal.path


def test_work_on_this_very_image_goes_before_later_work_on_the_same_with_another_scale(open_widget, qtbot):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    before = crash(widget)
    _, other = open_widget(IMAGE, scale=(2, 1))
    assert "its spacing is" in asked(qtbot, other)
    click(qtbot, other.panel.question.anew)
    stroke(qtbot, other, (10, 10))
    crash(other)
    _, again = open_widget(IMAGE)
    assert "another image" not in asked(qtbot, again)
    assert state(gone_on(qtbot, again)) == state(before)


def test_that_a_journal_is_damaged_is_told_and_it_stays_as_it_was(open_widget, qtbot, journals):
    _, widget = open_widget(IMAGE)
    for x in (20, 30, 40):
        stroke(qtbot, widget, (30, x))
    crash(widget)
    (path,) = journals_in(journals)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    _, again = open_widget(IMAGE)
    asked(qtbot, again)
    assert len(gone_on(qtbot, again).steps) == 2
    (copy,) = journals.glob("*.damaged")
    assert "damaged" in again.panel.status.text() and copy.name in again.panel.status.text()
    assert copy.read_bytes() == content


def test_what_another_window_went_on_with_meanwhile_is_asked_about_anew(open_widget, qtbot, journals):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    crash(widget)
    _, again = open_widget(IMAGE)
    assert "1 step," in asked(qtbot, again)
    (path,) = journals_in(journals)
    other = ps.Session.load(path, IMAGE)
    other.keep(path, kept=read_journal(path))
    other.mark(np.eye(64))
    other.journal.close()
    click(qtbot, again.panel.question.go_on)
    qtbot.waitUntil(lambda: "2 steps," in again.panel.question.text.text(), timeout=20_000)
    assert state(gone_on(qtbot, again)) == state(other)


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


def test_a_stroke_that_is_still_drawn_when_a_key_accepts_is_kept(open_widget, qtbot):
    _, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    layers, n_steps = widget.work.layers, len(widget.work.session.steps)
    event = type("Event", (), {"type": "mouse_press", "button": 1, "position": (31, 29)})()
    drag = next(c for c in layers.markers.mouse_drag_callbacks if c.__name__ == "follow")(layers.markers, event)
    next(drag)
    layers.markers.data[31, 29:33] = 2  # what the brush has written so far: napari tells of it at the end
    press(qtbot, widget, Qt.Key.Key_K)
    session = widget.work.session
    assert (session.case.strokes[31, 29:33] == 2).all() and len(session.steps) == n_steps + 1
    assert "propose first" in widget.panel.status.text(), "the candidates were about other strokes"
    event.type = "mouse_release"
    assert next(drag, None) is None and not layers.is_drawing


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
