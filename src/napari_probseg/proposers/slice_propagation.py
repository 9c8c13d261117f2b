"""Slice propagation: an accepted slice is carried to its neighbours as long as they look like it."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.inference.carrying import accepted_slices, carrying
from napari_probseg.inference.next_slice import KnownSlice, PropagationConfig, accepted
from napari_probseg.morphology import with_rim
from napari_probseg.progress import result_of
from napari_probseg.proposers.plane import plane_with_most_strokes
from napari_probseg.region import Region, hull

__all__ = ["PropagationConfig", "SlicePropagator"]


class SlicePropagator:
    """Carries an object from accepted slices of a volume to the others; satisfies `napari_probseg.Proposer`.

    A slice is accepted if it holds an object that is decided all around. On the next one its form, shrunk and grown by
    how thick the slices are, and the intensities say how likely each pixel is object, and a graph cut decides. Between
    two accepted slices both guide, and the form goes over from one to the other (Raya & Udupa 1990); beyond the last
    one the carrying stops where the object ends, where too little speaks for it, or where it is as far as the object
    is wide. What is decided stays on every slice. No network takes part: neither the one of images nor the one of
    volumes made it better.

    Parameters
    ----------
    config : PropagationConfig, optional
    """

    name = "carry"

    def __init__(self, config: PropagationConfig | None = None) -> None:
        self.config = config or PropagationConfig()

    def propose(
        self,
        case: Case,
        n: int = 1,
        *,
        seed: int = 0,
        plane: Plane | None = None,
        slices: tuple[int, int] | None = None,
    ) -> Candidates:
        """Return one candidate of the volume, or none if no slice could be added.

        Parameters
        ----------
        case : Case
            (Z, Y, X).
        n, seed
            There is one answer, always the same.
        plane : (axis, index), optional
            An accepted slice, whose axis is gone along; the one along the first axis with the most strokes if absent.
        slices : (first, last), optional
            Where the object is known to begin and to end: it is carried so far, however little speaks for it.

        Raises
        ------
        ValueError
            If the case is no volume, the slice holds no object or is not among ``slices``, or the image is not finite.
        """
        return result_of(self.propagating(case, plane, slices=slices))

    def propagating(
        self, case: Case, plane: Plane | None = None, *, slices: tuple[int, int] | None = None
    ) -> Generator[str, None, Candidates]:
        """Do what `propose` does slice by slice, so that it can be shown and given up.

        Yields
        ------
        str
            A sentence on each slice.

        Raises
        ------
        ValueError
            As `propose`.
        """
        if case.axes != "ZYX":
            raise ValueError(f"only a volume has slices to carry an object to; this image is {case.shape}")
        axis, index = plane or plane_with_most_strokes(case)
        chosen = {k: accepted(case, (axis, k)) for k in sorted({index, *accepted_slices(case, axis)})}
        known = {k: slice_ for k, slice_ in chosen.items() if slice_ is not None}
        if index not in known:
            raise ValueError(f"slice {index} of axis {axis} holds no object: accept a candidate or complete it there")
        first, last = slices or (0, case.shape[axis] - 1)
        if not 0 <= first <= index <= last < case.shape[axis]:
            raise ValueError(f"slices must be (first, last) around slice {index} and in the volume, got {slices}")
        found = yield from carrying(case, axis, known, self.config, slices)
        return _candidates(case, axis, found)


def _candidates(case: Case, axis: int, found: dict[int, KnownSlice]) -> Candidates:
    """Return the slices together as one candidate."""
    if not found:
        where: Region = (slice(0, 0),) * 3
        empty = np.zeros((0, 0, 0), dtype=np.float32)
        none = np.zeros(0, dtype=np.float32)
        return Candidates(case, where, np.zeros((0, 0, 0, 0), dtype=np.uint8), none, none, empty)
    across = list(hull(*(slice_.where for slice_ in found.values())))
    where = (*across[:axis], slice(min(found), max(found) + 1), *across[axis:])
    patch = case.partial[where].copy()
    probability = (patch == Marker.OBJECT).astype(np.float32)
    for k, slice_ in found.items():
        at = (slice(None),) * axis + (k - min(found),)
        own = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(slice_.where, across, strict=True))
        probability[at][own] = slice_.probability
        view, mask = patch[at], np.zeros(patch[at].shape, dtype=bool)
        mask[own] = slice_.mask
        open_ = view == Marker.UNKNOWN
        view[open_ & with_rim(mask)] = Marker.BACKGROUND
        view[open_ & mask] = Marker.OBJECT
    belief = np.array([np.mean([slice_.belief for slice_ in found.values()])], dtype=np.float32)
    return Candidates(case, where, patch[None], belief, np.ones(1, dtype=np.float32), probability)
