"""How long napari's window stands still while the Segment widget works, and how soon an answer is on show.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/event_loop.py [--parts series ...] [--out FILE]

A loop that does nothing but let Qt work notes the time between two turns, for images of three sizes: while nothing
happens but that the canvas is drawn anew, while candidates are drawn, while an object is completed, and while the
smoothness of its cut changes; for the first brush of a session, by key and mouse; and for a series of images: steps
back and forth, a class, *Finish image*, and the way back. The canvas alone is the floor: without a graphics card each
drawing of it takes its time. So what Qt takes to draw the window anew, canvas and panels, is told apart: "without
drawing" is the longest of what is left of the turns.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy import ndimage

import napari_probseg.widgets.segment.recovery as recovery
import napari_probseg.widgets.segment.widget as module
from cubes import cube
from napari_probseg.dataset.raw import datasets_at
from napari_probseg.engine.client import Engine
from napari_probseg.simulate.annotator import dab
from napari_probseg.widgets.settings import LIVE_ON, Settings
from turns import PARTS_OF_TURN, Application, begin, longest, trace, turns

SIZES = {"512x512": (512, 512), "8000x8000": (8000, 8000), "512x512x300": (300, 512, 512), "128x128x128": (128,) * 3}
N_STROKES = 12
TITLES = "longest turn, ms | without drawing | ms of the processor"
PARTS = ["work", "brush", "series", "answers"]


def image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return a noisy ball in the middle, which is a twelfth of the image wide but 100 voxels at most."""
    rng = np.random.default_rng(seed)
    small = tuple(min(n, 512) for n in shape)
    noise = rng.integers(0, 60, small, dtype=np.uint8)
    values = np.tile(noise, [-(-n // m) for n, m in zip(shape, small, strict=True)])[tuple(slice(n) for n in shape)]
    radius = 50 if len(shape) == 2 else 25
    ball = np.ones((2 * radius + 1,) * len(shape), bool)
    ball[(radius,) * len(shape)] = False
    ball = ndimage.distance_transform_edt(ball) <= radius
    where = tuple(slice(n // 2 - radius, n // 2 + radius + 1) for n in shape)
    values[where][ball] += 90
    return values


class Play:
    """A person at one image in a real window."""

    def __init__(
        self, values: np.ndarray | Path, *, live: str, brush: bool = True, spacing: Sequence[float] | None = None
    ) -> None:
        mock.patch.object(module, "read_settings", return_value=Settings(live=live)).start()
        folder = Path(tempfile.mkdtemp(prefix="probseg-journals-"))  # nobody asks about the work before
        recovery.settings_folder = lambda: folder
        self.viewer = napari.Viewer()
        if isinstance(values, Path):
            (layer,) = self.viewer.open(str(values), plugin="napari")
        else:
            layer = self.viewer.add_image(values, name="image", scale=spacing)
        self.widget = module.SegmentWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="Segment")
        self.work, self.panel, self.shape = self.widget.work, self.widget.panel, layer.data.shape
        turns(lambda: True, 1.0)
        if brush:
            self.panel.inside.click()
        if len(self.shape) == 3:
            self.viewer.dims.set_point(0, self.shape[0] // 2 * layer.scale[0])
        self.wait_for_worker()

    def wait_for_worker(self) -> None:
        """Wait until all is done that is done beforehand, and the worker is there, for which the first answer waits."""
        engine = self.work.asking._engine
        turns(lambda: isinstance(engine, Engine) and engine.pid is not None and gc.get_freeze_count() > 0)

    @property
    def markers(self) -> Any:
        """The layer that is drawn on."""
        assert self.work.layers is not None
        return self.work.layers.markers

    def dab(self, at: tuple[int, ...], label: int) -> None:
        self.markers.selected_label = label
        self.markers.paint(tuple(n // 2 + d for n, d in zip(self.shape, at, strict=True)), label)

    def dabs(self) -> None:
        """Draw a little inside and a little outside, and wait for the answer."""
        zeros = (0,) * (len(self.shape) - 2)
        self.dab((*zeros, 0, 0), 1)
        self.dab((*zeros, 70 if len(self.shape) == 2 else 40, 0), 2)
        turns(lambda: not self.work.asking.is_busy, 1.0)

    def close(self) -> None:
        assert self.work.session is not None
        self.work.session.note_saved("", whole=False)  # else it asks what is to become of it
        self.widget.release()
        self.viewer.close()
        turns(lambda: True, 0.5)


def gaps_at(name: str, *, volume: bool) -> list[str]:
    """Return lines of the longest gaps at a size."""
    play = Play(image(SIZES[name]), live="never")
    play.dabs()
    play.panel.volume.setChecked(volume)
    work, lines = play.work, []

    def note(what: str, act: Callable[[], object], done: Callable[[], bool]) -> None:
        begin(f"{name} {what}")
        took, found = turns(done, first=act)
        begin(f"{name}, between")
        n_long = sum(one.clock > 0.05 for one in found)
        lines.append(f"| {name} | {what} | {1000 * took:.0f} | {longest(found, *PARTS_OF_TURN)} | {n_long} |")

    def has_other_offer(before: object) -> bool:
        return work.on_offer is not before

    layer = play.viewer.layers["image"]
    for opacity in (0.99, 1.0):
        layer.opacity = opacity
        turns(lambda: True)
    note("the canvas alone", lambda: setattr(layer, "opacity", 0.98), lambda: True)
    for what, button in (("propose", play.panel.propose), ("complete", play.panel.complete)) * 2:
        note(what, button.click, lambda: not work.asking.is_busy)
    for step in (3, 12):
        before = work.on_offer
        note("cut anew", partial(play.panel.smoothness.setValue, step), partial(has_other_offer, before))
    note("accept", work.accept, lambda: True)
    note("finish", work.finish, lambda: True)
    play.close()
    return lines


def ball_strokes(play: Play) -> Iterator[Callable[[], object]]:
    """Yield strokes in and around a ball."""
    zeros = (0,) * (len(play.shape) - 2)
    play.dabs()
    for i in range(N_STROKES):
        yield partial(play.dab, (*zeros, (-1) ** i * (8 + i), 3 * i), 1 if i % 2 else 2 if i > 8 else 1)


def corrections(play: Play, truth: np.ndarray, spacing: Sequence[float]) -> Iterator[Callable[[], object]]:
    """Yield strokes as the annotator of ``napari-probseg evaluate`` draws them, each where the answer errs most."""
    markers = play.markers

    def draw(marks: tuple[np.ndarray, np.ndarray]) -> None:
        for mask, label in zip(marks, (1, 2), strict=True):
            if mask.any():
                markers.data_setitem(np.nonzero(mask), label)

    for _ in range(N_STROKES):
        shown = np.zeros_like(truth)
        if (offer := play.work.on_offer) is not None:
            shown[offer.candidates.where] = offer.candidates.patches[0] == 1
        if (marks := dab(shown, truth, spacing=spacing)) is None:
            return
        yield partial(draw, marks)


def seconds_to_screen(name: str, play: Play, strokes: Iterator[Callable[[], object]]) -> str:
    """Return a line of the time from the end of a stroke until its answer is drawn, and until all others are there."""
    app, shown, firsts, alls = QApplication.instance(), [0.0], [], []
    play.work.view.shown.connect(lambda _: shown.append(time.perf_counter()))

    def is_drawn(before: int) -> bool:
        return len(shown) > before and app.drawn > shown[before]

    for i, stroke in enumerate(strokes):
        begin(f"{name} answer {i}")
        begun, before = time.perf_counter(), len(shown)
        stroke()
        turns(partial(is_drawn, before), 0)
        firsts.append(app.drawn - begun)
        turns(lambda: not play.work.asking.is_busy, 0)
        alls.append(time.perf_counter() - begun)
        turns(lambda: True, 0.3)
    play.close()
    first, every = (f"{1000 * statistics.median(times[1:]):.0f}" for times in (firsts, alls))
    return f"| {name} | {first} | {every} |"


def answers(options: argparse.Namespace) -> Iterator[str]:
    """Yield lines of the time until an answer is on show: of balls, and of objects of data sets."""
    for name in ("512x512", "128x128x128"):
        play = Play(image(SIZES[name]), live=LIVE_ON)
        play.panel.volume.setChecked(len(play.shape) == 3)
        yield seconds_to_screen(name, play, ball_strokes(play))
    for dataset in datasets_at(options.data, options.sets) if options.data else ():
        case, truth = cube(dataset.load(dataset.split("training")[0]))
        play = Play(np.asarray(case.image), live=LIVE_ON, spacing=case.spacing)
        play.panel.volume.setChecked(True)
        yield seconds_to_screen(
            f"128x128x128, {dataset.folder.name}", play, corrections(play, truth, case.spacing or ())
        )


def first_brush(name: str) -> list[str]:
    """Return lines of the longest turns while a person draws for the first time, on layers laid beforehand."""
    play = Play(image(SIZES[name]), live=LIVE_ON, brush=False)
    turns(lambda: play.work.layers is None and len(play.viewer.layers) == 4, 2.0)
    canvas, button = play.viewer.window._qt_viewer.canvas.native, Qt.MouseButton.LeftButton
    none, middle = Qt.KeyboardModifier.NoModifier, canvas.rect().center()

    def to(place: QPoint) -> Callable[[], object]:
        return lambda: QTest.mouseMove(canvas, place)

    layer = play.viewer.layers["image"]
    acts: dict[str, list[Callable[[], object]]] = {
        "the canvas alone": [lambda: setattr(layer, "opacity", 0.98)],
        "the key of the brush": [lambda: QTest.keyClick(canvas, Qt.Key.Key_8)],
        "the mouse comes": [to(middle)],
        "its button goes down": [lambda: QTest.mousePress(canvas, button, none, middle)],
        "it is dragged": [to(middle + QPoint(2 * i, i)) for i in range(1, 9)],
        "its button goes up": [lambda: QTest.mouseRelease(canvas, button, none, middle)],
    }
    lines = []
    for what, of in acts.items():
        begin(f"{name} {what}")
        found = [one for act in of for one in turns(lambda: True, 0.3 / len(of), first=act)[1]]
        lines.append(f"| {name} | {what} | {longest(found, *PARTS_OF_TURN)} |")
    turns(lambda: not play.work.asking.is_busy and play.work.on_offer is not None)
    play.close()
    return lines


def series(name: str) -> list[str]:
    """Return lines of the longest turns on images of a folder: what is done to objects, and from image to image."""
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / f"image{i}.tif" for i in range(3)]
        for i, path in enumerate(paths):
            tifffile.imwrite(path, image(SIZES[name], seed=i))  # none is taken for another
        begin(f"{name}, opening")
        play = Play(paths[0], live="never")
        play.panel.volume.setChecked(len(play.shape) == 3)
        work, canvas = play.work, play.viewer.window._qt_viewer.canvas.native
        shift, alt = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
        lines = []

        def note(what: str, act: Callable[[], object], done: Callable[[], bool] = lambda: not work.is_held) -> None:
            begin(f"{name} {what}")
            lines.append(f"| {name} | {what} | {longest(turns(done, 1.0, first=act)[1], *PARTS_OF_TURN)} |")

        def is_at(i: int) -> Callable[[], bool]:
            return lambda: not work.is_held and work.image is not None and work.image.name == f"image{i}"

        note("the canvas alone", lambda: setattr(work.image, "opacity", 0.98))
        for i in range(2):
            play.panel.inside.click()
            turns(lambda: work.layers is not None, 1.0)
            play.dabs()
            note("finish object", work.finish)
            if not i:
                for what, act in (
                    ("undo", work.undo),
                    ("redo", work.redo),
                    ("reopen", lambda: work.reopen(1)),
                    ("finish object", work.finish),
                    ("class", lambda: work.classify(1, "ball")),
                ):
                    note(what, act)
            note("finish image", lambda: QTest.keyClick(canvas, Qt.Key.Key_Q, shift), is_at(i + 1))
        is_back = is_at(1)
        note(
            "the image before",
            lambda: QTest.keyClick(canvas, Qt.Key.Key_Q, alt),
            lambda: is_back() and work.session is not None,
        )
        play.close()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a file to write the tables to")
    parser.add_argument("--sizes", nargs="*", default=["512x512", "8000x8000", "512x512x300"])
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--data", default=os.environ.get("PROBSEG_DATA"), help="folder of nnU-Net v2 raw data sets")
    parser.add_argument("--sets", nargs="*", default=["Hippocampus", "HeartCT"], help="those to answer objects of")
    parser.add_argument("--trace", type=Path, help="a file to write to where turns over 50 ms went")
    options = parser.parse_args()
    lines, sizes = list[str](), options.sizes
    app = Application(sys.argv[:1])
    tracer = trace() if options.trace else None
    if "work" in options.parts:
        lines += [
            "| image | what | ms in all | longest turn, ms | without drawing | ms of the processor | turns > 50 ms |"
        ]
        lines += ["|---|---|--:|--:|--:|--:|--:|"]
        lines += [line for name in sizes for line in gaps_at(name, volume=name == "512x512x300")]
    for part, title, measured in (("brush", "first brush", first_brush), ("series", "in a series", series)):
        if part in options.parts:
            lines += ["", f"| image | {title} | {TITLES} |", "|---|---|--:|--:|--:|"]
            lines += [line for name in sizes for line in measured(name)]
    if "answers" in options.parts:
        lines += ["", "| image | answer on show, ms | all candidates, ms |", "|---|--:|--:|"]
        lines += answers(options)
    del app
    lines += ["", f"torch imported by the window's process: {'torch' in sys.modules}"]
    print("\n".join(lines), flush=True)
    if tracer is not None:
        options.trace.write_text("\n".join(tracer.told) + "\n")
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
