"""Time series: an object is carried from one point in time to the next, each of which is an image or a volume."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Case, Marker
from napari_probseg.inference.frame import frames
from napari_probseg.morphology import MIN_RIM_VOXELS, with_rim
from napari_probseg.progress import result_of
from napari_probseg.region import Region, bounding_box, grown

EVIDENCE_MARGIN_RATIO = 0.5  # of the evidence around the object, over its size: about so far it may move
CORE_RATIO = 0.6  # of its greatest depth: what is deeper is its core, and what lies as far outside is background
MIN_CONTRAST_RATIO = 0.4  # of its contrast with what is around it, below which the object is taken to have ended
MIN_CONTRAST = 0.5  # contrast in standard deviations, from which it tells anything
MIN_GROWTH_RATIO = 0.1  # and where it shrinks to less than this from one point in time to the next
MAX_GROWTH_RATIO = 10.0  # or grows to so much more


def follow(completer: Proposer, cases: Sequence[Case]) -> NDArray[np.bool_]:
    """Return an object in all images of a time series, (T, Y, X) or (T, Z, Y, X).

    An image with a stroke inside, with an accepted object, or with a box (where the completer needs no stroke inside),
    is completed as it is. What was found is the evidence of
    the next one in time, both ways, as slices of a volume have it. It ends where nothing is left of the object, where
    it jumps in size, or where it does not differ from what is around it any more. Between two images with strokes each
    goes half of the way. Time is no length: nothing is said of how far apart the images are.

    Parameters
    ----------
    completer : Proposer
        For example ``napari_probseg.load_completer()``.
    cases : sequence of Case
        In order, of one shape; see `napari_probseg.io.Picture.cases`. Those with strokes inside, accepted objects or
        boxes say what is meant.

    Raises
    ------
    ValueError
        If no object is marked at any time, or the images differ in shape.
    """
    return result_of(following(completer, cases))


def following(completer: Proposer, cases: Sequence[Case]) -> Generator[str, None, NDArray[np.bool_]]:
    """Do what `follow` does image by image, so that it can be shown and given up.

    Yields
    ------
    str
        A sentence on each image.

    Raises
    ------
    ValueError
        As `follow`.
    """
    if not cases or any(case.shape != cases[0].shape for case in cases):
        shapes = sorted({case.shape for case in cases})
        raise ValueError(f"a time series has one or more images, all of the same shape; got {shapes}")
    found = np.zeros((len(cases), *cases[0].shape), dtype=bool)
    needs_marks = getattr(completer, "needs_marks", False)
    seeds = [t for t, case in enumerate(cases) if _tells(case, needs_marks=needs_marks)]
    if not seeds:
        raise ValueError("nothing is marked at any time: brush a little inside the object in one of the images")
    for t in seeds:
        found[t] = _answer(completer, cases[t])
        yield f"image {t}: {np.count_nonzero(found[t])} voxels"
    for t, way in _ways(seeds, len(cases)):
        contrast, before = _contrast(cases[t], found[t]), t
        for k in way:
            mask = found[before]
            if mask.any():
                told = _marked if needs_marks else _evident
                mask = _answer(completer, told(cases[k], mask))
            growth = int(np.count_nonzero(mask)) / max(1, int(np.count_nonzero(found[before])))
            has_faded = contrast > MIN_CONTRAST and _contrast(cases[k], mask) < MIN_CONTRAST_RATIO * contrast
            if has_faded or not MIN_GROWTH_RATIO <= growth <= MAX_GROWTH_RATIO:
                yield f"image {k}: the object ends"
                break
            found[k], before = mask, k
            yield f"image {k}: {np.count_nonzero(mask)} voxels"
    return found


def through_time(completer: Proposer, case: Case) -> Generator[str, None, Candidates]:
    """Follow an object through a time series that is one case, and offer what is found as one candidate.

    What is decided stays as it is.

    Yields
    ------
    str
        A sentence on each image.

    Raises
    ------
    ValueError
        If the case is no time series, no object is marked at any time, or no other image shows the object.
    """
    if not case.in_time:
        raise ValueError(f"only a time series has images to follow an object through; this image is {case.shape}")
    found = yield from following(completer, [case.plane(0, t) for t in range(case.shape[0])])
    box = bounding_box(found)
    margin = 0 if box is None else int(MIN_RIM_VOXELS) + max(s.stop - s.start for s in box[1:]) // 2
    margins = [0] + [margin] * (case.ndim - 1)  # none in time
    where: Region = (slice(0, 0),) * case.ndim if box is None else grown(box, margins, case.shape)
    before, mask = case.partial[where], found[where]
    open_ = before == Marker.UNKNOWN
    if not (open_ & mask).any():
        raise ValueError("the images before and after do not show the object: mark it in one more of them")
    rim = np.array([with_rim(one) for one in mask])
    patch = np.where(open_ & rim, np.uint8(Marker.BACKGROUND), before)
    patch = np.where(open_ & mask, np.uint8(Marker.OBJECT), patch)
    one = np.ones(1, dtype=np.float32)
    return Candidates(case, where, patch[None], one, one, (patch == Marker.OBJECT).astype(np.float32))


def _tells(case: Case, *, needs_marks: bool) -> bool:
    """Return whether an image says which object is meant."""
    if (case.partial[case.marked] == Marker.OBJECT).any():
        return True
    around = [] if needs_marks else frames(case)
    return any(case.partial[frame.where][frame.middle] == Marker.UNKNOWN for frame in around)


def _answer(completer: Proposer, case: Case) -> NDArray[np.bool_]:
    """Return the completer's object."""
    candidates = completer.propose(case, 1)
    partial = candidates.partial[0] if len(candidates) else case.partial
    return np.asarray(partial == Marker.OBJECT)


def _contrast(case: Case, mask: NDArray[np.bool_]) -> float:
    """Return how much an object differs from what is around it in its clearest channel, in standard deviations."""
    box = bounding_box(mask)
    if box is None:
        return 0.0
    width = max(2, min(s.stop - s.start for s in box) // 4)
    where = grown(box, [width + 1] * mask.ndim, mask.shape)
    inside = mask[where]
    near = ndimage.binary_dilation(inside, iterations=width) & ~ndimage.binary_dilation(inside)
    if not near.any():
        return 0.0
    values = case.read(where)
    spread = np.sqrt((values[:, inside].var(1) + values[:, near].var(1)) / 2)
    return float((np.abs(values[:, inside].mean(1) - values[:, near].mean(1)) / np.maximum(spread, 1e-6)).max())


def _ways(seeds: Sequence[int], n: int) -> list[tuple[int, list[int]]]:
    """Return ways to go: the image with marks that each begins at, and the images on it."""
    ways = []
    for before, t, after in zip([None, *seeds[:-1]], seeds, [*seeds[1:], None], strict=True):
        first = 0 if before is None else (before + t) // 2 + 1
        last = n - 1 if after is None else (t + after) // 2
        ways += [(t, list(range(t - 1, first - 1, -1))), (t, list(range(t + 1, last + 1)))]
    return ways


def _near(case: Case, before: NDArray[np.bool_]) -> Region:
    """Return the region that an object of the time before may have moved in."""
    box = bounding_box(before)
    assert box is not None  # else the way would have ended
    return grown(box, [1 + round(EVIDENCE_MARGIN_RATIO * (s.stop - s.start)) for s in box], case.shape)


def _evident(case: Case, before: NDArray[np.bool_]) -> Case:
    """Return a case for which the object at the time before is the evidence, as far as no stroke contradicts it."""
    where = _near(case, before)
    return case.with_shown(where, before[where])


def _marked(case: Case, before: NDArray[np.bool_]) -> Case:
    """Return a case in which what is undecided is so by the time before: its core is object, far around is none.

    It is for completers that evidence tells nothing.
    """
    where = _near(case, before)
    inside = np.pad(before[where], 1)
    depth = ndimage.distance_transform_edt(inside)[(slice(1, -1),) * before.ndim]
    away = ndimage.distance_transform_edt(~before[where])
    deepest = float(depth.max())
    patch = np.where(depth > CORE_RATIO * deepest, np.uint8(Marker.OBJECT), np.uint8(Marker.UNKNOWN))
    patch[away > CORE_RATIO * deepest] = Marker.BACKGROUND
    return case.decide(where, patch)
