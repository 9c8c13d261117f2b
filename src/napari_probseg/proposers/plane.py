"""Planes of a volume: which one is meant, and candidates of a plane as candidates of the volume."""

from __future__ import annotations

import numpy as np

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Plane


def plane_with_most_strokes(case: Case) -> Plane:
    """Return (0, index) of the plane along the first axis that a person has drawn on most."""
    counts = np.count_nonzero(case.strokes[case.marked], axis=(1, 2))
    return 0, case.marked[0].start + (int(counts.argmax()) if counts.size else 0)


def in_volume(candidates: Candidates, case: Case, plane: Plane) -> Candidates:
    """Return the candidates of a plane as candidates of the volume that it is a plane of."""
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
    )
