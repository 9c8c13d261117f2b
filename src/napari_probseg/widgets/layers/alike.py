"""Layer with outlines of the objects on offer that are like finished ones: likely, unlikely, the one on show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_probseg.pages import zeros
from napari_probseg.region import Region
from napari_probseg.similar.offer import SimilarObject
from napari_probseg.widgets.layers.outline import outline
from napari_probseg.widgets.layers.overlay import add_quietly, at_rest, draw, empty_again, is_flat, lay_over
from napari_probseg.widgets.layers.preview import Remover

if TYPE_CHECKING:
    from napari.viewer import Viewer

UNLIKELY, LIKELY, ON_SHOW = 1, 2, 3
COLOURS = {UNLIKELY: (0.75, 0.75, 0.78, 0.7), LIKELY: (1.0, 0.78, 0.1, 1.0), ON_SHOW: (1.0, 0.25, 0.25, 1.0)}


class AlikeOutlines:
    """A passing layer; as large as the image, but memory is taken for the pages alone that are drawn on."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self._remover = viewer, Remover(viewer)
        self._layer: Labels | None = None
        self._drawn: list[Region] = []

    def show(
        self,
        shape: tuple[int, ...],
        objects: Iterable[SimilarObject],
        on_show: SimilarObject,
        *,
        line: float,
        axes: tuple[int, int],
        placement: dict[str, Any],
    ) -> None:
        """Outline objects.

        Parameters
        ----------
        shape : tuple of int
            Of the image.
        objects : iterable of SimilarObject
        on_show : SimilarObject
            The one that a key takes.
        line : float
            How likely those are that are drawn as likely.
        axes : (int, int)
            The axes on the canvas.
        placement : mapping
            How the layer lies over the image.
        """
        layer = self._prepared(shape, placement)
        before = self._blank()
        for o in (*objects, on_show):
            value = ON_SHOW if o is on_show else LIKELY if o.score >= line else UNLIKELY
            fills = self._viewer.dims.ndisplay == 3
            layer.data[o.where][o.mask if fills else _outline(o, axes, 2 if o is on_show else 1)] = value
            self._drawn.append(o.where)
        if not layer.visible:
            layer.visible = True
        draw(layer, [*before, *self._drawn], in_part=is_flat(self._viewer))

    def lay_over(self, placement: dict[str, Any]) -> None:
        """Lie elsewhere, as the image does now."""
        if self._layer is not None:
            lay_over(self._layer, placement)

    def hide(self) -> None:
        """Show nothing."""
        if self._layer is not None and self._drawn:
            draw(self._layer, self._blank(), in_part=is_flat(self._viewer))
            self._layer.visible = False

    def _blank(self) -> list[Region]:
        """Outline nothing, and return where that changes the layer."""
        drawn, self._drawn = self._drawn, []
        if self._layer is not None:
            for where in drawn:
                self._layer.data[where] = 0
        return drawn

    def rest(self, image: Image) -> None:
        """Show nothing, and let the layer wait for what is shown of another image, if it will do for that."""
        self.hide()
        if self._layer is None or self._layer not in self._viewer.layers or not at_rest(self._layer, image):
            self.clear()

    def clear(self) -> None:
        """Take the layer away."""
        self._remover.take_away(self._layer)
        self._layer, self._drawn = None, []

    def holds(self, layer: Any) -> bool:
        """Return whether this is the layer."""
        return layer is not None and layer is self._layer

    def _prepared(self, shape: tuple[int, ...], placement: dict[str, Any]) -> Labels:
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or not empty_again(layer, shape, placement):
            self.clear()
            nothing: dict[int | None, Any] = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0)}
            colours = DirectLabelColormap(color_dict=nothing | COLOURS)
            data = zeros(shape, np.uint8)
            self._layer = Labels(data, name="more like this", colormap=colours, opacity=0.9, **placement)
            self._layer.editable = False
            add_quietly(self._viewer, self._layer)
        return self._layer


def _outline(o: SimilarObject, axes: tuple[int, int], thickness: int) -> NDArray[np.bool_]:
    """Return the outline of an object, also where it ends with its region."""
    return outline(np.pad(o.mask, 1), axes, thickness)[(slice(1, -1),) * o.mask.ndim]
