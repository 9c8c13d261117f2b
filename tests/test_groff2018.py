"""Fine-tuning on objects of sets that were left out of training: tiny sets, a tiny network."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.reproduce.groff2018 import COLUMNS, Target, measured, reproduce, table
from napari_probseg.reproduce.unseen import GROUPS
from napari_probseg.training.adapt import AdaptConfig
from napari_probseg.training.fit import FitConfig

TINY = replace(
    GROUPS[2],
    left_out=("Unseen",),
    network=GeneralConfig(widths=(8, 16), n_head=16),
    training=replace(GROUPS[2].training, size=32, n_batch=2, n_crops=4),
    fit=FitConfig(2),
)


def labelled_disk(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    label = np.hypot(*(np.indices((40, 40)) - rng.integers(12, 28, 2)[:, None, None])) < 8
    return (label + rng.normal(0, 0.2, label.shape)).astype(np.float32), label.astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("Dataset001_Seen", "Dataset002_Unseen"):
        folder = tmp_path / "data" / name
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        for i in range(3):
            image, label = labelled_disk(rng)
            ps.write(folder / "imagesTr" / f"{name}{i}_0000.nii.gz", image)
            ps.write(folder / "labelsTr" / f"{name}{i}.nii.gz", label)
        about = {"labels": {"background": 0, "disk": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "grey"}}
        (folder / "dataset.json").write_text(json.dumps({**about, "numTraining": 3}))
    return tmp_path / "data"


def test_the_command_trains_measures_and_writes_the_table(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    deque(reproduce(out, data=data, groups={2: TINY}), maxlen=0)
    assert "| Dataset002_Unseen | 1 |" in (out / "groff2018.md").read_text()
    measured_once = (out / "objects.jsonl").read_text()
    deque(reproduce(out, data=data, groups={2: TINY}), maxlen=0)
    assert (out / "objects.jsonl").read_text() == measured_once, "it goes on, and does nothing twice"


def test_what_is_left_out_is_not_looked_at(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    load = RawDataset.load
    monkeypatch.setattr(RawDataset, "load", lambda self, case: seen.append(case) or load(self, case))
    for progress in reproduce(tmp_path / "out", data=data, groups={2: TINY}):
        if progress.step == TINY.fit.n_steps:
            break
    assert seen
    assert not [case for case in seen if "Unseen" in case]


def test_a_missing_set_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data set Elsewhere: there are Dataset001_Seen, Dataset002_Unseen"):
        next(reproduce(tmp_path, data=data, groups={2: replace(TINY, left_out=("Elsewhere",))}))


def test_every_column_is_measured_and_strokes_help() -> None:
    image, label = labelled_disk(np.random.default_rng(1))
    completer = UNetCut({2: GeneralCVAE(TINY.network)}, device="cpu")
    scores = measured(completer, Target(image[None], label > 0, (1.0, 1.0)), config=AdaptConfig(1, 1))
    assert set(scores) == set(COLUMNS)
    assert scores["own15"] > scores["alone"]


def test_the_order_is_told_as_it_is() -> None:
    rising = dict(zip(COLUMNS, (0.2, 0.3, 0.8, 0.9, 0.7, 0.8, 0.7, 0.85), strict=True))
    a, b = ([{**rising, "cut": cut} for cut in cuts] for cuts in ((0.3, 0.34), (0.1, 0.14)))
    lines = table({"a": a, "b": b}, command="--seed 0").splitlines()
    in_a, in_b, mean = (line for line in lines if line.startswith(("| a", "| b", "| **mean**")))
    assert in_a.endswith("| yes | +0.100, +0.050 |")
    assert in_b.split(" | ")[-2] == "no"
    assert mean.split(" | ")[2:4] == ["0.200", "0.220"]
    assert lines[-5:] == [
        "| the cut improves what the network finds alone | 0.516 to 0.532, 0.417 to 0.484 | +0.020 [-0.041, +0.081] | undecided |",
        "| 10 strokes improve on the cut | 0.532 to 0.873, 0.484 to 0.892 | +0.580 [+0.519, +0.641] | reproduced |",
        "| 15 strokes improve on 10 | 0.873 to 0.891, 0.892 to 0.918 | +0.100 [+0.100, +0.100] | reproduced |",
        "| fine-tuning gains over 10 strokes of its own |  | +0.100 [+0.100, +0.100] | reproduced |",
        "| fine-tuning gains over 15 strokes of its own |  | +0.050 [+0.050, +0.050] | reproduced |",
    ]


def test_weights_are_measured_on_the_sets_they_have_not_seen(data: Path, tmp_path: Path) -> None:
    network = GeneralCVAE(TINY.network)
    weights = tmp_path / "unseen.safetensors"
    write_weights(weights, network.state_dict(), preset="general", config=asdict(network.config))
    arguments = ["reproduce", "groff2018", "--out", tmp_path / "out", "--data", data, "--weights", weights]
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, "--sets", "Unseen"]], catch_exceptions=False)
    assert "`napari-probseg reproduce groff2018 --seed 0 --weights unseen.safetensors --sets Unseen`" in result.output
    assert "| Dataset002_Unseen | 1 |" in result.output
    assert not (tmp_path / "out" / "2d").exists(), "nothing is trained"


def test_weights_of_another_network_are_told(data: Path, tmp_path: Path) -> None:
    shipped = Path(ps.__file__).parent / "weights" / "wong2022.safetensors"
    with pytest.raises(ValueError, match="are not of a general network"):
        next(reproduce(tmp_path, data=data, weights=shipped, sets=["Unseen"]))
