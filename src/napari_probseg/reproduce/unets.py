"""Reproduction of the comparisons in the papers of the U-Nets, small enough for two CPU cores.

Each arm sees the same patches in the same order, for the same number of steps, and changes one thing; each is trained
from several seeds. What comes of an arm and a seed is kept in a file, and not done again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_probseg.dataset.raw import RawDataset, datasets_below, named
from napari_probseg.io.atomic import output_folder, write_whole
from napari_probseg.progress import Progress
from napari_probseg.reproduce.comparisons import COMPARISONS, N_TEST, Arm, Comparison
from napari_probseg.reproduce.summary import Run, summary
from napari_probseg.training.augment import augmentation
from napari_probseg.training.curve import Curve
from napari_probseg.training.examples import Example, batch_maker, count_labels, read_examples
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.segmentation import overlaps_in, segmentation_loss, untrained

N_BATCH = 2
N_HELD_OUT = 3  # of the training part, or of a fold, which the weights are chosen by
N_VALIDATIONS = 8
SECONDS_FILE = "cpu_seconds_a_step.txt"  # beside the checkpoint of a training that is under way


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
    def read(cls, dataset: RawDataset, *, is_halved: bool = False, label: str = "", n_test: int = N_TEST) -> Images:
        """Read a data set, at half of its resolution if asked; the last of its training part are held out.

        With a label that is all there is to find, as label 1.
        """
        training = read_examples(dataset, dataset.split("training"))
        n_held_out = max(1, min(N_HELD_OUT, len(training) // 3))
        test = read_examples(dataset, dataset.split("test")[:n_test])
        if is_halved:
            training, test = [_halved(e) for e in training], [_halved(e) for e in test]
        if label:
            value = dataset.labels[label]
            training, test = ([_alone(e, value) for e in part] for part in (training, test))
        n_labels = 2 if label else count_labels(dataset)
        return cls(dataset, n_labels, training[:-n_held_out], training[-n_held_out:], test)

    @classmethod
    def of(cls, comparison: Comparison, dataset: RawDataset) -> Images:
        """Read what a comparison needs of its data set."""
        c = comparison
        return cls.read(dataset, is_halved=c.is_halved, label=c.label, n_test=c.n_test)

    def folds(self, n_folds: int) -> list[Images]:
        """Return the training part divided into folds, each of them held out once; as it is if there is one."""
        if n_folds == 1:
            return [self]
        every = [*self.training, *self.held_out]
        if len(every) < n_folds:
            raise ValueError(f"{self.dataset.folder} has {len(every)} images to train on, too few for {n_folds} folds")
        parts = [every[fold::n_folds] for fold in range(n_folds)]
        return [replace(self, training=[e for p in parts if p is not part for e in p], held_out=part) for part in parts]


class MeanOf(nn.Module):
    """The mean of several networks' probabilities (Isensee et al. 2018)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the probability of every label, (B, n_labels, Z, Y, X), of x, (B, n_channels, Z, Y, X)."""
        return torch.stack([network(x).softmax(1) for network in self.networks]).mean(0)


def reproduce(
    experiment: str,
    folder: str | Path,
    *,
    data: str | Path,
    only: Collection[str] = (),
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
    only : collection of str
        Names of comparisons; all of the paper if empty.
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
    ValueError
        If the paper has no comparison of a name, or a data set has fewer images than folds.
    """
    comparisons = _chosen(experiment, only, n_steps=n_steps, n_seeds=n_seeds)
    datasets = {c.data: named([c.data], datasets_below(data))[0] for c in comparisons}
    folder, done = output_folder(folder), 0
    total = sum(c.n_seeds * c.n_steps * c.n_folds * len(c.arms) for c in comparisons)
    command = _command(experiment, seed, only, n_seeds=n_seeds, n_steps=n_steps)
    parts = []
    for comparison in comparisons:
        images = Images.of(comparison, datasets[comparison.data])
        runs: dict[str, list[Run]] = {name: [] for name in comparison.arms}
        for each in range(seed, seed + comparison.n_seeds):
            for name in comparison.arms:
                path = folder / comparison.name / f"{_slug(name)}-{each}.json"
                for progress in _kept(path, comparison, name, images, seed=each, device=device):
                    yield replace(progress, step=done + progress.step, n_steps=total)
                done += comparison.n_steps * comparison.n_folds
                runs[name].append(Run.read(path))
        parts.append((comparison, runs))
        labels = {c.data: datasets[c.data].labels for c, _ in parts}
        write_whole(folder / f"{experiment}.md", summary(command, parts, labels).encode())


def _command(experiment: str, seed: int, only: Collection[str], **changed: int | None) -> str:
    """Return what is typed for it, in markdown."""
    words = [f"napari-probseg reproduce {experiment} --seed {seed}", *(f"--only {name}" for name in only)]
    words += [f"--{name.removeprefix('n_')} {n}" for name, n in changed.items() if n]
    return f"`{' '.join(words)}`"


def _chosen(experiment: str, only: Collection[str], *, n_steps: int | None, n_seeds: int | None) -> list[Comparison]:
    """Return the comparisons of a paper that are to be made.

    Raises
    ------
    ValueError
        If it has none of a name.
    """
    known = COMPARISONS[experiment]
    names = [c.name for c in known]
    if unknown := [name for name in only if name not in names]:
        raise ValueError(f"{experiment} has no comparison {unknown[0]!r}: choose of {', '.join(names)}")
    chosen = [c for c in known if not only or c.name in only]
    return [replace(c, n_steps=n_steps or c.n_steps, n_seeds=n_seeds or c.n_seeds) for c in chosen]


def _kept(
    path: Path, comparison: Comparison, name: str, images: Images, *, seed: int, device: str
) -> Iterator[Progress]:
    """Train and measure an arm and write what comes of it, unless it was done in the same way before."""
    arm = comparison.arms[name]
    setting = _setting(comparison, arm, images, seed=seed)
    if path.is_file() and Run.read(path).setting == setting:
        return

    def overlaps(trained: nn.Module, example: Example) -> dict[int, float]:
        return overlaps_in(trained, example, patch=comparison.patch or example.label.shape, device=device)

    digest = hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:8]
    under_way = path.with_name(f"{path.stem}-{digest}")  # a training with another setting does not go on with this one
    networks: list[nn.Module] = []
    seconds, curves = [], []
    cross_validated: dict[str, dict[int, float]] = {}
    for fold, part in enumerate(images.folds(comparison.n_folds)):
        folder = output_folder(under_way / str(fold))
        network = untrained(_fitting(arm, images), seed=seed)
        training = _training(network, comparison, arm, part, seed=seed, folder=folder, overlaps=overlaps, device=device)
        for progress in training:
            yield replace(progress, step=fold * comparison.n_steps + progress.step)
        networks.append(network)
        curves.append(Curve.load(folder / "curve.csv").score)
        seconds.append(float((folder / SECONDS_FILE).read_text(encoding="utf-8")))
        if comparison.n_folds > 1:
            cross_validated |= {e.name: overlaps(network, e) for e in part.held_out}
    judged = networks[0] if len(networks) == 1 else MeanOf(networks)
    cases = {e.name: overlaps(judged, e) for e in images.test}
    n_weights = sum(p.numel() for p in networks[0].parameters())
    curve = [(points[0][0], float(np.mean([score for _, score in points]))) for points in zip(*curves, strict=True)]
    run = Run(setting, n_weights, float(np.median(seconds)), curve, cases, cross_validated)
    write_whole(path, json.dumps(asdict(run), indent=1).encode())
    shutil.rmtree(under_way)


def _training(
    network: nn.Module,
    comparison: Comparison,
    arm: Arm,
    images: Images,
    *,
    seed: int,
    folder: Path,
    overlaps: Callable[[nn.Module, Example], dict[int, float]],
    device: str,
) -> Iterator[Progress]:
    """Train a network, or go on with it, and keep its curve and how long a step takes."""

    def judged(average: nn.Module) -> dict[str, float]:
        each = [score for e in images.held_out[:N_HELD_OUT] for score in overlaps(average, e).values()]
        return {"score": float(np.mean(each)) if each else 1.0}

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
    curve = Curve.load(folder / "curve.csv")
    seconds, before = [], time.process_time()
    for progress in fit(network, batches, loss, config, folder=folder, device=device, validate=judged):
        seconds.append(time.process_time() - before)
        curve.add(progress)
        if progress.validation:
            curve.save(folder)
            write_whole(folder / SECONDS_FILE, str(float(np.median(seconds))).encode())
        yield progress
        before = time.process_time()


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
                **({"n_folds": comparison.n_folds} if comparison.n_folds > 1 else {}),
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
