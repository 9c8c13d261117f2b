"""Commands of active learning: dataset train, adopt, rollback, models, rank."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_probseg.cli.dataset import Folder, app
from napari_probseg.cli.options import Device, Seed
from napari_probseg.cli.progress import Line, shown

if TYPE_CHECKING:
    from napari_probseg.active_learning.registry import Change

__all__ = ["app"]


@app.command()
def train(
    folder: Folder,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all; some minutes' worth if absent.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights to start from; those in use if absent.")] = None,
    anew: Annotated[bool, typer.Option(help="Begin again where a training was broken off.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a model on the images of a data set, from the one in use; go on with a training that was broken off."""
    from napari_probseg.active_learning.train import train as training
    from napari_probseg.dataset.collection import Collection

    shown(training(Collection(folder), steps=steps, start=start, seed=seed, anew=anew, device=device))
    typer.echo(f"compare it with the model in use, and take it if it is better: napari-probseg dataset adopt {folder}")


@app.command()
def adopt(
    folder: Folder,
    model: Annotated[str | None, typer.Argument(help="Its number, such as 0001; the newest if absent.")] = None,
    device: Device = "auto",
) -> None:
    """Use a trained model from now on, if it is better than the one in use on the images that are held out."""
    from napari_probseg.active_learning.registry import adopt as adopted
    from napari_probseg.active_learning.validate import compare
    from napari_probseg.dataset.collection import Collection

    collection = Collection(folder)
    comparison = shown(compare(collection, model, device=device))
    change = adopted(collection, comparison)
    typer.echo(f"{comparison}; model {change.after} is in use now")


@app.command()
def rollback(folder: Folder) -> None:
    """Go back to the model that was in use before."""
    from napari_probseg.active_learning.registry import rollback as undo
    from napari_probseg.dataset.collection import Collection

    change = undo(Collection(folder))
    typer.echo(f"model {change.before} is taken back; in use is {change.after}")


@app.command()
def models(folder: Folder) -> None:
    """List the models of a data set and what became of them, in columns that tabs part."""
    from napari_probseg.active_learning.registry import history, model_in_use, models_of, name_in_use
    from napari_probseg.dataset.collection import Collection

    collection = Collection(folder)
    in_use = name_in_use(collection)
    typer.echo(f"# in use: {model_in_use(collection)}")
    for model in models_of(collection):
        mark = "in use" if model.name == in_use else ""
        metadata = model.metadata
        typer.echo(f"{model.name}\t{model.n_images} images\tfrom {metadata['start']}\t{metadata['date']}\t{mark}")
    for change in history(collection):
        typer.echo(_line(change))


@app.command()
def rank(
    folder: Annotated[Path, typer.Argument(help="The data set's folder; '-' for none, to ask the shipped model.")],
    images: Annotated[Path, typer.Argument(help="A folder of images.")],
    device: Device = "auto",
) -> None:
    """List the images of a folder, those first that the model in use is most uncertain of."""
    from napari_probseg.active_learning.acquisition import images_in
    from napari_probseg.active_learning.acquisition import rank as ranking
    from napari_probseg.dataset.collection import Collection

    paths = images_in(images)
    found = ranking(None if str(folder) == "-" else Collection(folder), paths, device=device)
    done = count(1)
    ranked = shown(found, lambda image: Line(image.path.name, next(done), len(paths)))
    for image in ranked:
        found_out = f"passed over: {image.passed_over}" if image.passed_over else f"{image.uncertainty:.3f}"
        typer.echo(f"{image.path}\t{found_out}")


def _line(change: Change) -> str:
    figures = ""
    if change.verb == "adopt":
        new, old = (change.told[name]["dice"] for name in ("new", "old"))
        mean = [sum(dice.values()) / len(dice) for dice in (new, old)]
        figures = f"\theld-out Dice {mean[0]:.3f}, before {mean[1]:.3f}"
    return f"{change.verb}\t{change.before} -> {change.after}\t{change.date}{figures}"
