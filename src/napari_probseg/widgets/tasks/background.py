"""Background tasks: one at a time in a thread, whose result is dropped once it is not wanted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from threading import Event
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, QThreadPool, Signal

from napari_probseg.progress import Progress

MAX_TASKS = 8  # at a time, at least
Task = Callable[[], Generator[Any, None, Any]]


class Background(QObject):
    """Runs a task in napari's thread pool and tells of it on the main thread.

    A task is a generator function: it yields sentences that say what it does, or `Progress` that says how far it is, or
    anything else that is there before the rest; between these it can be cancelled, to which end it may yield None. It
    returns its result.
    """

    said = Signal(str)
    progressed = Signal(int, int)
    came = Signal(object)  # before the rest
    done = Signal(object)
    failed = Signal(Exception)
    busy = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._ticket = 0
        self._given_up = Event()  # by the task that runs
        self._worker: _ClosingWorker | None = None

    @property
    def is_busy(self) -> bool:
        return self._worker is not None

    def start(self, task: Task) -> None:
        """Run a task; one that is still running is cancelled."""
        self.cancel()
        self._ticket += 1
        self._given_up = Event()
        steps = task()
        self._worker = create_worker(
            _caught, self._ticket, steps, self._given_up, _start_thread=False, _worker_class=_ClosingWorker
        )
        self._worker.steps = steps
        self._worker.yielded.connect(self._tell)
        self._worker.returned.connect(self._finish)
        _make_room()
        self._worker.start()
        self.busy.emit(True)

    def cancel(self) -> None:
        """Give the task up: its result is dropped, and its thread closes it where it yields next."""
        if self._worker is None:
            return
        self._ticket += 1
        self._given_up.set()
        self._worker.quit()
        self._worker = None
        self.busy.emit(False)

    def _tell(self, message: tuple[int, Any]) -> None:
        ticket, told = message
        if ticket != self._ticket:
            return
        if isinstance(told, str):
            self.said.emit(told)
        elif isinstance(told, Progress):
            self.progressed.emit(told.step, told.n_steps)
        else:
            self.came.emit(told)

    def _finish(self, outcome: tuple[int, Any, Exception | None]) -> None:
        ticket, result, error = outcome
        if ticket != self._ticket:
            return
        self._worker = None
        self.busy.emit(False)
        if error is None:
            self.done.emit(result)
        else:
            self.failed.emit(error)


class _ClosingWorker(GeneratorWorker):
    """Closes what it runs as soon as it is told to quit, in its thread.

    napari's own leaves that to the garbage collector, until when nothing else would be answered.
    """

    steps: Generator[Any, None, Any]

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self.steps.close()


class Latest(QObject):
    """Runs one task at a time and of those that come meanwhile the latest alone: for sliders.

    Where the first of what a task finds is there, it gives way to the next one.
    """

    came = Signal(object)  # before the rest
    done = Signal(object)
    failed = Signal(Exception)

    def __init__(self) -> None:
        super().__init__()
        self._background = Background()
        self._background.came.connect(self._come)
        self._background.done.connect(self._finish)
        self._background.failed.connect(self._fail)
        self._next: Task | None = None
        self._has_come = False

    def start(self, task: Task) -> None:
        """Run a task, when the one that runs has ended, or found the first."""
        if self._background.is_busy and not self._has_come:
            self._next = task
        else:
            self._begin(task)

    def forget(self) -> None:
        """Drop what runs and what waits."""
        self._next = None
        self._background.cancel()

    def _begin(self, task: Task) -> None:
        self._has_come = False
        self._background.start(task)

    def _come(self, found: Any) -> None:
        self._has_come = True
        self._go_on()
        self.came.emit(found)

    def _finish(self, result: Any) -> None:
        self._go_on()
        self.done.emit(result)

    def _fail(self, error: Exception) -> None:
        self._go_on()
        self.failed.emit(error)

    def _go_on(self) -> None:
        task, self._next = self._next, None
        if task is not None:
            self._begin(task)


def _make_room() -> None:
    """Let several tasks run side by side on a machine of one or two cores, too.

    Most wait for the worker process, or for a disk: a file would not be saved before the answer that is awaited came.
    """
    pool = QThreadPool.globalInstance()
    pool.setMaxThreadCount(max(pool.maxThreadCount(), MAX_TASKS))


def _caught(
    ticket: int, steps: Generator[Any, None, Any], given_up: Event
) -> Generator[tuple[int, Any], None, tuple[int, Any, Exception | None]]:
    """Run a task and return its error instead of raising it: a thread's worker would lose a RuntimeError."""
    try:
        while not given_up.is_set():
            try:
                told = next(steps)
            except StopIteration as stop:
                return ticket, stop.value, None
            if told is not None:
                yield ticket, told
        return ticket, None, None
    except Exception as error:
        return ticket, None, error
