"""How the refiner of volumes is trained: on whole objects, with simulated strokes, after the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.case import Case, Marker
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.inference.grid import Grid
from napari_probseg.inference.volume import answer_in_volume
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.volume import N_FACTS, N_MAPS, VolumeCVAE, VolumeRefiner
from napari_probseg.progress import Progress
from napari_probseg.simulate.annotator import dab, dab_radius
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.scenes import synthetic_scene
from napari_probseg.simulate.solids import KINDS, solid
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import soft_dice_loss
from napari_probseg.training.refine import as_shown

PATCH_SIDE = 32  # places of the grid along a side of what is learnt from
LEARNT_STROKE_COUNTS = (1, 2, 3, 4, 6, 8, 11, 15, 20)  # strokes after which an answer is asked for, and learnt from
FIT_CONFIG = FitConfig(600, learning_rate=5e-3, weight_decay=1e-2, n_warmup=30, average=0.98, clip=2.0)
N_BATCH = 4
N_PARTS = 6  # of the objects, of which one is held out
SETTLED_RADII = 3.0  # radii around a dab, within which the annotator leaves the rest to the next answer
SCENE_SIDE_VOXELS = 56  # voxels along the sides of a synthetic scene


@dataclass(frozen=True)
class VolumeView:
    """What the refiner saw of one answer, and what was right.

    Parameters
    ----------
    maps : (N_MAPS, Z, Y, X) float16 tensor
    facts : (N_FACTS,) tensor
    truth : (Z, Y, X) bool tensor
    """

    maps: Tensor
    facts: Tensor
    truth: Tensor


def views_of(network: VolumeCVAE, of_images: AdvisedCVAE, target: Target) -> Iterator[VolumeView]:
    """Yield what the refiner sees while the annotator segments a target with the networks as they are."""
    case, result, n_drawn = target.case(), np.zeros_like(target.truth), 0
    for n in LEARNT_STROKE_COUNTS:
        marked = _marked(case, result, target, n - n_drawn)
        if marked is None:
            return
        case, n_drawn = marked, n
        if not (case.strokes == Marker.OBJECT).any():
            continue
        found = answer_in_volume(network, of_images, case, torch.device("cpu"))
        yield VolumeView(
            found.ways.maps.half(), found.ways.facts, torch.from_numpy(_truth_on(found.grid, target.truth))
        )
        result = as_shown(case, found.grid.region, found.probability())


def synthetic_targets(n: int, seed: int) -> Iterator[Target]:
    """Yield objects of synthetic scenes and solids in turn, in slices up to eight times as thick as their pixels."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        thickness = float(rng.choice([1.0, 1.0, 2.0, 4.0, 8.0]))
        if i % 2:
            n_slices = int(np.clip(rng.integers(48, 90) / thickness, 7, 90))
            drawn = solid(
                KINDS[i // 2 % len(KINDS)],
                n_slices=n_slices,
                thickness=thickness,
                side=int(rng.integers(40, 80)),
                size=float(rng.uniform(0.12, 0.4)),
                contrast=float(rng.uniform(1.0, 6.0)) * float(rng.choice([-1, 1])),
                seed=int(rng.integers(2**31)),
            )
            yield Target(f"solid {i}", drawn.image[None], drawn.truth, drawn.spacing, drawn.truth.astype(np.int32))
            continue
        scene = synthetic_scene(
            1, (SCENE_SIDE_VOXELS,) * 3, Chance(torch.Generator().manual_seed(int(rng.integers(2**31)))), n_channels=1
        )
        label = scene.instance[0].numpy().astype(np.int32)
        ids, sizes = np.unique(label[label > 0], return_counts=True)
        ids = ids[sizes >= label.size // 2000]
        if not len(ids):
            continue
        every = int(thickness)
        label = label[::every]
        truth = label == rng.choice(ids)
        if np.count_nonzero(truth) > label.size // 2000:
            yield Target(f"scene {i}", scene.image[0].numpy()[:, ::every], truth, (thickness, 1.0, 1.0), label)


def train_volume_refiner(
    network: VolumeCVAE,
    of_images: AdvisedCVAE,
    datasets: Sequence[RawDataset],
    *,
    n_targets: int = 6,
    n_synthetic: int = 24,
    seed: int = 0,
    config: FitConfig = FIT_CONFIG,
) -> Iterator[str | Progress]:
    """Train a new refiner for a network of volumes, in place, on objects of the training parts of data sets.

    Synthetic scenes are added. Every sixth object is held out; what the refiner changes there is told at the end.

    Yields
    ------
    str or Progress
        What is done.

    Raises
    ------
    ValueError
        If there is no object at all.
    """
    network.refiner = VolumeRefiner()
    network.eval()
    views: list[list[VolumeView]] = []
    for target in (*_targets(datasets, n_targets, seed), *synthetic_targets(n_synthetic, seed)):
        views.append(list(views_of(network, of_images, target)))
        yield f"looked at {len(views)} objects: {target.name}"
    if not any(views):
        raise ValueError("no data set holds a labelled volume: there is nothing to learn from")
    yield from fit_volume_refiner(network, views, seed=seed, config=config)


def fit_volume_refiner(
    network: VolumeCVAE, views: Sequence[Sequence[VolumeView]], *, seed: int = 0, config: FitConfig = FIT_CONFIG
) -> Iterator[str | Progress]:
    """Train the refiner of a network, in place, on views of objects; see `train_volume_refiner`."""
    torch.manual_seed(seed)
    network.refiner = VolumeRefiner()
    learnt = [view for i, of_one in enumerate(views) if i % N_PARTS != N_PARTS - 1 for view in of_one]
    held_out = [view for i, of_one in enumerate(views) if i % N_PARTS == N_PARTS - 1 for view in of_one]
    before = _score(network.refiner, held_out)
    yield from fit(network.refiner, _batches(learnt), _loss, replace(config, seed=seed))
    if held_out:
        after = _score(network.refiner.eval(), held_out)
        yield f"Dice on {len(held_out)} answers that are held out: {before:.3f} before, {after:.3f} after"


def _targets(datasets: Sequence[RawDataset], n: int, seed: int) -> Iterator[Target]:
    """Yield so many objects of each data set that has volumes, as far as its cases and labels go."""
    for dataset in datasets:
        names = dataset.split("training")
        chosen = {names[int(i)] for i in np.linspace(0, len(names) - 1, min(n, len(names)))}
        left = n
        for again in range(n):
            found = list(targets_of(dataset, ndim=3, seed=seed + 100 * again, part="training", only=chosen))[:left]
            yield from found
            left -= len(found)
            if not found or not left:
                break


def _marked(case: Case, result: NDArray[np.bool_], target: Target, n: int) -> Case | None:
    """Return the case with so many dabs more, where the result is most wrong; None if it is right."""
    seen = result.copy()
    radius = SETTLED_RADII * dab_radius(target.truth.shape, np.asarray(target.spacing))
    for i in range(n):
        drawn = dab(seen, target.truth, spacing=target.spacing)
        if drawn is None:
            return case if i else None
        case = case.mark(*drawn)
        at = np.argwhere(drawn[0] | drawn[1])
        middle = tuple(int(a) for a in at[len(at) // 2])
        near = ball(target.truth.shape, middle, radius, np.asarray(target.spacing))
        seen[near] = target.truth[near]
    return case


def _truth_on(grid: Grid, truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the truth in the places of a grid."""
    index = [line.floor().long().numpy() for line in grid.lines()]
    return np.asarray(truth[np.ix_(*index)])


def _batches(views: Sequence[VolumeView]) -> Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]:
    def make(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        maps, facts, truth = [], [], []
        for i in torch.randint(len(views), (N_BATCH,), generator=generator).tolist():
            m, t = _patch(views[i], generator)
            turned = [axis for axis in (1, 2, 3) if torch.rand((), generator=generator) < 0.5]
            maps.append(m.float().flip(turned))
            truth.append(t.flip([axis - 1 for axis in turned]))
            facts.append(views[i].facts)
        return torch.stack(maps), torch.stack(facts), torch.stack(truth)

    return make


def _patch(view: VolumeView, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a patch around a place where the networks are wrong, as far as there is one, or anywhere."""
    lacking = [max(0, PATCH_SIDE - n) for n in reversed(view.truth.shape)]
    around = [a for n in lacking for a in (0, n)]
    maps, truth = F.pad(view.maps, around), F.pad(view.truth, around)
    doubtful = ((view.maps[:2].float().sum(0) > 0) != view.truth).nonzero()
    if len(doubtful) and torch.rand((), generator=generator) < 0.7:
        middle = doubtful[int(torch.randint(len(doubtful), (), generator=generator))].tolist()
    else:
        middle = [int(torch.randint(n, (), generator=generator)) for n in truth.shape]
    low = [min(max(m - PATCH_SIDE // 2, 0), n - PATCH_SIDE) for m, n in zip(middle, truth.shape, strict=True)]
    part = tuple(slice(a, a + PATCH_SIDE) for a in low)
    return maps[(slice(None), *part)], truth[part]


def _loss(refiner: nn.Module, batch: tuple[Tensor, Tensor, Tensor], step: int) -> Losses:
    maps, facts, truth = batch
    logit, target = refiner(maps, facts), truth.float()
    marks = N_MAPS - 3 - N_MARKS
    open_ = (maps[:, marks : marks + N_MARKS - 1].amax(1) == 0).float()
    entropy = F.binary_cross_entropy_with_logits(logit, target, weight=open_, reduction="none").mean((1, 2, 3))
    overlap = soft_dice_loss(logit.sigmoid(), target, open_)
    return {"total": (entropy + 0.5 * overlap).mean(), "entropy": entropy.mean(), "dice": overlap.mean()}


@torch.inference_mode()
def _score(refiner: VolumeRefiner, views: Sequence[VolumeView]) -> float:
    found = [refiner(v.maps[None].float(), v.facts.view(1, N_FACTS))[0] > 0 for v in views]
    return float(
        np.mean([dice(np.asarray(f), np.asarray(v.truth)) for f, v in zip(found, views, strict=True)] or [0.0])
    )
