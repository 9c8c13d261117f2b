"""Colours of finished objects by class: on the canvas and in the list, through all that changes classes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap
from qtpy.QtCore import Qt

import napari_probseg as ps
from napari_probseg.widgets.layers import colours
from napari_probseg.widgets.layers.colours import ObjectColours, object_colour
from window import click, disk, on, press, stroke

SHIFT = Qt.KeyboardModifier.ShiftModifier
GREY = ObjectColours().of_class("")


def switch(widget, *, on=True):
    """Click the entry of the menu."""
    widget.panel.menu.aboutToShow.emit()
    (entry,) = [action for action in widget.panel.menu.actions() if action.text() == "Colour objects by class"]
    assert entry.isChecked() is not on
    entry.trigger()


def classify(qtbot, widget, kind):
    """Type a class for the object that is selected, or for the next ones."""
    line = widget.panel.objects.kind.lineEdit()
    line.setFocus()
    line.clear()
    qtbot.keyClicks(line, kind)
    qtbot.keyClick(line, Qt.Key.Key_Return)


def finish(qtbot, widget, at, kind):
    classify(qtbot, widget, kind)
    stroke(qtbot, widget, at)
    click(qtbot, widget.panel.finish)


def on_canvas(widget):
    """Return the colour of each object as the layer draws it, by its number."""
    layer = widget.work.layers.objects
    return {one.label: tuple(layer.colormap.map(np.array([one.label]))[0, :3]) for one in widget.work.session.finished}


def in_list(widget):
    """Return the colour of the dot of each object, by its number."""
    model, found = widget.panel.objects.rows.model(), {}
    for i in range(model.rowCount()):
        icon = model.data(model.index(i, 0), Qt.ItemDataRole.DecorationRole)
        found[model.label(i)] = icon.pixmap(12, 12).toImage().pixelColor(6, 6).getRgbF()[:3]
    return found


def is_coloured(widget, expected):
    """Return whether canvas and list show the objects in these colours."""
    for seen in (on_canvas(widget), in_list(widget)):
        assert seen.keys() == expected.keys()
        for label, colour in expected.items():
            np.testing.assert_allclose(seen[label], colour, atol=1 / 128)
    return True


@pytest.fixture
def classed(open_widget, qtbot):
    """Return a widget with two cells and a nucleus, and an object of no class, coloured by class."""
    _, widget = open_widget(disk().astype(np.float32))
    widget.work.set(brush_size=3)
    for at, kind in (((10, 10), "cell"), ((10, 50), "nucleus"), ((50, 10), "cell"), ((50, 50), "")):
        finish(qtbot, widget, at, kind)
    assert is_coloured(widget, {i: object_colour(i) for i in range(1, 5)}), "by number at first"
    switch(widget)
    return widget


def test_objects_of_a_class_have_its_colour_and_those_of_none_are_grey(classed):
    cell, nucleus = map(classed.work.images.colours.of_class, ("cell", "nucleus"))
    assert len({cell, nucleus, GREY}) == 3
    assert is_coloured(classed, {1: cell, 2: nucleus, 3: cell, 4: GREY})
    objects = classed.work.layers.objects
    assert not objects.colormap.map(np.array([0]))[0, 3], "what is no object stays clear"
    kinds = classed.panel.objects.kind
    assert not any(kinds.itemIcon(kinds.findText(kind)).isNull() for kind in ("cell", "nucleus")), "it tells them"
    switch(classed, on=False)
    assert is_coloured(classed, {i: object_colour(i) for i in range(1, 5)})


def test_colours_follow_each_change_of_class_and_are_taken_back_with_it(classed, qtbot):
    cell, nucleus = map(classed.work.images.colours.of_class, ("cell", "nucleus"))
    press(qtbot, classed, Qt.Key.Key_J, SHIFT)
    classify(qtbot, classed, "nucleus")
    assert is_coloured(classed, {1: nucleus, 2: nucleus, 3: cell, 4: GREY})
    click(qtbot, classed.panel.undo)
    assert is_coloured(classed, {1: cell, 2: nucleus, 3: cell, 4: GREY})
    click(qtbot, classed.panel.undo)
    click(qtbot, classed.panel.undo)
    assert is_coloured(classed, {1: cell, 2: nucleus, 3: cell})
    click(qtbot, classed.panel.reopen)
    click(qtbot, classed.panel.finish)
    assert is_coloured(classed, {1: cell, 2: nucleus, 3: cell}), "it is one as before"


def test_another_class_draws_other_colours_and_reads_no_voxel(classed, qtbot):
    """On 8000x8000 a tenth of a second is spared by that, and five by no look-up of each voxel."""
    layer, drawn, read = classed.work.layers.objects, [], []
    press(qtbot, classed, Qt.Key.Key_J, SHIFT)
    layer.events.colormap.connect(drawn.append)
    layer.events.set_data.connect(read.append)
    classify(qtbot, classed, "nucleus")
    assert drawn and not read
    assert isinstance(layer.colormap, CyclicLabelColormap), "not a dictionary"
    np.testing.assert_allclose(layer.get_color(1)[:3], classed.work.images.colours.of_class("nucleus"), atol=1e-6)


def test_objects_of_large_numbers_have_the_colours_of_their_classes():
    layer, kinds = Labels(np.array([[0, 1, 300]], np.uint32)), {1: "cell", 2: "", 300: "nucleus"}
    by_class = ObjectColours(by_class=True)
    by_class.put_on(layer, {1: "cell"})
    by_class.put_on(layer, kinds)
    for label, kind in kinds.items():
        np.testing.assert_allclose(layer.get_color(label)[:3], by_class.of_class(kind), atol=1e-6)


def test_a_person_may_colour_the_layer_otherwise_by_number(open_widget, qtbot):
    _, widget = open_widget(disk().astype(np.float32))
    finish(qtbot, widget, (10, 10), "cell")
    widget.work.layers.objects.colormap = {None: "black", 1: "white"}
    finish(qtbot, widget, (50, 50), "cell")
    assert on_canvas(widget)[1] == (1, 1, 1)


def test_the_next_image_is_coloured_alike(open_widget, qtbot, tmp_path):
    for i in range(3):
        ps.write(tmp_path / f"cell{i}.tif", (disk() * (i + 1)).astype(np.float32), labels=False)
    viewer, widget = open_widget()
    viewer.open(str(tmp_path / "cell0.tif"), plugin="napari")
    widget.work.set(brush_size=3)
    finish(qtbot, widget, (10, 10), "nucleus")
    finish(qtbot, widget, (50, 50), "cell")
    switch(widget)
    cell = widget.work.images.colours.of_class("cell")
    for i in (1, 2):
        press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
        on(qtbot, widget, f"cell{i}")
        finish(qtbot, widget, (10, 10), "cell")
        assert is_coloured(widget, {1: cell})
    switch(widget, on=False)
    assert is_coloured(widget, {1: object_colour(1)})


def test_classes_keep_their_colours_and_the_ninth_is_another():
    colours = ObjectColours(by_class=True)
    colours.know(["b", "a", ""])
    first = colours.of_class("a")
    assert len({colours.of_class(kind) for kind in "abcdefghijklmnop"}) == 16
    assert colours.of_class("a") == first and colours.of(7, "a") == first and colours.of(7, "") == GREY


def test_what_napari_compiles_for_the_first_stroke_is_compiled_before_it(monkeypatch):
    begun = []
    monkeypatch.setattr(colours.Thread, "start", lambda thread: begun.append(thread))
    colours.warm_up.cache_clear()
    for _ in range(2):
        colours.warm_up()
    assert len(begun) == 1, "once in a process"
    assert not begun[0].daemon, "Python would not wait for what is written in C"
    begun[0]._target()
    colours.warm_up.cache_clear()
