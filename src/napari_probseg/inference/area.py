"""What is object in a region of an image, in an answer or on show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.fusion import in_region
from napari_probseg.inference.inputs import resized
from napari_probseg.inference.places import Mask
from napari_probseg.region import Region, absolute, bounding_box, grown, overlap, placed, relative

MARGIN = 0.25  # around the box of the strokes inside, in its sides: what lies there is between them


@dataclass(frozen=True)
class Area:
    """What is object in a region of the image; the rest of that is background."""

    where: Region
    mask: Mask

    @classmethod
    def of(cls, answer: Answer, case: Case) -> Area:
        """Return what an answer takes as object, in which strokes are obeyed."""
        where = answer.window.within(case.shape)
        mask, strokes = answer.probability(case.shape) > 0.5, case.strokes[where]
        return cls(where, (mask | (strokes == Marker.OBJECT)) & (strokes != Marker.BACKGROUND))

    @classmethod
    def shown(cls, case: Case) -> Area | None:
        """Return what was on show as object when the latest stroke was drawn, None if nothing was."""
        if case.evidence is None:
            return None
        where, markers = case.evidence
        mask = markers == Marker.OBJECT
        box = bounding_box(mask)
        return None if box is None else cls(absolute(box, where), mask[box])

    def dice(self, other: Area) -> float:
        """Return the Dice coefficient of two; 1 where both are empty."""
        n = int(np.count_nonzero(self.mask)) + int(np.count_nonzero(other.mask))
        return 2 * self.n_shared(other) / n if n else 1.0

    def n_shared(self, other: Area) -> int:
        """Return how many pixels are object in both."""
        both = overlap(self.where, other.where)
        if both is None:
            return 0
        a, b = (one.mask[relative(both, one.where)] for one in (self, other))
        return int(np.count_nonzero(a & b))

    def on(self, where: Region) -> Mask:
        """Return the mask on a region that holds its own."""
        return placed(where, self.where, self.mask)

    def spread(self, case: Case) -> float:
        """Return the share that lies between the strokes inside: who means all of it marks all over it."""
        box = bounding_box(case.strokes[case.drawn] == Marker.OBJECT)
        near = None if box is None else absolute(box, case.drawn)
        if near is not None:
            near = overlap(grown(near, [round(MARGIN * (s.stop - s.start)) for s in near], case.shape), self.where)
        if near is None:
            return 0.0
        n, n_near = (int(np.count_nonzero(mask)) for mask in (self.mask, self.mask[relative(near, self.where)]))
        return n_near / max(1, n)


def probability_on(answer: Answer, where: Region, grid: tuple[int, ...]) -> Tensor:
    """Return the probability of object by an answer on a grid over a region; 0 where it does not reach."""
    full = torch.from_numpy(in_region(answer.logit.sigmoid(), answer.window, where))
    return full if full.shape == grid else resized(full[None], grid)[0]
