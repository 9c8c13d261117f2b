"""Accepted slices of a volume, and how an object is carried from them to the others, slice by slice."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Marker
from napari_probseg.inference.next_slice import KnownSlice, PropagationConfig, Sight
from napari_probseg.region import absolute, bounding_box, grown


def accepted_slices(case: Case, axis: int) -> list[int]:
    """Return the slices along an axis of a volume that hold an object which is decided all around.

    Strokes that lie beside it, on what is not decided yet, belong to what else is to be found.
    """
    inside = bounding_box(case.partial[case.marked] == Marker.OBJECT)
    if inside is None:
        return []
    near = grown(absolute(inside, case.marked), [1] * 3, case.shape)
    planes = (np.moveaxis(markers[near], axis, 0) for markers in (case.partial, case.strokes))
    return [k for k, markers in enumerate(zip(*planes, strict=True), near[axis].start) if _is_accepted(*markers)]


def _is_accepted(partial: NDArray[np.uint8], strokes: NDArray[np.uint8]) -> bool:
    mask = partial == Marker.OBJECT
    box = bounding_box(mask)
    if box is None:
        return False
    near = grown(box, [1, 1], mask.shape)
    parts, n = ndimage.label(mask[near])
    is_open = np.zeros(n + 1, dtype=bool)
    is_open[parts[ndimage.binary_dilation(partial[near] == Marker.UNKNOWN)]] = True
    is_open[0] = False
    return np.count_nonzero(is_open) < n and bool((strokes[near][is_open[parts]] == Marker.OBJECT).all())


def carrying(
    case: Case,
    axis: int,
    known: dict[int, KnownSlice],
    config: PropagationConfig,
    slices: tuple[int, int] | None = None,
) -> Generator[str, None, dict[int, KnownSlice]]:
    """Carry an object from known slices to those between and beyond them, and return it slice by slice.

    Parameters
    ----------
    case : Case
        (Z, Y, X).
    axis : int
        Along which the slices lie.
    known : dict of int to KnownSlice
        One at least.
    config : PropagationConfig
    slices : (first, last), optional
        Where the object is known to begin and to end; as long as enough speaks for it if absent.

    Yields
    ------
    str
        A sentence on each slice.
    """
    first, last = slices or (0, case.shape[axis] - 1)
    sight = Sight(case, axis, config, known)
    found: dict[int, KnownSlice] = {}
    for way in _ways(sorted(known), first, last):
        for k, before, other in way:
            slice_ = sight.at(k, (known | found)[before], (known | found).get(other), gap=abs(other - k))
            if slice_ is None:
                yield f"slice {k}: the object ends"
                break
            doubt = sight.doubt(k, slice_, (known | found)[before]) if slices is None and other < 0 else None
            if doubt is not None:
                yield doubt
                break
            found[k] = slice_
            yield f"slice {k}: {np.count_nonzero(slice_.mask)} pixels"
    return found


def _ways(known: list[int], first: int, last: int) -> Iterator[list[tuple[int, int, int]]]:
    """Yield ways to go: slices, each with the one before it and the one at the other end of the gap, or -1."""
    yield [(k, k + 1, -1) for k in range(known[0] - 1, first - 1, -1)]
    yield [(k, k - 1, -1) for k in range(known[-1] + 1, last + 1)]
    for low, high in pairwise(known):
        way, ends = [], (low, high)
        while ends[1] - ends[0] > 1:  # from both ends in turn
            low, high = ends
            way.append((low + 1, low, high))
            if high - low > 2:
                way.append((high - 1, high, low + 1))
            ends = (low + 1, high - 1)
        yield way
