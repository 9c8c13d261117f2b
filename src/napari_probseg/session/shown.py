"""The answer on show while the latest stroke was drawn: what that stroke corrects, and evidence of the next answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Marker
from napari_probseg.pages import zeros
from napari_probseg.region import Region, absolute, bounding_box, hull, relative
from napari_probseg.session.history import Change, Step, change_between

NAME = "shown"  # of its changes

Answer = tuple[Region, NDArray[np.bool_]]  # what is object in a region; the rest of that is background


class OnShow(NamedTuple):
    """An answer on show: what is object in a region, and the Dice that is expected of it, 0 where nobody tells."""

    where: Region
    mask: NDArray[np.bool_]
    expected_dice: float = 0.0

    @property
    def told(self) -> dict[str, float]:
        """What the step that corrects it tells of it."""
        return {"expected_dice": round(float(self.expected_dice), 4)} if self.expected_dice else {}


def expected_dice(steps: Sequence[Step]) -> float:
    """Return what was expected of the answer that was on show after some steps; 0 where nobody told."""
    for step in reversed(steps):
        if "expected_dice" in step.arguments or any(change.name == NAME for change in step.changes):
            return float(step.arguments.get("expected_dice", 0.0))
    return 0.0


class Shown:
    """An answer as the markers that it would decide, and the changes that put another one in its place.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.markers = zeros(tuple(shape), np.uint8)
        self._where: Region | None = None  # where they say anything

    @property
    def evidence(self) -> tuple[Region, NDArray[np.uint8]] | None:
        """A region and a `Marker` for each of its voxels; None if nothing was on show."""
        return None if self._where is None else (self._where, self.markers[self._where].copy())

    def changes_to(self, answer: OnShow | None) -> tuple[Change, ...]:
        """Return what puts another answer in its place, or none."""
        boxes = [box for box in (self._where, answer and answer[0]) if box is not None]
        if not boxes:
            return ()
        where = hull(*boxes)
        after = np.zeros_like(self.markers[where])
        if answer is not None:
            region, mask = answer[:2]
            after[relative(region, where)] = np.where(mask, Marker.OBJECT, Marker.BACKGROUND)
        return change_between(NAME, self.markers[where], after, where)

    def apply(self, changes: Iterable[Change]) -> None:
        """Make those of some changes that are its own."""
        own = [change for change in changes if change.name == NAME]
        if not own:
            return
        for change in own:
            self.markers[change.where] = change.after
        box = hull(*(change.where for change in own), *filter(None, [self._where]))
        inner = bounding_box(self.markers[box])
        self._where = inner and absolute(inner, box)
