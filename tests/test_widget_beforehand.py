"""Beforehand: the layers of an image lie over it before it is painted on, empty and locked, one set for all images."""

from __future__ import annotations

from threading import Event, Thread

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_probseg.case import Marker
from napari_probseg.widgets.segment.beforehand import BEGIN_MS
from window import asked, click, crash, disk, gone_on, names, offer, stroke, turned

BEFOREHAND = True
OWN_VIEWER = True  # what is done once in a viewer
IMAGE = disk().astype(np.float32)
VOLUME = np.stack([IMAGE] * 6)


def lies_ready(qtbot, viewer, name="image"):
    """Wait until the layers lie over an image, and return them."""
    wanted = [f"objects of {name}", f"markers of {name}", "preview"]
    shape = viewer.layers[name].data.shape

    def is_so():
        return all(one in names(viewer) and viewer.layers[one].data.shape == shape for one in wanted)

    qtbot.waitUntil(is_so, timeout=20_000)
    return [viewer.layers[one] for one in wanted]


def asked_after_a_crash(open_widget, qtbot):
    """Open an image with earlier work, about which it is asked."""
    viewer, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    crash(widget)
    viewer.close()
    viewer, widget = open_widget(IMAGE)
    asked(qtbot, widget)
    return viewer, widget


def test_layers_are_there_before_anything_is_painted_and_take_the_first_stroke(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    before = lies_ready(qtbot, viewer)
    assert names(viewer) == ["image", "objects of image", "markers of image", "preview"]
    assert widget.work.session is None and viewer.layers.selection.active.name == "image"
    assert not any(layer.editable or layer.data.any() for layer in before)
    stroke(qtbot, widget, (30, 30))
    assert [viewer.layers[layer.name] for layer in before] == before and before[1].editable
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    assert before[0].data.any() and not before[0].editable


def test_they_are_laid_once_what_they_need_is_compiled(open_widget, qtbot, monkeypatch):
    gate = Event()
    compiling = Thread(target=gate.wait)
    compiling.start()
    monkeypatch.setattr("napari_probseg.widgets.segment.showing.warm_up", lambda: compiling)
    viewer, _ = open_widget(IMAGE)
    qtbot.wait(2 * BEGIN_MS)
    assert names(viewer) == ["image"], "else the window would wait for it"
    gate.set()
    lies_ready(qtbot, viewer)


def test_they_go_with_their_image_where_another_one_has_its_own(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    viewer.add_image(IMAGE, name="second")
    lies_ready(qtbot, viewer, "second")
    viewer.layers.remove("second")
    qtbot.waitUntil(lambda: "objects of second" not in names(viewer))
    assert widget.work.image.name == "image" and not [name for name in names(viewer) if "second" in name]


def test_a_brush_taken_up_at_once_waits_for_nothing(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    qtbot.wait(600)
    assert sorted(names(viewer)) == ["image", "markers of image", "objects of image", "preview"]


def test_another_image_gets_the_same_layers_while_nothing_is_painted(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    before = lies_ready(qtbot, viewer)
    viewer.add_image(np.pad(IMAGE, 9), name="larger", scale=(0.5, 0.5))
    after = lies_ready(qtbot, viewer, "larger")
    assert after[:2] == before[:2] and len(viewer.layers) == 5
    assert all(tuple(layer.scale) == (0.5, 0.5) for layer in after)
    stroke(qtbot, widget, (40, 40))
    assert widget.work.image.name == "larger" and after[1].data.any()


def test_what_is_painted_on_one_image_stays_there_and_the_next_gets_layers_of_its_own(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    stroke(qtbot, widget, (30, 30))
    viewer.add_image(IMAGE * 2, name="next")
    lies_ready(qtbot, viewer, "next")
    assert viewer.layers["markers of image"].data.any() and not viewer.layers["markers of next"].data.any()


def test_a_volume_gets_layers_of_three_axes(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    lies_ready(qtbot, viewer)
    viewer.add_image(VOLUME, name="volume", scale=(2, 1, 1))
    lies_ready(qtbot, viewer, "volume")
    assert len(viewer.layers) == 5, "those of two axes are gone"
    viewer.dims.ndisplay = 3
    click(qtbot, widget.panel.inside)
    assert viewer.layers["markers of volume"].colormap.color_dict[int(Marker.BACKGROUND)][3] == 0, "as in depth"


@pytest.mark.parametrize("which", ["markers", "objects"])
def test_a_layer_that_is_selected_can_be_painted_on(open_widget, qtbot, which):
    viewer, widget = open_widget(IMAGE)
    lies_ready(qtbot, viewer)
    viewer.layers.selection.active = viewer.layers[f"{which} of image"]
    turned(qtbot)
    assert widget.work.session is not None
    viewer.layers["markers of image"].paint((30, 30), 1)
    qtbot.waitUntil(lambda: bool(widget.work.session.steps))


def test_nothing_is_left_when_the_image_goes_and_a_layer_that_is_removed_stays_away(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    lies_ready(qtbot, viewer)
    viewer.layers.remove("markers of image")
    qtbot.wait(600)
    assert "markers of image" not in names(viewer)
    viewer.layers.remove("image")
    turned(qtbot)
    assert not [name for name in names(viewer) if name != "preview"]
    viewer.add_image(IMAGE, name="again")
    lies_ready(qtbot, viewer, "again")
    stroke(qtbot, widget, (30, 30))


@pytest.mark.parametrize("last", ["image", "objects of image", "markers of image"])
def test_all_can_be_removed_at_once(open_widget, qtbot, last):
    viewer, _ = open_widget(IMAGE)
    lies_ready(qtbot, viewer)
    for layer in [layer for layer in viewer.layers if layer.name != last]:
        viewer.layers.remove(layer)
    viewer.layers.selection.active = viewer.layers[last]  # as napari does it while it removes what is selected
    viewer.layers.remove(last)
    turned(qtbot)
    assert not names(viewer)


def test_they_go_with_the_widget(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    lies_ready(qtbot, viewer)
    widget.release()
    assert names(viewer) == ["image"]


def test_nothing_is_done_while_something_is_dragged(open_widget, qtbot, monkeypatch):
    monkeypatch.setattr(QApplication, "mouseButtons", lambda: Qt.MouseButton.LeftButton)
    viewer, _ = open_widget(IMAGE)
    qtbot.wait(600)
    assert names(viewer) == ["image"]
    monkeypatch.undo()
    lies_ready(qtbot, viewer)


def test_an_image_that_cannot_be_worked_on_gets_none_and_nothing_is_said(open_widget, qtbot):
    viewer, widget = open_widget(np.zeros((2, 3, 4, 8, 8), np.float32))
    qtbot.wait(600)
    assert names(viewer) == ["image"] and not widget.panel.status.text()


def test_they_are_laid_while_earlier_work_is_asked_about_and_take_it(open_widget, qtbot):
    viewer, widget = asked_after_a_crash(open_widget, qtbot)
    before = lies_ready(qtbot, viewer)
    viewer.layers.selection.active = before[1]
    turned(qtbot)
    assert widget.work.session is None and "Go on or Start anew" in widget.panel.status.text()
    assert not any(layer.editable or layer.data.any() for layer in before)
    assert len(gone_on(qtbot, widget).steps) == 1
    assert lies_ready(qtbot, viewer) == before and before[1].data.any() and before[1].editable


@pytest.mark.parametrize("goes_on", [True, False])
def test_they_are_laid_as_well_where_a_question_is_answered_at_once(open_widget, qtbot, goes_on):
    viewer, widget = asked_after_a_crash(open_widget, qtbot)
    if goes_on:
        gone_on(qtbot, widget)
    else:
        click(qtbot, widget.panel.question.anew)
    layers = lies_ready(qtbot, viewer)
    assert layers[1].data.any() == goes_on


def test_napari_warns_of_units_that_differ_once(open_widget, qtbot):
    told = []

    def note(notification):
        told.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    try:
        viewer, widget = open_widget(IMAGE)
        lies_ready(qtbot, viewer)
        viewer.add_image(VOLUME, name="volume", units=("mm",) * 3)
        lies_ready(qtbot, viewer, "volume")
        viewer.dims.set_current_step(0, 3)
        stroke(qtbot, widget, (3, 30, 30))
        offer(qtbot, widget)
        viewer.layers.selection.active = viewer.layers["image"]
        lies_ready(qtbot, viewer)
        stroke(qtbot, widget, (30, 30))
        offer(qtbot, widget)
    finally:
        notification_manager.notification_ready.disconnect(note)
    assert sum("units" in sentence for sentence in told) <= 1, told


def seen_styles(viewer) -> list[str]:
    """Return what the mouse looks like from now on, as it changes."""
    styles: list[str] = []
    viewer.cursor.events.style.connect(lambda _: styles.append(str(viewer.cursor.style)))
    return styles


def test_the_circle_of_the_brush_is_drawn_out_of_sight_once(open_widget, qtbot):
    viewer, _ = open_widget(IMAGE)
    styles, was_over = seen_styles(viewer), viewer.mouse_over_canvas
    lies_ready(qtbot, viewer)
    qtbot.waitUntil(lambda: styles == ["circle", "standard"], timeout=20_000)
    assert viewer.mouse_over_canvas == was_over and viewer.layers.selection.active.name == "image"
    viewer.add_image(IMAGE * 2, name="next")
    lies_ready(qtbot, viewer, "next")
    qtbot.wait(300)
    assert styles == ["circle", "standard"], "it is there for all images"


def test_the_circle_of_a_brush_in_hand_is_drawn_before_the_mouse_comes(open_widget, qtbot):
    """Else it is drawn first as the mouse comes, which takes a tenth of a second."""
    viewer, widget = open_widget(IMAGE)
    click(qtbot, widget.panel.inside)
    assert str(viewer.cursor.style) == "circle" and not viewer.mouse_over_canvas, "test invalid"
    came = []
    viewer.events.mouse_over_canvas.connect(lambda event: came.append(event.value))
    qtbot.waitUntil(lambda: came[-1:] == [False] and True in came, timeout=20_000)
    assert str(viewer.cursor.style) == "circle" and viewer.cursor.size == widget.work.tools.brush_size


def test_a_brush_that_is_taken_up_while_its_circle_is_drawn_keeps_it(open_widget, qtbot):
    viewer, widget = open_widget(IMAGE)
    styles = seen_styles(viewer)
    qtbot.waitUntil(lambda: styles == ["circle"], timeout=20_000)
    click(qtbot, widget.panel.inside)
    qtbot.wait(300)
    assert str(viewer.cursor.style) == "circle" and viewer.cursor.size == widget.work.tools.brush_size
    click(qtbot, widget.panel.inside)
    viewer.layers["markers of image"].mode = "pan_zoom"
    assert str(viewer.cursor.style) == "standard"
