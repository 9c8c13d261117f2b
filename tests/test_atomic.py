"""Files are written whole: through links, in their mode, under any name, and nothing half stays."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.dataset.collection import Collection
from napari_probseg.io.atomic import locked, together, write_whole

posix = pytest.mark.skipif(os.name == "nt", reason="modes and links are those of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_bytes(b"old")
    (tmp_path / "a.txt").symlink_to(Path("elsewhere") / "a.txt")
    write_whole(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "elsewhere" / "a.txt").read_bytes() == b"new"


def test_the_old_file_stays_where_the_new_one_does_not_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some disks, those of a network and those with a quota, tell that they are full no sooner."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_whole(tmp_path / "a.txt", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*free space"):
        write_whole(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@posix
@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o755])
def test_the_mode_is_kept(tmp_path: Path, kept: int) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    (tmp_path / "a.txt").chmod(kept)
    write_whole(tmp_path / "a.txt", b"new")
    assert mode(tmp_path / "a.txt") == kept


@posix
def test_what_lies_in_a_shared_folder_is_shared(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        shared, own = tmp_path / "shared", tmp_path / "own"
        for folder, bits in ((shared, 0o2770), (own, 0o755)):
            folder.mkdir()
            folder.chmod(bits)
            collection = Collection.create(folder / "set", ["cell"], ending=".tif")
            collection.add("a", np.random.default_rng(0).normal(size=(9, 9)), np.eye(9, dtype=np.uint8))
    finally:
        os.umask(before)
    inside = list((shared / "set").rglob("*"))
    assert len(inside) > 8, "test invalid"
    assert all(mode(path) & stat.S_IWGRP and mode(path) & stat.S_IRGRP for path in inside)
    assert not any(mode(path) & stat.S_IWGRP for path in (own / "set").rglob("*"))


@pytest.mark.parametrize("name", ["x" * 238 + ".nii.gz", "X.NII.GZ", "a.b.c.tif", "A.TIFF", "ü" * 100 + ".tif"])
def test_any_name_that_the_system_takes(tmp_path: Path, name: str) -> None:
    ps.write(tmp_path / name, np.zeros((3, 4, 5), np.uint8))
    assert ps.read(tmp_path / name).shape == (3, 4, 5)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="choose a shorter name"):
        write_whole(tmp_path / ("x" * 300), b"new")


@posix
def test_part_files_of_programs_that_are_gone_are_tidied_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dies)
        patch.setattr(Path, "unlink", lambda path, **_: None)
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "a.txt", b"half")
    (part,) = tmp_path.iterdir()
    gone = part.rename(part.with_name(part.name.replace(str(os.getpid()), "999999999")))
    running = gone.with_name(gone.name.replace("999999999", str(os.getppid())))
    running.write_bytes(b"of another program")
    write_whole(tmp_path / "a.txt", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([running, tmp_path / "a.txt"])


@posix
@pytest.mark.parametrize("link", ["labelsTr", ".added"])
def test_no_link_leads_out_of_a_folder(tmp_path: Path, link: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for one in (outside, folder):
        one.mkdir()
    (outside / "kept.txt").write_bytes(b"kept")
    (folder / link).symlink_to(outside)

    def add() -> None:
        with locked(folder), together(folder) as staged:
            (staged / "labelsTr").mkdir()
            (staged / "labelsTr" / "a.txt").write_bytes(b"new")

    with pytest.raises(OSError, match="leads out of"):
        add()
    assert [path.name for path in outside.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("ending", ["/../../outside.txt", "", "..", ".nii/..", "nii", 3])
def test_a_file_ending_leads_nowhere(tmp_path: Path, ending: object) -> None:
    import json

    Collection.create(tmp_path / "set", ["cell"])
    path = tmp_path / "set" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "file_ending": ending}))
    with pytest.raises(ValueError, match=r"dataset\.json says that its files end in"):
        Collection(tmp_path / "set")
