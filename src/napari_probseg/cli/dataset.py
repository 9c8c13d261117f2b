"""Commands of data sets: dataset add, label, list, import, export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_probseg.progress import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_probseg.dataset.collection import Collection
    from napari_probseg.io import Picture

app = typer.Typer(
    no_args_is_help=True, help="A data set in the nnU-Net v2 raw format that finished images are added to."
)

Folder = Annotated[Path, typer.Argument(help="The data set's folder.")]


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="The data set's folder; a new one is made.")],
    image: Annotated[Path, typer.Argument(help="The image or volume.")],
    labels: Annotated[Path, typer.Argument(help="Its labels.")],
    name: Annotated[str | None, typer.Option(help="Of the image; as its file if absent.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="What the numbers in LABELS are: NAME=NUMBER, again for each; NAME alone is all of them."),
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Take labels that lie on other voxels to the nearest of the image's.")
    ] = False,
) -> None:
    """Add an image with its labels, or new labels of an image that is there; the labels before them are kept."""
    from napari_probseg.dataset.collection import Collection
    from napari_probseg.dataset.raw import holds_data_set
    from napari_probseg.io import read
    from napari_probseg.io.atomic import begun
    from napari_probseg.io.labels import read_labels

    picture = read(image).in_colours()
    drawn = read_labels(labels, picture, of=image, resample=resample)
    kinds = _kinds(label, drawn) if label else None
    told: dict[str, Any] = {"like": picture, "kinds": kinds, "provenance": {"image": image.resolve()}}
    with begun(folder) as made:
        if not holds_data_set(folder):
            try:
                _new(folder, image, picture, drawn, kinds)
                made.append("dataset.json")
            except FileExistsError:
                if not holds_data_set(folder):  # else another program has just made it
                    raise
        collection = Collection(folder)
        entry = collection.add(name or _name_of(image), picture.data, drawn, **told)
    part = "held out" if entry.held_out else "for training"
    typer.echo(f"{entry.name} is in {folder}, {part}; earlier labels kept: {len(entry.earlier)}")


@app.command("label")
def add_label(folder: Folder, name: Annotated[str, typer.Argument(help="Of one more kind of object.")]) -> None:
    """Give one more kind of object a number."""
    from napari_probseg.dataset.collection import Collection

    typer.echo(f"{name} = {Collection(folder).add_label(name)}")


@app.command("list")
def show(folder: Folder) -> None:
    """List the images of a data set, in columns that tabs part."""
    from napari_probseg.dataset.collection import Collection

    collection = Collection(folder)
    numbers = ", ".join(f"{name} = {number}" for name, number in collection.labels.items())
    n_held_out = len(collection.split("test"))
    typer.echo(f"# {folder}: {counted(len(collection.cases), 'image')}, {n_held_out} held out; {numbers}")
    for entry in collection.entries:
        part = "held out" if entry.held_out else "training"
        date = entry.metadata().get("date", "")
        typer.echo(f"{entry.name}\t{part}\t{len(entry.earlier)} earlier labels\t{date}")


@app.command("import")
def take_in(
    folder: Annotated[Path, typer.Argument(help="The data set's folder; a new one is made.")],
    source: Annotated[Path, typer.Argument(help="Another data set in the nnU-Net v2 raw format.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="What its numbers mean here: NAME=NUMBER, again for each; as its own names if absent."),
    ] = None,
) -> None:
    """Add all images of another data set with their labels; those that are there already stay as they are."""
    import numpy as np

    from napari_probseg.dataset import transfer as exchange
    from napari_probseg.dataset.collection import Collection
    from napari_probseg.dataset.raw import holds_data_set
    from napari_probseg.progress import report_of

    given = Collection(source)
    collection = Collection(folder) if holds_data_set(folder) else exchange.create_like(folder, given)
    kinds = _kinds(label, np.asarray([n for n in given.labels.values() if isinstance(n, int)])) if label else None
    for line in report_of(exchange.take_in(collection, given, kinds=kinds), len(given.cases)):
        typer.echo(line)


@app.command("export")
def export(
    folder: Folder, out: Annotated[Path, typer.Argument(help="A new folder, such as nnUNet_raw/Dataset700_Cells.")]
) -> None:
    """Write a copy for nnU-Net: images and labels, without what is remembered of how they were made."""
    from napari_probseg.dataset import transfer as exchange
    from napari_probseg.dataset.collection import Collection

    collection = Collection(folder)
    exchange.export(collection, out)
    typer.echo(f"{counted(len(collection.cases), 'image')} written to {out}")


def _kinds(given: list[str], labels: NDArray[np.generic]) -> dict[int, str]:
    """Return the name of each number, from texts such as ``"nucleus=2"``."""
    import numpy as np

    kinds: dict[int, str] = {}
    for text in given:
        name, parted, number = text.partition("=")
        if not name or (parted and not number.isdigit()) or (not parted and len(given) > 1):
            raise ValueError(f"--label must be NAME=NUMBER, or one NAME alone for all numbers, got {text!r}")
        numbers = [int(number)] if parted else [int(n) for n in np.unique(labels) if n]
        for n in numbers or [1]:
            if n == 0 or kinds.get(n, name) != name:
                why = "0 is background" if n == 0 else f"{n} is {kinds[n]!r} already"
                raise ValueError(f"--label {text} cannot be, for {why}: leave it out, or correct it")
            kinds[n] = name
    return kinds


def _new(
    folder: Path, image: Path, picture: Picture, labels: NDArray[np.generic], kinds: dict[int, str] | None
) -> Collection:
    """Make a data set for images of this kind, once it is known that this one can be added."""
    import numpy as np

    from napari_probseg.dataset.collection import ENDINGS, Collection
    from napari_probseg.dataset.labelled import Finished, numbered

    if kinds is None and (numbers := [int(n) for n in np.unique(labels) if n > 1]):
        raise ValueError(
            f"the labels have numbers {', '.join(map(str, numbers[:5]))}{', ...' * (len(numbers) > 5)} without a name: "
            f"say what they are, --label NAME=NUMBER for each, or --label NAME if all are objects of one kind"
        )
    named = kinds or {1: "object"}
    names = list(dict.fromkeys(named[number] for number in sorted(named)))
    finished = Finished.of(picture.data, labels, like=picture)
    numbered(finished.labels, named, {name: i for i, name in enumerate(names, 1)})
    n_channels = len(finished.channels)
    channels = ["image"] if n_channels == 1 else [f"channel {i}" for i in range(n_channels)]
    own = next((ending for ending in ENDINGS if image.name.lower().endswith(ending)), ".tif")
    return Collection.create(folder, names, channels=channels, ending=".nii.gz" if own == ".nii" else own)


def _name_of(image: Path) -> str:
    stem = re.sub(r"(\.nii|\.ome)?\.[^.]+$", "", image.name)
    return re.sub(r"[^\w.-]+", "_", stem).strip("_.-") or "image"
