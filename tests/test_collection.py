"""The dataset that finished images are added to."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_probseg as ps
from finished import DEEP, FLAT, image, labels, tree
from napari_probseg.cli.main import app
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.labelled import fingerprint
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.dataset.split import held_out_of
from napari_probseg.io import Picture

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


# What there is afterwards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "shape"),
    [(".nii.gz", FLAT), (".nii.gz", DEEP), (".nii", DEEP), (".tif", FLAT), (".tif", DEEP), (".png", FLAT)],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_what_is_added_is_read_by_the_trainings_reader(
    tmp_path: Path, ending: str, shape: tuple[int, ...], n_channels: int
) -> None:
    channels = ["T1", "FLAIR"][:n_channels]
    collection = Collection.create(tmp_path / "new", ["cell", "nucleus"], channels=channels, ending=ending)
    stack, drawn = image(1, (n_channels, *shape)), labels(shape, 2)
    given, axis = (stack, 0) if n_channels > 1 else (stack[0], None)
    spacing = (2.5, 0.4, 0.3)[-len(shape) :]
    entry = collection.add("a", given, drawn, spacing=spacing, channel_axis=axis)
    dataset = RawDataset(tmp_path / "new")
    assert dataset.cases == ["a"] and dataset.labels == {"background": 0, "cell": 1, "nucleus": 2}
    case = dataset.load("a")
    np.testing.assert_array_equal(case.image, stack)
    np.testing.assert_array_equal(case.label, drawn)
    assert case.spacing == pytest.approx(spacing if ending != ".png" else (1, 1))
    assert ps.read(entry.images[0]).data.dtype == np.uint8 and len(entry.images) == n_channels
    about = json.loads((tmp_path / "new" / "dataset.json").read_text())
    assert about["numTraining"] == 1 and about["file_ending"] == ending and len(about["channel_names"]) == n_channels


def test_nnunet_finds_the_spacing_of_tiff_volumes(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "new", ending=".tif")
    collection.add("a", image(1, DEEP), labels(DEEP), spacing=(2, 0.5, 0.5))
    for part in ("imagesTr", "labelsTr"):
        assert json.loads((tmp_path / "new" / part / "a.json").read_text()) == {"spacing": [2, 0.5, 0.5]}


def test_a_turned_volume_stays_where_it_is(tmp_path: Path) -> None:
    affine = np.array([[0, -0.4, 0.1, 7], [0.5, 0, 0, -3], [0, 0.05, 2.1, 11], [0, 0, 0, 1.0]])
    ps.write(tmp_path / "a.nii.gz", image(1, DEEP), affine=affine, labels=False)
    picture = ps.read(tmp_path / "a.nii.gz")
    entry = Collection.create(tmp_path / "new").add("a", picture.data, labels(DEEP), like=picture)
    for path in (*entry.images, entry.label):
        np.testing.assert_array_equal(ps.read(path).affine, picture.affine)
    assert entry.metadata()["affine"] == picture.affine.tolist()
    again = Collection(tmp_path / "new").add("a", picture.data, labels(DEEP) * 0, like=picture)
    np.testing.assert_array_equal(ps.read(again.label).affine, picture.affine)


def test_one_channel_of_an_image_can_be_added(tmp_path: Path) -> None:
    like = Picture(np.zeros((2, *DEEP)), "CZYX", (2.0, 1.0, 1.0), "mm")
    collection = Collection.create(tmp_path / "new")
    collection.add("one", image(1, DEEP), labels(DEEP), like=like)
    assert collection.load("one").image.shape == (1, *DEEP)


def test_provenance_lies_beside_it(collection: Collection) -> None:
    session = ps.Session(ps.Case(image(1)).mark(inside=labels() > 0))
    entry = collection.add("a", image(1), labels(), provenance={"model": "general", "n": np.int64(3)}, session=session)
    told = entry.metadata()
    assert told["model"] == "general" and told["n"] == 3
    assert told["versions"]["napari-probseg"] == ps.__version__ and told["date"].endswith("+00:00")
    assert entry.provenance is not None
    loaded = ps.Session.load(entry.provenance.with_suffix(".npz"), image(1))
    np.testing.assert_array_equal(loaded.case.partial, session.case.partial)


def test_the_same_image_again_replaces_its_label_and_keeps_the_old_ones(collection: Collection) -> None:
    for value in (1, 2, 0):
        entry = collection.add("a", image(1), labels(value=value), provenance={"value": value})
    assert collection.cases == ["a"] and len(collection.entries) == 1
    assert collection.load("a").label.max() == 0 and entry.metadata()["value"] == 0
    assert [int(ps.read(path).data.max()) for path in entry.earlier] == [1, 2]
    assert json.loads((collection.folder / "dataset.json").read_text())["numTraining"] == 1


def test_numbers_of_objects_become_the_labels_they_are_said_to_be(collection: Collection) -> None:
    drawn = labels() * 0
    drawn[0, :3] = 7, 8, 300
    collection.add("a", image(1), drawn, kinds={7: "nucleus", 8: "cell", 300: "nucleus"})
    np.testing.assert_array_equal(collection.load("a").label[0, :4], [2, 1, 2, 0])


def test_a_label_can_be_added(collection: Collection) -> None:
    assert collection.add_label("cell") == 1
    assert collection.add_label("membrane") == 3
    collection.add("a", image(1), labels(value=3))
    assert Collection(collection.folder).labels == {"background": 0, "cell": 1, "nucleus": 2, "membrane": 3}
    with pytest.raises(ValueError, match="single numbers"):
        collection.add_label("")


# Held out -------------------------------------------------------------------------------------------------------------


def test_one_in_five_is_held_out_and_stays_so() -> None:
    rng = np.random.default_rng(0)
    chosen: list[str] = []
    for _ in range(20):
        names, parts = [f"{i}" for i in rng.permutation(1000)[:60]], dict[str, bool]()
        for n in range(1, len(names) + 1):
            grown = held_out_of(names[:n], parts)
            assert parts.items() <= grown.items(), "what was decided stays"
            parts = grown
            assert n // 5 <= sum(parts.values()) <= -(-(n - 1) // 5), "neither part is ever starved"
        assert parts == held_out_of(names, {}), "at once or one by one is the same"
        chosen += [name for i, name in enumerate(names) if parts[name] and i % 5 < 4]
    assert len(set(chosen)) > 50, "test invalid: it is not always the fifth"


def test_the_held_out_share_is_remembered(collection: Collection) -> None:
    parts: dict[str, bool] = {}
    for i in range(11):
        collection.add(f"case_{10 - i}", image(i), labels())
        now = {entry.name: entry.held_out for entry in Collection(collection.folder).entries}
        assert parts.items() <= now.items()
        parts = now
    assert len(collection.split("test")) == 2
    assert sorted(collection.split("training") + collection.split("test")) == collection.cases


# Datasets of other programs -------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A data set of colour pictures with a key of its own, and halves of images."""
    folder = tmp_path / "Dataset800_Foreign"
    about = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "cell": 1},
        "numTraining": 7,
        "file_ending": ".png",
        "licence": "CC0",
    }
    for i in range(7):
        colours = Picture(image(i, (*FLAT, 3)), "YXC", (1.0, 1.0))
        ps.write(folder / "imagesTr" / f"x{i}_0000.png", colours.data, like=colours, labels=False)
        ps.write(folder / "labelsTr" / f"x{i}.png", labels().astype(np.uint8))
    ps.write(folder / "imagesTr" / "no_label_0000.png", image(8))
    ps.write(folder / "labelsTr" / "no_image.png", image(9))
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def test_a_data_set_of_another_program_is_opened_and_added_to(foreign: Path) -> None:
    before = tree(foreign)
    collection = Collection(foreign)
    assert tree(foreign) == before, "opening writes nothing"
    assert collection.cases == [f"x{i}" for i in range(7)]
    parts = {entry.name: entry.held_out for entry in collection.entries}
    with pytest.raises(ValueError, match="has this image already, as 'x3'"):
        collection.add("new", image(3, (*FLAT, 3)), labels(), channel_axis=2)
    collection.add("new", image(10, (*FLAT, 3)), labels(), channel_axis=2)
    entry = collection.add("x3", image(3, (*FLAT, 3)), labels() * 0, channel_axis=2)
    assert [path.name for path in entry.earlier] == ["0000.png"] and ps.read(entry.earlier[0]).data.max() == 1
    again = Collection(foreign)
    assert parts.items() <= {entry.name: entry.held_out for entry in again.entries}.items()
    np.testing.assert_array_equal(again.load("new").image, np.moveaxis(image(10, (*FLAT, 3)), -1, 0))
    about = json.loads((foreign / "dataset.json").read_text())
    assert about["licence"] == "CC0" and about["numTraining"] == 8
    assert {name: data for name, data in tree(foreign).items() if "imagesTr/x" in name} == {
        name: data for name, data in before.items() if "imagesTr/x" in name
    }


def test_an_image_is_known_again_from_its_file(collection: Collection) -> None:
    values = np.random.default_rng(0).normal(0, 1e-3, FLAT)
    collection.add("a", values, labels())
    about = json.loads((collection.folder / "dataset.json").read_text())
    assert about["napari_probseg"]["cases"]["a"]["image"] == fingerprint(collection.load("a").image)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("{half", r"dataset.json is damaged .*get it anew"),
        ("[]", "it holds a list, not a mapping"),
        ('{"labels": {"0": "background"}, "modality": {"0": "CT"}, "training": []}', "nnUNetv2_convert_old"),
        ({"napari_probseg": {"version": 99, "cases": {}}}, "version 99, this release knows version 1: open it with"),
        ({"napari_probseg": {"version": 1, "cases": {"a": {}}}}, "what it remembers of its images"),
        ({"napari_probseg": "x"}, "what it remembers of its images"),
        ({"dataset": {}}, "lists files that lie elsewhere: copy them"),
    ],
)
def test_what_is_no_data_set_of_this_version_is_refused(collection: Collection, about: Any, said: str) -> None:
    path = collection.folder / "dataset.json"
    path.write_text(about if isinstance(about, str) else json.dumps({**json.loads(path.read_text()), **about}))
    with pytest.raises(ValueError, match=said):
        Collection(collection.folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_data_set_that_an_editor_saved_in_another_unicode_is_read(collection: Collection, encoding: str) -> None:
    path = collection.folder / "dataset.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "labels": {"background": 0, "Zellkörper": 1}}), encoding
    )
    assert Collection(collection.folder).labels["Zellkörper"] == 1


def test_a_data_set_in_no_unicode_is_told_as_that(collection: Collection) -> None:
    path = collection.folder / "dataset.json"
    path.write_text(json.dumps({"labels": {"Zellkörper": 1}}, ensure_ascii=False), "latin-1")
    with pytest.raises(ValueError, match=r"dataset.json is no text in UTF-8 .*save it as UTF-8"):
        Collection(collection.folder)


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no nnU-Net v2 raw data set: it has no dataset.json"):
        Collection(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no data set .*nothing: check its name"):
        Collection(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "b"}, "has this image already, as 'a': add the labels under that name"),
        ({"image": image(2)}, "has another image 'a' already: choose another name"),
        ({"name": "../b", "image": image(2)}, r"letters, digits, .* got '\.\./b'"),
        ({"labels": labels(value=3)}, r"numbers 3 without a name, .*'nucleus': 2.*--label NAME=NUMBER"),
        ({"kinds": {2: "cell"}}, r"numbers 1 without a name"),
        ({"kinds": {1: "organ"}}, r"names organ, .*napari-probseg dataset label"),
        ({"name": "b", "image": image(2, DEEP), "labels": labels(DEEP)}, r"are 2-D, this one is \(5, 12, 15\)"),
        ({"name": "b", "image": image(2, (*FLAT, 3)), "channel_axis": 2}, r"have 1 channel \(image\), this one has 3"),
        ({"labels": labels((12, 14))}, r"the image's shape \(12, 15\), got \(12, 14\)"),
        ({"labels": labels() * 0.5}, "whole numbers from 0, got float64"),
        ({"labels": -labels()}, "whole numbers from 0, got int64 from -1"),
        ({"like": Picture(image(1, (9, 9)), "YX", (1.0, 1.0))}, r"shape of like, \(9, 9\), got \(12, 15\)"),
        ({"like": Picture(image(1), "YX", (1.0, 1.0)), "spacing": (1, 1)}, "leave out spacing"),
        ({"spacing": (7, 7)}, "with a spacing of 0.5 x 0.5 mm, now it came with 7 x 7 mm: correct"),
        ({"name": "b", "image": image(2), "provenance": {"x": object()}}, "what JSON can hold .not object"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    collection: Collection, arguments: dict[str, Any], said: str
) -> None:
    collection.add("a", image(1), labels(), spacing=(0.5, 0.5))
    before = tree(collection.folder)
    default = {"name": "a", "image": image(1), "labels": labels()}
    with pytest.raises((ValueError, TypeError), match=said) as caught:
        collection.add(**{**default, **arguments})
    assert tree(collection.folder) == before
    assert "\n" not in str(caught.value)


def test_the_half_of_an_image_is_no_entry_and_is_not_overwritten(foreign: Path) -> None:
    collection, before = Collection(foreign), tree(foreign)
    for name in ("no_label", "no_image"):
        with pytest.raises(KeyError, match="has no image"):
            _ = collection[name]
        with pytest.raises(ValueError, match=f"only a part of an image '{name}'"):
            collection.add(name, image(20, (*FLAT, 3)), labels(), channel_axis=2)
    assert tree(foreign) == before


def test_a_damaged_image_of_another_program_is_named(foreign: Path) -> None:
    (foreign / "imagesTr" / "x2_0000.png").write_bytes(b"no image")
    before = tree(foreign)
    with pytest.raises(ValueError, match=r"x2_0000.png is damaged .*get it anew"):
        Collection(foreign).add("new", image(10, (*FLAT, 3)), labels(), channel_axis=2)
    assert tree(foreign) == before


def test_creating_says_what_is_wrong(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is not empty: choose a new folder"):
        Collection.create(collection.folder)
    with pytest.raises(ValueError, match=r"can end in .nii.gz, .*, got '.jpg'"):
        Collection.create(tmp_path / "new", ending=".jpg")
    with pytest.raises(ValueError, match="different names"):
        Collection.create(tmp_path / "new", ["a", "a"])
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="no data set can be made in"):
        Collection.create(tmp_path / "file")


# The command line -----------------------------------------------------------------------------------------------------


def run(*arguments: object, fails: bool = False) -> str:
    result = CliRunner().invoke(app, ["dataset", *(str(a) for a in arguments)])
    assert (result.exit_code != 0) == fails, result.output
    return str(result.exception) if fails else result.output


def test_images_are_added_and_listed_from_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset900_New"
    for i in range(2):
        ps.write(tmp_path / f"scan {i}.nii.gz", image(i, DEEP), spacing=(2, 1, 1), labels=False)
    drawn = labels(DEEP)
    drawn[0, 0, 0] = 5
    ps.write(tmp_path / "drawn.nii.gz", drawn.astype(np.uint8))
    named = ("--label", "nucleus=5", "--label", "cell=1")
    said = run("add", folder, tmp_path / "scan 0.nii.gz", tmp_path / "drawn.nii.gz", *named)
    assert "scan_0 is in" in said and "for training" in said
    assert Collection(folder).labels == {"background": 0, "cell": 1, "nucleus": 2}
    said = run("add", folder, tmp_path / "scan 1.nii.gz", tmp_path / "drawn.nii.gz", fails=True)
    assert "numbers 5 without a name" in said
    run("add", folder, tmp_path / "scan 1.nii.gz", tmp_path / "drawn.nii.gz", "--name", "b", "--label", "cell")
    run("add", folder, tmp_path / "scan 1.nii.gz", tmp_path / "drawn.nii.gz", "--name", "b", *named)
    assert run("label", folder, "membrane").strip() == "membrane = 3"
    listed = run("list", folder).splitlines()
    assert "2 images" in listed[0] and "membrane = 3" in listed[0]
    assert [line.split("\t")[0] for line in listed[1:]] == ["b", "scan_0"] and "1 earlier labels" in listed[1]


def test_a_first_image_that_does_not_fit_makes_no_data_set(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.tif", image(1))
    ps.write(tmp_path / "b.tif", labels((9, 9)).astype(np.uint8))
    ps.write(tmp_path / "c.tif", labels(value=2).astype(np.uint8))
    assert "shape" in run("add", tmp_path / "new", tmp_path / "a.tif", tmp_path / "b.tif", fails=True)
    assert "numbers 2 without" in run("add", tmp_path / "new", tmp_path / "a.tif", tmp_path / "c.tif", fails=True)
    for text in ("cell=x", "=1"):
        said = run("add", tmp_path / "new", tmp_path / "a.tif", tmp_path / "c.tif", "--label", text, fails=True)
        assert "NAME=NUMBER" in said
    assert not (tmp_path / "new").exists()
