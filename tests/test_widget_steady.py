"""A panel that lays itself out anew does not make the window do so, unless it wants another size."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_probseg.widgets.segment.panel import Panel
from napari_probseg.widgets.segment.steady import Steady
from window import turned


class Requests(QObject):
    """Counts how often a widget is told that what lies in it was laid out anew."""

    def __init__(self, watched: QWidget) -> None:
        super().__init__()
        self.n = 0
        watched.installEventFilter(self)

    def eventFilter(self, _: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt calls it so)
        self.n += event.type() == QEvent.Type.LayoutRequest
        return False


@pytest.fixture
def around(qtbot):
    """Return a widget that lies around another."""

    def lay(content: QWidget) -> QWidget:
        outer = QWidget()
        QVBoxLayout(outer).addWidget(content)
        qtbot.addWidget(outer)
        outer.show()
        qtbot.waitExposed(outer)
        for _ in range(3):
            turned(qtbot)
        return outer

    return lay


@pytest.mark.parametrize("is_steady", [True, False])
def test_what_lies_around_hears_of_another_size_alone(around, qtbot, is_steady):
    content, label = QWidget(), QLabel("as wide as this")
    QVBoxLayout(content).addWidget(label)
    outer = around(Steady(content) if is_steady else content)
    requests, before = Requests(outer), outer.sizeHint()
    label.setText("as wide as that")
    label.setText("as wide as this")
    turned(qtbot)
    turned(qtbot)
    assert (requests.n == 0) is is_steady
    label.setText("as wide as this, and then wider by far")
    qtbot.waitUntil(lambda: outer.sizeHint().width() > before.width())
    assert requests.n
    assert content.size() == content.parentWidget().contentsRect().size() or not is_steady


def test_sentences_of_a_line_or_two_lay_out_the_panel_alone(around, make_napari_viewer_proxy, qtbot):
    panel = Panel(make_napari_viewer_proxy())
    outer = around(Steady(panel))
    requests = Requests(outer)
    for sentence in ("Accept it, or brush on.", "", "Accept it, look at the others, or brush on."):
        panel.status.say(sentence)
        for _ in range(3):
            turned(qtbot)
    assert not requests.n
    assert panel.size() == panel.parentWidget().size()
    height = panel.status.height()
    panel.status.say("A sentence of many lines. " * 20)
    qtbot.waitUntil(lambda: panel.status.height() > height)
