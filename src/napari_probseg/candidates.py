"""Candidates: larger partial segmentations to choose from, and the protocol of proposers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker, Plane
from napari_probseg.images import checked_plane, checked_whole
from napari_probseg.progress import counted
from napari_probseg.region import Region

NOTHING_LEFT = "nothing is left to add near the strokes: brush further out, complete or finish"


@dataclass(frozen=True, eq=False)
class Candidates:
    """Distinct larger partial segmentations of one case, best first.

    They are kept for the region that they change, so their cost does not depend on the image's size.

    Parameters
    ----------
    case : Case
        What they continue.
    where : tuple of slices
        The region that they change, one slice for each spatial axis of the case.
    patches : (n, ...) uint8 array
        The partial segmentation inside the region, for each candidate.
    score : (n,) float32 array
        How plausible each is, in [0, 1]; never rising.
    share : (n,) float32 array
        Share of the drawn samples that agree with each, in [0, 1].
    probability : (...) float32 array
        Share of the samples that take a voxel of the region as object, in [0, 1].
    kept : int, optional
        The candidate that is what was on show, changed near the latest correction alone; None if there is none beside
        the first.

    Raises
    ------
    ValueError
        If a candidate changes what the case has decided, or the parts do not fit together.
    """

    case: Case
    where: Region
    patches: NDArray[np.uint8]
    score: NDArray[np.float32]
    share: NDArray[np.float32]
    probability: NDArray[np.float32]
    kept: int | None = None

    def __post_init__(self) -> None:
        before = self.case.partial[self.where]
        if self.patches.shape[1:] != before.shape or self.probability.shape != before.shape:
            raise ValueError(
                f"candidates of {self.patches.shape[1:]} and probabilities of {self.probability.shape} "
                f"do not fit a region of {before.shape}"
            )
        decided = before != Marker.UNKNOWN
        if (self.patches[:, decided] != before[decided]).any():
            raise ValueError("a candidate changes a decided voxel")
        if (np.diff(self.score) > 0).any():
            raise ValueError("candidates must come best first")
        if self.kept is not None and not 0 <= self.kept < len(self.patches):
            raise ValueError(f"there is no candidate {self.kept} that could be kept, of {len(self.patches)}")

    def __len__(self) -> int:
        return len(self.patches)

    def __str__(self) -> str:
        n = len(self)
        return f"{counted(n, 'candidate')}, the first adds {self.added(0)[0]} voxels" if n else NOTHING_LEFT

    @property
    def partial(self) -> Sequence[NDArray[np.uint8]]:
        """Each candidate's partial segmentation, in the shape of the image; made when asked for."""
        return _Partials(self)

    def added(self, i: int) -> tuple[int, int]:
        """Return what candidate ``i`` adds to what is decided.

        Parameters
        ----------
        i : int
            From 0, the best, to ``len(candidates) - 1``.

        Returns
        -------
        (int, int)
            Voxels of object, and voxels of background.

        Raises
        ------
        IndexError
            If there is no such candidate.
        """
        patch, is_open = self.patches[self._checked(i)], self.case.partial[self.where] == Marker.UNKNOWN
        n_object, n_background = (
            int(np.count_nonzero((patch == marker) & is_open)) for marker in (Marker.OBJECT, Marker.BACKGROUND)
        )
        return n_object, n_background

    def accept(self, i: int) -> Case:
        """Return the case continued by candidate ``i``.

        Parameters
        ----------
        i : int
            From 0, the best, to ``len(candidates) - 1``.

        Returns
        -------
        Case
            What was decided before, strokes included, is as it was.

        Raises
        ------
        IndexError
            If there is no such candidate.
        """
        return self.case.decide(self.where, self.patches[self._checked(i)])

    def _checked(self, i: Any) -> int:
        if isinstance(i, Integral) and not isinstance(i, bool) and 0 <= int(i) < len(self):
            return int(i)
        there = f"choose one of 0 to {len(self) - 1}" if len(self) else "none is on offer"
        raise IndexError(f"there is no candidate {i!r:.60}: {there}")

    def uncertainty(self) -> NDArray[np.float32]:
        """Return the disagreement of the samples: 4 p (1 - p), where p is the share that takes a voxel as object.

        Returns
        -------
        float32 array of the image's spatial shape
            0 where all agree or the case is decided, 1 where half are against half.
        """
        values = np.zeros(self.case.shape, dtype=np.float32)
        values[self.where] = self.disagreement()
        return values

    def disagreement(self) -> NDArray[np.float32]:
        """Return the disagreement of the samples as `uncertainty` has it, in the region alone.

        Returns
        -------
        float32 array of the region's shape
        """
        values = 4.0 * self.probability
        values *= 1.0 - self.probability
        values[self.case.partial[self.where] != Marker.UNKNOWN] = 0.0
        return values.astype(np.float32, copy=False)


def checked_question(case: Any, plane: Any) -> None:
    """Raise if what is asked about is no case, or has no such plane.

    Raises
    ------
    TypeError
        If it is no case, or the plane no whole numbers.
    ValueError
        If a plane is named that there is not, or of an image, which has none.
    """
    if not isinstance(case, Case):
        raise TypeError(f"a case is asked about, got {type(case).__name__}: make one of the image, Case(image)")
    if plane is not None:
        case.plane(*checked_plane(plane))


def checked_request(n: Any, seed: Any) -> tuple[int, int]:
    """Return how many candidates are asked for, and the seed.

    Raises
    ------
    TypeError
        If they are no whole numbers.
    ValueError
        If they are out of range.
    """
    n, seed = checked_whole(n, "n"), checked_whole(seed, "seed")
    if n < 1:
        raise ValueError(f"at least one candidate must be asked for, got n={n}")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"a seed must fit into 64 bits, got {seed}")
    return n, seed


class _Partials(Sequence[NDArray[np.uint8]]):
    """The candidates pasted into the whole image, one at a time."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates

    def __len__(self) -> int:
        return len(self._candidates)

    @overload
    def __getitem__(self, i: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, i: slice) -> list[NDArray[np.uint8]]: ...
    def __getitem__(self, i: int | slice) -> Any:
        if isinstance(i, slice):
            return [self._candidates.accept(j).partial for j in range(*i.indices(len(self)))]
        from_end = isinstance(i, Integral) and -len(self) <= int(i) < 0
        return self._candidates.accept(i + len(self) if from_end else i).partial


class Proposer(Protocol):
    """Whatever continues a partial segmentation."""

    def propose(self, case: Case, n: int = 8, *, seed: int = 0, plane: Plane | None = None) -> Candidates:
        """Return at most ``n`` distinct candidates, best first.

        Parameters
        ----------
        case : Case
            The image and what is decided.
        n : int
            How many candidates to offer.
        seed : int
            The same seed gives the same candidates on the same device.
        plane : (axis, index), optional
            The plane of a volume to work on. If absent, it is for the proposer to choose one, or to work on all of the
            volume.

        Returns
        -------
        Candidates
            Strokes and what else is decided are in each as they were.
        """
        ...
