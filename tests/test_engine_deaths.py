"""Deaths of a worker: of a request it costs a sentence, between two nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest

import napari_probseg as ps
from engine_requests import End, Look, Process, asked, of_tests
from napari_probseg.engine.client import STARTING


@pytest.fixture
def engine():
    with of_tests() as made:
        yield made


def test_a_worker_that_is_killed_costs_a_sentence(engine):
    before = asked(engine, Process())[0]
    with pytest.raises(
        RuntimeError, match="ended, perhaps for lack of memory, and is started anew: nothing is lost, ask again"
    ):
        asked(engine, End())
    assert asked(engine, Process())[0] != before


def test_a_worker_that_is_killed_between_two_requests_costs_nothing(engine):
    before, _ = asked(engine, Process())
    engine._worker.link._process.kill()
    while engine._worker.link._process.poll() is None:
        time.sleep(0.01)
    after, told = asked(engine, Process())
    assert after != before and after == engine.pid and STARTING in told
    case = ps.Case(np.random.default_rng(0).random((20, 30)))
    assert asked(engine, Look(case))[0] is not None, "what the one before had been sent is sent anew"
