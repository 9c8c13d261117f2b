"""Training on a labelled data set, from the files to the curve."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import napari_probseg as ps
from drawn import LABELS, balls
from extras import NEEDS_MONAI
from napari_probseg.cli.main import app
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.nn.presets import load_network
from napari_probseg.nn.unet import UNet, UNetConfig
from napari_probseg.progress import Progress
from napari_probseg.training.curve import Curve
from napari_probseg.training.examples import batch_maker, random_patch, read_examples
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.segmentation import (
    SegmentationTraining,
    divided,
    planned,
    predict,
    segmentation_loss,
    train_segmentation,
    validate,
)

pytestmark = NEEDS_MONAI

TINY = UNetConfig(widths=(8, 16), norm="group")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return balls(tmp_path / "Dataset900_Flat", (30, 27))


# --- examples and patches ---


def test_examples_are_normalised_and_know_their_labels(flat: Path) -> None:
    examples = read_examples(RawDataset(flat), ["case_0", "case_2"])
    assert [e.name for e in examples] == ["case_0", "case_2"]
    for example in examples:
        assert example.image.shape == (1, 30, 27)
        assert example.image.mean() == pytest.approx(0, abs=1e-4) and example.image.std() == pytest.approx(1, abs=1e-2)
        for label, voxels in enumerate(example.foreground, start=1):
            assert len(voxels) and (example.label.numpy()[tuple(voxels.T)] == label).all()


@pytest.mark.parametrize("patch", [(8, 12), (40, 12), (40, 50)])
def test_patches_are_parts_of_the_image(flat: Path, patch: tuple[int, int]) -> None:
    example = read_examples(RawDataset(flat), ["case_0"])[0]
    rng = np.random.default_rng(0)
    for foreground in (True, False):
        image, label = random_patch(example, patch, rng, foreground=foreground)
        assert image.shape == (1, *patch) and label.shape == patch
        real = image[0][image[0] != 0]
        assert np.isin(real.numpy(), example.image.numpy()).all()
        if patch == (40, 50):
            assert (label > 0).sum() == (example.label > 0).sum()


def test_foreground_is_over_sampled(flat: Path) -> None:
    example = read_examples(RawDataset(flat), ["case_0"])[0]
    rng = np.random.default_rng(0)
    shares = [
        np.mean([bool((random_patch(example, (3, 3), rng, foreground=f)[1] == 2).any()) for _ in range(200)])
        for f in (True, False)
    ]
    assert shares[0] > 0.45 and shares[1] < 0.2


def test_augmentation_moves_image_and_label_together_and_is_repeatable(tmp_path: Path) -> None:
    from napari_probseg.training.augment import augmentation

    for ndim in (2, 3):
        grid = np.indices((16,) * ndim) - 7.5
        label = torch.from_numpy((np.abs(grid[0]) + np.abs(grid[-1] - 2) < 6).astype(np.int16))
        patches = [(label[None].float(), label)] * 8
        augment = augmentation((1.0,) * ndim, mirror=True)
        first, again, other = augment(patches, 0), augment(patches, 0), augment(patches, 1)
        assert all(torch.equal(a, b) for p, q in zip(first, again, strict=True) for a, b in zip(p, q, strict=True))
        assert any(not torch.equal(p[1], q[1]) for p, q in zip(first, other, strict=True)), "test invalid"
        assert any(not torch.equal(p[1], label) for p in first), "test invalid"
        for image, changed in first:
            assert type(image) is torch.Tensor and changed.dtype == torch.int16
            inside, outside = image[0][changed > 0], image[0][changed == 0]
            assert inside.mean() > outside.mean() + 0.4


def test_volumes_with_a_coarse_axis_turn_about_it_alone() -> None:
    from napari_probseg.training.augment import augmentation

    planes = torch.arange(6).repeat_interleave(400).reshape(6, 20, 20).short()
    augment = augmentation((5.0, 1.0, 1.0), mirror=False)
    for seed in range(8):
        ((_, changed),) = augment([(planes[None].float(), planes)], seed)
        assert (changed[:, 10, 10].diff() >= 0).all()


# --- training ---


@pytest.mark.parametrize("shape", [(30, 27), (14, 18, 17)])
def test_training_learns_and_goes_on(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data, out = balls(tmp_path / "data", shape), tmp_path / "out"
    network = UNetConfig(ndim=len(shape), widths=(8, 16), norm="group")
    config = SegmentationTraining(patch=(16,) * len(shape), share_foreground=0.7, loss="dice_cross_entropy")
    recipe = FitConfig(50, learning_rate=1e-2, n_warmup=5, average=0.9, validate_every=25, save_every=0)
    arguments = {"config": config, "fit_config": recipe, "network": network, "preset": "kayalibay2017"}
    first = train_segmentation(out, data, cases=RawDataset(data).cases, **arguments)
    for progress in first:
        if progress.step == 30:
            break
    first.close()
    rest = list(train_segmentation(out, data, cases=RawDataset(data).cases, **arguments))
    assert [p.step for p in rest] == list(range(31, 51))
    assert set(rest[-1].validation) == {"label 1", "label 2", "score"}
    assert rest[-1].validation["score"] > 0.6
    curve = Curve.load(out / "curve.csv")
    assert [step for step, _ in curve.score] == [25, 50]
    with Image.open(out / "curve.png") as picture:
        assert picture.size == (720, 420)
    trained = load_network(out / "kayalibay2017.safetensors")
    assert isinstance(trained, UNet)
    held_out = read_examples(RawDataset(data), ["case_3"])
    assert validate(trained, held_out, patch=config.patch)["score"] == pytest.approx(
        max(s for _, s in curve.score), abs=1e-4
    )
    about = json.loads((out / "kayalibay2017.json").read_text())
    assert about["labels"] == LABELS and about["patch"] == [16] * len(shape)


def test_seed_decides_the_batches(flat: Path) -> None:
    examples = read_examples(RawDataset(flat), ["case_0", "case_1"])
    make = batch_maker(examples, (8, 8), n_batch=3, share_foreground=0.5)
    (x, y), (again, _), (other, _) = (make(torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert x.shape == (3, 1, 8, 8) and y.shape == (3, 8, 8) and y.dtype == torch.int64
    assert torch.equal(x, again) and not torch.equal(x, other)


def test_prediction_covers_the_image(flat: Path) -> None:
    example = read_examples(RawDataset(flat), ["case_0"])[0]
    network = UNet(TINY).eval()
    for patch in ((16, 16), (64, 64)):
        assert predict(network, example.image, patch=patch).shape == (30, 27)
    with torch.inference_mode():
        whole = network(example.image[None])[0].argmax(0).numpy()
    assert np.array_equal(predict(network, example.image, patch=(30, 27)), whole)


def test_prediction_from_patches_is_that_of_the_whole(flat: Path) -> None:
    example = read_examples(RawDataset(flat), ["case_0"])[0]
    voxelwise = torch.nn.Conv2d(1, 3, 1)
    with torch.inference_mode():
        whole = voxelwise(example.image[None])[0].argmax(0).numpy()
    assert len(np.unique(whole)) > 1, "test invalid"
    assert np.array_equal(predict(voxelwise, example.image, patch=(8, 12)), whole)


def test_held_out_cases_are_the_last_of_the_training_part(tmp_path: Path) -> None:
    dataset = RawDataset(balls(tmp_path / "data", (12, 12), n=9))
    training, held_out = divided(dataset, share_held_out=0.2)
    assert [e.name for e in training] == [f"case_{i}" for i in range(5)]
    assert [e.name for e in held_out] == ["case_5"]


def test_nnunet_follows_the_planner_and_others_their_paper(flat: Path) -> None:
    examples = read_examples(RawDataset(flat), ["case_0"])
    found = [planned(p, examples, n_labels=3, config=SegmentationTraining()) for p in ("nnunet2018", "isensee2017")]
    assert found[0].config.widths == (30, 60) and len(found[1].config.widths) == 5
    assert all((f.config.ndim, f.config.n_channels, f.config.n_labels) == (2, 1, 3) for f in found)


# --- stopping early ---


def scores(values: list[float], **options: int) -> tuple[list[Progress], torch.nn.Module]:
    """Train a network whose validations give ``values``."""
    given = iter(values)
    network = torch.nn.Linear(1, 1)
    config = FitConfig(10, learning_rate=0.1, n_warmup=1, average=0.0, validate_every=2, **options)
    steps = fit(
        network,
        lambda _: torch.ones(1, 1),
        lambda network, batch, step: {"total": network(batch).square().sum()},
        config,
        validate=lambda _: {"score": next(given)},
    )
    return list(steps), network


def test_fit_stops_when_the_score_has_long_not_risen() -> None:
    assert [p.step for p in scores([0.1, 0.5, 0.4, 0.5, 0.6], patience=2)[0]][-1] == 8
    assert [p.step for p in scores([0.1, 0.2, 0.1, 0.3, 0.2], patience=2)[0]][-1] == 10
    assert [p.step for p in scores([0.5, 0.4, 0.3, 0.2, 0.1])[0]][-1] == 10


def test_fit_keeps_the_best_weights() -> None:
    torch.manual_seed(0)
    best = scores([0.1, 0.9, 0.2, 0.3, 0.4])[1]
    torch.manual_seed(0)
    first = scores([0.9, 0.1, 0.2, 0.3, 0.4])[1]
    torch.manual_seed(0)
    last = scores([0.1, 0.2, 0.3, 0.4, 0.9])[1]
    assert len({network.weight.item() for network in (best, first, last)}) == 3


def test_a_stopped_training_stays_stopped(tmp_path: Path) -> None:
    config = FitConfig(20, n_warmup=1, validate_every=2, patience=1)

    def again() -> list[int]:
        given = iter([0.5, 0.4, 0.3])
        steps = fit(
            torch.nn.Linear(1, 1),
            lambda _: torch.ones(1, 1),
            lambda network, batch, step: {"total": network(batch).square().sum()},
            config,
            folder=tmp_path,
            validate=lambda _: {"score": next(given)},
        )
        return [p.step for p in steps]

    assert again() == [1, 2, 3, 4]
    assert again() == []


def test_a_folder_of_another_network_says_so(tmp_path: Path) -> None:
    def train(n: int) -> None:
        list(
            fit(
                torch.nn.Linear(1, n),
                lambda _: torch.ones(1, 1),
                lambda network, batch, step: {"total": network(batch).square().sum()},
                FitConfig(2),
                folder=tmp_path,
            )
        )

    train(1)
    with pytest.raises(ValueError, match="is of another network: choose an empty folder"):
        train(2)


# --- the curve ---


def test_curve_forgets_what_a_broken_run_saw_later(tmp_path: Path) -> None:
    curve = Curve()
    for step in range(1, 41):
        curve.add(Progress(step, 60, {"total": 1 / step}, validation={"score": 0.5} if step == 40 else {}))
    curve.save(tmp_path)
    again = Curve.load(tmp_path / "curve.csv")
    assert [step for step, _ in again.loss] == [10, 20, 30, 40] and again.score == [(40, 0.5)]
    again.add(Progress(21, 60, {"total": 0.1}))
    assert [step for step, _ in again.loss] == [10, 20] and again.score == []
    assert again.loss[0][1] == pytest.approx(np.mean([1 / step for step in range(1, 11)]))
    with (tmp_path / "curve.csv").open() as file:
        assert next(iter(csv.reader(file))) == ["step", "loss", "score"]


def test_curve_draws_what_it_knows() -> None:
    empty = np.asarray(Curve().picture())
    drawn = np.asarray(Curve([(10, 3.0), (20, 1.5)], [(20, 0.5)]).picture())
    assert empty.shape == drawn.shape == (420, 720, 3)
    assert (drawn != empty).any(axis=-1).sum() > 500


# --- data that does not fit together ---


def says(data: Path, text: str, kind: type[Exception] = ValueError) -> None:
    out = data.parent / "out"
    with pytest.raises(kind, match=text):
        next(train_segmentation(out, data, cases=RawDataset(data).cases))
    assert not out.exists()


def test_label_of_another_shape_is_named(flat: Path) -> None:
    ps.write(flat / "labelsTr" / "case_1.png", np.zeros((5, 5), np.uint8))
    says(flat, r"case_1\.png does not lie on .*case_1_0000\.png")


def test_label_without_an_image_is_named(flat: Path) -> None:
    (flat / "imagesTr" / "case_2_0000.png").unlink()
    says(flat, r"no image of the label case_2\.png", FileNotFoundError)


def test_another_ending_than_the_files_have_is_named(flat: Path) -> None:
    about = json.loads((flat / "dataset.json").read_text())
    (flat / "dataset.json").write_text(json.dumps({**about, "file_ending": ".mha"}))
    with pytest.raises(ValueError, match=r"dataset\.json says that files end in \.mha, and labelsTr holds \w+"):
        RawDataset(flat)


def test_value_outside_of_dataset_json_is_named(flat: Path) -> None:
    label = np.zeros((30, 27), np.uint8)
    label[3, 3] = 7
    ps.write(flat / "labelsTr" / "case_0.png", label)
    says(flat, r"case_0\.png has the values \[7\], dataset\.json lists 0 to 2")


def test_mixed_channels_are_named(flat: Path) -> None:
    ps.write(flat / "imagesTr" / "case_3_0001.png", np.zeros((30, 27), np.uint8))
    says(flat, r"case_0 is \(1, 30, 27\), case_3 is \(2, 30, 27\) \(channels first\)")


def test_labels_that_are_not_counted_up_are_named(tmp_path: Path) -> None:
    says(balls(tmp_path / "a", (9, 9), labels={"background": 0, "ball": 2}), "must number its labels 0, 1, 2")
    says(balls(tmp_path / "b", (9, 9), labels={"background": 0, "ball": [1, 2]}), "must number its labels 0, 1, 2")


def test_too_few_cases_and_missing_data_are_named(tmp_path: Path) -> None:
    says(balls(tmp_path / "data", (9, 9), n=1), "has 1 labelled cases, of which 1 may be trained on: 2 are needed")
    with pytest.raises(FileNotFoundError, match="no nnU-Net v2 raw data set"):
        next(train_segmentation(tmp_path / "out", tmp_path))


def test_unknown_names_say_what_is_known(flat: Path) -> None:
    with pytest.raises(ValueError, match="no loss 'tversky': choose one of dice_cross_entropy, dice"):
        segmentation_loss("tversky")
    with pytest.raises(ValueError, match="no recipe for 'vnet'"):
        next(train_segmentation(flat, flat, preset="vnet"))


# --- as it is typed ---


def test_command_line_trains_and_says_where_things_are(tmp_path: Path, flat: Path) -> None:
    arguments = [
        "train",
        "avetisian2018",
        str(tmp_path / "out"),
        "--data",
        str(flat),
        "--steps",
        "2",
        "--memory",
        "0.2",
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "the weights are" in result.output and "curve.png" in result.output
    assert "score" in result.output
    assert isinstance(load_network(tmp_path / "out" / "avetisian2018.safetensors"), UNet)
    assert (tmp_path / "out" / "curve.png").is_file()


def test_command_line_wants_a_data_set(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "nnunet2018", str(tmp_path)], env={"PROBSEG_DATA": None})
    assert isinstance(result.exception, ValueError)
    assert "--data" in str(result.exception)
