"""Carrying a slice through the volume, in a thread."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from napari_probseg.case import Marker, Plane
from napari_probseg.proposers.carry import Carrier
from napari_probseg.session.session import Session
from napari_probseg.widgets.tasks.propose import Answer, exhibit


@dataclass(frozen=True)
class CarryRequest:
    """What is to be carried.

    Parameters
    ----------
    session : Session
        Whose object it is.
    accepted : (axis, index)
        The slice, with the object on it.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    plane : None
        The answer is of the volume.
    """

    session: Session
    accepted: Plane
    axes: tuple[int, int]
    plane: None = None


class CarriedOn(Answer):
    """What came of it: one candidate of the volume."""

    @property
    def n_slices(self) -> int:
        """On how many slices there is now more of the object."""
        axis, _ = self.request.accepted
        before = self.candidates.case.partial[self.candidates.where]
        new = (self.candidates.patches[0] == Marker.OBJECT) & (before != Marker.OBJECT)
        return int(new.any(tuple(other for other in range(3) if other != axis)).sum())


def carried_on(request: CarryRequest) -> Generator[str, None, CarriedOn]:
    """Carry the slice of a request to its neighbours, yielding a sentence on each."""
    yield "Carrying the object from slice to slice…"
    carrier = Carrier()
    candidates = yield from carrier.carrying(request.session.question(request.accepted), request.accepted)
    if not len(candidates):
        raise ValueError("the slices beside this one do not show the object: accept it on one more slice, farther on")
    return CarriedOn(request, {}, carrier, candidates, exhibit(candidates, request))
