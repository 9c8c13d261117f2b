"""Taking in another data set, and a clean copy for nnU-Net."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.dataset.transfer import create_like, export, take_in
from napari_probseg.io import Picture
from napari_probseg.progress import Fate

SHAPE = (4, 9, 11)
AFFINE = np.array([[0, -0.4, 0.1, 7], [0.5, 0, 0, -3], [0, 0.05, 2.1, 11], [0, 0, 0, 1.0]])


def image(i: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(i).integers(0, 255, shape).astype(np.uint8)


def labels(*numbers: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    drawn = np.zeros(shape, dtype=np.uint8)
    drawn.ravel()[: len(numbers)] = numbers
    return drawn


def numbers_of(collection: Collection, name: str, n: int = 2) -> list[int]:
    return collection.load(name).label.ravel()[:n].tolist()


@pytest.fixture
def source(tmp_path: Path) -> Collection:
    """Three turned volumes of two channels with labels of two kinds, the first with a session."""
    made = Collection.create(tmp_path / "Dataset701_Source", ["cell", "nucleus"], channels=["T1", "FLAIR"])
    for i in range(3):
        like = Picture(image(i, (2, *SHAPE)), "CZYX", (2.1, 0.4, 0.5), "mm", AFFINE)
        case = ps.Case(like.data, channel_axis=0).mark(inside=labels(1) > 0)
        made.add(f"s{i}", like.data, labels(1, 2), like=like, session=ps.Session(case) if i == 0 else None)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_data_set_is_taken_in_with_its_geometry_labels_and_strokes(source: Collection, tmp_path: Path) -> None:
    before = tree(source.folder)
    taken = create_like(tmp_path / "new", source)
    assert [outcome.fate for outcome in take_in(taken, source)] == [Fate.DONE] * 3
    assert tree(source.folder) == before
    assert taken.labels == source.labels and taken.channels == source.channels
    for name in source.cases:
        np.testing.assert_array_equal(taken.load(name).image, source.load(name).image)
        np.testing.assert_array_equal(taken.load(name).label, source.load(name).label)
        for path in (*taken[name].images, taken[name].label):
            picture = ps.read(path)
            np.testing.assert_allclose(picture.affine, AFFINE, atol=1e-6)
            assert picture.data.dtype == np.uint8
        assert taken[name].metadata()["told_there"]["affine"] == source[name].metadata()["affine"]
    provenance = taken["s0"].provenance
    assert provenance is not None and provenance.with_suffix(".npz").is_file()


def test_what_is_there_already_stays_under_whatever_name(source: Collection, tmp_path: Path) -> None:
    taken = create_like(tmp_path / "new", source)
    taken.add("other_name", image(1, (2, *SHAPE)), labels(2), channel_axis=0, spacing=(2.1, 0.4, 0.5))
    taken.add("s2", image(9, (2, *SHAPE)), labels(2), channel_axis=0)
    found = {outcome.name: outcome for outcome in take_in(taken, source)}
    assert found["s0"].fate is Fate.DONE
    assert found["s1"].fate is Fate.THERE and "as other_name" in found["s1"].message
    assert found["s2"].fate is Fate.FAILED and "has another image 's2' already" in found["s2"].message
    assert taken.cases == ["other_name", "s0", "s2"] and numbers_of(taken, "other_name") == [2, 0]
    assert [o.fate for o in take_in(taken, source)] == [Fate.THERE, Fate.THERE, Fate.FAILED], "broken off, it goes on"


def test_labels_come_in_under_their_names(source: Collection, tmp_path: Path) -> None:
    turned = Collection.create(tmp_path / "turned", ["nucleus", "cell"], channels=["T1", "FLAIR"])
    assert all(outcome.fate is Fate.DONE for outcome in take_in(turned, source))
    assert numbers_of(turned, "s0") == [2, 1]
    one = Collection.create(tmp_path / "one", ["thing"], channels=["T1", "FLAIR"])
    failed = [outcome.message for outcome in take_in(one, source)]
    assert len(failed) == 3 and "names cell, nucleus" in failed[0] and "dataset label" in failed[0]
    assert all(o.fate is Fate.DONE for o in take_in(one, source, kinds={1: "thing", 2: "thing"}))
    assert numbers_of(one, "s0") == [1, 1]


def test_objects_with_numbers_become_their_kind_unless_both_number_them(tmp_path: Path) -> None:
    flat = (9, 11)
    source = Collection.create(tmp_path / "ids", ["nucleus"], ending=".tif", description="one id per nucleus")
    source.add("a", image(1, flat), labels(1, 7, shape=flat))
    source.add("empty", image(2, flat), labels(shape=flat))
    kinds = Collection.create(tmp_path / "kinds", ["cell", "nucleus"], ending=".tif")
    assert [o.fate for o in take_in(kinds, source)] == [Fate.DONE] * 2
    assert numbers_of(kinds, "a") == [2, 2]
    ids = create_like(tmp_path / "ids too", source)
    assert ids.instances and [o.fate for o in take_in(ids, source)] == [Fate.DONE] * 2
    assert numbers_of(ids, "a") == [1, 7]
    with pytest.raises(ValueError, match=r"numbers single objects, .* kinds of them: take it into another"):
        list(take_in(ids, kinds))
    export(source, tmp_path / "Dataset702_Kinds")
    clean = Collection(tmp_path / "Dataset702_Kinds")
    assert numbers_of(clean, "a") == [1, 1] and not clean.instances


def test_a_damaged_image_is_named_and_the_rest_comes_in(source: Collection, tmp_path: Path) -> None:
    source["s1"].images[1].write_bytes(b"no image")
    taken = create_like(tmp_path / "new", source)
    found = {outcome.name: outcome for outcome in take_in(taken, source)}
    assert "s1_0001.nii.gz is damaged" in found["s1"].message
    assert taken.cases == ["s0", "s2"]


def test_a_full_disk_ends_an_import_in_one_sentence(
    source: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = create_like(tmp_path / "new", source)
    coming = take_in(taken, source)
    next(coming)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"s1 could not be added to .*No space left"):
            list(coming)
    assert Collection(taken.folder).cases == ["s0"]


def test_regions_come_in_only_where_they_are_the_same(source: Collection, tmp_path: Path) -> None:
    path = source.folder / "dataset.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "labels": {"background": 0, "whole": [1, 2], "nucleus": 2}}))
    regions = Collection(source.folder)
    with pytest.raises(ValueError, match=r"regions of several numbers .*named with --label NAME=NUMBER"):
        create_like(tmp_path / "new", regions)
    same = Collection(Path(shutil.copytree(source.folder, tmp_path / "same")))
    assert [o.fate for o in take_in(same, regions)] == [Fate.THERE] * 3


def test_an_export_holds_what_nnunet_reads_and_nothing_else(source: Collection, tmp_path: Path) -> None:
    folder = export(source, tmp_path / "Dataset702_Clean")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    images = {f"imagesTr/s{i}_000{c}.nii.gz" for i in range(3) for c in range(2)}
    assert files == {"dataset.json", *images, *(f"labelsTr/s{i}.nii.gz" for i in range(3))}
    assert json.loads((folder / "dataset.json").read_text()) == {
        "name": "Dataset701_Source",
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "cell": 1, "nucleus": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    assert tree(folder).items() - tree(source.folder).items() == {
        ("dataset.json", (folder / "dataset.json").read_bytes())
    }


def test_an_export_of_tiff_volumes_tells_the_spacing(tmp_path: Path) -> None:
    made = Collection.create(tmp_path / "tiff", ending=".tif")
    made.add("a", image(1), labels(1), spacing=(2, 0.5, 0.5))
    folder = export(made, tmp_path / "Dataset702_Clean")
    assert json.loads((folder / "imagesTr" / "a.json").read_text()) == {"spacing": [2, 0.5, 0.5]}


def test_an_export_is_there_whole_or_not_at_all(
    source: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, copied = shutil.copyfile, []

    def full(path: Path, place: Path) -> None:
        if len(copied) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(real(path, place))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match=r"Dataset702_Clean could not be written \(No space left on device\): free space"):
        export(source, tmp_path / "Dataset702_Clean")
    assert len(copied) == 4 and os.listdir(tmp_path) == [source.folder.name]  # noqa: PTH208


def test_an_export_that_cannot_be_is_refused(source: Collection, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="named like Dataset700_Cells, got 'clean'"):
        export(source, tmp_path / "clean")
    with pytest.raises(FileExistsError, match="is not empty: choose a new folder"):
        export(source, source.folder)
    with pytest.raises(ValueError, match="has no image yet"):
        export(Collection.create(tmp_path / "new"), tmp_path / "Dataset702_Clean")


def test_both_from_the_command_line(source: Collection, tmp_path: Path) -> None:
    def run(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["dataset", *(str(a) for a in arguments)])
        assert result.exit_code == code, result.output
        return result.output

    said = run("import", tmp_path / "new", source.folder).splitlines()
    assert said[0] == "1/3 s0: done, for training" and said[-1] == "3 done"
    assert run("import", tmp_path / "new", source.folder).splitlines()[-1] == "3 there already"
    Collection.create(tmp_path / "one", ["thing"], channels=["T1", "FLAIR"])
    assert "failed, the labels have" in run("import", tmp_path / "one", source.folder, code=1)
    assert "3 done" in run("import", tmp_path / "one", source.folder, "--label", "thing")
    assert "3 images written to" in run("export", tmp_path / "new", tmp_path / "Dataset702_Clean")


def foreign(folder: Path, about: dict[str, Any], *, ending: str = ".tif", numbers: tuple[int, ...] = (1, 2)) -> Path:
    """Write a data set of one volume as another program would."""
    told = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ending}
    for name, array in (("imagesTr/c_0000", image(0)), ("labelsTr/c", labels(*numbers))):
        ps.write(folder / f"{name}{ending}", array)
    (folder / "dataset.json").write_text(json.dumps({**told, "numTraining": 1, **about}))
    return folder


def test_the_spacing_beside_a_tiff_volume_counts_as_for_nnunet(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "set", {})
    assert RawDataset(folder).load("c").spacing == (1.0, 1.0, 1.0), "test invalid"
    beside = folder / "imagesTr" / "c.json"
    beside.write_text('{"spacing": [3, 0.5, 0.25]}')
    assert RawDataset(folder).load("c").spacing == (3.0, 0.5, 0.25)
    taken = create_like(tmp_path / "new", Collection(folder))
    assert [outcome.fate for outcome in take_in(taken, Collection(folder))] == [Fate.DONE]
    assert ps.read(taken["c"].images[0]).spacing == pytest.approx((3.0, 0.5, 0.25))
    beside.write_text('{"spacing": [3, 0.5]}')
    with pytest.raises(ValueError, match=r"c\.json does not tell the spacing of a volume: correct or remove it"):
        RawDataset(folder).load("c")


@pytest.mark.parametrize("names", [{"a": 1, "b": 2}, {"BG": 0, "a": 1, "b": 2}, {"background": [0], "a": 1, "b": 2}])
def test_background_goes_out_by_its_name(tmp_path: Path, names: dict[str, int]) -> None:
    folder = foreign(tmp_path / "set", {"labels": names})
    about = json.loads((export(Collection(folder), tmp_path / "Dataset700_X") / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "a": 1, "b": 2}


def test_channels_that_are_called_modality_keep_their_names(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "set", {"channel_names": None, "modality": {"0": "CT"}})
    about = json.loads((export(Collection(folder), tmp_path / "Dataset700_X") / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "CT"}


@pytest.mark.parametrize(
    ("about", "numbers", "said"),
    [
        *(
            (
                {"labels": {"background": 0, "all": [1, 2], "b": 2}, **order},
                (1, 2),
                "wants regions_class_order, 2 numbers",
            )
            for order in ({}, *({"regions_class_order": wrong} for wrong in ("x", [1], [[1], [2]])))
        ),
        ({}, (1, 2, 3), r"c\.tif holds the number 3, which dataset\.json gives no name: add one$"),
        ({"labels": {"background": 0, "a": 1}}, (1, 2), "add one, or write 'one id per object' into its description"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, (1, 2), r"has 1 channel, and dataset\.json names 2 \(T1, T2\)"),
    ],
)
def test_what_nnunet_would_refuse_does_not_go_out(
    tmp_path: Path, about: dict[str, Any], numbers: tuple[int, ...], said: str
) -> None:
    folder = foreign(tmp_path / "set", about, numbers=numbers)
    before = tree(folder)
    with pytest.raises(ValueError, match=said):
        export(Collection(folder), tmp_path / "Dataset700_X")
    assert tree(folder) == before and not (tmp_path / "Dataset700_X").exists()


def test_labels_go_out_in_the_voxels_of_their_image(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "set", {}, ending=".nii.gz")
    place, turned = np.eye(4), np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = SHAPE[2] - 1
    for name, affine in (("imagesTr/c_0000", place), ("labelsTr/c", turned)):
        ps.write(folder / f"{name}.nii.gz", np.asarray(ps.read(folder / f"{name}.nii.gz").data), affine=affine)
    out = export(Collection(folder), tmp_path / "Dataset700_X")
    label = ps.read(out / "labelsTr" / "c.nii.gz")
    assert np.array_equal(label.data, labels(1, 2)[..., ::-1]) and np.array_equal(label.affine, place)


def test_what_is_no_number_is_one_in_a_data_set_and_in_an_export(tmp_path: Path) -> None:
    values = image(0).astype(np.float32)
    values[0, 0, :3], least = (np.nan, -np.inf, np.inf), values[0, 0, 3:].min()
    collection = Collection.create(tmp_path / "set", ["a", "b"])
    with pytest.warns(UserWarning, match="NaN and infinity, which nnU-Net refuses, become the least"):
        added = collection.add("c", values, labels(1, 2))
    kept = np.asarray(ps.read(added.images[0]).data)
    assert kept[0, 0, :3].tolist() == [kept.min(), kept.min(), kept.max()] and kept.min() <= least
    with pytest.warns(UserWarning, match="NaN and infinity"):
        assert collection.add("c", values, labels(2, 1)).earlier, "it is known again"
    with pytest.warns(UserWarning, match="NaN and infinity"):
        masked = collection.add("masked", np.ma.masked_greater(image(1), 200), labels(1, 2))
    assert np.asarray(ps.read(masked.images[0]).data).max() <= 200
    ps.write(added.images[0], values, labels=False)
    with pytest.warns(UserWarning, match=r"c_0000\.nii\.gz holds NaN or infinity, which nnU-Net refuses"):
        out = export(collection, tmp_path / "Dataset700_X")
    assert np.array_equal(ps.read(out / "imagesTr" / "c_0000.nii.gz").data, kept)


def test_a_number_is_of_one_kind_and_none_of_background(tmp_path: Path) -> None:
    for name, array in (("image", image(0)), ("labels", labels(1, 2))):
        ps.write(tmp_path / f"{name}.tif", array)
    for given, said in ((["a=0", "b=1", "c=2"], "0 is background"), (["a=1", "b=1"], "1 is 'a' already")):
        options = [option for text in given for option in ("--label", text)]
        command = ["dataset", "add", tmp_path / "set", tmp_path / "image.tif", tmp_path / "labels.tif", *options]
        result = CliRunner().invoke(app, [str(part) for part in command])
        assert said in str(result.exception) and not (tmp_path / "set").exists()


def test_numbers_with_gaps_go_out_without(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "set", ["a", "b"])
    path = collection.folder / "dataset.json"
    about = json.loads(path.read_text()) | {"labels": {"background": 0, "a": 2, "b": 7, "ignore": 5}}
    path.write_text(json.dumps(about))
    labels = np.random.default_rng(0).choice(np.array([0, 2, 5, 7], np.uint8), (4, 5, 6))
    Collection(collection.folder).add("c", np.random.default_rng(1).normal(size=labels.shape), labels)
    folder = export(Collection(collection.folder), tmp_path / "Dataset700_X")
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "a": 1, "b": 2, "ignore": 3}
    expected = np.array([0, 0, 1, 0, 0, 3, 0, 2])[labels]
    assert np.array_equal(ps.read(folder / "labelsTr" / "c.nii.gz").data, expected)
