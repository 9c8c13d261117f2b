"""What is drawn of a layer after a part of it was written: that part and nothing else, whatever its numbers take."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_probseg.case import Marker
from napari_probseg.widgets.layers.overlay import MAX_DRAWN_REGIONS, draw, seen, write
from window import disk, finished, offer, on, press, stroke, turned

SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier


def drawn_of(viewer, layer):
    """Return what the canvas holds of a layer, of as many bits as it has there."""
    viewer = viewer.__wrapped__
    return np.asarray(viewer.window._qt_viewer.canvas.layer_to_visual[layer].layer._slice.image.view)


@pytest.mark.parametrize("numbers", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("is_shown", [True, False])
def test_a_region_is_written_and_nothing_beside_it(new_viewer, numbers, is_shown):
    viewer = new_viewer()
    layer = viewer.add_labels(np.ones((20, 30), numbers), visible=is_shown)
    updates, strokes = [], []
    layer.events.labels_update.connect(lambda event: updates.append((tuple(event.offset), event.data.copy())))
    layer.events.paint.connect(strokes.append)
    rng, where = np.random.default_rng(0), (slice(3, 9), slice(4, 15))
    new = rng.integers(0, 4, (6, 11)).astype(numbers)
    expected = layer.data.copy()
    expected[where] = new
    assert not np.array_equal(expected, layer.data), "test invalid"
    write(layer, [(where, new)])
    np.testing.assert_array_equal(layer.data, expected)
    layer.visible = True
    np.testing.assert_array_equal(drawn_of(viewer, layer), expected)
    if is_shown and numbers != np.uint32:
        ((offset, data),) = updates
        assert offset == (3, 4) and np.array_equal(data, new)
    assert not strokes, "it is none that a person drew"
    before = len(updates)
    write(layer, [(where, new)])
    write(layer, [((slice(0, 1), slice(0, 1)), np.array([[3]], numbers))])
    assert layer.data[0, 0] == 3 and len(updates) <= before + 1


def test_the_layers_of_the_next_image_hold_nothing_of_the_one_before(opened, qtbot):
    """They are emptied where anything was, and not made anew."""
    viewer, widget = opened
    finished(qtbot, widget)
    stroke(qtbot, widget, (50, 50))
    stroke(qtbot, widget, (10, 10), Marker.BACKGROUND)
    markers, objects = widget.work.layers.markers, widget.work.layers.objects
    arrays = markers.data, objects.data
    assert all(array.any() for array in arrays), "test invalid"
    press(qtbot, widget, Qt.Key.Key_Q, SHIFT)
    on(qtbot, widget, "cell1")
    now = widget.work.layers
    assert (now.markers, now.objects) == (markers, objects) and now.markers.data is arrays[0]
    assert not now.markers.data.any() and not now.objects.data.any()
    turned(qtbot)
    assert not drawn_of(viewer, markers).any() and not drawn_of(viewer, objects).any()
    press(qtbot, widget, Qt.Key.Key_Q, ALT)
    on(qtbot, widget, "cell0")
    qtbot.waitUntil(lambda: widget.work.session is not None)
    layers = widget.work.layers
    np.testing.assert_array_equal(layers.objects.data, widget.work.session.objects)
    assert len(widget.work.session.finished) == 2 and layers.objects.data.max() == 2
    np.testing.assert_array_equal(drawn_of(viewer, layers.objects), layers.objects.data)
    np.testing.assert_array_equal(drawn_of(viewer, layers.markers), layers.markers.data)


@pytest.mark.parametrize(("first", "numbers"), [(254, np.uint8), (255, np.uint16), (2**16 - 1, np.uint32)])
def test_objects_of_any_number_are_shown(opened, qtbot, first, numbers):
    viewer, widget = opened
    labels = np.zeros((64, 64), np.uint32)
    labels[50:60, 50:60] = first
    widget.work.take(viewer.add_labels(labels, name="others"))
    assert widget.work.session.max_label == first
    finished(qtbot, widget)
    layers = widget.work.layers
    assert widget.work.session.max_label == first + 1 and layers.objects.data.dtype == numbers
    np.testing.assert_array_equal(layers.objects.data, widget.work.session.objects)
    press(qtbot, widget, Qt.Key.Key_U)
    np.testing.assert_array_equal(layers.objects.data, widget.work.session.objects)


def test_a_candidate_on_a_flat_image_is_drawn_where_it_lies_and_where_the_one_before_lay(open_widget, qtbot):
    viewer, widget = open_widget(disk((200, 300)).astype(np.float32))
    stroke(qtbot, widget, (30, 30))
    offer(qtbot, widget)
    preview, drawn = viewer.layers["preview"].__wrapped__, []
    preview.events.labels_update.connect(lambda event: drawn.append(event.data.size))
    view = widget.work.view
    for act in (
        widget.work.next,
        lambda: view.fill(True),
        lambda: view.passing.ring((50, 50), (0, 1)),
        view.preview.hide,
    ):
        drawn.clear()
        act()
        assert drawn
        np.testing.assert_array_equal(drawn_of(viewer, preview), preview.data)
    assert not preview.data.any()


@pytest.mark.parametrize("n", [1, MAX_DRAWN_REGIONS, MAX_DRAWN_REGIONS + 1, 60])
def test_many_regions_are_drawn_as_one(new_viewer, n):
    viewer = new_viewer()
    layer, drawn = viewer.add_labels(np.zeros((80, 90), np.uint8)), []
    layer.events.labels_update.connect(lambda event: drawn.append(event.data.size))
    regions = [(slice(i, i + 1), slice(i + 5, i + 6)) for i in range(n)]
    for where in regions:
        layer.data[where] = 1
    draw(layer, regions)
    assert drawn == ([1] * n if n <= MAX_DRAWN_REGIONS else [n * n])
    np.testing.assert_array_equal(drawn_of(viewer, layer), layer.data)


@pytest.mark.parametrize("n_axes", [3, 4])
def test_of_a_volume_the_slice_on_view_is_drawn_where_it_changed(make_napari_viewer_proxy, n_axes):
    """It is drawn as napari draws it that is told to draw all anew, however the sliders and the volume lie."""
    viewer = make_napari_viewer_proxy(show=True)
    if n_axes == 4:
        viewer.add_image(np.zeros((2, 10, 40, 50), np.uint8), visible=False)
    layer, drawn = viewer.add_labels(np.zeros((10, 40, 50), np.uint8), scale=(3, 1, 1), translate=(6, 0, 0)), []
    turned_to = (0,) * (n_axes - 3)
    layer.events.labels_update.connect(lambda event: drawn.append(event.data.shape))
    shots = {}
    for z in (4, 7):
        viewer.dims.set_point(range(n_axes), (*turned_to, 6 + 3 * z, 0, 0))
        plane = seen(viewer, layer)
        assert plane == (z,)
        shots[z, "before"] = viewer.screenshot(flash=False)
        write(layer, [((slice(2, 6), slice(5, 25), slice(10, 30)), np.uint8(z))], plane=plane)
        shots[z, "after"] = viewer.screenshot(flash=False)
        layer.refresh()
        np.testing.assert_array_equal(viewer.screenshot(flash=False), shots[z, "after"])
    assert drawn == [(20, 20)]  # nothing of it is on the second slice
    assert not np.array_equal(shots[4, "before"], shots[4, "after"]), "test invalid"


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_where_a_slice_does_not_lie_along_the_volume_all_is_drawn_anew(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    layer = viewer.add_labels(np.zeros((10, 40, 50), np.uint8))
    assert seen(viewer, layer) == (round(viewer.dims.point[0]),)
    layer.rotate = (0, 20, 0)
    assert seen(viewer, layer) is None
    layer.rotate = (0, 0, 0)
    viewer.dims.order = (1, 0, 2)
    assert seen(viewer, layer) is None
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    assert seen(viewer, layer) is None


def test_finishing_in_a_volume_lets_napari_draw_nothing_anew(open_widget, qtbot):
    """Each layer that it draws anew takes 10 ms, however little has changed."""
    viewer, widget = open_widget(np.stack([disk((60, 60)).astype(np.float32)] * 8))
    finished(qtbot, widget, (4, 30, 30))
    stroke(qtbot, widget, (4, 50, 10))
    layers, anew = widget.work.layers, []
    for layer in (layers.markers, layers.objects, viewer.layers["preview"].__wrapped__):
        layer.events.set_data.connect(lambda event: anew.append(event.source.name))
    widget.work.view.passing.ring((4, 20, 20), (1, 2))
    widget.work.finish()
    widget.work.undo()
    turned(qtbot)
    assert not anew
    for layer in (layers.markers, layers.objects):
        np.testing.assert_array_equal(drawn_of(viewer, layer), layer.data[viewer.dims.current_step[0]])
