"""Distinct readings of the marks in a volume: the completion, each network's own answer, and samples of the latent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Evidence
from napari_probseg.inference.diversity import choose_distinct, pairwise_iou
from napari_probseg.inference.grid import Grid
from napari_probseg.inference.held import changed_near
from napari_probseg.inference.hint import with_hint
from napari_probseg.inference.inputs import window_inputs
from napari_probseg.inference.patches import EDGES, SMOOTHNESS, Patches
from napari_probseg.inference.remembered import Remembered
from napari_probseg.inference.volume import (
    CLOSEST_RATIO,
    VolumeAnswer,
    answer_in_volume,
    strokes_in,
    with_room,
)
from napari_probseg.inference.windows import cut_off, windows_around
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.volume import MAX_LOG_ODDS, VolumeCVAE
from napari_probseg.region import Region, bounding_box, hull, placed

N_WINDOWS = 3  # that samples are drawn in
N_DRAWN = 6  # in each
MAX_PLACES = 40**3  # of the grid on which readings are compared
MAX_CUT_VOXELS = 2**21
LOG_ODDS_SHIFT = 3.0  # log-odds by which the completion is made larger, or smaller
ALONE_RATIO = 0.9  # of the score of the completion that what one network says alone has


@dataclass(frozen=True)
class _Readings:
    """Maps of log-odds on a common grid, with how plausible each is; the completion is the first."""

    grid: Grid
    logit: Tensor  # (M, Z, Y, X)
    score: NDArray[np.float64]  # (M,)
    is_vote: NDArray[np.bool_]  # (M,) the samples of the latent
    kept: int | None  # which of them is what was on show with the correction alone


@torch.inference_mode()
def candidates_in_volume(
    network: VolumeCVAE,
    of_images: AdvisedCVAE,
    case: Case,
    n: int,
    *,
    seed: int,
    reach: float,
    device: torch.device,
    smoothness: float = SMOOTHNESS,
    edges: float = EDGES,
    remembered: Remembered | None = None,
) -> Candidates:
    """Return at most ``n`` candidates, the completion first; see `CVAEProposer.propose` and `answer_in_volume`."""
    hinted = with_hint(case)
    found = answer_in_volume(network, of_images, hinted, device, remembered)
    readings = _readings(network, hinted, found, seed=seed, reach=reach, device=device)
    masks = (readings.logit > 0).numpy()
    choice = choose_distinct(pairwise_iou(masks), readings.score, n, votes=readings.is_vote, kept=readings.kept)
    where = _region(case, readings.grid, masks[choice.index])
    how = {"smoothness": smoothness, "edges": edges}
    patches_of = Patches(case, where, window=found.grid.region, max_voxels=MAX_CUT_VOXELS, **how)

    def probability(i: int) -> NDArray[np.float32]:
        if i == 0:
            return placed(patches_of.where, found.grid.region, found.probability())
        return in_voxels_of(patches_of.where, readings.grid, readings.logit[i].sigmoid())

    patches, offered = patches_of.offered(patches_of.of(probability(i)) for i in choice.index)
    index = choice.index[offered]
    agreed = readings.logit[torch.from_numpy(readings.is_vote)].gt(0).float().mean(0)
    return Candidates(
        case,
        patches_of.where,
        np.stack(patches) if patches else np.zeros((0, *case.partial[patches_of.where].shape), dtype=np.uint8),
        np.minimum(readings.score[index], 1.0).astype(np.float32),
        choice.share[offered],
        in_voxels_of(patches_of.where, readings.grid, agreed),
        index.tolist().index(readings.kept) if readings.kept in index else None,
    )


def _readings(
    network: VolumeCVAE, case: Case, found: VolumeAnswer, *, seed: int, reach: float, device: torch.device
) -> _Readings:
    """Return the completion, what was on show and corrected, larger and smaller ones, each network's, and samples."""
    windows, x = window_inputs(
        case,
        windows_around(case, N_WINDOWS, close=CLOSEST_RATIO),
        WINDOW_SIDE[3],
        n_channels=network.config.n_image_channels,
    )
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(len(windows) * N_DRAWN, network.n_latent, generator=generator)
    far = torch.full((len(z),), reach)
    said = network.decode(network.features(x.to(device)), z.to(device), far.to(device))
    samples = torch.minimum(said.object, said.mask).float().cpu()
    of = [window for window in windows for _ in range(N_DRAWN)]
    free = [1 - 4 * min(0.25, float(cut_off(s > 0, w, case.shape))) for s, w in zip(samples, of, strict=True)]
    quality = said.quality.sigmoid().double().cpu().numpy() * np.array(free)
    boxes = [w.region_of(s > 0, case.shape) for s, w in zip(samples, of, strict=True)]
    box = hull(found.grid.region, *(b for b, good in zip(boxes, quality, strict=True) if b is not None and good > 0))
    grid = Grid.over(case, box, most=MAX_PLACES)
    own = [
        found.logit,
        found.logit + LOG_ODDS_SHIFT,
        found.logit - LOG_ODDS_SHIFT,
        MAX_LOG_ODDS * found.ways.maps[0],
        MAX_LOG_ODDS * found.ways.maps[1],
    ]
    if found.carried is not None:
        own.append(MAX_LOG_ODDS * (2 * found.carried.on(found.grid) - 1))
    kept = None
    if case.evidence is not None:
        kept = 1
        own.insert(kept, _on_show(found, case.evidence))
    maps = [moved(found.grid, logit, grid) for logit in own]
    maps += [grid.sampled(s, w, beyond=-MAX_LOG_ODDS) for s, w in zip(samples, of, strict=True)]
    confidence = found.confidence
    alone = np.full(len(own) - 1, ALONE_RATIO * confidence)
    score = np.concatenate([[confidence], alone, quality * confidence * ALONE_RATIO])
    if kept is not None:
        score[kept] = confidence  # it comes right after the answer, where that is another one
    return _Readings(grid, torch.stack(maps), score, np.arange(len(maps)) >= len(own), kept)


def _on_show(found: VolumeAnswer, shown: Evidence) -> Tensor:
    """Return log-odds of what was on show, with the latest correction, in the places of an answer."""
    is_old = (found.grid.of_markers(*shown) > 0).numpy()
    inside, outside = (places.numpy() for places in strokes_in(found.ways.maps))
    return changed_near(inside & ~is_old, outside & is_old, is_old, found.logit)


def moved(of: Grid, values: Tensor, over: Grid) -> Tensor:
    """Return a map over the places of one grid in those of another; far from object beyond."""
    lines = [(line - s.start) / (s.stop - s.start) * 2 - 1 for line, s in zip(over.lines(), of.region, strict=True)]
    places = torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1], -1)[None]
    found = torch.nn.functional.grid_sample(
        values[None, None].float(), places, align_corners=False, padding_mode="border"
    )[0, 0]
    return found.masked_fill((places[0].abs() > 1).any(-1), -MAX_LOG_ODDS)


def in_voxels_of(where: Region, grid: Grid, values: Tensor) -> NDArray[np.float32]:
    """Return a map over a grid in the voxels of a region; 0 beyond the grid."""
    return placed(where, grid.region, grid.in_voxels(values))


def _region(case: Case, grid: Grid, masks: NDArray[np.bool_]) -> Region:
    """Return the voxels that readings may change, with a rim."""
    box = bounding_box(np.asarray(masks.any(0)))
    if box is None:
        return grid.region
    edges = zip(grid.region, box, grid.n_voxels, grid.shape, strict=True)
    within = tuple(
        slice(r.start + int(s.start * n / g), min(r.stop, r.start + int(s.stop * n / g) + 1)) for r, s, n, g in edges
    )
    return with_room(case, hull(within, case.marked))
