"""Circle of napari's brush: drawn once out of sight, before a person paints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.segment.brush_fit import camera_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

SCREEN_PIXELS = 16  # across: napari draws no circle that is smaller than eight
_drawn: WeakSet[Viewer] = WeakSet()  # the viewers that have drawn it


class BrushCircle:
    """The circle that follows the mouse while a brush is in hand, which napari takes a tenth of a second to draw first.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_of = ref(bare(viewer))
        self._is_shown = False

    def draw_beforehand(self) -> bool:
        """Show it beyond the canvas for a turn of the event loop, then put it away; return False if that was done."""
        viewer = self._viewer_of()
        if viewer is None or (viewer in _drawn and not self._is_shown):
            return False
        _drawn.add(viewer)
        if self._is_shown:
            self._put_away(viewer)
        elif str(viewer.cursor.style) == "standard" or self._awaits_mouse(viewer):
            self._show(viewer)
        return True

    @staticmethod
    def _awaits_mouse(viewer: Viewer) -> bool:
        """Return whether a brush is in hand already whose circle nobody has seen, as the mouse is elsewhere."""
        return str(viewer.cursor.style) == "circle" and not viewer.mouse_over_canvas

    def _show(self, viewer: Viewer) -> None:
        viewer.cursor.size = math.ceil(SCREEN_PIXELS / camera_of(viewer).zoom)
        viewer.cursor.style = "circle"
        was_over, self._is_shown = viewer.mouse_over_canvas, True
        viewer.mouse_over_canvas = not was_over
        viewer.mouse_over_canvas = True  # where it comes in napari lays the circle far off the canvas
        self._was_over = was_over

    def _put_away(self, viewer: Viewer) -> None:
        """Let the mouse look as the active layer wants it: a brush may have been taken up meanwhile."""
        active = viewer.layers.selection.active
        viewer.cursor.style = "standard" if active is None else active.cursor
        viewer.cursor.size = 1 if active is None else active.cursor_size
        viewer.mouse_over_canvas = self._was_over
        self._is_shown = False
