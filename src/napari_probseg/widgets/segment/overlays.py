"""Overlays: all that lies over an image, hidden while a key or a button is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from napari_probseg.widgets.layers.image import bare

if TYPE_CHECKING:
    from napari.viewer import Viewer


class Overlays:
    """The layers over the images of a viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    owns : bound method
        Returns whether a layer is one of them.
    """

    def __init__(self, viewer: Viewer, owns: Callable[[Any], bool]) -> None:
        self._viewer, self._owns = viewer, WeakMethod(owns)
        self._hidden: list[Any] = []

    def hide(self) -> None:
        """Hide all that lies over the image, until `show`."""
        if self._hidden:  # by the key and the button together
            return
        self._hidden = [layer for layer in self._viewer.layers if layer.visible and self._lies_over(layer)]
        for layer in self._hidden:
            layer.visible = False

    def show(self) -> None:
        """Show again what was hidden."""
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []

    def _lies_over(self, layer: Any) -> bool:
        owns = self._owns()
        return owns is not None and owns(bare(layer))
