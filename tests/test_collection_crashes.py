"""Crashes, full disks and other writers leave a data set whole."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finished import image, labels, tree
from napari_probseg.dataset.collection import Collection
from napari_probseg.io.atomic import begun, locked

N_KILLS = int(os.environ.get("PROBSEG_KILLS", "30"))
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
MOMENTS = ("mkdir", "write_bytes", "replace", "rename", "unlink")


def add_for_ever(folder: Path, first: int, names: list[str], log: Path | None = None, n: int = 10**9) -> None:
    collection = Collection(folder)
    for step in range(first, first + n):
        name = names[step % len(names)]
        collection.add(name, image(name), labels(value=step % 3), provenance={"step": step})
        if log is not None:
            with log.open("a") as file:
                file.write(f"{step}\n")


def assert_whole(folder: Path) -> dict[str, int]:
    """Check everything there is; return the step that each image's label is of."""
    collection = Collection(folder)
    steps = {}
    for entry in collection.entries:
        case = collection.load(entry.name)
        np.testing.assert_array_equal(case.image[0], image(entry.name))
        steps[entry.name] = entry.metadata()["step"]
        np.testing.assert_array_equal(case.label, labels(value=steps[entry.name] % 3))
        assert [int(path.name[:4]) for path in entry.earlier] == list(range(1, len(entry.earlier) + 1))
        assert entry.provenance is not None and int(entry.provenance.stem) == len(entry.earlier) + 1
    about = json.loads((folder / "dataset.json").read_text())
    assert about["numTraining"] == len(collection.cases) == len(about["napari_probseg"]["cases"])
    for part in ("imagesTr", "labelsTr"):
        assert len(list((folder / part).glob("*"))) in (0, len(collection.cases))
    assert not list(folder.glob(".added")) and not [p for p in folder.glob("*Tr/*") if p.name.startswith(".")]
    return steps


def started(target: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


@forking
def test_whenever_it_is_killed_the_data_set_is_whole(collection: Collection, tmp_path: Path) -> None:
    rng, log, names = np.random.default_rng(0), tmp_path / "log", [f"case_{i}" for i in range(8)]
    n_killed_midway, steps = 0, dict[str, int]()
    log.touch()
    begun = time.monotonic()
    process = started(add_for_ever, collection.folder, 0, names, log)
    while len(log.read_text().split()) < 3 and time.monotonic() - begun < 30:  # how fast this machine is just now
        time.sleep(0.005)
    pace = time.monotonic() - begun
    process.kill()
    process.join()
    steps = assert_whole(collection.folder)
    for _ in range(N_KILLS):
        first = max(steps.values(), default=-1) + 1
        process = started(add_for_ever, collection.folder, first, names, log)
        time.sleep(rng.uniform(0.3, 3) * pace)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        n_killed_midway += any((collection.folder / name).exists() for name in (".adding", ".added"))
        before, steps = steps, assert_whole(collection.folder)
        finished = [int(line) for line in log.read_text().split()]
        assert all(steps[names[step % 8]] >= step for step in finished[-25:]), "what was added is there"
        assert all(steps[name] >= step for name, step in before.items())
    assert n_killed_midway > N_KILLS // 6 and len(finished) > N_KILLS, "test invalid"


def add_and_die(folder: Path, moment: int, step: int) -> None:
    """Die without any cleaning up before the given one of the calls that change a file."""
    n_calls = 0

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            if n_calls > moment:
                os._exit(9)
            return call(*args, **kwargs)

        return wrapped

    collection = Collection(folder)
    for name in MOMENTS:
        setattr(Path, name, dying(getattr(Path, name)))
    shutil.rmtree = dying(shutil.rmtree)
    collection.add("a", image("a"), labels(value=step), provenance={"step": step})
    os._exit(0)


@forking
@pytest.mark.parametrize("is_there", [False, True])
def test_it_may_end_before_any_change_of_a_file(tmp_path: Path, is_there: bool) -> None:
    seen = []
    collection = Collection.create(tmp_path / "start", ending=".tif", labels=["cell", "nucleus"])
    for name in "ab" if is_there else "b":
        collection.add(name, image(name), labels(value=1), provenance={"step": 1})
    for moment in range(100):
        folder = shutil.copytree(collection.folder, tmp_path / f"{moment}")
        process = started(add_and_die, folder, moment, 2)
        process.join()
        seen.append(assert_whole(folder).get("a"))
        added = Collection(folder).add("a", image("a"), labels(value=1), provenance={"step": 1})
        assert assert_whole(folder)["a"] == 1 and len(added.earlier) == is_there + (seen[-1] == 2)
        assert not (folder / ".adding").exists()
        if process.exitcode == 0:
            break
    n_before = seen.count(1 if is_there else None)
    assert n_before > 10 and seen == [1 if is_there else None] * n_before + [2] * (len(seen) - n_before)
    assert len(seen) - n_before > 5, "test invalid: it died after the decision, too"


@forking
def test_two_that_add_at_once_lose_nothing(collection: Collection) -> None:
    both = [[*(f"{who}{i}" for i in range(12)), "shared"] for who in "pq"]
    processes = [started(add_for_ever, collection.folder, 0, names, None, 26) for names in both]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert set(assert_whole(collection.folder)) == {*both[0], *both[1]}
    assert len(Collection(collection.folder)["shared"].earlier) == 3


def test_a_lock_that_is_left_behind_holds_nobody_up_but_a_living_writer_does(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (collection.folder / ".lock").is_file()
    collection.add("a", image(1), labels())
    monkeypatch.setattr("napari_probseg.dataset.collection.locked", lambda folder: locked(folder, timeout=0.1))
    with locked(collection.folder), pytest.raises(TimeoutError, match=r"another program is writing to .*try again"):
        collection.add("b", image(2), labels())
    collection.add("b", image(2), labels())


def test_a_full_disk_changes_nothing(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    collection.add("a", image(1), labels())
    before, real = tree(collection.folder), Path.write_bytes
    for n_written in range(10):
        n_calls = 0

        def full(self: Path, content: bytes, n_written: int = n_written) -> int:
            nonlocal n_calls
            n_calls += 1
            if n_calls <= n_written:
                return real(self, content)
            real(self, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            if n_written == 4:  # image, label, provenance, dataset.json
                break
            with pytest.raises(OSError, match=r"b could not be added to .*\(No space left on device\): free space"):
                collection.add("b", image(2), labels())
        assert tree(collection.folder) == before and not (collection.folder / ".adding").exists()
    collection.add("b", image(2), labels())
    assert Collection(collection.folder).cases == ["a", "b"]


def add_where_files_are_limited(folder: Path, n_bytes: int, said: Path) -> None:
    """Write what is said where the system lets no file grow beyond so many bytes, as on a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        Collection(folder).add("b", image(2, (60, 60)), labels((60, 60)))
    except OSError as error:
        os.write(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), str(error).encode()[:n_bytes])
        os._exit(1)
    os._exit(0)


@forking
def test_files_that_may_not_grow_change_nothing(collection: Collection, tmp_path: Path) -> None:
    collection.add("a", image(1), labels())
    before, n_failed = tree(collection.folder), 0
    for n_bytes in (80, 200, 500, 1000, 2000, 100_000):
        process = started(add_where_files_are_limited, collection.folder, n_bytes, tmp_path / "said")
        process.join()
        if process.exitcode == 0:
            break
        n_failed += 1
        said = (tmp_path / "said").read_text()
        assert "b could not be added to "[:n_bytes] in said and ("File too large" in said or n_bytes < 500)
        assert tree(collection.folder) == before and not (collection.folder / ".adding").exists()
    assert n_failed > 3 and process.exitcode == 0, "test invalid"
    assert Collection(collection.folder).cases == ["a", "b"]


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder with a data set that nobody may write to, where even root tries as somebody else."""
    folder = Path(tempfile.mkdtemp())
    Collection.create(folder / "new", ending=".tif").add("a", image(1), labels())
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield folder / "new"
    finally:
        if is_root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(stat.S_IRWXU)
        shutil.rmtree(folder)


def test_a_read_only_folder_is_read_and_refuses_to_be_added_to(read_only: Path) -> None:
    collection = Collection(read_only)
    assert collection.load("a").label.any()
    with pytest.raises(OSError, match=r"b could not be added to .*\(Permission denied\): .* make it writable"):
        collection.add("b", image(2), labels())
    with pytest.raises(OSError, match=r"no data set can be made in .*\(Permission denied\): choose another place"):
        Collection.create(read_only.parent / "other")


@forking
def test_a_part_that_is_read_only_is_found_before_anything_changes(collection: Collection, monkeypatch: Any) -> None:
    collection.add("a", image(1), labels())
    before = tree(collection.folder)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "labelsTr")
    with pytest.raises(OSError, match=r"labelsTr is read-only\): free space or make it writable"):
        collection.add("b", image(2), labels())
    assert tree(collection.folder) == before


def test_what_waits_for_its_place_is_said_and_goes_there_later(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def held_open(self: Path, target: Path) -> Path:
        if ".added" in self.parts:
            raise PermissionError(errno.EACCES, "The file is open")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", held_open)
        with pytest.raises(OSError, match=r"files wait in .*\.added .*The file is open.*open it again"):
            collection.add("a", image(1), labels())
    assert Collection(collection.folder).cases == ["a"]


@pytest.mark.parametrize("n_written", [0, 1, 2, 3, 4])
def test_a_new_data_set_that_cannot_be_begun_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    from typer.testing import CliRunner

    from napari_probseg.cli.main import app
    from napari_probseg.io import write

    write(tmp_path / "image.tif", image(1))
    write(tmp_path / "labels.tif", labels().astype(np.uint8), labels=True)
    (tmp_path / "empty").mkdir()
    real, n_calls = Path.write_bytes, 0

    def full(self: Path, content: bytes) -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls <= n_written:
            return real(self, content)
        raise OSError(errno.ENOSPC, "No space left on device")

    for folder in (tmp_path / "new" / "set", tmp_path / "empty"):
        n_calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            asked = ["dataset", "add", str(folder), str(tmp_path / "image.tif"), str(tmp_path / "labels.tif")]
            done = CliRunner().invoke(app, asked)
        assert isinstance(done.exception, OSError) and "No space left" in str(done.exception)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "image.tif", "labels.tif"]
        assert not list((tmp_path / "empty").iterdir())


def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from napari_probseg.cli.main import app
    from napari_probseg.io import write

    write(tmp_path / "image.tif", image(1))
    write(tmp_path / "labels.tif", labels().astype(np.uint8), labels=True)
    folder = tmp_path / "other"
    (folder / "things").mkdir(parents=True)
    asked = ["dataset", "add", str(folder), str(tmp_path / "image.tif"), str(tmp_path / "labels.tif")]
    for create in (lambda: Collection.create(folder), lambda: CliRunner().invoke(app, asked, catch_exceptions=False)):
        with pytest.raises(FileExistsError, match="is not empty: choose a new folder"):
            create()
        assert [path.name for path in folder.rglob("*")] == ["things"]


def test_what_another_program_put_there_meanwhile_stays(tmp_path: Path) -> None:
    folder = tmp_path / "set"

    def fail_late() -> None:
        with begun(folder) as made:
            made.append("dataset.json")
            Collection.create(folder, ["a"], ending=".tif").add("a", image(1), labels())
            raise OSError("later")

    with pytest.raises(OSError, match="later"):
        fail_late()
    assert Collection(folder).cases == ["a"]


def add_by_command(folder: Path, images: Path, name: str) -> None:
    from typer.testing import CliRunner

    from napari_probseg.cli.main import app

    asked = ["dataset", "add", str(folder), str(images / f"{name}.tif"), str(images / "labels.tif")]
    os._exit(CliRunner().invoke(app, asked).exit_code)


@forking
def test_programs_that_begin_a_data_set_at_once_all_add_to_it(tmp_path: Path) -> None:
    from napari_probseg.io import write

    names = ["a", "b", "c"]
    for i, name in enumerate(names):
        write(tmp_path / f"{name}.tif", image(i + 1))
    write(tmp_path / "labels.tif", labels().astype(np.uint8), labels=True)
    for attempt in range(3):
        folder = tmp_path / f"set{attempt}"
        processes = [started(add_by_command, folder, tmp_path, name) for name in names]
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert Collection(folder).cases == names
