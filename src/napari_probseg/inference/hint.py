"""A mark for a network to see where nobody has drawn one inside: in what was accepted, or in the middle of a box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.morphology import ball, deepest
from napari_probseg.region import Region, absolute, bounding_box, hull

HINT_RADIUS_RATIO = 0.1  # radius of the mark over the size of what it stands for


def with_hint(case: Case) -> Case:
    """Return the case with a mark inside, where no stroke is.

    It lies in the deepest place of what was accepted as object, which may be evidence alone by now, or in the middle of
    the box that the strokes outside make.

    Raises
    ------
    ValueError
        If there is neither: the middle of the marks outside is one of them.
    """
    if (case.strokes[case.drawn] == Marker.OBJECT).any():
        return case
    where = hull(case.marked, *([] if case.evidence is None else [case.evidence[0]]))
    accepted = case.accepted(where) == Marker.OBJECT
    box = bounding_box(accepted)
    if box is not None:
        place = deepest(accepted[box], np.asarray(case.spacing, dtype=float))
        return _marked(case, absolute(box, where), place, accepted[box])
    box = bounding_box(case.strokes[case.drawn] == Marker.BACKGROUND)  # finished objects are background, too
    if box is None:
        raise ValueError("there is no stroke yet: brush a little inside the object, and a little outside")
    box = absolute(box, case.drawn)
    middle = tuple((s.stop - s.start) // 2 for s in box)
    is_open = case.partial[box] == Marker.UNKNOWN
    if case.strokes[box][middle] or not is_open.any():
        raise ValueError("there is neither a stroke inside nor a box around the object: brush a little inside it")
    if not is_open[middle]:  # a finished object lies there
        middle = deepest(is_open, np.asarray(case.spacing, dtype=float))
    return _marked(case, box, middle, is_open)


def _marked(case: Case, box: Region, place: tuple[int, ...], within: NDArray[np.bool_]) -> Case:
    size = tuple(s.stop - s.start for s in box)
    radius = max(1.0, HINT_RADIUS_RATIO * min(n for n in size if n > 1) if max(size) > 1 else 1.0)
    inside = ball(size, place, radius, np.ones(len(size))) & within
    evidence = case.evidence
    marked = case.mark(inside=inside, where=box)
    return marked if evidence is None else marked.with_evidence(*evidence, case.expected_dice)
