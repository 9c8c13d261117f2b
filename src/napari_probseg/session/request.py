"""Requests and offers: what a proposer is asked, and the candidates that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Plane
from napari_probseg.region import Part, Region, over
from napari_probseg.session.correction import opened_by_corrections
from napari_probseg.session.history import Step
from napari_probseg.session.shown import is_of_plane


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of a session's state; made where the session lives, answered anywhere, for example in a thread.

    Parameters
    ----------
    verb : str
        Who answers: the proposer (``"propose"``), the completer (``"complete"``, ``"adapt"``), or the one that goes
        from slice to slice (``"carry"``).
    arguments : mapping
        What it is asked for (``n``, ``seed``, ``plane``, options), as the script repeats it.
    ticket : int
        The state that it is about: `Session.offer` takes no answer about another one.
    case : Case
        What is decided.
    objects : uint32 array of the spatial shape
        Finished objects.
    steps : tuple of Step
        What was done.
    shown : (region, uint8 array), optional
        The answer that the latest stroke corrects: a `Marker` for every voxel of a region.
    expected_dice : float
        What was expected of that answer, see `Case`.
    sizes : tuple of float
        Sizes of the latest finished objects in mm, see `Case`; on a plane, if one is asked about.
    finished : tuple of Part
        The latest finished objects of the class of the latest one, that last, where they are to be learnt from
        (``"adapt"``).
    """

    verb: str
    arguments: Mapping[str, Any]
    ticket: int
    case: Case
    objects: NDArray[np.uint32]
    steps: tuple[Step, ...]
    shown: tuple[Region, NDArray[np.uint8]] | None = None
    expected_dice: float = 0.0
    sizes: tuple[float, ...] = ()
    finished: tuple[Part, ...] = ()

    @property
    def plane(self) -> Plane | None:
        """The plane of a volume, or the image of a time series, that the answer is for."""
        return self.arguments.get("plane")

    @cached_property
    def question(self) -> Case:
        """The case to ask about: what strokes contradicted is open again, so that new candidates can repair it.

        So is all that was accepted where the whole object is asked for, on a plane.

        What was on show when the latest stroke was drawn is its evidence, beside the strokes; finished objects tell of
        which size it may be.
        """
        is_flat = self.case.ndim_at(self.plane) == 2
        is_whole = self.verb == "complete" and is_flat  # of a volume, slices that were accepted are held
        opened = opened_by_corrections(self.case, self.objects, self.steps, self.plane, anyhow=is_whole)
        opened = opened.with_sizes(self.sizes) if self.sizes else opened
        if self.shown is None or not is_of_plane(self.shown[0], self.plane):
            return opened
        if opened.evidence is None or is_flat:
            return opened.with_evidence(*self.shown, self.expected_dice)
        return opened.with_evidence(*over(opened.evidence, self.shown), max(opened.expected_dice, self.expected_dice))

    def with_arguments(self, **arguments: Any) -> Request:
        """Return the same request with other arguments: options, say, that are known once a network is loaded."""
        again = replace(self, arguments={**self.arguments, **arguments})
        if "question" in self.__dict__:
            again.__dict__["question"] = self.question
        return again


@dataclass(frozen=True, eq=False)
class Offer:
    """Candidates to choose from.

    Parameters
    ----------
    candidates : Candidates
    request : Request
        What was asked.
    maker : Proposer, optional
        What made them.
    completion : Completion, optional
        Of a completer's answer: masks are cut from it anew without asking again.
    """

    candidates: Candidates
    request: Request
    maker: Any = None
    completion: Any = None

    @property
    def is_sampled(self) -> bool:
        """Whether it is a choice among samples, not the one answer of a completer."""
        return self.request.verb == "propose"


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, where NumPy's numbers are the only obstacle."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(plain(v) for v in value) if isinstance(value, list | tuple) else value
