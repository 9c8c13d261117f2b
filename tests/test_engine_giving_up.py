"""Giving up in an engine: the worker stays if it can, and nothing that is stale is taken for an answer."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

import napari_probseg as ps
from engine_requests import Hang, Import, Load, Look, Process, Spin, Swallow, Tell, asked, begun, of_tests
from napari_probseg.engine import client
from napari_probseg.engine.client import Engine


@pytest.fixture(scope="module")
def engine():
    with of_tests() as made:
        yield made


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(client, "GRACE", 0.2)


class Slices:
    """An image that is neither in memory nor in a file: it is read by the window for the worker."""

    shape, dtype, ndim = (20, 20), np.dtype(np.float32), 2

    def __init__(self, value: float) -> None:
        self._value = value

    def __getitem__(self, where):
        return np.full((20, 20), self._value, np.float32)[where]

    def __array__(self, dtype=None, copy=None):
        return self[...]


def begun_with(path, steps):
    """Return steps that have come so far that a file is there."""
    while not path.exists():
        next(steps)
    return steps


@pytest.mark.parametrize("spins", [Spin(), Swallow()])
def test_what_is_given_up_ends_where_it_stands(engine, monkeypatch, spins):
    monkeypatch.setattr(client, "GRACE", 10)
    before = asked(engine, Process())[0]
    for _ in range(3):
        begun(engine, spins, "spinning").close()
        assert asked(engine, Process())[0] == before, "it is the same worker, and has nothing else to do"


def test_a_worker_that_does_not_give_up_is_replaced(engine, tmp_path, caplog):
    before = asked(engine, Process())[0]
    begun_with(tmp_path / "hanging", begun(engine, Hang(str(tmp_path / "hanging")), "hanging")).close()
    assert asked(engine, Process())[0] != before
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING], "nothing went wrong"


def test_an_answer_that_is_not_wanted_any_more_is_not_taken_for_another(engine):
    for i in range(20):
        steps = engine.answering(Tell(("begun", "and so on"), ("old", i)))
        while next(steps) != "begun":
            pass
        steps.close()
        assert asked(engine, Tell((), ("new", i)))[0] == ("new", i)


@pytest.mark.parametrize("n", [1, 3])
def test_a_worker_that_loads_something_stays(engine, tmp_path, n):
    before = asked(engine, Process())[0]
    begun_with(tmp_path / "loading", begun(engine, Load(str(tmp_path / "loading")), "loading")).close()
    for _ in range(n - 1):  # strokes that follow one another
        steps = engine.answering(Spin())
        next(steps)
        steps.close()
    assert asked(engine, Tell((), "answer"))[0] == "answer" and asked(engine, Process())[0] == before


def test_what_is_imported_for_an_answer_that_is_given_up_is_imported_whole(engine, tmp_path):
    before = asked(engine, Process())[0]
    begun_with(tmp_path / "parts" / "begun", begun(engine, Import(str(tmp_path)), "importing")).close()
    assert asked(engine, Import(str(tmp_path)))[0] == 1 and asked(engine, Process())[0] == before


def test_strokes_while_the_worker_warms_up_do_not_start_it_anew(engine, tmp_path, caplog):
    own = Engine(Load(str(tmp_path / "loading")))
    first = begun_with(tmp_path / "loading", begun(own, Tell(("never",)), None))
    before = own.pid
    first.close()
    for i in range(3):
        steps = own.answering(Tell((), i))
        next(steps)
        steps.close()
    assert asked(own, Process())[0] == before == own.pid
    own.close()
    assert not caplog.records


def test_what_was_read_for_a_request_that_was_given_up_is_not_taken_for_another_image(engine):
    for i in range(5):
        steps = begun(engine, Look(ps.Case(Slices(1000 + i))), "")
        time.sleep(0.05)  # what it wants to read is asked for meanwhile
        steps.close()
        assert np.all(asked(engine, Look(ps.Case(Slices(i))))[0][1] == i)
