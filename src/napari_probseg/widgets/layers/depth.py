"""Depth: in napari's 3-D display a layer that holds nothing is hidden, since rays are cast through it all the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from napari.layers import Labels

from napari_probseg.widgets.layers.image import bare

if TYPE_CHECKING:
    from napari.viewer import Viewer


class Depth:
    """Hides layers that hold nothing while the canvas shows depth, and shows them again.

    Without a graphics card an empty layer takes a second or more of each drawing of a volume, like the image does.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_of = ref(bare(viewer))
        self._hidden: WeakSet[Labels] = WeakSet()  # by this; others a person has hidden

    def settle(self, layers: Iterable[tuple[Labels, bool]], *, hides: bool = False) -> None:
        """Show what was hidden and need be drawn; in depth hide what need not be, if that is wanted.

        Parameters
        ----------
        layers : iterable of (Labels, bool)
            Each with whether it holds nothing.
        hides : bool
            Not in the midst of a verb: napari lets nobody take up a brush on a layer that is hidden.
        """
        if (viewer := self._viewer_of()) is None:
            return
        in_depth = viewer.dims.ndisplay == 3
        for layer, is_empty in layers:
            if in_depth and is_empty:
                if hides and layer.visible:
                    self._hidden.add(layer)
                    layer.visible = False
            elif layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True

    def release(self) -> None:
        """Show again what was hidden."""
        for layer in list(self._hidden):
            layer.visible = True
        self._hidden.clear()
