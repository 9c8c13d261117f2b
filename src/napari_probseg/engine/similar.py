"""Requests for objects like the finished ones, with their pictures, and for what finished ones look like."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.engine.models import Resources
from napari_probseg.engine.requests import LOADING
from napari_probseg.engine.thumbnails import Thumbnail, thumbnails
from napari_probseg.progress import Progress
from napari_probseg.region import grown
from napari_probseg.similar.examples import Query
from napari_probseg.similar.offer import Similar, SimilarObject

LOOKING = "Looking for others like it…"
MIN_OWN = 3  # examples of an image, from which those of others are not needed


@dataclass(frozen=True, eq=False)
class FindSimilar:
    """Objects like some finished ones.

    Parameters
    ----------
    query : Query
    n : int
        At most.
    model : Model or Completer
        Whose network looks at them.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    device : str
    memory : path, optional
        Of a data set that is open: the file of the examples of its images.
    """

    query: Query
    n: int
    model: Any
    axes: tuple[int, int]
    device: str
    memory: Path | None = None

    @property
    def needs_others(self) -> bool:
        """Whether the image has few examples: then those of the images before help out."""
        return len(self.query.examples) < MIN_OWN

    def answer(self, resources: Resources) -> Generator[str | Progress, None, tuple[Similar, list[Thumbnail]]]:
        """Find them, telling of each part of the image that was looked through; return them with pictures.

        Where the image has few examples, those of the images before help out.
        """
        from napari_probseg.similar.finder import MAX_EXAMPLES

        yield LOADING
        completer = resources.completer(self.model, self.device)
        finder = resources.finder(completer)
        yield LOOKING
        known = _known(resources, finder, self.memory) if self.needs_others else []
        query = replace(self.query, known=tuple(known[-MAX_EXAMPLES:]))
        found = yield from finder.finding(query, self.n)
        _keep(resources, finder, query, self.memory)
        return found, [picture_of(self.query.case, o, self.axes) for o in found.objects]


@dataclass(frozen=True, eq=False)
class LookBack:
    """What the finished objects of an image look like, to be known in the next ones.

    Parameters
    ----------
    query : Query
        Of the image that was left.
    model : Model or Completer
        Whose network looks at them.
    device : str
    memory : path, optional
        Of a data set that is open: the file of the examples of its images.
    """

    query: Query
    model: Any
    device: str
    memory: Path | None = None

    def answer(self, resources: Resources) -> Generator[str, None, None]:
        """Look at them; those that are too small or too large to be like are passed over."""
        yield LOADING
        finder = resources.finder(resources.completer(self.model, self.device))
        yield LOOKING
        with suppress(ValueError):
            _keep(resources, finder, self.query, self.memory)


def _known(resources: Resources, finder: Any, memory: Path | None) -> list[Any]:
    """Return the examples of images before: those of a data set, and the latest ones."""
    from napari_probseg.similar.memory import joined, load_examples

    if memory is not None and memory.is_file():
        with suppress(ValueError):  # of other weights, or damaged: it is made anew
            return joined(load_examples(memory, finder.networks), resources.examples)
    return list(resources.examples)


def _keep(resources: Resources, finder: Any, query: Query, memory: Path | None) -> None:
    """Keep what the finished objects of an image look like, for other images."""
    from napari_probseg.similar.memory import MAX_KEPT, joined, save_examples

    if own := finder.examples_of(query):
        if memory is not None:
            save_examples(memory, joined(_known(resources, finder, memory), own), finder.networks)
        resources.examples = joined(resources.examples, own)[-MAX_KEPT:]


def picture_of(case: Case, found: SimilarObject, axes: tuple[int, int]) -> Thumbnail:
    """Return the picture of one object, with what lies around it."""
    margins = [
        0 if axis == "T" else 3 + (s.stop - s.start) // 2 for axis, s in zip(case.axes, found.where, strict=True)
    ]
    near = grown(found.where, margins, case.shape)
    values, axis = case.read(near), case.channel_axis
    image = values[0] if axis is None else np.moveaxis(values, 0, axis)  # which axis it is tells colours
    region = Case(image, case.spacing, axis, in_time=case.in_time)
    inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(found.where, near, strict=True))
    patch = np.zeros((1, *region.shape), dtype=np.uint8)
    patch[0][inner][found.mask] = Marker.OBJECT
    one = np.full(1, found.score, dtype=np.float32)
    shown = Candidates(region, tuple(slice(0, n) for n in region.shape), patch, one, one, (patch[0] > 0).astype("f4"))
    picture = thumbnails(shown, axes, in_volume=case.ndim == 3)[0]
    return replace(picture, place=tuple(p + s.start for p, s in zip(picture.place, near, strict=True)))
