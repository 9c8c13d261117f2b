"""Bounding-box tool: a rectangle drawn on the canvas, or one of a Shapes layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_probseg.region import Region, grown, relative

if TYPE_CHECKING:
    from napari.viewer import Viewer

_FRAME = 2  # voxels


class BoxTool:
    """Waits for a rectangle on the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is drawn.
    drawn : bound method
        Called with the rectangle's corners, (4, ndim) in voxels of the layer; held weakly.
    """

    def __init__(self, viewer: Viewer, drawn: Callable[[NDArray[np.float64]], Any]) -> None:
        self._viewer = viewer
        self._drawn = WeakMethod(drawn)
        self._layer: Shapes | None = None

    @property
    def is_waiting(self) -> bool:
        return self._layer is not None

    def start(self, ndim: int, placement: dict[str, Any]) -> None:
        """Lay a Shapes layer over the image and take up its rectangle."""
        self.stop()
        self._layer = Shapes(
            ndim=ndim, name="box", edge_color="#ffd54a", face_color="transparent", edge_width=0, **placement
        )
        self._layer.current_edge_width = max(1.0, 0.002 * float(np.max(self._viewer.dims.range[-1])))
        self._viewer.add_layer(self._layer)
        self._layer.mode = "add_rectangle"
        self._layer.events.data.connect(self._changed)

    def stop(self) -> None:
        """Wait no longer, and take the layer away."""
        layer, self._layer = self._layer, None
        if layer is not None:
            layer.events.data.disconnect(self._changed)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _changed(self, event: Any) -> None:
        layer, drawn = self._layer, self._drawn()
        if layer is None or drawn is None or not len(layer.data) or str(getattr(event, "action", "added")) != "added":
            return
        corners = np.asarray(layer.data[-1], dtype=float)
        drawn(corners)


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


def framed(where: Region, shape: tuple[int, ...]) -> tuple[Region, NDArray[np.bool_]]:
    """Return a box grown by a few voxels, and a mask of what was added; a plane of a volume stays a plane."""
    thick = [_FRAME if s.stop - s.start > 1 else 0 for s in where]
    frame = grown(where, thick, shape)
    mask = np.ones([s.stop - s.start for s in frame], dtype=bool)
    mask[relative(where, frame)] = False
    return frame, mask
