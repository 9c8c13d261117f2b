"""Methods that are evaluated: ours, and their peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Case, Marker
from napari_probseg.dataset.targets import Target
from napari_probseg.evaluate.interaction import Method, Play
from napari_probseg.session.session import Session

ADAPT_EVERY = 5  # marks
OURS = ("propose", "complete", "complete+adapt", "appearance", "graphcut")
OTHERS = ("watershed", "random walker", "geodesic", "geodesic cut", "histogram cut", "GrabCut", "random forest")
SLICES = "slice by slice"
IN_3D = (*OURS, SLICES, *(name for name in OTHERS if name not in ("GrabCut", "random forest")))

Mask = NDArray[np.bool_]


class Answering:
    """A method that answers strokes with the whole object; strokes are obeyed whatever it says.

    Its latest answer is evidence beside the strokes, as in a session; most methods do not look at it.
    """

    def __init__(self, case: Case, answer: Callable[[Case], Mask]) -> None:
        self.case, self.answer = case, answer
        self.shown: Mask | None = None
        self.expected_dice = 0.0  # of what is shown; most methods do not tell
        self.everywhere = tuple(slice(0, n) for n in case.shape)

    def mark(self, inside: Mask, outside: Mask) -> Mask:
        """Take in strokes, and return the object."""
        marked = self.case.mark(inside, outside)
        if self.shown is not None:
            marked = marked.with_shown(self.everywhere, self.shown, self.expected_dice)
        self.case = marked
        object_, background = (self.case.strokes == marker for marker in (Marker.OBJECT, Marker.BACKGROUND))
        found = np.asarray((self.answer(self.case) | object_) & ~background)
        self.shown = found if found.any() else None
        return found

    def offered(self) -> Sequence[Mask]:
        """Return nothing: there is no choice."""
        return ()

    def choose(self, i: int) -> Mask:
        """Raise."""
        raise IndexError(f"there is no candidate {i}: this method offers none")


class Completing(Answering):
    """A completer that completes the object after every mark."""

    def __init__(self, case: Case, completer: Any) -> None:
        super().__init__(case, self._completed)
        self.completer = completer

    def _completed(self, case: Case) -> Mask:
        candidates = self.completer.propose(case, 1)
        self.expected_dice = float(candidates.score[0])
        return np.asarray(candidates.partial[0] == Marker.OBJECT)


class Adapting(Completing):
    """A completer that is fine-tuned to the image with every `ADAPT_EVERY`-th mark."""

    n_marks = 0

    def mark(self, inside: Mask, outside: Mask) -> Mask:
        """Take in strokes, and learn from all of them where it is time and both kinds are there."""
        self.n_marks += 1
        marked = self.case.mark(inside, outside)
        if self.n_marks % ADAPT_EVERY == 0 and len(np.unique(marked.strokes)) == 3:
            self.completer = self.completer.adapt(marked)
        return super().mark(inside, outside)


class Slicewise(Answering):
    """The completer of images on a volume: a mark is drawn on one slice, and completes that slice alone."""

    def __init__(self, case: Case, completer: Any) -> None:
        super().__init__(case, self._decided)
        self.completer = completer
        self.done = np.zeros(case.shape, dtype=bool)

    def mark(self, inside: Mask, outside: Mask) -> Mask:
        """Take in strokes on the slice where most of them is, and complete it."""
        i = int((inside | outside).sum((1, 2)).argmax())
        here = np.zeros_like(inside)
        here[i] = True
        self.case = self.case.mark(inside & here, outside & here)
        if self.case.strokes[i].any():
            self.done[i] = completed(self.completer, self.case.plane(0, i))
        return super().mark(np.zeros_like(here), np.zeros_like(here))

    def _decided(self, _: Case) -> Mask:
        return self.done


class Proposing:
    """Candidates after every stroke, as in the widget; in volumes those of the volume.

    One candidate is on show after a stroke (`Session.looked_at`), another one after it was chosen: what is on show is
    what the next stroke corrects.
    """

    def __init__(self, case: Case, proposer: Proposer) -> None:
        self.session = Session(case, proposer)

    def mark(self, inside: Mask, outside: Mask) -> Mask:
        """Take in strokes, and ask for candidates; return the one on show."""
        self.session.mark(inside, outside)
        return self._asked()

    def offered(self) -> Sequence[Mask]:
        """Return the object that each candidate would lead to."""
        candidates: Candidates | None = self.session.candidates
        return [] if candidates is None else [partial == Marker.OBJECT for partial in candidates.partial]

    def choose(self, i: int) -> Mask:
        """Show another candidate, and return it."""
        self.session.look_at(i)
        return np.asarray(self.offered()[i])

    def _asked(self) -> Mask:
        """Ask for candidates; return the one on show, or what is decided where there is none."""
        if (self.session.case.partial == Marker.OBJECT).any():
            in_space: Any = {"ndim": 3} if self.session.case.ndim == 3 else {}
            self.session.propose(8, **in_space)
        offered = self.offered()
        return np.asarray(offered[self.session.looked_at] if offered else self.session.case.partial == Marker.OBJECT)


def completed(completer: Proposer, case: Case) -> Mask:
    """Return the object that a completer finds."""
    return np.asarray(completer.propose(case, 1).partial[0] == Marker.OBJECT)


def methods_of(
    names: Sequence[str] = (), *, weights: str = "general", device: str = "cpu", ndim: int = 2
) -> dict[str, Method]:
    """Return methods by their names; what they need is loaded when the first object comes.

    Parameters
    ----------
    names : sequence of str
        Of `OURS`, `OTHERS` and (in 3-D) `SLICES`; all that there are for so many axes if empty.
    weights : str
        As `load_proposer` and `load_completer` take them.
    device : str
    ndim : int
        2 or 3.

    Raises
    ------
    ValueError
        If there is no such method.
    RuntimeError
        If the peers' libraries are not installed.
    """
    known = (*OURS, *OTHERS) if ndim == 2 else IN_3D
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r} in {ndim}-D: name some of {', '.join(known)}")
    chosen = names or known
    if {"GrabCut", "random forest"} & set(chosen) and not (find_spec("cv2") and find_spec("sklearn")):
        raise RuntimeError("the peers need more libraries: pip install 'napari-probseg[peers]'")
    loaded = _Models(weights, device)
    return {name: _method(name, loaded) for name in chosen}


class _Models:
    """Proposer and completer, each loaded once."""

    def __init__(self, weights: str, device: str) -> None:
        from napari_probseg.proposers import load_completer, load_proposer

        self.proposer = cache(lambda: load_proposer(weights, device=device))
        self.completer = cache(lambda: load_completer(weights, device=device))


def _method(name: str, models: _Models) -> Method:
    """Return what begins an object with a method."""

    def begin(target: Target) -> Play:
        case = target.case()
        if name == "propose":
            return Proposing(case, models.proposer())
        if name == "complete":
            return Completing(case, models.completer())
        if name == "complete+adapt":
            return Adapting(case, models.completer())
        if name == SLICES:
            return Slicewise(case, models.completer())
        if name == "appearance":
            from napari_probseg.proposers.pixel_classifier_cut import PixelClassifierCut

            return Completing(case, PixelClassifierCut())
        if name == "graphcut":
            from napari_probseg.proposers.histogram_cut import GraphCut

            return Completing(case, GraphCut())
        from napari_probseg.evaluate.peers import PEERS

        return Answering(case, PEERS[name])

    return begin
