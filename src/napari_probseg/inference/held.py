"""What is nearly right stays: where a new answer floods far more, a correction changes what lies near it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from napari_probseg.case import Case, Marker
from napari_probseg.inference.alike import preferred
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.area import Area, Mask, grid_of, on_grid, probability_on, sampled
from napari_probseg.inference.windows import Window
from napari_probseg.region import hull

MIN_EXPECTED = 0.85  # Dice that was expected of what was on show, from which on it is nearly right
MAX_GROWN = 10.0  # how many times as much a new answer may add to it
MIN_DEPTH = 3.0  # pixels: of a correction, at least
HELD_LOG_ODDS = 4.0  # of what stays


def given(case: Case, found: Answer) -> Answer:
    """Return what is answered: all that looks like the strokes where that is meant, else what `held` makes of it."""
    other = preferred(case, found)
    return held(case, found) if other is found else other


def held(case: Case, found: Answer) -> Answer:
    """Return an answer, or what was on show changed near the latest correction alone.

    A network sees all strokes anew with each of them, and a stroke on a second part, far from the first, can make it
    take all between them, and all around, for the object. Where much was expected of what was on show, an answer that
    adds more than ten times as much counts near the correction alone: within its depth, which is how far it lies inside
    of what it takes away, or from what it adds to (but no more than the object is deep).

    Parameters
    ----------
    case : Case
        An image.
    found : Answer
        What a network made of it.
    """
    shown = Area.shown(case)
    if shown is None or case.expected_dice < MIN_EXPECTED:
        return found
    answered = Area.of(found, case)
    where = hull(answered.where, shown.where)
    is_new, is_old, strokes = answered.on(where), shown.on(where), case.strokes[where]
    if np.count_nonzero(is_new & ~is_old) <= MAX_GROWN * np.count_nonzero(is_old):
        return found
    window = Window(tuple(s.start for s in where), is_old.shape)
    grid = grid_of(is_old.shape)
    corrected = is_old != np.where(strokes == Marker.UNKNOWN, is_old, strokes == Marker.OBJECT)
    is_old = sampled(is_old, grid)
    is_near = _near(on_grid(corrected, grid), is_old, min_depth=MIN_DEPTH * grid[0] / is_new.shape[0])
    new = probability_on(found, where, grid).clamp(1e-4, 1 - 1e-4).logit()
    stays = torch.from_numpy(~is_near & ((new > 0).numpy() != is_old))
    old = torch.from_numpy(np.where(is_old, HELD_LOG_ODDS, -HELD_LOG_ODDS).astype(np.float32))
    return replace(found, window=window, logit=torch.where(stays, old, new), confidence=case.expected_dice)


def _near(corrected: Mask, is_old: Mask, *, min_depth: float) -> Mask:
    """Return what lies near a correction of an old object, on a grid."""
    if not corrected.any():
        return np.zeros_like(corrected)
    inside, outside = (ndimage.distance_transform_edt(mask) for mask in (is_old, ~is_old))
    depth = float(np.where(is_old, inside, outside)[corrected].max())
    reach = max(min_depth, min(depth, float(inside.max())))
    return np.asarray(ndimage.distance_transform_edt(~corrected) <= reach)
