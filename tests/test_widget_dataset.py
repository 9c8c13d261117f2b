"""The Dataset widget, used as a person uses it: finish, add, train, adopt, go back, next image."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QFileDialog, QInputDialog

import napari_probseg as ps
from napari_probseg.active_learning import registry as models
from napari_probseg.active_learning import train
from napari_probseg.active_learning import validate as judge
from napari_probseg.active_learning.comparison import Comparison, Judgement
from napari_probseg.dataset.collection import Collection
from napari_probseg.engine.teaching import thumbnail
from napari_probseg.training.recipe import GeneralTraining
from napari_probseg.widgets import commands
from napari_probseg.widgets import models as in_use
from napari_probseg.widgets.dataset.widget import DatasetWidget
from napari_probseg.widgets.segment import class_dialog as kinds
from napari_probseg.widgets.segment.widget import SegmentWidget
from window import click, disk, finish_one, finished, stroke


@pytest.fixture
def open_both(open_widget, qtbot):
    """Return a function that opens a viewer with an image, Segment and Dataset."""
    opened = []

    def opener(image=None, **kwargs):
        viewer, segment = open_widget(image, **kwargs)
        widget = DatasetWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Dataset")
        opened.append(widget)
        return viewer, segment, widget

    yield opener
    for widget in opened:
        widget.release()


@pytest.fixture
def answer(monkeypatch):
    """Return a function that answers the dialogs for folders and labels."""

    def answered(folder, labels="object"):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder), ""))
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: (labels, True))

    return answered


def idle(qtbot, widget) -> None:
    teaching = widget.teaching
    backgrounds = (teaching.work, teaching.training, teaching.searching)
    qtbot.waitUntil(lambda: not any(background.is_busy for background in backgrounds), timeout=60_000)


def status(widget) -> str:
    return widget.panel.status.text()


def a_collection(folder, n: int) -> Collection:
    collection = Collection.create(folder, ["disk"], ending=".tif")
    for i in range(n):
        truth = disk(middle=(26 + i, 30))
        collection.add(f"image_{i}", (50 + 100 * truth).astype(np.uint8), truth.astype(np.uint8))
    return collection


def a_model(collection, name: str = "0001") -> None:
    folder = collection.folder / "models" / name
    folder.mkdir(parents=True)
    (folder / "about.json").write_text('{"cases": {"image_0": 1}, "start": "general", "date": "now"}')
    (folder / "weights.safetensors").write_bytes(models.shipped(2).read_bytes())


def compared(new: float):
    """Return a stand-in for `compare` that finds this Dice, over 0.5 by the model in use."""

    def compare(collection, model, *, device):
        yield f"judging model {model}"
        judgements = (Judgement({1: score}, 1, 1) for score in (new, 0.5))
        return Comparison(model, models.name_in_use(collection), *judgements)

    return compare


def test_a_finished_image_is_added_and_the_same_one_again_keeps_its_labels(open_both, qtbot, answer, tmp_path):
    _, segment, widget = open_both(disk().astype(np.float32))
    assert not widget.panel.whole.isVisibleTo(widget)
    answer(tmp_path / "Dataset700_New", "disk")
    click(qtbot, widget.panel.empty.new)
    idle(qtbot, widget)
    click(qtbot, widget.panel.add)
    assert status(widget) == "No object of this image is finished yet: finish one in Segment first."
    finish_one(qtbot, segment)
    click(qtbot, widget.panel.add)
    idle(qtbot, widget)
    assert status(widget) == "image is for training. Dataset700_New has 1 image."
    assert not widget.teaching.training.is_busy, "approving an image starts no training"
    stroke(qtbot, segment, (5, 5))  # the session moves again
    click(qtbot, widget.panel.add)
    idle(qtbot, widget)
    assert status(widget).startswith("image has new labels")
    collection = Collection(tmp_path / "Dataset700_New")
    assert np.array_equal(collection.load("image").label > 0, segment.work.session.objects > 0)
    assert collection["image"].metadata()["n_steps"] > 0 and len(collection["image"].earlier) == 1
    assert widget.panel.images.topLevelItemCount() == 1


def test_what_a_new_data_set_tells_fits_its_place(open_both, qtbot, answer, tmp_path):
    _, _, widget = open_both()
    answer(tmp_path / "Dataset007_New")
    click(qtbot, widget.panel.empty.new)
    idle(qtbot, widget)
    panel = widget.panel
    place = panel.sizeHint().width() - 16  # between its margins
    assert "held out" in panel.judged_on.text()
    assert all(label.sizeHint().width() <= place for label in (panel.name, panel.judged_on, panel.in_use))


def test_with_several_labels_it_asks_what_each_object_is(open_both, qtbot, answer, tmp_path, monkeypatch):
    _, segment, widget = open_both(disk().astype(np.float32))
    answer(tmp_path / "Dataset700_New", "cell, nucleus")
    click(qtbot, widget.panel.empty.new)
    idle(qtbot, widget)
    finish_one(qtbot, segment)
    finished(qtbot, segment, (10, 50))
    monkeypatch.setattr(kinds.KindsDialog, "exec_", lambda _: QDialog.DialogCode.Rejected)
    click(qtbot, widget.panel.add)
    assert not widget.teaching.work.is_busy, "turning away adds nothing"
    assert status(widget) == "Nothing was added: in the data set each object has a class."

    def choose(dialog) -> int:
        dialog.all.setCurrentText("nucleus")
        assert dialog.kinds == {1: "nucleus", 2: "nucleus"}
        dialog.each[1].setCurrentText("vesicle")  # a new one
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(kinds.KindsDialog, "exec_", choose, raising=False)
    click(qtbot, widget.panel.add)
    idle(qtbot, widget)
    collection = Collection(tmp_path / "Dataset700_New")
    assert collection.labels["vesicle"] == 3 and set(np.unique(collection.load("image").label)) == {0, 2, 3}
    assert segment.work.session.kinds == {1: "vesicle", 2: "nucleus"}, "the objects have what was chosen"
    click(qtbot, segment.panel.undo)
    assert segment.work.session.kinds == {} and len(segment.work.session.finished) == 2, "it was one act"
    assert segment.panel.status.text() == "Took back: giving objects their classes."


def test_the_classes_of_objects_are_typed_by_keys_alone(qtbot):
    green = (0.3, 0.8, 0.4)
    dialog = kinds.KindsDialog({1: green, 2: green, 3: green}, ["cell", "nucleus"], None, {1: "cell"})
    qtbot.addWidget(dialog)
    field = dialog.each[2]
    assert dialog.focusWidget() is field, "the first that has none"
    dialog.show()
    qtbot.keyClicks(field, "vesicle")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert dialog.isVisible() and dialog.kinds == {1: "cell", 2: "vesicle", 3: ""}, "no class is taken for granted"
    assert dialog.lacking.text() == "Object 3 has no class yet." and dialog.focusWidget() is dialog.each[3]
    qtbot.keyClick(dialog.each[3], Qt.Key.Key_Down)
    assert dialog.kinds[3] == "" and dialog.each[3].view().isVisible()
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(dialog.each[3].view(), key)
    assert dialog.kinds[3] in ("cell", "nucleus") and dialog.kinds[1] == "cell"
    qtbot.keyClick(dialog.each[3], Qt.Key.Key_Return)
    assert dialog.result() == QDialog.DialogCode.Accepted


def test_train_stop_go_on_and_the_curve(open_both, qtbot, answer, tmp_path, monkeypatch):
    tiny = GeneralTraining(size=32, n_batch=2, n_samples=2, n_crops=4, n_corrections=1)
    monkeypatch.setattr(train, "TRAINING", {2: tiny})
    monkeypatch.setattr(train, "STEPS", {2: 20})
    monkeypatch.setattr(train, "FIT", replace(train.FIT, save_every=0))
    monkeypatch.setattr(judge, "compare", compared(0.4))
    collection = a_collection(tmp_path / "Dataset700_Disks", 5)
    _, _, widget = open_both()
    answer(collection.folder)
    click(qtbot, widget.panel.empty.open)
    idle(qtbot, widget)
    assert status(widget) == "Dataset700_Disks has 5 images." and widget.panel.train.text() == "Train on 4 images"
    click(qtbot, widget.panel.train)
    with qtbot.waitSignal(widget.teaching.learnt_more, timeout=60_000):
        pass
    click(qtbot, widget.panel.stop)
    idle(qtbot, widget)
    assert status(widget).startswith("Stopped") and widget.panel.train.text() == "Go on training"
    assert not models.models_of(collection)
    click(qtbot, widget.panel.train)
    idle(qtbot, widget)
    assert status(widget) == "Model 0001 is not better; the one in use stays."
    assert widget.panel.curve.points[-1][0] == 20
    assert not widget.panel.adopt.isEnabled() and models.name_in_use(collection) == "general"
    assert "0.400" in widget.panel.newest.text() and "0.500" in widget.panel.in_use.text()


def test_an_adopted_model_works_in_segment_and_is_taken_back(open_both, qtbot, answer, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "compare", compared(0.6))
    collection = a_collection(tmp_path / "Dataset700_Disks", 5)
    a_model(collection)
    viewer, _, widget = open_both(disk().astype(np.float32))
    answer(collection.folder)
    click(qtbot, widget.panel.empty.open)
    idle(qtbot, widget)
    assert not widget.panel.adopt.isEnabled() and not widget.panel.back.isEnabled()
    click(qtbot, widget.panel.compare)
    idle(qtbot, widget)
    click(qtbot, widget.panel.adopt)
    idle(qtbot, widget)
    assert models.name_in_use(collection) == "0001"
    adopted = in_use.given(viewer)
    assert adopted.completer.name == adopted.proposer.name == str(models.model_in_use(collection))
    other = SegmentWidget(viewer)
    viewer.window.add_dock_widget(other, name="Segment again")
    assert in_use.given(viewer) is adopted, "a Segment that opens later has it, too"
    commands.unregister(other)
    other.work.release()
    click(qtbot, widget.panel.back)
    idle(qtbot, widget)
    assert status(widget) == "The shipped model is in use again."
    assert in_use.given(viewer).completer.name == "general" and not widget.panel.back.isEnabled()
    assert widget.panel.newest.text() == "New: 0001" and widget.panel.compare.isEnabled(), "it can be adopted again"


def test_the_next_image_opens_in_segment(open_both, qtbot, answer, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_probseg.active_learning.acquisition.N_PLACES", {2: 1, 3: 1})
    collection = a_collection(tmp_path / "Dataset700_Disks", 1)
    folder = tmp_path / "images"
    for i in range(2):
        ps.write(folder / f"{i}.tif", (50 + 100 * disk(middle=(20 + 3 * i, 30))).astype(np.uint8), labels=False)
    (folder / "damaged.png").write_bytes(b"no picture")
    viewer, segment, widget = open_both(disk().astype(np.float32))
    answer(collection.folder)
    click(qtbot, widget.panel.empty.open)
    idle(qtbot, widget)
    answer(folder)
    click(qtbot, widget.panel.search)
    idle(qtbot, widget)
    assert status(widget).startswith("2 images, the most uncertain first") and "damaged.png" in status(widget)
    item = widget.panel.found.item(1)
    place = widget.panel.found.visualItemRect(item).center()
    qtbot.mouseClick(widget.panel.found.viewport(), Qt.MouseButton.LeftButton, pos=place)
    idle(qtbot, widget)
    path = item.data(Qt.ItemDataRole.UserRole)
    assert item.text() == path.stem and item.toolTip().startswith(path.name)
    assert segment.work.image.name == path.stem and len(viewer.layers) == 2
    assert widget.window().focusWidget() is not widget.panel.found, "keys go on to the canvas"
    widget.teaching.show(path)
    assert len(viewer.layers) == 2, "it is open already"
    finish_one(qtbot, segment)
    click(qtbot, widget.panel.add)
    idle(qtbot, widget)
    assert [one.path != path for one in widget.teaching.found] == [True], "what is added is not next any more"


def test_what_goes_wrong_is_one_sentence(open_both, qtbot, answer, tmp_path):
    _, _, widget = open_both()
    answer(tmp_path)
    click(qtbot, widget.panel.empty.open)
    idle(qtbot, widget)
    assert "no dataset.json" in status(widget) and widget.panel.status.property("error")
    assert widget.panel.empty.isVisibleTo(widget)


def test_closing_the_widget_lets_go(open_both, qtbot, tmp_path):
    _, _, widget = open_both()
    widget.teaching.open(a_collection(tmp_path / "Dataset700_Disks", 1).folder)
    widget.release()
    assert not widget.teaching.work.is_busy


def test_the_widget_imports_no_torch():
    code = "import sys, napari_probseg.widgets.dataset.widget; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_thumbnail_of_a_volume_is_its_middle_slice(tmp_path):
    volume = np.zeros((5, 200, 100), np.uint8)
    volume[2, :100] = 200
    ps.write(tmp_path / "volume.tif", volume, labels=False)
    picture = thumbnail(tmp_path / "volume.tif")
    assert max(picture.shape) <= 96 and picture.shape[2] == 3
    assert picture[0].min() == 255 and picture[-1].max() == 0
