"""Comparisons of the papers' U-Nets: verdicts, tables, what is kept and not done again, the command."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from drawn import balls
from extras import NEEDS_MONAI
from napari_probseg.cli.main import app
from napari_probseg.nn.unet import UNetConfig
from napari_probseg.reproduce import comparisons, unets
from napari_probseg.reproduce.comparisons import COMPARISONS, Arm, Comparison
from napari_probseg.reproduce.findings import Finding, Interval, Verdict, interval, interval_over_sets, verdict
from napari_probseg.reproduce.summary import Run, difference, summary

TINY = UNetConfig(ndim=3, widths=(4, 8))
COMPARISON = Comparison(
    "tiny",
    "Does it work?",
    "Balls",
    {"Dice": Arm(TINY, "dice"), "no skips": Arm(replace(TINY, skip="none"), "dice")},
    (Finding("skips help", "Dice", "no skips", "0.1"),),
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(unets.COMPARISONS, "avetisian2018", (COMPARISON,))
    monkeypatch.setattr(comparisons, "DEFAULT_PATCH", {3: (8, 8, 8)})
    balls(tmp_path / "sets" / "Dataset901_Balls", (12, 13, 12), n=6)
    return tmp_path / "sets"


def run_of(scores: dict[str, dict[int, float]], curve: tuple[float, ...] = (0.1, 0.2)) -> Run:
    setting = {"n_steps": 2000, "n_batch": 2, "patch": [8, 8, 8]}
    return Run(setting, 1234, 0.05, [(10 * (i + 1), score) for i, score in enumerate(curve)], scores)


# --- intervals and verdicts ---


def test_interval_has_the_mean_and_the_end_that_student_says() -> None:
    found = interval([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])  # cases alike, so seeds alone count: t of 2 is 4.303
    assert found.mean == pytest.approx(0.2)
    assert found.half == pytest.approx(4.303 * 0.1 / np.sqrt(3), rel=1e-3)
    assert str(found) == "0.200 ± 0.248"
    assert found.signed == "+0.200 [-0.048, +0.448]"


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        seeds, cases, rest = rng.normal(0, 0.02, (3, 1)), rng.normal(0, 0.1, (1, 12)), rng.normal(0, 0.05, (3, 12))
        found = interval(0.3 + seeds + cases + rest)
        covered += found.low <= 0.3 <= found.high
    assert 0.92 <= covered / 400 <= 1


def test_one_seed_or_one_case_tells_nothing_of_the_spread() -> None:
    for figures in ([[0.1, 0.3]], [[0.1], [0.3]]):
        found = interval(figures)
        assert str(found) == "0.200"
        assert found.signed == "+0.200"
        assert verdict(found) is Verdict.UNDECIDED
        assert verdict(found, alike=True) is Verdict.UNDECIDED
    assert interval([[0.2, 0.2], [0.2, 0.2]]).half == 0


def test_sets_count_alike_however_many_objects_they_have() -> None:
    found = interval_over_sets([[0.1, 0.3], [0.4, 0.5, 0.6, 0.7]])
    assert found.mean == pytest.approx((0.2 + 0.55) / 2)
    variances = np.array([0.02 / 2, (0.05 / 3) / 4]) / 4
    freedom = variances.sum() ** 2 / (variances**2 / [1, 3]).sum()
    assert 1 < freedom < 4
    assert found.half > 3 * np.sqrt(variances.sum()), "of so few, Student's quantile is large"
    assert str(interval_over_sets([[0.1], [0.4, 0.5]])) == "0.275"


@pytest.mark.parametrize(
    ("mean", "half", "alike", "says"),
    [
        (0.1, 0.05, False, "reproduced"),
        (0.1, 0.15, False, "undecided"),
        (-0.1, 0.05, False, "refuted"),
        (-0.1, 0.1, False, "undecided"),
        (0.0, 0.01, True, "reproduced"),
        (0.01, 0.02, True, "undecided"),
        (-0.1, 0.05, True, "refuted"),
        (0.1, 0.05, True, "refuted"),
    ],
)
def test_verdict(mean: float, half: float, alike: bool, says: str) -> None:
    assert verdict(Interval(mean, half), alike=alike) == says


# --- tables ---


def test_arms_are_compared_on_the_same_images() -> None:
    runs = {
        "Dice": [run_of({"a": {1: 0.9, 2: 0.7}, "b": {1: 0.6}, "empty": {}})] * 2,
        "no skips": [run_of({"a": {1: 0.6}, "b": {1: 0.5}, "empty": {2: 0.0}})] * 2,
    }
    found = difference(COMPARISON.findings[0], runs)
    assert found.mean == pytest.approx(((0.8 - 0.6) + (0.6 - 0.5)) / 2), "where one finds nothing, none is compared"


def test_summary_has_findings_arms_and_curves() -> None:
    good = [run_of({"a": {1: 0.8 + s, 2: 0.8}, "b": {1: 0.8, 2: 0.7}}, (0.2, 0.4, 0.6, 0.7)) for s in (0, 0.01, 0.02)]
    bad = [run_of({"a": {1: 0.5, 2: 0.4 + s}, "b": {1: 0.5, 2: 0.4}}, (0.2, 0.3, 0.4, 0.4)) for s in (0, 0.01, 0.02)]
    labels = {"Balls": {"background": 0, "ball": 1, "core": 2}}
    text = summary("`command`", [(COMPARISON, {"Dice": good, "no skips": bad})], labels)
    lines = text.splitlines()
    assert lines[0].startswith("`command`: ")
    [finding] = [line for line in lines if line.startswith("| skips help")]
    assert finding.startswith("| skips help | 0.1 | +0.325 [") and finding.endswith("| reproduced |")
    assert "**Does it work?** Balls, 3 seeds, 2,000 steps of 2 patches of 8 x 8 x 8" in lines
    [arm] = [line for line in lines if line.startswith("| Dice | 1,234 |")]
    assert arm.startswith("| Dice | 1,234 | 0.050 | 0.805 | 0.750 | 0.777 ±")
    assert "| Dice | 0.200 | 0.400 | 0.600 | 0.700 | +0.100 |" in lines, "a quarter of the way it still rises"


def test_one_label_alone_is_scored_where_it_is() -> None:
    runs = {"Dice": [run_of({"a": {1: 0.5, 2: 0.9}, "b": {2: 0.1}}), run_of({"a": {1: 0.7}, "b": {1: 0.0}})]}
    comparison = replace(COMPARISON, arms={}, findings=(), label="ball", published="IoU 0.63")
    labels = {"Balls": {"background": 0, "ball": 1, "core": 2}}
    text = summary("", [(comparison, runs)], labels)
    assert "published: IoU 0.63" in text
    assert "| ball Dice | ball IoU |" in text
    assert "| 0.600 | 0.436 |" in text, "the mean of 1 / 3 and 7 / 13 on the one image that has a ball"


def test_how_a_step_was_made_is_said() -> None:
    comparison = replace(COMPARISON, patch=(8, 8, 8), is_halved=True)
    runs = {name: [run_of({"a": {1: 0.5}})] for name in COMPARISON.arms}
    text = summary("", [(comparison, runs)], {"Balls": {"background": 0, "ball": 1}})
    assert "2,000 steps of 2 patches of 8 x 8 x 8 at half resolution, predicted in such patches" in text


def test_findings_are_of_arms_that_differ_in_one_thing() -> None:
    for comparison in (c for of_paper in COMPARISONS.values() for c in of_paper):
        for finding in comparison.findings:
            one, other = (asdict(comparison.arms[name]) for name in (finding.better, finding.worse))
            changed = {k for k in one["network"] if one["network"][k] != other["network"][k]}
            changed |= {k for k in ("loss", "augment") if one[k] != other[k]}
            assert len(changed) == 1, finding.claim


# --- the runs ---


@NEEDS_MONAI
def test_arms_and_seeds_are_trained_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    untrained = unets.untrained
    monkeypatch.setattr(unets, "untrained", lambda *a, seed: trained.append(seed) or untrained(*a, seed=seed))

    def reproduce(*, n_steps: int = 2, **changed: Any) -> str:
        deque(unets.reproduce("avetisian2018", tmp_path / "out", data=data, n_steps=n_steps, **changed), maxlen=0)
        return (tmp_path / "out" / "avetisian2018.md").read_text()

    first = reproduce(n_seeds=2)
    assert trained == [0, 0, 1, 1]
    assert reproduce(n_seeds=2) == first
    assert trained == [0, 0, 1, 1], "what is done is not done again"
    reproduce(n_seeds=3)
    assert trained == [0, 0, 1, 1, 2, 2], "more seeds go on with what is there"
    reproduce(n_seeds=1, n_steps=1)
    assert trained == [0, 0, 1, 1, 2, 2, 0, 0], "what was trained otherwise counts for nothing"


@NEEDS_MONAI
def test_a_run_that_is_broken_off_goes_on_with_the_next_arm(data: Path, tmp_path: Path) -> None:
    for progress in unets.reproduce("avetisian2018", tmp_path, data=data, n_steps=2, n_seeds=1):
        if progress.step == 3:  # the second of two steps of the second arm is left
            break
    kept = sorted(path.name for path in (tmp_path / "tiny").glob("*.json"))
    assert kept == ["dice-0.json"]
    steps = [p.step for p in unets.reproduce("avetisian2018", tmp_path, data=data, n_steps=2, n_seeds=1)]
    assert steps == [3, 4]
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == ["dice-0.json", "no_skips-0.json"]


@NEEDS_MONAI
def test_a_training_that_is_broken_off_goes_on_and_ends_as_if_it_had_not_been(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unets, "FitConfig", partial(unets.FitConfig, save_every=0.0))

    def reproduce(folder: str, *, n_taken: int | None = None) -> list[int]:
        steps = unets.reproduce("avetisian2018", tmp_path / folder, data=data, n_steps=8, n_seeds=1)
        return [progress.step for progress in islice(steps, n_taken)]

    assert reproduce("whole") == list(range(1, 17))
    assert reproduce("broken", n_taken=5) == [1, 2, 3, 4, 5]
    assert reproduce("broken") == list(range(6, 17))
    whole, broken = (json.loads((tmp_path / f / "tiny" / "dice-0.json").read_text()) for f in ("whole", "broken"))
    assert len(whole["curve"]) == 8 and whole.pop("cpu_seconds") > 0 and broken.pop("cpu_seconds") > 0
    assert whole == broken


@NEEDS_MONAI
def test_folds_are_each_held_out_once_and_the_mean_of_their_networks_is_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = replace(COMPARISON, arms={"Dice": COMPARISON.arms["Dice"]}, findings=(), n_folds=2, n_test=1)
    monkeypatch.setitem(unets.COMPARISONS, "avetisian2018", (folded,))
    steps = [p.step for p in unets.reproduce("avetisian2018", tmp_path, data=data, n_steps=3, n_seeds=1)]
    assert steps == list(range(1, 7)), "those of both networks"
    run = Run.read(tmp_path / "tiny" / "dice-0.json")
    [dataset] = unets.named(["Balls"], unets.datasets_below(data))
    assert sorted(run.cross_validated) == sorted(dataset.split("training")) and len(run.cases) == 1
    text = (tmp_path / "avetisian2018.md").read_text()
    assert "| Dice, cross-validated | " in text and "2 networks of 2 folds, 1 images of the test part" in text
    folds = unets.Images.read(dataset).folds(2)
    for fold in folds:
        assert not {e.name for e in fold.training} & {e.name for e in fold.held_out}
    assert sorted(e.name for fold in folds for e in fold.held_out) == sorted(dataset.split("training"))
    with pytest.raises(ValueError, match="has 4 images to train on, too few for 5 folds"):
        unets.Images.read(dataset).folds(5)


def test_the_mean_of_networks_is_that_of_their_probabilities() -> None:
    logits = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mean = unets.MeanOf([Constant(one) for one in logits])(torch.zeros(1, 1, 4, 4))
    assert torch.allclose(mean, (logits[0].softmax(1) + logits[1].softmax(1)) / 2)


class Constant(torch.nn.Module):
    """Answers the same, whatever it sees."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer


@NEEDS_MONAI
def test_one_comparison_alone_is_made(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(COMPARISON, name="other")
    monkeypatch.setitem(unets.COMPARISONS, "avetisian2018", (COMPARISON, other))
    command = [
        "reproduce",
        "avetisian2018",
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--steps",
        "1",
        "--seeds",
        "1",
    ]
    result = CliRunner().invoke(app, [*command, "--only", "other"], catch_exceptions=False)
    assert "`napari-probseg reproduce avetisian2018 --seed 0 --only other --seeds 1 --steps 1`" in result.output
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path != data] == ["other"]
    wrong = CliRunner().invoke(app, [*command, "--only", "nothing"])
    assert "has no comparison 'nothing': choose of tiny, other" in str(wrong.exception)


@NEEDS_MONAI
def test_the_same_seed_gives_the_same_figures(data: Path, tmp_path: Path) -> None:
    found = []
    for folder in ("a", "b"):
        deque(unets.reproduce("avetisian2018", tmp_path / folder, data=data, n_steps=2, n_seeds=1, seed=7), maxlen=0)
        found.append(json.loads((tmp_path / folder / "tiny" / "dice-7.json").read_text()))
    for one in found:
        one.pop("cpu_seconds")
    assert found[0] == found[1]
    assert len(found[0]["curve"]) == 2
    assert len(found[0]["cases"]) == 2, "the test part: the last third"


@NEEDS_MONAI
def test_the_command_prints_the_tables(data: Path, tmp_path: Path) -> None:
    arguments = [
        "reproduce",
        "avetisian2018",
        "--out",
        tmp_path / "out",
        "--data",
        data,
        "--seeds",
        "2",
        "--steps",
        "1",
    ]
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "`napari-probseg reproduce avetisian2018 --seed 0 --seeds 2 --steps 1`" in result.output
    assert "| skips help | 0.1 |" in result.output


def test_comparison_without_its_data_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["reproduce", "isensee2017", "--data", str(tmp_path)])
    assert isinstance(result.exception, FileNotFoundError)
    assert "there is no data set Hippocampus: there are none" in str(result.exception)


def test_images_at_half_resolution(data: Path) -> None:
    [dataset] = unets.named(["Balls"], unets.datasets_below(data))
    full, half = unets.Images.read(dataset), unets.Images.read(dataset, is_halved=True)
    for one, other in zip(full.training + full.test, half.training + half.test, strict=True):
        assert other.name == one.name and other.spacing == tuple(2 * s for s in one.spacing)
        assert torch.equal(other.label, one.label[::2, ::2, ::2])
        assert other.image.shape[1:] == other.label.shape
        assert other.image.mean() == pytest.approx(one.image.mean().item(), abs=0.1)
        for voxels in other.foreground:
            values = {int(other.label[tuple(voxel)]) for voxel in voxels}
            assert len(values) == 1 and values != {0}, "patches are centred on what is there"


def test_one_label_alone_is_learnt(data: Path) -> None:
    [dataset] = unets.named(["Balls"], unets.datasets_below(data))
    name, value = next((name, value) for name, value in dataset.labels.items() if value == max(dataset.labels.values()))
    every, alone = unets.Images.read(dataset), unets.Images.read(dataset, label=name)
    assert alone.n_labels == 2
    for one, other in zip(every.training + every.test, alone.training + alone.test, strict=True):
        assert torch.equal(other.label == 1, one.label == value)
        assert len(other.foreground) == bool((one.label == value).any())
