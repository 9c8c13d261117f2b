"""A folder of images completed in batch."""

import functools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_probseg as ps
from drawn import disk
from napari_probseg import batch
from napari_probseg.batch import BatchConfig, Job, complete_all, jobs_of
from napari_probseg.cli.main import app
from napari_probseg.io.atomic import locked
from napari_probseg.io.made_with import MADE_WITH
from napari_probseg.morphology import ball
from napari_probseg.progress import Fate, Outcome, report_of

SHAPE = (40, 50)
WITHOUT_NETWORK = BatchConfig(weights="intensities")


def truth(i: int) -> np.ndarray[Any, Any]:
    return disk(SHAPE, (20, 18 + i), 10)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Five images of a disk with strokes, and what else lies about in a folder."""
    paths = {name: tmp_path / name for name in ("images", "inside", "outside", "out")}
    for i in range(5):
        noise = np.random.default_rng(i).normal(0, 5, SHAPE)
        ps.write(paths["images"] / f"{i}.tif", (60 + 90 * truth(i) + noise).astype(np.float32), spacing=(0.5, 0.5))
        ps.write(paths["inside"] / f"{i}.png", ball(SHAPE, (20, 18 + i), 3, np.ones(2)))
        ps.write(paths["outside"] / f"{i}.png", ball(SHAPE, (5, 45), 3, np.ones(2)))
    (paths["images"] / "notes.txt").write_text("not an image")
    (paths["images"] / ".3.tif.99.part").write_text("half")
    return paths


def jobs(folders: dict[str, Path]) -> list[Job]:
    return jobs_of(folders["images"], folders["out"], inside=folders["inside"], outside=folders["outside"])


def fates(outcomes: Any) -> dict[str, Fate]:
    return {outcome.name: outcome.fate for outcome in outcomes}


def test_every_image_is_completed_where_it_lies(folders: dict[str, Path]) -> None:
    assert set(fates(complete_all(jobs(folders), WITHOUT_NETWORK)).values()) == {Fate.DONE}
    for i in range(5):
        result = ps.read(folders["out"] / f"{i}.tif")
        assert ps.metrics.dice(np.asarray(result.data) > 0, truth(i)) > 0.95
        assert result.spacing == pytest.approx((0.5, 0.5))


def test_what_is_done_is_left_and_the_rest_goes_on(folders: dict[str, Path]) -> None:
    half_way = complete_all(jobs(folders), WITHOUT_NETWORK)
    next(half_way), next(half_way)
    half_way.close()
    before = {path.name: path.stat().st_mtime_ns for path in folders["out"].glob("*.tif")}
    assert sorted(before) == ["0.tif", "1.tif"]
    (folders["out"] / ".2.tif.77.part").write_text("half")
    again = fates(complete_all(jobs(folders), WITHOUT_NETWORK))
    assert list(again.values()) == [Fate.THERE] * 2 + [Fate.DONE] * 3
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in folders["out"].glob("*.tif")}.items()
    assert not list(folders["out"].glob("*.part"))


def test_a_result_that_is_older_than_what_it_was_made_from_is_named_and_left(folders: dict[str, Path]) -> None:
    first = list(complete_all(jobs(folders), WITHOUT_NETWORK))
    assert not any("changed" in outcome.message for outcome in complete_all(jobs(folders), WITHOUT_NETWORK))
    result, strokes = folders["out"] / "1.tif", folders["inside"] / "1.png"
    before, later = result.read_bytes(), result.stat().st_mtime + 10
    os.utime(strokes, (later, later))
    again = {outcome.name: outcome for outcome in complete_all(jobs(folders), WITHOUT_NETWORK)}
    assert len(first) == 5 and all(outcome.fate is Fate.THERE for outcome in again.values())
    assert again["1.tif"].message == f"made before {strokes} changed: remove it to have it made anew"
    assert [name for name, outcome in again.items() if outcome.message] == ["1.tif"]
    assert result.read_bytes() == before


def test_a_result_that_was_made_otherwise_is_named_and_left(folders: dict[str, Path]) -> None:
    list(complete_all(jobs(folders)[:1], WITHOUT_NETWORK))
    smoother = replace(WITHOUT_NETWORK, smoothness=5.0)
    others = [outcome.message for outcome in complete_all(jobs(folders), smoother)]
    assert others[0] == "made with smoothness 1.0, not 5.0: remove it to have it made anew"
    assert not any("made with" in message for message in others[1:])
    inside_alone = jobs_of(folders["images"], folders["out"], inside=folders["inside"])
    again = [outcome.message for outcome in complete_all(inside_alone, smoother)]
    outside = folders["outside"] / "0.png"
    assert again[0] == f"made with outside {outside}, not None, smoothness 1.0, not 5.0: remove it to have it made anew"
    (folders["out"] / MADE_WITH).write_text("damaged")
    assert not any(outcome.message for outcome in complete_all(jobs(folders), smoother)), (
        "what is not known is not told"
    )


@pytest.mark.parametrize("wrong", [{"smoothness": -1.0}, {"edges": 0.0}, {"weights": "nothing"}])
def test_what_no_image_can_be_completed_with_is_told_once(folders: dict[str, Path], wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=r"must be a number|there are no weights 'nothing'"):
        list(complete_all(jobs(folders), replace(WITHOUT_NETWORK, **wrong)))
    assert not folders["out"].exists()


def test_one_bad_file_is_named_and_the_rest_goes_on(folders: dict[str, Path]) -> None:
    (folders["images"] / "1.tif").write_bytes(b"no image")
    (folders["inside"] / "2.png").unlink()
    (folders["outside"] / "2.png").unlink()
    ps.write(folders["inside"] / "3.png", np.ones((4, 4), dtype=np.uint8))
    found = {o.name: o for o in complete_all(jobs(folders), WITHOUT_NETWORK)}
    assert "1.tif is damaged" in found["1.tif"].message
    assert "there is no stroke yet" in found["2.tif"].message
    assert "shape" in found["3.tif"].message
    assert [found[f"{i}.tif"].fate for i in (0, 4)] == [Fate.DONE] * 2
    assert sorted(path.name for path in folders["out"].glob("*.*")) == [".lock", MADE_WITH, "0.tif", "4.tif"]


def test_a_completer_that_knows_its_objects_needs_no_strokes(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bright:
        def propose(self, case: ps.Case, **_: Any) -> ps.Candidates:
            patch = np.where(case.read()[0] > 105, np.uint8(ps.Marker.OBJECT), np.uint8(ps.Marker.BACKGROUND))[None]
            whole, one = tuple(slice(0, n) for n in case.shape), np.ones(1, dtype=np.float32)
            return ps.Candidates(case, whole, patch, one, one, np.ones(case.shape, dtype=np.float32))

    monkeypatch.setattr("napari_probseg.proposers.load_completer", lambda *_, **__: Bright())
    found = fates(complete_all(jobs_of(folders["images"], folders["out"]), BatchConfig("mine.safetensors")))
    assert set(found.values()) == {Fate.DONE}
    np.testing.assert_array_equal(ps.read(folders["out"] / "0.tif").data > 0, truth(0))


def test_a_cluster_does_the_same(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    in_threads = functools.partial(distributed.LocalCluster, processes=False)  # a process takes seconds to start
    monkeypatch.setattr(distributed, "LocalCluster", in_threads)
    (folders["images"] / "1.tif").write_bytes(b"no image")
    with batch.cluster(n_workers=2) as client:
        found = fates(complete_all(jobs(folders), WITHOUT_NETWORK, client=client))
        assert sorted(found) == [f"{i}.tif" for i in range(5)]
        assert [name for name, fate in found.items() if fate is Fate.FAILED] == ["1.tif"]
        with batch.cluster(scheduler=client.scheduler.address) as other:
            again = fates(complete_all(jobs(folders), WITHOUT_NETWORK, client=other))
        assert list(again.values()).count(Fate.THERE) == 4
    with batch.cluster() as client:
        assert client is None, "without workers it is done here"


def test_a_worker_that_dies_is_told(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Future:
        def exception(self) -> Exception:
            return MemoryError("killed")

    class Client:
        def map(self, do: Any, jobs: Any, **_: Any) -> list[Future]:
            return [Future() for _ in jobs]

        def cancel(self, futures: Any) -> None:
            self.cancelled = futures

    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    monkeypatch.setattr(distributed, "as_completed", lambda futures: futures)
    client = Client()
    found = list(complete_all(jobs(folders), WITHOUT_NETWORK, client=client))
    assert len(found) == len(client.cancelled) == 5
    assert all(outcome.fate is Fate.FAILED and "killed" in outcome.message for outcome in found)


def test_two_do_not_fill_one_folder(folders: dict[str, Path]) -> None:
    folders["out"].mkdir()
    with locked(folders["out"]), pytest.raises(TimeoutError, match="another program is writing to"):
        list(complete_all(jobs(folders), WITHOUT_NETWORK))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": "nothing"}, "there is no folder .*nothing"),
        ({"inside": "nothing"}, "there is no folder .*nothing"),
        ({"images": "empty"}, "holds no image that can be read: their names end in .nii.gz"),
        ({"out": "images"}, "among what they come from: name another"),
        ({"out": "inside"}, "among what they come from: name another"),
        ({"images": "twice"}, "has both a.png and a.tif"),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    folders: dict[str, Path], tmp_path: Path, changed: dict[str, str | None], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    for ending in ("png", "tif"):
        ps.write(tmp_path / "twice" / f"a.{ending}", truth(0))
    given = folders | {name: to and tmp_path / to for name, to in changed.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        jobs(given)  # type: ignore[arg-type]


def arguments(folders: dict[str, Path]) -> list[str]:
    marks = [f"--{name}={folders[name]}" for name in ("inside", "outside")]
    return ["complete", str(folders["images"]), str(folders["out"]), *marks, "--weights", "intensities"]


def test_the_command_tells_each_and_counts_them(folders: dict[str, Path]) -> None:
    (folders["images"] / "1.tif").write_bytes(b"no image")
    result = CliRunner().invoke(app, arguments(folders))
    assert "1/5 0.tif: done, " in result.output and "2/5 1.tif: failed, " in result.output
    assert result.exit_code == 1 and "4 done, 1 failed: mend what is named above" in str(result.exception)
    (folders["images"] / "1.tif").unlink()
    result = CliRunner().invoke(app, arguments(folders))
    assert result.exit_code == 0 and result.output.splitlines()[-1] == "4 there already"


def test_killed_at_any_moment_no_half_file_is_left(folders: dict[str, Path]) -> None:
    first, *_ = whole = [folders["out"] / f"{i}.tif" for i in range(5)]
    process = subprocess.Popen([sys.executable, "-m", "napari_probseg.cli", *arguments(folders)])
    end = time.monotonic() + 60
    while not first.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    process.wait()
    there = [path for path in whole if path.exists()]
    assert there, "test invalid"
    for path in there:
        assert np.asarray(ps.read(path).data).any()
    assert set(fates(complete_all(jobs(folders), WITHOUT_NETWORK)).values()) <= {Fate.DONE, Fate.THERE}
    assert sorted(path.name for path in folders["out"].iterdir()) == [
        ".lock",
        MADE_WITH,
        *(f"{i}.tif" for i in range(5)),
    ]


def test_nothing_to_do_is_said() -> None:
    assert list(report_of([], 0)) == ["there is nothing to do"]
    assert str(Outcome("a", Fate.DONE)) == "a: done"
