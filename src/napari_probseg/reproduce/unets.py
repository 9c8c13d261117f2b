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
from torch.nn import functional

from napari_probseg.dataset.raw import RawDataset, datasets_below, named
from napari_probseg.io.atomic import output_folder, write_whole
from napari_probseg.progress import Progress
from napari_probseg.reproduce.comparisons import COMPARISONS, Arm, Comparison
from napari_probseg.reproduce.summary import Run, summary
from napari_probseg.training.augment import augmentation
from napari_probseg.training.examples import Example, batch_maker, count_labels, read_examples
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.segmentation import overlaps_in, segmentation_loss, untrained

N_BATCH = 2
N_HELD_OUT = 3  # of the training part, which the weights are chosen by
N_TEST = 12  # images of the test part that are evaluated, at most
N_VALIDATIONS = 8


@dataclass(frozen=True)
class Images:
    """What a comparison trains on, chooses the weights by, and is measured on.

    Parameters
    ----------
    dataset : RawDataset
    n_labels : int
        Background included.
    training, held_out, test : list of Example
    """

    dataset: RawDataset
    n_labels: int
    training: list[Example]
    held_out: list[Example]
    test: list[Example]

    @property
    def ndim(self) -> int:
        """2 for images, 3 for volumes."""
        return self.test[0].label.ndim

    @classmethod
    def read(cls, dataset: RawDataset, *, is_halved: bool = False, label: str = "") -> Images:
        """Read a data set, at half of its resolution if asked; the last of its training part are held out.

        With a label that is all there is to find, as label 1.
        """
        training = read_examples(dataset, dataset.split("training"))
        n_held_out = max(1, min(N_HELD_OUT, len(training) // 3))
        test = read_examples(dataset, dataset.split("test")[:N_TEST])
        if is_halved:
            training, test = [_halved(e) for e in training], [_halved(e) for e in test]
        if label:
            value = dataset.labels[label]
            training, test = ([_alone(e, value) for e in part] for part in (training, test))
        n_labels = 2 if label else count_labels(dataset)
        return cls(dataset, n_labels, training[:-n_held_out], training[-n_held_out:], test)


def reproduce(
    experiment: str,
    folder: str | Path,
    *,
    data: str | Path,
    n_steps: int | None = None,
    n_seeds: int | None = None,
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
    n_steps, n_seeds : int, optional
        Steps of training of each arm, and how often it is trained, where these are to be other than a comparison's own.
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
    comparisons = [
        replace(c, n_steps=n_steps or c.n_steps, n_seeds=n_seeds or c.n_seeds) for c in COMPARISONS[experiment]
    ]
    datasets = {c.data: named([c.data], datasets_below(data))[0] for c in comparisons}
    folder, done = output_folder(folder), 0
    total = sum(c.n_seeds * c.n_steps * len(c.arms) for c in comparisons)
    changed = f" --seeds {n_seeds}" * bool(n_seeds) + f" --steps {n_steps}" * bool(n_steps)
    command = f"`napari-probseg reproduce {experiment} --seed {seed}{changed}`"
    parts = []
    for comparison in comparisons:
        images = Images.read(datasets[comparison.data], is_halved=comparison.is_halved, label=comparison.label)
        runs: dict[str, list[Run]] = {name: [] for name in comparison.arms}
        for each in range(seed, seed + comparison.n_seeds):
            for name in comparison.arms:
                path = folder / comparison.name / f"{_slug(name)}-{each}.json"
                for progress in _kept(path, comparison, name, images, seed=each, device=device):
                    yield replace(progress, step=done + progress.step, n_steps=total)
                done += comparison.n_steps
                runs[name].append(Run.read(path))
        parts.append((comparison, runs))
        labels = {c.data: datasets[c.data].labels for c, _ in parts}
        write_whole(folder / f"{experiment}.md", summary(command, parts, labels).encode())


def _kept(
    path: Path, comparison: Comparison, name: str, images: Images, *, seed: int, device: str
) -> Iterator[Progress]:
    """Train and measure an arm and write what comes of it, unless it was done in the same way before."""
    arm = comparison.arms[name]
    setting = _setting(comparison, arm, images, seed=seed)
    if path.is_file() and Run.read(path).setting == setting:
        return

    def overlaps(trained: nn.Module, example: Example) -> dict[int, float]:
        seen = comparison.patch or example.label.shape
        return overlaps_in(trained, example, patch=seen, device=device)

    def judged(average: nn.Module) -> dict[str, float]:
        each = [score for e in images.held_out for score in overlaps(average, e).values()]
        return {"score": float(np.mean(each)) if each else 1.0}

    network = untrained(_fitting(arm, images), seed=seed)
    config = FitConfig(
        comparison.n_steps,
        learning_rate=comparison.learning_rate,
        n_warmup=comparison.n_steps // 20 + 1,
        average=0.98,
        validate_every=max(1, comparison.n_steps // N_VALIDATIONS),
        seed=seed,
    )
    batches = batch_maker(
        images.training,
        comparison.trained_patch(images.ndim),
        n_batch=N_BATCH,
        share_foreground=0.5,
        augment=augmentation(images.training[0].spacing, mirror=False) if arm.augment else None,
        device=device,
    )
    loss = segmentation_loss(arm.loss)
    seconds, curve, before = [], [], time.process_time()
    for progress in fit(network, batches, loss, config, device=device, validate=judged):
        seconds.append(time.process_time() - before)
        if progress.validation:
            curve.append((progress.step, progress.validation["score"]))
        yield progress
        before = time.process_time()
    cases = {e.name: overlaps(network, e) for e in images.test}
    n_weights = sum(p.numel() for p in network.parameters())
    run = Run(setting, n_weights, float(np.median(seconds)), curve, cases)
    write_whole(path, json.dumps(asdict(run), indent=1).encode())


def _setting(comparison: Comparison, arm: Arm, images: Images, *, seed: int) -> dict[str, Any]:
    """Return all that the figures of an arm depend on, as JSON gives it back."""
    return json.loads(  # type: ignore[no-any-return]
        json.dumps(
            {
                "data": images.dataset.folder.name,
                "is_halved": comparison.is_halved,
                "label": comparison.label,
                "network": asdict(_fitting(arm, images)),
                "loss": arm.loss,
                "augment": arm.augment,
                "n_steps": comparison.n_steps,
                "seed": seed,
                "patch": comparison.trained_patch(images.ndim),
                "predicted_in_patches": bool(comparison.patch),
                "n_batch": N_BATCH,
                "learning_rate": comparison.learning_rate,
                "cases": [[e.name for e in part] for part in (images.training, images.held_out, images.test)],
            }
        )
    )


def _fitting(arm: Arm, images: Images) -> Any:
    n_channels = len(images.test[0].image)
    return replace(arm.network, ndim=images.ndim, n_channels=n_channels, n_labels=images.n_labels)


def _halved(example: Example) -> Example:
    """Return an example at half of its resolution: means of the image, every second voxel of the label."""
    label = example.label[(slice(None, None, 2),) * example.label.ndim].contiguous()
    image = functional.interpolate(example.image[None], label.shape, mode="area")[0]
    return Example.of(example.name, image, label, tuple(2 * s for s in example.spacing))


def _alone(example: Example, value: int) -> Example:
    """Return an example of which one label is left, as 1."""
    return Example.of(example.name, example.image, (example.label == value).short(), example.spacing)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
