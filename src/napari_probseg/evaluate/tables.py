"""Result tables of an evaluation, as markdown and csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.evaluate.curves import can_plot, picture
from napari_probseg.evaluate.rows import INTERACTIONS, PROMISES, SAMPLES, read_rows
from napari_probseg.evaluate.samples import N_BINS
from napari_probseg.io.atomic import write_whole
from napari_probseg.io.notice import tell

AFTER = (1, 2, 3, 5, 10, 20)  # interactions
N_RESAMPLED = 2000  # bootstrap samples of the objects
GOALS = (0.85, 0.90)  # Dice, in images
GOALS_IN_3D = (0.80, 0.85)
MEAN = "mean over data sets"
SAMPLE_COLUMNS = {
    "best": "best of 8",
    "first": "first",
    "mean": "mean",
    "control": "control",
    "diversity": "diversity",
    "n_readings": "readings",
    "energy_distance": "GED²",
    "coverage": "coverage",
}

Row = Mapping[str, Any]
Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Runs:
    """What one method did on one data set.

    Parameters
    ----------
    dice, hd95, seconds, best : (cases, interactions) array
    resting : (cases, interactions) bool array
        Where there was nothing left to do.
    """

    dice: NDArray[np.float64]
    hd95: NDArray[np.float64]
    seconds: NDArray[np.float64]
    resting: NDArray[np.bool_]
    best: NDArray[np.float64]

    @property
    def goals(self) -> tuple[float, ...]:
        """The Dice to be reached: in volumes less, for there a voxel of border is more."""
        return GOALS_IN_3D if np.isfinite(self.hd95).any() else GOALS

    def figures(self) -> Figures:
        """Return the columns of the table."""
        n = self.dice.shape[1]
        found = {f"Dice@{k}": float(self.dice[:, k - 1].mean()) for k in AFTER if k <= n}
        for goal in self.goals:
            needed, failed = interactions_to(self.dice, goal)
            found |= {f"NoC@{goal:.2f}": float(needed.mean()), f"failed@{goal:.2f}": float(failed.mean())}
        if np.isfinite(self.hd95).any():
            with_limit = np.minimum(self.hd95, np.nanmax(self.hd95[np.isfinite(self.hd95)]))
            found |= {f"HD95@{k}": float(with_limit[:, k - 1].mean()) for k in AFTER if k <= n}
        if (self.best > self.dice).any():
            found["best of 8@1"] = float(self.best[:, 0].mean())
        busy = self.seconds[~self.resting]
        return found | {"s": float(busy.mean()) if busy.size else 0.0}

    def intervals(self) -> Figures:
        """Return the ends of 95 % bootstrap intervals over the objects (Efron & Tibshirani 1993)."""
        found: Figures = {}
        columns = {f"NoC@{goal:.2f}": interactions_to(self.dice, goal)[0].astype(float) for goal in self.goals}
        columns |= {f"Dice@{k}": self.dice[:, k - 1] for k in (AFTER[0], AFTER[-1]) if k <= self.dice.shape[1]}
        for name, values in columns.items():
            drawn = np.random.default_rng(0).integers(len(values), size=(N_RESAMPLED, len(values)))
            low, high = np.quantile(values[drawn].mean(1), (0.025, 0.975))
            found |= {f"{name} from": float(low), f"{name} to": float(high)}
        return found


def interactions_to(dice: NDArray[np.float64], goal: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return how many interactions each case took to a Dice of ``goal``, all of them where it failed, and where it did.

    Parameters
    ----------
    dice : (cases, interactions) array
    """
    reached = dice >= goal
    failed: NDArray[np.bool_] = np.logical_not(reached.any(1))
    return np.where(failed, dice.shape[1], reached.argmax(1) + 1), failed


def runs_of(rows: Iterable[Row]) -> dict[str, dict[str, Runs]]:
    """Return what was done by data set and method, from the rows of ``interactions.csv``.

    Of each data set the cases count that all of its methods saw.
    """
    cases: dict[str, dict[str, dict[str, list[Row]]]] = {}
    for row in rows:
        by_method = cases.setdefault(row["dataset"], {})
        by_method.setdefault(row["method"], {}).setdefault(row["case"], []).append(row)
    found: dict[str, dict[str, Runs]] = {}
    for dataset, method, by_case in ((d, m, c) for d, by_method in cases.items() for m, c in by_method.items()):
        common = [case for case in by_case if all(case in others for others in cases[dataset].values())]
        if not common:
            continue
        table = [sorted(by_case[case], key=lambda row: float(row["n"])) for case in common]
        dice, hd95, seconds, best = (
            np.array([[row.get(column, np.nan) for row in of_case] for of_case in table], dtype=float)
            for column in ("dice", "hd95", "seconds", "best")
        )
        resting = np.array([[row["verb"] == "rest" for row in of_case] for of_case in table], dtype=bool)
        found.setdefault(dataset, {})[method] = Runs(dice, hd95, seconds, resting, best)
    return found


def mean_of(figures: Sequence[Figures]) -> Figures:
    """Return the mean of each column over data sets, leaving out what is not a number."""
    names = dict.fromkeys(name for row in figures for name in row)
    values = {name: [row[name] for row in figures if np.isfinite(row.get(name, np.nan))] for name in names}
    return {name: float(np.mean(v)) if v else float("nan") for name, v in values.items()}


def method_tables(runs: Mapping[str, Mapping[str, Runs]]) -> dict[str, dict[str, Figures]]:
    """Return the figures of each method: the mean over the data sets that all methods saw, if several, and each."""
    figures = {dataset: {m: r.figures() for m, r in by_method.items()} for dataset, by_method in runs.items()}
    methods = list(dict.fromkeys(m for by_method in figures.values() for m in by_method))
    common = [by_method for by_method in figures.values() if len(by_method) == len(methods)]
    means = {m: mean_of([by_method[m] for by_method in common]) for m in methods}
    return ({MEAN: means} if len(common) > 1 else {}) | figures


def sample_table(rows: Sequence[Row]) -> dict[str, Figures]:
    """Return the figures of the candidates on each data set, and their mean."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    of_each = {
        d: {"objects": float(sum(r["dataset"] == d for r in rows))}
        | mean_of([{shown: r[c] for c, shown in SAMPLE_COLUMNS.items()} for r in rows if r["dataset"] == d])
        for d in datasets
    }
    return of_each | ({MEAN: mean_of(list(of_each.values()))} if len(datasets) > 1 else {})


def promise_table(rows: Sequence[Row]) -> dict[str, Figures]:
    """Return for each share of samples how often voxels and candidates held what it says; the mean over data sets."""
    table: dict[str, Figures] = {}
    for i in range(N_BINS):
        figures: Figures = {}
        for of in ("voxel", "candidate"):
            here = [r for r in rows if r["bin"] == i and r["of"] == of]
            n = {d: sum(r["n"] for r in here if r["dataset"] == d) for d in {r["dataset"] for r in here}}
            true = [sum(r["n_true"] for r in here if r["dataset"] == d) / n[d] for d in n]
            figures |= {f"{of}s": float(sum(n.values())), f"{of}s true": float(np.mean(true)) if true else np.nan}
        table[f"{i / N_BINS:.1f} to {(i + 1) / N_BINS:.1f}"] = figures
    return table


def calibration_error(rows: Sequence[Row], of: str) -> float:
    """Return how far shares of samples are from what is true in the mean (Naeini et al. 2015), each bin at its middle.

    Parameters
    ----------
    rows : sequence of Row
        Of ``promises.csv``.
    of : str
        ``"voxel"`` or ``"candidate"``.
    """
    of_these = [row for row in rows if row["of"] == of]
    n = np.array([sum(r["n"] for r in of_these if r["bin"] == i) for i in range(N_BINS)])
    n_true = np.array([sum(r["n_true"] for r in of_these if r["bin"] == i) for i in range(N_BINS)])
    middles = (np.arange(N_BINS) + 0.5) / N_BINS
    return float(np.abs(n_true - middles * n).sum() / n.sum()) if n.sum() else float("nan")


def summarise(out: Path, beside: Sequence[Path] = ()) -> None:
    """Write the tables (``evaluation.md``, ``methods.csv``, ``candidates.csv``, ``reliability.csv``) and the curves.

    They are made of the rows that `run.evaluate` has written into the same folder, and into those ``beside`` it.
    """
    interactions, samples, promises = (
        [row for folder in (*beside, out) for row in read_rows(folder / name)]
        for name in (INTERACTIONS, SAMPLES, PROMISES)
    )
    runs = runs_of(sorted(interactions, key=lambda row: str(row["dataset"])))
    tables = method_tables(runs)
    parts = [f"## {name}{_n_cases(runs, name)}\n\n{markdown('method', rows)}" for name, rows in tables.items()]
    n_rows = {f"{dataset}/{method}": row for dataset, rows in tables.items() for method, row in rows.items()}
    write_whole(out / "methods.csv", as_csv(["dataset", "method"], n_rows))
    intervals = {f"{dataset}/{m}": r.intervals() for dataset, by_method in runs.items() for m, r in by_method.items()}
    write_whole(out / "intervals.csv", as_csv(["dataset", "method"], intervals))
    if samples:
        of_samples, of_promises = sample_table(samples), promise_table(promises)
        parts.append(f"## Candidates after two strokes\n\n{markdown('data set', of_samples)}")
        errors = ", ".join(f"{calibration_error(promises, of):.3f} for {of}s" for of in ("voxel", "candidate"))
        table = markdown("share of samples", of_promises)
        parts.append(f"## Reliability\n\n{table}\nExpected calibration error: {errors}.\n")
        write_whole(out / "candidates.csv", as_csv(["dataset"], of_samples))
        write_whole(out / "reliability.csv", as_csv(["share"], of_promises))
    write_whole(out / "evaluation.md", "\n".join(parts).encode())
    curves = {d: {m: r.dice.mean(0) for m, r in by_method.items()} for d, by_method in runs.items()}
    if can_plot():
        write_whole(out / "curves.png", picture(curves))
    else:
        tell("no curves are drawn, for which matplotlib is needed: pip install 'napari-probseg[plots]'")


def markdown(first: str, rows: Mapping[str, Figures]) -> str:
    """Return a table."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [[first, *names], ["---"] * (len(names) + 1)]
    lines += [[f"{row}", *(shown(name, figures.get(name, np.nan)) for name in names)] for row, figures in rows.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def shown(name: str, value: float) -> str:
    """Return a figure with as many digits as it deserves."""
    if not np.isfinite(value):
        return ""
    if name.startswith("failed"):
        return f"{100 * value:.0f} %"
    if name in ("objects", "voxels", "candidates"):
        return f"{value:.0f}"
    return f"{value:.{1 if name.startswith(('NoC', 'HD95', 'readings')) else 2 if name == 's' else 3}f}"


def as_csv(keys: Sequence[str], rows: Mapping[str, Figures]) -> bytes:
    """Return a table whose rows' names are parted at slashes into the columns ``keys``."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, *names])
    for row, figures in rows.items():
        values = [figures.get(name, np.nan) for name in names]
        writer.writerow([*row.split("/", len(keys) - 1), *(f"{v:.6g}" if np.isfinite(v) else "" for v in values)])
    return text.getvalue().encode()


def _n_cases(runs: Mapping[str, Mapping[str, Runs]], dataset: str) -> str:
    if dataset not in runs:
        return ""
    return f" ({max(len(r.dice) for r in runs[dataset].values())} objects)"
