"""Live turns itself off where answers are slow, and on again once they are quick."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_probseg.case import Marker
from napari_probseg.widgets.segment import live as module
from napari_probseg.widgets.segment.live import Live
from napari_probseg.widgets.settings import LIVE_AUTO, LIVE_OFF, LIVE_ON, Settings
from window import click, disk, shown, stroke, threads_ended

LIVE = LIVE_ON


@pytest.mark.parametrize(("setting", "is_on"), [(LIVE_AUTO, True), (LIVE_ON, True), (LIVE_OFF, False)])
def test_it_is_off_by_itself_only_where_answers_are_slow(monkeypatch, setting, is_on):
    now = 0.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    live = Live(setting)
    assert live.is_on is is_on

    def answered(seconds):
        nonlocal now
        live.begin()
        now += seconds
        live.end()
        return live.why_off

    assert not answered(30), "the networks are loaded for the first"
    assert not any(answered(0.4) for _ in range(5)) and live.is_on is is_on
    assert not answered(30), "once may be chance"
    said = answered(30)
    assert live.is_on is (setting == LIVE_ON)
    assert ("Live is off" in said) is (setting == LIVE_AUTO)
    assert not any((answered(0.4), answered(0.4))[1:]) and live.is_on is is_on, "quick again"
    live.switch(True)
    assert not any(answered(30) for _ in range(5)) and live.is_on, "the user wants it"


def slow(open_widget, monkeypatch):
    """Return a widget that takes all answers for slow ones."""
    monkeypatch.setattr(
        "napari_probseg.widgets.segment.widget.read_settings", lambda: Settings(live=LIVE_AUTO, brush_size=10)
    )
    monkeypatch.setattr(module, "MAX_SECONDS", -1.0)
    _, widget = open_widget(disk().astype(np.float32))
    return widget


def off_by_itself(open_widget, qtbot, monkeypatch):
    """Return a widget whose answers were so slow that Live is off."""
    widget = slow(open_widget, monkeypatch)
    for at in ((30, 28), (30, 30), (30, 32), (30, 34)):
        stroke(qtbot, widget, at)
        shown(qtbot, widget)
        threads_ended(qtbot)
    assert not widget.panel.live.isChecked(), "test invalid"
    return widget


def test_why_it_is_off_is_still_told_when_all_of_the_answer_is_there(open_widget, qtbot, monkeypatch):
    widget = slow(open_widget, monkeypatch)
    offered = []
    widget.work.asking.offered.connect(offered.append)
    for n, at in enumerate(((30, 28), (30, 30), (30, 32), (30, 34))):
        stroke(qtbot, widget, at)
        qtbot.waitUntil(lambda n=n: len(offered) > n, timeout=20_000)
    widget.work.asking.offered.emit(offered[-1])  # as the rest of an answer comes
    assert not widget.panel.live.isChecked() and "so Live is off" in widget.panel.status.text()


def test_it_is_on_again_once_answers_that_are_asked_for_are_quick(open_widget, qtbot, monkeypatch):
    widget = off_by_itself(open_widget, qtbot, monkeypatch)
    monkeypatch.setattr(module, "MAX_SECONDS", 60.0)
    click(qtbot, widget.panel.complete)
    threads_ended(qtbot)
    qtbot.waitUntil(lambda: widget.panel.live.isChecked(), timeout=20_000)
    assert widget.panel.status.text() == module.BACK_ON


def test_the_last_answer_that_came_by_itself_is_meant_as_those_before(open_widget, qtbot, monkeypatch):
    work = (widget := off_by_itself(open_widget, qtbot, monkeypatch)).work
    assert work.on_offer is work.view.offer, "test invalid"
    seen = np.zeros((64, 64), bool)
    seen[work.candidates.where] = work.candidates.patches[work.view.current] == Marker.OBJECT
    click(qtbot, widget.panel.finish)
    np.testing.assert_array_equal(work.session.objects == 1, seen)
