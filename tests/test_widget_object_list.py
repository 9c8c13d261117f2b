"""The list of objects: what is finished, with its size and class, is gone to, reopened and named, with real clicks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QContextMenuEvent, QWheelEvent
from qtpy.QtWidgets import QApplication, QInputDialog, QMenu

from napari_probseg.case import Marker
from napari_probseg.session.finished import FinishedObject
from napari_probseg.widgets.segment.object_list import ObjectList
from window import click, disk, finished, press, stroke, turned

SHIFT = Qt.KeyboardModifier.ShiftModifier


def texts(widget):
    model = widget.panel.objects.rows.model()
    return [tuple(model.data(model.index(i, j)) for j in range(3)) for i in range(model.rowCount())]


def test_finished_objects_are_listed_with_their_size_and_class(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32), scale=(0.5, 0.5), units=("mm", "mm"))
    widget.work.set(brush_size=1)
    finished(qtbot, widget)
    widget.panel.objects.kind.lineEdit().setFocus()
    qtbot.keyClicks(widget.panel.objects.kind.lineEdit(), "nucleus")
    qtbot.keyClick(widget.panel.objects.kind.lineEdit(), Qt.Key.Key_Return)
    assert widget.work.tools.kind == "nucleus"
    finished(qtbot, widget, (10, 10))
    n = int((widget.work.session.objects == 1).sum())
    assert texts(widget) == [("1", "", f"{n / 4:.3g} mm²"), ("2", "nucleus", f"{n / 4:.3g} mm²")]
    click(qtbot, widget.panel.undo)
    assert len(texts(widget)) == 1


def test_a_click_goes_to_an_object_and_a_double_click_reopens_it(open_widget, qtbot):
    viewer, widget = open_widget(np.zeros((9, 64, 64), np.float32))
    rows = widget.panel.objects.rows
    for z, at in ((2, (2, 30, 30)), (7, (7, 10, 50))):
        viewer.dims.set_point(0, z)
        finished(qtbot, widget, at)
    assert widget.panel.objects.selected == 0
    middle = rows.visualRect(rows.model().index(0, 1)).center()
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert viewer.dims.current_step[0] == 2 and widget.panel.objects.selected == 1
    qtbot.keyClick(rows, Qt.Key.Key_Down)
    assert viewer.dims.current_step[0] == 7
    press(qtbot, widget, Qt.Key.Key_H, SHIFT)
    assert viewer.dims.current_step[0] == 2
    qtbot.mouseDClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    assert [text[0] for text in texts(widget)] == ["2"] and (widget.work.session.case.partial == 1).any()
    assert widget.panel.objects.selected == 0, "there is other work now"


def test_the_class_of_a_selected_object_is_changed_and_taken_back(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    objects = widget.panel.objects
    press(qtbot, widget, Qt.Key.Key_J, SHIFT)
    assert objects.selected == 1 and objects.of.text() == "№ 1"
    objects.kind.lineEdit().setFocus()
    qtbot.keyClicks(objects.kind.lineEdit(), "cell")
    qtbot.keyClick(objects.kind.lineEdit(), Qt.Key.Key_Return)
    assert widget.work.session.kinds == {1: "cell"} and widget.work.tools.kind == ""
    assert objects.selected == 1, "it stays selected"
    click(qtbot, widget.panel.undo)
    assert widget.work.session.kinds == {}


def test_objects_are_removed_by_a_key_one_after_the_other_and_brought_back(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    for at in ((10, 10), (30, 30), (50, 50)):
        finished(qtbot, widget, at)
    rows = widget.panel.objects.rows
    stroke(qtbot, widget, (30, 50))
    widget.panel.objects.select(2)
    for left in (["1", "3"], ["1"]):
        qtbot.keyClick(rows, Qt.Key.Key_Delete)
        assert [text[0] for text in texts(widget)] == left
    assert widget.panel.status.text() == "Object 3 is removed: Undo brings it back."
    assert not viewer.layers["objects of image"].data[50, 50] and widget.work.session.case.strokes[30, 50] == 1
    for _ in range(2):
        click(qtbot, widget.panel.undo)
    assert [text[0] for text in texts(widget)] == ["1", "2", "3"] and viewer.layers["objects of image"].data[50, 50]


def test_the_right_button_offers_what_can_be_done_to_an_object(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    rows = widget.panel.objects.rows
    at = rows.visualRect(rows.model().index(0, 1)).center()
    QApplication.sendEvent(rows.viewport(), QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, QPoint(0, 0)))
    menu = rows.findChild(QMenu)
    assert [action.text() for action in menu.actions()] == ["Reopen", "Remove"]
    menu.actions()[1].trigger()
    menu.close()
    assert texts(widget) == []


@pytest.mark.parametrize(("new", "says"), [("nucleus", "of class “nucleus” now"), ("", "of no class now")])
def test_a_class_is_renamed_for_all_its_objects_in_one_step(open_widget, qtbot, monkeypatch, new, says):
    _, widget = open_widget(disk().astype(np.float32))
    for at, kind in (((10, 10), "nucelus"), ((30, 30), "cell"), ((50, 50), "nucelus")):
        widget.work.classify(0, kind)
        finished(qtbot, widget, at)
    rows = widget.panel.objects.rows
    at = rows.visualRect(rows.model().index(0, 1)).center()
    QApplication.sendEvent(rows.viewport(), QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, QPoint(0, 0)))
    menu = rows.findChild(QMenu)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, text: (f" {new}", text == "nucelus"))
    menu.actions()[2].trigger()
    menu.close()
    assert [text[1] for text in texts(widget)] == [new, "cell", new] and widget.work.tools.kind == new
    assert widget.panel.status.text() == f"2 objects of class “nucelus” are {says}."
    click(qtbot, widget.panel.undo)
    assert [text[1] for text in texts(widget)] == ["nucelus", "cell", "nucelus"]


def test_neither_the_wheel_nor_an_arrow_nor_what_was_given_up_changes_a_class(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    field = widget.panel.objects.kind
    widget.work.classify(1, "cell")
    press(qtbot, widget, Qt.Key.Key_J, SHIFT)
    viewer.__wrapped__.window._qt_window.show()
    viewer.__wrapped__.window._qt_window.activateWindow()
    centre = QPointF(field.rect().center())
    for notches in (120, -120):
        QApplication.sendEvent(field, turn := wheel(centre, notches))
        assert not turn.isAccepted(), "what scrolls around it has it"
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    qtbot.keyClick(field, Qt.Key.Key_Down)
    assert field.view().isVisible()
    qtbot.keyClick(field.view(), Qt.Key.Key_Escape)
    qtbot.keyClicks(field, "nucl")
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert not field.hasFocus() and field.currentText() == "cell" and widget.work.session.kinds == {1: "cell"}


def wheel(at, notches):
    none, no_keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    return QWheelEvent(at, at, QPoint(), QPoint(0, notches), none, no_keys, Qt.ScrollPhase.NoScrollPhase, False)


def test_keys_of_the_verbs_go_on_to_the_canvas_from_the_list(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    widget.panel.objects.rows.setFocus()
    press(qtbot, widget, Qt.Key.Key_K, SHIFT)
    assert texts(widget) == []
    stroke(qtbot, widget, (12, 50))
    widget.panel.objects.rows.setFocus()
    qtbot.keyClick(widget.panel.objects.rows, Qt.Key.Key_Q)
    turned(qtbot)
    assert len(texts(widget)) == 1


def test_after_an_object_the_next_one_is_brushed_inside_first(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    stroke(qtbot, widget, (50, 50), Marker.BACKGROUND)
    click(qtbot, widget.panel.finish)
    markers = widget.work.layers.markers
    assert (markers.mode, markers.selected_label) == ("paint", 1) and widget.panel.inside.isChecked()
    stroke(qtbot, widget, (12, 50))
    markers.mode = "pan_zoom"
    click(qtbot, widget.panel.finish)
    assert markers.mode == "pan_zoom", "no brush was in hand"


def test_nothing_of_the_list_is_cut(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    rows = widget.panel.objects.rows
    assert rows.visualRect(rows.model().index(0, 2)).right() <= rows.viewport().width()
    assert rows.indexAt(QPoint(2, 2)).isValid()


def test_long_numbers_further_down_are_not_cut(qtbot):
    shown, numbers = ObjectList(), [*range(1, 100), 1234567]
    qtbot.addWidget(shown)
    objects = [FinishedObject(label, "cell", (slice(0, 1),) * 2, 9) for label in numbers]
    colours = [(1.0, 0.0, 0.0)] * len(objects)
    shown.show_objects(objects, colours=colours, kinds={}, kind="", size=str)
    shown.resize(200, 200)
    shown.show()
    turned(qtbot)
    needed = shown.rows.sizeHintForIndex(shown.rows.model().index(99, 0)).width()
    assert shown.rows.columnWidth(0) < needed, "test invalid: it is as wide as the numbers on view need"
    shown.rows.scrollToBottom()
    turned(qtbot)
    assert shown.rows.columnWidth(0) >= needed


def test_one_click_on_reopen_opens_one_object(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finished(qtbot, widget)
    finished(qtbot, widget, (10, 10))
    click(qtbot, widget.panel.reopen)
    assert [one.label for one in widget.work.session.finished] == [1]
    assert widget.panel.status.text() == "Object 2 is open again: correct it, then finish it."


def test_keys_of_the_list_say_so_where_no_object_is_finished(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    for key in (Qt.Key.Key_K, Qt.Key.Key_J, Qt.Key.Key_H):
        widget.work.say("")
        press(qtbot, widget, key, Qt.KeyboardModifier.ShiftModifier)
        assert widget.panel.status.text() == "No object is finished yet: finish one first."


def test_on_a_large_image_what_changes_is_drawn_and_not_all(open_widget, qtbot):
    _, widget = open_widget(disk((2100, 2100)).astype(np.float32))
    finished(qtbot, widget)
    layer = widget.work.layers.objects
    drawn = []
    layer.events.labels_update.connect(lambda event: drawn.append(event.data.size))
    for act in (widget.work.undo, widget.work.redo, lambda: widget.work.reopen(1), widget.work.finish):
        before = layer.data.copy()
        act()
        np.testing.assert_array_equal(layer.data, widget.work.session.objects)
        assert not np.array_equal(before, layer.data)
    assert len(drawn) == 4 and max(drawn) < 10_000
    assert not layer.editable and layer.mode == "pan_zoom"
    layer.undo()
    np.testing.assert_array_equal(layer.data, widget.work.session.objects)
