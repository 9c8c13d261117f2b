"""Completing: the engine looks at the image, and cuts again as a slider moves."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.requests import Complete
from napari_probseg.proposers.completion import CutConfig
from napari_probseg.session.request import Offer, Request
from napari_probseg.widgets.tasks.propose import Answer, answer_of, answering

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


def cutting_again(
    engine: Engine | Local, offer: Offer, cut: CutConfig, *, axes: tuple[int, int]
) -> Generator[Any, None, Answer]:
    """Cut a completion on offer in another way: the network is not asked again."""
    yield ""
    return (yield from _answering(engine, offer.request, replace(offer.completion, cut=cut, axes=axes)))


def _answering(engine: Engine | Local, request: Request, asked: Complete) -> Generator[Any, None, Answer]:
    return (yield from answering(engine, asked, lambda found: answer_of(request, found, asked.model, asked)))
