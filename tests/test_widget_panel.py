"""The panel of the Segment widget: it fits where it is docked, and nothing of it is cut or moves about."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.qt import get_current_stylesheet
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_probseg.session.finished import FinishedObject
from napari_probseg.widgets.dataset.widget import DatasetWidget
from napari_probseg.widgets.segment import objects_part
from napari_probseg.widgets.segment import widget as widget_module
from napari_probseg.widgets.segment.widget import SegmentWidget
from napari_probseg.widgets.style import KeyButton, colour, faint, lively, sheet
from window import Balls, disk, stroke, turned


def floating(viewer, qtbot):
    """Return the widget on an image, in no dock."""
    viewer.add_image(disk().astype(np.float32))
    widget = SegmentWidget(viewer, Balls())
    qtbot.addWidget(widget)
    widget.show()
    return widget


def test_it_fits_a_small_screen(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    assert widget.minimumSizeHint().height() <= 700
    assert 280 <= widget.sizeHint().width() <= 340


def test_it_does_not_scroll_where_it_has_the_room_it_asks_for(make_napari_viewer_proxy, qtbot):
    widget = floating(make_napari_viewer_proxy(), qtbot)
    widget.resize(340, widget.sizeHint().height())
    turned(qtbot)
    widget.resize(340, widget.sizeHint().height())
    turned(qtbot)
    assert not widget.panel.work.verticalScrollBar().isVisible()
    status = widget.panel.status
    for page in (widget.panel.question, widget.panel.empty):
        widget.panel.show_work(False, "Go on?" if page is widget.panel.question else "")
        turned(qtbot)
        assert page.isVisible() and status.geometry().bottom() >= widget.panel.contentsRect().bottom() - 12


IN_A_SMALL_WINDOW = (331, 735)  # pixels that napari leaves for a dock in a window of 1280x800


@pytest.mark.parametrize("shape", [(64, 64), (8, 64, 64)])
def test_the_usual_work_is_in_view_in_a_small_window(make_napari_viewer_proxy, qtbot, shape):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.random.default_rng(0).random(shape))
    widget, host = SegmentWidget(viewer, Balls()), QWidget()
    qtbot.addWidget(host)
    host.setStyleSheet(get_current_stylesheet())  # which gives all parts their room
    QVBoxLayout(host).addWidget(widget)
    host.layout().setContentsMargins(0, 0, 0, 0)
    host.resize(*IN_A_SMALL_WINDOW)
    host.show()
    panel = widget.panel
    objects = tuple(FinishedObject(i + 1, "cell", 50, (slice(0, 1),) * len(shape)) for i in range(3))
    panel.objects.show_objects(objects, colours=[(1, 0, 0)] * 3, kinds={}, kind="", size=str)
    panel.progress_text.setText("2 of 10 images · 5 objects · 41 s per image")
    panel.progress_text.show()
    for _ in range(3):
        turned(qtbot)
    assert panel.extent.isVisible() == (len(shape) == 3), "test invalid"
    room = panel.work.viewport()
    for part in (panel.inside, panel.gallery, panel.accept, panel.undo, panel.finish_image, panel.objects.rows):
        assert part.isVisible() and room.rect().contains(part.mapTo(room, part.rect().bottomLeft())), part
    two = "A sentence of two lines, as most of them are that tell what there is to be done."
    three = "Saved 1 object as a name that is rather long_objects.tif. " + "Image 2 of 3. " * 3
    for sentence in (two, three):
        panel.status.say(sentence)
        for _ in range(3):
            turned(qtbot)
        assert not panel.work.verticalScrollBar().isVisible(), "nothing moves to and fro with what is said"


def test_nothing_is_cut_where_the_panel_is_as_narrow_as_can_be(make_napari_viewer_proxy, qtbot):
    widget = floating(make_napari_viewer_proxy(), qtbot)
    widget.resize(1, 900)
    turned(qtbot)
    panel = widget.panel
    assert widget.width() <= 340, "test invalid"
    assert panel.work.widget().width() <= panel.work.viewport().width()
    assert panel.work.geometry().right() <= panel.contentsRect().right()


def test_nothing_is_cut_where_letters_are_large(make_napari_viewer_proxy, qtbot):
    viewer, host = make_napari_viewer_proxy(), QWidget()
    viewer.add_image(disk().astype(np.float32))
    widget = SegmentWidget(viewer, Balls())
    qtbot.addWidget(host)
    QVBoxLayout(host).addWidget(widget)
    host.show()
    widths = {}
    for points in (9, 16):
        host.setStyleSheet(re.sub(r"font-size: [\d.]+pt", f"font-size: {points}pt", get_current_stylesheet()))
        for _ in range(4):  # a font is known once Qt has taken in the style, and the key's room is made by it
            turned(qtbot)
        host.resize(1, 900)
        turned(qtbot)
        buttons = [button for button in widget.panel.work.findChildren(KeyButton) if button.isVisible()]
        assert len(buttons) > 12, "test invalid"
        assert [b.text() for b in buttons if b.width() < b.sizeHint().width()] == []
        widths[points] = widget.width()
    assert widths[16] > 1.2 * widths[9]


def test_a_button_is_as_high_where_it_cannot_be_pressed(make_napari_viewer_proxy, qtbot):
    host, panel = QWidget(), QWidget()
    qtbot.addWidget(host)
    QVBoxLayout(host).addWidget(panel)
    host.setStyleSheet(get_current_stylesheet())  # napari draws a border around what is disabled
    QVBoxLayout(panel).addWidget(button := KeyButton("Undo", tip=""))
    heights = {}
    for style in ("", sheet(make_napari_viewer_proxy())):
        panel.setStyleSheet(style)
        heights[style] = set()
        for is_enabled in (True, False):
            button.setEnabled(is_enabled)
            button.style().unpolish(button)
            button.style().polish(button)
            heights[style].add(button.sizeHint().height())
    without, with_it = heights.values()
    assert len(without) == 2, "test invalid"
    assert len(with_it) == 1


def test_the_window_does_not_grow_when_the_first_image_comes(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    widget = SegmentWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    widget.resize(320, 500)
    viewer.add_image(np.random.default_rng(0).random((32, 32)))
    qtbot.waitUntil(widget.panel.work.isVisible)
    turned(qtbot)
    assert not widget.panel.empty.isVisible()
    assert widget.height() <= max(500, widget.minimumSizeHint().height())


def test_the_list_of_objects_takes_the_room_there_is_and_leaves_what_it_does_not_need(make_napari_viewer_proxy, qtbot):
    widget = floating(make_napari_viewer_proxy(), qtbot)
    panel, seen = widget.panel, []
    widget.resize(340, 1000)
    turned(qtbot)
    rows = panel.objects.rows
    assert not rows.isVisible() and panel.uncertainty.y() - panel.objects.geometry().bottom() < 20, "no hole"
    for n in (2, 9, 100):
        objects = tuple(FinishedObject(i + 1, "", 50, (slice(0, 1),) * 2) for i in range(n))
        panel.objects.show_objects(objects, colours=[(1, 0, 0)] * n, kinds={}, kind="", size=str)
        for _ in range(3):  # one layout after the other hears of it
            turned(qtbot)
        seen.append(rows.height())
        assert panel.uncertainty.y() - panel.objects.geometry().bottom() < 20
        assert not panel.work.verticalScrollBar().isVisible()
    row = rows.visualRect(rows.model().index(0, 0)).height()
    assert 2 * row <= seen[0] < 3 * row and 9 * row <= seen[1] < 10 * row < seen[2] < 100 * row
    widget.resize(340, 500)
    turned(qtbot)
    assert 3 * row <= rows.height() < 4 * row, "what scrolls anyway shows three of them"
    assert widget.sizeHint().height() < 1000, "the window does not grow with the list"


def test_a_long_sentence_is_shown_whole(open_widget, qtbot):
    _, widget = open_widget(disk())
    status = widget.panel.status
    widget.work.say("Done.")
    turned(qtbot)
    least = status.height()
    widget.work.refuse(ValueError("nothing answers at " + "a/very/long/address/ " * 9))
    turned(qtbot)
    assert status.height() >= status.heightForWidth(status.width()) > least
    widget.work.say("Done.")
    turned(qtbot)
    assert status.height() == least


def test_a_name_that_is_wider_than_the_panel_leaves_it_as_wide_as_it_is(make_napari_viewer_proxy, qtbot):
    panel = floating(make_napari_viewer_proxy(), qtbot).panel
    width, sentence = panel.minimumSizeHint().width(), f"Saved as “<b>{'plate_07-' * 12}</b>_objects.tif”."
    panel.status.say(sentence)
    panel.show_work(True, f"Go on where you were on “{'a' * 120}”?")
    for _ in range(3):
        turned(qtbot)
    assert panel.minimumSizeHint().width() <= width
    assert panel.status.height() >= 3 * panel.status.fontMetrics().lineSpacing(), "it takes more lines"
    assert panel.status.text() == sentence and panel.status.textFormat() == Qt.TextFormat.PlainText


def test_what_is_said_stays_at_the_bottom_while_there_is_no_image(open_widget, qtbot):
    """napari adds a stretch below a docked widget, which would take the room."""
    _, widget = open_widget()
    host = QWidget()
    qtbot.addWidget(host)
    layout = QVBoxLayout(host)
    layout.addWidget(widget.panel, widget.layout().stretch(0))
    layout.addStretch()
    host.resize(400, 900)
    for question in ("", "Go on where you were?"):
        widget.panel.show_work(False, question)
        host.show()
        turned(qtbot)
        assert widget.panel.mapTo(host, widget.panel.status.geometry().bottomLeft()).y() > 850


@pytest.mark.parametrize("kind", [SegmentWidget, DatasetWidget])
def test_it_fills_its_dock_also_where_it_is_not_the_first(make_napari_viewer_proxy, kind):
    viewer = make_napari_viewer_proxy()
    for _ in range(3):  # napari adds more of a stretch below each
        viewer.window.add_dock_widget(QLabel("another"), name="another")
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, name="ours")
    assert widget.layout().count() == 1, "nothing lies below it"
    widget.release()


def test_each_button_calls_its_verb_once(make_napari_viewer_proxy, qtbot, monkeypatch):
    called = []
    for module in (widget_module, objects_part):
        monkeypatch.setattr(module, "weakly", lambda verb: lambda *_: called.append(verb), raising=False)
    widget = floating(make_napari_viewer_proxy(), qtbot)
    buttons = {name: getattr(widget.panel, name, None) for name in widget.verbs}
    buttons = {name: button for name, button in buttons.items() if isinstance(button, KeyButton)}
    assert len(buttons) > 12, "test invalid"
    for name, button in buttons.items():
        called.clear()
        button.setEnabled(True)
        button.click()
        assert called == [widget.verbs[name]], name


def luminance(colour) -> float:
    """Return the relative luminance of a colour (WCAG 2)."""
    parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))


def contrast(ink, ground) -> float:
    """Return the contrast of an ink, which may be clear in part, on a ground (WCAG 2)."""
    *parts, alpha = ink.getRgbF()
    below = np.asarray(ground.getRgbF()[:3])
    dark, light = sorted(map(luminance, (below, alpha * np.asarray(parts) + (1 - alpha) * below)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_what_is_faint_and_what_is_an_error_can_be_read(make_napari_viewer_proxy, theme):
    viewer = make_napari_viewer_proxy()
    viewer.theme = theme
    ground, text = colour(viewer, "background"), colour(viewer, "text")
    thin = QColor(text)
    thin.setAlpha(60)
    assert contrast(thin, ground) < 4.5, "test invalid"
    for name in ("background", "foreground"):
        assert contrast(faint(text), colour(viewer, name)) >= 4.5
    assert contrast(lively(viewer), ground) >= 3
    told = re.search(r"error=\"true\"\] \{ color: (#\w+)", sheet(viewer))
    assert told and contrast(QColor(told[1]), ground) >= 4.5


@pytest.mark.parametrize("current", ["#fdf094", "#a0b8ff", "#ffffff"])
def test_what_is_at_work_stands_out_in_pale_themes_too(monkeypatch, current):
    theme = {"current": current, "background": "#efebe9", "text": "#3b3a39"}
    monkeypatch.setattr("napari_probseg.widgets.style.colour", lambda _, name: QColor(theme[name]))
    assert contrast(lively(None), QColor(theme["background"])) >= 3


def test_what_can_be_used_no_longer_gives_the_keys_back_and_no_other_button_gets_them(open_widget, qtbot):
    viewer, widget = open_widget(disk().astype(np.float32))
    window = viewer.__wrapped__.window._qt_window
    stroke(qtbot, widget, (30, 30))
    widget.panel.finish.setFocus(Qt.FocusReason.TabFocusReason)
    assert window.focusWidget() is widget.panel.finish, "test invalid"
    qtbot.keyClick(widget.panel.finish, Qt.Key.Key_Space)
    assert len(widget.work.session.finished) == 1 and not widget.panel.finish.isEnabled()
    assert window.focusWidget() is None, "else space again would finish the image"
    widget.panel.live.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(widget.panel.live, Qt.Key.Key_Tab)
    assert window.focusWidget() not in (None, widget.panel.live)
