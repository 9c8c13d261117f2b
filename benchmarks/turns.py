"""Turns of the event loop: how long each took, how long of it Qt drew the window, and where Python was meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

TOO_LONG = 0.05  # seconds
PARTS_OF_TURN = "clock", "rest", "processor"


class Turn(NamedTuple):
    """How long a turn of the event loop took, in seconds."""

    clock: float
    drawing: float  # of it, until Qt had drawn the window anew
    processor: float  # of the window's thread

    @property
    def rest(self) -> float:
        return self.clock - self.drawing


class Application(QApplication):
    """Notes how long it draws its windows, and when it has drawn one last."""

    drawing = drawn = 0.0

    def notify(self, receiver: Any, event: Any) -> bool:
        if event.type() != QEvent.Type.UpdateRequest:
            return super().notify(receiver, event)
        begun = time.perf_counter()
        is_handled = super().notify(receiver, event)
        self.drawn = time.perf_counter()
        self.drawing += self.drawn - begun
        return is_handled


class Tracer:
    """Looks every millisecond where the thread that made it is in Python, and tells of turns that were too long.

    Parameters
    ----------
    deepest : int
        How many functions are told of a place, from the one that Qt called.
    """

    def __init__(self, deepest: int = 40) -> None:
        self._deepest, self._thread = deepest, threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._samples: deque[tuple[float, float, tuple[str, ...]]] = deque(maxlen=20_000)
        self.told: list[str] = []
        self.doing = ""
        sys.setswitchinterval(0.0005)
        threading.Thread(target=self._look, daemon=True).start()

    def note(self, begun: float, found: Turn) -> None:
        """Tell where a turn went that began then, if it was too long."""
        if found.clock < TOO_LONG and found.processor < TOO_LONG:
            return
        took = " ".join(f"{name} {1000 * getattr(found, name):.0f}" for name in (*PARTS_OF_TURN, "drawing"))
        self.told.append(f"== {self.doing}: {took}")
        weights, before = Counter[tuple[str, ...]](), None
        for at, busy, stack in list(self._samples):
            if begun <= at <= begun + found.clock:
                if before is not None:
                    weights[stack] += round(1e6 * (busy - before))
                before = busy
        self._tell(weights, 0)

    def _tell(self, weights: Counter[tuple[str, ...]], depth: int) -> None:
        """Tell the calls at some depth that took 3 ms of the processor or more, each with those it made."""
        within: dict[str, Counter[tuple[str, ...]]] = {}
        for stack, weight in weights.items():
            if len(stack) > depth:
                within.setdefault(stack[depth], Counter())[stack] += weight
        for name, part in sorted(within.items(), key=lambda item: -item[1].total()):
            if part.total() >= 3000 and depth < self._deepest:
                self.told.append(f"{part.total() / 1000:7.1f} {'  ' * depth}{name}")
                self._tell(part, depth + 1)

    def _look(self) -> None:
        while True:
            frame, stack = sys._current_frames().get(self._thread), []
            while frame is not None:
                code = frame.f_code
                stack.append(f"{code.co_qualname} {'/'.join(code.co_filename.split('/')[-2:])}:{frame.f_lineno}")
                frame = frame.f_back
            self._samples.append((time.perf_counter(), time.clock_gettime(self._clock), tuple(reversed(stack))))
            time.sleep(0.001)


tracer: Tracer | None = None


def trace() -> Tracer:
    """Begin to look where long turns go."""
    global tracer
    tracer = Tracer()
    return tracer


def begin(what: str) -> None:
    """Name what is done from here on, for what is told of long turns."""
    if tracer is not None:
        tracer.doing = what


def turn(act: Callable[[], object]) -> Turn:
    """Do something, and let Qt rest for a moment."""
    app = QApplication.instance()
    before, clock, busy = app.drawing, time.perf_counter(), time.thread_time()
    act()
    found = Turn(time.perf_counter() - clock, app.drawing - before, time.thread_time() - busy)
    if tracer is not None:
        tracer.note(clock, found)
    time.sleep(0.001)
    return found


def turns(
    done: Callable[[], bool], at_least: float = 0.3, at_most: float = 120, first: Callable[[], object] | None = None
) -> tuple[float, list[Turn]]:
    """Let the window live until ``done``; return the seconds that took, and its turns, beside what was done first."""
    begun, found = time.perf_counter(), [] if first is None else [turn(first)]
    while (took := time.perf_counter() - begun) < at_least or not done():
        if took > at_most:
            raise TimeoutError("the window waits for something that does not come")
        found.append(turn(QApplication.processEvents))
    return took, found


def longest(found: list[Turn], *names: str) -> str:
    """Return the longest of some parts of turns, in ms, as cells of a table."""
    return " | ".join(f"{1000 * max(getattr(one, name) for one in found):.0f}" for name in names)
