"""Python's search for garbage goes through none of what was there when work began, and no image stays in memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_probseg.widgets.garbage import Garbage
from napari_probseg.widgets.segment import beforehand
from window import click, disk, finished, offer, stroke, turned

BEFOREHAND = True
OWN_VIEWER = True  # what is done once in a viewer
IMAGE = disk().astype(np.float32)
FEW = 10_000  # objects, of the 400,000 that there are


def is_aside() -> bool:
    """Return whether what is in memory is out of Python's search: since 3.12 some hundred objects are in any case.

    To ask for what is searched (`gc.get_objects`) harms tuples that other threads are making.
    """
    return gc.get_freeze_count() > FEW


@pytest.fixture
def set_aside(open_widget, qtbot):
    """Return a viewer and the widget, once what is in memory was set aside."""
    gc.unfreeze()  # what a plugin of pytest has set aside
    assert not is_aside(), "test invalid"
    viewer, widget = open_widget(IMAGE.copy())
    qtbot.waitUntil(is_aside, timeout=20_000)
    return viewer, widget


def test_what_is_there_is_searched_no_more_while_work_goes_on(set_aside, qtbot):
    _, widget = set_aside
    n = gc.get_freeze_count()
    assert len(gc.get_objects()) < n / 10, "a search goes through little"
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)
    assert n - gc.get_freeze_count() < n / 10


def test_an_image_that_goes_does_not_stay_in_memory(set_aside, qtbot):
    viewer, widget = set_aside
    finished(qtbot, widget)
    image = weakref.ref(viewer.layers["image"].__wrapped__)
    viewer.layers.remove("image")
    assert not is_aside()
    turned(qtbot)
    gc.collect()
    assert image() is None
    viewer.add_image(2 * IMAGE, name="next")
    qtbot.waitUntil(is_aside, timeout=20_000)


@pytest.mark.parametrize("gone", ["nothing", "layer", "window"])
def test_all_is_searched_where_a_layer_or_a_window_has_gone_and_else_what_is_new(
    make_napari_viewer_proxy, monkeypatch, gone
):
    """A search through all takes a fifth of a second, in which the window stands still."""
    gc.unfreeze()
    viewer, searched, collect = make_napari_viewer_proxy(), [], gc.collect
    image, before = viewer.add_image(IMAGE.copy()), Garbage(viewer)
    assert before.set_aside()
    if gone == "layer":
        viewer.layers.remove(image)
    elif gone == "window":
        before.release()
    later = Garbage(viewer) if gone == "window" else before
    if gone == "nothing":
        monkeypatch.setattr(Garbage, "_may_hold_images", False)
        gc.unfreeze()
        later = Garbage(viewer)

    def noted(generation: int = 2) -> int:
        searched.append((generation, is_aside()))
        return collect(generation)

    monkeypatch.setattr(gc, "collect", noted)
    assert later.set_aside()
    assert searched == [(1 if gone == "nothing" else 2, False), (2, True)]
    later.release()


def test_a_layer_that_came_later_and_goes_changes_nothing(set_aside, qtbot):
    viewer, _ = set_aside
    viewer.add_points([[1, 1]], name="points")
    viewer.layers.remove("points")
    turned(qtbot)
    assert is_aside()


@pytest.mark.parametrize("how", ["released", "hidden"])
def test_all_is_searched_again_once_the_widget_is_gone_or_the_window(set_aside, qtbot, how):
    _, widget = set_aside
    if how == "released":
        widget.release()
    else:
        widget.hide()
    assert not is_aside()


def test_it_waits_for_a_pause_where_a_person_is_at_work(open_widget, qtbot, monkeypatch):
    gc.unfreeze()
    monkeypatch.setattr(beforehand, "PAUSE_MS", 10**6)
    _, widget = open_widget(IMAGE.copy())
    stroke(qtbot, widget, (30, 30))
    qtbot.wait(600)
    assert not is_aside()
    monkeypatch.setattr(beforehand, "PAUSE_MS", 100)
    stroke(qtbot, widget, (34, 30))
    qtbot.waitUntil(is_aside, timeout=20_000)
