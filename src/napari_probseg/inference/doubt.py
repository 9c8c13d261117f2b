"""Doubt about what was on show: a correction far from it, or deep in it, says that it was another thing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_probseg.case import Case
from napari_probseg.inference.area import Area
from napari_probseg.inference.places import corrections, grid_of, sampled
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import hull
from napari_probseg.strokes import n_strokes, without_evidence

FAR = 1.0  # of a stroke inside from what was on show, over how deep that is
DEEP = 0.5  # of a stroke outside within what was on show, over how deep that is
MAX_EARLY = 5  # strokes, up to which that counts
N_PLACES = 2**16  # of the grid that both are measured on


def undoubted(case: Case) -> Case:
    """Return a case without what was on show, if that was another thing than the object."""
    return without_evidence(case) if is_another(case) else case


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
    if (shown := Area.shown(case)) is None or sum(n_strokes(case.strokes[case.drawn])) > MAX_EARLY:
        return False
    where = hull(shown.where, case.drawn)
    is_shown = shown.on(where)
    grid = grid_of(is_shown.shape, N_PLACES)
    missed, flooded = corrections(is_shown, case.strokes[where], grid)
    if not (missed.any() or flooded.any()):
        return False
    framed = np.pad(sampled(is_shown, grid), 1)
    depth = ndimage.distance_transform_edt(framed)[1:-1, 1:-1]
    if depth[flooded].max(initial=0) > DEEP * depth.max():
        return True
    distance = ndimage.distance_transform_edt(~framed)[1:-1, 1:-1]
    number, n = numbered_parts(missed)
    return any(distance[number == i].min() > FAR * depth.max() for i in range(1, n + 1))
