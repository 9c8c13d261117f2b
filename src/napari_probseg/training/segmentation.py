"""Supervised training of a U-Net on a data set in the nnU-Net v2 raw format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.dataset.raw import RawDataset
from napari_probseg.inference.sliding_window import logits
from napari_probseg.io.atomic import output_folder, write_whole
from napari_probseg.metrics import dice
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.plan import GIB, Plan, plan
from napari_probseg.nn.unet import UNETS, UNet, UNetConfig
from napari_probseg.progress import Progress
from napari_probseg.training.augment import augmentation
from napari_probseg.training.curve import Curve
from napari_probseg.training.distributed import is_first
from napari_probseg.training.examples import Batch, Example, batch_maker, count_labels, read_examples
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import (
    LabelLoss,
    deep_supervision,
    dice_cross_entropy,
    foreground_iou_loss,
    multiclass_dice_loss,
    multiclass_jaccard_distance,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOSSES: dict[str, LabelLoss] = {
    "dice_cross_entropy": dice_cross_entropy,
    "dice": multiclass_dice_loss,
    "cross_entropy": lambda logits, target: F.cross_entropy(logits.float(), target),
    "jaccard": multiclass_jaccard_distance,
    "iou": foreground_iou_loss,
}


@dataclass(frozen=True)
class Recipe:
    """What a paper trains with; the weight decay is AdamW's, not the paper's L2."""

    loss: str
    learning_rate: float
    weight_decay: float


RECIPES = {
    "isensee2017": Recipe("dice", 5e-4, 1e-5),
    "kayalibay2017": Recipe("jaccard", 1e-3, 1e-5),
    "nnunet2018": Recipe("dice_cross_entropy", 3e-4, 1e-5),
    "avetisian2018": Recipe("iou", 7.6e-5, 3e-4),
}


@dataclass(frozen=True)
class SegmentationTraining:
    """How patches are drawn and judged.

    Parameters
    ----------
    loss : str
        A key of `LOSSES`; the paper's if empty.
    patch : tuple of int
        Voxels; the planner's if empty.
    memory : float
        Bytes for a step, from which the planner chooses.
    n_batch : int
        Patches in a step.
    share_foreground : float
        Of the patches that are centred on a label.
    share_held_out : float
        Of the cases, the last ones, that validate and are never trained on.
    augment : bool
        Whether patches are flipped, turned, deformed and changed in intensity.
    """

    loss: str = ""
    patch: tuple[int, ...] = ()
    memory: float = 2 * GIB
    n_batch: int = 2
    share_foreground: float = 1 / 3
    share_held_out: float = 0.2
    augment: bool = True


def train_segmentation(
    folder: str | Path,
    data: str | Path,
    *,
    preset: str = "nnunet2018",
    config: SegmentationTraining | None = None,
    fit_config: FitConfig | None = None,
    network: UNetConfig | None = None,
    cases: Sequence[str] | None = None,
    device: str = "cpu",
    fabric: Fabric | None = None,
) -> Iterator[Progress]:
    """Train a U-Net; go on where an earlier call was broken off.

    Parameters
    ----------
    folder : path
        Gets checkpoints, ``PRESET.safetensors`` with the best weights, ``PRESET.json`` with what they are for, and the
        learning curve, ``curve.csv`` and ``curve.png``.
    data : path
        A data set in the nnU-Net v2 raw format.
    preset : str
        ``"isensee2017"``, ``"kayalibay2017"``, ``"nnunet2018"`` or ``"avetisian2018"``.
    config, fit_config, network
        The recipe and the network; the paper's, and for ``"nnunet2018"`` what the planner makes of the data, if absent.
    cases : sequence of str, optional
        Which to use; the data set's training part if absent.
    device : str
        Where it is trained.
    fabric : Fabric, optional
        Of several processes that train together, see `fit`.

    Yields
    ------
    Progress
        After each step.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data set is missing or does not fit together; nothing has been trained then.
    RuntimeError
        If MONAI is not installed.
    """
    recipe, config = _recipe(preset), config or SegmentationTraining()
    fit_config = fit_config or fit_config_of(preset, n_steps=5000)
    dataset = RawDataset(data)
    training, held_out = divided(dataset, cases, share_held_out=config.share_held_out)
    chosen = planned(preset, training, n_labels=count_labels(dataset), config=config, network=network)
    unet = untrained(chosen.config, seed=fit_config.seed)
    folder = output_folder(folder)
    if is_first(fabric):
        _describe(folder / f"{preset}.json", preset, dataset, training, patch=chosen.patch, config=config)
    batches = _batches(dataset, training, config, patch=chosen.patch, device=device)
    loss = segmentation_loss(config.loss or recipe.loss)
    judge = partial(validate, examples=held_out, patch=chosen.patch, device=device)
    steps = fit(unet, batches, loss, fit_config, folder=folder, device=device, validate=judge, fabric=fabric)
    yield from _with_curve(steps, folder, keeps=is_first(fabric))
    if is_first(fabric):
        write_weights(folder / f"{preset}.safetensors", unet.state_dict(), preset=preset, config=asdict(chosen.config))


def _batches(
    dataset: RawDataset,
    training: Sequence[Example],
    config: SegmentationTraining,
    *,
    patch: Sequence[int],
    device: str,
) -> Callable[[torch.Generator], Batch]:
    """Return what makes the batches of a training, changed at random where that is asked for."""
    change = augmentation(training[0].spacing, mirror=not _has_sides(dataset)) if config.augment else None
    return batch_maker(
        training,
        patch,
        n_batch=config.n_batch,
        share_foreground=config.share_foreground,
        augment=change,
        device=device,
    )


def _describe(
    path: Path,
    preset: str,
    dataset: RawDataset,
    training: Sequence[Example],
    *,
    patch: Sequence[int],
    config: SegmentationTraining,
) -> None:
    """Write what the weights are for."""
    about = {"preset": preset, "data": dataset.folder.name, "labels": dataset.labels, "patch": patch}
    about |= {"spacing": _median([e.spacing for e in training]), "training": asdict(config)}
    write_whole(path, json.dumps(about, indent=1).encode())


def _with_curve(steps: Iterator[Progress], folder: Path, *, keeps: bool) -> Iterator[Progress]:
    """Pass the steps on, and draw the learning curve at each validation where this process ``keeps`` it."""
    curve = Curve.load(folder / "curve.csv")
    for progress in steps:
        curve.add(progress)
        if progress.validation and keeps:
            curve.save(folder)
        yield progress


def fit_config_of(preset: str, *, n_steps: int, patience: int = 0, seed: int = 0) -> FitConfig:
    """Return how a preset is trained: its paper's rates, and ten validations.

    Raises
    ------
    ValueError
        If there is no recipe for it.
    """
    recipe = _recipe(preset)
    return FitConfig(
        n_steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        n_warmup=min(100, n_steps // 10),
        average=0.99,
        mixed_precision=True,
        validate_every=max(1, n_steps // 10),
        patience=patience,
        seed=seed,
    )


def divided(
    dataset: RawDataset, cases: Sequence[str] | None = None, *, share_held_out: float
) -> tuple[list[Example], list[Example]]:
    """Return the examples to train on and the held-out ones, the last of the cases, one at least.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    names = list(dataset.split("training") if cases is None else cases)
    if len(names) < 2:
        raise ValueError(
            f"{dataset.folder} has {len(dataset.cases)} labelled cases, of which {len(names)} may be trained on: "
            f"2 are needed, one to train on and one to validate with"
        )
    n_held_out = min(len(names) - 1, max(1, round(share_held_out * len(names))))
    examples = read_examples(dataset, names)
    return examples[:-n_held_out], examples[-n_held_out:]


def planned(
    preset: str,
    examples: Sequence[Example],
    *,
    n_labels: int,
    config: SegmentationTraining,
    network: UNetConfig | None = None,
) -> Plan:
    """Return network and patch for the examples; a paper's network keeps its levels, nnU-Net's depend on the data."""
    shape = _median([e.label.shape for e in examples])
    n_channels = len(examples[0].image)
    base = replace(network or UNETS[preset], ndim=len(shape), n_channels=n_channels, n_labels=n_labels)
    found = plan(
        [max(1, round(n)) for n in shape],
        _median([e.spacing for e in examples]),
        memory=config.memory,
        n_batch=config.n_batch,
        base=base,
    )
    keeps_levels = network is not None or preset != "nnunet2018"
    return Plan(base if keeps_levels else found.config, config.patch or found.patch)


def untrained(config: UNetConfig, *, seed: int) -> UNet:
    """Return a network with random weights, laid out as convolutions on a CPU are fastest."""
    torch.manual_seed(seed)
    layout = torch.channels_last if config.ndim == 2 else torch.channels_last_3d
    return UNet(config).to(memory_format=layout)  # type: ignore[no-any-return, call-overload]


def segmentation_loss(name: str) -> Callable[[nn.Module, Batch, int], Losses]:
    """Return the named loss for `fit`; coarser maps are supervised where they do not add to the logits.

    Raises
    ------
    ValueError
        If there is no loss of that name.
    """
    if name not in LOSSES:
        raise ValueError(f"there is no loss {name!r}: choose one of {', '.join(LOSSES)}")

    def loss(network: nn.Module, batch: Batch, step: int) -> Losses:
        assert isinstance(network, UNet)
        x, target = batch
        maps = network.maps(x)
        return {"total": deep_supervision(LOSSES[name], maps[:1] if network.config.sum_maps else maps, target)}

    return loss


def predict(network: nn.Module, image: Tensor, *, patch: Sequence[int], device: str = "cpu") -> NDArray[np.intp]:
    """Return the label of every voxel, (Z, Y, X), from overlapping patches of a normalised image, (C, Z, Y, X)."""
    return np.asarray(logits(network, image, patch=patch, device=device).argmax(0).numpy())


def validate(
    network: nn.Module, examples: Sequence[Example], *, patch: Sequence[int], device: str = "cpu"
) -> dict[str, float]:
    """Return the mean Dice of each label, ``"label 1"``, ..., and their mean, ``"score"``."""
    scores = overlaps(network, examples, patch=patch, device=device)
    figures = {f"label {label}": float(np.mean(values)) for label, values in scores.items()}
    return figures | {"score": float(np.mean(list(figures.values()))) if figures else 1.0}


def overlaps(
    network: nn.Module, examples: Sequence[Example], *, patch: Sequence[int], device: str = "cpu"
) -> dict[int, list[float]]:
    """Return the Dice of each foreground label in those examples in which it is or is predicted."""
    scores: dict[int, list[float]] = {}
    for example in examples:
        for label, score in overlaps_in(network, example, patch=patch, device=device).items():
            scores.setdefault(label, []).append(score)
    return dict(sorted(scores.items()))


def overlaps_in(network: nn.Module, example: Example, *, patch: Sequence[int], device: str = "cpu") -> dict[int, float]:
    """Return the Dice of each foreground label that is in an example or is predicted there."""
    predicted, truth = predict(network, example.image, patch=patch, device=device), example.label.numpy()
    labels = [int(label) for label in np.union1d(predicted, truth) if label]
    return {label: dice(predicted == label, truth == label) for label in labels}


def _recipe(preset: str) -> Recipe:
    if preset not in RECIPES:
        raise ValueError(f"there is no recipe for {preset!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[preset]


def _median(rows: Sequence[Sequence[float]]) -> list[float]:
    return [float(n) for n in np.median(np.array(rows), axis=0)]


def _has_sides(dataset: RawDataset) -> bool:
    """Return whether labels tell left from right, which a flip would confuse."""
    return any(side in name.lower().split() for name in dataset.labels for side in ("left", "right"))
