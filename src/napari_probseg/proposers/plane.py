"""Planes of a volume, images of a time series: which one is meant, and its candidates as those of the whole."""

from __future__ import annotations

import numpy as np

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.inference.frame import frames


def plane_with_most_strokes(case: Case) -> Plane:
    """Return (0, index) of the plane along the first axis, or image in time, that a person has drawn on most.

    That is among those with a stroke inside; of a box all around, where there is none, it is the middle one.
    """
    strokes = case.strokes[case.drawn]
    if not strokes.size:
        return 0, case.marked[0].start
    across = tuple(range(1, case.ndim))
    counts, inside = np.count_nonzero(strokes, axis=across), np.any(strokes == Marker.OBJECT, axis=across)
    if inside.any():
        counts = counts * inside
    elif not case.in_time and (around := frames(case)):
        where, middle = around[0].where[0], around[0].middle[0]
        return 0, where.start + middle
    return 0, case.drawn[0].start + int(counts.argmax())


def in_volume(candidates: Candidates, case: Case, plane: Plane | None) -> Candidates:
    """Return the candidates of what `Case.at` returns as candidates of the case: of a volume, or a time series."""
    if plane is None:
        return candidates
    axis, index = plane
    where = list(candidates.where)
    where.insert(axis, slice(index, index + 1))
    return Candidates(
        case,
        tuple(where),
        np.expand_dims(candidates.patches, axis + 1),
        candidates.score,
        candidates.share,
        np.expand_dims(candidates.probability, axis),
        candidates.kept,
    )
