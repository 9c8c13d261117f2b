"""What it takes to segment one image after another in the real window: seconds, strokes, keys, and how it stands still.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/session_time.py [--images 20] [--volumes 4] [--out FILE]

A scripted person opens the first image of a folder and segments one object of each: a dab inside and one outside with
the mouse on the canvas, the answer that comes by itself, then a dab in the middle of the largest error, until Dice is
0.9; one key finishes the image and opens the next. Beside it, the same objects with napari's own brush and fill (the
border is drawn, then filled, slice by slice), and with watershed from the same dabs. Seconds of the person are reckoned
for all alike: `SECONDS_TO_AIM` for a dab or a click, `SECONDS_A_KEY`, and the length of what is drawn at
`PIXELS_A_SECOND`; seconds of the machine are those that were waited. All the time the gaps between two turns of the
event loop are noted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy import ndimage

import napari_probseg as ps
import napari_probseg.widgets.segment.recovery as recovery
import napari_probseg.widgets.segment.widget as module
from napari_probseg.evaluate.peers import by_watershed
from napari_probseg.simulate.annotator import dab, first_dabs
from napari_probseg.simulate.phantoms import phantom_2d, phantom_3d
from napari_probseg.widgets.layers.image import bring_into_view
from napari_probseg.widgets.settings import LIVE_ON, Settings

SECONDS_TO_AIM, SECONDS_A_KEY, PIXELS_A_SECOND = 1.1, 0.4, 250.0
ENOUGH, MAX_STROKES = 0.9, 15
BINS = (10, 20, 50, 100, 200, 500)  # ms


@dataclass
class Cost:
    """What one object took."""

    strokes: int = 0
    clicks: int = 0
    keys: int = 0
    drawn: float = 0.0  # pixels of the screen
    machine: float = 0.0  # seconds waited
    dice: float = 0.0

    @property
    def person(self) -> float:
        aimed = (self.strokes + self.clicks) * SECONDS_TO_AIM
        return aimed + self.keys * SECONDS_A_KEY + self.drawn / PIXELS_A_SECOND


@dataclass
class Loop:
    """Lets the window live, and notes how long it stands still."""

    gaps: list[float] = field(default_factory=list)
    doing: str = "opening"
    worst: dict[str, float] = field(default_factory=dict)

    def until(self, done: Callable[[], bool], at_least: float = 0.05, at_most: float = 120) -> float:
        begin = last = time.perf_counter()
        while not done() or last - begin < at_least:
            if last - begin > at_most:
                raise TimeoutError(f"the window waits for something that does not come, while {self.doing}")
            QApplication.processEvents()
            time.sleep(0.001)
            last = self.note(last)
        return last - begin

    def note(self, last: float) -> float:
        now = time.perf_counter()
        self.gaps.append(now - last)
        self.worst[self.doing] = max(self.worst.get(self.doing, 0.0), now - last)
        return now


class Person:
    """A hand at the mouse and the keys of a window with a folder of images."""

    def __init__(self, loop: Loop) -> None:
        module.read_settings = lambda: Settings(live=LIVE_ON)
        folder = Path(tempfile.mkdtemp(prefix="probseg-journals-"))  # nobody asks about the work before
        recovery.settings_folder = lambda: folder
        self.loop, self.viewer = loop, napari.Viewer()
        self.widget = module.SegmentWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="Segment")
        self.work, self.panel = self.widget.work, self.widget.panel
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.loop.until(lambda: self.work.asking._engine.pid is not None, at_least=1.0)

    def open(self, path: Path) -> None:
        self.viewer.open(str(path), plugin="napari-probseg" if path.name.endswith(".nii.gz") else "napari")
        self.loop.until(lambda: self.work.image is not None, at_least=1.0)

    def on_canvas(self, at: tuple[int, ...]) -> QPoint:
        """Return where a voxel of the markers is on the canvas."""
        camera = getattr(self.viewer, "scene", self.viewer).camera
        world = np.asarray(self.work.image.data_to_world(at))[-2:]
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

    def dab(self, cost: Cost, mask: np.ndarray, inside: bool) -> float:
        """Dab where a mask has its middle; return the seconds until the answer is on show."""
        at = tuple(np.round(np.argwhere(mask).mean(0)).astype(int))
        self.loop.doing = "a stroke"
        self.key(cost, Qt.Key.Key_8 if inside else Qt.Key.Key_9)
        self.loop.until(lambda: self.work.layers is not None)
        if len(at) == 3:
            bring_into_view(self.viewer, self.work.layers.markers, at)
            self.loop.until(lambda: True)
        n = len(self.work.session.steps)
        self.stroke(cost, self.on_canvas(at))
        cost.strokes += 1
        self.loop.until(lambda: len(self.work.session.steps) > n, at_most=20)
        self.loop.doing = "an answer"
        return self.loop.until(lambda: not self.work.asking.is_busy)

    def shown(self) -> np.ndarray:
        """Return the object that is on show."""
        session, offer = self.work.session, self.work.on_offer
        inside = session.case.partial == ps.Marker.OBJECT
        if offer is not None and len(offer.candidates):
            inside[offer.candidates.where] = offer.candidates.patches[self.work.view.current] == ps.Marker.OBJECT
        return inside & (session.objects == 0)

    def segment(self, truth: np.ndarray, seed: int) -> Cost:
        """Segment one object of the image at work."""
        cost, spacing = Cost(), self.work.image.scale
        self.panel.volume.setChecked(truth.ndim == 3)
        inside, outside = first_dabs(truth, seed=seed, spacing=spacing)
        cost.machine += self.dab(cost, inside, True) + self.dab(cost, outside, False)
        while (cost_dice := dice(self.shown(), truth)) < ENOUGH and cost.strokes < MAX_STROKES:
            found = dab(self.shown(), truth, spacing=spacing)
            if found is None:
                break
            is_inside = bool(found[0].any())
            cost.machine += self.dab(cost, found[0 if is_inside else 1], is_inside)
        cost.dice = cost_dice
        return cost

    def finish_image(self, cost: Cost, is_last: bool) -> None:
        self.loop.doing = "the next image"
        image = self.work.image
        self.key(cost, Qt.Key.Key_Q, Qt.KeyboardModifier.ShiftModifier)
        cost.machine += self.loop.until(
            lambda: not self.work.is_held and (is_last or self.work.image is not image), at_least=0.2
        )

    def by_hand(self, truth: np.ndarray) -> Cost:
        """Draw the border of each slice with napari's own brush, and fill it."""
        cost = Cost()
        for plane in truth if truth.ndim == 3 else truth[None]:
            if plane.any():
                border = np.count_nonzero(plane & ~ndimage.binary_erosion(plane))
                camera = getattr(self.viewer, "scene", self.viewer).camera
                cost.drawn += border * float(camera.zoom) * float(np.min(self.work.image.scale[-2:]))
                cost.strokes, cost.clicks = cost.strokes + 1, cost.clicks + 1
                cost.keys += 2 + (truth.ndim == 3)  # brush, fill, next slice
        cost.dice = 1.0
        return cost


def by_watershed_from_dabs(image: np.ndarray, truth: np.ndarray, seed: int, spacing: np.ndarray) -> Cost:
    """Dab as before, and let watershed answer."""
    cost = Cost(strokes=2, keys=2)
    inside, outside = first_dabs(truth, seed=seed, spacing=spacing)
    case = ps.Case(image, spacing=spacing).mark(inside, outside)
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
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def written(folder: Path, n: int, *, volumes: bool) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Write made-up bodies to a folder; yield the file, the image, and an object of each."""
    for seed in range(n):
        image, labels = (phantom_3d if volumes else phantom_2d)(seed)
        path = folder / (f"body{seed:02}.nii.gz" if volumes else f"body{seed:02}.tif")
        ps.write(path, image, labels=False, spacing=(2.4, 1.0, 1.0) if volumes else None)
        numbers = [i for i in np.unique(labels) if i and np.count_nonzero(labels == i) > 60]
        yield path, image, labels == numbers[seed % len(numbers)]


def play(loop: Loop, n: int, *, volumes: bool) -> dict[str, list[Cost]]:
    """Segment an object of each of some images, and return what it took by each method."""
    costs: dict[str, list[Cost]] = {"probseg": [], "brush and fill": [], "watershed": []}
    with tempfile.TemporaryDirectory() as place:
        tasks = list(written(Path(place), n, volumes=volumes))
        person = Person(loop)
        person.open(tasks[0][0])
        for i, (_, image, truth) in enumerate(tasks):
            cost = person.segment(truth, i)
            costs["brush and fill"].append(person.by_hand(truth))
            costs["watershed"].append(by_watershed_from_dabs(image, truth, i, np.asarray(person.work.image.scale)))
            person.finish_image(cost, i == len(tasks) - 1)
            costs["probseg"].append(cost)
            print(f"{i + 1} of {n}: {cost}", file=sys.stderr)
        person.widget.release()
        for layers in person.work.images:
            layers.session.note_saved("", whole=False)
        person.viewer.close()
        loop.doing = "closing"
        loop.until(lambda: True, 0.5)
    return costs


def table(what: str, costs: dict[str, list[Cost]]) -> list[str]:
    """Return lines with the means of what an object took."""
    lines = []
    for method, all_of in costs.items():
        if all_of:
            means = [np.mean([getattr(c, name) for c in all_of]) for name in ("strokes", "clicks", "keys", "drawn")]
            person, machine = (np.mean([getattr(c, name) for c in all_of]) for name in ("person", "machine"))
            reached = np.mean([c.dice >= ENOUGH for c in all_of])
            told = " | ".join(f"{mean:.1f}" for mean in means)
            lines.append(f"| {what} | {method} | {person:.1f} | {machine:.1f} | {told} | {reached:.0%} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    loop = Loop()
    lines = [
        "| images | method | s of the person | s of the machine | strokes | clicks | keys | px drawn | at Dice 0.9 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for n, what in ((options.images, "2-D"), (options.volumes, "3-D")):
        if n:
            lines += table(what, play(loop, n, volumes=what == "3-D"))
    in_ms = 1000 * np.asarray(loop.gaps)
    counted = Counter(np.searchsorted(BINS, in_ms).tolist())
    names = [f"<= {top}" for top in BINS] + [f"> {BINS[-1]}"]
    lines += ["", "| gap of the event loop, ms | how often |", "|---|---|"]
    lines += [f"| {name} | {counted.get(i, 0)} |" for i, name in enumerate(names)]
    lines += ["", "Longest: " + ", ".join(f"{what} {1000 * worst:.0f} ms" for what, worst in loop.worst.items()) + "."]
    lines += [f"Load of the machine meanwhile: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
