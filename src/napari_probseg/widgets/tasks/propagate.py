"""Propagating an accepted slice through the volume, and an object through time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.models import Model
from napari_probseg.engine.requests import Carry, Follow, Found
from napari_probseg.session.request import Request
from napari_probseg.widgets.tasks.propose import Answer, answering


def propagating(engine: Engine | Local, request: Request, *, axes: tuple[int, int]) -> Generator[Any, None, Answer]:
    """Carry the slice of a request to its neighbours, yielding a sentence on each."""
    assert request.plane is not None

    def answer(found: Found) -> Answer:
        return Answer(request, Model("carry"), found.candidates, found.exhibit)

    return (yield from answering(engine, Carry(request.question, request.plane, axes), answer))


def following(
    engine: Engine | Local, request: Request, model: Any, *, axes: tuple[int, int], device: str
) -> Generator[Any, None, Answer]:
    """Follow the object of a request through time, yielding a sentence on each image."""

    def answer(found: Found) -> Answer:
        return Answer(request, model, found.candidates, found.exhibit)

    return (yield from answering(engine, Follow(request.question, model, axes, device), answer))
