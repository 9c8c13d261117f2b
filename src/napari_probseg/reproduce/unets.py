"""Reproduction of the comparisons in the papers of the U-Nets, small enough for two CPU cores.

Each arm sees the same patches in the same order, for the same number of steps, and changes one thing; each is trained
from several seeds. What comes of an arm and a seed is kept in a file, and not done again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from napari_probseg.dataset.raw import RawDataset, datasets_below, named
from napari_probseg.io.atomic import output_folder, write_whole
from napari_probseg.nn.unet import UNet
from napari_probseg.progress import Progress
from napari_probseg.reproduce.comparisons import COMPARISONS, Arm
from napari_probseg.reproduce.summary import Run, summary
from napari_probseg.training.augment import augmentation
from napari_probseg.training.examples import Example, batch_maker, count_labels, read_examples
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.segmentation import overlaps_in, segmentation_loss, untrained

N_STEPS = 2000  # of training of each arm
N_SEEDS = 3
N_BATCH = {2: 2, 3: 2}
PATCH = {2: (96, 96), 3: (20, 20, 20)}
N_HELD_OUT = 3  # of the training part, which the weights are chosen by
N_TEST = 12  # images of the test part that are evaluated, at most
N_VALIDATIONS = 4
LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Images:
    """What a comparison trains on, chooses the weights by, and is measured on."""

    dataset: RawDataset
    training: list[Example]
    held_out: list[Example]
    test: list[Example]

    @classmethod
    def read(cls, dataset: RawDataset) -> Images:
        """Read a data set; the last of its training part are held out."""
        training = read_examples(dataset, dataset.split("training"))
        n_held_out = max(1, min(N_HELD_OUT, len(training) // 3))
        test = read_examples(dataset, dataset.split("test")[:N_TEST])
        return cls(dataset, training[:-n_held_out], training[-n_held_out:], test)


def reproduce(
    experiment: str,
    folder: str | Path,
    *,
    data: str | Path,
    n_steps: int = N_STEPS,
    n_seeds: int = N_SEEDS,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Train every arm of a paper's comparisons, write ``EXPERIMENT.md``; go on where it was broken off.

    Parameters
    ----------
    experiment : str
        A key of `COMPARISONS`.
    folder : path
        Gets the tables, and for each comparison a folder with what came of each arm and seed.
    data : path
        A folder of nnU-Net v2 raw data sets.
    n_steps, n_seeds : int
        Steps of training of each arm, and how often it is trained.
    seed : int
        The first one, of weights and patches.
    device : str

    Yields
    ------
    Progress
        After each step, counted over all arms and seeds; those that were done before are passed over.

    Raises
    ------
    FileNotFoundError
        If a data set that a comparison needs is not there.
    """
    comparisons = COMPARISONS[experiment]
    datasets = {c.data: named([c.data], datasets_below(data))[0] for c in comparisons}
    folder, done = output_folder(folder), 0
    total = n_seeds * n_steps * sum(len(c.arms) for c in comparisons)
    parts = []
    for comparison in comparisons:
        images = Images.read(datasets[comparison.data])
        runs: dict[str, list[Run]] = {name: [] for name in comparison.arms}
        for each in range(seed, seed + n_seeds):
            for name, arm in comparison.arms.items():
                path = folder / comparison.name / f"{_slug(name)}-{each}.json"
                for progress in _kept(path, arm, images, n_steps=n_steps, seed=each, device=device):
                    yield replace(progress, step=done + progress.step, n_steps=total)
                done += n_steps
                runs[name].append(Run.read(path))
        parts.append((comparison, runs))
        command = f"`napari-probseg reproduce {experiment} --seed {seed} --seeds {n_seeds} --steps {n_steps}`"
        labels = {c.data: datasets[c.data].labels for c, _ in parts}
        text = summary(command, parts, labels, n_batch=N_BATCH, patch=PATCH)
        write_whole(folder / f"{experiment}.md", text.encode())


def _kept(path: Path, arm: Arm, images: Images, *, n_steps: int, seed: int, device: str) -> Iterator[Progress]:
    """Train and measure an arm and write what comes of it, unless it was done in the same way before."""
    setting = _setting(arm, images, n_steps=n_steps, seed=seed)
    if path.is_file() and Run.read(path).setting == setting:
        return
    network = untrained(_fitting(arm, images), seed=seed)
    seconds, curve, before = [], [], time.process_time()
    for progress in _training(network, arm, n_steps, images, seed=seed, device=device):
        seconds.append(time.process_time() - before)
        if progress.validation:
            curve.append((progress.step, progress.validation["score"]))
        yield progress
        before = time.process_time()
    cases = {e.name: _overlaps(network, e, device=device) for e in images.test}
    n_weights = sum(p.numel() for p in network.parameters())
    run = Run(setting, n_weights, float(np.median(seconds)), curve, cases)
    write_whole(path, json.dumps(asdict(run), indent=1).encode())


def _setting(arm: Arm, images: Images, *, n_steps: int, seed: int) -> dict[str, Any]:
    """Return all that the figures of an arm depend on, as JSON gives it back."""
    ndim = images.test[0].label.ndim
    return json.loads(  # type: ignore[no-any-return]
        json.dumps(
            {
                "data": images.dataset.folder.name,
                "network": asdict(_fitting(arm, images)),
                "loss": arm.loss,
                "augment": arm.augment,
                "n_steps": n_steps,
                "seed": seed,
                "patch": PATCH[ndim],
                "n_batch": N_BATCH[ndim],
                "learning_rate": LEARNING_RATE,
                "cases": [[e.name for e in part] for part in (images.training, images.held_out, images.test)],
            }
        )
    )


def _fitting(arm: Arm, images: Images) -> Any:
    example = images.test[0]
    return replace(
        arm.network, ndim=example.label.ndim, n_channels=len(example.image), n_labels=count_labels(images.dataset)
    )


def _training(network: UNet, arm: Arm, n_steps: int, images: Images, *, seed: int, device: str) -> Iterator[Progress]:
    """Train an arm, and choose its weights by the images that are held out."""
    first = images.training[0]
    ndim = first.label.ndim
    config = FitConfig(
        n_steps,
        learning_rate=LEARNING_RATE,
        n_warmup=n_steps // 20 + 1,
        average=0.98,
        validate_every=max(1, n_steps // N_VALIDATIONS),
        seed=seed,
    )
    batches = batch_maker(
        images.training,
        PATCH[ndim],
        n_batch=N_BATCH[ndim],
        share_foreground=0.5,
        augment=augmentation(first.spacing, mirror=False) if arm.augment else None,
        device=device,
    )

    def judged(average: nn.Module) -> dict[str, float]:
        each = [score for e in images.held_out for score in _overlaps(average, e, device=device).values()]
        return {"score": float(np.mean(each)) if each else 1.0}

    return fit(network, batches, segmentation_loss(arm.loss), config, device=device, validate=judged)


def _overlaps(network: nn.Module, example: Example, *, device: str) -> dict[int, float]:
    return overlaps_in(network, example, patch=example.label.shape, device=device)  # as a whole: it is small


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
