"""Completing: the engine looks at the image, and cuts again as a slider moves."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.requests import Complete, Live
from napari_probseg.proposers.completion import CutConfig
from napari_probseg.session.request import Request
from napari_probseg.widgets.tasks.propose import Answer, answer_of, answering, answering_both

FROM_WHAT_WAS_LEARNT = "From what was learnt of this image: accept it, move the sliders, or brush and go on."


def completing(
    engine: Engine | Local,
    request: Request,
    model: Any,
    cut: CutConfig,
    *,
    axes: tuple[int, int],
    device: str,
    is_learnt: bool = False,
) -> Generator[Any, None, Answer]:
    """Answer a request, yielding a sentence for each part of the work; the model may have learnt of the image."""
    yield "Looking at the strokes…"
    asked = Complete(request.question, model, request.plane, cut, axes, device)
    if is_learnt:
        asked = replace(asked, advice=FROM_WHAT_WAS_LEARNT)
    return (yield from _answering(engine, request, asked))


def cutting_again(engine: Engine | Local, request: Request, asked: Complete | Live) -> Generator[Any, None, Answer]:
    """Answer a request that was answered before, cut in another way: the network is not asked for the object again."""
    yield ""
    if isinstance(asked, Live):
        return (yield from answering_both(engine, request, asked))
    return (yield from _answering(engine, request, asked))


def _answering(engine: Engine | Local, request: Request, asked: Complete) -> Generator[Any, None, Answer]:
    return (yield from answering(engine, asked, lambda found: answer_of(request, found, asked.model, asked)))
