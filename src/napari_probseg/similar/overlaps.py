"""Overlaps between objects that were found: of two that are the same one goes, and no voxel is offered twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_probseg.region import overlap, relative
from napari_probseg.similar.offer import SimilarObject

MAX_OVERLAP = 0.3  # of the smaller of two objects, beyond which the less likely one goes


def distinct(found: Sequence[SimilarObject]) -> list[SimilarObject]:
    """Return objects of which no two are the same, the likeliest first."""
    kept: list[SimilarObject] = []
    low = np.zeros((len(found), found[0].mask.ndim if found else 0))
    high = np.zeros_like(low)
    for o in sorted(found, key=lambda o: -o.score):
        start, stop = ([getattr(s, end) for s in o.where] for end in ("start", "stop"))
        n = len(kept)
        near = np.flatnonzero(((low[:n] < stop) & (high[:n] > start)).all(1))
        if not any(_overlap(o, kept[i]) > MAX_OVERLAP for i in near):
            low[n], high[n] = start, stop
            kept.append(o)
    return kept


def _overlap(a: SimilarObject, b: SimilarObject) -> float:
    """Return how much of the smaller object lies in the other."""
    both = overlap(a.where, b.where)
    if both is None:
        return 0.0
    n = np.count_nonzero(a.mask[relative(both, a.where)] & b.mask[relative(both, b.where)])
    return float(n / min(np.count_nonzero(a.mask), np.count_nonzero(b.mask)))


def without_overlaps(found: Sequence[SimilarObject]) -> list[SimilarObject]:
    """Return objects, the likeliest first, that share no voxel: what two claim is the likelier one's."""
    kept: list[SimilarObject] = []
    for o in found:
        mask = o.mask.copy()
        for other in kept:
            both = overlap(o.where, other.where)
            if both is not None:
                mask[relative(both, o.where)] &= ~other.mask[relative(both, other.where)]
        if mask.any():
            kept.append(replace(o, mask=mask))
    return kept
