"""Distinct readings of the marks in an image: the completion, answers at other scales, and samples of the latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case
from napari_probseg.inference.alike import MIN_HELD, Alike
from napari_probseg.inference.answer import LAST_WINDOW_RATIO, Answer, answer, fine_size
from napari_probseg.inference.area import Area
from napari_probseg.inference.diversity import choose_distinct, pairwise_iou
from napari_probseg.inference.frame import bounds
from napari_probseg.inference.fusion import Looks, in_region, resampled
from napari_probseg.inference.held import corrected, given
from napari_probseg.inference.hint import with_hint
from napari_probseg.inference.inputs import window_input
from napari_probseg.inference.patches import EDGES, SMOOTHNESS, Patches
from napari_probseg.inference.windows import Window, window_on
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.advisers import with_outside
from napari_probseg.nn.appearance import appearance, seen_in
from napari_probseg.nn.general import Features
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.refiner import FINE_ADVISERS
from napari_probseg.region import Region, hull, n_voxels

N_WINDOWS = 3  # that samples are drawn in: those whose answers count most
N_DRAWN = 9  # in each window ...
N_STEPS = 3  # ... of which so many go a part of the way
REACH_STEP = 0.35  # of the reach that was asked for
GRID_SIDE = 128  # places along a side of the grid on which readings are compared
LOOKS_ALIKE = replace(FINE_ADVISERS, appearance_stride=2)  # by the strokes alone
NOT_OBJECT = -10.0  # log-odds of object, outside of a box around it
ALIKE_SCORE = 0.9  # of what is expected of the answer: all that looks alike comes after it
KEPT_SCORE = 1.0  # of what was on show, corrected: it comes right after the answer, where that is another one
MAX_CUT_PIXELS = 2**22


@dataclass(frozen=True)
class Readings:
    """Answers in windows, one map each.

    Parameters
    ----------
    window : (M,) list of Window
    object, decided : (M,) list of (S, S) tensors
        Logits of object, and of what is decided.
    score : (M,) float array
        The Dice that is expected, less what is cut off by the window.
    is_vote : (M,) bool array
        Which of them count for how many agree: the samples that go as far as was asked.
    """

    window: list[Window]
    object: list[Tensor]
    decided: list[Tensor]
    score: NDArray[np.float64]
    is_vote: NDArray[np.bool_]

    def inside(self) -> list[Tensor]:
        """Return what each takes as object, (M) of (S, S) bool."""
        return [(o > 0) & (d > 0) for o, d in zip(self.object, self.decided, strict=True)]

    def boxes(self, shape: tuple[int, ...]) -> list[Region | None]:
        """Return the pixels of an image of ``shape`` that hold the object of each, None where there is none."""
        return [w.region_of(inside, shape) for inside, w in zip(self.inside(), self.window, strict=True)]

    def chosen(self, index: list[int]) -> Readings:
        """Return some of them."""
        return Readings(
            [self.window[i] for i in index],
            [self.object[i] for i in index],
            [self.decided[i] for i in index],
            self.score[index],
            self.is_vote[index],
        )

    def within(self, regions: Sequence[Region]) -> Readings:
        """Return them as far as they lie in some regions of the image; all of them where there are no regions."""
        if not regions:
            return self
        pairs = zip(self.object, self.window, strict=True)
        return replace(self, object=[o.masked_fill(~w.places_in(regions, o.shape), NOT_OBJECT) for o, w in pairs])

    def __add__(self, other: Readings) -> Readings:
        """Return both."""
        return Readings(
            self.window + other.window,
            [*self.object, *other.object],
            [*self.decided, *other.decided],
            np.concatenate([self.score, other.score]),
            np.concatenate([self.is_vote, other.is_vote]),
        )


@torch.inference_mode()
def candidates_of(
    network: AdvisedCVAE,
    case: Case,
    n: int,
    *,
    seed: int,
    reach: float,
    device: torch.device,
    smoothness: float = SMOOTHNESS,
    edges: float = EDGES,
    answered: Answer | None = None,
) -> Candidates:
    """Return at most ``n`` candidates, the completion first; see `CVAEProposer.propose`."""
    hinted = _hinted(case)
    of_one = answered if answered is not None and answered.is_on(device) else answer(network, hinted, device)
    found = given(hinted, of_one)
    kept = _on_show(hinted, found, of_one)
    others = _drawn(network, case, of_one, seed=seed, reach=reach, device=device)
    others += _alike(hinted, of_one, device) if found is of_one else _also(of_one)
    readings = kept + others.within(bounds(case))
    boxes = [_box(case, found), *readings.boxes(case.shape)]
    most = _most_pixels(case, found)
    near = [i for i, box in enumerate(boxes[1:]) if n_voxels(_region(case, found, [boxes[0], box])) <= most]
    readings, boxes = readings.chosen(near), [boxes[0], *(boxes[1 + i] for i in near)]
    over, grid = _on_common_grid(case, found, readings, boxes)
    masks = grid.numpy() > 0.5  # (1 + M, GRID, GRID), the completion first
    score = np.concatenate([[2.0], readings.score])  # nothing comes before it
    votes = np.concatenate([[False], readings.is_vote])
    i_kept = 1 if kept.window and near[:1] == [0] else None
    choice = choose_distinct(pairwise_iou(masks), score, n, votes=votes, kept=i_kept)
    maps = [found.logit, *(_both(readings, i - 1) for i in choice.index if i > 0)]
    windows = [found.window, *(readings.window[i - 1] for i in choice.index if i > 0)]
    score[0] = found.confidence
    plausible = np.minimum(score[choice.index], found.confidence)
    seen = found.window.within(case.shape)
    where = _region(case, found, [boxes[i] for i in choice.index])
    how = {"smoothness": smoothness, "edges": edges}
    patches_of = Patches(case, where, window=seen, max_voxels=MAX_CUT_PIXELS, **how)
    patches, offered = patches_of.offered(
        patches_of.of(in_region(logit.sigmoid(), window, patches_of.where))
        for logit, window in zip(maps, windows, strict=True)
    )
    index = choice.index[offered].tolist()
    agreed = grid[1:][torch.from_numpy(readings.is_vote)].gt(0.5).float().mean(0)
    return Candidates(
        case,
        patches_of.where,
        np.stack(patches) if patches else np.zeros((0, *case.partial[patches_of.where].shape), dtype=np.uint8),
        plausible[offered].astype(np.float32),
        choice.share[offered],
        in_region(agreed, over, patches_of.where),
        index.index(i_kept) if i_kept in index else None,
    )


def _hinted(case: Case) -> Case:
    """Return a case with a mark inside where there is any ground for one; strokes outside alone are strokes, too."""
    try:
        return with_hint(case)
    except ValueError:
        if not case.strokes[case.drawn].any():
            raise
        return case


def _drawn(
    network: AdvisedCVAE, case: Case, found: Answer, *, seed: int, reach: float, device: torch.device
) -> Readings:
    """Return the answer of each window, and samples in those that count most."""
    looks = found.looks
    best = (looks.weight * ~looks.is_part).argsort(descending=True)[: min(N_WINDOWS, int((~looks.is_part).sum()))]
    best = best.sort().values
    features = _chosen(found.features, best.tolist())
    generator = torch.Generator().manual_seed(seed)
    k = len(best)
    z = torch.randn(k * N_DRAWN, network.n_latent, generator=generator)
    far = torch.full((N_DRAWN,), reach)
    far[N_DRAWN - N_STEPS :] *= REACH_STEP
    said = network.decode(features, z.to(device), far.repeat(k).to(device))
    object_, decided = (t.float().cpu() for t in (said.object, said.mask))
    windows = [looks.windows[i] for i in best for _ in range(N_DRAWN)]
    sampled = Looks.of(case, windows, torch.minimum(object_, decided), said.quality.float().cpu())
    score = torch.cat([looks.expected, sampled.expected]).double().numpy()
    score[len(looks.windows) :][np.tile(far.numpy() < reach, k)] *= 0.8  # a part of the way comes after the whole
    is_vote = np.concatenate([np.zeros(len(looks.windows), dtype=bool), np.tile(far.numpy() == reach, k)])
    return Readings(
        [*looks.windows, *windows],
        [*looks.logit, *object_],
        [*torch.full_like(looks.logit, 10.0), *decided],
        score,
        is_vote,
    )


def _chosen(batches: list[Features], windows: list[int]) -> Features:
    """Return the features of some windows, counted through all batches."""
    parts = {
        field.name: torch.cat([getattr(batch, field.name) for batch in batches])[windows]
        for field in fields(batches[0])
    }
    return type(batches[0])(**parts)


def _alike(case: Case, found: Answer, device: torch.device) -> Readings:
    """Return the readings that all that looks like the strokes inside is meant.

    One of them knows the strokes alone, in the widest affordable window, and the other what surrounds the answer, too:
    see `Alike`.
    """
    most = _most_pixels(case, found)
    affordable = [w for w in found.looks.whole.windows if w.n_voxels(case.shape) <= most]
    window = max(affordable or [found.window], key=lambda w: max(w.size))
    x = window_input(case, window, fine_size(window))[None].to(device)
    image, inside, outside = x[:, :-N_MARKS], x[:, -N_MARKS] > 0, x[:, 1 - N_MARKS] > 0
    readings = _none()
    if inside.any():
        marks = torch.stack([inside, with_outside(inside, outside)], 1)
        by_marks = appearance(seen_in(image, LOOKS_ALIKE), marks, LOOKS_ALIKE)[0, 0].cpu()
        readings += _whole(window, 2 * by_marks.clamp(-0.999, 0.999).atanh(), ALIKE_SCORE * found.confidence)
    if (seen := Alike.of(case)) is not None:
        readings += _whole(seen.window, seen.logit(found), ALIKE_SCORE * found.confidence)
    return readings


def _also(found: Answer) -> Readings:
    """Return an answer as a reading beside the one that is given in its place."""
    return _whole(found.window, found.logit, found.confidence)


def _on_show(case: Case, found: Answer, of_one: Answer) -> Readings:
    """Return the reading that what was on show is right but near the latest correction, if anything was.

    There is none where the answer is not the network's, but goes on with what was on show: all that looks alike.
    """
    shown = Area.shown(case)
    if shown is None or (found is not of_one and shown.dice(Area.of(found, case)) > MIN_HELD):
        return _none()
    kept = corrected(case, found, shown)
    return _whole(kept.window, kept.logit, KEPT_SCORE)


def _none() -> Readings:
    return Readings([], [], [], np.zeros(0), np.zeros(0, dtype=bool))


def _whole(window: Window, logit: Tensor, score: float) -> Readings:
    """Return one reading that decides everything."""
    return Readings([window], [logit], [torch.full_like(logit, 10.0)], np.array([score]), np.zeros(1, dtype=bool))


def _most_pixels(case: Case, found: Answer) -> int:
    """Return how many pixels a reading beside an answer may reach over with it, however large the image is."""
    return max(MAX_CUT_PIXELS, 2 * n_voxels(_region(case, found, [_box(case, found)])))


def _both(readings: Readings, i: int) -> Tensor:
    """Return logits of what a reading decides as object."""
    return torch.minimum(readings.object[i], readings.decided[i])


def _on_common_grid(case: Case, found: Answer, readings: Readings, boxes: list[Region | None]) -> tuple[Window, Tensor]:
    """Return a window that holds the readings, and their objects on a grid over it, the completion first."""
    seen = [box for box in boxes if box is not None]
    over = window_on(case, hull(*seen), margin=1.1) if seen else found.window
    maps = [resampled(found.logit.sigmoid()[None], found.window, over, GRID_SIDE)]
    of_each = zip(readings.window, readings.inside(), strict=True)
    for (window, _), maps_there in groupby(of_each, key=lambda one: (one[0], one[1].shape)):
        inside = torch.stack([inside for _, inside in maps_there])
        maps.append(resampled(inside.float(), window, over, GRID_SIDE))
    return over, torch.cat(maps)


def _box(case: Case, found: Answer) -> Region | None:
    """Return the pixels that hold the object of an answer, None if there is none."""
    return found.window.region_of(found.logit > 0, case.shape)


def _region(case: Case, found: Answer, boxes: list[Region | None]) -> Region:
    """Return the pixels that some readings beside an answer may change, of boxes that hold their objects."""
    seen = [box for box in boxes if box is not None]
    if not seen:
        return found.window.within(case.shape)
    return window_on(case, hull(*seen), margin=LAST_WINDOW_RATIO).within(case.shape)
