"""Offer of objects like finished ones, ranked by how likely a person takes them; decisions re-rank the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_probseg.case import Plane
from napari_probseg.progress import counted
from napari_probseg.region import Part, Region, grown, overlap, relative
from napari_probseg.unaries.pixel_classifier import logistic_regression

DEFAULT_LINE = 0.6  # the default one: on training images 0.85 of what was offered above it was right
PAYS_FROM = 0.3  # how likely the likeliest must be: on training images looking then took less time than it saved
MIN_RIGHT_IOU = 0.5  # with the finished object that it became, from which what was offered was right
TAKEN_IOU = 0.9  # from which it was taken as it was
MAX_EARLIER = 200  # objects of earlier offers, of which what was decided still counts
MIN_LIKELIHOOD = 0.05  # how likely an object must be to be offered at all
DECIDED_SHARE = 0.5  # share of an object that is finished, from which it is decided
# What is known of an object that was found; all about 1 in size.
FACT_NAMES = (
    "estimate",
    "response",
    "inside",
    "rim",
    "other size",
    "size",
    "solidity",
    "other form",
    "other intensity",
    "sureness",
    "at the edge",
    "agreement",
)
# How each counts before any decision in an image, and in a volume, and the offset: fitted on images of the training
# parts of ten data sets, and from there on volumes of two, each left out in turn to see that it holds.
PRIOR_WEIGHTS = {
    2: (0.77, 0.67, 0.33, -0.08, -0.57, 0.39, 0.24, -0.35, -0.34, 0.61, 0.09, 0.42, -0.54),
    3: (0.78, 0.76, 0.56, -0.28, -0.41, 0.45, 0.21, -0.33, 0.0, 0.79, 0.09, 0.42, -0.3),
}
# Ridge penalty of what is learnt from decisions, around the prior: one skip moves the like of it by about 1.
PRIOR_STIFFNESS = 12.0


@dataclass(frozen=True, eq=False)
class SimilarObject:
    """An object that was found.

    Parameters
    ----------
    where : tuple of slices
    mask : bool array of the region's shape
    facts : tuple of float
        See `FACT_NAMES`.
    score : float
        How likely it is that a person takes it, in [0, 1].
    number : int
        It keeps it when the others are ranked anew.
    """

    where: Region
    mask: NDArray[np.bool_]
    facts: tuple[float, ...]
    score: float
    number: int = 0

    def in_series(self, plane: Plane | None) -> SimilarObject:
        """Return the object of one image of a time series as one of the series; itself if none is named."""
        if plane is None:
            return self
        return replace(self, where=(slice(plane[1], plane[1] + 1), *self.where), mask=self.mask[None])

    def without(self, objects: NDArray[np.uint32]) -> SimilarObject:
        """Return what is left of it beside finished objects."""
        is_free = objects[self.where] == 0
        return self if is_free[self.mask].all() else replace(self, mask=self.mask & is_free)

    def share_of(self, part: Part) -> float:
        """Return the intersection over union with another mask."""
        both = overlap(self.where, part.where)
        if both is None:
            return 0.0
        mine, theirs = self.mask[relative(both, self.where)], part.mask[relative(both, part.where)]
        n_both = int(np.count_nonzero(mine & theirs))
        return n_both / max(1, int(np.count_nonzero(self.mask)) + int(np.count_nonzero(part.mask)) - n_both)


@dataclass(frozen=True, eq=False)
class Decisions:
    """What was decided in an image.

    Parameters
    ----------
    objects : uint32 array of the image's shape
        The finished objects.
    skipped : sequence of Part
        What is not meant.
    """

    objects: NDArray[np.uint32]
    skipped: Sequence[Part]

    def became(self, o: SimilarObject) -> float | None:
        """Return the IoU of an object that was offered with the finished one that it became; None if it is open.

        It became one if it is mostly finished, in whatever way.
        """
        inside = self.objects[o.where][o.mask]
        numbers, counts = np.unique(inside[inside > 0], return_counts=True)
        if not counts.size or counts.sum() < DECIDED_SHARE * inside.size:
            return None
        near = grown(o.where, [s.stop - s.start for s in o.where], self.objects.shape)
        n_both = int(counts.max())
        return n_both / (inside.size + int(np.count_nonzero(self.objects[near] == numbers[counts.argmax()])) - n_both)

    def about(self, o: SimilarObject) -> float | None:
        """Return whether an object that was offered was right, 1, or wrong, 0; None if that is not decided.

        It was right if it became one that is much the same, and wrong if that was drawn otherwise, or it was skipped.
        """
        iou = self.became(o)
        if iou is not None:
            return float(iou >= MIN_RIGHT_IOU)
        return 0.0 if any(o.share_of(part) >= DECIDED_SHARE for part in self.skipped) else None


@dataclass(frozen=True, eq=False)
class Similar:
    """Objects like finished ones, the most likely first.

    Parameters
    ----------
    objects : tuple of SimilarObject
    n_examples : int
        How many finished objects they are like.
    like : int
        The number of the latest of these: what is taken is of its class.
    earlier : tuple of SimilarObject
        Of earlier offers in the image: what was decided of them counts for these, too.
    ndim : int
        Axes of what was looked at: 2 of an image, also of one in a time series; 3 of a volume.
    """

    objects: tuple[SimilarObject, ...]
    n_examples: int = 0
    like: int = 0
    earlier: tuple[SimilarObject, ...] = ()
    ndim: int = 2

    def __len__(self) -> int:
        return len(self.objects)

    def __str__(self) -> str:
        return (
            f"{counted(len(self), 'object')} alike, {len(self.above())} of them likely"
            if self.objects
            else NOTHING_ALIKE
        )

    @property
    def pays(self) -> bool:
        """Whether the likeliest is so likely that a look at it takes less time than it saves."""
        return bool(self.above(PAYS_FROM))

    def above(self, line: float = DEFAULT_LINE) -> tuple[SimilarObject, ...]:
        """Return those that are at least as likely."""
        return tuple(o for o in self.objects if o.score >= line)

    def decided(self, decisions: Decisions) -> Similar:
        """Return what is left after some decisions, ranked anew by them."""
        both = [(o, decisions.about(o)) for o in (*self.earlier, *self.objects)]
        known = [(o.facts, verdict) for o, verdict in both if verdict is not None]
        left = [o.without(decisions.objects) for o, verdict in both[len(self.earlier) :] if verdict is None]
        weights = learnt_weights([facts for facts, _ in known], [verdict for _, verdict in known], self.ndim)
        again = [replace(o, score=float(expit(weights[:-1] @ np.asarray(o.facts) + weights[-1]))) for o in left]
        return replace(self, objects=tuple(sorted(again, key=lambda o: -o.score)))


NOTHING_ALIKE = (
    "nothing else here looks like the finished objects: finish one or two more that differ, or go on one by one"
)


def learnt_weights(facts: Sequence[Sequence[float]], verdicts: Sequence[float], ndim: int = 2) -> NDArray[np.float64]:
    """Return how much each fact counts, and the offset: the prior, moved by decisions (Bayes, Laplace's mode)."""
    prior = np.asarray(PRIOR_WEIGHTS[ndim], dtype=float)
    if not facts:
        return prior
    x, y = np.asarray(facts, dtype=float), np.asarray(verdicts, dtype=float)
    slope, offset = logistic_regression(x, y, np.ones(len(y)), ridge=PRIOR_STIFFNESS, start=prior)
    return np.append(slope, offset)


def score_of(facts: Sequence[float], ndim: int = 2) -> float:
    """Return how likely an object of an image, or of a volume, is taken, before any decision."""
    *weights, offset = PRIOR_WEIGHTS[ndim]
    return float(expit(np.dot(weights, facts) + offset))
