"""Following: the image at work and the layer that is selected in napari's list are never of two images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.segment.verbs import Speaking

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.widgets.layers.session_layers import SessionLayers
    from napari_probseg.widgets.segment.images import Images


class Following(Speaking):
    """What of the stage turns to the image that is selected, and selects the one that it turned to."""

    viewer: Viewer
    images: Images

    def __init__(self) -> None:
        super().__init__()
        self._is_adding = self._is_removing = False

    @property
    def image(self) -> Image | None:
        return self.images.at_work

    @property
    def layers(self) -> SessionLayers | None:
        return self.images.layers

    def choices(self) -> list[Image]:
        """Return the viewer's images that can be worked on."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the layers of the image at work, so that something can be drawn over it."""
        raise NotImplementedError

    def choose(self, image: Image | None) -> None:
        """Turn to an image; the work on the others stays as it is."""
        raise NotImplementedError

    def follow(self, layer: Any) -> None:
        """Turn to an image that was opened or selected, or to the one that selected layers of ours lie over."""
        layer = bare(layer)
        if self._is_adding or self._is_removing:
            return
        if self.is_held:
            self.act(partial(self._follow_if_active, layer))
            return
        if self.images.holds_spare(layer):
            QTimer.singleShot(0, self._take_up)  # napari may be removing all layers, and this one is the last
            return
        image = next((self.images.image_of(layers) for layers in self.images if layers.holds(layer)), layer)
        if image is not self.image and image in self.choices():
            self.say("")  # what was said is of the image before
            self.choose(image)

    def _follow_if_active(self, layer: Any) -> None:
        if bare(self.viewer.layers.selection.active) is layer:
            self.follow(layer)

    def _take_up(self) -> None:
        """Begin the work on an image of which a layer was selected that lay ready: it is to be painted on."""
        if self.images.holds_spare(self.viewer.layers.selection.active):
            self.prepare()

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Follow no selection meanwhile: layers that are added are selected for a moment."""
        before, self._is_adding = self._is_adding, True
        try:
            yield
        finally:
            self._is_adding = before

    def _select(self, image: Any) -> None:
        """Select the image at work, or its markers, where another image is selected."""
        active = bare(self.viewer.layers.selection.active)
        is_elsewhere = isinstance(active, Image) or any(layers.holds(active) for layers in self.images)
        if image is None or active is image or not is_elsewhere or (self.layers and self.layers.holds(active)):
            return
        own = [] if self.layers is None else [self.layers.markers]
        layer = next((layer for layer in (*own, image) if layer in self.viewer.layers), None)
        if layer is not None:
            self.viewer.layers.selection.active = layer

    def _note_removing(self, _: Any) -> None:
        """Follow no selection meanwhile: napari selects the next best layer."""
        self._is_removing = True
