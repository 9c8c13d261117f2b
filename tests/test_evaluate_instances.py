"""Evaluation on many objects: the simulated person's counts on scenes small enough to reason about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.dataset.raw import LabelledImage
from napari_probseg.evaluate.instances import INSTANCES, METHODS, InstancesConfig, evaluate_instances, table
from napari_probseg.evaluate.many_objects import Person, Scene, more_like_this, one_by_one, pixel_classifier, scene_of
from test_similar import NO_NETWORK, disks


class Oracle:
    """Completes the true object under the first dab; knows no network."""

    name, networks = "oracle", NO_NETWORK.networks

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth

    def propose(self, case: Case, n: int = 1, **_: object) -> Candidates:
        i = np.bincount(self.truth[case.strokes == Marker.OBJECT]).argmax()
        patch = np.where(self.truth == i, np.uint8(1), np.uint8(2))
        patch = np.where(case.partial > 0, case.partial, patch)[None]
        one = np.ones(1, np.float32)
        return Candidates(
            case, tuple(slice(0, m) for m in case.shape), patch, one, one, (patch[0] == 1).astype(np.float32)
        )


def person() -> Person:
    image, labels = disks()
    scene = Scene("disks", Case(image), labels)
    return Person(scene, Oracle(labels), {}, seed=0)


def test_one_by_one_takes_a_stroke_and_a_key_each() -> None:
    alone = person()
    one_by_one(alone)
    n = len(alone.reached)
    assert alone.effort.strokes == n and alone.effort.keys == n and alone.effort.looks == n
    assert alone.effort.seconds == n * (2.5 + 0.5 + 0.5)
    assert alone.is_done and alone.f1(0.7) >= 0.9


def test_more_like_this_takes_less() -> None:
    alone, helped = person(), person()
    one_by_one(alone), more_like_this(helped)
    assert helped.is_done and helped.f1(0.7) >= 0.9
    assert helped.effort.strokes < 4
    assert helped.effort.seconds < 0.6 * alone.effort.seconds
    assert helped.effort.keys + helped.effort.strokes <= 0.8 * len(helped.scene.boxes)


def test_nothing_useful_on_offer_is_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_probseg.session.session import Session
    from napari_probseg.similar import Similar

    monkeypatch.setattr(Session, "propose_similar", lambda self, n: self.offer_similar(Similar(())))
    alone, helped = person(), person()
    one_by_one(alone), more_like_this(helped)
    assert helped.effort.strokes == alone.effort.strokes
    assert helped.effort.keys == alone.effort.keys and helped.effort.looks == alone.effort.looks


def test_the_pixel_classifier_takes_what_is_right_and_finishes_the_rest() -> None:
    pytest.importorskip("sklearn")
    helped = person()
    pixel_classifier(helped)
    assert helped.is_done and helped.f1(0.7) >= 0.9


def test_scenes_of_instances_and_of_labels() -> None:
    image, labels = disks()
    ids = scene_of(LabelledImage("a", image[None], labels, (1.0, 1.0), True))
    parts = scene_of(LabelledImage("a", image[None], (labels > 0).astype(np.int32), (1.0, 1.0), False))
    assert ids is not None and parts is not None and len(ids.boxes) == len(parts.boxes) == labels.max()
    corner = scene_of(LabelledImage("a", image[None], labels, (1.0, 1.0), True), max_objects=4)
    assert corner is not None and len(corner.boxes) == 4 and corner.case.shape < labels.shape
    assert scene_of(LabelledImage("a", image[None], np.minimum(labels, 0), (1.0, 1.0), True)) is None


@pytest.mark.parametrize("description", ["one id per nucleus", "numbers that no label is named for"])
def test_a_run_is_resumed_and_tells_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, description: str) -> None:
    import json

    from napari_probseg.io import write

    image, labels = disks()
    data = tmp_path / "data" / "Dataset001_Nuclei"
    (data / "imagesTr").mkdir(parents=True), (data / "labelsTr").mkdir()
    about = {"channel_names": {"0": "i"}, "labels": {"background": 0, "nucleus": 1}, "numTraining": 1}
    (data / "dataset.json").write_text(json.dumps({**about, "file_ending": ".tif", "description": description}))
    write(data / "imagesTr" / "a_0000.tif", image)
    write(data / "labelsTr" / "a.tif", labels.astype(np.uint16), labels=True)
    monkeypatch.setattr("napari_probseg.proposers.load_completer", lambda *_, **__: Oracle(labels))
    config = InstancesConfig(methods=("more like this", "one by one"))
    lines = list(evaluate_instances(tmp_path / "data", tmp_path / "out", config))
    assert len(lines) == 2
    assert not list(evaluate_instances(tmp_path / "data", tmp_path / "out", config))
    text = (tmp_path / "out" / "instances.md").read_text()
    assert "more like this" in text and "one by one" in text and (tmp_path / "out" / INSTANCES).is_file()
    with pytest.raises(ValueError, match="no method 'x'"):
        list(evaluate_instances(tmp_path / "data", tmp_path / "out", InstancesConfig(methods=("x",))))
    with pytest.raises(FileNotFoundError, match="holds no data set"):
        list(evaluate_instances(tmp_path / "out", tmp_path / "out", config))
    assert set(METHODS) >= {"more like this"} and table([])
