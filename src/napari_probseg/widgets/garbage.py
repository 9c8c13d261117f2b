"""Garbage: what is in memory when work begins is kept out of Python's search for objects that nobody needs.

Where napari is open that search goes through 400,000 objects, most of them modules and classes that stay for good: the
window stands still for 0.2 to 0.4 s, in whichever thread it begins, and each time napari removes a layer. To set them
aside takes no search, unless something large may be among them that nobody needs.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from napari_probseg.widgets.layers.image import bare

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


class Garbage:
    """Sets aside what there is while a viewer is worked with.

    A layer that was set aside and is removed ends it, so that no image stays in memory that nobody needs; so does the
    end of a window. Then all is searched once before it is set aside again.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    _may_hold_images = False  # whether layers, or a window, went since all was searched last

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_of = ref(bare(viewer))
        self._layers: WeakSet[Layer] = WeakSet()
        self._is_aside = False
        viewer.layers.events.removing.connect(self._note_removing)

    def set_aside(self) -> bool:
        """Keep what there is out of Python's searches; return False if that was done."""
        if self._is_aside or (viewer := self._viewer_of()) is None:
            return False
        self._is_aside = True
        self._layers.update(map(bare, viewer.layers))
        gc.collect(2 if Garbage._may_hold_images else 1)
        Garbage._may_hold_images = False
        gc.freeze()
        gc.collect()  # of nothing, so that Python counts what comes from here on: it searches after a quarter more
        return True

    def take_back(self) -> None:
        """Let all be searched again."""
        if self._is_aside:
            self._is_aside, Garbage._may_hold_images = False, True
            self._layers.clear()
            gc.unfreeze()

    def release(self) -> None:
        """Let go of the viewer."""
        self.take_back()
        if (viewer := self._viewer_of()) is not None:
            viewer.layers.events.removing.disconnect(self._note_removing)

    def _note_removing(self, event: Any) -> None:
        viewer = self._viewer_of()
        if viewer is not None and bare(viewer.layers[event.index]) in self._layers:
            self.take_back()
