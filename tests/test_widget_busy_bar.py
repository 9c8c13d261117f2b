"""The bar that says that something runs, and how far it is."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from napari_probseg.widgets.busy_bar import BusyBar
from napari_probseg.widgets.dataset.panel import DatasetPanel
from napari_probseg.widgets.segment.panel import Panel
from napari_probseg.widgets.style import lively


@pytest.fixture
def bar(make_napari_viewer, qtbot):
    bar = BusyBar(make_napari_viewer())
    qtbot.addWidget(bar)
    bar.setFixedSize(80, 3)
    return bar


def filled(bar) -> list[int]:
    """Return the columns that are drawn as done."""
    picture = bar.grab().toImage()
    picture = picture.scaled(80, 3)
    return [x for x in range(80) if picture.pixelColor(x, 1).rgb() == lively(bar._viewer).rgb()]


@pytest.mark.parametrize(("step", "n_steps", "n"), [(0, 10, 0), (3, 10, 24), (10, 10, 80)])
def test_it_is_filled_as_far_as_the_work_is(bar, step, n_steps, n):
    bar.setRange(0, n_steps)
    bar.setValue(step)
    assert filled(bar) == list(range(n))


def test_a_piece_of_it_moves_to_and_fro_where_nobody_knows(bar):
    seen = []
    for _ in range(15):
        seen.append(filled(bar)[0])
        bar._moving.timeout.emit()
    assert seen == [0, 10, 20, 30, 40, 50, 60, 70, 60, 50, 40, 30, 20, 10, 0]


def test_it_rests_while_it_is_not_seen(bar):
    """Each move lets a window with a canvas be composed anew."""
    assert not bar._moving.isActive()
    bar.show()
    assert bar._moving.isActive() and bar._moving.interval() >= 200
    bar.hide()
    assert not bar._moving.isActive()


@pytest.mark.parametrize("panel", [Panel, DatasetPanel])
def test_no_bar_of_ours_is_qts_own(make_napari_viewer, qtbot, panel):
    made = panel(make_napari_viewer())
    qtbot.addWidget(made)
    assert isinstance(made.progress, BusyBar)
