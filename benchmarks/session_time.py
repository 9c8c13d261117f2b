"""What it takes to segment one image after another in the real window: seconds, strokes, keys, and how it stands still.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/session_time.py [--data SETS] [--images 20] [--volumes 4]

A scripted person opens the first image of a folder and segments one object of each: a dab inside and one outside with
the mouse on the canvas, the answer that comes by itself, then a dab in the deepest place of the largest error, until
Dice is 0.9; one key finishes the image and opens the next. Where a candidate in the gallery is better than what is on
show by more than 0.05, it is clicked instead of a stroke; where a place is narrower than the brush, the brush is made
smaller first by its key, held down. With ``--data`` the images are of the test parts of data sets in nnU-Net v2 raw
format, a folder for each set; otherwise they are made up.

Beside it, the same objects with napari's own brush and fill (reckoned, not played: the whole border is drawn, then
filled, slice by slice), and with watershed from the same first dabs, then dabs at its own errors. Seconds of the person
are reckoned for all alike: `SECONDS_TO_AIM` for a dab or a click, `SECONDS_A_KEY`, and the length of what is drawn at
`PIXELS_A_SECOND`; seconds of the machine are those that were waited for answers, and apart from them those until the
next image was there. All the time the gaps between two turns of the event loop are noted, by the clock and as time of
the processor, which other programs do not prolong as much.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import napari
import numpy as np
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy import ndimage

import napari_probseg as ps
import napari_probseg.widgets.segment.recovery as recovery
import napari_probseg.widgets.segment.widget as module
from napari_probseg.engine.client import Engine
from napari_probseg.morphology import deepest
from napari_probseg.simulate.annotator import dab, first_dabs, largest_error
from napari_probseg.widgets.layers.image import bring_into_view
from napari_probseg.widgets.settings import LIVE_ON, Settings
from session_images import IMAGES, VOLUMES, Task, bodies, real

SECONDS_TO_AIM, SECONDS_A_KEY, PIXELS_A_SECOND = 1.1, 0.4, 250.0
ENOUGH, MAX_STROKES, WORTH_A_CLICK = 0.9, 15, 0.05
WINDOW = (1280, 800)
BINS = (10, 20, 50, 100, 200, 500)  # ms


@dataclass
class Cost:
    """What one object took."""

    strokes: int = 0
    clicks: int = 0
    keys: int = 0
    drawn: float = 0.0  # pixels of the screen
    machine: float = 0.0  # seconds waited for answers
    opening: float = 0.0  # seconds until the next image was there
    dice: float = 0.0

    @property
    def person(self) -> float:
        aimed = (self.strokes + self.clicks) * SECONDS_TO_AIM
        return aimed + self.keys * SECONDS_A_KEY + self.drawn / PIXELS_A_SECOND


@dataclass
class Loop:
    """Lets the window live, and notes how long it stands still."""

    gaps: list[tuple[float, float]] = field(default_factory=list)  # s by the clock, and of them the window's thread's
    doing: str = "opening"
    busy: float = field(default_factory=time.thread_time)
    worst: dict[str, float] = field(default_factory=dict)

    def until(self, done: Callable[[], bool], at_least: float = 0.05, at_most: float = 300) -> float:
        begin = last = time.perf_counter()
        self.busy = time.thread_time()
        while not done() or last - begin < at_least:
            if last - begin > at_most:
                raise TimeoutError(f"the window waits for something that does not come, while {self.doing}")
            QApplication.processEvents()
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # else napari's sign of activity stays on
            time.sleep(0.001)
            last = self.note(last)
        return last - begin

    def note(self, last: float) -> float:
        now, busy = time.perf_counter(), time.thread_time()
        self.gaps.append((now - last, busy - self.busy))
        self.worst[self.doing] = max(self.worst.get(self.doing, 0.0), busy - self.busy)
        self.busy = busy
        return now


class Person:
    """A hand at the mouse and the keys of a window with a folder of images."""

    def __init__(self, loop: Loop) -> None:
        mock.patch.object(module, "read_settings", return_value=Settings(live=LIVE_ON)).start()
        folder = Path(tempfile.mkdtemp(prefix="probseg-journals-"))  # nobody asks about the work before
        recovery.settings_folder = lambda: folder
        self.loop, self.viewer = loop, napari.Viewer()
        self.truth, self.brush = np.zeros(0, bool), 0  # the brush as it fits the screen
        self.widget = module.SegmentWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="Segment")
        self.viewer.window.resize(*WINDOW)
        self.work, self.panel = self.widget.work, self.widget.panel
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.loop.until(self.has_worker, at_least=1.0)

    @property
    def image(self) -> Any:
        """The image at work."""
        assert self.work.image is not None
        return self.work.image

    @property
    def session(self) -> ps.Session:
        """Its session."""
        assert self.work.session is not None
        return self.work.session

    def has_worker(self) -> bool:
        """Whether the process for heavy work is there."""
        engine = self.work.asking._engine
        return isinstance(engine, Engine) and engine.pid is not None

    def open(self, path: Path) -> None:
        self.viewer.open(str(path), plugin="napari-probseg" if path.name.endswith(".nii.gz") else "napari")
        self.loop.until(lambda: self.work.image is not None, at_least=3.0)  # a look at the first image

    def on_canvas(self, at: tuple[int, ...]) -> QPoint:
        """Return where a voxel of the markers is on the canvas."""
        camera = getattr(self.viewer, "scene", self.viewer).camera
        world = np.asarray(self.image.data_to_world(at))[-2:]
        y, x = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return QPoint(round(self.canvas.width() / 2 + x), round(self.canvas.height() / 2 + y))

    def stroke(self, cost: Cost, *points: QPoint) -> None:
        """Draw with the left button through points of the canvas."""
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(self.canvas, points[0])
        QTest.mousePress(self.canvas, left, none, points[0])
        last = time.perf_counter()
        for before, point in pairwise(points):
            QTest.mouseMove(self.canvas, point)
            last = self.loop.note(last)
            cost.drawn += float(np.hypot(point.x() - before.x(), point.y() - before.y()))
        QTest.mouseRelease(self.canvas, left, none, points[-1])
        self.loop.note(last)

    def key(self, cost: Cost, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(self.canvas, key, modifier)
        cost.keys += 1

    def dab(self, cost: Cost, mask: np.ndarray, wanted: np.ndarray) -> None:
        """Dab in the deepest place of a mask, on one side of the truth, and wait until the answer is on show."""
        at = deepest(mask, np.asarray(self.image.scale))
        self.loop.doing = "a stroke"
        self.key(cost, Qt.Key.Key_8 if wanted is self.truth else Qt.Key.Key_9)
        self.loop.until(lambda: self.work.layers is not None)
        if len(at) == 3 and self.viewer.dims.current_step[0] != at[0]:
            assert self.work.layers is not None
            bring_into_view(self.viewer, self.work.layers.markers, at)
            cost.clicks += 1
            self.loop.until(lambda: True)
        self.fit_brush(cost, ndimage.distance_transform_edt(np.pad(wanted[at[:-2]], 1))[at[-2] + 1, at[-1] + 1])
        n = len(self.session.steps)
        self.stroke(cost, self.on_canvas(at))
        cost.strokes += 1
        self.loop.until(lambda: len(self.session.steps) > n, at_most=20)
        self.loop.doing = "an answer"
        cost.machine += self.loop.until(lambda: not self.work.asking.is_busy or self.work.on_offer is not None)

    def fit_brush(self, cost: Cost, depth: float) -> None:
        """Hold the key that makes the brush smaller, until it fits into a place of some depth, or larger again."""
        self.brush = self.brush or self.work.tools.brush_size
        wanted = int(np.clip(2 * depth - 1, 1, self.brush))
        before = self.work.tools.brush_size
        if before == wanted or (before < wanted <= before + 2):
            return
        pressed = Qt.Key.Key_BracketLeft if before > wanted else Qt.Key.Key_BracketRight
        for _ in range(abs(before - wanted)):
            QTest.keyClick(self.canvas, pressed)
            self.loop.until(lambda: True, 0.01)
        if self.work.tools.brush_size != wanted:
            raise RuntimeError(f"the keys of the brush led to {self.work.tools.brush_size}, not {wanted}")
        cost.keys += 1

    def choose(self, cost: Cost) -> None:
        """Click a candidate that is much better than what is on show, once all have come."""
        cost.machine += self.loop.until(lambda: not self.work.asking.is_busy)
        offer = self.work.on_offer
        if offer is None or not len(offer.candidates):
            return
        scores = [dice(self.shown(i), self.truth) for i in range(len(offer.candidates))]
        best = int(np.argmax(scores))
        if scores[best] > scores[self.work.view.current] + WORTH_A_CLICK:
            self.loop.doing = "a choice"
            cell = self.panel.gallery.cells[best]
            QTest.mouseClick(cell, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, cell.rect().center())
            cost.clicks += 1
            self.loop.until(lambda: self.work.on_offer is not offer, at_most=20)

    def shown(self, i: int | None = None) -> np.ndarray:
        """Return the object that is on show, or that another candidate would be."""
        session, offer = self.session, self.work.on_offer
        inside = session.case.partial == ps.Marker.OBJECT
        if offer is not None and len(offer.candidates):
            patches = offer.candidates.patches[self.work.view.current if i is None else i]
            inside[offer.candidates.where] = patches == ps.Marker.OBJECT
        return np.asarray(inside & (session.objects == 0))

    def segment(self, truth: np.ndarray, seed: int) -> Cost:
        """Segment one object of the image at work."""
        cost, spacing = Cost(), self.image.scale
        self.truth, background, self.brush = truth, ~truth, 0
        self.panel.volume.setChecked(truth.ndim == 3)
        for mask, wanted in zip(first_dabs(truth, seed=seed, spacing=spacing), (truth, background), strict=True):
            if mask.any():
                self.dab(cost, mask, wanted)
        while dice(self.shown(), truth) < ENOUGH:
            self.choose(cost)
            wrong = largest_error(self.shown(), truth)
            if dice(self.shown(), truth) >= ENOUGH or wrong is None or cost.strokes >= MAX_STROKES:
                break
            self.dab(cost, wrong, truth if truth[wrong].all() else background)
        cost.dice = dice(self.shown(), truth)
        return cost

    def finish_image(self, cost: Cost, is_last: bool) -> None:
        self.loop.doing = "the next image"
        before = self.image.name
        self.key(cost, Qt.Key.Key_Q, Qt.KeyboardModifier.ShiftModifier)
        cost.opening += self.loop.until(
            lambda: not self.work.is_held and (is_last or self.image.name != before), at_least=0.2
        )

    def close(self) -> None:
        """Close the window; what was done is thrown away."""
        self.loop.doing = "closing"
        self.widget.release()
        for layers in self.work.images:
            layers.session.note_saved("", whole=False)
        self.viewer.close()
        self.loop.until(lambda: True, 0.5)

    def by_hand(self, truth: np.ndarray) -> Cost:
        """Draw the border of each slice with napari's own brush, and fill it."""
        cost = Cost()
        for plane in truth if truth.ndim == 3 else truth[None]:
            if plane.any():
                border = np.count_nonzero(plane & ~ndimage.binary_erosion(plane))
                camera = getattr(self.viewer, "scene", self.viewer).camera
                cost.drawn += border * float(camera.zoom) * float(np.min(self.image.scale[-2:]))
                cost.strokes, cost.clicks = cost.strokes + 1, cost.clicks + 1
                cost.keys += 2 + (truth.ndim == 3)  # brush, fill, next slice
        cost.dice = 1.0
        return cost


def by_watershed_from_dabs(task: Task, seed: int) -> Cost:
    """Dab as before, and let watershed answer."""
    from napari_probseg.evaluate.peers import by_watershed  # imports torch, which the window's process does not

    cost, spacing, truth = Cost(strokes=2, keys=2), task.case.spacing, task.truth
    inside, outside = first_dabs(truth, seed=seed, spacing=spacing)
    case = task.case.mark(inside, outside)
    while True:
        begin = time.perf_counter()
        result = by_watershed(case)
        cost.machine += time.perf_counter() - begin
        cost.dice = dice(result, truth)
        found = None if cost.dice >= ENOUGH or cost.strokes >= MAX_STROKES else dab(result, truth, spacing=spacing)
        if found is None:
            return cost
        case = case.mark(*found)
        cost.strokes, cost.keys = cost.strokes + 1, cost.keys + 1


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a)) + int(np.count_nonzero(b)))


def play(loop: Loop, series: Sequence[Sequence[Task]]) -> dict[str, list[Cost]]:
    """Segment an object of each image of some folders, and return what it took, also by hand."""
    costs: dict[str, list[Cost]] = {"probseg": [], "brush and fill": []}
    for tasks in series:
        person = Person(loop)
        person.open(tasks[0].path)
        for i, task in enumerate(tasks):
            if person.image.name != task.path.name.split(".")[0]:
                raise RuntimeError(f"{person.image.name} is open, and not {task.path.name}")
            cost = person.segment(task.truth, i)
            costs["brush and fill"].append(person.by_hand(task.truth))
            person.finish_image(cost, i == len(tasks) - 1)
            costs["probseg"].append(cost)
            print(f"{task.path.parent.name} {i + 1} of {len(tasks)}: {cost}", file=sys.stderr, flush=True)
        person.close()
    return costs


NAMES = ("person", "machine", "opening", "strokes", "clicks", "keys", "drawn")


def table(what: str, costs: dict[str, list[Cost]]) -> list[str]:
    """Return lines with the means of what an object took."""
    lines = []
    for method, all_of in costs.items():
        means = [f"{np.mean([getattr(cost, name) for cost in all_of]):.1f}" for name in NAMES]
        dices = [cost.dice for cost in all_of]
        reached = f"{np.mean(np.greater_equal(dices, ENOUGH)):.0%} | {np.mean(dices):.3f}"
        lines.append(f"| {what} | {method} | {' | '.join(means)} | {reached} |")
    return lines


def histogram(loop: Loop) -> list[str]:
    """Return lines with how often the event loop stood still for how long."""
    clock, busy = (Counter(np.searchsorted(BINS, 1000 * times).tolist()) for times in np.transpose(loop.gaps))
    names = [f"<= {top}" for top in BINS] + [f"> {BINS[-1]}"]
    lines = ["| gap of the event loop, ms | by the clock | time of the processor |", "|---|--:|--:|"]
    lines += [f"| {name} | {clock.get(i, 0)} | {busy.get(i, 0)} |" for i, name in enumerate(names)]
    longest = ", ".join(f"{what} {1000 * s:.0f} ms" for what, s in loop.worst.items())
    return [*lines, "", f"Longest, time of the processor: {longest}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of data sets; made-up bodies if absent")
    parser.add_argument("--sets", nargs="*", default=IMAGES, help="ends of the names of the sets of images")
    parser.add_argument("--sets-3d", nargs="*", default=VOLUMES, help="of the sets of volumes")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    loop, played = Loop(), list[tuple[str, list[list[Task]], dict[str, list[Cost]]]]()
    for n, in_3d, sets in ((options.images, False, options.sets), (options.volumes, True, options.sets_3d)):
        with tempfile.TemporaryDirectory() as place:
            made_up = options.data is None
            series = list(
                bodies(Path(place), n, in_3d=in_3d)
                if made_up
                else real(Path(place), n, data=options.data, sets=sets, in_3d=in_3d)
            )
            if n:
                played.append(("3-D" if in_3d else "2-D", series, play(loop, series)))
    lines = list[str]()
    for what, series, costs in played:
        watershed = [by_watershed_from_dabs(task, i) for tasks in series for i, task in enumerate(tasks)]
        lines += table(what, {**costs, "watershed": watershed})
    head = [
        f"| images | method | s of the person | s for answers | s to the next image | {' | '.join(NAMES[3:])} px | "
        "at Dice 0.9 | Dice |",
        "|---|---|" + "--:|" * (len(NAMES) + 2),
    ]
    lines = [*head, *lines, "", *histogram(loop)]
    lines += [f"Load of the machine meanwhile: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
