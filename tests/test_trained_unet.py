"""A U-Net of one's own as a completer: strokes say which label and which object, and are obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from drawn import balls
from extras import NEEDS_MONAI
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.metrics import dice
from napari_probseg.nn.unet import UNetConfig
from napari_probseg.training.fit import FitConfig
from napari_probseg.training.segmentation import SegmentationTraining, train_segmentation

pytestmark = NEEDS_MONAI


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RawDataset]:
    folder = tmp_path_factory.mktemp("trained")
    data = balls(folder / "Dataset900_Flat", (30, 27))
    steps = train_segmentation(
        folder,
        data,
        preset="kayalibay2017",
        config=SegmentationTraining(patch=(24, 24), n_batch=4, augment=False, loss="dice_cross_entropy"),
        fit_config=FitConfig(60, learning_rate=1e-2, n_warmup=5, average=0.9),
        network=UNetConfig(widths=(8, 16), norm="group"),
        cases=RawDataset(data).cases,
    )
    assert list(steps)
    return folder / "kayalibay2017.safetensors", RawDataset(data)


def first(dataset: RawDataset) -> tuple[ps.Case, np.ndarray]:
    labelled = dataset.load(dataset.cases[0])
    return ps.Case(labelled.image, labelled.spacing, channel_axis=0), labelled.label


def one_voxel(mask: np.ndarray) -> np.ndarray:
    dab = np.zeros_like(mask)
    dab[tuple(np.argwhere(mask)[np.count_nonzero(mask) // 2])] = True
    return dab


def test_without_strokes_it_is_all_that_the_network_finds(trained) -> None:
    path, dataset = trained
    case, label = first(dataset)
    partial = ps.load_completer(path, device="cpu").propose(case).partial[0]
    assert dice(partial == ps.Marker.OBJECT, label > 0) > 0.7
    assert (partial != ps.Marker.UNKNOWN).all()


def test_a_stroke_says_which_label_is_meant(trained) -> None:
    path, dataset = trained
    case, label = first(dataset)
    for value, name in enumerate(list(dataset.labels)[1:], 1):
        meant = case.mark(inside=one_voxel(label == value))
        by_stroke = ps.load_completer(path, device="cpu").propose(meant).partial[0] == ps.Marker.OBJECT
        by_name = ps.load_completer(path, label=name, device="cpu").propose(meant).partial[0] == ps.Marker.OBJECT
        assert dice(by_stroke, label == value) > 0.6
        assert (by_stroke == by_name).all()


def test_strokes_are_obeyed(trained) -> None:
    path, dataset = trained
    case, label = first(dataset)
    wrong = case.mark(inside=one_voxel(label == 0), outside=one_voxel(label > 0))
    partial = ps.load_completer(path, device="cpu").propose(wrong).partial[0]
    decided = wrong.partial != ps.Marker.UNKNOWN
    assert (partial[decided] == wrong.partial[decided]).all()


def test_what_does_not_fit_is_told(trained, tmp_path) -> None:
    path, dataset = trained
    case, _ = first(dataset)
    with pytest.raises(ValueError, match="knows no label 'kidney': choose one of"):
        ps.load_completer(path, label="kidney", device="cpu")
    with pytest.raises(ValueError, match="2-D images of 1 channels, this one is 2-D of 3"):
        ps.load_completer(path, device="cpu").propose(ps.Case(np.stack([case.read()[0]] * 3), channel_axis=0))
    with pytest.raises(ValueError, match="are of a network that proposes nothing"):
        ps.load_proposer(path, device="cpu")
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(path.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"alone\.json is missing"):
        ps.load_completer(alone, device="cpu")
    alone.with_suffix(".json").write_text(json.dumps({"labels": 3}))
    with pytest.raises(ValueError, match="is damaged"):
        ps.load_completer(alone, device="cpu")
