"""The loop that learns: train, compare, adopt, go back, rank."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.active_learning import registry as models
from napari_probseg.active_learning import train
from napari_probseg.active_learning import validate as judge
from napari_probseg.active_learning.acquisition import images_in, rank
from napari_probseg.active_learning.comparison import Comparison, Judgement
from napari_probseg.active_learning.registry import adopt, history, model_in_use, models_of, rollback
from napari_probseg.cli.main import app
from napari_probseg.dataset.collection import Collection
from napari_probseg.nn.checkpoint import read_weights, write_weights
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.progress import Progress, result_of
from napari_probseg.training.recipe import GeneralTraining

TINY = GeneralTraining(size=32, n_batch=2, n_samples=2, n_crops=4, n_corrections=1)
QUICK = replace(train.FIT, save_every=0)


def labelled_disk(seed: int, shape: tuple[int, int] = (48, 40)) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[0], : shape[1]]
    truth = (y - rng.integers(16, 30)) ** 2 + (x - rng.integers(14, 26)) ** 2 < rng.integers(40, 90)
    return (40 + 120 * truth + rng.normal(0, 8, shape)).clip(0, 255).astype(np.uint8), truth.astype(np.uint8)


def add(collection: Collection, n: int) -> None:
    for seed in range(len(collection.cases), len(collection.cases) + n):
        collection.add(f"image_{seed}", *labelled_disk(seed))


def judgement(score: float) -> Judgement:
    return Judgement({1: score, 3: score}, 1, 2)


def trained(collection: Collection, name: str) -> None:
    """Put a model there as a training leaves it."""
    folder = collection.folder / "models" / name
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "about.json").write_text(json.dumps({"cases": {"image_0": 1}, "start": "general", "date": "now"}))


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection.create(tmp_path / "Dataset700_Disks", ["disk"], ending=".tif")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = GeneralConfig(widths=(8, 16, 24), n_head=16, n_latent=4)
    path = tmp_path / "start.safetensors"
    write_weights(path, GeneralCVAE(config).state_dict(), preset="general", config=asdict(config))
    return path


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "TRAINING", {2: TINY, 3: replace(TINY, ndim=3, size=16)})
    monkeypatch.setattr(train, "FIT", QUICK)


# Training -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_training_makes_a_model_of_the_training_images_alone(collection: Collection, start: Path) -> None:
    add(collection, 5)
    before = dict(collection.labels)
    progress = [p for p in train.train(collection, steps=2, start=start, device="cpu") if isinstance(p, Progress)]
    assert [p.step for p in progress] == [1, 2]
    (model,) = models_of(collection)
    assert sorted(model.metadata["cases"]) == collection.split("training") and collection.split("test")
    assert model_in_use(collection) == "general", "training adopts nothing"
    assert sorted(p.name for p in model.folder.iterdir()) == [
        "about.json",
        "curve.csv",
        "curve.png",
        "weights.safetensors",
    ]
    old, new = (read_weights(path)[2] for path in (start, model.weights))
    assert old.keys() == new.keys() and any(not torch.equal(old[k], new[k]) for k in old)
    again = Collection(collection.folder)
    assert again.cases == collection.cases and dict(again.labels) == before, "the data set is what it was"
    proposer, completer = judge.load_models(model.weights, device="cpu")
    image, truth = labelled_disk(9)
    case = ps.Case(image).mark(truth > 0)
    assert len(completer.propose(case)) == 1
    assert set(completer.networks) == {2, 3}, "volumes are completed by the shipped weights"
    assert proposer.propose(case, 2) is not None


@pytest.mark.usefixtures("tiny")
def test_a_stopped_training_goes_on_with_the_images_it_began_with(collection: Collection, start: Path) -> None:
    add(collection, 1)
    steps = train.train(collection, steps=4, start=start, device="cpu")
    assert any(isinstance(p, Progress) and p.step == 2 for p in steps)
    with pytest.raises(TimeoutError):
        next(train.train(collection, device="cpu"))
    steps.close()  # type: ignore[attr-defined]
    assert models.is_under_way(collection) and not models_of(collection)
    add(collection, 3)
    rest = [p.step for p in train.train(collection, device="cpu") if isinstance(p, Progress)]
    assert rest == [3, 4]
    (model,) = models_of(collection)
    assert model.n_images == 1 and not models.is_under_way(collection)
    assert train.curve_of(collection, model.name).loss[-1][0] == 4


def test_a_volume_is_trained_on_in_3d(collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "TRAINING", {3: replace(TINY, ndim=3, size=16)})
    config = GeneralConfig(ndim=3, n_image_channels=2, widths=(8, 16), n_head=16, n_latent=2)
    start = tmp_path / "start3.safetensors"
    write_weights(start, GeneralCVAE(config).state_dict(), preset="general", config=asdict(config))
    image, truth = labelled_disk(0)
    collection.add("volume", np.stack([image] * 10), np.stack([truth] * 10), spacing=(4, 1, 1))
    result_of(train.train(collection, steps=1, start=start, device="cpu"))  # type: ignore[arg-type]
    _, completer = judge.load_models(models_of(collection)[0].weights, device="cpu")
    assert set(completer.networks) == {2, 3} and completer.networks[3].n_latent == 2, "slices by the shipped weights"


_KILLED = """
import sys
from dataclasses import replace
from napari_probseg.dataset.collection import Collection
from napari_probseg.progress import result_of
from napari_probseg.active_learning import train
from napari_probseg.training.recipe import GeneralTraining
train.TRAINING = {2: GeneralTraining(size=32, n_batch=2, n_samples=2, n_crops=4, n_corrections=1)}
train.FIT = replace(train.FIT, save_every=0)
for said in train.train(Collection(sys.argv[1]), steps=12, start=sys.argv[2], device="cpu"):
    print(said, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_killed_training_ends_as_if_it_had_not_been(collection: Collection, start: Path, tmp_path: Path) -> None:
    add(collection, 2)
    whole = Collection.create(tmp_path / "whole", ["disk"], ending=".tif")
    add(whole, 2)
    # In processes of their own, where the same numbers of threads add up.
    with _trained(whole, start) as undisturbed, _trained(collection, start) as process:
        assert process.stdout is not None
        for _ in range(6):
            assert process.stdout.readline(), "it ended before it was killed: test invalid"
        process.kill()
        process.wait()
        assert Collection(collection.folder).cases == collection.cases
        assert models.is_under_way(collection) and not models_of(collection)
        with _trained(collection, start) as again:
            for one, first_step in ((again, range(2, 13)), (undisturbed, range(1, 2))):
                said, _ = one.communicate()
                steps = [int(step) for step in re.findall(r"Progress\(step=(\d+)", said)]
                assert steps[0] in first_step and steps[-1] == 12
    killed, straight = (read_weights(models_of(c)[0].weights)[2] for c in (collection, whole))
    assert all(torch.allclose(killed[k], straight[k], atol=1e-6) for k in killed)


def _trained(collection: Collection, start: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _KILLED, str(collection.folder), str(start)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_training_says_what_is_missing(collection: Collection) -> None:
    with pytest.raises(ValueError, match="no image for training yet"):
        result_of(train.train(collection))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        result_of(train.train(collection, steps=0))  # type: ignore[arg-type]
    collection.add("empty", *(part * (i == 0) for i, part in enumerate(labelled_disk(0))))
    with pytest.raises(ValueError, match="no object"):
        result_of(train.train(collection))  # type: ignore[arg-type]
    assert not models.is_under_way(collection)


# Judging and adopting -------------------------------------------------------------------------------------------------


def test_the_same_model_is_judged_the_same(collection: Collection) -> None:
    add(collection, 1)
    with pytest.raises(ValueError, match=r"holds out no image yet.*add 4 more"):
        result_of(judge.judge(collection, "general", device="cpu"))
    add(collection, 4)
    first, second = (result_of(judge.judge(collection, "general", device="cpu")) for _ in range(2))
    assert first == second and first.n_images == len(collection.split("test")) == first.n_objects
    assert tuple(first.dice) == judge.N_DABS and 0.5 < first.score <= 1


def test_objects_are_the_largest_parts_of_each_label() -> None:
    labels = np.zeros((40, 40), dtype=np.int32)
    for i, value in enumerate((1, 1, 1, 1, 2)):
        labels[8 * i : 8 * i + 6, 2 : 12 + i] = value
    labels[0, 39] = 1  # a speck
    labelled = judge.LabelledImage("a", np.zeros((1, 40, 40), np.float32), labels, (1.0, 1.0), False)
    assert [int(mask.sum()) for mask in judge.objects_of(labelled)] == [78, 72, 66, 84]
    instances = replace(labelled, instances=True)
    assert [int(mask.sum()) for mask in judge.objects_of(instances)] == [277, 84]


def test_only_a_better_model_is_adopted_and_every_adoption_is_taken_back(collection: Collection) -> None:
    for name in ("0001", "0002"):
        trained(collection, name)
    with pytest.raises(ValueError, match=r"not better.*0\.500 by model 0001, 0\.500 by the one in use, general"):
        adopt(collection, Comparison("0001", "general", judgement(0.5), judgement(0.5)))
    assert not history(collection)
    adopt(collection, Comparison("0001", "general", judgement(0.6), judgement(0.5)))
    with pytest.raises(RuntimeError, match="in use is 0001 by now"):
        adopt(collection, Comparison("0002", "general", judgement(0.7), judgement(0.5)))
    adopt(collection, Comparison("0002", "0001", judgement(0.7), judgement(0.6)))
    again = Collection(collection.folder)
    assert model_in_use(again) == collection.folder / "models" / "0002" / "weights.safetensors"
    assert history(again)[0].told["new"]["dice"] == {"1": 0.6, "3": 0.6} and history(again)[0].told["n_training"] == 1
    assert [rollback(again).after for _ in range(2)] == ["0001", "general"]
    with pytest.raises(RuntimeError, match="nothing to go back to"):
        rollback(again)
    adopt(again, Comparison("0001", "general", judgement(0.6), judgement(0.5)))
    assert [change.verb for change in history(again)] == ["adopt", "adopt", "rollback", "rollback", "adopt"]


def test_a_model_that_is_gone_or_a_damaged_history_is_said(collection: Collection) -> None:
    with pytest.raises(LookupError, match="has no model yet: train one first"):
        result_of(judge.compare(collection))
    trained(collection, "0001")
    adopt(collection, Comparison("0001", "general", judgement(0.6), judgement(0.5)))
    with pytest.raises(ValueError, match="0001 is in use already"):
        result_of(judge.compare(collection))
    (collection.folder / "models" / "0001" / "weights.safetensors").unlink()
    with pytest.raises(LookupError, match="no model 0001"):
        model_in_use(collection)
    (collection.folder / "models" / "models.json").write_text('{"version": 7}')
    with pytest.raises(ValueError, match=r"models\.json cannot be read .*version 7"):
        model_in_use(collection)


def test_what_cannot_be_written_changes_nothing(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(collection, "0001")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "write_whole", full)
    with pytest.raises(OSError, match="No space"):
        adopt(collection, Comparison("0001", "general", judgement(0.6), judgement(0.5)))
    assert model_in_use(collection) == "general" and not history(collection)


# The next image -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "images"
    for i in range(3):
        ps.write(folder / f"{i}.tif", labelled_disk(i)[0], labels=False)
    noise = np.random.default_rng(0).integers(0, 255, (48, 40)).astype(np.uint8)
    ps.write(folder / "noise.tif", noise, labels=False)
    ps.write(folder / "volume.tif", np.stack([noise] * 6), labels=False)
    ps.write(folder / "flat.tif", np.full((48, 40), 7, np.uint8), labels=False)
    (folder / "damaged.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_images_are_ranked_and_the_others_named(
    collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_probseg.active_learning.acquisition.N_PLACES", {2: 1, 3: 1})
    add(collection, 1)
    paths = images_in(folder)
    assert len(paths) == 7, "the notes are no image"
    found = result_of(rank(collection, paths, device="cpu"))
    assert found == result_of(rank(collection, paths, device="cpu"))
    ranked = {one.path.name: one for one in found}
    assert {name for name in ranked if not ranked[name].passed_over} == {"1.tif", "2.tif", "noise.tif"}
    values = [one.uncertainty for one in found]
    assert values == sorted(values, reverse=True) and all(0 < value < 1 for value in values[:3])
    assert "already, as image_0" in ranked["0.tif"].passed_over
    assert "3-D with 1 channels" in ranked["volume.tif"].passed_over
    assert "constant" in ranked["flat.tif"].passed_over and "damaged" in ranked["damaged.png"].passed_over
    everything = result_of(rank(None, paths[:2], device="cpu"))
    assert not everything[0].passed_over, "without a data set nothing is there already"


def test_a_folder_without_images_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        images_in(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no images"):
        images_in(tmp_path)


# The command line -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
def test_the_loop_on_the_command_line(
    collection: Collection, start: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_probseg.active_learning.acquisition.N_PLACES", {2: 1, 3: 1})
    add(collection, 5)
    here = str(collection.folder)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["dataset", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    run("train", here, "--steps", "1", "--start", str(start), "--device", "cpu")
    with pytest.raises(ValueError, match="model 0001 is not better"):
        run("adopt", here, "--device", "cpu")
    adopt(collection, Comparison("0001", "general", judgement(0.6), judgement(0.5)))
    assert "0001\t4 images" in run("models", here) and "held-out Dice 0.600, before 0.500" in run("models", here)
    assert "in use is general" in run("rollback", here)
    assert run("rank", here, str(folder), "--device", "cpu").count("passed over") == 6
