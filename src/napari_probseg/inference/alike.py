"""Another reading of strokes than one object: all that looks like them, and unlike what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.area import Area, probability_on
from napari_probseg.inference.inputs import resized, with_channels
from napari_probseg.inference.places import Mask, grid_of, on_grid, sampled
from napari_probseg.inference.windows import Window, window_for
from napari_probseg.morphology import numbered_parts
from napari_probseg.region import hull
from napari_probseg.unaries.pixel_classifier import Features, foresight, likeness, seen_features

MAX_PIXELS = 2**21  # of an image that is looked at as a whole
MAX_CHANNELS = 3
MAX_ANSWERED = 2**23  # pixels of the answer's window; of a larger one no other answer is looked for
MIN_INSIDE = 3  # strokes: a kind of thing shows in several places
MAX_SETTLED = 0.95  # Dice of the network's answer and what was on show, from which on it is settled
MIN_FORESIGHT = 0.5  # of the likeness ...
MIN_LEAD = 0.3  # ... and how much better than the network's it must be
MIN_SPREAD = 0.5  # share of what looks alike that lies in and around the box of the strokes inside
MAX_AGREEMENT = 0.65  # Dice of the two answers; where they agree more, there is nothing to choose
SAME = 0.75  # Dice of an answer and what was on show, from which on that is this answer
MIN_HELD = 0.6  # Dice of the likeness and what was on show, from which on that was a likeness
MIN_SPOKEN = 0.4  # how much a correction must speak for the likeness to take the network's place ...
MAX_SPOKEN = 0.85  # ... and may speak for the network's answer, or as much as for the likeness, where that stays
LIKELY = 0.5  # Dice that is expected of a likeness, at most: no network tells
MAX_CERTAINTY = 1e-4  # probabilities stay so far from 0 and 1


@dataclass(frozen=True)
class Alike:
    """What there is to be seen of a case on a grid over a window.

    Parameters
    ----------
    window : Window
        It lies in the image: all of it, or of a large one what is around the marks.
    features : (F, h, w) float32 array
        See `features_of`.
    inside, outside : (h, w) bool array
        The strokes.
    """

    window: Window
    features: Features
    inside: Mask
    outside: Mask

    @classmethod
    def of(cls, case: Case) -> Alike | None:
        """Return what there is to be seen of an image; None if nothing is marked inside, or it is constant."""
        if not (case.strokes[case.drawn] == Marker.OBJECT).any():
            return None
        where = window_for(case, MAX_PIXELS).within(case.shape)
        shape = tuple(s.stop - s.start for s in where)
        grid = grid_of(shape)
        image = case.read(where)
        if len(image) > MAX_CHANNELS:
            image = with_channels(image, MAX_CHANNELS)
        if grid != shape:
            image = resized(torch.from_numpy(image), grid).numpy()
        if not np.ptp(image):
            return None
        strokes = case.strokes[where]
        inside = on_grid(strokes == Marker.OBJECT, grid)
        outside = on_grid(strokes == Marker.BACKGROUND, grid) & ~inside
        window = Window(tuple(s.start for s in where), shape)
        return cls(window, seen_features(image), inside, outside) if inside.any() else None

    def foretold(self) -> float:
        """Return how well what half of the strokes look like foretells the others, in [0, 1]."""
        return foresight(self.features, self.inside, self.outside)

    def logit(self, found: Answer) -> Tensor:
        """Return log-odds of object, (h, w): what is object by an answer is no lesson of what surrounds it."""
        guess = probability_on(found, self.window.region, self.inside.shape).numpy()
        says = likeness(self.features, self.inside, self.outside, guess)
        return torch.from_numpy(says.clip(MAX_CERTAINTY, 1 - MAX_CERTAINTY)).logit()


def preferred(case: Case, found: Answer) -> Answer:
    """Return an answer, or all that looks like the strokes where that explains them and the answer does not.

    A person may mean a kind of thing that lies all over the image, such as vessels. Then the network, which looks for
    one object, does not foretell their strokes from each other, and what these look like does; it also changes its
    answer with each of them, and what they correct is much of what is wrong by the likeness. Where that was on show
    already it stays, until a person turns to another candidate, or corrects what is most wrong by the network's answer.

    Parameters
    ----------
    case : Case
        An image.
    found : Answer
        What a network made of it.
    """
    _, n_inside = numbered_parts(case.strokes[case.drawn] == Marker.OBJECT)
    if found.window.n_voxels(case.shape) > MAX_ANSWERED or n_inside < MIN_INSIDE:
        return found
    foretold, answered, shown = found.foretold, Area.of(found, case), Area.shown(case)
    was_shown = 0.0 if shown is None else shown.dice(answered)
    is_doubted = foretold is not None and foretold <= 1 - MIN_LEAD and was_shown < MAX_SETTLED
    is_other_shown = shown is not None and was_shown < SAME
    if not (is_doubted or is_other_shown) or (seen := Alike.of(case)) is None:
        return found
    alike = replace(found, window=seen.window, logit=seen.logit(found), confidence=min(found.confidence, LIKELY))
    mask = Area.of(alike, case)
    if shown is not None and shown.dice(mask) > max(was_shown, MIN_HELD):
        spoken = _spoken_for(answered, shown, case)
        return alike if spoken <= MAX_SPOKEN or spoken <= _spoken_for(mask, shown, case) else found
    if not is_doubted or mask.dice(answered) >= MAX_AGREEMENT or mask.spread(case) < MIN_SPREAD:
        return found
    if seen.foretold() < max(MIN_FORESIGHT, (foretold or 0.0) + MIN_LEAD):
        return found
    return alike if shown is None or _spoken_for(mask, shown, case) >= MIN_SPOKEN else found


def _spoken_for(other: Area, shown: Area, case: Case) -> float:
    """Return how much the latest correction of what was on show speaks for another answer, in [0, 1].

    People correct what is most wrong: how deep the correction lies in what differs, over the deepest place there, and
    how large the part is in which it lies, over the largest; the less of both.
    """
    where = hull(other.where, shown.where)
    grid = grid_of(tuple(s.stop - s.start for s in where))
    is_other, is_shown, strokes = other.on(where), shown.on(where), case.strokes[where]
    met, most = np.zeros(2), np.zeros(2)  # depth, size
    for wrong, corrected in (
        (is_other & ~is_shown, (strokes == Marker.OBJECT) & ~is_shown),
        (is_shown & ~is_other, (strokes == Marker.BACKGROUND) & is_shown),
    ):
        wrong, corrected = sampled(wrong, grid), on_grid(corrected, grid)
        depth = ndimage.distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1]
        number, _ = ndimage.label(wrong)
        size = np.bincount(number[wrong], minlength=1)[number] * wrong
        most = np.maximum(most, [depth.max(), size.max()])
        met = np.maximum(met, [depth[corrected].max(initial=0), size[corrected].max(initial=0)])
    return float((met / most).min()) if most.all() else 0.0
