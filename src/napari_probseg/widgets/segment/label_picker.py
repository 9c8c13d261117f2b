"""Label picker: a finished object by a click on the canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer


class Picker:
    """Waits for one click on an object of a Labels layer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the click is awaited.
    picked : bound method
        Called with the label under the click, 0 for none; held weakly.
    """

    def __init__(self, viewer: Viewer, picked: Callable[[int], Any]) -> None:
        self._viewer = viewer
        self._picked = WeakMethod(picked)
        self._labels: Labels | None = None

    @property
    def is_waiting(self) -> bool:
        return self._labels is not None

    def start(self, labels: Labels) -> None:
        """Wait for a click; brushes are laid down, so that it does not paint."""
        self.stop()
        self._labels = labels
        if (active := self._viewer.layers.selection.active) is not None:
            active.mode = "pan_zoom"
        self._viewer.mouse_drag_callbacks.append(self._clicked)

    def stop(self) -> None:
        """Wait no longer."""
        self._labels = None
        if self._clicked in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._clicked)

    def _clicked(self, _: Any, event: Any) -> None:
        labels, picked = self._labels, self._picked()
        self.stop()
        if labels is not None and picked is not None:
            picked(label_at(labels, event.position))


def label_at(labels: Labels, position: Any) -> int:
    """Return the label at a place in the world; 0 outside."""
    at = np.round(labels.world_to_data(position[len(position) - labels.ndim :])).astype(int)
    inside = all(0 <= i < n for i, n in zip(at, labels.data.shape, strict=True))
    return int(labels.data[tuple(at)]) if inside else 0
