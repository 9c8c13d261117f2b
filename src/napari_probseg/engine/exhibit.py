"""Exhibit: what is shown of candidates beside themselves, worked out where they are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import NOTHING_LEFT, Candidates
from napari_probseg.engine.thumbnails import Thumbnail, thumbnails


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What is shown of candidates beside themselves.

    Parameters
    ----------
    pictures : list of Thumbnail
        One of each.
    disagreement : (...) float32 array
        Where the samples disagree, in the region that the candidates change: 0 none, 1 half against half.
    in_volume : bool
        Whether they are of a whole volume, not of one plane of it.
    advice : str
        What to do with them, in a sentence.
    """

    pictures: list[Thumbnail]
    disagreement: NDArray[np.float32]
    in_volume: bool
    advice: str = ""


def exhibit(candidates: Candidates, axes: tuple[int, int], *, in_volume: bool, advice: str = "") -> Exhibit:
    """Return what is shown of candidates on a canvas with these axes: downwards, to the right."""
    pictures = thumbnails(candidates, axes, in_volume=in_volume)
    if not len(candidates):
        advice = f"{NOTHING_LEFT[0].upper()}{NOTHING_LEFT[1:]}."
    return Exhibit(pictures, candidates.disagreement(), in_volume, advice)
