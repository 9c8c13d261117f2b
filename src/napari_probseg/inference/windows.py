"""Windows around the marks, square or cubic in mm, on which networks look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import Region, bounding_box, n_voxels
from napari_probseg.strokes import n_strokes

MIN_SIDE_VOXELS = 24
MAX_WIDENING = 2.2  # how much a window is larger than the one before it, at most ...
MIN_WIDENING = 1.15  # ... and at least
MIN_GAP = 0.4  # between groups of strokes on parts of an object, over the extent of all strokes
MAX_WHOLE_VOXELS = 2**22  # of an image that is looked at as a whole where no scale is known ...
N_AROUND = 4  # ... and windows around the marks of a larger one, among which the largest affordable is taken
MAX_PARTS = 3  # of an object, that are looked at one by one


@dataclass(frozen=True)
class Window:
    """A box of voxels that is a square or a cube in mm; it may stick out of the image.

    Parameters
    ----------
    low, size : tuple of int
        First voxel and number of voxels along each axis.
    """

    low: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def region(self) -> Region:
        """Its voxels, of which some may lie outside of the image."""
        return tuple(slice(low, low + size) for low, size in zip(self.low, self.size, strict=True))

    def within(self, shape: tuple[int, ...]) -> Region:
        """Return the part that lies in an image of ``shape``."""
        edges = zip(self.low, self.size, shape, strict=True)
        return tuple(slice(max(0, low), min(n, low + size)) for low, size, n in edges)

    def padding(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return how far it sticks out, before and after, along each axis."""
        edges = zip(self.low, self.size, shape, strict=True)
        return [(max(0, -low), max(0, low + size - n)) for low, size, n in edges]

    def n_voxels(self, shape: tuple[int, ...]) -> int:
        """Return how many voxels of an image of ``shape`` lie in it."""
        return n_voxels(self.within(shape))

    def visible(self, shape: tuple[int, ...]) -> Region:
        """Return the window's own indices of the part that lies in the image."""
        pads = zip(self.padding(shape), self.size, strict=True)
        return tuple(slice(before, size - after) for (before, after), size in pads)

    def places_in(self, regions: Sequence[Region], shape: Sequence[int]) -> Tensor:
        """Return which places of a grid of ``shape`` over the window lie in some regions of the image, as bool."""
        sides = zip(self.low, self.size, shape, strict=True)
        lines = [low + (torch.arange(g) + 0.5) * (n / g) for low, n, g in sides]
        found = torch.zeros(tuple(shape), dtype=torch.bool)
        for region in regions:
            held = [(line >= s.start) & (line < s.stop) for line, s in zip(lines, region, strict=True)]
            found |= torch.stack(torch.meshgrid(*held, indexing="ij")).all(0)
        return found

    def region_of(self, on: Tensor, shape: tuple[int, ...], *, rim: int = 0) -> Region | None:
        """Return the voxels of an image of ``shape`` that hold what is true over the window; None if nothing is.

        Parameters
        ----------
        on : (S, ...) bool tensor
            On a grid of places that divides the window.
        shape : tuple of int
        rim : int
            Places around it that are to be held, too.
        """
        box = bounding_box(on.numpy())
        if box is None:
            return None
        edges = zip(self.low, self.size, box, on.shape, shape, strict=True)
        found = tuple(
            slice(max(0, low + int((s.start - rim) * m / g)), min(n, low + int((s.stop + rim) * m / g) + 1))
            for low, m, s, g, n in edges
        )
        return found if all(s.start < s.stop for s in found) else None


def windows_around(case: Case, n: int, *, close: float = 8.0, whole_too: bool = False) -> list[Window]:
    """Return up to ``n`` windows around the marks, from close to far.

    The closest holds the object as far as it is known and as the nearest outside stroke lets it be guessed; each
    next one is larger, the last at most a little larger than the image. What lies far from the marks has no part in it.

    Parameters
    ----------
    case : Case
        With a mark at least.
    n : int
        How many at most.
    close : float
        The closest is at most so many times as large as what is marked inside; half of that where nothing is marked
        outside.
    whole_too : bool
        Whether the whole image is looked at, too, where the closest window is nearly as large: it may cut off what
        reaches beyond it.

    Raises
    ------
    ValueError
        If nothing is marked.
    """
    spacing = np.asarray(case.spacing, dtype=float)
    inside = _box_of(case, case.partial, Marker.OBJECT)
    known = inside or _box_of(case, case.strokes, Marker.BACKGROUND) or _box_of(case, case.partial, Marker.BACKGROUND)
    if known is None:
        raise ValueError("there is no stroke yet: brush a little inside the object, and a little outside")
    low, high = (np.array(ends) * spacing for ends in zip(*((s.start, s.stop - 1) for s in known), strict=True))
    centre = (low + high) / 2
    extent = float((high - low).max() + spacing.max())
    closest = _closest_side(case, inside is not None, centre, extent, close)
    whole = _whole_side(case)
    smallest = max(MIN_SIDE_VOXELS * float(spacing.min()), 1.25 * extent)
    side = float(np.clip(closest, min(smallest, whole), whole))
    ratio = min(MAX_WIDENING, (whole / side) ** (1 / max(1, n - 1)))
    sides = [side * ratio**i for i in range(n)] if ratio > MIN_WIDENING else [side]
    if whole_too and len(sides) == 1 < n:
        sides = [side, whole] if whole > MIN_WIDENING * side else [whole]
    return [_window(case, centre, side) for side in sides]


def window_for(case: Case, max_voxels: int = MAX_WHOLE_VOXELS) -> Window:
    """Return the whole image, or of a large one the largest window around the marks of ``max_voxels`` voxels or fewer.

    Raises
    ------
    ValueError
        If the image is large, and nothing is marked.
    """
    if case.partial.size <= max_voxels:
        return Window((0,) * case.ndim, case.shape)
    windows = windows_around(case, N_AROUND)
    return [w for w in windows if w.n_voxels(case.shape) <= max_voxels or w is windows[0]][-1]


def windows_on_parts(case: Case, n: int, *, close: float) -> list[Window]:
    """Return windows around groups of strokes inside that lie far apart, each as if the others were not there.

    An object may have several parts, which one window shows from too far away. There are none where the strokes make
    one group.

    Parameters
    ----------
    case : Case
    n : int
        Windows on each part, from close to far, at most.
    close : float
        See `windows_around`.
    """
    spacing = np.asarray(case.spacing, dtype=float)
    labels, n_inside = numbered_parts(case.strokes[case.drawn] == Marker.OBJECT)
    if n_inside < 2:
        return []
    offset = np.array([s.start for s in case.drawn])
    boxes = ndimage.find_objects(labels)
    low = (np.array([[s.start for s in box] for box in boxes]) + offset) * spacing
    high = (np.array([[s.stop - 1 for s in box] for box in boxes]) + offset) * spacing
    whole = float((high.max(0) - low.min(0)).max())
    group = fcluster(linkage((low + high) / 2, "single"), MIN_GAP * whole, "distance")
    windows = []
    for i in range(1, int(group.max()) + 1) if group.max() <= MAX_PARTS and group.max() > 1 else ():
        first, last = low[group == i].min(0), high[group == i].max(0)
        extent = float((last - first).max() + spacing.max())
        side = max(_closest_side(case, True, (first + last) / 2, extent, close), MIN_SIDE_VOXELS * float(spacing.min()))
        for _ in range(n):
            if side < whole:
                windows.append(_window(case, (first + last) / 2, side))
                side *= MAX_WIDENING
    return windows


def window_on(case: Case, where: Region, *, margin: float) -> Window:
    """Return the window that holds a region, larger by a factor of ``margin`` but not than the image."""
    spacing = np.asarray(case.spacing, dtype=float)
    low, high = (np.array([getattr(s, end) for s in where]) * spacing for end in ("start", "stop"))
    smallest = MIN_SIDE_VOXELS * float(spacing.min())
    side = min(max(margin * float((high - low).max()), smallest), _whole_side(case))
    return _window(case, (low + high - spacing) / 2, side)


def wider(case: Case, window: Window) -> Window | None:
    """Return the window that is `MAX_WIDENING`, or as large as the image; None if this one is that already."""
    low, size, spacing = (np.asarray(a, dtype=float) for a in (window.low, window.size, case.spacing))
    now, whole = float((size * spacing).max()), _whole_side(case)
    return (
        _window(case, (low + (size - 1) / 2) * spacing, min(MAX_WIDENING * now, whole)) if now < 0.95 * whole else None
    )


def is_scale_known(case: Case) -> bool:
    """Return whether more of the object is known than a single stroke."""
    if case.evidence is not None or sum(n_strokes(case.strokes[case.drawn])) != 1:
        return True
    accepted = (case.partial[case.marked] == Marker.OBJECT) & (case.strokes[case.marked] == Marker.UNKNOWN)
    return bool(accepted.any())


def cut_off(on: Tensor, window: Window, shape: tuple[int, ...]) -> Tensor:
    """Return how much of a window's rim masks lie on, where the window ends before the image does.

    Parameters
    ----------
    on : (..., S, ...) bool tensor
        Masks over the window.

    Returns
    -------
    share : (...) float tensor
        The sum of the shares of its sides.
    """
    ndim = len(shape)
    total = torch.zeros(on.shape[: on.ndim - ndim])
    for axis in range(ndim):
        spatial = on.movedim(axis - ndim, -1).float().flatten(-ndim, -2)  # (..., rest, S)
        for side, ends_early in ((0, window.low[axis] > 0), (-1, window.low[axis] + window.size[axis] < shape[axis])):
            if ends_early:
                total = total + spatial[..., side].mean(-1)
    return total


def _whole_side(case: Case) -> float:
    return 1.1 * float((np.asarray(case.shape) * np.asarray(case.spacing)).max())


def _closest_side(
    case: Case, is_marked_inside: bool, centre: NDArray[np.float64], extent: float, close: float
) -> float:
    """Return the side of the closest window, in mm."""
    outside = np.argwhere(case.strokes[case.drawn] == Marker.BACKGROUND)
    if not is_marked_inside or not len(outside):
        return close / 2 * extent
    places = (outside + [s.start for s in case.drawn]) * np.asarray(case.spacing)
    nearest = float(np.sqrt(((places - centre) ** 2).sum(1).min()))
    return float(np.clip(2.5 * nearest, 1.6 * extent, close * extent))


def _window(case: Case, centre: NDArray[np.float64], side: float) -> Window:
    """Return the window of a side in mm around a centre in mm, moved inwards where it need not stick out."""
    low, size = [], []
    for middle, mm, n in zip(centre, case.spacing or (), case.shape, strict=True):
        voxels = max(4, round(side / mm))
        first = round(middle / mm - voxels / 2 + 0.5)
        first = min(max(first, 0), n - voxels) if voxels <= n else (n - voxels) // 2
        low.append(int(first))
        size.append(int(voxels))
    return Window(tuple(low), tuple(size))


def _box_of(case: Case, markers: NDArray[np.uint8], marker: Marker) -> Region | None:
    """Return the smallest box that holds a marker, None if it is nowhere."""
    box = bounding_box(markers[case.marked] == marker)
    return box and tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, case.marked, strict=True))
