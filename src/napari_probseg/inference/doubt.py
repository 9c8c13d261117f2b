"""Doubt about what was on show: a correction far from it, or deep in it, says that it was another thing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_probseg.case import Case, Marker
from napari_probseg.inference.places import grid_of, on_grid, sampled
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import absolute, bounding_box, hull, relative
from napari_probseg.strokes import n_strokes

FAR = 1.0  # of a stroke inside from what was on show, over how deep that is
DEEP = 0.5  # of a stroke outside within what was on show, over how deep that is
MAX_EARLY = 5  # strokes, up to which that counts
N_PLACES = 2**16  # of the grid that both are measured on


def undoubted(case: Case) -> Case:
    """Return a case without what was on show, if that was another thing than the object."""
    return case.with_markers(case.partial, case.strokes, marked=case.marked) if is_another(case) else case


def is_another(case: Case) -> bool:
    """Return whether the latest correction says that what was on show was another thing than the object.

    People correct what is most wrong. So where a stroke inside lies farther from what was on show than that is deep, or
    one outside deeper in it than half of that, most of it is wrong, and tells a network less than the strokes alone;
    after some strokes they tell it themselves.

    Parameters
    ----------
    case : Case
        An image.
    """
    if case.evidence is None or sum(n_strokes(case.strokes[case.drawn])) > MAX_EARLY:
        return False
    at, markers = case.evidence
    is_object = markers == Marker.OBJECT
    if (box := bounding_box(is_object)) is None:
        return False
    of_shown = absolute(box, at)
    where = hull(of_shown, case.drawn)
    is_shown = np.zeros([s.stop - s.start for s in where], dtype=bool)
    is_shown[relative(of_shown, where)] = is_object[box]
    strokes, grid = case.strokes[where], grid_of(is_shown.shape, N_PLACES)
    missed = on_grid((strokes == Marker.OBJECT) & ~is_shown, grid)
    flooded = on_grid((strokes == Marker.BACKGROUND) & is_shown, grid)
    if not (missed.any() or flooded.any()):
        return False
    shown = np.pad(sampled(is_shown, grid), 1)
    depth = ndimage.distance_transform_edt(shown)[1:-1, 1:-1]
    if depth[flooded].max(initial=0) > DEEP * depth.max():
        return True
    distance = ndimage.distance_transform_edt(~shown)[1:-1, 1:-1]
    number, n = numbered_parts(missed)
    return any(distance[number == i].min() > FAR * depth.max() for i in range(1, n + 1))
