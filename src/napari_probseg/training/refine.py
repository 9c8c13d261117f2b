"""How the refiner is trained: on whole images, with the strokes of the simulated annotator, after the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.case import Case, Marker
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.dataset.targets import Target, targets_of, whole_targets
from napari_probseg.graph_cut import cut, noise_of
from napari_probseg.inference.answer import answer, refinable
from napari_probseg.inference.inputs import on_places
from napari_probseg.metrics import dice
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.refiner import MAX_LOG_ODDS, Refiner
from napari_probseg.progress import Progress
from napari_probseg.region import Region
from napari_probseg.simulate.annotator import dab
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import soft_dice_loss

PATCH_SIDE = 128  # places of the fine grid along a side of what is learnt from
LEARNT_STROKE_COUNTS = (1, 2, 3, 4, 5, 7, 9, 12, 15, 20)  # strokes after which an answer is learnt from
FIT_CONFIG = FitConfig(1100, learning_rate=3e-3, weight_decay=1e-2, n_warmup=30, average=0.98, clip=2.0)
N_BATCH = 12
N_PARTS = 6  # of the objects, of which one is held out
MOVE_PENALTY = 0.02  # of what the refiner changes, in squared log-odds: what is right already is to stay
CUT_SMOOTHNESS, CUT_EDGES = 1.0, 2.0  # of the cut that the annotator sees


@dataclass(frozen=True)
class View:
    """What the refiner saw of one answer, and what was right.

    Parameters
    ----------
    seen : (N_SEEN, S, S) float16 tensor
        See `refiner_input`.
    truth : (S, S) bool tensor
    """

    seen: Tensor
    truth: Tensor


def views_of(network: AdvisedCVAE, target: Target, *, n: int = 20) -> Iterator[View]:
    """Yield what the refiner sees while the annotator segments a target with the network as it is."""
    case, result = target.case(), np.zeros_like(target.truth)
    everywhere = tuple(slice(0, size) for size in case.shape)
    for i in range(1, n + 1):
        drawn = dab(result, target.truth, spacing=target.spacing)
        if drawn is None:
            return
        marked = case.mark(*drawn)
        case = marked.with_shown(everywhere, result) if result.any() else marked
        found = answer(network, case, torch.device("cpu"))
        if i in LEARNT_STROKE_COUNTS:
            seen = refinable(case, found.window, found.looks, found.foretold, torch.device("cpu"))[0]
            truth = on_places(target.truth, everywhere, found.window, seen.shape[-1])
            yield View(seen.half(), torch.from_numpy(truth))
        result = as_shown(case, found.window.within(case.shape), found.probability(case.shape))


def train_refiner(
    network: AdvisedCVAE,
    datasets: Sequence[RawDataset],
    *,
    n_targets: int = 5,
    seed: int = 0,
    config: FitConfig = FIT_CONFIG,
) -> Iterator[str | Progress]:
    """Train a new refiner for a network, in place, on objects of the training parts of data sets.

    Where ids tell objects apart, all objects of an image together are learnt from, too, and the borders between them: a
    person may mean a kind of thing that lies all over the image. Every sixth object is held out; what the refiner
    changes there is told at the end. The annotator corrects what the network says alone: a refiner that also learnt
    from corrections of its own answers came to trust what is on show too much, and needed more strokes.

    Yields
    ------
    str or Progress
        What is done.

    Raises
    ------
    ValueError
        If no data set holds an object.
    """
    torch.manual_seed(seed)
    network.refiner = Refiner()
    network.eval()
    views: list[View] = []
    held_out: list[View] = []
    for number, target in zip(count(), _targets(datasets, n_targets, seed)):
        (held_out if number % N_PARTS == N_PARTS - 1 else views).extend(views_of(network, target))
        yield f"looked at {number + 1} objects: {target.name}"
    if not views:
        raise ValueError("no data set holds a labelled object: there is nothing to learn from")
    yield from fit(network.refiner, _batches(views), _loss, replace(config, seed=seed))
    if held_out:
        before, after = _scores(network, held_out)
        yield f"Dice on {len(held_out)} answers that are held out: {before:.3f} before, {after:.3f} after"


def _targets(datasets: Iterable[RawDataset], n: int, seed: int) -> Iterator[Target]:
    for dataset in datasets:
        names = dataset.split("training")
        spread = sorted({int(i) for i in np.linspace(0, len(names) - 1, min(n, len(names)))})
        chosen = [names[i] for i in spread]
        yield from targets_of(dataset, seed=seed, part="training", only=chosen)
        if dataset.instances:
            for name in chosen:
                yield from whole_targets(dataset.load(name))


def as_shown(case: Case, where: Region, probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the mask that the annotator sees of probabilities in a region, and corrects."""
    inner = Case(case.read(where), spacing=case.spacing, channel_axis=0, partial=case.partial[where])
    noise = noise_of(inner.image, channel_axis=0) or 1.0
    result = case.strokes == Marker.OBJECT
    result[where] = cut(probability, inner, smoothness=CUT_SMOOTHNESS, sigma=CUT_EDGES * noise)
    return np.asarray(result)


def _batches(views: Sequence[View]) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    def make(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        seen, truth = [], []
        for i in torch.randint(len(views), (N_BATCH,), generator=generator).tolist():
            view = views[i]
            s, t = _patch(view, generator)
            turns = int(torch.randint(4, (), generator=generator))
            s, t = s.float().rot90(turns, (1, 2)), t.rot90(turns, (0, 1))
            if torch.rand((), generator=generator) < 0.5:
                s, t = s.flip(2), t.flip(1)
            seen.append(s)
            truth.append(t)
        return torch.stack(seen), torch.stack(truth)

    return make


def _patch(view: View, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a patch around a place where the network is wrong or unsure, as far as there is one."""
    size = view.truth.shape[-1]
    if size <= PATCH_SIDE:
        pad = PATCH_SIDE - size
        return F.pad(view.seen, (0, pad, 0, pad)), F.pad(view.truth, (0, pad, 0, pad))
    doubtful = ((view.seen[0] > 0) != view.truth).flatten().nonzero()[:, 0]
    if len(doubtful) and torch.rand((), generator=generator) < 0.7:
        place = int(doubtful[int(torch.randint(len(doubtful), (), generator=generator))])
        middle = divmod(place, size)
    else:
        middle = tuple(torch.randint(size, (2,), generator=generator).tolist())
    low = [min(max(m - PATCH_SIDE // 2, 0), size - PATCH_SIDE) for m in middle]
    part = tuple(slice(a, a + PATCH_SIDE) for a in low)
    return view.seen[(slice(None), *part)], view.truth[part]


def _loss(refiner: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> Losses:
    seen, truth = batch
    logit, target = refiner(seen), truth.float()
    open_ = (seen[:, 5:7].amax(1) == 0).float()
    entropy = F.binary_cross_entropy_with_logits(logit, target, weight=open_, reduction="none").mean((1, 2))
    overlap = soft_dice_loss(logit.sigmoid(), target, open_)
    moved = (logit - MAX_LOG_ODDS * seen[:, 0]).square().mean((1, 2))
    total = (entropy + 0.5 * overlap + MOVE_PENALTY * moved).mean()
    return {"total": total, "entropy": entropy.mean(), "dice": overlap.mean(), "moved": moved.mean()}


@torch.inference_mode()
def _scores(network: AdvisedCVAE, views: Sequence[View]) -> tuple[float, float]:
    before = [dice(np.asarray(v.seen[0] > 0), np.asarray(v.truth)) for v in views]
    after = [dice(np.asarray(network.refiner(v.seen[None].float())[0] > 0), np.asarray(v.truth)) for v in views]
    return float(np.mean(before)), float(np.mean(after))
