"""Engine: a worker process that answers requests, gives them up, dies and is started anew."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from engine_requests import Fail, Look, Process, Tell, UntilStopped, asked, of_tests, rest_of
from napari_probseg.case import Marker
from napari_probseg.engine import images, process, wire
from napari_probseg.engine.client import FELL_BACK, STARTING, Engine
from napari_probseg.engine.images import InFile, OnDemand
from napari_probseg.engine.local import Local
from napari_probseg.engine.models import Model
from napari_probseg.engine.requests import Complete, Found, Live, Propose
from napari_probseg.io.mapped import OnDisk
from napari_probseg.metrics import iou
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.progress import Progress
from napari_probseg.proposers.completion import CutConfig

AXES = (0, 1)


@pytest.fixture(scope="module")
def engine():
    with of_tests() as made:
        yield made


def case_of(image, **kwargs):
    shape = ps.Case(image, **kwargs).shape
    inside, outside = np.zeros(shape, bool), np.zeros(shape, bool)
    inside[(3,) * len(shape)] = outside[(7,) * len(shape)] = True
    return ps.Case(image, **kwargs).mark(inside, outside)


# What travels --------------------------------------------------------------------------------------------------------


def test_what_is_told_comes_in_turn_and_from_another_process(engine):
    result, told = asked(engine, Process())
    assert result != os.getpid() and result == engine.pid
    assert [type(one) for one in told if not isinstance(one, str)] == [Progress] and told[-1].losses == {"loss": 0.5}
    array = np.arange(6).reshape(2, 3)
    result, told = asked(engine, Tell(("one", ("two", array)), {"a": array}))
    assert told[0] == "one"
    np.testing.assert_array_equal(told[1][1], array)
    np.testing.assert_array_equal(result["a"], array)
    result["a"][0, 0] = 9  # it can be written to


def big(shape=(40, 50)):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def mapped(tmp_path, mode="r", **kwargs):
    path = tmp_path / "image.npy"
    np.save(path, big((30, 40, 3)))
    return np.load(path, mmap_mode=mode)


class Lazy:
    """Slices like an array, as dask and zarr do."""

    def __init__(self, data):
        self._data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim

    def __getitem__(self, where):
        return self._data[where]


IMAGES = {
    "in memory": (lambda _: big(), InFile),
    "in Fortran's order": (lambda _: np.asfortranarray(big()), InFile),
    "a view that is turned": (lambda _: big()[::-1, ::2], InFile),
    "bool": (lambda _: big() > 0, InFile),
    "big endian": (lambda _: (100 * big()).astype(">i2"), InFile),
    "mapped": (lambda tmp: mapped(tmp)[..., 1], InFile),
    "mapped and turned": (lambda tmp: mapped(tmp)[::-1, :, 2].T, InFile),
    "mapped, scaled": (lambda tmp: OnDisk(mapped(tmp)[..., 0], 2.0, 1.0), InFile),
    "a copy on write, which may differ from its file": (lambda tmp: mapped(tmp, "c")[..., 1], InFile),
    "lazy": (lambda _: Lazy(big()), OnDemand),
    "masked": (lambda _: np.ma.masked_greater(big(), 1), InFile),
    "mapped, masked": (lambda tmp: np.ma.masked_greater(mapped(tmp)[..., 1], 1), InFile),
    "lazy, masked": (lambda _: Lazy(np.ma.masked_greater(big(), 1)), OnDemand),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_the_same_on_the_other_side(engine, tmp_path, name):
    make, kind = IMAGES[name]
    image = make(tmp_path)
    case = case_of(image)
    assert type(engine._open_images().address(image)) is kind
    (same, seen, partial, strokes, *_), _ = asked(engine, Look(case))
    assert same is case
    for there, here in ((seen, case.read()), (partial, case.partial), (strokes, case.strokes)):
        np.testing.assert_array_equal(there, here)


def test_a_map_that_may_differ_from_its_file_is_copied(engine, tmp_path):
    image = mapped(tmp_path, "c")
    image[:] = 7
    _, seen, *_ = asked(engine, Look(case_of(image, channel_axis=-1)))[0]
    assert (seen == 7).all()


def test_channels_volumes_and_evidence_travel(engine):
    case = case_of(big((12, 14, 16, 2)), spacing=(3.0, 1.0, 1.0), channel_axis=3)
    where = (slice(2, 5), slice(3, 9), slice(4, 8))
    case = case.with_evidence(where, np.full((3, 6, 4), Marker.OBJECT, np.uint8), 0.75).with_sizes([3.5, 8])
    same, seen, partial, _, evidence, expected_dice, sizes = asked(engine, Look(case))[0]
    assert same is case and evidence[0] == where and expected_dice == 0.75 and sizes == (3.5, 8.0)
    np.testing.assert_array_equal(seen, case.read())
    np.testing.assert_array_equal(partial, case.partial)
    np.testing.assert_array_equal(evidence[1], case.evidence[1])


@pytest.mark.parametrize("n", [0, 1, 5])
def test_what_finished_objects_made_background_far_apart_travels_by_pages(engine, n):
    case, one = ps.Case(np.zeros((300, 900), np.uint8)), np.ones((2, 3), np.uint8)
    for at in range(n):
        corner = slice(70 * at, 70 * at + 2), slice((310 * at) % 890, (310 * at) % 890 + 3)
        case = case.with_parts([("partial", corner, one + 1)])
    case = case.mark(one > 0, where=(slice(297, 299), slice(1, 4))) if n == 5 else case
    values, pages = wire._decided(case)
    assert (pages is not None) == (n == 5) and values.size < case.partial.size / 2
    _, _, partial, strokes, *_ = asked(engine, Look(case))[0]
    for there, here in ((partial, case.partial), (strokes, case.strokes)):
        np.testing.assert_array_equal(there, here)


def test_an_image_is_copied_once_and_its_copy_goes_with_it(engine):
    image = big((30, 30))
    for _ in range(2):
        asked(engine, Look(case_of(image)))
    address = engine._open_images().address(image)
    assert Path(address.path).is_file()
    del image
    asked(engine, Look(case_of(big((8, 8)))))  # no case of the image is left on this side
    assert not Path(address.path).exists()


def test_without_room_for_a_copy_regions_are_read_on_demand(engine, monkeypatch):
    monkeypatch.setattr(images, "MAX_SHARE_OF_FREE", 0)
    image = big((9, 9))
    assert isinstance(engine._open_images().address(image), OnDemand)
    np.testing.assert_array_equal(asked(engine, Look(case_of(image)))[0][1], image[None])


def test_an_image_that_cannot_be_read_is_told_of(engine):
    class Broken(Lazy):
        def __getitem__(self, where):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match=r"cannot be read \(the disk is gone\): see whether .* try again"):
        asked(engine, Look(case_of(Broken(big()))))
    assert asked(engine, Tell((), 1))[0] == 1


# What goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "kind"), [("value", ValueError), ("runtime", RuntimeError), ("own", RuntimeError)])
def test_an_error_comes_as_it_is_with_where_it_happened(engine, error, kind):
    with pytest.raises(kind) as caught:
        asked(engine, Fail(error))
    assert str(caught.value) == "no" and "engine_requests.py" in caught.value.__notes__[0]
    assert "torch" not in type(caught.value).__module__


@pytest.mark.parametrize("error", ["memory", "torch"])
def test_without_memory_the_worker_is_started_anew(engine, error):
    before = asked(engine, Process())[0]
    with pytest.raises(MemoryError, match="not enough memory for this: try a smaller region"):
        asked(engine, Fail(error, "CUDA out of memory"))
    assert asked(engine, Process())[0] != before


@pytest.mark.parametrize("where", ["there", "here"])
def test_what_is_told_to_stop_comes_to_its_own_end(engine, where):
    for _ in range(2):  # what was told of the one is not told of the next
        steps = (engine if where == "there" else Local()).answering(UntilStopped())
        while next(steps) != 3:
            pass
        assert (ended := rest_of(steps, "stop"))[0] == "stopped" and ended[1] >= 3


@pytest.mark.parametrize("set_by_person", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_threads_of_a_worker_soon_sleep_where_they_wait_unless_a_person_wants_it_otherwise(monkeypatch, set_by_person):
    """Threads that spin take the core that the window needs, and wait for it all the longer."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_by_person.items():
        monkeypatch.setenv(name, value)
    started = []
    monkeypatch.setattr(process.subprocess, "Popen", lambda command, **options: started.append(options["env"]))
    process._started(sys.stderr)
    assert started[0] == {**({} if set_by_person else process.CALM), **os.environ}


def test_where_no_process_can_be_started_it_is_said_and_done_here(monkeypatch):
    def refused(_):
        raise OSError("no more processes")

    monkeypatch.setattr(process, "_started", refused)
    engine = Engine()
    assert asked(engine, Tell(("told",), 3)) == (3, [STARTING, FELL_BACK, "told"])
    engine.close()


def test_a_worker_that_ends_at_once_is_the_same(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false" if os.name == "posix" else "nothing.exe")
    engine = Engine()
    result, told = asked(engine, Tell((), 3))
    assert result == 3 and FELL_BACK in told
    engine.close()


# What is left --------------------------------------------------------------------------------------------------------


def test_the_key_is_on_no_command_line(engine):
    asked(engine, Process())
    if sys.platform != "linux":
        pytest.skip("there is no /proc")
    command = Path(f"/proc/{engine.pid}/cmdline").read_bytes().split(b"\0")
    assert command[1:4] == [b"-P", b"-m", b"napari_probseg.engine"] and not any(command[4:])


def ends(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
            if sys.platform == "linux" and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(os.name != "posix", reason="a process cannot be looked for without harm")
def test_a_script_is_run_once_and_a_killed_one_leaves_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "print('begun', flush=True)\n"
        "from napari_probseg.engine.client import Engine\n"
        "from napari_probseg.engine.requests import WarmUp\n"
        "engine = Engine()\n"
        "for _ in engine.answering(WarmUp(None, None, 'cpu')): pass\n"
        "print(engine.pid, *engine._images.folders, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    begun_, rest = done.stdout.splitlines()
    pid, *folders = rest.split()
    assert begun_ == "begun" and ends(int(pid))
    for folder in folders:
        assert not Path(folder).exists()


def test_a_worker_whose_window_went_before_it_was_asked_ends_too():
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "napari_probseg.engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with worker, tempfile.TemporaryDirectory() as folder:
        worker.stdin.write(f"{os.urandom(32).hex()} {os.fsencode(folder).hex()}\n".encode())
        worker.stdin.flush()
        assert worker.stdout.readline(), "it listens"
        worker.stdin.close()
        assert worker.wait(60) == 0


@pytest.mark.skipif(os.name != "posix", reason="a process cannot be looked for without harm")
def test_what_killed_processes_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_places", lambda: [tmp_path])
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    abandoned, own = (tmp_path / f"napari-probseg-engine-{pid}-abc" for pid in (gone.pid, os.getpid()))
    abandoned.mkdir()
    own.mkdir()
    images.remove_abandoned_folders()
    assert not abandoned.exists() and own.exists()


# What it is for ------------------------------------------------------------------------------------------------------


def disk_case():
    truth = np.hypot(*(np.indices((96, 96)) - 40)) <= 18
    image = (truth + np.random.default_rng(0).normal(0, 0.2, truth.shape)).astype(np.float32)
    inside, outside = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    inside[36:44, 36:44] = outside[75:80, 70:80] = True
    return ps.Case(image).mark(inside, outside)


@pytest.mark.parametrize("how", [{}, {"smoothness": 40.0, "edges": 0.7}], ids=["as usual", "smoother"])
def test_it_gives_the_masks_of_a_script(engine, how):
    case, here = disk_case(), Local()
    cut = CutConfig(everywhere=False, **how)
    first = Complete(case, Model(), None, CutConfig(everywhere=False), AXES, "cpu")
    others = Propose(case, Model(), {"n": 3, "seed": 2, "plane": None}, 1.0, AXES, "cpu")
    both = Live(first, others).cut_as(cut, AXES)
    found, told = asked(engine, both)
    early = [one for one in told if isinstance(one, Found)]
    again, _ = asked(here, both)
    assert {name: found.options.get(name) for name in ("smoothness", "edges")} == {
        "smoothness": None,
        "edges": None,
    } | how
    script = ps.load_proposer(device="cpu").propose(case, 3, seed=2, **how)
    np.testing.assert_array_equal(found.candidates.patches, script.patches)
    np.testing.assert_array_equal(again.candidates.patches, script.patches)
    assert found.candidates.case is case and len(found.exhibit.pictures) == len(script)
    completed = ps.load_completer(device="cpu").propose(case, everywhere=False, **how)
    np.testing.assert_array_equal(early[0].candidates.patches, completed.patches)
    objects = [one.accept(0).partial == ps.Marker.OBJECT for one in (script, completed)]
    assert iou(*objects) > 0.99, "the first is the completion"


@pytest.mark.parametrize("in_volume", [False, True])
def test_other_ways_to_go_on_begin_with_the_answer_that_was_given(monkeypatch, in_volume):
    flat, plane = disk_case(), (0, 1) if in_volume else None
    case = flat
    if in_volume:
        volume = np.stack([flat.image] * 3)
        markers = [np.stack([0 * m, m, 0 * m]) for m in (flat.partial, flat.strokes)]
        case = ps.Case(volume).with_markers(*markers)
    n_looks = 0
    looks = AdvisedCVAE.features

    def counted(network, x):
        nonlocal n_looks
        n_looks += len(x)
        return looks(network, x)

    monkeypatch.setattr(AdvisedCVAE, "features", counted)
    first = Complete(case, Model(), plane, CutConfig(everywhere=False), AXES, "cpu")
    others = Propose(case, Model(), {"n": 3, "seed": 2, "plane": plane}, 1.0, AXES, "cpu")
    asked(Local(), first)
    n_first, n_looks = n_looks, 0
    found, _ = asked(Local(), Live(first, others))
    assert n_looks == n_first > 0
    alone, _ = asked(Local(), others)
    np.testing.assert_array_equal(found.candidates.patches, alone.candidates.patches)
    assert found.options == alone.options
    assert n_looks == 2 * n_first


def test_a_completion_is_looked_at_once_and_cut_often(engine):
    case = disk_case()
    looked = [
        asked(engine, Complete(case, Model("intensities"), None, CutConfig(smoothness), AXES, "cpu"))[0]
        for smoothness in (0.0, 8.0)
    ]
    local = Local()
    n_looks = 0

    class Counted:
        def complete(self, case):
            nonlocal n_looks
            n_looks += 1
            return ps.load_completer("intensities").complete(case)

    counted = Counted()
    for smoothness, other in zip((0.0, 8.0), looked, strict=True):
        mine, _ = asked(local, Complete(case, counted, None, CutConfig(smoothness), AXES, "cpu"))
        np.testing.assert_array_equal(mine.candidates.patches, other.candidates.patches)
    assert n_looks == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there a program needs another ending than a script")
def test_a_worker_that_hangs_as_it_starts_is_given_up(monkeypatch, tmp_path):
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(hanging))
    monkeypatch.setattr(process, "START_SECONDS", 0.2)
    with pytest.raises(OSError, match="the worker did not start"):
        process.WorkerProcess([tmp_path])
