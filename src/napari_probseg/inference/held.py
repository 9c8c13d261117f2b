"""What is nearly right stays: where a new answer floods far more, a correction changes what lies near it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.alike import preferred
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.area import Area, probability_on
from napari_probseg.inference.places import Mask, corrections, grid_of, sampled
from napari_probseg.inference.windows import Window
from napari_probseg.region import Region, absolute, bounding_box, grown, hull
from napari_probseg.strokes import corrects_untold

MIN_EXPECTED = 0.85  # Dice that was expected of what was on show, from which on it is nearly right
MAX_GROWN = 10.0  # how many times as much a new answer may add to it
MIN_DEPTH = 3.0  # pixels: of a correction, at least
HELD_LOG_ODDS = 4.0  # of what stays
MIN_AGREED = 0.95  # Dice of an answer and of what strokes do not tell, corrected near them, from which on that stands


def given(case: Case, found: Answer) -> Answer:
    """Return what is answered: all that looks like the strokes where that is meant, else what `held` makes of it."""
    if corrects_untold(case):
        return corrected_untold(case, found)
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
    n_added = np.count_nonzero(answered.mask) - answered.n_shared(shown)
    return found if n_added <= MAX_GROWN * np.count_nonzero(shown.mask) else corrected(case, found, shown)


def corrected_untold(case: Case, found: Answer) -> Answer:
    """Return an object that strokes do not tell, changed near those that correct it alone.

    Few strokes, or none, are there of an object that was finished, carried, found alike, or read from a file, and the
    network, which knows no more than these, would make another object of it. Where the two agree, the network's border
    is taken.

    Parameters
    ----------
    case : Case
        An image, with that as evidence.
    found : Answer
        What a network made of it.
    """
    if (shown := Area.shown(case)) is None:
        return found
    near = corrected(case, found, shown, is_narrow=True)
    if Area.of(found, case).dice(Area.of(near, case)) < MIN_AGREED:
        return near
    return replace(found, confidence=case.expected_dice)  # the next stroke corrects it, too


def corrected(case: Case, found: Answer, shown: Area, *, is_narrow: bool = False) -> Answer:
    """Return what was on show with the latest correction: near a stroke inside it grows, near one outside it shrinks.

    It grows by what is object in an answer, and shrinks by what is not. Near is within the depth of the correction, see
    `held`.

    Parameters
    ----------
    case : Case
        An image.
    found : Answer
        What a network made of it.
    shown : Area
        What was on show when the latest stroke was drawn.
    is_narrow : bool
        See `changed_near`.
    """
    where = _reached(case, shown)
    is_old = shown.on(where)
    window = Window(tuple(s.start for s in where), is_old.shape)
    grid = grid_of(is_old.shape)
    missed, flooded = corrections(is_old, case.strokes[where], grid)
    new = probability_on(found, where, grid).clamp(1e-4, 1 - 1e-4).logit()
    min_depth = MIN_DEPTH * grid[0] / is_old.shape[0]
    logit = changed_near(missed, flooded, sampled(is_old, grid), new, min_depth=min_depth, is_narrow=is_narrow)
    return replace(found, window=window, logit=logit, confidence=case.expected_dice)


def _reached(case: Case, shown: Area) -> Region:
    """Return all that corrections of what was on show can reach: it is no deeper than half of its side."""
    inside = bounding_box(case.strokes[case.drawn] == Marker.OBJECT)
    drawn = () if inside is None else (absolute(inside, case.drawn),)
    margin = int(MIN_DEPTH) + max(s.stop - s.start for s in shown.where) // 2
    return grown(hull(shown.where, *drawn), [margin] * case.ndim, case.shape)


def changed_near(
    missed: Mask,
    flooded: Mask,
    is_old: Mask,
    new: Tensor,
    *,
    min_depth: float = MIN_DEPTH,
    is_narrow: bool = False,
) -> Tensor:
    """Return log-odds of an old object, changed to a new one near places that it missed or flooded; see `corrected`.

    Parameters
    ----------
    missed, flooded : (...) bool array
        Places of corrections, outside and inside of the old object.
    is_old : (...) bool array
    new : (...) tensor
        Log-odds of the new object.
    min_depth : float
        Of a correction, in places.
    is_narrow : bool
        Whether near what was missed is within the depth of the middle of a correction, not of its deepest place: a dab
        that is as wide as what a small object misses adds little more than itself.
    """
    is_new, inside = (new > 0).numpy(), ndimage.distance_transform_edt(is_old)
    outside = ndimage.distance_transform_edt(~is_old).clip(max=inside.max())
    grows = is_new & _near(missed, outside, min_depth, is_narrow=is_narrow)
    shrinks = ~is_new & _near(flooded, inside, min_depth)
    stays = torch.from_numpy((is_new != is_old) & ~grows & ~shrinks)
    old = torch.from_numpy(np.where(is_old, HELD_LOG_ODDS, -HELD_LOG_ODDS).astype(np.float32))
    return torch.where(stays, old, new)


def _near(correction: Mask, depth: NDArray[np.float64], least: float, *, is_narrow: bool = False) -> Mask:
    """Return what lies no farther from a correction than that lies deep, or than the least."""
    if not correction.any():
        return np.zeros_like(correction)
    reach = float(depth[correction].max())
    if is_narrow:
        least = min(least, reach / 2)
        reach -= float(ndimage.distance_transform_edt(np.pad(correction, 1)).max())
    return np.asarray(ndimage.distance_transform_edt(~correction) <= max(least, reach))
