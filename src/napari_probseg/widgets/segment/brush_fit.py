"""Brush that fits what is on the screen, until a person chooses its size for images like the one at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_probseg.widgets.layers.image import finest

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

WIDTH = 14.0  # of the brush, in pixels of the screen
MAX_VOXELS = 400
MAX_RATIO = 2.0  # of the sides of images for which the same size is meant


class BrushFit:
    """What decides on the size of the brush.

    Parameters
    ----------
    size : int
        Diameter that is set in the preferences, in voxels; 0 fits the screen.
    """

    def __init__(self, size: int) -> None:
        self._set = size
        self.fits_screen = not size  # until a person chooses
        self._side = 0  # of the image on which a person chose, in voxels

    def choose(self, image: Image | None) -> None:
        """Note that a person chose a size on an image."""
        self.fits_screen, self._side = False, 0 if image is None else side_of(image)

    def turned(self, image: Image | None, size: int) -> int:
        """Return the size for an image that comes: as it is, or as it was set if it was chosen on quite another one."""
        if image is None or not self._side or is_meant_for(self._side, image):
            return size
        self.fits_screen, self._side = not self._set, 0
        return self._set or size


def fitting(zoom: float, scale: Any) -> int:
    """Return the diameter of a brush, in voxels, that is seen as wide as `WIDTH`.

    Parameters
    ----------
    zoom : float
        Of the camera: pixels of the screen for a unit of the world.
    scale : sequence of float
        Units of the world for a voxel, along each axis.
    """
    step = float(np.min(np.abs(np.asarray(scale, dtype=float)[-2:]))) or 1.0
    return int(np.clip(round(WIDTH / max(zoom * step, 1e-6)), 1, MAX_VOXELS))


def side_of(image: Image) -> int:
    """Return the longest side of the slices of an image, in voxels."""
    return int(max(finest(image).shape[: image.ndim][-2:]))


def is_meant_for(side: int, image: Image) -> bool:
    """Return whether a size that was chosen on an image with such a side is meant for another one, too."""
    return 1 / MAX_RATIO <= side_of(image) / side <= MAX_RATIO


def camera_of(viewer: Viewer) -> Any:
    """Return the camera; it moved in napari 0.9."""
    return getattr(viewer, "scene", viewer).camera
