"""The dataset that finished images are added to."""

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
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.labelled import fingerprint
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.dataset.split import held_out_of
from napari_probseg.io import Picture
from napari_probseg.io.atomic import locked

FLAT, DEEP = (12, 15), (5, 12, 15)
N_KILLS = int(os.environ.get("PROBSEG_KILLS", "30"))
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def image(seed: object, shape: tuple[int, ...] = FLAT) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(list(str(seed).encode()))
    return rng.integers(0, 255, shape).astype(np.uint8)


def labels(shape: tuple[int, ...] = FLAT, value: int = 1) -> np.ndarray[Any, Any]:
    drawn = np.zeros(shape, dtype=np.int64)
    drawn[..., 3:8, 4:9] = value
    return drawn


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection.create(tmp_path / "Dataset700_Test", ["cell", "nucleus"], ending=".tif")


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


# Crashes and other writers --------------------------------------------------------------------------------------------


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


MOMENTS = ("mkdir", "write_bytes", "replace", "rename", "unlink")


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


# Bad input ------------------------------------------------------------------------------------------------------------


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
        ({"name": "b", "image": image(2, (*FLAT, 3)), "channel_axis": 2}, r"have 1 channels \(image\), this one has 3"),
        ({"labels": labels((12, 14))}, r"the image's shape \(12, 15\), got \(12, 14\)"),
        ({"labels": labels() * 0.5}, "whole numbers from 0, got float64"),
        ({"labels": -labels()}, "whole numbers from 0, got int64 from -1"),
        ({"like": Picture(image(1, (9, 9)), "YX", (1.0, 1.0))}, r"shape of like, \(9, 9\), got \(12, 15\)"),
        ({"like": Picture(image(1), "YX", (1.0, 1.0)), "spacing": (1, 1)}, "leave out spacing"),
        ({"spacing": (7, 7)}, r"with a spacing of \(0.5, 0.5\) mm, now it came with \(7.0, 7.0\): correct"),
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
