"""What the accepted slices of a volume say of the rest of it, as another voice beside what the networks say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.carrying import accepted_slices, carrying
from napari_probseg.inference.grid import Grid, near
from napari_probseg.inference.next_slice import PropagationConfig, accepted, room_around
from napari_probseg.inference.resampling import transformed
from napari_probseg.morphology import numbered_parts
from napari_probseg.progress import result_of
from napari_probseg.region import Region, bounding_box, grown, hull, indices_of

MAX_SIDE = 64  # pixels along the object on an accepted slice, above which it is carried on fewer
MAX_WEIGHT = 0.5  # of it beside what the networks say
STROKES_PER_SLICE = 8.0  # strokes on other slices that count as much as an accepted slice
CONTRADICTED_PLACES = 3.0  # places around strokes that contradict it, within which it counts less


@dataclass(frozen=True)
class Carried:
    """An object that was carried from accepted slices to those between and beyond them.

    Parameters
    ----------
    where : tuple of slices
        The region that it was carried in.
    every : (int, int, int)
        Voxels to a place along each axis.
    mask : (Z, Y, X) bool array
        The object in the places of that region.
    box : tuple of slices
        The voxels that hold the object.
    axis : int
        Along which the accepted slices lie.
    slices : list of int
        The places of these along it.
    weight : float
        How much it counts, in [0, 1], beside networks that find the accepted slices by themselves.
    """

    where: Region
    every: tuple[int, ...]
    mask: NDArray[np.bool_]
    box: Region
    axis: int
    slices: list[int]
    weight: float

    @classmethod
    def of(cls, case: Case) -> Carried | None:
        """Return what is carried from the accepted slices of a volume; None where there are none to go on from."""
        axis, slices = _accepted_slices(case)
        if not slices:
            return None
        where, every = _region(case, axis, slices)
        coarse, chosen = _coarse(case, axis, where, every, slices)
        begun = {i: slice_ for i in chosen if (slice_ := accepted(coarse, (axis, i))) is not None}
        if not begun:
            return None
        found = begun | result_of(carrying(coarse, axis, begun, PropagationConfig()))
        mask = np.zeros(coarse.shape, dtype=bool)
        for i, slice_ in found.items():
            np.moveaxis(mask, axis, 0)[i][slice_.where] = slice_.mask
        edges = zip(where, bounding_box(mask) or (), every, strict=True)
        box = tuple(slice(w.start + s.start * e, min(w.stop, w.start + s.stop * e)) for w, s, e in edges)
        share = len(slices) / (len(slices) + _n_strokes_elsewhere(case, axis, slices) / STROKES_PER_SLICE)
        return cls(where, every, mask, box, axis, sorted(begun), MAX_WEIGHT * share)

    def on(self, grid: Grid) -> Tensor:
        """Return how much of each place of a grid is object, (Z, Y, X) in [0, 1]."""
        return transformed(torch.from_numpy(self.mask).float(), self._shares(grid))

    def beside(self, probability: Tensor, grid: Grid, inside: Tensor, outside: Tensor) -> Tensor:
        """Return the probability of object in the places of a grid, beside what the networks say of them.

        These count the less, the worse they find the accepted slices: who takes a lesion for the whole brain there does
        so elsewhere, too. Near strokes that contradict what is carried they count in full.

        Parameters
        ----------
        probability : (Z, Y, X) tensor
            Of object, as the networks say.
        grid : Grid
        inside, outside : (Z, Y, X) bool tensor
            Places of strokes.
        """
        said = self.on(grid)
        contradicts = torch.where(said < 0.5, inside, outside)
        trust = torch.maximum(near(contradicts, CONTRADICTED_PLACES), torch.tensor(self._found_by(probability, grid)))
        return torch.lerp(probability, said, self.weight / (self.weight + (1 - self.weight) * trust))

    def _found_by(self, probability: Tensor, grid: Grid) -> float:
        """Return the Dice, in [0, 1], of what is said of the places of a grid on the accepted slices."""
        shares = self._shares(grid)
        on_slices = shares[self.axis][:, self.slices]
        along = on_slices.sum(1).view([-1 if axis == self.axis else 1 for axis in range(3)])
        shares[self.axis] = on_slices
        mask = torch.from_numpy(np.take(self.mask, self.slices, self.axis)).float()
        true = transformed(mask, shares)
        both = float((along * probability).sum() + true.sum())
        return 2 * float((true * probability).sum()) / both if both else 0.0

    def _shares(self, grid: Grid) -> list[Tensor]:
        """Return for each axis what share of a place of a grid each place of the region is, (grid's, region's)."""
        shares = []
        for region, g, where, every, m in zip(
            grid.region, grid.shape, self.where, self.every, self.mask.shape, strict=True
        ):
            side = (region.stop - region.start) / g
            low = region.start + side * torch.arange(g)[:, None]
            begin = where.start + every * torch.arange(m)
            both = torch.minimum(low + side, begin + every) - torch.maximum(low, begin)
            shares.append(both.clamp(min=0) / side)
        return shares


def _accepted_slices(case: Case) -> tuple[int, list[int]]:
    """Return the axis along which slices were accepted, and these; none where nothing beside them is left open."""
    for axis in range(3):
        chosen = accepted_slices(case, axis) if min(np.delete(case.shape, axis)) > 1 else []
        if any(_is_open(case, axis, k) for k in chosen):
            return axis, chosen
    return 0, []


def _is_open(case: Case, axis: int, k: int) -> bool:
    """Return whether a slice beside this one is not decided where the object of this one is."""
    planes = np.moveaxis(case.partial, axis, 0)
    inside = planes[k] == Marker.OBJECT
    return any(bool((planes[j][inside] == Marker.UNKNOWN).any()) for j in (k - 1, k + 1) if 0 <= j < len(planes))


def _region(case: Case, axis: int, slices: list[int]) -> tuple[Region, tuple[int, ...]]:
    """Return the region that an object can be carried in, and how many voxels to take as one along each axis of it."""
    spacing = np.asarray(case.spacing, dtype=float)
    planes = np.moveaxis(case.partial, axis, 0)
    boxes = [box for k in slices if (box := bounding_box(planes[k] == Marker.OBJECT)) is not None]
    across = hull(*(room_around(box, planes.shape[1:]) for box in boxes))
    longest = max(s.stop - s.start for box in boxes for s in box)
    within = max(1, -(-longest // MAX_SIDE))
    side = within * float(np.delete(spacing, axis).min())
    every = [max(1, min(within, (s.stop - s.start) // 2)) for s in across]
    every.insert(axis, max(1, int(side / spacing[axis])))
    reach = int(np.ceil(longest * float(np.delete(spacing, axis).max()) / spacing[axis])) + 1
    region = list(across)
    region.insert(axis, slice(min(slices), max(slices) + 1))
    margin = [(s.stop - s.start) // 4 for s in across]
    margin.insert(axis, reach)
    return grown(tuple(region), margin, case.shape), tuple(every)


def _coarse(case: Case, axis: int, where: Region, every: tuple[int, ...], slices: list[int]) -> tuple[Case, list[int]]:
    """Return a region of which one voxel stands for so many, an accepted slice for its neighbours, and where these are.

    Of accepted slices that lie too near to each other the first one stays.
    """
    start, n = where[axis].start, where[axis].stop - where[axis].start
    index = [min(i + every[axis] // 2, n - 1) for i in range(0, n, every[axis])]
    chosen = {(k - start) // every[axis]: k - start for k in reversed(slices)}
    index = [chosen.get(i, k) for i, k in enumerate(index)]
    strided = tuple(s if a == axis else slice(s.start, s.stop, every[a]) for a, s in enumerate(where))
    image = np.take(case.read(strided), index, axis + 1)
    partial, own = (np.take(markers[strided], index, axis) for markers in (case.partial, case.strokes))
    strokes = _coarse_strokes(case.strokes[where], every, own.shape)
    for i in chosen:  # strokes on the slices beside it do not change it
        np.moveaxis(strokes, axis, 0)[i] = np.moveaxis(own, axis, 0)[i]
    spacing = [mm * e for mm, e in zip(case.spacing or (), every, strict=True)]
    markers = np.where(strokes, strokes, partial), strokes
    return Case(image, spacing=spacing, channel_axis=0).with_markers(*markers), sorted(chosen)


def _coarse_strokes(strokes: NDArray[np.uint8], every: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return strokes where one voxel stands for so many; the smallest survives."""
    found = np.zeros(shape, dtype=np.uint8)
    for marker in (Marker.BACKGROUND, Marker.OBJECT):
        found[tuple(a // e for a, e in zip(indices_of(strokes == marker), every, strict=True))] = marker
    return found


def _n_strokes_elsewhere(case: Case, axis: int, slices: list[int]) -> int:
    """Return how many strokes lie on no accepted slice."""
    n, along = 0, case.marked[axis].start
    for marker in (Marker.OBJECT, Marker.BACKGROUND):
        strokes, _ = numbered_parts(case.strokes[case.marked] == marker)
        boxes = ndimage.find_objects(strokes)
        n += sum(not any(box[axis].start <= k - along < box[axis].stop for k in slices) for box in boxes)
    return n
