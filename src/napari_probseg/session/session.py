"""Session: the one place with state, of one image from the first stroke to the last finished object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Case, Plane
from napari_probseg.progress import result_of
from napari_probseg.session.encoding import Stored
from napari_probseg.session.history import Change, Step
from napari_probseg.session.kept import Kept
from napari_probseg.session.learnt import with_learnt
from napari_probseg.session.offers import Offers
from napari_probseg.session.request import plain

__all__ = ["Change", "Session", "Step"]


class Session(Offers, Kept):
    """One image from the first stroke to the last finished object; every step can be taken back.

    Parameters
    ----------
    case : Case
        The image, and what is decided of the first object.
    proposer : Proposer, optional
        What makes candidates; can be set later.
    completer : Proposer, optional
        What completes the object; can be set later.

    Raises
    ------
    TypeError
        If it is no case.
    """

    def __init__(self, case: Case, proposer: Proposer | None = None, completer: Proposer | None = None) -> None:
        if not isinstance(case, Case):
            raise TypeError(f"a session is of a case, got {type(case).__name__}: make one of the image, Case(image)")
        super().__init__(case)
        self._proposer, self._completer = proposer, completer

    @property
    def learnt(self) -> Any:
        """The completer that was fine-tuned to this image last, if that was neither undone nor forgotten."""
        for step in reversed(self.steps):
            if step.verb == "forget":
                break
            if step.learnt is not None and not isinstance(step.learnt, bytes):
                return step.learnt
        return None

    @property
    def lacks_learnt(self) -> bool:
        """Whether it was fine-tuned to the image, and what came of that is not at hand: another file, other weights."""
        last = next((step for step in reversed(self.steps) if step.verb in ("adapt", "forget")), None)
        return last is not None and last.verb == "adapt" and isinstance(last.learnt, bytes | None)

    @property
    def completer(self) -> Any:
        """What completes the object: the one that was set, fine-tuned to this image where that was done; can be set."""
        return self.learnt if self._has_learnt(self._completer) else self._completer

    @completer.setter
    def completer(self, completer: Proposer | None) -> None:
        self._completer = completer

    @property
    def proposer(self) -> Any:
        """What makes candidates: the one that was set, by fine-tuned networks where that was done; can be set."""
        own = self._proposer
        return getattr(self.learnt, "proposer", own) if self._has_learnt(own) else own

    @proposer.setter
    def proposer(self, proposer: Proposer | None) -> None:
        self._proposer = proposer

    def _has_learnt(self, own: Any) -> bool:
        """Return whether what was fine-tuned to this image is in the place of one that was set, of the same weights."""
        learnt = self.learnt
        return learnt is not None and (own is None or getattr(own, "name", "") == getattr(learnt, "name", ""))

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

        Returns
        -------
        Candidates

        Raises
        ------
        RuntimeError
            If no proposer was set.
        ValueError
            If nothing is marked, or an argument is out of range.
        """
        proposer = self._required_proposer()
        request = self.ask(n=n, seed=seed, plane=plane, **options)
        return self.offer(proposer.propose(request.question, **request.arguments), request, maker=proposer)

    def complete(self, *, plane: Plane | None = None, **options: Any) -> Candidates:
        """Ask the completer for the whole object and put its answer on offer, as the one candidate.

        Parameters
        ----------
        plane : (axis, index), optional
            The plane of a volume; the volume if absent.
        **options
            Passed on to the completer (``smoothness``, ``edges``).

        Returns
        -------
        Candidates

        Raises
        ------
        RuntimeError
            If no completer was set.
        ValueError
            If nothing is marked, or an argument is out of range.
        """
        if self.completer is None:
            raise RuntimeError("the session has no completer: set session.completer = napari_probseg.load_completer()")
        request = self.ask("complete", plane=plane, **options)
        maker = self.completer
        return self.offer(maker.propose(request.question, 1, **request.arguments), request, maker=maker)

    def carry(self, *, plane: Plane | None = None, slices: tuple[int, int] | None = None, **options: Any) -> Candidates:
        """Carry an accepted slice of a volume to the others and put the result on offer, as the one candidate.

        In a time series the completer follows the object from each image that it is marked or accepted in.

        Parameters
        ----------
        plane : (axis, index), optional
            The slice; the one along the first axis with the most strokes if absent.
        slices : (first, last), optional
            Where the object is known to begin and to end.
        **options
            Fields of `napari_probseg.proposers.slice_propagation.PropagationConfig`.

        Returns
        -------
        Candidates

        Raises
        ------
        RuntimeError
            If it is a time series, and no completer was set.
        ValueError
            If the image is no volume or time series, or no object is accepted on the slice.
        """
        if self.case.in_time:
            return self._follow(plane, **options, **({} if slices is None else {"slices": slices}))
        from napari_probseg.proposers.slice_propagation import PropagationConfig, SlicePropagator

        propagator = SlicePropagator(PropagationConfig(**options))
        request = self.ask("carry", plane=plane, slices=slices, **options)
        return self.offer(
            propagator.propose(request.question, 1, plane=plane, slices=slices), request, maker=propagator
        )

    def _follow(self, plane: Plane | None, **options: Any) -> Candidates:
        """Follow the object through time and put the result on offer."""
        from napari_probseg.proposers.time_series import through_time

        if options:
            raise ValueError(f"a time series is followed as it is, from image to image: leave out {', '.join(options)}")
        if self.completer is None:
            raise RuntimeError("the session has no completer: set session.completer = napari_probseg.load_completer()")
        request = self.ask("carry", plane=plane)
        found = result_of(through_time(self.completer, request.question))
        return self.offer(found, request, maker=self.completer)

    def adapt(self, completer: Proposer | None = None, *, plane: Plane | None = None) -> Step:
        """Complete, and propose, by networks that are fine-tuned to this image from now on; `undo` brings back others.

        It learns from the latest finished objects, of the class of the latest one; where there is none, from its own
        answer and the strokes on the object in work. A saved session and a journal keep the weights that it changed.

        Parameters
        ----------
        completer : Proposer, optional
            One that is fine-tuned already; the session's own one is, if absent.
        plane : (axis, index), optional
            The plane of a volume that it learns from; the volume if absent.

        Returns
        -------
        Step

        Raises
        ------
        RuntimeError
            If there is no completer, or it has no network.
        ValueError
            If nothing is finished and only one side of the border is marked, or what is finished is too small.
        """
        if completer is None:
            if not hasattr(self.completer, "adapt"):
                raise RuntimeError(
                    "there is no network to fine-tune: set session.completer = napari_probseg.load_completer()"
                )
            request = self.ask("adapt", plane=plane)
            if request.finished and hasattr(self.completer, "learn"):
                completer = self.completer.learn(request.case, request.finished, plane=plane)
            else:
                completer = self.completer.adapt(request.question, plane=plane)
        self.withdraw()
        arguments = {"plane": plain(plane), "maker": getattr(completer, "name", "")}
        return self._note(Step("adapt", arguments, learnt=completer))

    def forget(self) -> Step:
        """Complete with the completer again that knows nothing of this image.

        Raises
        ------
        RuntimeError
            If nothing was learnt of it.
        """
        if self.learnt is None:
            raise RuntimeError("nothing was learnt of this image: there is nothing to forget")
        self.withdraw()
        return self._note(Step("forget"))

    def reject(self) -> Candidates:
        """Ask for others: the same request with the next seed.

        Returns
        -------
        Candidates

        Raises
        ------
        RuntimeError
            If no proposer was set, or no candidates of one are on offer.
        """
        proposer = self._required_proposer()
        request = self.ask_others()
        return self.offer(proposer.propose(request.question, **request.arguments), request, maker=proposer)

    def _required_proposer(self) -> Any:
        if (proposer := self.proposer) is None:
            raise RuntimeError("the session has no proposer: set session.proposer = napari_probseg.load_proposer()")
        return proposer

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
            Of what `save` or `keep` wrote.
        image : array
            The image that it was made on.
        proposer, completer : Proposer, optional
            As for `Session`.
        any_image : bool
            Whether another image of the same shape will do.

        Returns
        -------
        Session

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
        """Return a session as it was stored, for callers that have read it already.

        Parameters
        ----------
        stored : Stored
            What was read.
        case : Case
            Its image, on which nothing is decided.
        proposer, completer : Proposer, optional
            As for `Session`.
        """
        start = [(change.name, change.where, change.after) for change in stored.start.changes]
        case = case.with_sizes(stored.sizes)
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
