"""Requests to an engine: plain values, each of which knows how it is answered where the networks are."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.engine.exhibit import Exhibit, exhibit
from napari_probseg.engine.models import Model, Resources
from napari_probseg.progress import counted
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.plane import in_volume

if TYPE_CHECKING:
    from napari_probseg.inference.answer import Answer

LOADING, LOOKING = "Loading the network…", "Looking at the image…"
Axes = tuple[int, int]


class Request(Protocol):
    """What can be answered in another process: a value that can be pickled, as can all that it yields and returns."""

    def answer(self, resources: Resources) -> Generator[Any, None, Any]:
        """Yield what is told meanwhile (a sentence, a `Progress`, a first `Found`); return the answer.

        Raises
        ------
        ValueError, TypeError, RuntimeError, LookupError, OSError, MemoryError
            With one sentence for the user.
        """
        ...


@dataclass(frozen=True, eq=False)
class Found:
    """Candidates, and what is shown of them.

    Parameters
    ----------
    candidates : Candidates
    exhibit : Exhibit
    options : mapping
        What was asked for beyond what the session's request says: of a proposer, or how it was cut.
    verb : str
        Who made them, as in `napari_probseg.session.request.Request`.
    """

    candidates: Candidates
    exhibit: Exhibit
    options: Mapping[str, Any] = field(default_factory=dict)
    verb: str = "propose"


@dataclass(frozen=True, eq=False)
class WarmUp:
    """Load what will be needed, before it is asked for; what cannot be loaded is told of then.

    Parameters
    ----------
    proposer, completer : Model, optional
    device : str
    """

    proposer: Model | None
    completer: Model | None
    device: str

    def answer(self, resources: Resources) -> Generator[str, None, None]:
        """Load them."""
        yield ""
        with suppress(Exception):
            if self.proposer is not None:
                resources.proposer(self.proposer, self.device)
            if self.completer is not None:
                resources.completer(self.completer, self.device)


@dataclass(frozen=True, eq=False)
class Propose:
    """Several ways to go on.

    Parameters
    ----------
    case : Case
    model : Model or Proposer
    arguments : mapping
        Of `Proposer.propose`: ``n``, ``seed``, ``plane`` (of a time series always).
    reach : float
        How far to grow, in (0, 1]; for proposers that can.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    device : str
    cut : CutConfig
        How candidates are cut out; for proposers that can.
    """

    case: Case
    model: Any
    arguments: Mapping[str, Any]
    reach: float
    axes: Axes
    device: str
    cut: CutConfig = field(default_factory=CutConfig)

    def answer(self, resources: Resources, answered: Answer | None = None) -> Generator[str, None, Found]:
        """Draw the candidates; what the same network answered already need not be asked again."""
        if isinstance(self.model, Model):
            yield LOADING
        proposer = resources.proposer(self.model, self.device)
        yield "Drawing candidates…"
        whole = self.case.ndim_at(self.arguments.get("plane")) == 3
        options = taken_by(proposer, reach=self.reach, **({"ndim": 3} if whole else {}), **_unusual(self.cut))
        if whole and "ndim" not in options and not self.case.in_time:
            raise ValueError("this network proposes on slices alone: choose Slice, or complete the volume")
        known = {} if answered is None else taken_by(proposer, answered=answered)
        candidates = proposer.propose(self.case, **{**self.arguments, **options, **known})
        advice = "Hover to look, click to accept."
        return Found(candidates, exhibit(candidates, self.axes, in_volume=whole, advice=advice), options)


@dataclass(frozen=True, eq=False)
class Complete:
    """The whole object; the same case is looked at once, however often it is cut.

    Parameters
    ----------
    case : Case
    model : Model or Completer
    plane : (axis, index), optional
        Of a volume, the whole volume if absent; of a time series which image.
    cut : CutConfig
    axes, device
        As for `Propose`.
    advice : str
        What to do with it, in a sentence.
    """

    case: Case
    model: Any
    plane: Plane | None
    cut: CutConfig
    axes: Axes
    device: str
    advice: str = "Accept it, move the sliders, or brush and complete again."

    def answer(self, resources: Resources) -> Generator[str, None, Found]:
        """Complete it."""
        yield LOADING
        resources.completer(self.model, self.device)
        yield LOOKING
        completion = self.looked(resources)
        yield "Cutting the object out…"
        return self._found(completion)

    @property
    def alone(self) -> Complete:
        """Itself: nothing else is asked for."""
        return self

    def cut_as(self, cut: CutConfig, axes: Axes) -> Complete:
        """Return the same request with another cut, on a canvas with these axes."""
        return replace(self, cut=cut, axes=axes)

    def looked(self, resources: Resources) -> Completion:
        """Return what the completer thinks of it."""
        completer = resources.completer(self.model, self.device)
        case, key = self.case.at(self.plane), (id(self.case), self.model, self.plane)
        _, completion = resources.completion(key, lambda: (self.case, completer.complete(case)))  # the id stays its own
        return completion  # type: ignore[no-any-return]

    def _found(self, completion: Completion) -> Found:
        candidates = in_volume(completion.candidates(self.cut), self.case, self.plane)
        whole = self.case.ndim_at(self.plane) == 3
        shown = exhibit(candidates, self.axes, in_volume=whole, advice=self.advice)
        return Found(candidates, shown, asdict(self.cut), "complete")


@dataclass(frozen=True, eq=False)
class Live:
    """The whole object as soon as it is there, and then other ways to go on, of which it is the first.

    Parameters
    ----------
    completion : Complete
    others : Propose, optional
        Drawn where their first is the completion, as it is of networks with advisers.
    """

    completion: Complete
    others: Propose | None = None

    @property
    def model(self) -> Any:
        """The model of the completion."""
        return self.completion.model

    @property
    def alone(self) -> Complete:
        """The whole object, without the others."""
        return self.completion

    def cut_as(self, cut: CutConfig, axes: Axes) -> Live:
        """Return the same request with another cut of all of them, on a canvas with these axes."""
        others = None if self.others is None else replace(self.others, cut=cut, axes=axes)
        return Live(self.completion.cut_as(cut, axes), others)

    def answer(self, resources: Resources) -> Generator[str | Found, None, Found]:
        """Complete the object, then propose."""
        found = yield from self.completion.answer(resources)
        if self.others is None or not _completes(resources.proposer(self.others.model, self.others.device)):
            return found
        yield found
        asked, others = self.completion, self.others
        is_same = (asked.model, asked.plane) == (others.model, others.arguments.get("plane"))
        answered = asked.looked(resources).answer if is_same and asked.case is others.case else None
        return (yield from others.answer(resources, answered))


@dataclass(frozen=True, eq=False)
class Carry:
    """An accepted slice, carried to its neighbours.

    Parameters
    ----------
    case : Case
    plane : (axis, index)
    axes : (int, int)
    """

    case: Case
    plane: Plane
    axes: Axes

    def answer(self, resources: Resources) -> Generator[str, None, Found]:
        """Carry it, telling of each slice."""
        from napari_probseg.proposers.slice_propagation import SlicePropagator

        yield "Carrying the object from slice to slice…"
        candidates = yield from SlicePropagator().propagating(self.case, self.plane)
        if not len(candidates):
            raise ValueError(
                "the slices beside this one do not show the object: accept it on one more slice, farther on"
            )
        n_slices = n_new_slices(candidates, axis=self.plane[0])
        advice = f"Carried to {counted(n_slices, 'slice')}: look through them and accept; where it goes wrong, correct."
        return Found(candidates, exhibit(candidates, self.axes, in_volume=True, advice=advice), verb="carry")


@dataclass(frozen=True, eq=False)
class Follow:
    """An object, followed through a time series from where it is marked or accepted.

    Parameters
    ----------
    case : Case
        A time series.
    model : Model or Completer
    axes : (int, int)
    device : str
    """

    case: Case
    model: Any
    axes: Axes
    device: str

    def answer(self, resources: Resources) -> Generator[str, None, Found]:
        """Follow it, telling of each image."""
        from napari_probseg.proposers.time_series import through_time

        yield LOADING
        completer = resources.completer(self.model, self.device)
        yield "Following the object through time…"
        candidates = yield from through_time(completer, self.case)
        images = counted(n_new_slices(candidates, axis=0), "image")
        advice = f"Followed through {images}: look through them and accept; where it goes wrong, correct."
        return Found(candidates, exhibit(candidates, self.axes, in_volume=True, advice=advice), verb="carry")


def taken_by(proposer: Any, **wanted: Any) -> dict[str, Any]:
    """Return those of the wanted options that a proposer takes."""
    taken = signature(proposer.propose).parameters
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values())
    return {name: value for name, value in wanted.items() if takes_all or name in taken}


def _unusual(cut: CutConfig) -> dict[str, float]:
    """Return what of a cut is otherwise than usual."""
    usual = CutConfig()
    return {name: value for name in ("smoothness", "edges") if (value := getattr(cut, name)) != getattr(usual, name)}


def _completes(proposer: Any) -> bool:
    """Return whether the first of the candidates that a proposer draws in an image is the whole object."""
    from napari_probseg.nn.advised import AdvisedCVAE

    return isinstance(getattr(proposer, "networks", {}).get(2), AdvisedCVAE)


def n_new_slices(candidates: Candidates, *, axis: int) -> int:
    """Return on how many slices across an axis the best candidate adds to the object."""
    before = candidates.case.partial[candidates.where]
    new = (candidates.patches[0] == Marker.OBJECT) & (before != Marker.OBJECT)
    return int(np.count_nonzero(new.any(tuple(other for other in range(new.ndim) if other != axis))))
