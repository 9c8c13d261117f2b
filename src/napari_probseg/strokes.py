"""Strokes: how many were drawn, what they correct, a case without that, an object without any answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import Region, bounding_box

TAKEN = 1.0  # Dice that is expected of evidence which a person took for the object, whatever strokes are left of it


def n_strokes(markers: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many strokes there are, inside and outside.

    Parameters
    ----------
    markers : (...) uint8 array
        A `Marker` for every voxel, of strokes alone.
    """
    box = bounding_box(markers)
    drawn = markers[:0] if box is None else markers[box]
    return numbered_parts(drawn == Marker.OBJECT)[1], numbered_parts(drawn == Marker.BACKGROUND)[1]


def corrects_taken(case: Case) -> bool:
    """Return whether the strokes correct what a person had taken for the object, see `Case.expected_dice`."""
    return case.evidence is not None and case.expected_dice >= TAKEN


def without_evidence(case: Case) -> Case:
    """Return a case as its markers tell it, without the answer that was on show; see `Case`."""
    return case.with_markers(case.partial, case.strokes, marked=case.marked)


def is_strokes_alone(case: Case, where: Region) -> bool:
    """Return whether the object of a case is what was brushed in a region, and no answer was accepted."""
    return np.array_equal(case.partial[where] == Marker.OBJECT, case.strokes[where] == Marker.OBJECT)
