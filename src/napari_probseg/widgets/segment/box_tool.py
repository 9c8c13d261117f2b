"""Bounding-box tool: a rectangle drawn on the canvas, or one of a Shapes layer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np
from napari.layers import Labels, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, QRect, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QRubberBand, QWidget

from napari_probseg.region import Region
from napari_probseg.widgets.layers.image import bare

if TYPE_CHECKING:
    from napari.viewer import Viewer

BOX_TAKEN = "The object is inside the box: complete it, or propose."
BOX_BEYOND = "Three sides of the box lie beyond the image: brush a little inside the object, too."
_LEFT_BUTTON = 1
_MIN_PIXELS = 4  # of the screen, along the longer side: less is a click


class BoxTool:
    """Waits for a rectangle on the canvas; none of napari's layers is needed for it, which take their time.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is drawn.
    widget : QWidget
        Anything in the window.
    drawn : bound method
        Called with two opposite corners, (2, ndim) in voxels of the layer; held weakly.
    stopped : bound method
        Called when none is awaited any longer, since something else was taken up; held weakly.
    """

    def __init__(
        self,
        viewer: Viewer,
        widget: QWidget,
        drawn: Callable[[NDArray[np.float64]], Any],
        stopped: Callable[[], Any],
    ) -> None:
        self._viewer, self._widget = viewer, widget
        self._drawn, self._stopped = WeakMethod(drawn), WeakMethod(stopped)
        self._layer: Labels | None = None

    @property
    def is_waiting(self) -> bool:
        return self._layer is not None

    def start(self, layer: Labels) -> None:
        """Wait for a rectangle over a layer; another tool, or another layer, ends that.

        Raises
        ------
        ValueError
            If the viewer shows volumes in 3-D.
        """
        self.stop()
        if self._viewer.dims.ndisplay == 3:
            raise ValueError("a box is drawn on a slice: switch the viewer back to 2-D first")
        self._viewer.layers.selection.active = layer
        layer.mode = "pan_zoom"
        layer.mouse_pan, layer.cursor = False, "cross"
        self._layer = layer
        layer.events.mode.connect(self._end)
        self._viewer.layers.selection.events.active.connect(self._look_soon)
        self._viewer.mouse_drag_callbacks.append(self._drag)

    def stop(self) -> None:
        """Wait no longer."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        layer.events.mode.disconnect(self._end)
        self._viewer.layers.selection.events.active.disconnect(self._look_soon)
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        if layer.mode == "pan_zoom":
            layer.mouse_pan, layer.cursor = True, "standard"

    def _end(self, _: Any = None) -> None:
        """Wait no longer, since something else was taken up."""
        self.stop()
        if (stopped := self._stopped()) is not None:
            stopped()

    def _look_soon(self, _: Any) -> None:
        """Look a turn later which layer is selected: one that is added is for a moment."""
        QTimer.singleShot(0, self._look)

    def _look(self) -> None:
        if self.is_waiting and bare(self._viewer.layers.selection.active) is not self._layer:
            self._end()

    def _drag(self, _: Any, event: Any) -> Generator[None, None, None]:
        if event.button != _LEFT_BUTTON or len(event.dims_displayed) != 2:
            return
        start, pressed, band = event.position, _pixel(event), self._band()
        try:
            yield
            while event.type == "mouse_move":
                if band is not None:
                    band.setGeometry(QRect(pressed, _pixel(event)).normalized())
                    band.setVisible(self.is_waiting)
                yield
        finally:
            with suppress(RuntimeError):  # it went with the canvas
                if band is not None:
                    band.hide()
                    band.deleteLater()
        moved, layer, drawn = _pixel(event) - pressed, self._layer, self._drawn()
        if layer is None or drawn is None or max(abs(moved.x()), abs(moved.y())) < _MIN_PIXELS:
            return
        corners = np.array([layer.world_to_data(place[-layer.ndim :]) for place in (start, event.position)])
        self.stop()
        drawn(corners)

    def _band(self) -> QRubberBand | None:
        """Return what shows the rectangle so far, over the canvas, if the window has one."""
        window = self._widget.window()
        middle = window.centralWidget() if isinstance(window, QMainWindow) else None
        canvas = None if middle is None else middle.findChild(QOpenGLWidget)
        return None if canvas is None else QRubberBand(QRubberBand.Shape.Rectangle, canvas)


def _pixel(event: Any) -> QPoint:
    return QPoint(*map(int, event.pos))


def carried_over(corners: NDArray[np.float64], source: Any, target: Any) -> NDArray[np.float64]:
    """Return corners in the voxels of another layer, by way of the world."""
    return np.array([target.world_to_data(source.data_to_world(corner)[-target.ndim :]) for corner in corners])


def rectangle_of(layer: Any) -> NDArray[np.float64] | None:
    """Return the corners of the latest rectangle of a Shapes layer, None if it has none."""
    if not isinstance(layer, Shapes):
        return None
    rectangles = [data for data, kind in zip(layer.data, layer.shape_type, strict=True) if kind == "rectangle"]
    return np.asarray(rectangles[-1], dtype=float) if rectangles else None


def region_of(corners: NDArray[np.float64], shape: tuple[int, ...]) -> Region:
    """Return the voxels that a rectangle covers, within an image.

    Raises
    ------
    ValueError
        If it lies outside of the image.
    """
    low, high = (np.round(ends[-len(shape) :]).astype(int) for ends in (corners.min(0), corners.max(0)))
    where = tuple(slice(max(0, a), min(n, b + 1)) for a, b, n in zip(low.tolist(), high.tolist(), shape, strict=True))
    if any(s.start >= s.stop for s in where):
        raise ValueError("the box lies outside of the image: draw it around the object")
    return where
