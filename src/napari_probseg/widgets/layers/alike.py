"""Outlines of the objects on offer that are like finished ones: likely, unlikely, the one on show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.similar.offer import SimilarObject
from napari_probseg.widgets.layers.colours import LIKELY, ON_SHOW, UNLIKELY
from napari_probseg.widgets.layers.outline import outline
from napari_probseg.widgets.layers.passing import PassingLayer


class AlikeOutlines:
    """Draws objects on the passing layer.

    Parameters
    ----------
    layer : PassingLayer
        Where they are drawn.
    """

    def __init__(self, layer: PassingLayer) -> None:
        self._passing = layer
        self._shown: tuple[Any, ...] = ()

    def show(
        self,
        shape: tuple[int, ...],
        objects: Sequence[SimilarObject],
        on_show: SimilarObject,
        *,
        line: float,
        axes: tuple[int, int],
        placement: dict[str, Any],
    ) -> None:
        """Outline objects, unless that is on show already.

        Parameters
        ----------
        shape : tuple of int
            Of the image.
        objects : sequence of SimilarObject
        on_show : SimilarObject
            The one that a key takes.
        line : float
            How likely those are that are drawn as likely.
        axes : (int, int)
            The axes on the canvas.
        placement : mapping
            How the layer lies over the image.
        """
        fills = not self._passing.is_flat
        shown = (shape, tuple(objects), on_show, line, axes, fills)
        if shown == self._shown and self._passing.shows(self):
            return
        data = self._passing.begin(self, shape, placement).data
        for o in (*objects, on_show):
            value = ON_SHOW if o is on_show else LIKELY if o.score >= line else UNLIKELY
            data[o.where][o.mask if fills else _outline(o, axes, 2 if o is on_show else 1)] = value
        self._passing.end([o.where for o in objects])
        self._shown = shown

    def hide(self) -> None:
        """Show nothing."""
        self._passing.hide(self)


def _outline(o: SimilarObject, axes: tuple[int, int], thickness: int) -> NDArray[np.bool_]:
    """Return the outline of an object, also where it ends with its region."""
    return outline(np.pad(o.mask, 1), axes, thickness)[(slice(1, -1),) * o.mask.ndim]
