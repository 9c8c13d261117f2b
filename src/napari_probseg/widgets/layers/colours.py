"""Colours of the layers: markers red and blue, finished objects of other colours."""

from __future__ import annotations

from functools import cache

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_probseg.case import Marker
from napari_probseg.rendering import BLUE, RED

_OBJECT_COLOURS = (
    (0.30, 0.78, 0.45),
    (0.98, 0.78, 0.25),
    (0.72, 0.46, 0.90),
    (0.25, 0.80, 0.82),
    (0.98, 0.58, 0.22),
    (0.95, 0.50, 0.75),
    (0.70, 0.82, 0.28),
    (0.65, 0.55, 0.45),
)
# A value of the preview alone, beside the markers: what was accepted becomes unknown again.
TAKEN_BACK = 3
RING = 4  # and a ring around a place that is gone to


def marker_colours(paleness: float = 0.0, *, in_depth: bool = False) -> DirectLabelColormap:
    """Return the colours of a layer of markers: interior red, exterior blue, mixed with so much white.

    In depth, in napari's 3-D display, the exterior is clear: it would hide the object that it lies around.
    """
    red = [paleness + (1 - paleness) * part for part in RED] + [1.0]
    blue = [paleness + (1 - paleness) * part for part in BLUE] + [0.7]  # it may cover most of the image
    clear, grey, yellow = [0.0] * 4, [0.3, 0.3, 0.3, 1.0], [1.0, 0.85, 0.1, 1.0]
    outside = clear if in_depth else blue
    values: tuple[int | None, ...] = (None, *map(int, Marker), TAKEN_BACK, RING)
    return DirectLabelColormap(color_dict=dict(zip(values, (clear, clear, red, outside, grey, yellow), strict=True)))


def object_colours() -> CyclicLabelColormap:
    """Return the colours of finished objects: none of them the markers' red or blue."""
    return CyclicLabelColormap(colors=[(0, 0, 0, 0), *((*colour, 1.0) for colour in _OBJECT_COLOURS)])


@cache
def object_colour(label: int) -> tuple[float, float, float]:
    """Return the colour of a finished object."""
    red, green, blue, _ = np.ravel(object_colours().map(label)).tolist()
    return red, green, blue
