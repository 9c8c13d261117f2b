"""Spare layers: markers and objects that are of no session yet, as napari takes a tenth of a second for a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_probseg.pages import zeros
from napari_probseg.region import Region, n_voxels
from napari_probseg.widgets.layers.colours import marker_colours, object_colours
from napari_probseg.widgets.layers.image import bare, placement
from napari_probseg.widgets.layers.overlay import add_quietly, lay_over, remove, seen, shrunk, used_again, will_do

if TYPE_CHECKING:
    from napari.viewer import Viewer

KINDS = "objects", "markers"  # from the lower layer to the upper one
MAX_WRITTEN = 8_000_000  # voxels that are written one region after the other, and not all at once


def new_layer(kind: str, data: NDArray[Any], image_name: str, where: dict[str, Any], *, in_depth: bool) -> Labels:
    """Return a new layer of markers, or of objects, of an image; ``where`` is its `placement`."""
    colours: Any = marker_colours(in_depth=in_depth) if kind == "markers" else object_colours()
    opacity = 0.5 if kind == "markers" else 0.6
    return Labels(data, name=f"{kind} of {image_name}", colormap=colours, opacity=opacity, **where)


def are_few(held: Sequence[Region] | None) -> bool:
    """Return whether regions are better written one after the other than all of an image at once."""
    return held is not None and sum(n_voxels(where) for where in held) <= MAX_WRITTEN


class Spare:
    """A layer of markers and one of objects that no session has: of an image that is gone, or made beforehand.

    They are locked, so that no stroke is drawn of which nobody hears.

    Parameters
    ----------
    markers, objects : Labels, optional
        Those of an image that is gone.
    held : mapping
        The regions of each kind outside of which a layer is empty.
    """

    def __init__(
        self,
        markers: Labels | None = None,
        objects: Labels | None = None,
        held: Mapping[str, Sequence[Region]] | None = None,
    ) -> None:
        given = {"objects": objects, "markers": markers}
        self._layers: dict[str, Labels] = {kind: layer for kind, layer in given.items() if layer is not None}
        self._held = dict(held or {})
        self._laid: dict[str, tuple[str, tuple[int, ...]]] = {}  # the name of the image and its shape, of empty layers

    def __iter__(self) -> Iterator[Labels]:
        return iter(list(self._layers.values()))

    def holds(self, layer: Any) -> bool:
        """Return whether a layer is one of these."""
        return any(bare(layer) is own for own in self)

    def taken(self, kind: str, viewer: Viewer, ndim: int, where: dict[str, Any]) -> Labels | None:
        """Return a layer that will do for an image of ``ndim`` axes that lies there, if there is one."""
        layer = self._layers.get(kind)
        return layer if layer is not None and layer in viewer.layers and will_do(layer, ndim, where) else None

    def is_empty_over(self, kind: str, shape: tuple[int, ...]) -> bool:
        """Return whether a layer is as large as an image and holds nothing."""
        return kind in self._laid and self._laid[kind][1] == shape

    def _emptied(self, kind: str, shape: tuple[int, ...]) -> Any:
        """Return what is to be written to a layer so that it is empty."""
        layer, held = self._layers[kind], self._held.pop(kind, None)
        fits = layer.data.shape == shape and layer.data.dtype == np.uint8 and are_few(held)
        return [(where, np.uint8(0)) for where in held or ()] if fits else zeros(shape, np.uint8)

    def lay_over(self, viewer: Viewer, image: Image, shape: tuple[int, ...]) -> bool:
        """Lay one of the layers over an image, empty, if one does not lie there; return whether one did not.

        One that a person has removed stays away.
        """
        where, wanted = placement(image, len(shape)), (image.name, shape)
        for kind in KINDS:
            layer = self._layers.get(kind)
            is_there = layer is not None and layer in viewer.layers
            if self._laid.get(kind) == wanted:
                if layer is not None and is_there:
                    lay_over(layer, where)
                continue
            if layer is not None and is_there and not will_do(layer, len(shape), where):
                remove(viewer, self._layers.pop(kind))
                return True
            if layer is not None and is_there:
                plane = seen(viewer, layer)
                used_again(layer, self._emptied(kind, shape), f"{kind} of {image.name}", where, plane=plane)
                layer.editable = False
            else:
                in_depth = viewer.dims.ndisplay == 3
                data = zeros(shape, np.uint8)
                layer = self._layers[kind] = new_layer(kind, data, image.name, where, in_depth=in_depth)
                layer.editable = False
                add_quietly(viewer, layer)
            self._laid[kind] = wanted
            return True
        return False

    def recolour(self, *, in_depth: bool) -> None:
        """Colour the markers for the display in 2-D or in 3-D."""
        if (markers := self._layers.get("markers")) is not None:
            markers.colormap = marker_colours(in_depth=in_depth)

    def shrink(self, viewer: Viewer, image: Image) -> bool:
        """Let the layers lie over an image as one voxel each; return False if they will not do for it."""
        self._laid.clear()
        self._held.clear()
        if not all(layer in viewer.layers and shrunk(layer, image) for layer in self):
            return False
        self.recolour(in_depth=viewer.dims.ndisplay == 3)
        for layer in self:
            layer.editable = False
        return True
