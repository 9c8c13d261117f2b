"""Brush that fits what is on the screen, until a person chooses its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.viewer import Viewer

WIDTH = 14.0  # of the brush, in pixels of the screen
MAX_VOXELS = 400


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


def camera_of(viewer: Viewer) -> Any:
    """Return the camera; it moved in napari 0.9."""
    return getattr(viewer, "scene", viewer).camera
