"""Preview layers: the candidate on show, and the uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.pages import zeros
from napari_probseg.region import Region
from napari_probseg.widgets.layers.colours import RING, TAKEN_BACK, marker_colours
from napari_probseg.widgets.layers.image import bare, finest, has_channels_first, placement
from napari_probseg.widgets.layers.outline import outline
from napari_probseg.widgets.layers.overlay import add_quietly, at_rest, draw, empty_again, is_flat, lay_over, remove

if TYPE_CHECKING:
    from napari.utils.colormaps import DirectLabelColormap
    from napari.viewer import Viewer


WIDTH = 2.0  # of an outline, in pixels of the screen, at least one voxel
MAX_OUTLINED_VOXELS = 2**23  # of a region, of which it takes 30 ms


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

    def _note(self, _: Any) -> None:
        self._is_removing = True
        QTimer.singleShot(0, self._settle)

    def _settle(self) -> None:
        self._is_removing = False


class Preview:
    """A passing layer that shows what one candidate would decide; never saved, never in a history.

    The layer is as large as the image, but memory is taken for the touched pages alone.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self._remover = viewer, Remover(viewer)
        self._layer: Labels | None = None
        self._shown: Region | None = None
        self._ringed: tuple[Region, NDArray[np.uint8]] | None = None  # where a ring is drawn, and what it covers
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
        layer = self.prepare(case.shape, placement)
        changed = [*self._without_ring(), *([] if self._shown == candidates.where else self._blank())]
        before, after, shown = case.partial[candidates.where], candidates.patches[i], layer.data[candidates.where]
        if self.is_filled or self._viewer.dims.ndisplay == 3 or after.size > MAX_OUTLINED_VOXELS:
            np.multiply(after, (after != before).view(np.uint8), out=shown)  # np.where takes thrice as long
            taken_back = (before != Marker.UNKNOWN) & (after == Marker.UNKNOWN)
        else:
            shown[...] = outline(after == Marker.OBJECT, axes, self._thickness(layer, axes))
            taken_back = (before == Marker.OBJECT) & (after != Marker.OBJECT)
        if candidates.case.partial is not case.partial:
            shown[taken_back] = TAKEN_BACK
        self._shown = candidates.where
        if not layer.visible:
            layer.visible = True
        self._draw([*changed, candidates.where])

    def prepare(self, shape: tuple[int, ...], placement: dict[str, Any]) -> Labels:
        """Return the layer, made in good time: napari takes 0.1 s to add one and 0.2 s to remove it."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or not empty_again(layer, shape, placement):
            self.clear()
            self._layer = Labels(
                zeros(shape, np.uint8), name="preview", colormap=self._colours(), opacity=0.8, **placement
            )
            self._layer.editable = False
            add_quietly(self._viewer, self._layer)
        return self._layer

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
        thickness = self._thickness(layer, axes)
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
            self._layer.colormap = self._colours()

    def shows(self, axis: int, index: int) -> bool:
        """Return whether there is anything to see on one plane of the volume."""
        return self._layer is not None and bool(self._layer.data[(slice(None),) * axis + (index,)].any())

    def _thickness(self, layer: Labels, axes: tuple[int, int]) -> int:
        """Return how many voxels wide an outline is drawn, to be seen however far the camera is."""
        step = float(np.min(np.abs(layer.scale[list(axes)])))
        camera = getattr(self._viewer, "scene", self._viewer).camera  # it moved there in napari 0.9
        return int(np.clip(np.ceil(WIDTH / (camera.zoom * step)), 1, 12))

    def _colours(self) -> DirectLabelColormap:
        return marker_colours(0.3, in_depth=self._viewer.dims.ndisplay == 3)

    def hide(self) -> None:
        """Show nothing; the layer stays, as it is: napari takes 30 ms to let one appear or vanish."""
        self._draw([*self._without_ring(), *self._blank()])

    def rest(self, image: Image) -> None:
        """Show nothing, and let the layer wait for what is shown of another image, if it will do for that."""
        self.hide()
        if self._layer is None or self._layer not in self._viewer.layers or not at_rest(self._layer, image):
            self.clear()

    def clear(self) -> None:
        """Take the layer away."""
        self._remover.take_away(self._layer)
        self._layer, self._shown, self._ringed = None, None, None

    def _blank(self) -> list[Region]:
        """Show no candidate, and return where that changes the layer."""
        shown, self._shown = self._shown, None
        if shown is None or self._layer is None:
            return []
        self._layer.data[shown] = 0
        return [shown]

    def _draw(self, regions: Sequence[Region]) -> None:
        if self._layer is not None:
            draw(self._layer, regions, in_part=is_flat(self._viewer))

    def holds(self, layer: Any) -> bool:
        """Return whether a layer is the preview."""
        return self._layer is not None and bare(layer) is self._layer


class Uncertainty:
    """The disagreement of the latest samples, as a layer and as places to go to."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer, self._remover = viewer, Remover(viewer)
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
        self._remover.take_away(self._layer)
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
