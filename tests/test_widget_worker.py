"""Work in a thread: told of, cancelled, dropped, failed."""

from __future__ import annotations

import gc
import threading

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QThreadPool

from napari_probseg import Case
from napari_probseg.engine.requests import taken_by
from napari_probseg.widgets.tasks.background import Background
from window import threads_ended


@pytest.fixture
def background(qtbot):
    work = Background()
    work.results, work.errors, work.sentences = [], [], []
    work.done.connect(work.results.append)
    work.failed.connect(work.errors.append)
    work.said.connect(work.sentences.append)
    return work


def test_a_result_comes_with_what_was_said(background, qtbot):
    def task():
        yield "one"
        yield "two"
        return threading.current_thread()

    background.start(task)
    assert background.is_busy
    qtbot.waitUntil(lambda: bool(background.results))
    assert background.sentences == ["one", "two"]
    assert background.results[0] is not threading.main_thread()
    assert not background.is_busy


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), MemoryError("no")])
def test_an_error_of_any_kind_comes_back(background, qtbot, error):
    def task():
        yield "one"
        raise error

    background.start(task)
    qtbot.waitUntil(lambda: bool(background.errors))
    assert background.errors == [error] and not background.is_busy


def test_a_cancelled_task_says_nothing_more(background, qtbot):
    gate, ended = threading.Event(), threading.Event()

    def task():
        yield "one"
        gate.wait(20)
        ended.set()
        yield "two"
        return 1

    background.start(task)
    qtbot.waitUntil(lambda: background.sentences == ["one"])
    background.cancel()
    gate.set()
    assert ended.wait(20)
    threads_ended(qtbot)
    assert not background.results and background.sentences == ["one"] and not background.is_busy


def test_a_second_task_takes_the_place_of_the_first(background, qtbot):
    gate = threading.Event()

    def first():
        yield "first"
        gate.wait(20)
        return 1

    def second():
        yield "second"
        return 2

    background.start(first)
    background.start(second)
    gate.set()
    qtbot.waitUntil(lambda: bool(background.results))
    threads_ended(qtbot)
    assert background.results == [2]


def test_a_proposer_gets_only_the_options_that_it_takes():
    class Plain:
        def propose(self, case: Case, n: int = 8, *, seed: int = 0): ...

    class Far:
        def propose(self, case: Case, n: int = 8, *, seed: int = 0, reach: float = 1.0): ...

    class Any:
        def propose(self, case: Case, n: int = 8, **others): ...

    assert taken_by(Plain(), reach=0.5) == {}
    assert taken_by(Far(), reach=0.5) == taken_by(Any(), reach=0.5) == {"reach": 0.5}


def test_tasks_run_side_by_side_on_one_core_too(qtbot):
    """A file is saved while an answer is awaited."""
    pool, answered, saved = QThreadPool.globalInstance(), threading.Event(), []
    before = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    asking, saving = Background(), Background()

    def waiting():
        yield None
        assert answered.wait(20)

    def quick():
        yield None
        return "saved"

    try:
        asking.start(waiting)
        saving.done.connect(saved.append)
        saving.start(quick)
        qtbot.waitUntil(lambda: bool(saved), timeout=10_000)
        assert asking.is_busy
    finally:
        answered.set()
        qtbot.waitUntil(lambda: not asking.is_busy, timeout=20_000)
        pool.setMaxThreadCount(before)


@pytest.mark.parametrize("by", ["us", "napari"])
def test_what_is_given_up_is_closed_though_nothing_is_collected(background, qtbot, by):
    """An engine answers one question at a time: what is not closed would keep its turn."""
    closed, closed_in = threading.Event(), []

    def task():
        try:
            yield "begun"
            while True:
                yield None if by == "us" else "and so on"
        finally:
            closed_in.append(threading.current_thread())
            closed.set()

    gc.disable()
    try:
        background.start(task)
        held = background._worker  # as napari, or a cycle, may
        qtbot.waitUntil(lambda: bool(background.sentences))
        background.cancel() if by == "us" else held.quit()
        assert closed.wait(10)
        assert closed_in != [threading.main_thread()]
    finally:
        gc.enable()
        background.cancel()
        threads_ended(qtbot)
