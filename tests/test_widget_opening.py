"""Opening files in napari: it asks which reader to take only where there is a choice, and what it misread is read anew."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

pytest.importorskip("napari")

import tifffile
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from napari.settings import get_settings
from npe2 import PluginManager
from PIL import Image as Pillow
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_probseg.case import Marker
from napari_probseg.napari_io.layer_data import read_layers
from napari_probseg.widgets.layers.image import unit_of
from napari_probseg.widgets.layers.misreading import misread
from napari_probseg.widgets.layers.source import add_read
from napari_probseg.widgets.readers import prefer_for_nifti
from napari_probseg.widgets.style import colour
from sessions import state
from test_widget_inputs import pillow
from window import asked as question_asked
from window import click, crash, gone_on, names, stroke, turned

GREY = (np.random.default_rng(0).random((2, 3, 40, 50)) * 255).astype(np.uint8)
IMAGEJ = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZCYX", "spacing": 3, "unit": "um"}}
STACK = {**IMAGEJ, "metadata": {"axes": "ZYX", "spacing": 3, "unit": "um"}}


def write_tiff(path: Path, data: np.ndarray, **options) -> None:
    tifffile.imwrite(path, data, **options)


FILES = {
    "grey.png": lambda path: Pillow.fromarray(GREY[0, 0]).save(path),
    "opacity.png": lambda path: Pillow.fromarray(np.dstack([GREY[0, 0]] * 2), "LA").save(path),
    "grey.gif": lambda path: Pillow.fromarray(GREY[0, 0]).save(path),
    "grey.tif": lambda path: write_tiff(path, GREY[0, 0]),
    "apart.tif": lambda path: write_tiff(path, GREY[:, 0], imagej=True, metadata={"spacing": 3, "unit": "um"}),
    "told.ome.tif": lambda path: write_tiff(path, GREY[:, 0], metadata={"axes": "ZYX", "PhysicalSizeX": 0.5}),
    "told.ome.tiff": lambda path: write_tiff(path, GREY[:, 0], metadata={"axes": "ZYX", "PhysicalSizeX": 0.5}),
    "volume.nii": lambda path: nibabel.save(nibabel.Nifti1Image(GREY[0].T, np.diag([1, 1, 4, 1])), path),
    "volume.nii.gz": lambda path: nibabel.save(nibabel.Nifti1Image(GREY[0].T, np.diag([1, 1, 4, 1])), path),
    "VOLUME.NII": lambda path: nibabel.save(nibabel.Nifti1Image(GREY[0].T, np.diag([1, 1, 4, 1])), path),
    "VOLUME.NII.GZ": lambda path: FILES["volume.nii.gz"](lower := path.with_name("lower.nii.gz")) or lower.rename(path),
}


@pytest.fixture
def asked(monkeypatch):
    """Return what napari asked about; it gets no answer."""
    questions = []

    def answer(dialog):
        questions.append(dialog._current_file)
        return "", False

    monkeypatch.setattr(QtReaderDialog, "get_user_choices", answer)
    return questions


def drop(viewer, path: Path) -> None:
    """Let a file fall onto the window."""
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(path))])
    copy, no_key = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    window = viewer.window._qt_viewer
    for where in (QPointF(5, 5), QPoint(5, 5)):  # of Qt 6, and of Qt 5
        try:
            event = QDropEvent(where, copy, dropped, Qt.MouseButton.LeftButton, no_key)
        except TypeError:
            continue
        window.dropEvent(event)
        return


@pytest.fixture
def fresh_viewer(new_viewer):
    """Return a viewer that has not used the plugin yet, as after napari was started."""
    viewer = new_viewer().__wrapped__
    PluginManager.instance().deactivate("napari-probseg")
    return viewer


@pytest.fixture
def viewer(fresh_viewer):
    viewer = fresh_viewer
    viewer.window.add_plugin_dock_widget("napari-probseg", "Segment")
    return viewer


@pytest.mark.parametrize("way", ["dropped", "by its menu", "in a script"])
@pytest.mark.parametrize("name", FILES)
def test_no_file_is_asked_about(viewer, asked, tmp_path, name, way):
    FILES[name](path := tmp_path / name)
    if way == "dropped":
        drop(viewer, path)
    elif way == "by its menu":
        viewer.window._qt_viewer._qt_open([str(path)], stack=False)
    else:
        viewer.open(str(path), plugin=None)
    assert not asked
    (layer,) = (
        layer for layer in viewer.layers if layer.name == re.split("(?i)[.]nii", name)[0].removesuffix(path.suffix)
    )
    is_nifti = ".nii" in name.lower()
    assert layer.source.reader_plugin == ("napari-probseg" if is_nifti else "napari")
    if is_nifti:
        assert tuple(layer.scale) == (4, 1, 1)


@pytest.mark.parametrize("first", ["a file", "a sample"])
def test_a_file_is_asked_about_once_at_most_also_where_no_widget_was_opened(fresh_viewer, monkeypatch, tmp_path, first):
    viewer, questions = fresh_viewer, []
    monkeypatch.setattr(
        QtReaderDialog, "get_user_choices", lambda dialog: questions.append(dialog._current_file) or ("ProbSeg", False)
    )
    if first == "a file":
        FILES["volume.nii"](tmp_path / "volume.nii")
        drop(viewer, tmp_path / "volume.nii")
        assert len(questions) == 1, "napari asks before it calls anything of a plugin: test invalid"
    else:
        viewer.open_sample("napari-probseg", "disks")
    questions.clear()
    FILES["volume.nii.gz"](path := tmp_path / "next.nii.gz")
    drop(viewer, path)
    assert not questions and tuple(viewer.layers["next"].scale) == (4, 1, 1)
    assert "*.gz" not in get_settings().plugins.extension2reader


def test_naparis_own_choice_of_a_reader_stays_the_users(make_napari_viewer, monkeypatch):
    make_napari_viewer()
    plugins = get_settings().plugins
    plugins.extension2reader = {"*.gz": "another"}
    prefer_for_nifti()
    assert plugins.extension2reader == {"*.gz": "another", "*.nii": "napari-probseg", "*.NII": "napari-probseg"}
    plugins.extension2reader = {"*.nii": "another", "*.nii.gz": "napari-probseg"}
    prefer_for_nifti()
    assert set(plugins.extension2reader) == {"*.nii", "*.nii.gz", "*.NII.GZ"}, "of an earlier version, and the user's"
    plugins.extension2reader = {}
    ours, another = SimpleNamespace(plugin_name="napari-probseg"), SimpleNamespace(plugin_name="another")
    monkeypatch.setattr(
        PluginManager.instance(),
        "iter_compatible_readers",
        lambda paths: [ours, another] if paths[0].lower().endswith(".nii") else [ours],
    )
    prefer_for_nifti()
    assert set(plugins.extension2reader) == {"*.nii.gz", "*.NII.GZ"}, "of two that can, the user chooses"


def follow_the_link(qtbot, widget) -> None:
    status = widget.panel.status
    ink = colour(widget._viewer, "text").name()
    assert "read it anew</a>" in status.text() and ink in status.text(), "a link that is seen in every theme"
    status.linkActivated.emit("read anew")
    qtbot.waitUntil(lambda: "anew:" in status.text(), timeout=20_000)


def test_what_was_misread_is_read_anew_by_one_click(open_widget, qtbot, tmp_path):
    viewer, widget = open_widget()
    write_tiff(tmp_path / "told.tif", GREY, **IMAGEJ)
    viewer.open(str(tmp_path / "told.tif"), plugin="napari")
    assert names(viewer) == ["told"] and viewer.layers[0].ndim == 4
    follow_the_link(qtbot, widget)
    assert names(viewer) == ["told", "told [1]", "told [2]"] and tuple(viewer.layers[0].scale) == (3, 0.5, 0.5)
    assert "3 channels, pixels 0.5 µm apart" in widget.panel.status.text() and not widget.work.is_held
    assert widget.work.image.name == "told"
    assert viewer.dims.current_step[0] == len(GREY) // 2, "its axes were others: it is shown in its middle"
    stroke(qtbot, widget, (1, 20, 20))
    assert widget.work.session.case.spacing == (3, 0.5, 0.5)


@pytest.mark.parametrize("n", [1, 2])
def test_where_the_place_alone_was_left_out_it_is_put_right_by_itself(open_widget, qtbot, tmp_path, n):
    import napari_probseg as ps

    viewer, widget = open_widget()
    paths = [str(tmp_path / f"apart{i}.tif") for i in range(n)]
    for path in paths:
        write_tiff(path, GREY[:, 0], **STACK)
    viewer.open(paths, plugin="napari")
    viewer.dims.set_current_step(0, len(GREY) - 1)
    qtbot.waitUntil(lambda: "lies as its file tells" in widget.panel.status.text())
    ((_, told, _),) = read_layers(paths[0])
    assert viewer.dims.current_step[0] == len(GREY) - 1, "the slice that was on view"
    assert all(viewer.layers[f"apart{i}"].scale.tolist() == told["scale"] != [1, 1, 1] for i in range(n))
    stroke(qtbot, widget, (1, 20, 20))
    assert list(widget.work.session.case.spacing) == told["scale"]
    assert "read it anew" not in widget.panel.status.text()
    click(qtbot, widget.panel.finish_image)
    qtbot.waitUntil(lambda: (tmp_path / f"apart{n - 1}_objects.tif").is_file(), timeout=20_000)
    assert ps.read(tmp_path / f"apart{n - 1}_objects.tif").spacing == pytest.approx(ps.read(paths[0]).spacing)


def test_earlier_work_on_an_image_that_is_put_right_is_of_that_very_image(open_widget, qtbot, tmp_path):
    viewer, widget = open_widget()
    write_tiff(tmp_path / "apart.tif", GREY[:, 0], **STACK)
    viewer.open(str(tmp_path / "apart.tif"), plugin="napari")
    qtbot.waitUntil(lambda: not widget.work.recovery.is_pending)
    stroke(qtbot, widget, (1, 20, 20))
    before = crash(widget)
    viewer.layers.clear()
    viewer.open(str(tmp_path / "apart.tif"), plugin="napari")
    assert not widget.work.question and widget.work.recovery.is_pending, "nothing is asked before it lies as it did"
    assert "another image" not in question_asked(qtbot, widget)
    assert state(gone_on(qtbot, widget)) == state(before) and before.case.spacing == (3, 0.5, 0.5)


@pytest.mark.parametrize("beside", ["labels", "image"])
def test_where_something_lies_beside_it_the_place_is_put_right_by_one_click_alone(open_widget, qtbot, tmp_path, beside):
    viewer, widget = open_widget()
    write_tiff(tmp_path / "apart.tif", GREY[:, 0], **STACK)
    getattr(viewer, f"add_{beside}")(np.zeros((2, 40, 50), np.uint8))
    viewer.open(str(tmp_path / "apart.tif"), plugin="napari")
    turned(qtbot)
    assert tuple(viewer.layers["apart"].scale) == (1, 1, 1)
    viewer.dims.set_current_step(0, len(GREY) - 1)
    follow_the_link(qtbot, widget)
    assert tuple(viewer.layers["apart"].scale) == (3, 0.5, 0.5)
    assert viewer.dims.point[0] == 3 * (len(GREY) - 1), "the slice that was on view"


def test_of_a_folder_that_was_opened_as_a_stack_the_first_image_is_opened_by_one_click(open_widget, qtbot, tmp_path):
    for i in (10, 9, 11):
        write_tiff(tmp_path / f"cell{i}.tif", GREY[0, 0])
    viewer, widget = open_widget()
    viewer.open(str(tmp_path), plugin="napari")
    assert viewer.layers[0].ndim == 3, "test invalid"
    assert "open the first alone</a>" in widget.panel.status.text()
    turned(qtbot)
    widget.panel.status.linkActivated.emit("one by one")
    qtbot.waitUntil(lambda: "is open alone" in widget.panel.status.text(), timeout=20_000)
    assert names(viewer) == ["cell9"]
    stroke(qtbot, widget, (20, 20))
    click(qtbot, widget.panel.finish_image)
    qtbot.waitUntil(lambda: "Image 2 of 3: “cell10”" in widget.panel.status.text(), timeout=20_000)


def test_the_brush_in_hand_goes_over_to_what_was_read_anew(open_widget, qtbot, tmp_path):
    viewer, widget = open_widget()
    FILES["opacity.png"](tmp_path / "opacity.png")
    viewer.open(str(tmp_path / "opacity.png"), plugin="napari")
    click(qtbot, widget.panel.inside)
    follow_the_link(qtbot, widget)
    assert widget.panel.inside.isChecked()
    own = [name for name in names(viewer) if not name.startswith("preview")]
    assert own == ["opacity", "objects of opacity", "markers of opacity"]
    stroke(qtbot, widget, (20, 20))
    assert widget.work.session.case.shape == (40, 50)


@pytest.mark.parametrize("has_brush", [False, True])
@pytest.mark.parametrize("name", ["told.tif", "apart.tif"])
def test_what_goes_is_not_beside_other_units(open_widget, qtbot, tmp_path, monkeypatch, name, has_brush):
    from napari._vispy import canvas

    said = []
    monkeypatch.setattr(canvas, "show_warning", said.append, raising=False)  # napari 0.7 has no units to warn of
    viewer, widget = open_widget()
    if name == "told.tif":
        write_tiff(tmp_path / name, GREY, **IMAGEJ)
    else:
        FILES[name](tmp_path / name)
    viewer.open(str(tmp_path / name), plugin="napari")
    link = widget.panel.status.text()
    if has_brush:
        click(qtbot, widget.panel.inside)
        widget.panel.status.say(link)
    follow_the_link(qtbot, widget)
    stroke(qtbot, widget, (1, 20, 20) if name == "told.tif" else (20, 20))
    assert not said


def test_what_was_worked_on_stays(open_widget, qtbot, tmp_path):
    viewer, widget = open_widget()
    FILES["apart.tif"](tmp_path / "apart.tif")
    viewer.open(str(tmp_path / "apart.tif"), plugin="napari")
    worked_on = widget.work.image
    click(qtbot, widget.panel.inside)
    said = misread(worked_on)
    stroke(qtbot, widget, (1, 20, 20))
    widget.panel.status.say(said)
    follow_the_link(qtbot, widget)
    assert widget.work.image is not worked_on and "stays" in widget.panel.status.text()
    widget.work.choose(worked_on)
    assert np.count_nonzero(widget.work.session.case.partial == Marker.OBJECT)


def test_a_file_of_labels_is_read_as_labels(open_widget, qtbot, tmp_path):
    import napari_probseg as ps

    viewer, widget = open_widget()
    ps.write(tmp_path / "labels.tif", (GREY[0, 0] > 100).astype(np.uint8), labels=True)
    viewer.open(str(tmp_path / "labels.tif"), plugin="napari", layer_type="image")
    follow_the_link(qtbot, widget)
    assert [type(layer).__name__ for layer in viewer.layers] == ["Labels"]


def test_a_file_that_is_gone_or_cannot_be_read_is_refused_in_a_sentence(open_widget, qtbot, tmp_path):
    viewer, widget = open_widget()
    (tmp_path / "moving.png").write_bytes(pillow(GREY[0, 0], "PNG", more=1))
    viewer.open(str(tmp_path / "moving.png"), plugin="napari")
    widget.panel.status.linkActivated.emit("read anew")
    qtbot.waitUntil(lambda: "holds 2 pictures" in widget.panel.status.text(), timeout=20_000)
    assert not widget.work.is_held and len(viewer.layers) == 1
    (tmp_path / "moving.png").unlink()
    widget.panel.status.linkActivated.emit("read anew")
    assert "not there any more" in widget.panel.status.text()


@pytest.mark.parametrize("order", ["labels last", "labels first"])
def test_labels_that_were_opened_as_an_image_are_taken_as_objects_by_one_click(open_widget, qtbot, tmp_path, order):
    viewer, widget = open_widget()
    write_tiff(tmp_path / "cell.tif", GREY[0, 0])
    labels = np.kron([[0, 1, 0], [2, 0, 300]], np.ones((20, 16), int))[:, :48].astype(np.uint16)
    labels = np.pad(labels, ((0, 0), (0, 2)))
    write_tiff(tmp_path / "mask.tif", labels)
    files = ["cell.tif", "mask.tif"]
    for name in files if order == "labels last" else files[::-1]:
        viewer.open(str(tmp_path / name), plugin="napari")
    status = widget.panel.status
    qtbot.waitUntil(lambda: "“mask” looks like labels of “cell”" in status.text())
    status.linkActivated.emit("as objects")
    qtbot.waitUntil(lambda: "Took the objects of “mask”" in status.text())
    assert widget.work.image.name == "cell" and widget.work.session.max_label == 300
    assert not viewer.layers["mask"].visible and np.array_equal(viewer.layers["objects of cell"].data, labels)
    viewer.layers.selection.active = viewer.layers["cell"]
    assert "looks like labels" not in status.text(), "it is told once"


def test_a_file_that_is_opened_twice_is_told_of_and_its_channels_are_not(open_widget, qtbot, tmp_path):
    viewer, widget = open_widget()
    write_tiff(tmp_path / "grey.tif", GREY[0, 0])
    write_tiff(tmp_path / "channels.tif", GREY, **IMAGEJ)
    for path in (tmp_path / "grey.tif", tmp_path / "channels.tif"):
        for _ in range(2):
            assert "twice" not in widget.panel.status.text()
            add_read(viewer, path, read_layers(str(path)))
            turned(qtbot)
        assert f"“{path.name}” is open twice" in widget.panel.status.text()
        viewer.layers.clear()


def test_two_images_or_labels_alone_are_nothing_to_tell_of(open_widget, qtbot):
    viewer, widget = open_widget(GREY[0, 0])
    for other in (GREY[0, 1], np.zeros((30, 50), int), np.pad(np.ones((10, 10), int), 4)):
        viewer.add_image(other)
        turned(qtbot)
        assert "looks like labels" not in widget.panel.status.text()


@pytest.mark.parametrize("symbol", ["\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m"])
def test_micrometres_are_spelt_with_one_letter_whichever_pint_has(symbol):
    class Unit:
        def __format__(self, spec: str) -> str:
            return symbol

    assert unit_of(SimpleNamespace(units=(Unit(),))) == "\N{MICRO SIGN}m"
    symbol = "ly"
    assert unit_of(SimpleNamespace(units=(Unit(),))) == "ly", "what is known to pint alone is told as it says"
