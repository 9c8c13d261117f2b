"""Edits: where a Labels layer was painted on, as napari's paint events say, and while a stroke is drawn."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_probseg.region import Region

LEFT_BUTTON = 1


@dataclass(frozen=True, eq=False)
class Strokes:
    """What was painted on the markers layer since the session last heard of it.

    The masks cover the region ``where``. Left out are ``n_locked`` voxels of finished objects, and ``n_foreign`` that
    were painted with a label that is no marker.
    """

    where: Region
    inside: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    erase: NDArray[np.bool_]
    n_locked: int
    n_foreign: int = 0

    def __bool__(self) -> bool:
        return bool(self.inside.any() or self.outside.any() or self.erase.any())


def touched_region(edits: Any, shape: tuple[int, ...]) -> Region:
    """Return the bounding box of the edits that a paint event tells of; everything if it cannot be told.

    napari 0.9 tells of boxes, older ones of tuples of indices.
    """
    boxes: list[list[tuple[int, int]]] = []
    for edit in edits if isinstance(edits, list | tuple) else ():
        key = getattr(edit, "slice_key", None)
        if key is None:
            key = edit[0] if isinstance(edit, tuple) and isinstance(edit[0], tuple) else ()
        box = [_extent(index, n) for index, n in zip(key, shape, strict=False)]
        boxes.append(box if len(box) == len(shape) else [(0, n) for n in shape])
    if not boxes:
        return tuple(slice(0, n) for n in shape)
    return tuple(slice(min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*boxes, strict=True))


def _extent(index: Any, n: int) -> tuple[int, int]:
    if isinstance(index, slice):
        start, stop, _ = index.indices(n)
        return start, stop
    values = np.asarray(index)
    return (int(values.min()), int(values.max()) + 1) if values.size else (0, n)


def following(layers: Any) -> Callable[[Any, Any], Generator[None, None, None]]:
    """Return a mouse callback that notes whether a stroke is being drawn, as long as the layers live."""
    me = ref(layers)

    def follow(layer: Labels, event: Any) -> Generator[None, None, None]:
        if (alive := me()) is not None:
            alive.begin_stroke(event)
            del alive
        label, seen = _brushed_label(layer), event.position
        yield
        while event.type == "mouse_move":
            seen = event.position
            yield
        if (alive := me()) is not None:
            if label is not None and not alive.is_encircling:
                draw_end(layer, label, seen, event)
            alive.is_drawing = False

    return follow


def _brushed_label(layer: Labels) -> int | None:
    """Return what the brush in hand draws, None if there is none in hand."""
    if layer.mode not in ("paint", "erase"):
        return None
    return int(layer.selected_label if layer.mode == "paint" else layer.colormap.background_value)


def draw_end(layer: Labels, label: int, seen: Any, event: Any) -> None:
    """Draw a stroke on to where the button was let go.

    napari looks at the mouse once in 5 ms, and not at all once the button is let go: where a person is quick, or the
    window is slow, the end of a stroke was missing.

    Parameters
    ----------
    layer : Labels
        What is drawn on.
    label : int
        What is drawn: that of the brush when the button was pressed, since letting it go may bring another tool.
    seen : sequence of float
        Where napari saw the mouse last, in the world.
    event : MouseEvent
        The button's.
    """
    if np.array_equal(seen, event.position):
        return
    is_brush = layer.mode in ("paint", "erase") and layer.cursor == "circle"  # it is another while its size is dragged
    if not is_brush or event.button != LEFT_BUTTON or len(event.dims_displayed) != 2:
        return
    start, end = (np.asarray(layer.world_to_data(at)) for at in (seen, event.position))
    n_dabs = int(np.ceil(np.abs(end - start).max() / max(1, layer.brush_size / 4)))
    with layer.block_history():
        for i in range(n_dabs):
            layer.paint(start + (end - start) * (i + 1) / n_dabs, label)
