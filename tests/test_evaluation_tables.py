"""An evaluation as it is run: its objects, what it writes, and how it goes on."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import napari_probseg as ps
from drawn import disk
from napari_probseg.cli.main import app
from napari_probseg.dataset.raw import LabelledImage, RawDataset
from napari_probseg.dataset.targets import targets_of
from napari_probseg.evaluate.curves import picture
from napari_probseg.evaluate.methods import OURS
from napari_probseg.evaluate.rows import read_rows
from napari_probseg.evaluate.run import EvaluateConfig, evaluate
from napari_probseg.evaluate.tables import MEAN, interactions_to, method_tables, runs_of

METHODS = ("graphcut", "watershed")
QUICK = EvaluateConfig(n_cases=2, methods=METHODS, n_interactions=5)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two data sets of disks in noise, and one of empty labels."""
    for number, contrast in ((1, 90), (2, 30), (3, 0)):
        folder = tmp_path / "data" / f"Dataset00{number}_Disks{number}"
        about = {"channel_names": {"0": "x"}, "labels": {"background": 0, "disk": 1}, "file_ending": ".png"}
        for i in range(6):
            truth = disk((48, 56), (20 + i, 30 - i), 9) & (contrast > 0)
            noise = np.random.default_rng(i).normal(0, 5, truth.shape)
            ps.write(folder / "imagesTr" / f"c{i}_0000.png", (60 + contrast * truth + noise).astype(np.uint8))
            ps.write(folder / "labelsTr" / f"c{i}.png", truth.astype(np.uint8))
        (folder / "dataset.json").write_text(json.dumps(about))
    return tmp_path / "data"


def test_objects_are_of_the_test_part_and_never_empty(data: Path) -> None:
    found = list(targets_of(RawDataset(data / "Dataset001_Disks1")))
    assert [target.name for target in found] == ["c4", "c5"] and all(target.truth.any() for target in found)
    assert not list(targets_of(RawDataset(data / "Dataset003_Disks3")))
    assert not list(targets_of(RawDataset(data / "Dataset001_Disks1"), ndim=3)), "images are no volumes"


def test_of_a_volume_the_plane_with_most_of_the_object_is_taken(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    label = np.zeros((4, 20, 20), dtype=np.int32)
    label[2, 5:15, 5:15] = label[1, 5:9, 5:9] = 1
    volume = LabelledImage("v", np.zeros((1, 4, 20, 20), np.float32), label, (3.0, 2.0, 1.0), False)
    dataset = RawDataset(data / "Dataset001_Disks1")
    monkeypatch.setattr(RawDataset, "load", lambda self, name: volume)
    flat, deep = next(targets_of(dataset)), next(targets_of(dataset, ndim=3))
    assert flat.truth.sum() == 100 and flat.spacing == (2.0, 1.0) and flat.image.shape == (1, 20, 20)
    assert deep.truth.sum() == 116 and deep.spacing == (3.0, 2.0, 1.0)


def test_tables_tell_dice_and_interactions_to_a_goal() -> None:
    needed, failed = interactions_to(np.array([[0.1, 0.9, 0.8], [0.9, 0.1, 0.1], [0.1, 0.2, 0.3]]), 0.85)
    assert needed.tolist() == [2, 1, 3] and failed.tolist() == [False, False, True]
    rows = [
        {"dataset": d, "case": c, "method": m, "n": n, "verb": "mark", "dice": value, "seconds": 1.0, "hd95": np.nan}
        for d, c, m, values in (("D", "a", "x", (0.5, 0.9)), ("D", "b", "x", (0.7, 0.7)), ("E", "a", "x", (0.9, 1.0)))
        for n, value in enumerate(values, 1)
    ]
    tables = method_tables(runs_of(reversed(rows)))
    assert list(tables) == [MEAN, "E", "D"]
    assert tables["D"]["x"]["Dice@1"] == pytest.approx(0.6) and tables["D"]["x"]["failed@0.85"] == 0.5
    assert tables[MEAN]["x"]["Dice@1"] == pytest.approx((0.6 + 0.9) / 2), "every data set counts the same"
    assert tables[MEAN]["x"]["NoC@0.85"] == pytest.approx((2 + 1) / 2)
    assert "HD95@1" not in tables["D"]["x"]
    assert list(method_tables(runs_of(rows[:4]))) == ["D"], "one data set needs no mean"
    half = [*rows, {**rows[0], "method": "y"}, {**rows[1], "method": "y"}]
    assert runs_of(half)["D"]["x"].dice.shape == (1, 2), "only cases that every method saw count"


def test_an_evaluation_writes_tables_and_curves(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = list(evaluate(data, out, QUICK))
    assert len(said) == 2 * 2 * len(METHODS), "empty labels are left out"
    with (out / "methods.csv").open() as file:
        table = {(row["dataset"], row["method"]): row for row in csv.DictReader(file)}
    assert float(table["Dataset001_Disks1", "graphcut"]["Dice@5"]) > 0.95
    text = (out / "evaluation.md").read_text()
    assert "## mean over data sets" in text and "## Dataset002_Disks2 (2 objects)" in text and "| watershed |" in text
    assert (out / "curves.png").stat().st_size > 2000


def test_an_evaluation_goes_on_where_it_was_broken_off(data: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    list(evaluate(data, whole, QUICK))
    broken = evaluate(data, out, QUICK)
    first = [next(broken) for _ in range(3)]
    broken.close()
    with (out / "interactions.csv").open("a") as file:
        file.write("Dataset001_Disks1,c5,watershed,1,mark,0.5,0.1,nan\nDataset001_Disks1,c5,wat")
    rest = list(evaluate(data, out, QUICK))
    assert len(first) + len(rest) == 8 and not set(first) & set(rest)
    results = [
        {(r["dataset"], r["case"], r["method"], r["n"]): r["dice"] for r in read_rows(folder / "interactions.csv")}
        for folder in (out, whole)
    ]
    assert results[0] == results[1] and len(results[0]) == 8 * 5
    assert not list(evaluate(data, out, QUICK)), "all is done"
    more = EvaluateConfig(n_cases=2, methods=("geodesic",), n_interactions=5, sets=("Disks2",))
    assert len(list(evaluate(data, out, more))) == 2, "methods and sets can be added"
    assert "| geodesic |" in (out / "evaluation.md").read_text()


def test_tables_tell_of_evaluations_beside(data: Path, tmp_path: Path) -> None:
    list(evaluate(data / "Dataset002_Disks2", tmp_path / "a", QUICK))
    list(evaluate(data / "Dataset001_Disks1", tmp_path / "b", QUICK, beside=[tmp_path / "a"]))
    text = (tmp_path / "b" / "evaluation.md").read_text()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")][:3] == [
        "mean over data sets",
        "Dataset001_Disks1 (2 objects)",
        "Dataset002_Disks2 (2 objects)",
    ]


def test_other_settings_need_another_folder(data: Path, tmp_path: Path) -> None:
    list(evaluate(data / "Dataset001_Disks1", tmp_path / "out", QUICK))
    other = EvaluateConfig(n_cases=2, methods=METHODS, n_interactions=6)
    with pytest.raises(ValueError, match=r"holds an evaluation with n_interactions=5: go on with that, or choose"):
        list(evaluate(data, tmp_path / "out", other))
    with pytest.raises(FileNotFoundError, match="no data set isks1: there are Dataset001_Disks1, "):
        list(evaluate(data, tmp_path / "new", EvaluateConfig(sets=("isks1",))))
    with pytest.raises(FileNotFoundError, match="holds no data set: name a folder"):
        list(evaluate(tmp_path / "out", tmp_path / "new"))


def test_the_shipped_weights_are_evaluated_from_the_command_line(data: Path, tmp_path: Path) -> None:
    named = [f"--methods={name}" for name in OURS]
    options = ["--data", str(data), "--sets", "Disks1", "--cases", "1", "--interactions", "3", *named]
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    for said in ("Dice@3", "| complete+adapt |", "## Candidates after two strokes", "## Reliability", "curves.png"):
        assert said in result.output
    row = read_rows(tmp_path / "out" / "samples.csv")[0]
    assert row["n_candidates"] >= 1 and 0 <= row["control"] <= 1
    assert row["best"] > 0.9, "a plain disk may have one reading, but that is found"


def test_curves_need_no_common_data_set() -> None:
    curves = {"A": {"x": np.array([0.1, 0.5])}, "B": {"y": np.array([0.2])}}
    shown = np.asarray(Image.open(io.BytesIO(picture(curves))).convert("L"))
    assert shown.min() < 100 < 240 < shown.max()


def test_without_matplotlib_the_tables_are_written_and_it_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_probseg.evaluate.tables.can_plot", lambda: False)
    with pytest.warns(UserWarning, match=r"matplotlib is needed: pip install 'napari-probseg\[plots\]'"):
        list(evaluate(data / "Dataset001_Disks1", tmp_path / "out", QUICK))
    assert (tmp_path / "out" / "evaluation.md").is_file()
    assert not (tmp_path / "out" / "curves.png").exists()
