"""What each choice of the general recipe brings: small networks, each trained with one choice taken back.

    python benchmarks/ablations.py --data FOLDER [--out runs/ablations] [--steps 400] [--seeds 2] [--markdown FILE]

All see the same crops of the same data sets, in the same number of steps, and are measured on the data sets named in
`UNSEEN`, which none of them sees. Rows are appended to ``rows.csv`` in the folder ``--out``, so that a run that was
broken off goes on.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from napari_probseg.dataset.raw import RawDataset, all_but, datasets_below, named
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.evaluate.rows import Row, append_rows, read_rows
from napari_probseg.inference.inputs import resized, window_input
from napari_probseg.inference.windows import window_on, windows_around
from napari_probseg.metrics import dice
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.nn.inputs import network_input
from napari_probseg.simulate.annotator import first_dabs
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.tasks import Task, make_task
from napari_probseg.training import pool as cutting
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.general import GeneralTraining, batch_maker, control_loss_of, corrected, loss_of
from napari_probseg.training.pool import Pool, kept_pool

UNSEEN = ("Nuclei", "BreastUltrasound", "VocalFolds", "Hippocampus")
TRAINING = GeneralTraining(size=64, n_batch=8, n_crops=120)
NETWORK = GeneralConfig(widths=(16, 32, 48, 64), n_head=16)
N_CROPS, N_OBJECTS = 64, 12  # that each unseen data set is measured on
N_SAMPLES = 8
N_CORRECTIONS = 3
FIGURES = {
    "first": "first strokes",
    "later": f"{N_CORRECTIONS} corrections",
    "best": f"best of {N_SAMPLES}",
    "mean": "mean sample",
    "diversity": "diversity",
    "image": "in the image",
}


@dataclass(frozen=True)
class Arm:
    """A recipe; ``samples`` is false where the loss trains none, ``whole`` where crops are as large as the image."""

    name: str
    training: GeneralTraining = TRAINING
    network: GeneralConfig = NETWORK
    samples: bool = True
    whole: bool = False


BASE = Arm("base")
ARMS = (
    BASE,
    Arm("no samples: the loss of the control alone", samples=False),
    Arm("one sample, no best of K", replace(TRAINING, n_samples=1)),
    Arm("no free bits", replace(TRAINING, free_bits=0)),
    Arm("latent of 2", network=replace(NETWORK, n_latent=2)),
    Arm("latent of 16", network=replace(NETWORK, n_latent=16)),
    Arm("synthetic scenes alone", replace(TRAINING, share_real=0)),
    Arm("real images alone", replace(TRAINING, share_real=1)),
    Arm("no pseudo-labels", replace(TRAINING, share_pseudo=0)),
    Arm("no roll-outs", replace(TRAINING, n_corrections=0)),
    Arm("no zoom", whole=True),
)


@dataclass(frozen=True)
class Exam:
    """Crops and whole images of unseen data sets, with strokes."""

    task: Task
    targets: list[Target]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("PROBSEG_DATA"), help="folder of nnU-Net v2 raw data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("name a folder of data sets with --data or PROBSEG_DATA")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    datasets = datasets_below(arguments.data)
    exam = examination(named(UNSEEN, datasets), arguments.out)
    pools = {whole: crops(all_but(UNSEEN, datasets), arguments.out, whole=whole) for whole in (False, True)}
    rows = arguments.out / "rows.csv"
    for seed in range(arguments.seeds):
        for arm in ARMS:
            if any((row["method"], row["seed"]) == (arm.name, seed) for row in read_rows(rows)):
                continue
            start = time.monotonic()
            network = trained(arm, pools[arm.whole], arguments.out, n_steps=arguments.steps, seed=seed)
            append_rows(rows, [{"method": arm.name, "seed": seed, **measured(network, arm, exam)}])
            print(f"{arm.name}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    lines = list(table(read_rows(rows)))
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def crops(datasets: list[RawDataset], out: Path, *, whole: bool) -> Pool:
    """Return the crops to train on: around objects, from near or far, or as large as the image."""
    as_large_as_the_image = patch.dict(cutting.SIDE, {2: (1e3, 1e3)})
    with as_large_as_the_image if whole else nullcontext():
        return kept_pool(out / f"{'whole' if whole else 'near'}.npz", datasets, n_per_dataset=TRAINING.n_crops, seed=0)


def examination(datasets: list[RawDataset], out: Path) -> Exam:
    """Return what all networks are measured on: the whole object is asked for after the strokes of training."""
    pool = kept_pool(out / "unseen.npz", datasets, n_per_dataset=N_CROPS, seed=1)
    chance = Chance(torch.Generator().manual_seed(0))
    task = make_task(pool.scene(N_CROPS * len(datasets), TRAINING.size, chance, share_pseudo=0), chance)
    task = replace(task, decided=torch.ones_like(task.decided), reach=torch.ones_like(task.reach))
    return Exam(task, [target for dataset in datasets for target in targets_of(dataset, N_OBJECTS)])


def trained(arm: Arm, pool: Pool, out: Path, *, n_steps: int, seed: int) -> GeneralCVAE:
    """Return the network of an arm, going on where its training was broken off."""
    folder = out / f"{re.sub('[^a-z0-9]+', '_', arm.name.lower())}_{seed}"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    network = GeneralCVAE(arm.network)
    config = FitConfig(n_steps, learning_rate=2e-3, n_warmup=n_steps // 10, average=0.98, seed=seed)
    loss = (loss_of if arm.samples else control_loss_of)(arm.training)
    for _ in fit(network, batch_maker(arm.training, pool), loss, config, folder=folder):
        pass
    return network


@torch.inference_mode()
def measured(network: GeneralCVAE, arm: Arm, exam: Exam) -> dict[str, float]:
    """Return the figures of a trained network; not numbers where it was not trained for what is asked."""
    found = dict.fromkeys(FIGURES, float("nan"))
    found["image"] = float(np.mean([in_image(network, target, whole=arm.whole) for target in exam.targets]))
    if arm.whole:
        return found
    task, chance = exam.task, Chance(torch.Generator().manual_seed(1))
    found["first"] = float(control_dice(network, task).mean())
    if arm.samples:
        drawn = sampled(network, task, chance)  # (K, B, Y, X)
        each = torch.stack([overlap(sample, task.target) for sample in drawn])
        found |= {"best": float(each.amax(0).mean()), "mean": float(each.mean()), "diversity": diversity(drawn)}
    for _ in range(N_CORRECTIONS):
        task = corrected(network, task, chance)
    found["later"] = float(control_dice(network, task).mean())
    return found


def control_dice(network: GeneralCVAE, task: Task) -> Tensor:
    """Return the Dice of the answer without a latent, (B,)."""
    features = network.features(network_input(task.image, task.inside, task.outside))
    return overlap(obeying(network.decode_control(features, task.reach).object > 0, task), task.target)


def sampled(network: GeneralCVAE, task: Task, chance: Chance) -> Tensor:
    """Return samples of what the object is, (K, B, Y, X) bool."""
    features = network.features(network_input(task.image, task.inside, task.outside))
    drawn = [
        network.decode(features, chance.normal(len(task.reach), network.n_latent), task.reach) for _ in range(N_SAMPLES)
    ]
    return torch.stack([obeying((sample.object > 0) & (sample.mask > 0), task) for sample in drawn])


def obeying(answer: Tensor, task: Task) -> Tensor:
    return (answer | task.inside) & ~task.outside


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the Dice of each item, (B,)."""
    both = (a & b).flatten(1).sum(1)
    return 2 * both / (a.flatten(1).sum(1) + b.flatten(1).sum(1)).clamp(min=1)


def diversity(drawn: Tensor) -> float:
    """Return the mean of 1 - IoU between two samples of an item."""
    distances = []
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            union = (a | b).flatten(1).sum(1).clamp(min=1)
            distances.append(1 - (a & b).flatten(1).sum(1) / union)
    return float(torch.stack(distances).mean())


def in_image(network: GeneralCVAE, target: Target, *, whole: bool) -> float:
    """Return the Dice at full resolution after one dab inside and one outside."""
    inside, outside = first_dabs(target.truth, seed=0, spacing=target.spacing)
    case = target.case().mark(inside, outside)
    everything = tuple(slice(0, n) for n in case.shape)
    window = window_on(case, everything, margin=1.0) if whole else windows_around(case, 1)[0]
    features = network.features(window_input(case, window, TRAINING.size)[None])
    logit = network.decode_control(features, torch.ones(1)).object
    answer = np.zeros(case.shape, dtype=bool)
    answer[window.within(case.shape)] = resized(logit, window.size)[0].numpy()[window.visible(case.shape)] > 0
    return dice((answer | inside) & ~outside, target.truth)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the mean over the seeds of each arm, what it differs by from base, and how far seeds of base differ."""
    yield f"| | seeds | {' | '.join(FIGURES.values())} |"
    yield f"|---|---|{'---|' * len(FIGURES)}"
    base = values(rows, BASE.name)
    for arm in ARMS:
        found = values(rows, arm.name)
        if not len(found):
            continue
        cells = [f"{mean:.3f}" for mean in found.mean(0)]
        if arm != BASE:
            same = base[: len(found)].mean(0)
            cells = [f"{cell} ({mean - b:+.3f})" for cell, mean, b in zip(cells, found.mean(0), same, strict=True)]
        cells = ["" if "nan" in cell else cell for cell in cells]
        yield f"| {arm.name} | {len(found)} | {' | '.join(cells)} |"
    if len(base) > 1:
        yield f"| *base: largest less smallest of its seeds* | | {' | '.join(f'{v:.3f}' for v in np.ptp(base, 0))} |"


def values(rows: Sequence[Row], name: str) -> np.ndarray:
    """Return the figures of an arm, (seeds, figures)."""
    return np.array([[row[figure] for figure in FIGURES] for row in rows if row["method"] == name])


if __name__ == "__main__":
    main()
