"""Commands: demo, propose, complete, train, evaluate, reproduce."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_probseg.cli import active_learning as cli_loop

if TYPE_CHECKING:
    from napari_probseg.progress import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segment images that no model has seen: brush a little, choose among proposals, repeat.",
)
app.add_typer(cli_loop.app, name="dataset")

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Resample = Annotated[
    bool,
    typer.Option("--resample", help="Take masks that lie on other voxels to the nearest of the image's."),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]


MIN_PACKED = 10_000  # crops of a pack


class Experiment(StrEnum):
    """A published experiment."""

    wong2022 = "wong2022"
    isensee2017 = "isensee2017"
    kayalibay2017 = "kayalibay2017"
    nnunet2018 = "nnunet2018"
    avetisian2018 = "avetisian2018"
    groff2018 = "groff2018"


class Preset(StrEnum):
    """A network that can be trained, a part of one, or what it is trained on."""

    general = "general"
    general3d = "general3d"
    pack = "pack"
    refiner = "refiner"
    isensee2017 = "isensee2017"
    kayalibay2017 = "kayalibay2017"
    nnunet2018 = "nnunet2018"
    avetisian2018 = "avetisian2018"


def main() -> None:
    """Run the command line; what a user can mend is told in one sentence."""
    warnings.showwarning = _show  # type: ignore[assignment]
    try:
        app()
    except (ValueError, TypeError, OSError, RuntimeError, LookupError, MemoryError) as error:
        typer.echo(f"napari-probseg: {_sentence_of(error)}", err=True)
        sys.exit(1)


def _show(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Show a warning on a line of its own."""
    typer.echo(f"napari-probseg: note: {str(message).splitlines()[0]}", err=True)


def _sentence_of(error: Exception) -> str:
    """Return the first line of an error; of what lacks memory, what to do."""
    said = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    first = said.strip().splitlines()[0] if said.strip() else type(error).__name__
    if (
        "out of memory" in said
        or "can't allocate memory" in said
        or (isinstance(error, MemoryError) and ":" not in said)
    ):
        return "there is not enough memory for this: close other programs, or work on a smaller image or a part of it"
    return first


@app.command()
def demo(
    image: Annotated[Path | None, typer.Argument(help="An image or volume; a micrograph if absent.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture here instead of opening a window.")] = None,
    device: Device = "auto",
) -> None:
    """Show strokes and the candidates that they lead to: in napari, or as a picture where there is no display."""
    from napari_probseg.cli.demo import example, has_display, open_example
    from napari_probseg.proposers import load_proposer
    from napari_probseg.rendering import picture as draw

    shown = example(image)
    proposer = load_proposer(device=device)
    if picture is None and has_display() and _has_napari():
        import napari

        open_example(shown, proposer)
        napari.run()
        return
    candidates = proposer.propose(shown.case, 8, plane=shown.plane)
    path = picture or Path("napari-probseg-demo.png")
    draw(shown.name, candidates).save(path)
    typer.echo(f"{len(candidates)} candidates for {shown.name}; see {path.resolve()}")


@app.command()
def propose(
    image: Annotated[Path, typer.Argument(help="The image or volume.")],
    out: Annotated[Path, typer.Argument(help="Where the candidates go: OUT_1.EXT, OUT_2.EXT, ...")],
    inside: Annotated[Path | None, typer.Option(help="A mask of strokes inside the object.")] = None,
    outside: Annotated[Path | None, typer.Option(help="A mask of strokes outside of it.")] = None,
    n: Annotated[int, typer.Option("-n", help="How many candidates.")] = 8,
    plane: Annotated[tuple[int, int] | None, typer.Option(help="Axis and index of a volume's plane.")] = None,
    volume: Annotated[bool, typer.Option("--volume", help="Continue the object in 3-D, not on one plane.")] = False,
    reach: Annotated[float, typer.Option(help="How far to grow, in (0, 1].")] = 1.0,
    resample: Resample = False,
    weights: Annotated[str, typer.Option(help="Shipped weights by name, or a weights file.")] = "general",
    picture: Annotated[Path | None, typer.Option(help="Write a picture of the candidates, too.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write candidates for strokes: 0 unknown, 1 object, 2 background."""
    from napari_probseg.io import read, write
    from napari_probseg.io.labels import read_mask
    from napari_probseg.proposers import load_proposer
    from napari_probseg.rendering import picture as draw

    source = read(image)
    masks = [
        None if path is None else read_mask(path, source, of=image, resample=resample) for path in (inside, outside)
    ]
    case = source.case().mark(*masks)
    proposer = load_proposer(weights, device=device)
    options: dict[str, Any] = ({"reach": reach} if reach != 1 else {}) | ({"ndim": 3} if volume else {})
    candidates = proposer.propose(case, n, seed=seed, plane=plane, **options)
    ending = "".join(out.suffixes[-2:]) if out.name.endswith(".nii.gz") else out.suffix
    for i, partial in enumerate(candidates.partial):
        path = out.with_name(f"{out.name.removesuffix(ending)}_{i + 1}{ending}")
        write(path, partial, like=source)
        added, background = candidates.added(i)
        share = round(100 * float(candidates.share[i]))
        typer.echo(f"{path}: +{added} object, +{background} background, {share} % of the samples")
    if picture is not None:
        draw(image.name, candidates).save(picture)


@app.command()
def complete(
    image: Annotated[Path, typer.Argument(help="The image or volume, or a folder of them.")],
    out: Annotated[Path, typer.Argument(help="Where the mask of the object goes; a folder for a folder.")],
    inside: Annotated[
        Path | None,
        typer.Option(help="A mask of strokes inside the object; or a folder of masks, named as the images."),
    ] = None,
    outside: Annotated[Path | None, typer.Option(help="A mask of strokes outside of it; or a folder.")] = None,
    resample: Resample = False,
    plane: Annotated[tuple[int, int] | None, typer.Option(help="Axis and index of a plane; else the volume.")] = None,
    smoothness: Annotated[float, typer.Option(help="Of the border; 0 takes what is likelier, voxel by voxel.")] = 1.0,
    edges: Annotated[float, typer.Option(help="An edge's difference of intensity, over the image's noise.")] = 2.0,
    weights: Annotated[
        str, typer.Option(help="general; appearance, intensities: no network; or a weights file.")
    ] = "general",
    label: Annotated[str | None, typer.Option(help="Of a U-Net that knows several: which one.")] = None,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Of a folder: processes on this machine; 0 is this one.")] = 0,
    scheduler: Annotated[
        str | None, typer.Option(help="Of a folder: the address of a dask cluster's scheduler.")
    ] = None,
) -> None:
    """Write the mask of the whole object that strokes mean: 1 object, 0 background.

    Of a folder, each image is completed whose mask is not there yet; what cannot be is named at the end.
    """
    from napari_probseg import batch
    from napari_probseg.progress import report_of

    config = batch.BatchConfig(weights, device, smoothness, edges, plane, label, resample)
    if not image.is_dir():
        n = batch.complete_file(batch.Job(image, inside, outside, out), config)
        typer.echo(f"{out}: {n} voxels")
        return
    jobs = batch.jobs_of(image, out, inside=inside, outside=outside)
    with batch.cluster(n_workers=workers, scheduler=scheduler) as client:
        for line in report_of(batch.complete_all(jobs, config, client=client), len(jobs)):
            typer.echo(line)


@app.command()
def train(
    preset: Annotated[
        Preset,
        typer.Argument(help="Which network; 'pack': the crops of 'general' alone; 'refiner': its last part, after it."),
    ],
    out: Annotated[Path, typer.Argument(help="A folder for checkpoints and weights; goes on with what is there.")],
    data: Annotated[
        Path | None,
        typer.Option(envvar="PROBSEG_DATA", help="An nnU-Net v2 raw data set; for 'general' a folder of such sets."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A data set that is left out, by name, again for each; for 'general' alone."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all; as the shipped weights, or 5000, if absent.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="How long 'general' trains; as the shipped weights if absent.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops in a step of 'general'; 256 suits a GPU.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights that 'general' starts from; else random ones.")] = None,
    memory: Annotated[
        float, typer.Option(help="GiB for a step, by which patches are chosen ('general' has its own).")
    ] = 2,
    patience: Annotated[
        int, typer.Option(help="Tenths of the steps without a better score that end it; 0: none; not for 'general'.")
    ] = 0,
    all_cases: Annotated[bool, typer.Option(help="Use the last third of the cases, too; not for 'general'.")] = False,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    devices: Annotated[
        int,
        typer.Option(min=1, help="Processes on this machine, each with a GPU on cuda; for more machines: torchrun."),
    ] = 1,
) -> None:
    """Train a network: 'general' on synthetic scenes and data sets, a U-Net on one data set."""
    from collections import deque
    from dataclasses import replace

    if preset in (Preset.pack, Preset.refiner):
        if data is None:
            raise ValueError(f"{preset.value} needs data sets: name their folder with --data")
        (_pack if preset is Preset.pack else _train_refiner)(out, data, without or (), start, seed)
        return
    from napari_probseg.training.distributed import is_first, launch

    is_general = preset in (Preset.general, Preset.general3d)
    if data is None and not is_general:
        raise ValueError(f"{preset.value} trains on a data set: name its folder with --data")
    if start is not None and not is_general:
        raise ValueError(f"{preset.value} trains from random weights: --start is for 'general'")
    if without and (data is None or not is_general):
        raise ValueError("--without leaves data sets out of those that 'general' sees: name their folder with --data")
    fabric = launch(devices, device)  # from here on, N processes do the same
    device = str(fabric.device) if fabric else device
    if is_general:
        from napari_probseg.training.general import RECIPES, train_general

        ndim = 2 if preset is Preset.general else 3
        shipped, crops = RECIPES[ndim].fit, RECIPES[ndim].training
        if steps:
            recipe = replace(shipped, n_steps=steps, minutes=minutes or 0.0, seed=seed)
        else:
            recipe = replace(shipped, minutes=minutes or shipped.minutes, seed=seed)
        training = train_general(
            out,
            ndim=ndim,
            data=data,
            without=without or (),
            fit_config=recipe,
            config=replace(crops, n_batch=batch or crops.n_batch),
            start=start,
            device=device,
            fabric=fabric,
        )
    else:
        from napari_probseg.dataset.raw import RawDataset
        from napari_probseg.training.segmentation import SegmentationTraining, fit_config_of, train_segmentation

        assert data is not None
        recipe = fit_config_of(preset.value, n_steps=steps or 5000, patience=patience, seed=seed)
        training = train_segmentation(
            out,
            data,
            preset=preset.value,
            config=SegmentationTraining(memory=memory * 2**30),
            fit_config=recipe,
            cases=RawDataset(data).cases if all_cases else None,
            device=device,
            fabric=fabric,
        )
    if not is_first(fabric):
        deque(training, maxlen=0)  # takes all the steps and says nothing
        return
    _shown(training)
    if not is_general:
        typer.echo(f"the learning curve is {out / 'curve.png'}")
    typer.echo(f"the weights are {out / preset.value}.safetensors")


@app.command()
def evaluate(
    out: Annotated[Path, typer.Argument(help="A folder for rows, tables and curves; goes on with what is there.")],
    data: Annotated[
        Path | None, typer.Option(envvar="PROBSEG_DATA", help="An nnU-Net v2 raw data set, or a folder of such.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option(help="The end of a data set's name, again for each; all if absent.")
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Of the test part (the last third) of each data set.")] = 12,
    methods: Annotated[list[str] | None, typer.Option(help="A method's name, again for each; all if absent.")] = None,
    interactions: Annotated[int, typer.Option(min=1, help="At most, with each object.")] = 20,
    marks: Annotated[str, typer.Option(help="dabs, scribbles, or box: a box first, then dabs.")] = "dabs",
    volumes: Annotated[bool, typer.Option(help="In 3-D, on volumes; else on images, and planes of volumes.")] = False,
    weights: Annotated[str, typer.Option(help="Shipped weights by name, or a weights file.")] = "general",
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="An evaluation of other sets or with other weights that the tables tell of, too."),
    ] = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
) -> None:
    """Measure how many interactions each method needs, ours and classical ones: tables and curves."""
    from napari_probseg.evaluate.run import EvaluateConfig
    from napari_probseg.evaluate.run import evaluate as run

    if data is None:
        raise ValueError("it is measured on data sets: name their folder with --data")
    config = EvaluateConfig(
        sets=tuple(sets or ()),
        n_cases=cases,
        methods=tuple(methods or ()),
        n_interactions=interactions,
        ndim=3 if volumes else 2,
        marks=marks,
        seed=seed,
        weights=weights,
        device=device,
    )
    for line in run(data, out, config, beside=beside or ()):
        typer.echo(line, err=True)
    typer.echo((out / "evaluation.md").read_text(encoding="utf-8"))
    typer.echo(f"the curves are {out / 'curves.png'}")


@app.command()
def reproduce(
    experiment: Annotated[Experiment, typer.Argument(help="Which one.")],
    out: Annotated[Path | None, typer.Option(help="A folder for what comes of it; runs/EXPERIMENT if absent.")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="PROBSEG_DATA", help="Folder of nnU-Net v2 raw sets; not for wong2022.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of each training; as ours, for minutes, if absent.")] = None,
    seed: Seed = 0,
) -> None:
    """Do a published experiment again and print its table beside the paper's."""
    out = out or Path("runs") / experiment.value
    if experiment is Experiment.wong2022:
        from napari_probseg.reproduce import wong2022

        _shown(wong2022.reproduce(out, seed=seed, n_steps=steps or wong2022.SHIPPED_STEPS))
    elif data is None:
        raise ValueError(f"{experiment.value} trains on data sets: name their folder with --data")
    elif experiment is Experiment.groff2018:
        from napari_probseg.reproduce import groff2018

        _shown(groff2018.reproduce(out, data=data, n_steps=steps, seed=seed))
    else:
        from napari_probseg.reproduce import unets

        _shown(unets.reproduce(experiment.value, out, data=data, n_steps=steps or unets.N_STEPS, seed=seed))
    typer.echo((out / f"{experiment.value}.md").read_text())
    if experiment is Experiment.wong2022:
        typer.echo(f"the figure is {out / experiment.value}.png")


def _pack(out: Path, data: Path, without: Sequence[str], start: Path | None, seed: int) -> None:
    """Write the crops that 'general' is trained on."""
    from napari_probseg.dataset.raw import all_but, datasets_below
    from napari_probseg.training.general import POOL, RECIPES
    from napari_probseg.training.pool import save_pool

    config = RECIPES[2].training
    datasets = all_but(without, datasets_below(data))
    options = {"n_per_dataset": max(config.n_crops, -(-MIN_PACKED // max(1, len(datasets))))}
    out.mkdir(parents=True, exist_ok=True)
    for name in save_pool(out / POOL, datasets, seed=seed, share_pseudo=config.share_pseudo, **options):
        typer.echo(name)
    typer.echo(f"the crops are {out / POOL}, {(out / POOL).stat().st_size / 2**20:.0f} MiB")


def _train_refiner(out: Path, data: Path, without: Sequence[str], start: Path | None, seed: int) -> None:
    """Train the last part of an advised network on whole images."""
    from napari_probseg.dataset.raw import all_but, datasets_below
    from napari_probseg.nn.advised import AdvisedCVAE
    from napari_probseg.nn.presets import load_network
    from napari_probseg.training.general import write_network
    from napari_probseg.training.refine import train_refiner

    path = start or out / "general.safetensors"
    network = load_network(path)
    if not isinstance(network, AdvisedCVAE):
        raise ValueError(f"{path} holds a network without a refiner: start from weights of 'general'")
    for told in train_refiner(network, all_but(without, datasets_below(data)), seed=seed):
        if isinstance(told, str):
            typer.echo(told)
        elif told.step % 50 == 0:
            typer.echo(f"{told.step}/{told.n_steps}  loss {told.losses['total']:.3f}")
    write_network(out / "general.safetensors", network, half=True)
    typer.echo(f"the weights are {out / 'general.safetensors'}, in half precision")


def _shown(progress: Iterator[Progress]) -> None:
    """Show a training as a line that moves, and how much of it went into data."""
    from napari_probseg.training.general import ShareOfTime

    last, share = None, ShareOfTime()
    for last in progress:
        share.add(last)
        if last.step % 10 == 0 or last.step == last.n_steps or last.validation:
            figures = last.losses | last.validation
            shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            typer.echo(f"\r\x1b[K{last.step}/{last.n_steps}  {shown}", nl=False, err=True)
            if last.validation:
                typer.echo("", err=True)
    if last is not None:
        typer.echo("", err=True)
        typer.echo(str(share), err=True)


def _has_napari() -> bool:
    from importlib.util import find_spec

    return find_spec("napari") is not None
