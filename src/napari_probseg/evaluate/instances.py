"""Evaluation on images with many objects: what finishing all of them takes, by several ways, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_probseg.dataset.raw import RawDataset, datasets_at, names_of
from napari_probseg.evaluate.many_objects import (
    Known,
    Person,
    Scene,
    fine_tuned,
    more_like_this,
    one_by_one,
    pixel_classifier,
    scene_of,
)
from napari_probseg.evaluate.rows import Row, append_rows, read_rows, write_rows
from napari_probseg.io.atomic import locked, write_whole

INSTANCES = "instances.csv"
METHODS: Mapping[str, Callable[[Person], None]] = {
    "more like this": more_like_this,
    "fine-tuned": fine_tuned,
    "one by one": one_by_one,
    "pixel classifier": pixel_classifier,
}
SETS = (  # of many objects of a kind, if they are there
    "Nuclei",
    "PhaseContrastCells",
    "NerveAxonsSEM",
    "KidneyGlomeruli",
    "ProstateGlands",
    "CervicalCellNuclei",
    "BreastNucleiHE",
    "ColonGlands",
    "SolarPanelsAerial",
    "PlantCells3D",
    "EmbryoNuclei3D",
    "ShipsSAR",
)


@dataclass(frozen=True)
class InstancesConfig:
    """What is evaluated.

    Parameters
    ----------
    sets : tuple of str
        Names of data sets; those of `SETS` that are there, if empty.
    n_cases : int
        Of the test part of each, with three objects at least.
    methods : tuple of str
        Of `METHODS`; all if empty.
    max_objects : int
        In an image; of one with more a corner is taken.
    seed : int
        Of the order in which the person goes through the objects.
    weights, device : str
        See `load_completer`.
    """

    sets: tuple[str, ...] = ()
    n_cases: int = 2
    methods: tuple[str, ...] = ()
    max_objects: int = 32
    seed: int = 0
    weights: str = "general"
    device: str = "cpu"


def evaluate_instances(data: str | Path, out: str | Path, config: InstancesConfig | None = None) -> Iterator[str]:
    """Let the simulated person finish all objects of each test image, by every method.

    ``instances.csv`` in ``out`` grows as it goes on; what it holds already is not done again. At the end
    ``instances.md`` is written.

    Yields
    ------
    str
        What is done, after each image and method.

    Raises
    ------
    FileNotFoundError
        If there is no such data set.
    ValueError
        If there is no such method.
    TimeoutError
        If another program writes to ``out``.
    """
    from napari_probseg.proposers import load_completer

    config = config or InstancesConfig()
    methods = config.methods or tuple(METHODS)
    if unknown := set(methods) - set(METHODS):
        raise ValueError(f"there is no method {min(unknown)!r} for many objects: name some of {', '.join(METHODS)}")
    datasets = _datasets(Path(data), config.sets)
    completer = load_completer(config.weights, device=config.device)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, timeout=1):
        write_rows(out / INSTANCES, read_rows(out / INSTANCES))  # without a half row
        done = {(row["dataset"], row["case"], row["method"]) for row in read_rows(out / INSTANCES)}
        for dataset in datasets:
            name = dataset.folder.name
            for scene in _scenes(dataset, config):
                drawn: Known = {}
                for method in methods:
                    if (name, scene.name, method) in done:
                        continue
                    row = _row(scene, method, Person(scene, completer, drawn, config.seed))
                    append_rows(out / INSTANCES, [{"dataset": name, **row}])
                    yield f"{name} {scene.name} {method}: {row['interactions']:.2f} interactions an object"
        write_whole(out / "instances.md", table(read_rows(out / INSTANCES)).encode())


def _row(scene: Scene, method: str, person: Person) -> Row:
    METHODS[method](person)
    effort, n = person.effort, max(1, sum(reached >= 0.5 for reached in person.reached.values()))
    return {
        "case": scene.name,
        "method": method,
        "n_objects": float(len(scene.boxes)),
        "f1_50": person.f1(0.5),
        "f1_70": person.f1(0.7),
        "keys": float(effort.keys),
        "strokes": float(effort.strokes),
        "interactions": (effort.keys + effort.strokes) / n,
        "seconds": effort.seconds / n,
        "machine": effort.machine_seconds / n,
        "offered": float(effort.offered),
        "right": float(effort.offered_right),
    }


def table(rows: Sequence[Row]) -> str:
    """Return the means over the cases of each data set, as markdown."""
    lines = [
        "| data set | objects | way | F1 at 0.5 | at 0.7 | keys | strokes | interactions | seconds | precision |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for method in dict.fromkeys(row["method"] for row in rows if row["dataset"] == dataset):
            some = [row for row in rows if (row["dataset"], row["method"]) == (dataset, method)]
            n = sum(row["n_objects"] for row in some)
            f1 = [float(np.mean([row[name] for row in some])) for name in ("f1_50", "f1_70")]
            keys, strokes = (sum(row[name] for row in some) / n for name in ("keys", "strokes"))
            acts, seconds = (
                float(np.average([row[name] for row in some], weights=[row["n_objects"] for row in some]))
                for name in ("interactions", "seconds")
            )
            offered = sum(row["offered"] for row in some)
            precision = f"{sum(row['right'] for row in some) / offered:.2f}" if offered else ""
            lines.append(
                f"| {dataset} | {n:.0f} | {method} | {f1[0]:.2f} | {f1[1]:.2f} | {keys:.2f} | {strokes:.2f} | "
                f"{acts:.2f} | {seconds:.1f} | {precision} |"
            )
    return "\n".join(lines) + "\n"


def _scenes(dataset: RawDataset, config: InstancesConfig) -> Iterator[Scene]:
    n = 0
    for name in dataset.split("test"):
        if n < config.n_cases and (scene := scene_of(dataset.load(name), max_objects=config.max_objects)) is not None:
            n += 1
            yield scene


def _datasets(data: Path, sets: Sequence[str]) -> list[RawDataset]:
    chosen = [d for d in datasets_at(data, sets) if sets or names_of(d.folder.name) & set(SETS)]
    if not chosen:
        raise FileNotFoundError(f"{data} holds no data set of many objects: name some with --sets")
    return chosen
