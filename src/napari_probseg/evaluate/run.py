"""Evaluation run on data sets, case by case and resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_probseg.dataset.raw import datasets_at
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.evaluate.interaction import interact
from napari_probseg.evaluate.methods import IN_3D, OTHERS, OURS, methods_of
from napari_probseg.evaluate.rows import (
    INTERACTIONS,
    PROMISES,
    SAMPLES,
    Row,
    append_rows,
    read_rows,
    write_rows,
)
from napari_probseg.evaluate.samples import score_samples
from napari_probseg.evaluate.tables import summarise
from napari_probseg.io.atomic import locked, output_folder, write_whole

SETTINGS = "settings.json"


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated; a run goes on only with the same one, save for ``sets``, ``n_cases`` and ``methods``.

    Parameters
    ----------
    sets : tuple of str
        Ends of the names of data sets, such as ``"Nuclei"``; all if empty.
    n_cases : int
        Of the test part of each.
    methods : tuple of str
        See `methods_of`; all if empty.
    n_interactions : int
    ndim : int
        2: images, and planes of volumes; 3: volumes.
    marks : str
        ``"dabs"``, ``"scribbles"`` or ``"box"``.
    seed : int
        Chooses the objects, and counts for what draws samples.
    weights : str
        Shipped ones by name, or a file.
    device : str
    """

    sets: tuple[str, ...] = ()
    n_cases: int = 12
    methods: tuple[str, ...] = ()
    n_interactions: int = 20
    ndim: int = 2
    marks: str = "dabs"
    seed: int = 0
    weights: str = "general"
    device: str = "cpu"

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods, all of them by their names."""
        return self.methods or ((*OURS, *OTHERS) if self.ndim == 2 else IN_3D)


def evaluate(
    data: str | Path, out: str | Path, config: EvaluateConfig | None = None, *, beside: Sequence[str | Path] = ()
) -> Iterator[str]:
    """Let the simulated annotator work with every method on an object of each test case.

    ``interactions.csv``, ``samples.csv`` and ``promises.csv`` in ``out`` grow as it goes on; what they hold already is
    not done again. At the end the tables and curves are written, see `tables.summarise`.

    Parameters
    ----------
    data : path
        A data set in the nnU-Net v2 raw format, or a folder of such.
    out : path
    config : EvaluateConfig, optional
    beside : sequence of path
        Other evaluations that the tables and curves tell of, too: of other data sets, with other weights.

    Yields
    ------
    str
        What is done, after each object and method.

    Raises
    ------
    FileNotFoundError
        If there is no such data set.
    ValueError
        If ``out`` holds an evaluation of another kind, or there is no such method.
    RuntimeError
        If the peers' libraries are not installed.
    TimeoutError
        If another program writes to ``out``.
    """
    config = config or EvaluateConfig()
    datasets = datasets_at(data, config.sets)
    methods = methods_of(config.method_names, weights=config.weights, device=config.device, ndim=config.ndim)
    out = output_folder(out)
    with locked(out, timeout=1):
        _remember(out, config)
        done = _done(out, config.n_interactions)
        for dataset in datasets:
            for target in targets_of(dataset, config.n_cases, ndim=config.ndim, seed=config.seed):
                where = {"dataset": dataset.folder.name, "case": target.name}
                for name, begin in methods.items():
                    if (*where.values(), name) in done:
                        continue
                    found = interact(begin(target), target, n=config.n_interactions, marks=config.marks)
                    keys = {**where, "method": name}
                    append_rows(out / INTERACTIONS, [{**keys, "n": n, **asdict(i)} for n, i in enumerate(found, 1)])
                    yield f"{dataset.folder.name} {target.name} {name}: Dice {found[-1].dice:.3f}"
                if "propose" in methods and (*where.values(), "samples") not in done:
                    _score_samples(out, where, target, config)
        summarise(out, [Path(folder) for folder in beside])


def _score_samples(out: Path, where: Row, target: Target, config: EvaluateConfig) -> None:
    from napari_probseg.proposers import load_proposer

    score, promises = score_samples(load_proposer(config.weights, device=config.device), target, seed=config.seed)
    append_rows(out / PROMISES, [{**where, **asdict(promise)} for promise in promises])
    append_rows(out / SAMPLES, [{**where, **asdict(score)}])  # last: it says that all of this case is there


def _remember(out: Path, config: EvaluateConfig) -> None:
    """Write down what must stay the same, or raise if it was another."""
    from napari_probseg.proposers.shipped import weights_path

    path, ours = out / SETTINGS, asdict(config)
    for name in ("sets", "n_cases", "methods", "device"):
        del ours[name]
    ours["weights_sha256"] = hashlib.sha256(weights_path(config.weights).read_bytes()).hexdigest()
    if path.is_file():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if theirs != ours:
            changed = ", ".join(f"{n}={theirs.get(n)}" for n in ours if theirs.get(n) != ours[n])
            raise ValueError(f"{out} holds an evaluation with {changed}: go on with that, or choose another folder")
    write_whole(path, json.dumps(ours, indent=1).encode())


def _done(out: Path, n_interactions: int) -> set[tuple[str, str, str]]:
    """Return what is there already, and drop what was broken off in the midst of it."""
    rows = read_rows(out / INTERACTIONS)
    last = {_key(row) for row in rows if row["n"] == n_interactions}
    write_rows(out / INTERACTIONS, [row for row in rows if _key(row) in last])
    scored = {(row["dataset"], row["case"]) for row in read_rows(out / SAMPLES)}
    write_rows(out / SAMPLES, read_rows(out / SAMPLES))
    write_rows(out / PROMISES, [r for r in read_rows(out / PROMISES) if (r["dataset"], r["case"]) in scored])
    return last | {(*names, "samples") for names in scored}


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["dataset"], row["case"], row["method"]
