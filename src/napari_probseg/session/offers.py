"""Offers in a session: candidates are asked for, put on offer, looked at and accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_probseg.candidates import NOTHING_LEFT, Candidates
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.metrics import iou
from napari_probseg.region import Region, hull
from napari_probseg.session.alike import Alike
from napari_probseg.session.finished import N_LATEST
from napari_probseg.session.history import Step, change_between
from napari_probseg.session.request import Offer, Request, plain
from napari_probseg.session.shown import Answer, OnShow, expected_dice
from napari_probseg.strokes import FOUND, n_strokes

# Intersection over union with what was chosen, below which an answer is another one:
DEPARTED = 0.6  # where a candidate happens to hold what was chosen, ...
HELD = 0.75  # ... with so much in common
DEPARTED_EARLY, DEPARTED_LATE = 0.3, 0.85  # where a candidate keeps what was chosen: before and ...
MIN_STROKES = 3  # ... from this stroke on


class Offers(Alike):
    """The part of a `Session` in which a person chooses among candidates, whoever makes them.

    Parameters
    ----------
    case : Case
        See `Work`.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._offer: Offer | None = None
        self._looked_at = 0  # the candidate on show
        self._is_chosen = False  # whether a person turned to it, or to the one that was on show before it
        self._choice: tuple[Step, Offer, int] | None = None  # the latest, and what was on show before it
        self._asked: Request | None = None
        self._before: tuple[Offer | None, int] = None, 0  # what was on offer when the latest request was made
        self._ticket = 0  # of the state that the latest request is about; an answer with an earlier one comes too late

    @property
    def candidates(self) -> Candidates | None:
        """What is on offer."""
        return None if self._offer is None else self._offer.candidates

    @property
    def on_offer(self) -> Offer | None:
        """What is on offer, with what was asked for it."""
        return self._offer

    @property
    def looked_at(self) -> int:
        """The candidate on show: the first, the one that was turned to, or the one that holds what was chosen."""
        return self._looked_at

    @property
    def is_chosen(self) -> bool:
        """Whether what is on show, or was while the latest stroke was drawn, is another candidate than the first."""
        return self._is_chosen

    @property
    def accepted(self) -> Offer | None:
        """What was accepted last, as long as nothing was done since, and it can be cut in another way."""
        if self._choice is None or self._offer is not None or not self.can_undo:
            return None
        step, offer, _ = self._choice
        is_completion = step.arguments["i"] == 0 and offer.completion is not None  # a completion comes first
        return offer if step is self._history.latest and is_completion else None

    @property
    def asked(self) -> str:
        """The verb of the latest `Request` for which an answer may still be put on offer; empty if there is none."""
        return "" if self._asked is None else self._asked.verb

    @property
    def n_asked(self) -> int:
        """How many requests for candidates there were, which number their seeds."""
        return self._n_asked

    def ask(self, verb: str = "propose", **arguments: Any) -> Request:
        """Return a request to be answered here or elsewhere, and then put on `offer`.

        What is on offer is withdrawn, and answers to earlier requests come too late.

        Parameters
        ----------
        verb : str
            Who is asked, see `Request`.
        **arguments
            What is asked for: ``plane``, ``n``, options. Where ``seed`` is asked for and None, it counts up.
        """
        if verb == "propose":
            seed = arguments.get("seed")
            arguments["seed"] = seed = self._n_asked if seed is None else int(seed)
            self._n_asked = seed + 1
        before = self._before if self._offer is None else (self._offer, self._looked_at)
        self.withdraw()
        self._before = before
        self._asked = self._request(verb, arguments)
        return self._asked

    def ask_others(self, **arguments: Any) -> Request:
        """Return the request on offer with the next seed, to be answered in its place.

        Parameters
        ----------
        **arguments
            Those of its arguments that are to be others.

        Raises
        ------
        RuntimeError
            If no candidates of a proposer are on offer.
        """
        if self._offer is None or not self._offer.is_sampled:
            raise RuntimeError("there is nothing to reject: call propose() first")
        before = self._offer.request.arguments
        return self.ask(**{**before, "seed": before.get("seed", self._n_asked - 1) + 1, **arguments})

    def question(self, plane: Plane | None = None) -> Case:
        """Return the case to ask a proposer about.

        It is the current case, but where a stroke contradicted what a candidate had decided, all that was accepted is
        open again and becomes evidence, so that new candidates can repair it.

        Parameters
        ----------
        plane : (axis, index), optional
            The plane of a volume that the answer will be for.
        """
        self._asked = self._request("question", {"plane": plane})
        return self._asked.question

    def sizes(self, plane: Plane | None = None) -> tuple[float, ...]:
        """Return the sizes in mm of the objects that were finished last, one of which the next may be like; see `Case`.

        While they are few, those that the case came with are told, too: of objects in the images before, say.

        Parameters
        ----------
        plane : (axis, index), optional
            A plane of a volume, for the sizes of mean cross-sections. In a time series they always are of one image.

        Returns
        -------
        tuple of float
            The latest first, at most eight.
        """
        case = self._case
        plane = (0, 0) if case.in_time else plane
        found = self._tally.sizes([1.0] * case.in_time + list(case.spacing or ()), plane)
        return (*found, *case.sizes)[:N_LATEST]

    def offer(
        self,
        candidates: Candidates,
        request: Request | None = None,
        *,
        maker: Any = None,
        completion: Any = None,
        verb: str = "propose",
        **arguments: Any,
    ) -> Candidates:
        """Put candidates on offer.

        The first is on show. Where a person had turned to another one before, and corrected that, the first may depart
        from it altogether; then the candidate is on show that holds it.

        Parameters
        ----------
        candidates : Candidates
            The answer to a request, to the latest `question`, or to `case` itself.
        request : Request, optional
            What was asked; the latest question, if absent.
        maker, completion : optional
            See `Offer`.
        verb, **arguments
            Where no request is given: who was asked for what, see `Request`.

        Returns
        -------
        Candidates
            The same.

        Raises
        ------
        ValueError
            If something was done since the question was asked, or it was withdrawn.
        """
        if request is None:
            asked = None if self._asked is None else self._asked.question
            about = self._ticket if candidates.case in (self._case, asked) else -1
            request = replace(self._request(verb, arguments), ticket=about)
        if not self.is_current(request):
            raise ValueError("the candidates belong to an earlier state of the session: propose again")
        held = self._held(candidates, request.plane)
        self._offer, self._looked_at, self._is_chosen = Offer(candidates, request, maker, completion), held, held > 0
        return candidates

    def look_at(self, i: int) -> None:
        """Note which candidate is on show: the next stroke corrects that one.

        Parameters
        ----------
        i : int
            From 0, the best.

        Raises
        ------
        IndexError
            If there is no such candidate on offer.
        """
        if self._offer is None or not 0 <= i < len(self._offer.candidates):
            raise IndexError(f"there is no candidate {i} on offer")
        self._looked_at, self._is_chosen = int(i), i > 0

    @property
    def taken_back(self) -> Answer | None:
        """A region, and where in it the candidate on show decides otherwise than what was accepted; None if nowhere."""
        if not (candidates := self.candidates) or candidates.case.partial is self._case.partial:
            return None
        where, after = candidates.where, candidates.patches[self._looked_at]
        before = self._case.partial[where]
        is_otherwise = (before != Marker.UNKNOWN) & (after != before) & (self._case.strokes[where] == Marker.UNKNOWN)
        return (where, is_otherwise) if is_otherwise.any() else None

    def is_current(self, request: Request) -> bool:
        """Return whether nothing was done since a request, and it was not withdrawn.

        Parameters
        ----------
        request : Request
            What `ask` returned.
        """
        return request.ticket == self._ticket

    def withdraw(self) -> None:
        """Take the candidates off offer; the answer to a request that is still out comes too late."""
        self._ticket += 1
        self._offer = self._asked = None
        self._before = None, 0

    def call_off(self) -> None:
        """Give up the latest request: what was on offer before it is so again, if nothing was done since."""
        before, looked_at = self._before
        self.withdraw()
        if before is not None:
            self._offer_again(before, looked_at)

    def undo(self) -> Step:
        """Take back the latest step; where that was the latest choice, there is the same choice again.

        Returns
        -------
        Step
            That step with its changes reversed, as they were just made.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        step = self._history.latest
        back = super().undo()
        if self._choice is not None and self._choice[0] is step:
            self._offer_again(*self._choice[1:])
        return back

    def rebase(self, image: Case) -> None:
        """Go on with other distances or other channels; what was offered of the image as it was is not there again.

        Parameters
        ----------
        image : Case
            The image as it is now, nothing decided.

        Raises
        ------
        ValueError
            If its shape is another.
        """
        super().rebase(image)
        self._choice = None

    def _offer_again(self, offer: Offer, looked_at: int) -> None:
        request = replace(offer.request, ticket=self._ticket)
        self._offer, self._looked_at = replace(offer, request=request), looked_at
        self._is_chosen = looked_at > 0

    def accept(self, i: int = 0) -> Step:
        """Go on with candidate ``i``.

        Parameters
        ----------
        i : int
            From 0, the best.

        Returns
        -------
        Step
            Not remembered if it changes nothing.

        Raises
        ------
        RuntimeError
            If nothing is on offer.
        IndexError
            If there is no such candidate.
        """
        offer = self._offer
        if offer is None:
            raise RuntimeError("there is nothing to choose from: call propose() first")
        if not len(offer.candidates):
            raise RuntimeError(NOTHING_LEFT)
        case = offer.candidates.accept(i)
        marked = hull(case.marked, self._case.marked)
        slab = tuple(s if s.stop - s.start == 1 else box for s, box in zip(offer.candidates.where, marked, strict=True))
        request, maker = offer.request, getattr(offer.maker, "name", "")
        arguments = {"i": int(i), "verb": request.verb, "request": dict(request.arguments), "maker": maker}
        changes = change_between("partial", self._case.partial[slab], case.partial[slab], slab)
        step = self._do("accept", arguments, changes + self._shown.changes_to(None))
        self._choice = step, offer, self._looked_at
        self.withdraw()  # also where it added nothing
        return step

    def accept_instead(self, candidates: Candidates, request: Request, *, completion: Any) -> Step:
        """Go on with another cut of what was accepted last: that is taken back, and this accepted in its place.

        Parameters
        ----------
        candidates : Candidates
            Of the same question.
        request : Request
            What was asked for, in the end.
        completion : Completion
            How they were cut.

        Raises
        ------
        RuntimeError
            If something was done since.
        """
        if (offer := self.accepted) is None:
            raise RuntimeError("nothing was accepted last that can be cut in another way: complete the object first")
        self.undo()
        self.offer(candidates, replace(request, ticket=self._ticket), maker=offer.maker, completion=completion)
        return self.accept(0)

    def _held(self, candidates: Candidates, plane: Plane | None) -> int:
        """Return the candidate that holds what was chosen before the latest stroke; the first where there is none."""
        if not self._is_chosen or len(candidates) < 2:
            return 0
        where = candidates.where
        shown = self._shown.markers[where] == Marker.OBJECT
        if not shown.any():
            return 0
        strokes = self._case.strokes[where]
        chosen = (shown | (strokes == Marker.OBJECT)) & (strokes != Marker.BACKGROUND)
        like_first = iou(candidates.patches[0] == Marker.OBJECT, chosen)
        if (kept := candidates.kept) is not None:
            here = self._case.at(plane)
            is_late = sum(n_strokes(here.strokes[here.drawn])) >= MIN_STROKES
            return kept if like_first < (DEPARTED_LATE if is_late else DEPARTED_EARLY) else 0
        likeness = [iou(patch == Marker.OBJECT, chosen) for patch in candidates.patches]
        best = int(np.argmax(likeness))
        return best if like_first < DEPARTED and likeness[best] > HELD else 0

    def _request(self, verb: str, arguments: Mapping[str, Any]) -> Request:
        told = {name: plain(value) for name, value in arguments.items()}
        steps, shown, sizes = self.steps, self._shown.evidence, self.sizes(told.get("plane"))
        finished = self._parts(self._labels_like()[0][-N_LATEST:]) if verb == "adapt" else ()
        expected = expected_dice(steps)
        return Request(verb, told, self._ticket, self._case, self.objects, steps, shown, expected, sizes, finished)

    def _on_show(self, drawn: Sequence[Region]) -> OnShow | None:
        """Return the object that the candidate on show leads to, or the one on show that is like finished ones."""
        if self._offer is None or not len(candidates := self._offer.candidates):
            return super()._on_show(drawn)
        i, request = self._looked_at, self._offer.request
        is_chosen = self._is_chosen and self._case.ndim_at(request.plane) == 3  # a network keeps less of it in a volume
        expected = FOUND if request.verb == "carry" or is_chosen else float(candidates.score[i])
        return OnShow(candidates.where, candidates.patches[i] == Marker.OBJECT, expected)
