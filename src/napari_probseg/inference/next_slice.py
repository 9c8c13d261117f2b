"""Prior and cut of one slice from the slice beside it, for slice propagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit

from napari_probseg.case import Case, Marker, Plane
from napari_probseg.graph_cut import Cutter, noise_of
from napari_probseg.region import Region, bounding_box, grown
from napari_probseg.unaries.histogram import Codes

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]

NEAR_BORDER_STEPS = 4.0  # steps from the border within which background is compared with the object
MAX_LOG_ODDS = 6.0  # log-odds that one voice counts for at most
EDGE_OVER_NOISE = 2.0  # a difference of intensity that counts as an edge, over the image's noise
END_DEPTH = 0.5  # of the object, from which a stroke outside says that it has ended
ROOM_PIXELS = 8  # pixels around an object, and half of its size, that are looked at on the next slice


@dataclass(frozen=True)
class PropagationConfig:
    """How the next slice is decided, and when to stop; chosen on the training parts of volumes of MRI and CT.

    Parameters
    ----------
    shape : float
        Log-odds for each step that a pixel lies inside the last slice's object; a step is the way to the next slice, or
        a pixel if that is longer. So thick slices bind less.
    intensities : float
        Weight of the log-odds by the intensities in and near the object of the nearest accepted slices.
    bias : float
        Log-odds added to all.
    smoothness : float
        lambda of the graph cut of each slice.
    least : float
        How well, in [0, 1], the intensities must speak for the object where it is expected.
    reach : float
        How far the object is carried beyond an accepted slice, over its width there.
    """

    shape: float = 1.0
    intensities: float = 1.0
    bias: float = -0.3
    smoothness: float = 0.5
    least: float = 0.4
    reach: float = 1.0


@dataclass(frozen=True, eq=False)
class KnownSlice:
    """A slice to go on from.

    Parameters
    ----------
    where : tuple of slices
        The region of the slice that was looked at.
    mask : bool array of the region's shape
        The object.
    depth : float32 array of the region's shape
        Distance to the object's border, mm; negative outside of it.
    probability : float32 array of the region's shape, in [0, 1]
    belief : float
        How well the intensities speak for the object, in [0, 1]; 1 where it was accepted.
    """

    where: Region
    mask: Mask
    depth: Map
    probability: Map
    belief: float = 1.0


class Sight:
    """What there is to see of the object on a slice.

    Parameters
    ----------
    case : Case
    axis : int
        Along which the slices lie.
    config : PropagationConfig
    known : dict of int to KnownSlice
        The accepted slices.
    """

    def __init__(self, case: Case, axis: int, config: PropagationConfig, known: dict[int, KnownSlice]) -> None:
        self.case, self.axis, self.config = case, axis, config
        spacing = tuple(case.spacing or ())
        self.thickness, self.mm = spacing[axis], tuple(mm for a, mm in enumerate(spacing) if a != axis)
        self.step = max(self.thickness, min(self.mm))
        self.seen = {k: self._intensities(k, slice_) for k, slice_ in known.items()}
        self.width = {k: self._width(slice_.mask) for k, slice_ in known.items()}

    def at(self, k: int, before: KnownSlice, other: KnownSlice | None, *, gap: int) -> KnownSlice | None:
        """Return the object on a slice; None if there is none.

        Parameters
        ----------
        k : int
        before : KnownSlice
            The slice next to it.
        other : KnownSlice, optional
            The slice at the other end of a gap.
        gap : int
            How many slices that one is away.
        """
        plane = self.case.plane(self.axis, k)
        depth = _pasted(before, plane.shape)
        if other is not None:
            depth = (gap * depth + _pasted(other, plane.shape)) / np.float32(gap + 1)
        box = bounding_box(depth > 0)
        if box is None:
            return None
        where = room_around(box, depth.shape)
        depth, expected = depth[where], depth[where] > 0
        part = Case(plane.read(where), self.mm, 0, plane.partial[where], plane.strokes[where])
        by_intensities = _log_odds(self._probability(k, part))
        by_shape = np.clip(depth / self.step, -MAX_LOG_ODDS, MAX_LOG_ODDS)
        odds = self.config.intensities * by_intensities + self.config.shape * by_shape + self.config.bias
        probability = expit(odds).astype(np.float32)
        cutter = Cutter(part, sigma=EDGE_OVER_NOISE * (noise_of(part.image, channel_axis=0) or 1.0))
        cut = cutter.cut(probability, smoothness=self.config.smoothness)
        cut = _touching(cut, expected | (part.partial == Marker.OBJECT))
        if not cut.any():
            return None
        belief = float(expit(self.config.intensities * float(by_intensities[expected].mean())))
        return KnownSlice(where, cut, _depth(cut, self.mm), probability, belief)

    def doubt(self, k: int, slice_: KnownSlice, before: KnownSlice) -> str | None:
        """Return why not to go on to a slice beyond the accepted ones; None if nothing speaks against it."""
        if self._is_end(k, before):
            return f"slice {k}: a stroke outside lies amid the object: it ends, or accept a slice here to go on"
        nearest = min(self.width, key=lambda j: abs(j - k))
        if abs(nearest - k) * self.thickness > self.config.reach * self.width[nearest]:
            return f"slice {k}: too far from slice {nearest} to be sure of: accept one here to go on"
        if slice_.belief < self.config.least:
            return f"slice {k}: the intensities speak against it: the object ends, or accept a slice here to go on"
        return None

    def _is_end(self, k: int, before: KnownSlice) -> bool:
        """Return whether a stroke outside lies in the middle of where the object is expected, and none inside."""
        strokes = self.case.plane(self.axis, k).strokes[before.where]
        deepest = float(before.depth[strokes == Marker.BACKGROUND].max(initial=0))
        return deepest > END_DEPTH * float(before.depth.max()) and not bool((strokes == Marker.OBJECT).any())

    def _intensities(self, k: int, slice_: KnownSlice) -> tuple[Map, Mask]:
        """Return intensities in and near the object of an accepted slice, (C, N), and which are in it, (N,)."""
        image = self.case.plane(self.axis, k).read(slice_.where)
        near = slice_.depth > -NEAR_BORDER_STEPS * self.step
        return image[:, near], slice_.mask[near]

    def _width(self, mask: Mask) -> float:
        """Return the diameter of a disk of the object's area, mm."""
        return float(2 * np.sqrt(np.count_nonzero(mask) * np.prod(self.mm) / np.pi))

    def _probability(self, k: int, part: Case) -> Map:
        """Return how likely pixels are object by the accepted slices on both sides, or on the one that there is."""
        sides = ([j for j in self.seen if j < k], [j for j in self.seen if j > k])
        chosen = [self.seen[min(side, key=lambda j: abs(j - k))] for side in sides if side]
        values = np.concatenate([*(values for values, _ in chosen), part.image.reshape(part.n_channels, -1)], axis=1)
        if np.ptp(values) == 0:
            return np.full(part.shape, 0.5, dtype=np.float32)
        inside = np.concatenate([mask for _, mask in chosen])
        new = np.zeros(part.partial.size, dtype=bool)
        probability = Codes.of(values).probability(np.append(inside, new), np.append(~inside, new))
        return probability[len(inside) :].reshape(part.shape)


def accepted(case: Case, plane: Plane) -> KnownSlice | None:
    """Return an accepted slice of a volume to go on from; None if it holds no object."""
    mask = case.plane(*plane).partial == Marker.OBJECT
    box = bounding_box(mask)
    if box is None:
        return None
    where = room_around(box, mask.shape)
    mm = [mm for a, mm in enumerate(case.spacing or ()) if a != plane[0]]
    return KnownSlice(where, mask[where], _depth(mask[where], mm), mask[where].astype(np.float32))


def room_around(box: Region, shape: tuple[int, ...]) -> Region:
    """Return a box with room around it for a slice that is larger."""
    margin = ROOM_PIXELS + max(s.stop - s.start for s in box) // 2
    return grown(box, [margin] * len(box), shape)


def _pasted(slice_: KnownSlice, shape: tuple[int, ...]) -> Map:
    """Return the depth in a whole slice, where it is minus infinity outside of what was looked at."""
    depth = np.full(shape, -np.inf, dtype=np.float32)
    depth[slice_.where] = slice_.depth
    return depth


def _depth(mask: Mask, mm: Sequence[float]) -> Map:
    """Return the distance to a mask's border, mm; negative outside of it. The image's border is none."""
    inside = ndimage.distance_transform_edt(mask, sampling=mm)
    return np.asarray(inside - ndimage.distance_transform_edt(~mask, sampling=mm), dtype=np.float32)


def _log_odds(probability: Map) -> Map:
    """Return log p / (1 - p), at most `MAX_LOG_ODDS`."""
    p = np.clip(probability, expit(-MAX_LOG_ODDS), expit(MAX_LOG_ODDS))
    return np.asarray(logit(p), dtype=np.float32)


def _touching(mask: Mask, expected: Mask) -> Mask:
    """Return the parts of a mask that touch what was expected."""
    parts, _ = ndimage.label(mask)
    near = np.unique(parts[expected & mask])
    return np.asarray(np.isin(parts, near[near > 0]))
