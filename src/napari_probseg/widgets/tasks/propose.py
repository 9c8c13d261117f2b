"""Proposing: a request of a session is put to the engine, and what it finds becomes an answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from napari_probseg.candidates import Candidates
from napari_probseg.engine.client import Engine
from napari_probseg.engine.exhibit import Exhibit
from napari_probseg.engine.local import Local
from napari_probseg.engine.requests import Complete, Found, Live, Propose
from napari_probseg.proposers.completion import CutConfig
from napari_probseg.session.request import Request


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a request, for `Session.offer`: candidates, who made them, and what is shown of them.

    Parameters
    ----------
    request : Request
    maker : Model or Proposer
        What made them.
    candidates : Candidates
    exhibit : Exhibit
    completion : Complete or Live, optional
        What was asked of a completer, and of a proposer beside it: with another cut, it is cut anew.
    """

    request: Request
    maker: Any
    candidates: Candidates
    exhibit: Exhibit
    completion: Complete | Live | None = None


def proposing(
    engine: Engine | Local,
    request: Request,
    model: Any,
    *,
    cut: CutConfig,
    reach: float,
    axes: tuple[int, int],
    device: str,
) -> Generator[Any, None, Answer]:
    """Answer a request, yielding what is told meanwhile.

    Parameters
    ----------
    engine : Engine or Local
    request : Request
    model : Model or Proposer
    cut : CutConfig
        How candidates are cut out; for proposers that can.
    reach : float
        How far to grow, in (0, 1]; for proposers that can.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    device : str
        Where the network runs.
    """
    yield "Looking at the strokes…"
    asked = Propose(request.question, model, request.arguments, reach, axes, device, cut)
    return (yield from answering(engine, asked, lambda found: answer_of(request, found, model)))


def going_along(
    engine: Engine | Local,
    request: Request,
    proposer: Any,
    completer: Any,
    *,
    cut: CutConfig,
    reach: float,
    axes: tuple[int, int],
    device: str,
) -> Generator[Any, None, Answer]:
    """Answer after a stroke: the whole object first, then other ways to go on, where there is a proposer of them.

    Parameters
    ----------
    proposer : Model or Proposer, optional
    completer : Model or Completer, optional
        One of the two at least.
    others
        As for `proposing` and `completing`.
    """
    yield ""
    others = None
    if proposer is not None:
        others = Propose(request.question, proposer, request.arguments, reach, axes, device, cut)
    if completer is None:
        return (yield from answering(engine, others, lambda found: answer_of(request, found, proposer)))
    look = "" if others is None else " look at the others,"
    advice = f"Accept it,{look} or brush on: the answer follows."
    completion = Complete(request.question, completer, request.plane, cut, axes, device, advice)
    return (yield from answering_both(engine, request, Live(completion, others)))


def answering_both(engine: Engine | Local, request: Request, live: Live) -> Generator[Any, None, Answer]:
    """Yield the whole object as an answer, and return the other ways to go on beside it, if they are asked for."""

    def answer(found: Found) -> Answer:
        if live.others is None or found.verb == "complete":
            return answer_of(request, found, live.model, live)
        asked = replace(request, verb="propose", arguments=live.others.arguments)
        return answer_of(asked, found, live.others.model, live)

    return (yield from answering(engine, live, answer))


def answer_of(request: Request, found: Found, maker: Any, completion: Complete | Live | None = None) -> Answer:
    """Return what was found as the answer to a request; a completion is told as one."""
    if found.verb == "complete" != request.verb:
        request = replace(request, verb="complete", arguments={"plane": request.plane, **found.options})
    else:
        request = request.with_arguments(**found.options)
    return Answer(request, maker, found.candidates, found.exhibit, completion)


def answering(engine: Engine | Local, asked: Any, answer: Callable[[Any], Any]) -> Generator[Any, None, Any]:
    """Put something to the engine; yield what it tells, its first finds as answers; return the answer."""
    steps = engine.answering(asked)
    try:
        while True:
            told = next(steps)
            yield answer(told) if isinstance(told, Found) else told
    except StopIteration as stop:
        return answer(stop.value)
    finally:
        steps.close()
