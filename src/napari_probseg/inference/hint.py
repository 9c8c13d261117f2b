"""A mark for a network to see where nobody has drawn one inside: in the middle of a box, or in what was accepted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.inference.frame import frames, outlined
from napari_probseg.morphology import ball, deepest
from napari_probseg.region import Region, absolute, bounding_box, hull
from napari_probseg.strokes import corrects_untold, n_strokes

HINT_RADIUS_RATIO = 0.1  # radius of the mark over the size of what it stands for ...
FIRST_DEPTH_RATIO, LATER_DEPTH_RATIO = 0.5, 0.2  # ... over the depth of a frame, before strokes tell more, and after
MAX_FIRST_STROKES = 2  # outside, beside a frame, with which it is large: those that took nothing away were not enough
CLEAR_DEPTH_RATIO = 0.3  # over that, how near its middle a stroke outside says that the object is not there


def with_hint(case: Case) -> Case:
    """Return the case as a network is to see it, with a mark inside each box or outline, and where no stroke is.

    Without a box it lies in the deepest place of what was accepted as object, which may be evidence alone by now, or in
    the middle of the strokes outside. That in a box stays until a stroke outside lies there, since strokes inside
    tell of other places than those that were right already.

    Raises
    ------
    ValueError
        If there is neither: the middle of the marks outside is one of them, and they go around nothing.
    """
    if not corrects_untold(case):
        case = _with_marks_in_frames(outlined(case))
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
    if not is_open.any() or (case.strokes[box][middle] and not frames(case)):
        raise ValueError("there is neither a stroke inside nor a box all around the object: brush a little inside it")
    if not is_open[middle]:  # a finished object lies there, or a stroke in a box
        middle = deepest(is_open, np.asarray(case.spacing, dtype=float))
    return _marked(case, box, middle, is_open)


def _with_marks_in_frames(case: Case) -> Case:
    """Return the case with a mark in the middle of each frame, unless something was decided there.

    One that holds no stroke inside, where there are any, goes around something else: a hole in the object, say.
    """
    found = frames(case)
    if not found:
        return case
    n_inside, n_outside = n_strokes(case.strokes[case.drawn])
    is_first = not n_inside and n_outside <= len(found) + MAX_FIRST_STROKES
    marks = case
    for frame in found:
        if n_inside and not frame.holds(case, Marker.OBJECT):
            continue
        is_open = case.partial[frame.where] == Marker.UNKNOWN
        near = frame.around_middle(CLEAR_DEPTH_RATIO)
        if is_open[frame.middle] and not (case.strokes[frame.where][near] == Marker.BACKGROUND).any():
            mark = frame.around_middle(FIRST_DEPTH_RATIO if is_first else LATER_DEPTH_RATIO)
            marks = marks.mark(inside=mark & is_open, where=frame.where)
    return _with_evidence_of(case, marks)


def _marked(case: Case, box: Region, place: tuple[int, ...], within: NDArray[np.bool_]) -> Case:
    size = tuple(s.stop - s.start for s in box)
    radius = max(1.0, HINT_RADIUS_RATIO * min(n for n in size if n > 1) if max(size) > 1 else 1.0)
    inside = ball(size, place, radius, np.ones(len(size))) & within
    return _with_evidence_of(case, case.mark(inside=inside, where=box))


def _with_evidence_of(case: Case, marked: Case) -> Case:
    """Return a case with what was on show in another one."""
    if case.evidence is None or marked is case:
        return marked
    return marked.with_evidence(*case.evidence, case.expected_dice)
