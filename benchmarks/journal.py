"""What is lost when napari is killed, sequences of steps that are taken back, and what a journal costs.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/journal.py kills 100
    python benchmarks/journal.py sequences 10000
    python benchmarks/journal.py cost
    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/journal.py widgets 500

The killed window goes on with the work of the one killed before it, as a user would.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TextIO

import numpy as np

import napari_probseg as ps

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes import GrowingProposer

SIDE = 160


def image() -> np.ndarray:
    return np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)


def digest(session: ps.Session) -> str:
    """Return a short hash of everything that a session decides."""
    parts = (session.case.partial, session.case.strokes, session.objects)
    return blake2b(b"".join(np.ascontiguousarray(part).tobytes() for part in parts), digest_size=8).hexdigest()


# The window that is killed ----------------------------------------------------------------------------------------


def window(folder: Path, seed: int) -> None:
    """Work at random in a real window until killed; tell each thing that was done, and the state after it."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_probseg.widgets.segment import recovery
    from napari_probseg.widgets.segment.widget import SegmentWidget

    recovery.settings_folder = lambda: folder
    viewer = napari.Viewer()
    viewer.add_image(image(), name="noise")
    widget = SegmentWidget(viewer, GrowingProposer())
    viewer.window.add_dock_widget(widget, name="Segment")
    work, panel, rng = widget.work, widget.panel, np.random.default_rng(seed)

    def until(done: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.perf_counter() + seconds
        while not done() and time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.001)

    def at_work() -> ps.Session:
        assert work.session is not None
        return work.session

    def told() -> tuple[int, int]:
        return len(at_work().steps), len(at_work().undone)

    def has_moved(before: tuple[int, int]) -> bool:
        return told() != before

    until(lambda: not work.recovery.is_pending or bool(work.question))
    if work.question:
        panel.question.go_on.click()
        until(lambda: work.session is not None)
        print("recovered", digest(at_work()), flush=True)
    panel.inside.click()
    while True:
        before, session = told(), at_work()
        act = rng.choice(["inside", "outside", "accept", "accept", "finish", "undo", "undo", "redo"])
        if act in ("inside", "outside"):
            getattr(panel, act).click()
            open_ones = np.argwhere(session.objects == 0)
            at = tuple(int(i) for i in open_ones[rng.integers(len(open_ones))])  # what is finished is locked
            assert work.layers is not None
            work.layers.markers.paint(at, 1 if act == "inside" else 2)
            until(partial(has_moved, before), 2)
        elif act == "accept":
            panel.propose.click()
            until(lambda: not work.asking.is_busy)
            if work.candidates is not None:
                panel.accept.click()
        else:
            getattr(panel, act).click()
        QApplication.processEvents()
        if told() != before:
            verb = act if act in ("undo", "redo") else session.steps[-1].verb
            print(verb, time.time(), digest(session), flush=True)


def forked_window(folder: Path, seed: int) -> tuple[int, TextIO]:
    """Begin a window in a process of its own; napari, which takes long to import, was imported before."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, os.fdopen(read)
    os.dup2(write, 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        window(folder, seed)
    finally:
        os._exit(1)  # whatever happens, it is not to go on as its parent


def kills(n: int) -> None:
    import napari  # noqa: F401

    import napari_probseg.widgets.segment.widget  # noqa: F401
    from napari_probseg.session.journal import journals_in
    from napari_probseg.session.journal.records import records_of

    rng = np.random.default_rng(1)
    n_told = n_lost = n_late = n_accepted = n_wrong = n_steps = 0
    oldest = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder, offset, last = Path(place), 0, ""
        for i in range(n):
            child, output = forked_window(folder, i)
            lines = [output.readline()]
            time.sleep(rng.uniform(0.0, 3.0))
            os.kill(child, signal.SIGKILL)
            killed = time.time()
            os.waitpid(child, 0)
            with output:
                lines += output.readlines()
            events = [line.split() for line in lines if line.endswith("\n")]
            if events and events[0][0] == "recovered":
                n_wrong += last not in ("", events[0][1])
                events = events[1:]
            (path,) = journals_in(folder)
            with path.open("rb") as file:
                file.readline()
                n_records = sum(1 for _ in records_of(file)) - 1 - offset
            session = ps.Session.load(path, image())
            lost = events[n_records:]
            n_told, n_lost, n_steps = n_told + len(events), n_lost + len(lost), len(session.steps)
            n_accepted += sum(event[0] in ("accept", "finish") for event in lost)
            ages = [killed - float(event[1]) for event in lost]
            n_late, oldest = n_late + sum(age > 1 for age in ages), max([oldest, *ages])
            if 0 < n_records <= len(events):
                n_wrong += events[n_records - 1][2] != digest(session)
            last, offset = digest(session), offset + n_records
            if i % 10 == 9:
                print(f"{i + 1} kills: {n_told} steps told of, {n_lost} lost, {n_wrong} states wrong", flush=True)
    print(f"{n} kills of the window in {n_told} steps that were told of, {n_steps} of them standing at the end:")
    print(f"  lost: {n_lost}, {n_late} of them older than 1 s (the oldest {oldest:.2f} s), {n_accepted} accepted ones")
    print(f"  recovered in another state than they were told in: {n_wrong}")


# Sequences --------------------------------------------------------------------------------------------------------


def sequences(n: int) -> None:
    """Run random sequences of steps, each with a journal, going back and forth, saving and loading."""
    n_steps = n_wrong = 0
    volume = np.random.default_rng(0).random((4, 20, 20))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed in range(n):
            session, states = sequence(np.random.default_rng(seed), volume)
            n_steps += len(states)
            journal = session.keep(folder / f"{seed}.journal") if seed % 10 == 0 and session.steps else None
            n_done, here = len(session.steps), digest(session)
            session.save(folder / "work.npz")
            again = ps.Session.load(folder / "work.npz", volume)
            n_wrong += digest(again) != here
            for one in (session, again):
                for expected in states[n_done - 1 :: -1] if n_done else ():
                    one.undo()
                    n_wrong += digest(one) != expected
                for expected in states[1 : n_done + 1]:
                    one.redo()
                    n_wrong += digest(one) != expected
            if journal is not None:
                journal.flush()
                n_wrong += digest(ps.Session.load(journal.path, volume)) != here
                journal.remove()
    print(f"{n} sequences, {n_steps} states: {n_wrong} of them came back otherwise")


def sequence(rng: np.random.Generator, volume: np.ndarray) -> tuple[ps.Session, list[str]]:
    """Return a session after random steps, and its state after each that stands."""
    session = ps.Session(ps.Case(volume, spacing=(2, 1, 1)), GrowingProposer())
    states = [digest(session)]
    for _ in range(rng.integers(3, 14)):
        act = rng.choice(["mark", "mark", "propose", "finish", "reopen", "take", "undo", "redo"])
        try:
            if act == "mark":
                where = tuple(_any_slice(rng, size) for size in volume.shape)
                drawn = rng.integers(0, 6, volume[where].shape)
                session.mark(drawn == 1, drawn == 2, erase=drawn == 3, where=where)
            elif act == "propose":
                plane = None if rng.random() < 0.5 else (0, int(rng.integers(4)))
                session.propose(3, plane=plane)
                session.accept(int(rng.integers(3)))
            elif act == "take":
                session.take(rng.integers(0, 2, volume.shape) * (rng.random(volume.shape) < 0.05))
            elif act == "reopen":
                session.reopen(int(rng.integers(1, 4)))
            else:
                getattr(session, act)()
        except (ValueError, RuntimeError):
            pass  # what cannot be done changes nothing, which the states tell
        n = len(session.steps)
        states = [*states[:n], digest(session)] if act != "undo" else states[: n + 1]
        assert digest(session) == states[n]
    return session, states


def _any_slice(rng: np.random.Generator, size: int) -> slice:
    first, last = (None if rng.random() < 0.3 else int(rng.integers(-size - 2, size + 3)) for _ in range(2))
    steps = (None, 1, 2, 3, -1, -2)
    return slice(first, last, steps[rng.integers(len(steps))])


# Cost -------------------------------------------------------------------------------------------------------------


def cost() -> None:
    for apart in (60, 280):
        cost_of_strokes(apart)


def cost_of_strokes(apart: int) -> None:
    """Measure strokes that lie within so many voxels of one another along each axis."""
    shape = (300, 512, 512)
    session = ps.Session(ps.Case(np.zeros(shape, np.uint8)))
    rng = np.random.default_rng(0)
    ball = np.linalg.norm(np.indices((1, 13, 13)) - np.array([0, 6, 6])[:, None, None, None], axis=0) <= 6
    with tempfile.TemporaryDirectory() as place:
        journal = session.keep(Path(place) / "work.journal")
        here, flushed, without = [], [], []
        for i in range(60):
            z, y, x = (int(n // 2 + rng.integers(-apart // 2, apart // 2)) for n in shape)
            where = (slice(z, z + 1), slice(y, y + 13), slice(x, x + 13))
            if i % 2:
                session.journal = None
            begin = time.perf_counter()
            session.mark(ball, where=where)
            took = time.perf_counter() - begin
            session.journal = journal
            if i % 2:
                without.append(took)
                journal.did(session.steps[-1], 0)
            else:
                here.append(took)
            begin = time.perf_counter()
            journal.flush()
            flushed.append(time.perf_counter() - begin)
        size = journal.path.stat().st_size
        begin = time.perf_counter()
        ps.Session.load(journal.path, session.case.image)
        load = time.perf_counter() - begin
        journal.close()
    ms = [1000 * float(np.median(times)) for times in (here, without, flushed)]
    print(f"strokes of 13 voxels on {shape}, within {apart} voxels of one another:")
    print(f"  {ms[0]:.1f} ms with a journal, {ms[1]:.1f} ms without (median)")
    print(f"  on the disk after {ms[2]:.1f} ms (median; at most {1000 * max(flushed):.1f} ms), in a thread")
    n_voxels = int(np.prod(shape))
    print(f"  {size / 60:.0f} bytes a stroke; 60 strokes take {100 * size / n_voxels:.3f} % of the volume")
    print(f"  read again in {load:.2f} s")


# Widget sequences -------------------------------------------------------------------------------------------------


def widgets(n: int) -> None:
    """Run random sequences of acts on two images in the widget: the stateful test of the suite, at length."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test
    from qtpy.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    from test_widget_stateful import Window

    logging.disable(logging.WARNING)  # what is refused is part of it
    began = time.perf_counter()
    asked = settings(
        max_examples=n,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    run_state_machine_as_test(Window, settings=asked)
    print(f"{n} sequences of up to 25 acts in the widget in {time.perf_counter() - began:.0f} s: every one as expected")
    del application


PROGRAMS: tuple[Callable[..., None], ...] = (kills, sequences, cost, widgets)

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "window":
        window(Path(arguments[0]), int(arguments[1]))
    else:
        {program.__name__: program for program in PROGRAMS}[command](*map(int, arguments))
