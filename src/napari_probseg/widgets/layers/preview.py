"""Preview: the candidate on show, on the passing layer; and the uncertainty, a layer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.pages import zeros
from napari_probseg.region import Region
from napari_probseg.widgets.layers.colours import TAKEN_BACK
from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.layers.outline import outline
from napari_probseg.widgets.layers.overlay import add_quietly, lay_over
from napari_probseg.widgets.layers.passing import PassingLayer, Remover

if TYPE_CHECKING:
    from napari.viewer import Viewer

MAX_OUTLINED_VOXELS = 2**23  # of a region, of which it takes 30 ms


class Preview:
    """Draws what one candidate would decide.

    Parameters
    ----------
    layer : PassingLayer
        Where it is drawn.
    """

    def __init__(self, layer: PassingLayer) -> None:
        self._passing = layer
        self.is_filled = False

    def show(
        self, candidates: Candidates, i: int, case: Case, placement: dict[str, Any], axes: tuple[int, int] = (0, 1)
    ) -> None:
        """Show candidate ``i``: the outline of its object, or filled all that it adds to a case.

        Grey is what was accepted before and is taken back. Large volumes, and those shown in depth, are filled.

        Parameters
        ----------
        candidates, i, case
        placement : mapping
            How the layer lies over the image.
        axes : (int, int)
            The axes on the canvas.
        """
        layer = self._passing.begin(self, case.shape, placement, over=candidates.where)
        before, after, shown = case.partial[candidates.where], candidates.patches[i], layer.data[candidates.where]
        if self.is_filled or not self._passing.is_flat or after.size > MAX_OUTLINED_VOXELS:
            np.multiply(after, (after != before).view(np.uint8), out=shown)  # np.where takes thrice as long
            taken_back = (before != Marker.UNKNOWN) & (after == Marker.UNKNOWN)
        else:
            shown[...] = outline(after == Marker.OBJECT, axes, self._passing.thickness(axes))
            taken_back = (before == Marker.OBJECT) & (after != Marker.OBJECT)
        if candidates.case.partial is not case.partial:
            shown[taken_back] = TAKEN_BACK
        self._passing.end([candidates.where])

    def hide(self) -> None:
        """Show nothing."""
        self._passing.hide(self)


class Uncertainty:
    """The disagreement of the latest samples, as a layer and as places to go to."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self.remover = viewer, Remover(viewer)
        self._layer: Image | None = None
        self._where: Region | None = None
        self._values: NDArray[np.float32] | None = None

    @property
    def is_known(self) -> bool:
        return self._values is not None

    def take(self, where: Region, values: NDArray[np.float32]) -> None:
        """Remember where samples disagree: 0 not at all, 1 half against half, in a region."""
        self._where, self._values = where, values

    def forget(self) -> None:
        """Forget the samples and take the layer away."""
        self.hide()
        self._where = self._values = None

    def show(self, shape: tuple[int, ...], placement: dict[str, Any]) -> None:
        """Show the disagreement: 0 where none, 1 where half of the samples say otherwise."""
        if self._where is None:
            return
        values = zeros(shape, np.float32)
        values[self._where] = self._values
        if self._layer is not None and self._layer in self._viewer.layers and self._layer.data.shape == shape:
            self._layer.data = values
            return
        self.hide()
        self._layer = Image(
            values,
            name="uncertainty",
            colormap=_doubt(),
            contrast_limits=(0, 1),
            blending="translucent_no_depth",
            opacity=0.75,
            **placement,
        )
        add_quietly(self._viewer, self._layer)

    def lay_over(self, placement: dict[str, Any]) -> None:
        """Lie elsewhere, as the image does now."""
        if self._layer is not None:
            lay_over(self._layer, placement)

    def hide(self) -> None:
        """Take the layer away."""
        self.remover.take_away(self._layer)
        self._layer = None

    def most_uncertain(self, partial: NDArray[np.uint8]) -> tuple[int, ...] | None:
        """Return the undecided voxel at which the samples disagree most; None if there is none.

        Parameters
        ----------
        partial : uint8 array of the image's spatial shape
            What is decided by now.
        """
        if self._where is None or self._values is None:
            return None
        values = np.where(partial[self._where] == Marker.UNKNOWN, self._values, 0)
        if not values.any():
            return None
        place = np.unravel_index(int(values.argmax()), values.shape)
        return tuple(int(at) + (part.start or 0) for at, part in zip(place, self._where, strict=True))

    def holds(self, layer: Any) -> bool:
        """Return whether a layer is the uncertainty layer."""
        return self._layer is not None and bare(layer) is self._layer


def _doubt() -> Colormap:
    """Return clear for certain, then yellow and magenta: seen on dark images and on bright ones."""
    return Colormap([[1.0, 0.9, 0.1, 0.0], [1.0, 0.8, 0.0, 0.8], [0.9, 0.0, 0.7, 1.0]], name="uncertainty")
