"""Closing the dock and napari: what is kept, and what is asked."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMainWindow, QMessageBox, QWidget

import napari_probseg as ps
from napari_probseg.session.journal import journals_in, read_journal
from napari_probseg.widgets import ending
from napari_probseg.widgets.segment import closing
from napari_probseg.widgets.segment.closing import CANCEL, DISCARD, KEEP, LOSE, SAVE_SESSION, Guard
from napari_probseg.widgets.segment.widget import SegmentWidget
from window import Balls, click, disk, finish_one, offer, stroke

IMAGE = disk().astype(np.float32)


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


def test_a_window_that_is_open_when_python_ends_is_closed_unasked(open_widget, qtbot, monkeypatch):
    _, widget = open_widget(IMAGE)
    finish_one(qtbot, widget)
    assert widget in ending._docked
    window, docked, gone = QMainWindow(), QWidget(), []
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)  # as napari's
    window.setCentralWidget(docked)
    window.destroyed.connect(lambda: gone.append(True))
    closing.Guard(window, widget.work.images)
    window.show()
    monkeypatch.setattr(closing, "_ask", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr(ending, "_docked", {docked})
    ending.close_windows()
    assert gone, "PyQt would take it apart"


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


@pytest.fixture
def full_disk(monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


def answer_with(monkeypatch, text) -> list[str]:
    said = []

    def clicked(box) -> None:
        said.append(f"{box.text()} {box.informativeText()}")
        next(b for b in box.buttons() if b.text() == text).click()

    monkeypatch.setattr(QMessageBox, "exec", clicked)
    return said


@pytest.mark.parametrize("answer", [LOSE, SAVE_SESSION, CANCEL])
def test_closing_asks_about_work_whose_journal_cannot_be_written(
    open_widget, qtbot, monkeypatch, tmp_path, full_disk, answer
):
    _, widget = open_widget(IMAGE)
    guard = Guard(widget.window(), widget.work.images)
    stroke(qtbot, widget, (50, 50))
    session, saved = widget.work.session, tmp_path / "work.npz"
    said = answer_with(monkeypatch, answer)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(saved), "Session (*.npz)"))
    with monkeypatch.context() as patched:
        if answer == SAVE_SESSION:  # there is room elsewhere
            patched.setattr("napari_probseg.session.storage.write_whole", lambda p, content: p.write_bytes(content))
        assert guard._may_close() is (answer != CANCEL)
    assert len(said) == 1 and "“image”" in said[0] and "No space left on device" in said[0]
    if answer == SAVE_SESSION:
        assert ps.Session.load(saved, IMAGE).case.strokes[50, 50]
    assert session.can_undo


def test_an_image_that_is_removed_while_the_disk_is_full_is_asked_about(open_widget, qtbot, monkeypatch, full_disk):
    viewer, widget = open_widget(IMAGE)
    guard = Guard(widget.window(), widget.work.images)
    stroke(qtbot, widget, (50, 50))
    viewer.layers.remove("image")
    assert "its journal cannot be written" in widget.panel.status.text()
    said = answer_with(monkeypatch, CANCEL)
    assert not guard._may_close() and "“image”" in said[0]


def test_a_journal_stays_where_the_session_that_was_saved_is_gone(open_widget, qtbot, tmp_path, journals):
    _, widget = open_widget(IMAGE)
    guard = Guard(widget.window(), widget.work.images)
    stroke(qtbot, widget, (50, 50))
    session = widget.work.session
    session.save(tmp_path / "work.npz")
    session.note_saved(tmp_path / "work.npz", whole=True)
    (tmp_path / "work.npz").unlink()
    assert guard._may_close() and journals_in(journals)
