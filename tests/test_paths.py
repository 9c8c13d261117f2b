"""Paths that lead to no file: on every way in and out one sentence that names them and is true of its cause."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.raw import datasets_below
from napari_probseg.io import json_file
from napari_probseg.io.atomic import output_folder
from napari_probseg.io.paths import reading_failure
from napari_probseg.io.plain import write_picture
from napari_probseg.session.journal import read_journal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of another kind")
PLANE = np.random.default_rng(0).random((12, 12)).astype(np.float32)


def loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def dangling(path: Path) -> Path:
    path.symlink_to(path.parent / "unplugged" / path.name)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def through_a_file(path: Path) -> Path:
    file = path.with_name("file")
    file.write_text("a file")
    return file / path.name


def through_a_loop(path: Path) -> Path:
    return loop(path.with_name("loop")) / path.name


def too_long(path: Path) -> Path:
    return path.with_name("n" * 300 + path.name)


def missing(path: Path) -> Path:
    return path


WHY = {
    loop: "is a link that leads back to itself",
    dangling: r"is a link that leads to .*unplugged.*, which is not there",
    folder: "it is a folder",
    pipe: "it is a pipe or a device",
    through_a_file: "file is no folder",
    through_a_loop: "loop is a link that leads back to itself",
    too_long: "its name is longer than names can be",
    missing: "check its name|name one of",
}
WHY_NO_FOLDER = WHY | {pipe: "it is no folder", missing: "check its name"}
ODD = [way for way in WHY if way is not missing]


def kept(path: Path) -> None:
    """Keep a journal; raise what it tells, which in a window does not stop the work."""
    session = ps.Session(ps.Case(PLANE))
    journal = session.keep(path)
    session.mark(np.eye(12))
    if not journal.flush(10):
        raise OSError(journal.trouble)


READ: dict[str, Callable[[Path], object]] = {
    "image.tif": ps.read,
    "image.nii.gz": ps.read,
    "image.png": ps.read,
    "work.npz": lambda path: ps.Session.load(path, PLANE),
    "work.journal": read_journal,
    "net.safetensors": ps.load_proposer,
    "about.json": json_file.read_json,
}
WRITTEN: dict[str, Callable[[Path], object]] = {
    "image.tif": lambda path: ps.write(path, PLANE),
    "image.nii.gz": lambda path: ps.write(path, PLANE),
    "work.npz": lambda path: ps.Session(ps.Case(PLANE)).save(path),
    "work.journal": lambda path: kept(path),
    "sheet.png": lambda path: write_picture(path, Image.new("RGB", (4, 4))),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("way", WHY)
def test_reading(tmp_path: Path, name: str, way: Callable[[Path], Path]) -> None:
    path = way(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=WHY[way]) as caught:
        READ[name](path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("way", ODD)
def test_writing(tmp_path: Path, name: str, way: Callable[[Path], Path]) -> None:
    path = way(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match=WHY[way]) as caught:
        WRITTEN[name](path)
    assert str(path) in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before, "what is there is neither replaced nor added to"
    assert way is not pipe or path.is_fifo()


@pytest.mark.parametrize("way", [way for way in WHY if way is not folder])
def test_folders_to_read(tmp_path: Path, way: Callable[[Path], Path]) -> None:
    path = way(tmp_path / "set")
    for read in (Collection, datasets_below):
        with pytest.raises(FileNotFoundError, match=WHY_NO_FOLDER[way]) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("way", [way for way in ODD if way is not folder])
def test_folders_to_fill(tmp_path: Path, way: Callable[[Path], Path]) -> None:
    path = way(tmp_path / "out")
    for make in (output_folder, Collection.create):
        with pytest.raises(OSError, match=WHY_NO_FOLDER[way]) as caught:
            make(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("way", WHY)
def test_the_command_line_names_what_it_cannot_read(tmp_path: Path, way: Callable[[Path], Path]) -> None:
    if way is folder:
        pytest.skip("a folder is completed image by image")
    ps.write(tmp_path / "in.tif", np.eye(12, dtype=np.uint8))
    path = way(tmp_path / "image.tif")
    command = ["complete", str(path), str(tmp_path / "out.tif"), "--inside", str(tmp_path / "in.tif")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, FileNotFoundError)
    assert str(path) in str(done.exception)


def test_a_link_to_a_new_file_beside_others_is_written_through(tmp_path: Path) -> None:
    link = tmp_path / "link.tif"
    link.symlink_to("new.tif")
    ps.write(link, PLANE)
    assert link.is_symlink()
    assert ps.read(tmp_path / "new.tif").shape == PLANE.shape


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    path = tmp_path / "a\0b.tif"
    with pytest.raises(FileNotFoundError, match="a name cannot hold what this one does"):
        ps.read(path)
    with pytest.raises(OSError, match="a name cannot hold what this one does"):
        ps.write(path, PLANE)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EIO, r"could not be read .*: see whether its disk or network is there"),
        (errno.EMFILE, r"could not be read .*: close some of what is open"),
        (errno.EACCES, "may not be read: ask its owner"),
        (errno.ENOENT, "any more: it was removed or renamed"),
    ],
)
def test_what_the_system_says_is_no_damage(
    tmp_path: Path, number: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(number, os.strerror(number))
    assert reading_failure(tmp_path / "gone.tif", error) is not None
    for name in ("image.tif", "image.png", "work.npz", "work.journal", "about.json"):
        path = tmp_path / name
        path.write_bytes(b"some bytes")

        def fail(self: Path, *args: object, path: Path = path, **options: object) -> None:
            path.unlink(missing_ok=True)
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", fail)
            with pytest.raises(OSError, match=says):
                READ[name](path)


def test_pictures_are_written_whole(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4))
    write_picture(tmp_path / "a.PNG", picture)
    assert ps.read(tmp_path / "a.PNG").shape == (4, 4)
    with pytest.raises(ValueError, match=r"a\.xyz has no ending of a picture: use \.png"):
        write_picture(tmp_path / "a.xyz", picture)
