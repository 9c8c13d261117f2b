"""Fine-tuning the completer to an image, by finished objects or by strokes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.tuning import Adapt
from napari_probseg.progress import counted
from napari_probseg.session.request import Request


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of fine-tuning: the completer before, and after; the same one if learning did not help it."""

    request: Request
    before: Any
    after: Any


def adapting(engine: Engine | Local, request: Request, model: Any, *, device: str) -> Generator[Any, None, Learnt]:
    """Fine-tune a completer to the image of a request, yielding what is done and how far it is."""
    n = len(request.finished)
    yield f"Learning from {counted(n, 'finished object')}…" if n else "Looking at the strokes…"
    asked = Adapt(request.question, model, request.plane, device, request.finished)
    before, after = yield from engine.answering(asked)
    return Learnt(request, before, after)
