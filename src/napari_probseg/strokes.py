"""Strokes: how many were drawn, what they correct, a case without that, an object without any answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import Region, bounding_box

# Of an object that no strokes tell more is expected (`Case.expected_dice`) than of one that they do:
TAKEN = 1.0  # a person took it: it was finished, read from a file, or carried and accepted
FOUND = 0.9995  # it is on show: carried, followed, like others, or, in a volume, chosen among candidates
MAX_TOLD = 0.999  # of what strokes tell, at most


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


def told(expected_dice: float) -> float:
    """Return the Dice that is expected of an answer to strokes, less than of what stands without them."""
    return min(expected_dice, MAX_TOLD)


def corrects_untold(case: Case) -> bool:
    """Return whether strokes correct an object that they do not tell (`TAKEN`, `FOUND`), see `Case.expected_dice`."""
    return case.evidence is not None and case.expected_dice >= FOUND


def without_evidence(case: Case) -> Case:
    """Return a case as its markers tell it, without the answer that was on show; see `Case`."""
    return case.with_markers(case.partial, case.strokes, marked=case.marked)


def is_strokes_alone(case: Case, where: Region) -> bool:
    """Return whether the object of a case is what was brushed in a region, and no answer was accepted."""
    return np.array_equal(case.partial[where] == Marker.OBJECT, case.strokes[where] == Marker.OBJECT)
