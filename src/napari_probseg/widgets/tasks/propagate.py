"""Propagating an accepted slice through the volume, in a thread."""

from __future__ import annotations

from collections.abc import Generator

from napari_probseg.candidates import Candidates
from napari_probseg.case import Marker
from napari_probseg.proposers.carry import Carrier
from napari_probseg.session.request import Request
from napari_probseg.widgets.tasks.propose import Answer, exhibit


def propagating(request: Request, *, axes: tuple[int, int]) -> Generator[str, None, Answer]:
    """Carry the slice of a request to its neighbours, yielding a sentence on each."""
    yield "Carrying the object from slice to slice…"
    carrier = Carrier()
    candidates = yield from carrier.carrying(request.question, request.plane)
    if not len(candidates):
        raise ValueError("the slices beside this one do not show the object: accept it on one more slice, farther on")
    n_slices = n_new_slices(candidates, axis=0 if request.plane is None else request.plane[0])
    advice = f"Carried to {n_slices} slices: look through them and accept; where it goes wrong, correct."
    return Answer(request, carrier, candidates, exhibit(candidates, axes, in_volume=True, advice=advice))


def n_new_slices(candidates: Candidates, *, axis: int) -> int:
    """Return on how many slices across an axis the best candidate adds to the object."""
    before = candidates.case.partial[candidates.where]
    new = (candidates.patches[0] == Marker.OBJECT) & (before != Marker.OBJECT)
    return int(new.any(tuple(other for other in range(3) if other != axis)).sum())
