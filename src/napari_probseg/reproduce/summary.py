"""Tables of the comparisons: each finding beside its published figure, each arm, and how the arms improved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.progress import counted
from napari_probseg.reproduce.comparisons import Comparison
from napari_probseg.reproduce.findings import Finding, Interval, interval, verdict

Runs = Mapping[str, Sequence["Run"]]


@dataclass(frozen=True)
class Run:
    """What came of an arm and a seed.

    Parameters
    ----------
    setting : dict
        All that the figures depend on.
    n_weights : int
    cpu_seconds : float
        A step, the median.
    curve : list of (step, score)
        On the images that are held out.
    cases : dict of str to dict of int to float
        The Dice of each label in each image of the test part.
    cross_validated : dict of str to dict of int to float
        The same of the training part, each image by the network that has not seen it; empty without folds.
    """

    setting: dict[str, Any]
    n_weights: int
    cpu_seconds: float
    curve: list[tuple[int, float]]
    cases: dict[str, dict[int, float]]
    cross_validated: dict[str, dict[int, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read what was kept of an arm and a seed."""
        found = json.loads(path.read_text(encoding="utf-8"))
        found["curve"] = [(int(step), float(score)) for step, score in found["curve"]]
        for part in ("cases", "cross_validated"):
            found[part] = {
                case: {int(label): float(score) for label, score in scores.items()}
                for case, scores in found.get(part, {}).items()
            }
        return cls(**found)

    @property
    def of_held_out(self) -> Run:
        """The run with the figures of the folds in the place of those of the test part."""
        return replace(self, cases=self.cross_validated)


def summary(
    command: str,
    parts: Sequence[tuple[Comparison, Runs]],
    labels: Mapping[str, Mapping[str, int]],
) -> str:
    """Return the tables as markdown.

    Parameters
    ----------
    command : str
        What they were made by.
    parts : sequence of (Comparison, mapping of str to sequence of Run)
        The runs of each arm, one for each seed.
    labels : mapping of str to mapping of str to int
        Of each data set, by name.
    """
    lines = [
        f"{command}: few levels of few channels; CPU seconds of a step on one thread. Dice and "
        f"intersection over union are means over labels, then over the images of the test part, then over seeds, with "
        f"95 % intervals over seeds and images.",
        "",
    ]
    findings = [(finding, runs) for comparison, runs in parts for finding in comparison.findings]
    if findings:
        lines += [_line(["finding", "published", "here: difference of the Dice", "verdict"]), _line(["---"] * 4)]
        lines += [_finding(*found) for found in findings]
    for comparison, runs in parts:
        lines += ["", *_arms(comparison, runs, labels[comparison.data]), "", *_curves(runs)]
    return "\n".join(lines) + "\n"


def difference(finding: Finding, runs: Runs) -> Interval:
    """Return by how much the better arm of a finding is better, on the same images from the same seeds."""
    better, worse = runs[finding.better], runs[finding.worse]
    cases = _cases([*better, *worse])
    return interval(_scores(better, cases) - _scores(worse, cases))


def _finding(finding: Finding, runs: Runs) -> str:
    found = difference(finding, runs)
    return _line([finding.claim, finding.published, found.signed, verdict(found, alike=finding.alike).value])


def _arms(comparison: Comparison, runs: Runs, labels: Mapping[str, int]) -> list[str]:
    """Return a table with a row for each arm."""
    label = 1 if comparison.label else None  # the one that was learnt
    names = {} if label is not None else {value: name for name, value in labels.items() if value}
    of = comparison.label or "mean"
    head = ["", "weights", "s / step", *(f"Dice {name}" for name in names.values()), f"{of} Dice", f"{of} IoU"]
    n_seeds = min(len(each) for each in runs.values())
    published = f"; published: {comparison.published}" if comparison.published else ""
    lines = [
        f"**{comparison.question}** {comparison.data}, {counted(n_seeds, 'seed')}, {_how(comparison, runs)}{published}",
        "",
        _line(head),
        _line(["---"] * len(head)),
    ]
    for name, each in runs.items():
        lines.append(_arm(name, each, list(names), label))
        if comparison.n_folds > 1:
            held_out = [run.of_held_out for run in each]
            lines.append(_arm(f"{name}, cross-validated", held_out, list(names), label))
    return lines


def _arm(name: str, runs: Sequence[Run], labels: Sequence[int], alone: int | None) -> str:
    """Return the row of an arm: of the labels, and of the one that is learnt ``alone`` or the mean of all."""
    cases = _cases(runs, alone)
    dice, iou = _scores(runs, cases, alone), _scores(runs, cases, alone, iou=True)
    seconds = float(np.median([run.cpu_seconds for run in runs]))
    by_label = [_of_label(runs, value) for value in labels]
    return _line([name, f"{runs[0].n_weights:,}", f"{seconds:.3f}", *by_label, str(interval(dice)), str(interval(iou))])


def _how(comparison: Comparison, runs: Runs) -> str:
    """Return what a step is made of."""
    setting = next(iter(runs.values()))[0].setting
    size = " x ".join(map(str, setting["patch"]))
    halved = " at half resolution" if comparison.is_halved else ""
    predicted = ", predicted in such patches" if comparison.patch else ""
    if comparison.n_folds > 1:
        n_images = len(next(iter(runs.values()))[0].cases)
        predicted += (
            f", {comparison.n_folds} networks of {comparison.n_folds} folds, {n_images} images of the test part"
        )
    return f"{setting['n_steps']:,} steps of {setting['n_batch']} patches of {size}{halved}{predicted}"


def _of_label(runs: Sequence[Run], label: int) -> str:
    found = [scores[label] for run in runs for scores in run.cases.values() if label in scores]
    return f"{np.mean(found):.3f}" if found else ""


def _curves(runs: Runs) -> list[str]:
    """Return the score on the images that are held out, the mean of the seeds, as training goes on."""
    steps = [step for step, _ in next(iter(runs.values()))[0].curve]
    lines = [_line(["held-out Dice after", *map(str, steps), "last quarter"]), _line(["---"] * (len(steps) + 2))]
    for name, each in runs.items():
        scores = np.mean([[score for _, score in run.curve] for run in each], axis=0)
        gain = scores[-1] - scores[max(0, round(0.75 * len(scores)) - 1)]
        lines.append(_line([name, *(f"{score:.3f}" for score in scores), f"{gain:+.3f}"]))
    return lines


def _cases(runs: Sequence[Run], label: int | None = None) -> list[str]:
    """Return the images that every run has a score of: those with a label, and those where all runs find one."""
    return [c for c in runs[0].cases if all(r.cases[c] if label is None else label in r.cases[c] for r in runs)]


def _scores(
    runs: Sequence[Run], cases: Sequence[str], label: int | None = None, *, iou: bool = False
) -> NDArray[np.float64]:
    """Return the score of each image, (seeds, images): of a label, or the mean of all that are there."""

    def score(scores: Mapping[int, float]) -> float:
        each = np.array(list(scores.values()) if label is None else [scores[label]])
        return float(np.mean(each / (2 - each) if iou else each))

    return np.array([[score(run.cases[case]) for case in cases] for run in runs])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
