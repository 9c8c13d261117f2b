"""Passing layer: one layer for all that is on show for a moment, candidates or objects alike, and a ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_probseg.pages import zeros
from napari_probseg.region import Region
from napari_probseg.widgets.layers.colours import RING, passing_colours
from napari_probseg.widgets.layers.image import bare, finest, has_channels_first, placement
from napari_probseg.widgets.layers.overlay import add_quietly, at_rest, draw, empty_again, lay_over, remove, seen

if TYPE_CHECKING:
    from napari.viewer import Viewer

WIDTH = 2.0  # of an outline, in pixels of the screen, at least one voxel


class Remover:
    """Removes layers of ours; a turn of the event loop later, where napari is removing others.

    It goes through a list of them then (*select all, delete*), in which one that is gone already is an error.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._is_removing = False
        viewer.layers.events.removing.connect(self._note)

    def take_away(self, layer: Any) -> None:
        """Remove a layer if it is there, which takes napari a quarter of a second."""
        if layer is None or layer not in self._viewer.layers:
            return
        if not self._is_removing:
            remove(self._viewer, layer)
            return
        layer.name = f"{layer.name} (removed)"  # the next one gets the name
        layer.visible = False
        QTimer.singleShot(0, lambda: remove(self._viewer, layer))

    def release(self) -> None:
        """Let go of the viewer."""
        self._viewer.layers.events.removing.disconnect(self._note)

    def _note(self, _: Any) -> None:
        self._is_removing = True
        QTimer.singleShot(0, self._settle)

    def _settle(self) -> None:
        self._is_removing = False


class PassingLayer:
    """A layer for what is on show, never saved and never in a history; one painter at a time draws on it.

    It is as large as the image, but memory is taken for the touched pages alone. There is one, made in good time:
    napari takes 0.1 s to half a second to add a layer, and 0.2 s to remove it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self.remover = viewer, Remover(viewer)
        self._layer: Labels | None = None
        self._painter: object = None  # whose drawing is on it
        self._drawn: list[Region] = []
        self._changed: list[Region] = []  # since `begin`
        self._ringed: tuple[Region, NDArray[np.uint8]] | None = None  # where a ring is drawn, and what it covers

    @property
    def is_flat(self) -> bool:
        """Whether the canvas shows no depth."""
        return bool(self._viewer.dims.ndisplay == 2)

    def shows(self, painter: object) -> bool:
        """Return whether what a painter drew last is there still."""
        return painter is self._painter and self._layer is not None and self._layer in self._viewer.layers

    def begin(
        self, painter: object, shape: tuple[int, ...], placement: dict[str, Any], over: Region | None = None
    ) -> Labels:
        """Return the layer for a painter to write into, until `end`.

        Parameters
        ----------
        painter : object
        shape, placement
            Of the image.
        over : Region, optional
            What is written whole, and need not be empty: all else is.
        """
        layer = self.prepare(shape, placement)
        self._changed = [*self._without_ring(), *self._blank(over)]
        self._painter = painter
        return layer

    def end(self, drawn: Sequence[Region]) -> None:
        """Show what a painter wrote into some regions."""
        self._drawn = list(drawn)
        if self._layer is not None and not self._layer.visible:
            self._layer.visible = True
        self._draw([*self._changed, *drawn])

    def hide(self, painter: object) -> None:
        """Show nothing of a painter, and no ring; the layer stays: napari takes 30 ms to let one appear or vanish."""
        ring = self._without_ring()
        self._draw([*ring, *(self._blank() if painter is self._painter else ())])

    def prepare(self, shape: tuple[int, ...], placement: dict[str, Any]) -> Labels:
        """Return the layer, made if it is not there."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or not empty_again(layer, shape, placement):
            self.clear()
            colours = passing_colours(in_depth=not self.is_flat)
            self._layer = layer = Labels(
                zeros(shape, np.uint8), name="preview", colormap=colours, opacity=0.8, **placement
            )
            layer.editable = False
            add_quietly(self._viewer, layer)
        return layer

    def lay_beforehand(self, image: Image) -> bool:
        """Make the layer before it is needed; return False if it lies over the image already."""
        where = placement(image, image.ndim - int(has_channels_first(image)))
        shape = tuple(finest(image).shape[: image.ndim])[-len(where["scale"]) :]
        before = self._layer
        if before is not None and before in self._viewer.layers and before.data.shape == shape:
            return False
        self.prepare(shape, where)
        return True

    def lay_over(self, placement: dict[str, Any]) -> None:
        """Lie elsewhere, as the image does now."""
        if self._layer is not None:
            lay_over(self._layer, placement)

    def ring(self, place: Sequence[int], axes: tuple[int, int]) -> None:
        """Draw a ring around a voxel, on the plane of two axes, until something else is shown."""
        if self._layer is None:
            return
        changed = self._without_ring()
        layer, shape = self._layer, self._layer.data.shape
        thickness = self.thickness(axes)
        radius = 6 * thickness
        where = tuple(
            slice(max(0, at - radius), min(n, at + radius + 1)) if axis in axes else slice(at, at + 1)
            for axis, (at, n) in enumerate(zip(place, shape, strict=True))
        )
        sides = [np.arange(s.start, s.stop) - at for s, at in zip(where, place, strict=True)]
        distance = np.sqrt(sum(side.astype(float) ** 2 for side in np.ix_(*sides)))
        self._ringed = where, layer.data[where].copy()
        layer.data[where][np.abs(distance - radius + thickness / 2) <= thickness / 2] = RING
        self._draw([*changed, where])

    def _without_ring(self) -> list[Region]:
        """Take the ring away, and return where that changes the layer."""
        ringed, self._ringed = self._ringed, None
        if ringed is None or self._layer is None:
            return []
        where, before = ringed
        self._layer.data[where] = before
        return [where]

    def recolour(self) -> None:
        """Colour the layer for the display in 2-D or in 3-D."""
        if self._layer is not None:
            self._layer.colormap = passing_colours(in_depth=not self.is_flat)

    def thickness(self, axes: Sequence[int]) -> int:
        """Return how many voxels wide an outline is drawn, to be seen however far the camera is."""
        step = 1.0 if self._layer is None else float(np.min(np.abs(self._layer.scale[list(axes)])))
        camera = getattr(self._viewer, "scene", self._viewer).camera  # it moved there in napari 0.9
        return int(np.clip(np.ceil(WIDTH / (camera.zoom * step)), 1, 12))

    def is_empty(self, axis: int, index: int) -> bool:
        """Return whether there is nothing to see on one plane of the volume."""
        return self._layer is None or not self._layer.data[(slice(None),) * axis + (index,)].any()

    def rest(self, image: Image) -> None:
        """Show nothing, and let the layer wait for what is shown of another image, if it will do for that."""
        self.hide(self._painter)
        if self._layer is None or self._layer not in self._viewer.layers or not at_rest(self._layer, image):
            self.clear()

    def clear(self) -> None:
        """Take the layer away."""
        self.remover.take_away(self._layer)
        self._layer, self._painter, self._drawn, self._ringed = None, None, [], None

    def holds(self, layer: Any) -> bool:
        """Return whether a layer is this one."""
        return self._layer is not None and bare(layer) is self._layer

    @property
    def emptiness(self) -> list[tuple[Labels, bool]]:
        """The layer, if there is one, with whether it shows nothing."""
        return [] if self._layer is None else [(self._layer, not self._drawn and self._ringed is None)]

    def _blank(self, over: Region | None = None) -> list[Region]:
        """Take away what is drawn, and return where that changes the layer; what is written over stays."""
        drawn, self._drawn, self._painter = self._drawn, [], None
        if self._layer is None:
            return []
        gone = [where for where in drawn if where != over]
        for where in gone:
            self._layer.data[where] = 0
        return gone

    def _draw(self, regions: Sequence[Region]) -> None:
        if self._layer is not None:
            draw(self._layer, regions, plane=seen(self._viewer, self._layer))
