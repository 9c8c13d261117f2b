"""First view: what fitted the canvas fits it still, once docks have taken room from it."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.segment.brush_fit import camera_of

SETTLED_MS = 50  # until the window is laid out anew


class FirstView(QObject):
    """Fits the view again, where nobody has moved it since napari fitted it.

    napari fits the first image to the canvas as it is then; the controls of layers, and a dock that is opened later,
    take room from that, and cut off the sides of the image.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject
    """

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer_of = ref(bare(viewer))
        self._later = QTimer(self, singleShot=True, interval=SETTLED_MS)
        self._later.timeout.connect(self._fit)

    def fit(self) -> None:
        """Fit the view in a moment."""
        self._later.start()

    def _fit(self) -> None:
        viewer = self._viewer_of()
        if viewer is None or not viewer.layers or viewer.dims.ndisplay != 2:
            return
        shown, extent = list(viewer.dims.displayed), viewer.layers.extent
        middle, half = extent.world[:, shown].mean(axis=0), np.abs(np.asarray(extent.step)[shown]) / 2
        if (np.abs(np.asarray(camera_of(viewer).center)[-2:] - middle) <= half).all():
            viewer.reset_view()
