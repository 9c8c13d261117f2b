"""What all completers share: one candidate, of an image, of a volume, or of a plane of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from napari_probseg.candidates import Candidates, checked_question
from napari_probseg.case import Case, Plane
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.plane import in_volume


class Completer(ABC):
    """Completes an object; satisfies `napari_probseg.Proposer`, with one candidate."""

    name: str
    needs_marks = False  # whether it goes by what is decided alone: evidence tells it nothing

    @abstractmethod
    def complete(self, case: Case) -> Completion:
        """Look at a case once; masks are cut from what comes back.

        Raises
        ------
        ValueError
            If nothing is marked, or the image is none that it can complete.
        """

    def propose(self, case: Case, n: int = 1, *, seed: int = 0, plane: Plane | None = None, **cut: Any) -> Candidates:
        """Return one candidate, which decides every voxel unless asked otherwise.

        Parameters
        ----------
        case : Case
            (Y, X) or (Z, Y, X), or a time series of such.
        n, seed
            There is one answer, always the same.
        plane : (axis, index), optional
            Complete this plane of a volume alone; the whole volume if absent. Of a time series it names the image.
        **cut
            Fields of `CutConfig`: ``smoothness``, ``edges``, ``everywhere``.

        Returns
        -------
        Candidates

        Raises
        ------
        ValueError
            As `complete`, and if an argument is out of range.
        """
        checked_question(case, plane)
        config = CutConfig(**cut)
        return in_volume(self.complete(case.at(plane)).candidates(config), case, plane)
