"""Reproduction of the comparisons in the papers of the U-Nets, small enough for two CPU cores.

Each variant sees the same patches in the same order, for the same number of steps, and changes one thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from napari_probseg.dataset.raw import RawDataset, datasets_below, named
from napari_probseg.io.atomic import output_folder
from napari_probseg.nn.unet import AVETISIAN2018, ISENSEE2017, KAYALIBAY2017, NNUNET2018, UNet, UNetConfig
from napari_probseg.progress import Progress
from napari_probseg.training.augment import augmentation
from napari_probseg.training.examples import Example, batch_maker, count_labels, read_examples
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.segmentation import overlaps, segmentation_loss, untrained

N_STEPS = 200
N_BATCH = 4
PATCH = {2: (128, 128), 3: (32, 32, 32)}
N_TEST = 10  # images of the test part that are evaluated


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Parameters
    ----------
    network : UNetConfig
    loss : str
        A key of `napari_probseg.training.segmentation.LOSSES`.
    augment : bool
    published : str
        The paper's own figure, where it is known for certain.
    """

    network: UNetConfig
    loss: str
    augment: bool = False
    published: str = ""


@dataclass(frozen=True)
class Comparison:
    """One table: a question, the data set (the end of its folder's name) and the variants that answer it."""

    question: str
    data: str
    variants: Mapping[str, Variant]
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class Row:
    """What became of a variant: Dice and IoU of each label, means over images."""

    name: str
    published: str
    n_weights: int
    seconds: float
    dice: dict[int, float] = field(default_factory=dict)
    iou: dict[int, float] = field(default_factory=dict)


def _small(config: UNetConfig, first: int = 8) -> UNetConfig:
    """Return three levels of few channels, which train in minutes."""
    return replace(config, widths=(first, 2 * first, 4 * first), n_maps=min(config.n_maps, 3))


_KAYALIBAY, _NNUNET, _ISENSEE = _small(KAYALIBAY2017), _small(NNUNET2018), _small(ISENSEE2017)
_AVETISIAN = _small(AVETISIAN2018, 12)

COMPARISONS = {
    "kayalibay2017": (
        Comparison(
            "Jaccard distance or cross-entropy, where labels are rare?",
            "BrainHaemorrhageCT",
            {"Jaccard distance": Variant(_KAYALIBAY, "jaccard"), "cross-entropy": Variant(_KAYALIBAY, "cross_entropy")},
        ),
        Comparison(
            "And where several labels share the image?",
            "VocalFolds",
            {"Jaccard distance": Variant(_KAYALIBAY, "jaccard"), "cross-entropy": Variant(_KAYALIBAY, "cross_entropy")},
        ),
        Comparison(
            "What do its choices bring in 3-D?",
            "Hippocampus",
            {
                "Kayalibay 2017": Variant(_KAYALIBAY, "jaccard"),
                "cross-entropy": Variant(_KAYALIBAY, "cross_entropy"),
                "skips summed": Variant(replace(_KAYALIBAY, skip="sum"), "jaccard"),
                "no skips": Variant(replace(_KAYALIBAY, skip="none"), "jaccard"),
                "one segmentation map": Variant(replace(_KAYALIBAY, n_maps=1), "jaccard"),
            },
        ),
    ),
    "nnunet2018": (
        Comparison(
            "What do its choices bring?",
            "Hippocampus",
            {
                # The full network's in the challenge's test (Antonelli et al. 2022), the nearest figure there is.
                "nnU-Net": Variant(_NNUNET, "dice_cross_entropy", published="0.90, 0.89"),
                "batch norm": Variant(replace(_NNUNET, norm="batch"), "dice_cross_entropy"),
                "no norm": Variant(replace(_NNUNET, norm="none"), "dice_cross_entropy"),
                "ReLU": Variant(replace(_NNUNET, activation="relu"), "dice_cross_entropy"),
                "cross-entropy alone": Variant(_NNUNET, "cross_entropy"),
                "Dice alone": Variant(_NNUNET, "dice"),
                "with augmentation": Variant(_NNUNET, "dice_cross_entropy", augment=True),
            },
        ),
    ),
    "avetisian2018": (
        Comparison(
            "Flat convolutions along the axes, or full ones?",
            "Hippocampus",
            {
                "factorised": Variant(_AVETISIAN, "iou"),
                "full": Variant(replace(_AVETISIAN, factorised=False), "iou"),
                "factorised, cross-entropy": Variant(_AVETISIAN, "cross_entropy"),
            },
        ),
    ),
    "isensee2017": (
        Comparison(
            "What do its choices bring?",
            "Hippocampus",
            {
                "Isensee 2017": Variant(_ISENSEE, "dice"),
                "one segmentation layer": Variant(replace(_ISENSEE, n_maps=1), "dice"),
                "no residual blocks": Variant(replace(_ISENSEE, residual=False, dropout=0.0), "dice"),
                "no dropout": Variant(replace(_ISENSEE, dropout=0.0), "dice"),
                "cross-entropy": Variant(_ISENSEE, "cross_entropy"),
            },
        ),
    ),
}


def reproduce(
    experiment: str,
    folder: str | Path,
    *,
    data: str | Path,
    n_steps: int = N_STEPS,
    n_test: int = N_TEST,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[Progress]:
    """Train every variant of a paper's comparisons and write ``EXPERIMENT.md`` with their tables.

    Parameters
    ----------
    experiment : str
        A key of `COMPARISONS`.
    folder : path
        Gets the tables.
    data : path
        A folder of nnU-Net v2 raw data sets.
    n_steps, n_test : int
        Steps of training of each variant, and images of the test part that it is evaluated on.
    seed : int
        Of weights and patches.
    device : str

    Yields
    ------
    Progress
        After each step, counted over all variants.

    Raises
    ------
    FileNotFoundError
        If a data set that a comparison needs is not there.
    """
    comparisons = COMPARISONS[experiment]
    datasets = {c.data: named([c.data], datasets_below(data))[0] for c in comparisons}
    total = n_steps * sum(len(c.variants) for c in comparisons)
    folder = output_folder(folder)
    parts, done = [_legend(experiment, n_steps, n_test, seed)], 0
    for comparison in comparisons:
        dataset = datasets[comparison.data]
        training, test = (read_examples(dataset, dataset.split(part)) for part in ("training", "test"))
        rows = []
        for name, variant in comparison.variants.items():
            unet = untrained(_fitting(variant.network, training[0], count_labels(dataset)), seed=seed)
            config = FitConfig(
                n_steps, learning_rate=comparison.learning_rate, n_warmup=n_steps // 10 + 1, average=0.9, seed=seed
            )
            seconds = []
            for progress in _training(unet, variant, training, config, device=device):
                seconds.append(progress.seconds)
                yield Progress(done + progress.step, total, progress.losses, progress.seconds)
            done += n_steps
            scores = overlaps(unet, test[:n_test], patch=PATCH[test[0].label.ndim], device=device)
            rows.append(_row(name, variant, unet, seconds, scores))
        parts.append(table(comparison.question, dataset, rows))
    (folder / f"{experiment}.md").write_text("\n".join(parts), encoding="utf-8")


def _legend(experiment: str, n_steps: int, n_test: int, seed: int) -> str:
    """Return what the tables were made by, and of."""
    command = f"`napari-probseg reproduce {experiment} --seed {seed} --steps {n_steps}`"
    return (
        f"{command}: {N_BATCH} patches of 32 x 32 x 32 or 128 x 128 a step, three levels of few channels, at most "
        f"{n_test} images of the test part; means of Dice and intersection over union over images, seconds a step on "
        f"{torch.get_num_threads()} threads. Where a cell is empty, the paper's figure is not known to us.\n"
    )


def table(question: str, dataset: RawDataset, rows: list[Row]) -> str:
    """Return rows as markdown: Dice of each label, the mean, and the mean IoU."""
    names = {value: name for name, value in dataset.labels.items() if value}
    head = [
        "",
        "published",
        "weights",
        "s / step",
        *(f"Dice {name}" for name in names.values()),
        "mean Dice",
        "mean IoU",
    ]
    lines = [f"### {question}", f"{dataset.folder.name}", "", _line(head), _line(["---"] * len(head))]
    for row in rows:
        each = [f"{row.dice[v]:.3f}" if v in row.dice else "" for v in names]
        means = [f"{np.mean(list(figures.values())):.3f}" if figures else "" for figures in (row.dice, row.iou)]
        lines.append(_line([row.name, row.published, f"{row.n_weights:,}", f"{row.seconds:.2f}", *each, *means]))
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(name: str, variant: Variant, network: UNet, seconds: list[float], scores: dict[int, list[float]]) -> Row:
    iou = {label: float(np.mean([d / (2 - d) for d in values])) for label, values in scores.items()}
    return Row(
        name,
        variant.published,
        sum(p.numel() for p in network.parameters()),
        float(np.median(seconds)),
        {label: float(np.mean(values)) for label, values in scores.items()},
        iou,
    )


def _fitting(network: UNetConfig, example: Example, n_labels: int) -> UNetConfig:
    return replace(network, ndim=example.label.ndim, n_channels=len(example.image), n_labels=n_labels)


def _training(
    network: UNet, variant: Variant, examples: list[Example], config: FitConfig, *, device: str
) -> Iterator[Progress]:
    change = augmentation(examples[0].spacing, mirror=False) if variant.augment else None
    batches = batch_maker(
        examples, PATCH[examples[0].label.ndim], n_batch=N_BATCH, share_foreground=0.5, augment=change, device=device
    )
    return fit(network, batches, segmentation_loss(variant.loss), config, device=device)
