"""Request for objects like the finished ones, and their pictures."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
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
    """

    query: Query
    n: int
    model: Any
    axes: tuple[int, int]
    device: str

    def answer(self, resources: Resources) -> Generator[str | Progress, None, tuple[Similar, list[Thumbnail]]]:
        """Find them, telling of each part of the image that was looked through; return them with pictures."""
        yield LOADING
        completer = resources.completer(self.model, self.device)
        finder = resources.finder(completer)
        yield "Looking for others like it…"
        found = yield from finder.finding(self.query, self.n)
        return found, [picture_of(self.query.case, o, self.axes) for o in found.objects]


def picture_of(case: Case, found: SimilarObject, axes: tuple[int, int]) -> Thumbnail:
    """Return the picture of one object, with what lies around it."""
    margins = [3 + (s.stop - s.start) // 2 for s in found.where]
    near = grown(found.where, margins, case.shape)
    region = Case(case.read(near), case.spacing, channel_axis=0)
    inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(found.where, near, strict=True))
    patch = np.zeros((1, *region.shape), dtype=np.uint8)
    patch[0][inner][found.mask] = Marker.OBJECT
    one = np.full(1, found.score, dtype=np.float32)
    shown = Candidates(region, tuple(slice(0, n) for n in region.shape), patch, one, one, (patch[0] > 0).astype("f4"))
    picture = thumbnails(shown, axes, in_volume=case.ndim == 3)[0]
    return replace(picture, place=tuple(p + s.start for p, s in zip(picture.place, near, strict=True)))
