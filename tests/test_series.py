"""A series of images: which is next, what counts as an image of it, and the files of objects beside them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_probseg as ps
from napari_probseg.io.folder import Channels, images_in, in_reading_order, is_of_objects, stem_of
from napari_probseg.session.beside import Written, objects_beside, read_beside, write_beside
from napari_probseg.session.series import Done, Series
from sessions import square

IMAGE = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cell10.tif", "cell2.tif", "cell1.tif", "notes.txt"):
        ps.write(tmp_path / name, IMAGE, labels=False) if name.endswith("tif") else (tmp_path / name).write_text("x")
    return tmp_path


def with_objects(kinds: dict[int, str]) -> ps.Session:
    session = ps.Session(ps.Case(IMAGE))
    labels = square(10, 10) * 1 + square(30, 30, 2) * 300
    session.take(labels)
    for label, kind in kinds.items():
        session.classify(label, kind)
    return session


def save(path: Path, session: ps.Session, *, is_own: bool = True) -> tuple[Path, Path | None]:
    return write_beside(path, session.objects, session.finished, like=ps.read(path), is_own=is_own)


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_objects_beside_an_image_are_of_the_work_that_wrote_them_until_something_else_did(folder: Path) -> None:
    image, written = folder / "cell1.tif", Written()
    one, other = with_objects({}), with_objects({})
    assert not written.is_by(image, one), "nothing was written"
    for session in (one, other):
        save(image, session)
        written.note(image, session)
    assert written.is_by(image, other) and not written.is_by(image, one)
    other.keep(folder / "work.journal")
    written.note(image, other)
    other.journal.close()
    gone_on = ps.Session.load(folder / "work.journal", IMAGE)
    gone_on.journal = other.journal
    assert written.is_by(image, gone_on), "work that is gone on with is the same"
    os.utime(objects_beside(image), ns=(0, 0))
    assert not written.is_by(image, other), "another program has changed it"


def test_the_images_of_a_folder_come_as_people_order_them(folder: Path) -> None:
    assert names(Series.of(folder / "cell2.tif").images) == ["cell1.tif", "cell2.tif", "cell10.tif"]
    mixed = [Path(name) for name in ("b", "a10", "a9", "10", "9", "a")]
    assert [path.name for path in in_reading_order(mixed)] == ["9", "10", "a", "a9", "a10", "b"]


def test_the_next_image_is_the_first_behind_that_is_not_finished(folder: Path) -> None:
    one, two, ten = (folder / f"cell{i}.tif" for i in (1, 2, 10))
    series = Series.of(two)
    assert series.next_after(two) == ten
    series = series.with_done(Done(two, 3, 60.0)).with_done(Done(ten, 1, 30.0))
    assert series.next_after(ten) == one, "from the beginning again"
    assert series.before_that(one) == ten and series.before_that(ten) == two and series.before_that(two) is None
    assert series.next_after(two) == one, "what is finished is passed over"
    series = series.with_done(Done(one, 0, 0.0))
    assert series.next_after(one) is None
    assert (series.n_done, series.n_objects, series.seconds_per_image) == (3, 4, 30.0)
    again = series.with_done(Done(two, 5, 60.0))
    assert (again.n_objects, again.found(two)) == (6, Done(two, 5, 120.0))


def test_the_way_back_leads_to_those_that_were_finished_before(folder: Path) -> None:
    one, two, ten = (folder / f"cell{i}.tif" for i in (1, 2, 10))
    series = Series.of(ten, before=[two, one])
    assert series.before_that(ten) == two and series.before_that(two) == one and series.before_that(one) is None
    series = series.with_done(Done(one, 1, 1.0))
    assert series.before_that(ten) == one and series.before_that(one) == two, "the latest first"


def test_an_image_with_a_file_of_objects_was_finished_before_and_that_file_is_no_image(folder: Path) -> None:
    one, two = folder / "cell1.tif", folder / "cell2.tif"
    path, aside = save(two, with_objects({}))
    assert aside is None and path.name == "cell2_objects.tif" and is_of_objects(path)
    series = Series.of(one)
    assert names(series.images) == ["cell1.tif", "cell2.tif", "cell10.tif"]
    assert series.is_done(two) and series.next_after(one) == folder / "cell10.tif"
    assert path not in images_in(folder)


def test_files_of_further_channels_are_no_images(tmp_path: Path) -> None:
    for i in range(3):
        for ending in ("_0000", "_0001"):
            ps.write(tmp_path / f"a{i}{ending}.tif", IMAGE, labels=False)
    ps.write(tmp_path / "lone_0000.tif", IMAGE, labels=False)
    image, channel = tmp_path / "a0_0000.tif", tmp_path / "a0_0001.tif"
    assert names(Series.of(image, [channel]).images) == [f"a{i}_0000.tif" for i in range(3)]
    named = Channels.of(image, [channel])
    assert named.of_image(tmp_path / "a2_0000.tif") == [tmp_path / "a2_0001.tif"]
    assert named.of_image(tmp_path / "lone_0000.tif") is None
    assert len(Series.of(image).images) == 7, "test invalid"


def test_objects_beside_an_image_come_back_with_their_classes(folder: Path) -> None:
    image = folder / "cell1.tif"
    session = with_objects({300: "nucleus"})
    save(image, session)
    labels, kinds = read_beside(image, ps.read(image))
    assert np.array_equal(labels, session.objects) and kinds == {300: "nucleus"}
    table = (folder / "cell1_objects.csv").read_text().splitlines()
    assert table == ["object,class,voxels,image", "1,,9,cell1.tif", "300,nucleus,25,cell1.tif"]


def test_the_table_tells_sizes_where_they_are_known(tmp_path: Path) -> None:
    image = tmp_path / "scan.nii.gz"
    ps.write(image, np.zeros((4, 40, 40), np.float32), spacing=(2, 0.5, 0.5))
    session = ps.Session(ps.Case(np.zeros((4, 40, 40))))
    session.mark(square(10, 10, shape=(4, 40, 40)))
    session.finish("liver")
    path, _ = save(image, session)
    assert path.name == "scan_objects.nii.gz"
    assert (tmp_path / "scan_objects.csv").read_text().splitlines()[1] == "1,liver,36,18,scan.nii.gz"


def test_the_table_tells_sizes_in_the_unit_of_the_image(tmp_path: Path) -> None:
    image = tmp_path / "cells.tif"
    tifffile.imwrite(
        image, np.zeros((40, 40), np.uint8), imagej=True, resolution=(2, 2), metadata={"axes": "YX", "unit": "um"}
    )
    session = ps.Session(ps.Case(np.zeros((40, 40))))
    session.mark(square(10, 10))
    session.finish()
    save(image, session)
    with (tmp_path / "cells_objects.csv").open() as table:
        assert list(csv.DictReader(table)) == [
            {"object": "1", "class": "", "voxels": "9", "area_um2": "2.25", "image": "cells.tif"}
        ]


def test_objects_of_other_work_are_kept(folder: Path) -> None:
    image = folder / "cell1.tif"
    mine = objects_beside(image)
    mine.write_bytes(b"by hand")
    _, aside = save(image, with_objects({}), is_own=False)
    assert aside is not None and aside.read_bytes() == b"by hand" and is_of_objects(aside)
    assert save(image, with_objects({}))[1] is None


def test_the_classes_of_objects_of_other_work_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often, also within a second; and where the new objects cannot be written all stays as it was."""
    image, asides = folder / "cell1.tif", []
    for kind in ("a", "b", "c"):
        asides.append(save(image, with_objects({300: kind}), is_own=False)[1])
    tables = [path.with_suffix(".csv").read_text() for path in (asides[1], asides[2], objects_beside(image))]
    assert [table.splitlines()[-1] for table in tables] == [f"300,{kind},25,cell1.tif" for kind in "abc"]
    there = {path: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("napari_probseg.session.beside.write", full)
    with pytest.raises(OSError, match="No space left"):
        save(image, with_objects({300: "d"}), is_own=False)
    assert {path: path.read_bytes() for path in folder.iterdir()} == there


def test_two_images_of_one_name_have_files_of_their_own(folder: Path) -> None:
    ps.write(folder / "cell1.png", IMAGE.astype(np.uint8), labels=False)
    assert objects_beside(folder / "cell1.png") != objects_beside(folder / "cell1.tif")
    assert is_of_objects(objects_beside(folder / "cell1.png"))


def twin_of(image: Path, ending: str, *, is_older: bool = False) -> Path:
    """Write another image of the same name up to the ending."""
    twin = image.with_suffix(ending)
    ps.write(twin, IMAGE.astype(np.uint8), labels=False)
    when = image.stat().st_mtime + (-100 if is_older else 100)
    os.utime(twin, (when, when))
    return twin


@pytest.mark.parametrize("is_older", [False, True], ids=["younger", "older"])
@pytest.mark.parametrize("ending", [".png", ".nii.gz", ".ome.tif", ".TIFF"])
def test_objects_are_found_again_when_another_image_of_the_name_comes_and_when_it_goes(
    folder: Path, ending: str, is_older: bool
) -> None:
    image, session = folder / "cell1.tif", with_objects({300: "nucleus"})
    path, _ = save(image, session)
    twin = twin_of(image, ending, is_older=is_older)
    assert objects_beside(image) == path and np.array_equal(read_beside(image, ps.read(image))[0], session.objects)
    assert not objects_beside(twin).exists(), "the other one has none yet"
    series = Series.of(image)
    assert series.is_done(image) and not series.is_done(twin)
    other, aside = save(twin, with_objects({1: "other"}))
    assert aside is None and other not in (path, path.with_suffix(".csv"))
    assert read_beside(image, ps.read(image))[1] == {300: "nucleus"}
    image.rename(folder / "gone")
    assert objects_beside(twin) == other and read_beside(twin, ps.read(twin))[1] == {1: "other"}
    path.unlink()
    assert objects_beside(twin) == other


def test_objects_whose_table_does_not_say_are_of_the_older_image(folder: Path) -> None:
    """Tables of earlier versions had no column of it."""
    image = folder / "cell1.tif"
    path, _ = save(image, with_objects({300: "nucleus"}))
    table = path.with_suffix(".csv")
    table.write_text("object,class,voxels\n1,,9\n300,nucleus,25\n")
    assert read_beside(image, ps.read(image))[1] == {300: "nucleus"}
    twin = twin_of(image, ".png")
    assert objects_beside(image) == path != objects_beside(twin)
    save(twin, with_objects({}))
    os.utime(twin, (0, 0))
    assert objects_beside(image) == path, "the other one has its own"


def test_a_table_that_is_another_one_tells_no_classes(folder: Path) -> None:
    image = folder / "cell1.tif"
    save(image, with_objects({1: "a"}))
    (folder / "cell1_objects.csv").write_text("object;class\n1;b\n")
    assert read_beside(image, ps.read(image))[1] == {}


@pytest.mark.parametrize("name", ["a.b.nii", "a.b.nii.gz", "a.b.NII.GZ", "a.b.tif", "a.b.ome.tif", "a.b.OME.TIF"])
def test_the_name_of_an_image_is_that_of_its_file_without_the_ending(name):
    assert stem_of(Path("folder.nii") / name) == "a.b"
