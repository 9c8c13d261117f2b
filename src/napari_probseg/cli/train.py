"""Command that trains: the networks of 'general' on synthetic scenes and data sets, a U-Net on one data set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_probseg.cli.options import Seed, refuse_unused
from napari_probseg.cli.progress import show_training

if TYPE_CHECKING:
    from napari_probseg.nn.presets import General
    from napari_probseg.progress import Progress

MIN_PACKED = {2: 10_000, 3: 600}  # crops of a pack, by number of dimensions


class Preset(StrEnum):
    """A network that can be trained, a part of one, or what it is trained on."""

    general = "general"
    general3d = "general3d"
    pack = "pack"
    pack3d = "pack3d"
    refiner = "refiner"
    refiner3d = "refiner3d"
    isensee2017 = "isensee2017"
    kayalibay2017 = "kayalibay2017"
    nnunet2018 = "nnunet2018"
    avetisian2018 = "avetisian2018"


Memory = Annotated[
    float, typer.Option(min=0.01, help="GiB for a step, by which patches are chosen ('general' has its own).")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps in all; as the shipped weights, or 5000, if absent.")]
Patience = Annotated[
    int,
    typer.Option(min=0, help="Tenths of the steps without a better score that end it; 0: none; not for 'general'."),
]
WHICH = (
    "Which network; 'pack', 'pack3d': the crops of 'general', 'general3d' alone; 'refiner', 'refiner3d': "
    "their last parts."
)
Devices = Annotated[
    int, typer.Option(min=1, help="Processes on this machine, each with a GPU on cuda; for more machines: torchrun.")
]


def train(
    context: typer.Context,
    preset: Annotated[Preset, typer.Argument(help=WHICH)],
    out: Annotated[Path, typer.Argument(help="A folder for checkpoints and weights; goes on with what is there.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="PROBSEG_DATA", help="An nnU-Net v2 raw data set; for 'general' a folder of such sets."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A data set that is left out, by name, again for each; for 'general' alone."),
    ] = None,
    steps: Steps = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="How long 'general' trains; as the shipped weights if absent.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops in a step of 'general'; 256 suits a GPU.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights that 'general' starts from; else random ones.")] = None,
    memory: Memory = 2,
    patience: Patience = 0,
    all_cases: Annotated[bool, typer.Option(help="Use the last third of the cases, too; not for 'general'.")] = False,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    devices: Devices = 1,
) -> None:
    """Train a network: 'general' on synthetic scenes and data sets, a U-Net on one data set."""
    _refuse_misfit(context, preset, data, start, without)
    if preset in PARTS:
        PARTS[preset](out, data, without or (), start, seed)
        return
    from napari_probseg.inference.device import chosen_device
    from napari_probseg.training.distributed import is_first, launch

    if devices == 1:  # else it is asked for where they are launched
        chosen_device(device)  # before crops are cut for long
    is_general = preset in GENERAL_PRESETS
    fabric = launch(devices, device)  # from here on, N processes do the same
    on = {"device": str(fabric.device) if fabric else device, "fabric": fabric}
    if is_general:
        ndim = 2 if preset is Preset.general else 3
        options = {"data": data, "without": without or (), "start": start, **on}
        training = _general(out, ndim, steps=steps, minutes=minutes, n_batch=batch, seed=seed, **options)
    else:
        fitting = {"n_steps": steps or 5000, "patience": patience, "seed": seed}
        training = _unet(out, preset.value, data, fitting, memory=memory, all_cases=all_cases, **on)
    if not is_first(fabric):
        deque(training, maxlen=0)  # takes all the steps and says nothing
        return
    show_training(training)
    if not is_general:
        typer.echo(f"the learning curve is {out / 'curve.png'}")
    typer.echo(f"the weights are {out / preset.value}.safetensors")


def _refuse_misfit(
    context: typer.Context, preset: Preset, data: Path | None, start: Path | None, without: Sequence[str] | None
) -> None:
    """Raise if options were given that a preset has no use for, or one is missing."""
    is_general = preset in GENERAL_PRESETS
    for_unets, for_general = ("memory", "patience", "all_cases"), ("minutes", "batch")
    if preset in PARTS:
        refuse_unused(context, preset.value, *for_unets, *for_general, "steps", "device", "devices")
        if data is None:
            raise ValueError(f"{preset.value} needs data sets: name their folder with --data")
        return
    refuse_unused(context, preset.value, *(for_unets if is_general else for_general))
    if data is None and not is_general:
        raise ValueError(f"{preset.value} trains on a data set: name its folder with --data")
    if start is not None and not is_general:
        raise ValueError(f"{preset.value} trains from random weights: --start is for 'general'")
    if without and (data is None or not is_general):
        raise ValueError("--without leaves data sets out of those that 'general' sees: name their folder with --data")


def _general(
    out: Path, ndim: int, *, steps: int | None, minutes: float | None, n_batch: int | None, seed: int, **options: Any
) -> Iterator[Progress]:
    """Train the network of ``general``, as the shipped weights were trained where nothing else is asked for."""
    from napari_probseg.training.general import train_general
    from napari_probseg.training.recipe import RECIPES

    recipe = RECIPES[ndim]
    fitting = recipe.lasting(steps=steps, minutes=minutes, seed=seed)
    config = replace(recipe.training, n_batch=n_batch or recipe.training.n_batch)
    return train_general(out, ndim=ndim, fit_config=fitting, config=config, **options)


def _unet(
    out: Path, preset: str, data: Path | None, fitting: dict[str, Any], *, memory: float, all_cases: bool, **on: Any
) -> Iterator[Progress]:
    """Train a U-Net on a data set."""
    from napari_probseg.dataset.raw import RawDataset
    from napari_probseg.training.segmentation import SegmentationTraining, fit_config_of, train_segmentation

    assert data is not None
    return train_segmentation(
        out,
        data,
        preset=preset,
        config=SegmentationTraining(memory=memory * 2**30),
        fit_config=fit_config_of(preset, **fitting),
        cases=RawDataset(data).cases if all_cases else None,
        **on,
    )


def _pack(ndim: int, out: Path, data: Path, without: Sequence[str], start: Path | None, seed: int) -> None:
    """Write the crops that a general network is trained on, and the weights that it begins with."""
    from napari_probseg.dataset.raw import all_but, datasets_below
    from napari_probseg.io.atomic import output_folder
    from napari_probseg.training.general import POOL, START, first_network, write_network
    from napari_probseg.training.pool import save_pool
    from napari_probseg.training.recipe import RECIPES

    recipe = RECIPES[ndim]
    datasets = all_but(without, datasets_below(data))
    options = {"n_per_dataset": max(recipe.training.n_crops, -(-MIN_PACKED[ndim] // max(1, len(datasets))))}
    output_folder(out)
    for name in save_pool(
        out / POOL, datasets, seed=seed, ndim=ndim, share_pseudo=recipe.training.share_pseudo, **options
    ):
        typer.echo(name)
    write_network(out / START, first_network(start, recipe.network, seed), half=True)
    typer.echo(f"the crops are {out / POOL}, {(out / POOL).stat().st_size / 2**20:.0f} MiB")
    typer.echo(f"the weights to start from are {out / START}")


def _train_refiner(out: Path, data: Path, without: Sequence[str], start: Path | None, seed: int) -> None:
    """Train the last part of an advised network on whole images."""
    from napari_probseg.dataset.raw import all_but, datasets_below
    from napari_probseg.nn.advised import AdvisedCVAE
    from napari_probseg.nn.presets import load_network
    from napari_probseg.training.refine import train_refiner

    path = start or out / "general.safetensors"
    network = load_network(path)
    if not isinstance(network, AdvisedCVAE):
        raise ValueError(f"{path} holds a network without a refiner: start from weights of 'general'")
    show_training(train_refiner(network, all_but(without, datasets_below(data)), seed=seed))
    _write_in_half(out / "general.safetensors", network)


def _train_volume_refiner(out: Path, data: Path, without: Sequence[str], start: Path | None, seed: int) -> None:
    """Train the last part of a network of volumes on whole objects, beside the network of images in its folder."""
    from napari_probseg.dataset.raw import all_but, datasets_below
    from napari_probseg.nn.advised import AdvisedCVAE
    from napari_probseg.nn.general import GeneralCVAE
    from napari_probseg.nn.presets import load_network
    from napari_probseg.nn.volume import refined
    from napari_probseg.proposers.shipped import GENERAL, weights_path
    from napari_probseg.training.refine_volumes import train_volume_refiner

    path = start or out / f"{GENERAL[3]}.safetensors"
    network = load_network(path)
    if not isinstance(network, GeneralCVAE) or network.config.ndim != 3:
        raise ValueError(f"{path} holds no network of volumes: start from weights of 'general3d'")
    beside = path.with_name(f"{GENERAL[2]}.safetensors")
    of_images = load_network(beside if beside.is_file() else weights_path(GENERAL[2]))
    if not isinstance(of_images, AdvisedCVAE):
        raise ValueError(f"{beside} holds a network of an earlier release: put weights of 'general' there")
    network = refined(network)
    out.mkdir(parents=True, exist_ok=True)
    show_training(train_volume_refiner(network, of_images, all_but(without, datasets_below(data)), seed=seed))
    _write_in_half(out / f"{GENERAL[3]}.safetensors", network)


def _write_in_half(path: Path, network: General) -> None:
    """Write weights as the shipped ones are, for half of the room, and say where they are."""
    from napari_probseg.training.general import write_network

    write_network(path, network, half=True)
    typer.echo(f"the weights are {path}, in half precision")


GENERAL_PRESETS = (Preset.general, Preset.general3d)
PARTS: dict[Preset, Callable[..., None]] = {
    Preset.pack: partial(_pack, 2),
    Preset.pack3d: partial(_pack, 3),
    Preset.refiner: _train_refiner,
    Preset.refiner3d: _train_volume_refiner,
}
