"""The answer on show while the latest stroke was drawn: what that stroke corrects, and evidence of the next answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Evidence, Marker, Plane
from napari_probseg.pages import zeros
from napari_probseg.region import Region, absolute, bounding_box, grown, hull, n_voxels, overlap, placed
from napari_probseg.session.history import Change, Step, change_between

NAME = "shown"  # of its changes

MAX_VOXELS = 2**22  # of a volume, that are kept with each stroke
MARGIN_RATIO = 0.25  # around the object, over its sides, that is kept of an answer about more

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

    def bounded(self, shape: Sequence[int]) -> OnShow | None:
        """Return it as far as it is kept: all of it in an image, in a volume what lies near to a large object.

        Parameters
        ----------
        shape : sequence of int
            Of the image or volume.

        Returns
        -------
        OnShow or None
            None where even that is too large.
        """
        if len(shape) == 2 or n_voxels(self.where) <= MAX_VOXELS:
            return self
        if (box := bounding_box(self.mask)) is None:
            return None
        near = grown(box, [2 + int(MARGIN_RATIO * (s.stop - s.start)) for s in box], self.mask.shape)
        if n_voxels(near) > MAX_VOXELS:
            return None
        return OnShow(absolute(near, self.where), self.mask[near], self.expected_dice)


def expected_dice(steps: Sequence[Step]) -> float:
    """Return what was expected of the answer that was on show after some steps; 0 where nobody told."""
    for step in reversed(steps):
        if "expected_dice" in step.arguments or any(change.name == NAME for change in step.changes):
            return float(step.arguments.get("expected_dice", 0.0))
    return 0.0


def is_of_plane(where: Region, plane: Plane | None) -> bool:
    """Return whether a region tells of a plane: it meets it, and is no slice across. All tell of a volume, if none."""
    if plane is None:
        return True
    axis, index = plane
    sides = [s.stop - s.start for s in where]
    is_across = sides[axis] > 1 and min(sides) == 1
    return where[axis].start <= index < where[axis].stop and not is_across


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
    def evidence(self) -> Evidence | None:
        """A region and a `Marker` for each of its voxels; None if nothing was on show."""
        return None if self._where is None else (self._where, self.markers[self._where].copy())

    def changes_to(self, answer: OnShow | None) -> tuple[Change, ...]:
        """Return what puts another answer in its place, or none."""
        boxes = [box for box in (self._where, answer and answer.where) if box is not None]
        if len(boxes) == 2 and overlap(*boxes) is not None:
            boxes = [hull(*boxes)]
        if answer is not None:
            new = np.where(answer.mask, np.uint8(Marker.OBJECT), np.uint8(Marker.BACKGROUND))
        changes: tuple[Change, ...] = ()
        for box in boxes:  # of two slices that lie far apart, without all that lies between
            before = self.markers[box]
            after = np.zeros_like(before) if answer is None else placed(box, answer.where, new)
            changes += change_between(NAME, before, after, box)
        return changes

    def apply(self, changes: Iterable[Change]) -> None:
        """Make those of some changes that are its own."""
        own = [change for change in changes if change.name == NAME]
        if not own:
            return
        for change in own:
            self.markers[change.where] = change.after
        boxes = [*(change.where for change in own), *filter(None, [self._where])]
        inner = [absolute(found, box) for box in boxes if (found := bounding_box(self.markers[box])) is not None]
        self._where = hull(*inner) if inner else None
