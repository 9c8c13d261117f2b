"""Networks on another machine, from the menu: nothing is sent before it is switched on, and back at any time."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("distributed")

from napari_probseg.case import Marker
from napari_probseg.engine import relay, remote
from napari_probseg.widgets.segment import elsewhere
from napari_probseg.widgets.settings import Settings
from window import click, disk, stroke

CLUSTER = "napari-probseg cluster"  # the threads of connections


@pytest.fixture
def address():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", dashboard_address=None, silence_logs=logging.CRITICAL
    ) as there:
        yield there.scheduler_address


@pytest.fixture
def opened(open_widget, monkeypatch):
    """Return a function that opens the widget, with an address in the settings."""

    def opener(address):
        monkeypatch.setattr(
            "napari_probseg.widgets.segment.elsewhere.read_settings", lambda: Settings(compute_on=address)
        )
        _, widget = open_widget(disk().astype(np.float32))
        said = []
        widget.work.said.connect(lambda sentence, is_error: said.append((sentence, is_error)))
        return widget, said

    return opener


def entries(widget):
    widget.panel.menu.aboutToShow.emit()
    return [action for action in widget.panel.menu.actions() if action.text().startswith("Send images to ")]


def completed(qtbot, widget):
    widget.work.set(completer="intensities")
    click(qtbot, widget.panel.complete)
    qtbot.waitUntil(lambda: widget.work.candidates is not None, timeout=120_000)
    click(qtbot, widget.panel.accept)
    return widget.work.session.case.partial == Marker.OBJECT


def test_answers_come_from_there_once_it_is_switched_on_and_from_here_again(opened, qtbot, address):
    widget, said = opened(address)
    stroke(qtbot, widget, (30, 30))
    stroke(qtbot, widget, (55, 55), Marker.BACKGROUND)
    here = completed(qtbot, widget)
    click(qtbot, widget.panel.undo)
    assert not relay._relays, "nothing was sent before"
    (entry,) = entries(widget)
    assert address in entry.text() and not entry.isChecked()
    entry.trigger()
    qtbot.waitUntil(lambda: any("from now on" in sentence for sentence, _ in said), timeout=120_000)
    (entry,) = entries(widget)
    assert entry.isChecked()
    assert np.array_equal(completed(qtbot, widget), here)
    assert len(relay._relays) == 1, "it was answered over there"
    entry.trigger()
    qtbot.waitUntil(lambda: not relay._relays, timeout=60_000)
    click(qtbot, widget.panel.undo)
    assert np.array_equal(completed(qtbot, widget), here) and not relay._relays
    assert not any(is_error for _, is_error in said)


def test_an_address_that_does_not_answer_is_refused_in_a_sentence(opened, qtbot, monkeypatch):
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 1.0)
    widget, said = opened("tcp://127.0.0.1:9")
    (entry,) = entries(widget)
    entry.trigger()
    qtbot.waitUntil(lambda: any(is_error for _, is_error in said), timeout=60_000)
    assert "othing answers at tcp://127.0.0.1:9" in said[-1][0]
    assert not entries(widget)[0].isChecked()
    stroke(qtbot, widget, (30, 30))
    stroke(qtbot, widget, (55, 55), Marker.BACKGROUND)
    assert completed(qtbot, widget).any(), "it is done here"


def test_one_address_after_another_is_tried_without_opening_the_widget_anew(opened, qtbot, monkeypatch, address):
    """A connection that failed is closed whole: dask could wait for ever for one, while the next was made."""
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 1.0)
    widget, said = opened("")
    before = {thread.name for thread in threading.enumerate()}
    for number in range(3):
        for wrong in ("tcp://127.0.0.1:9", "nonsense://x"):
            monkeypatch.setattr(elsewhere, "read_settings", lambda wrong=wrong: Settings(compute_on=wrong))
            said.clear()
            entries(widget)[0].trigger()
            qtbot.waitUntil(lambda: any(is_error for _, is_error in said), timeout=60_000)
            assert wrong in said[-1][0] and not entries(widget)[0].isChecked()
        monkeypatch.setattr(elsewhere, "read_settings", lambda: Settings(compute_on=address))
        entries(widget)[0].trigger()
        qtbot.waitUntil(lambda: any("from now on" in sentence for sentence, _ in said), timeout=60_000)
        monkeypatch.setattr(elsewhere, "read_settings", lambda: Settings(compute_on="tcp://another:1"))
        (entry,) = entries(widget)
        assert address in entry.text() and entry.isChecked(), "what is on is what is told"
        entry.trigger()
        assert "this machine again" in said[-1][0], number
    qtbot.waitUntil(lambda: not relay._relays, timeout=60_000)
    qtbot.waitUntil(lambda: CLUSTER not in {thread.name for thread in threading.enumerate()}, timeout=60_000)
    assert CLUSTER not in before


def test_without_an_address_nothing_is_offered(opened):
    widget, _ = opened(" ")
    assert not entries(widget)
