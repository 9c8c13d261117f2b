"""An object of a volume that strokes do not tell, but correct: it changes near these alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.grid import Grid
from napari_probseg.inference.held import MIN_AGREED, changed_near
from napari_probseg.region import Region, absolute, bounding_box, hull, over, placed
from napari_probseg.strokes import TAKEN, corrects_untold

MIN_DEPTH = 1.0  # places: of a correction, at least
MIN_AGREED_FOUND = 0.8  # as `MIN_AGREED`, where no person took it
STAYS = 0.98  # probability of object, or of the rest, where it stays


@dataclass(frozen=True)
class Untold:
    """What was taken for the object, or found; the rest of the volume is not.

    Parameters
    ----------
    where : tuple of slices
    is_object : bool array of that region's shape
    expected_dice : float
        See `Case`; of what is made of it, too: the next stroke corrects that.
    """

    where: Region
    is_object: NDArray[np.bool_]
    expected_dice: float

    @classmethod
    def of(cls, case: Case) -> Untold | None:
        """Return it: the evidence, and what is decided beside it; None where the strokes correct no such thing."""
        if case.evidence is None or not corrects_untold(case):
            return None
        where = hull(case.marked, case.evidence[0])
        _, markers = over(case.evidence, (where, case.accepted(where)))  # under strokes, too
        return cls(where, markers == Marker.OBJECT, case.expected_dice)

    @property
    def box(self) -> Region | None:
        """The voxels that hold it."""
        box = bounding_box(self.is_object)
        return None if box is None else absolute(box, self.where)

    def corrected(self, new: Tensor, grid: Grid, inside: Tensor, outside: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return log-odds of it, changed near the strokes that correct it, and the places where it stays as it is.

        Where the answer is nearly that, it is returned itself, and no places.

        Parameters
        ----------
        new : (Z, Y, X) tensor
            Log-odds of the answer in the places of a grid.
        grid : Grid
        inside, outside : (Z, Y, X) bool tensor
            Places of strokes.
        """
        is_old = grid.of_markers(self.where, self.is_object.view(np.uint8)) > 0
        missed, flooded = inside & ~is_old, outside & is_old
        drawn = missed.numpy(), flooded.numpy()
        near = changed_near(*drawn, is_old.numpy(), new, min_depth=MIN_DEPTH, is_narrow=True)
        is_near, is_new = near > 0, new > 0
        least = MIN_AGREED if self.expected_dice >= TAKEN else MIN_AGREED_FOUND
        if 2 * int((is_near & is_new).sum()) >= least * int(is_near.sum() + is_new.sum()):
            return new, None
        return near, is_near == is_old

    def kept(self, probability: NDArray[np.float32], grid: Grid, stays: Tensor) -> NDArray[np.float32]:
        """Return the probability of object in the voxels of a grid's region, where it is this object in some places."""
        old = placed(grid.region, self.where, self.is_object)
        as_it_was = np.where(old, np.float32(STAYS), np.float32(1 - STAYS))
        return np.where(grid.in_voxels(stays.float()) > 0.5, as_it_was, probability)
