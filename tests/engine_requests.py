"""Requests to an engine that do what a test needs, in the process of a worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from napari_probseg.case import Case
from napari_probseg.engine.client import Engine
from napari_probseg.progress import Progress


@contextmanager
def of_tests(warm_up=None):
    """Return an engine whose worker knows these requests, until it is not needed any more."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    made = Engine(warm_up)
    yield made
    made.close()
    os.environ["PYTHONPATH"] = before


def asked(engine, request):
    """Return what came of a request, and what was told before."""
    steps, told = engine.answering(request), []
    while True:
        try:
            one = next(steps)
        except StopIteration as stop:
            return stop.value, told
        if one is not None:
            told.append(one)


def rest_of(steps, sent):
    """Send something to what is at work, and return what comes of it in the end."""
    try:
        steps.send(sent)
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def begun(engine, request, sentence):
    """Put a request and return it once it is at work."""
    steps = engine.answering(request)
    while next(steps) != sentence:
        pass
    return steps


@dataclass(frozen=True, eq=False)
class Import:
    """Imports a module, which is made to take its time; returns what that holds."""

    folder: str
    name: str = "slow_to_import"

    def answer(self, _):
        yield "importing"
        Path(self.folder, "parts").mkdir(parents=True, exist_ok=True)
        part = (
            "from pathlib import Path; import time; Path(__file__).with_name('begun').touch(); time.sleep(0.5)\nx = 1"
        )
        Path(self.folder, f"{self.name}.py").write_text("import parts.slow", encoding="utf-8")
        Path(self.folder, "parts", "slow.py").write_text(part, encoding="utf-8")
        sys.path.insert(0, self.folder)
        __import__(self.name)
        return sys.modules["parts"].slow.x


@dataclass(frozen=True, eq=False)
class Tell:
    """Yields some things and returns another."""

    told: tuple
    result: object = None

    def answer(self, resources):
        yield from self.told
        return self.result


@dataclass(frozen=True, eq=False)
class Process:
    """Returns the number of the process, and whether torch was imported there."""

    def answer(self, resources):
        yield Progress(1, 2, {"loss": 0.5})
        return os.getpid()


@dataclass(frozen=True, eq=False)
class Look:
    """Returns the case itself, its image as it is read there, and the markers."""

    case: Case

    def answer(self, resources):
        yield ""
        case = self.case
        return case, case.read(), case.partial, case.strokes, case.evidence, case.expected_dice, case.sizes


@dataclass(frozen=True, eq=False)
class Fail:
    """Raises an error."""

    error: str
    sentence: str = "no"

    def answer(self, resources):
        import torch

        yield ""
        raise {
            "torch": torch.cuda.OutOfMemoryError,
            "runtime": RuntimeError,
            "value": ValueError,
            "memory": MemoryError,
            "own": OwnError,
        }[self.error](self.sentence)


class OwnError(RuntimeError):
    """An error that no other process knows."""


@dataclass(frozen=True, eq=False)
class End:
    """Ends the worker."""

    by: int = signal.SIGKILL

    def answer(self, resources):
        yield "now"
        os.kill(os.getpid(), self.by)
        time.sleep(60)


@dataclass(frozen=True, eq=False)
class Spin:
    """Works on and on, step by step, and lets nobody catch it."""

    def answer(self, resources):
        yield "spinning"
        while True:
            with suppress(Exception):
                sum(range(1000))


@dataclass(frozen=True, eq=False)
class Hang:
    """Does one thing that takes long and cannot be given up; it makes a file as it begins that."""

    path: str

    def answer(self, resources):
        yield "hanging"
        Path(self.path).touch()
        time.sleep(60)


@dataclass(frozen=True, eq=False)
class UntilStopped:
    """Goes on until it is told to come to an end, and says how far it was."""

    def answer(self, resources):
        n = 0
        while not resources.stop.wait(0.01):
            n += 1
            yield n
        return "stopped", n


@dataclass(frozen=True, eq=False)
class Load:
    """Loads something, which cannot be given up; it makes a file as it begins that."""

    path: str

    def answer(self, resources):
        yield "loading"
        resources._alone(self._load)
        yield "loaded"

    def _load(self):
        Path(self.path).touch()
        time.sleep(1)


@dataclass(frozen=True, eq=False)
class Swallow:
    """Works on and on, half of the time where Python swallows what is raised."""

    def answer(self, resources):
        yield "spinning"

        class Ends:
            def __del__(self):
                _work(0.02)

        while True:
            ended = Ends()
            del ended
            _work(0.02)


def _work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
