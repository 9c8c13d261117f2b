"""Looking for objects like the finished ones: the engine is asked, and what it finds comes with pictures."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.similar import LOOKING, FindSimilar, LookBack
from napari_probseg.engine.thumbnails import Thumbnail
from napari_probseg.session.request import Request
from napari_probseg.similar.offer import Similar


@dataclass(frozen=True, eq=False)
class FoundAlike:
    """What was found.

    Parameters
    ----------
    request : Request
    similar : Similar
    pictures : list of Thumbnail
        One of each object, by its number.
    """

    request: Request
    similar: Similar
    pictures: list[Thumbnail]


def finding(
    engine: Engine | Local, request: Request, asked: FindSimilar, before: LookBack | None
) -> Generator[Any, None, FoundAlike]:
    """Ask, once what was finished on the image before is known, yielding what is told meanwhile."""
    yield LOOKING
    if before is not None:
        yield from engine.answering(before)
    similar, pictures = yield from engine.answering(asked)
    return FoundAlike(request, similar, pictures)
