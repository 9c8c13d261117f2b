"""Session: the one place with state, of one image from the first stroke to the last finished object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_probseg.candidates import NOTHING_LEFT, Candidates, Proposer
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.region import hull
from napari_probseg.session.alike import Alike
from napari_probseg.session.encoding import Stored
from napari_probseg.session.history import Change, Step, change_between
from napari_probseg.session.kept import Kept
from napari_probseg.session.learnt import with_learnt
from napari_probseg.session.request import Offer, Request, plain
from napari_probseg.session.shown import Answer

__all__ = ["Change", "Session", "Step"]


class Session(Alike, Kept):
    """One image from the first stroke to the last finished object; every step can be taken back.

    Parameters
    ----------
    case : Case
        The image, and what is decided of the first object.
    proposer : Proposer, optional
        What makes candidates; can be set later.
    completer : Proposer, optional
        What completes the object; can be set later.
    """

    def __init__(self, case: Case, proposer: Proposer | None = None, completer: Proposer | None = None) -> None:
        super().__init__(case)
        self.proposer, self._completer = proposer, completer
        self._offer: Offer | None = None
        self._looked_at = 0  # the candidate on show
        self._accepted: tuple[Step, Offer] | None = None  # the latest choice
        self._asked: Request | None = None
        self._ticket = 0  # of the state that the latest request is about; an answer with an earlier one comes too late

    # What there is ------------------------------------------------------------------------------------------------

    @property
    def candidates(self) -> Candidates | None:
        """What is on offer."""
        return None if self._offer is None else self._offer.candidates

    @property
    def on_offer(self) -> Offer | None:
        """What is on offer, with what was asked for it."""
        return self._offer

    @property
    def accepted(self) -> Offer | None:
        """What was accepted last, as long as nothing was done since, and it can be cut in another way."""
        if self._accepted is None or self._offer is not None or not self.can_undo:
            return None
        step, offer = self._accepted
        return offer if step is self._history.latest and offer.completion is not None else None

    @property
    def completer(self) -> Any:
        """What completes the object: the one that was set, fine-tuned to this image where that was done."""
        learnt, own = self.learnt, self._completer
        is_of_own = own is None or getattr(own, "name", "") == getattr(learnt, "name", "")
        return learnt if learnt is not None and is_of_own else own

    @completer.setter
    def completer(self, completer: Proposer | None) -> None:
        self._completer = completer

    @property
    def n_asked(self) -> int:
        """How many requests for candidates there were, which number their seeds."""
        return self._n_asked

    # Asking and choosing ------------------------------------------------------------------------------------------

    def ask(self, verb: str = "propose", **arguments: Any) -> Request:
        """Return a request to be answered here or elsewhere, and then put on `offer`.

        What is on offer is withdrawn, and answers to earlier requests come too late.

        Parameters
        ----------
        verb : str
            See `Request`.
        **arguments
            What is asked for: ``plane``, ``n``, options. Where ``seed`` is asked for and None, it counts up.
        """
        if verb == "propose":
            seed = arguments.get("seed")
            arguments["seed"] = seed = self._n_asked if seed is None else int(seed)
            self._n_asked = seed + 1
        self.withdraw()
        self._asked = self._request(verb, arguments)
        return self._asked

    def ask_others(self, **arguments: Any) -> Request:
        """Return the request on offer with the next seed, to be answered in its place; some arguments may be others."""
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
        self._offer, self._looked_at = Offer(candidates, request, maker, completion), 0
        return candidates

    def look_at(self, i: int) -> None:
        """Note which candidate is on show: the next stroke corrects that one."""
        if self._offer is None or not 0 <= i < len(self._offer.candidates):
            raise IndexError(f"there is no candidate {i} on offer")
        self._looked_at = int(i)

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
        """Return whether nothing was done since a request, and it was not withdrawn."""
        return request.ticket == self._ticket

    def withdraw(self) -> None:
        """Take the candidates off offer; the answer to a request that is still out comes too late."""
        self._ticket += 1
        self._offer = self._asked = None

    def propose(self, n: int = 8, *, seed: int | None = None, plane: Plane | None = None, **options: Any) -> Candidates:
        """Ask the proposer and put its candidates on offer.

        Parameters
        ----------
        n : int
            How many candidates at most.
        seed : int, optional
            Counts up with every request if absent.
        plane : (axis, index), optional
            The plane of a volume.
        **options
            Passed on to the proposer.
        """
        if self.proposer is None:
            raise RuntimeError("the session has no proposer: set session.proposer = napari_probseg.load_proposer()")
        request = self.ask(n=n, seed=seed, plane=plane, **options)
        candidates = self.proposer.propose(request.question, **request.arguments)
        return self.offer(candidates, request, maker=self.proposer)

    def complete(self, *, plane: Plane | None = None, **options: Any) -> Candidates:
        """Ask the completer for the whole object and put its answer on offer, as the one candidate.

        Parameters
        ----------
        plane : (axis, index), optional
            The plane of a volume; the volume if absent.
        **options
            Passed on to the completer (``smoothness``, ``edges``).
        """
        if self.completer is None:
            raise RuntimeError("the session has no completer: set session.completer = napari_probseg.load_completer()")
        request = self.ask("complete", plane=plane, **options)
        maker = self.completer
        return self.offer(maker.propose(request.question, 1, **request.arguments), request, maker=maker)

    def carry(self, *, plane: Plane | None = None, slices: tuple[int, int] | None = None, **options: Any) -> Candidates:
        """Carry an accepted slice of a volume to the others and put the result on offer, as the one candidate.

        Parameters
        ----------
        plane : (axis, index), optional
            The slice; the one along the first axis with the most strokes if absent.
        slices : (first, last), optional
            Where the object is known to begin and to end.
        **options
            Fields of `napari_probseg.proposers.slice_propagation.PropagationConfig`.
        """
        from napari_probseg.proposers.slice_propagation import PropagationConfig, SlicePropagator

        propagator = SlicePropagator(PropagationConfig(**options))
        request = self.ask("carry", plane=plane, slices=slices, **options)
        return self.offer(
            propagator.propose(request.question, 1, plane=plane, slices=slices), request, maker=propagator
        )

    def adapt(self, completer: Proposer | None = None, *, plane: Plane | None = None) -> Step:
        """Complete with a completer that is fine-tuned to this image from now on; `undo` brings the earlier one back.

        A saved session and a journal keep the weights that it changed.

        Parameters
        ----------
        completer : Proposer, optional
            One that is fine-tuned already; the session's own one is, if absent.
        plane : (axis, index), optional
            The plane of a volume that it learns from; the volume if absent.

        Raises
        ------
        RuntimeError
            If there is no completer, or it has no network.
        """
        if completer is None:
            if not hasattr(self.completer, "adapt"):
                raise RuntimeError(
                    "there is no network to fine-tune: set session.completer = napari_probseg.load_completer()"
                )
            completer = self.completer.adapt(self.ask("adapt", plane=plane).question, plane=plane)
        self.withdraw()
        arguments = {"plane": plain(plane), "maker": getattr(completer, "name", "")}
        return self._note(Step("adapt", arguments, learnt=completer))

    def forget(self) -> Step:
        """Complete with the completer again that knows nothing of this image."""
        if self.learnt is None:
            raise RuntimeError("nothing was learnt of this image: there is nothing to forget")
        self.withdraw()
        return self._note(Step("forget"))

    def reject(self) -> Candidates:
        """Ask for others: the same request with the next seed."""
        if self.proposer is None:
            raise RuntimeError("the session has no proposer: set session.proposer = napari_probseg.load_proposer()")
        request = self.ask_others()
        candidates = self.proposer.propose(request.question, **request.arguments)
        return self.offer(candidates, request, maker=self.proposer)

    def accept(self, i: int = 0) -> Step:
        """Go on with candidate ``i``."""
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
        self._accepted = step, offer
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

    # Keeping ------------------------------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        path: str | Path,
        image: Any,
        proposer: Proposer | None = None,
        completer: Proposer | None = None,
        *,
        any_image: bool = False,
    ) -> Session:
        """Return a saved session, with all its steps to undo and to do again; a journal is one, too.

        Parameters
        ----------
        path : path
        image : array
            The image that it was made on.
        proposer, completer : Proposer, optional
        any_image : bool
            Whether another image of the same shape will do.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file is missing, damaged, or was made on an image of another shape.
        OtherImageError
            If it was made on another image of the same shape.
        """
        from napari_probseg.session.storage import read_stored

        stored = read_stored(path)
        case = stored.case(image)
        stored.check(case, str(path), any_image=any_image)
        return cls.restored(with_learnt(stored, completer), case, proposer, completer)

    @classmethod
    def restored(
        cls, stored: Stored, case: Case, proposer: Proposer | None = None, completer: Proposer | None = None
    ) -> Session:
        """Return a session as it was stored, on a case of its image on which nothing is decided."""
        start = [(change.name, change.where, change.after) for change in stored.start.changes]
        session = cls(case.with_parts(start) if start else case, proposer, completer)
        session._resume(stored)
        return session

    def script(self, image: str = "image.tif") -> str:
        """Return a Python program that does again what was done.

        Parameters
        ----------
        image : str
            The path of the image, to be read by the program.
        """
        from napari_probseg.session.script import script_of

        proposer, completer = (getattr(maker, "name", "general") for maker in (self.proposer, self.completer))
        return script_of(self.start, self.steps, image, proposer=proposer, completer=completer)

    # Behind the verbs ---------------------------------------------------------------------------------------------

    def _request(self, verb: str, arguments: Mapping[str, Any]) -> Request:
        told = {name: plain(value) for name, value in arguments.items()}
        return Request(verb, told, self._ticket, self._case, self.objects, self.steps, self._shown.evidence)

    def _on_show(self) -> Answer | None:
        """Return the object that the candidate on show leads to, or the one on show that is like finished ones."""
        if not (candidates := self.candidates):
            return super()._on_show()
        return candidates.where, candidates.patches[self._looked_at] == Marker.OBJECT
