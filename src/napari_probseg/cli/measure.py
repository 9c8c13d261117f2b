"""Commands that measure: evaluate, reproduce."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_probseg.cli.options import Seed, refuse_unused
from napari_probseg.cli.progress import show_training


class Experiment(StrEnum):
    """A published experiment."""

    wong2022 = "wong2022"
    isensee2017 = "isensee2017"
    kayalibay2017 = "kayalibay2017"
    nnunet2018 = "nnunet2018"
    avetisian2018 = "avetisian2018"
    groff2018 = "groff2018"


def evaluate(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="A folder for rows, tables and curves; goes on with what is there.")],
    data: Annotated[
        Path | None, typer.Option(envvar="PROBSEG_DATA", help="An nnU-Net v2 raw data set, or a folder of such.")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option(help="A data set's name, again for each; all if absent.")] = None,
    cases: Annotated[int, typer.Option(min=1, help="Of the test part (the last third) of each data set.")] = 12,
    methods: Annotated[list[str] | None, typer.Option(help="A method's name, again for each; all if absent.")] = None,
    interactions: Annotated[int, typer.Option(min=1, help="At most, with each object.")] = 20,
    marks: Annotated[str, typer.Option(help="dabs, scribbles, or box: a box first, then dabs.")] = "dabs",
    instances: Annotated[
        bool, typer.Option(help="All objects of images with many: one by one, more like this, a pixel classifier.")
    ] = False,
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
    if instances:
        refuse_unused(context, "--instances", "interactions", "marks", "volumes", "beside")
        _evaluate_instances(data, out, sets, cases, methods, seed, weights, device)
        return
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
    if (out / "curves.png").is_file():
        typer.echo(f"the curves are {out / 'curves.png'}")


def _evaluate_instances(
    data: Path,
    out: Path,
    sets: list[str] | None,
    cases: int,
    methods: list[str] | None,
    seed: int,
    weights: str,
    device: str,
) -> None:
    from napari_probseg.evaluate.instances import InstancesConfig, evaluate_instances

    config = InstancesConfig(tuple(sets or ()), cases, tuple(methods or ()), seed=seed, weights=weights, device=device)
    for line in evaluate_instances(data, out, config):
        typer.echo(line, err=True)
    typer.echo((out / "instances.md").read_text(encoding="utf-8"))


def reproduce(
    context: typer.Context,
    experiment: Annotated[Experiment, typer.Argument(help="Which one.")],
    out: Annotated[Path | None, typer.Option(help="A folder for what comes of it; runs/EXPERIMENT if absent.")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="PROBSEG_DATA", help="Folder of nnU-Net v2 raw sets; not for wong2022.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training; as ours if absent.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many, from --seed on; of the U-Nets' comparisons; as ours if absent.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="General weights that have not seen the --sets, instead of training: groff2018.")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option(help="A data set's name, again for each; with --weights.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A comparison of a U-Net's paper, again for each; all if absent.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Do a published experiment again and print its table beside the paper's; goes on with what is there."""
    out = out or Path("runs") / experiment.value
    refuse_unused(context, experiment.value, *_unused(experiment, weights))
    if experiment is Experiment.wong2022:
        from napari_probseg.reproduce import wong2022

        show_training(wong2022.reproduce(out, seed=seed, n_steps=steps or wong2022.SHIPPED_STEPS))
    elif data is None:
        raise ValueError(f"{experiment.value} trains on data sets: name their folder with --data")
    elif experiment is Experiment.groff2018:
        from napari_probseg.reproduce import groff2018

        show_training(
            groff2018.reproduce(
                out, data=data, n_steps=steps, seed=seed, weights=weights, sets=sets or groff2018.UNSEEN
            )
        )
    else:
        from napari_probseg.reproduce import unets

        show_training(
            unets.reproduce(experiment.value, out, data=data, only=only or (), n_steps=steps, n_seeds=seeds, seed=seed)
        )
    typer.echo((out / f"{experiment.value}.md").read_text())
    if experiment is Experiment.wong2022:
        typer.echo(f"the figure is {out / experiment.value}.png")


def _unused(experiment: Experiment, weights: Path | None) -> tuple[str, ...]:
    """Return the options that do nothing for an experiment."""
    if experiment is Experiment.wong2022:
        return "data", "seeds", "weights", "sets", "only"
    if experiment is Experiment.groff2018:
        return ("seeds", "only", "sets") if weights is None else ("seeds", "only", "steps")
    return "weights", "sets"
