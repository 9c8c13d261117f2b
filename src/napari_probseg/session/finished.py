"""Finished objects of a session: how many voxels each has, where it lies, and its class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Plane
from napari_probseg.region import Part, Region, absolute, hull
from napari_probseg.session.history import Change, Step

N_LATEST = 8  # objects: the next one may be of their sizes, and a network learns from them
_MAX_COUNTED = 2**16  # of the largest number, up to which voxels are counted without sorting them


@dataclass(frozen=True)
class FinishedObject:
    """One finished object.

    Parameters
    ----------
    label : int
        Its number in the label image.
    kind : str
        Its class; empty if it was given none.
    n_voxels : int
    box : tuple of slices
        A region that holds all of it.
    """

    label: int
    kind: str
    n_voxels: int
    box: Region


class Tally:
    """Sizes and boxes of the finished objects, kept up with each change of the label image."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[int, Region]] = {}

    @property
    def max_label(self) -> int:
        """The largest number of an object; 0 if there is none."""
        return max(self._found, default=0)

    def __contains__(self, label: object) -> bool:
        return label in self._found

    def box(self, label: int) -> Region:
        """Return a region that holds all of an object."""
        return self._found[label][1]

    def objects(self, kinds: dict[int, str]) -> tuple[FinishedObject, ...]:
        """Return the objects by number, of these classes."""
        return tuple(FinishedObject(label, kinds.get(label, ""), *self._found[label]) for label in sorted(self._found))

    def sizes(self, spacing: Sequence[float], plane: Plane | None = None) -> tuple[float, ...]:
        """Return the sizes in mm of the objects that were finished last, as a `Case` has them; on a plane the mean one.

        Parameters
        ----------
        spacing : sequence of float
            Of each axis of the label image, in mm.
        plane : (axis, index), optional
            The plane, or the image of a time series, that they are for.
        """
        across = [axis for axis in range(len(spacing)) if plane is None or axis != plane[0]]
        voxel = math.prod(spacing[axis] for axis in across)
        found = [self._found[label] for label in nlargest(N_LATEST, self._found)]
        depths = [1 if plane is None else box[plane[0]].stop - box[plane[0]].start for _, box in found]
        return tuple((n / depth * voxel) ** (1 / len(across)) for (n, _), depth in zip(found, depths, strict=True))

    def take(self, change: Change) -> None:
        """Take in a change of the label image."""
        for label, (n, _) in _counted(change.before).items():
            n_before, box = self._found.pop(label, (n, change.where))
            if n_before > n:
                self._found[label] = n_before - n, box
        for label, (n, within) in _counted(change.after).items():
            box = absolute(within, change.where)
            n_before, earlier = self._found.get(label, (0, box))
            self._found[label] = n_before + n, hull(earlier, box)


def kinds_by(steps: Iterable[Step]) -> dict[int, str]:
    """Return the class that steps gave to each object, by its number; those of no class are left out."""
    kinds: dict[int, str] = {}
    for step in steps:
        told = step.arguments
        if step.verb in ("finish", "classify"):
            kinds[int(told["label"])] = str(told.get("kind", ""))
        elif step.verb == "remove":
            kinds.pop(int(told["label"]), None)
        elif step.verb == "take":
            first = int(told["first"])
            kinds = {label: kind for label, kind in kinds.items() if label <= first}  # what follows is new
            kinds |= {first + int(label): str(kind) for label, kind in told.get("kinds", ())}
    return {label: kind for label, kind in kinds.items() if kind}


def _counted(objects: NDArray[Any]) -> dict[int, tuple[int, Region]]:
    """Return how many voxels each label above 0 has, and the box around them."""
    most = int(objects.max(initial=0))
    if not most:
        return {}
    if most <= _MAX_COUNTED:
        labels, places = np.arange(most + 1), objects
    else:
        labels = np.concatenate([[0], np.setdiff1d(objects, 0)])
        places = np.searchsorted(labels, objects)
    n_voxels = np.bincount(places.ravel())
    boxes = ndimage.find_objects(places.astype(np.int32))
    return {int(labels[i]): (int(n_voxels[i]), box) for i, box in enumerate(boxes, 1) if box is not None}


def place_in(objects: NDArray[Any], one: FinishedObject, axis: int | None = None) -> tuple[int, ...]:
    """Return a voxel in the midst of a finished object: where the plane along an axis shows the most of it.

    Parameters
    ----------
    objects : integer array of the spatial shape
    one : FinishedObject
    axis : int, optional
        The axis that the planes lie across; none in an image.
    """
    inside, offset = objects[one.box] == one.label, np.zeros(objects.ndim, dtype=int)
    if axis is not None:
        offset[axis] = Part(one.box, inside).widest(axis) - one.box[axis].start
        inside = inside.take([offset[axis]], axis)
    voxels = np.argwhere(inside) + offset
    nearest = voxels[np.argmin(((voxels - voxels.mean(0)) ** 2).sum(1))]
    return tuple(int(at) + side.start for at, side in zip(nearest, one.box, strict=True))


def checked_kind(kind: Any) -> str:
    """Return the class of an object.

    Raises
    ------
    TypeError
        If it is no name.
    """
    if not isinstance(kind, str):
        raise TypeError(f"a class is a name, got {kind!r:.60}; an empty one is none")
    return kind
