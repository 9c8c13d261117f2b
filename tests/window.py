"""What tests do in a window: images, a proposer without a network, clicks, keys and strokes."""

from __future__ import annotations

import threading

import numpy as np
from qtpy.QtCore import QPoint, Qt, QThreadPool, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import drawn
from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.session.session import Session

DISK_RADIUS = 12
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Balls:
    """Offers balls of growing radius around the middle of what is marked inside; waits at a gate if it has one."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate
        self.asked: list[tuple[Case, int, tuple[int, int] | None]] = []
        self.threads: list[threading.Thread] = []

    def propose(self, case: Case, n: int = 8, *, seed: int = 0, plane: tuple[int, int] | None = None) -> Candidates:
        self.asked.append((case, seed, plane))
        self.threads.append(threading.current_thread())
        if self.gate is not None:
            assert self.gate.wait(20)
        where = [slice(0, size) for size in case.shape]
        if plane is not None:
            where[plane[0]] = slice(plane[1], plane[1] + 1)
        before = case.partial[tuple(where)]
        marked = np.argwhere(before == Marker.OBJECT)
        if not len(marked):
            raise ValueError("there is no stroke inside: brush inside the object first")
        middle = np.round(marked.mean(axis=0))
        distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(np.indices(before.shape), middle, strict=True)))
        patches = np.stack([(distance <= 6 + 2 * i).astype(np.uint8) for i in range(n)])
        patches = np.where(before == Marker.UNKNOWN, patches, before)
        return Candidates(
            case,
            tuple(where),
            patches,
            score=np.linspace(1, 0.1, n, dtype=np.float32),
            share=np.full(n, 1 / n, np.float32),
            probability=(patches == Marker.OBJECT).mean(axis=0).astype(np.float32),
        )


def disk(shape: tuple[int, ...] = (64, 64), middle: tuple[int, ...] = (30, 30)) -> np.ndarray:
    return drawn.disk(shape, middle, DISK_RADIUS)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def click(qtbot, button) -> None:
    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def stroke(qtbot, widget, at, marker=Marker.OBJECT) -> None:
    """Brush one dab as the brush tool does, and let the window take it in."""
    click(qtbot, widget.panel.inside if marker == Marker.OBJECT else widget.panel.outside)
    qtbot.waitUntil(lambda: widget.work.session is not None)  # it waits until it is known whether there is earlier work
    n_steps = len(widget.work.session.steps)
    widget.work.layers.markers.paint(at, int(marker))
    qtbot.waitUntil(lambda: len(widget.work.session.steps) == n_steps + 1)


def offer(qtbot, widget) -> None:
    click(qtbot, widget.panel.propose)
    qtbot.waitUntil(lambda: widget.work.candidates is not None, timeout=20_000)


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def press(qtbot, widget, key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    """Press a key on the panel; the dock hands it to the canvas."""
    qtbot.keyClick(widget.panel, key, modifier)


def canvas_of(viewer):
    return viewer.__wrapped__.window._qt_viewer.canvas.native


def place(viewer, at):
    """Return where a pixel of an image of distance 1 is on the canvas."""
    camera = getattr(viewer.__wrapped__, "scene", viewer.__wrapped__).camera
    y, x = (np.asarray(at) - np.asarray(camera.center)[-2:]) * camera.zoom
    canvas = canvas_of(viewer)
    return QPoint(round(canvas.width() / 2 + x), round(canvas.height() / 2 + y))


def drag(viewer, start, end):
    """Draw with the left button from one pixel to another."""
    canvas = canvas_of(viewer)
    QTest.mouseMove(canvas, place(viewer, start))
    QTest.mousePress(canvas, LEFT, NONE, place(viewer, start))
    for part in (0.3, 0.6, 1.0):
        QTest.mouseMove(canvas, place(viewer, np.asarray(start) * (1 - part) + np.asarray(end) * part))
    QTest.mouseRelease(canvas, LEFT, NONE, place(viewer, end))


def laid_out(qtbot, viewer):
    """Show the window, and let its canvas be laid out: from then on there is a mouse."""
    viewer.__wrapped__.window._qt_window.show()
    qtbot.wait(300)
    viewer.reset_view()
    QApplication.processEvents()


def turned(qtbot) -> None:
    """Let the window do all that it was told by now."""
    done = []
    QTimer.singleShot(0, lambda: done.append(True))
    qtbot.waitUntil(lambda: bool(done))


def threads_ended(qtbot) -> None:
    """Wait until no thread works any more and the window has heard of all that they did."""
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=20_000)
    turned(qtbot)


def finish_one(qtbot, widget, at=(30, 30)) -> None:
    stroke(qtbot, widget, at)
    offer(qtbot, widget)
    click(qtbot, widget.panel.accept)
    click(qtbot, widget.panel.finish)


def finished(qtbot, widget, at=(30, 30)):
    stroke(qtbot, widget, at)
    click(qtbot, widget.panel.finish)


def on(qtbot, widget, name):
    """Wait until an image is at work, and nothing runs."""
    work = widget.work

    def is_so():
        is_there = work.image is not None and work.image.name == name and not work.is_held
        return is_there and (bool(work.question) or not work.recovery.is_pending)

    qtbot.waitUntil(is_so, timeout=20_000)
    threads_ended(qtbot)
    qtbot.waitUntil(is_so, timeout=20_000)  # earlier work is looked for in one thread, and read in another


def crash(widget) -> Session:
    """Let the work end as a killed program leaves it: nothing more is written."""
    session = widget.work.session
    assert session.journal.flush(10)
    session.journal.close()
    session.journal = None
    return session


def asked(qtbot, widget) -> str:
    qtbot.waitUntil(lambda: bool(widget.work.question), timeout=20_000)
    assert widget.panel.question.isVisibleTo(widget) and not widget.panel.work.isVisibleTo(widget)
    return widget.panel.question.text.text()


def gone_on(qtbot, widget) -> Session:
    click(qtbot, widget.panel.question.go_on)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
    assert widget.panel.work.isVisibleTo(widget)
    return widget.work.session


def shown(qtbot, widget) -> np.ndarray:
    """Return what the canvas shows, once there is an answer to the latest stroke."""
    qtbot.waitUntil(lambda: widget.work.candidates is not None, timeout=20_000)
    return widget.work.view.passing._layer.data


def forward(qtbot, widget, name):
    press(qtbot, widget, Qt.Key.Key_Q, Qt.KeyboardModifier.ShiftModifier)
    on(qtbot, widget, name)


def back(qtbot, widget, name):
    press(qtbot, widget, Qt.Key.Key_Q, Qt.KeyboardModifier.AltModifier)
    on(qtbot, widget, name)
    qtbot.waitUntil(lambda: widget.work.session is not None, timeout=20_000)
