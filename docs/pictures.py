"""The pictures of the documentation: screenshots of the widget at work, made by ``python docs/pictures.py [NAME ...]``.

Each scene opens napari on an image that comes with scikit-image or is made up, and does what its page tells: it
brushes on the canvas's layer and clicks the widget's buttons, and takes a picture of the whole window. It needs a
display; where there is none, ``xvfb-run -a -s "-screen 0 1400x900x24"`` gives one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import napari
import numpy as np
from napari.layers import Labels
from PIL import Image
from qtpy.QtCore import QEvent, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QFileDialog
from scipy import ndimage
from skimage import data

import napari_probseg as ps
from napari_probseg.dataset.collection import Collection
from napari_probseg.simulate.phantoms import phantom_2d, phantom_3d
from napari_probseg.widgets.segment import recovery

WINDOW = (1280, 800)
MAX_SECONDS = 300

Point = tuple[float, ...]
Pictures = Iterator[tuple[str, Image.Image]]


class Desk:
    """A napari window with an image and the Segment widget, and a hand that brushes, clicks and takes pictures."""

    def __init__(self, image: np.ndarray, name: str, **options: object) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*WINDOW)
        self.viewer.add_image(image, name=name, **options)
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-probseg", "Segment")
        self.panel = self.widget.panel
        self.viewer.reset_view()
        self.wait(lambda: "preview" in self.viewer.layers)  # the last of the layers that are laid over the image

    def settle(self, seconds: float = 0.5) -> None:
        """Let the window do what it has to do."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # what an event loop does between its turns
            time.sleep(0.01)

    def wait(self, until: Callable[[], bool]) -> None:
        """Let the window work until something holds."""
        end = time.monotonic() + MAX_SECONDS
        while not until():
            self.settle(0.05)
            if time.monotonic() > end:
                raise TimeoutError(f"it took more than {MAX_SECONDS} s; the widget says: {self.panel.status.text()}")
        self.settle()

    def click(self, button: QAbstractButton) -> None:
        """Click a button of the widget."""
        if not button.isEnabled():
            raise RuntimeError(f"“{button.text()}” is disabled; the widget says: {self.panel.status.text()}")
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.settle()

    def brush(self, button: QAbstractButton, *points: Point, size: int = 10) -> None:
        """Take up a brush and draw a line through points (in voxels)."""
        self.panel.brush_size.setValue(size)
        self.click(button)
        markers = self.viewer.layers.selection.active
        if not isinstance(markers, Labels):
            raise RuntimeError("the brush is not on a Labels layer")
        for at in _along(points, step=size / 4):
            markers.paint(at, markers.selected_label)
        self.settle()

    def inside(self, *points: Point, size: int = 10) -> None:
        """Brush inside the object."""
        self.brush(self.panel.inside, *points, size=size)

    def outside(self, *points: Point, size: int = 10) -> None:
        """Brush outside the object."""
        self.brush(self.panel.outside, *points, size=size)

    def ask(self, button: QAbstractButton) -> None:
        """Click what draws candidates, and wait for them."""
        self.click(button)
        self.wait(lambda: self.panel.accept.isEnabled())

    def accept(self, i: int = 0) -> None:
        """Click a candidate in the gallery."""
        QTest.mouseClick(self.panel.gallery.cells[i], Qt.MouseButton.LeftButton)
        self.settle()

    def choose(self, *texts: str) -> None:
        """Choose an entry of the widget's menu, by how the texts on the way to it begin."""
        menu = self.panel.menu
        for text in texts:
            menu.aboutToShow.emit()
            action = next(action for action in menu.actions() if action.text().startswith(text))
            menu = action.menu() or menu
        action.trigger()
        self.settle()

    def picture(self) -> Image.Image:
        """Return the window as it is."""
        self.settle(1)
        return Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")


@contextmanager
def desk(image: np.ndarray, name: str, **options: object) -> Iterator[Desk]:
    """Open a desk, and tidy it up."""
    there = Desk(image, name, **options)
    try:
        yield there
    finally:
        there.viewer.close()


def _along(points: Iterable[Point], step: float) -> Iterator[tuple[int, ...]]:
    """Yield the voxels on the way through points, a step apart."""
    corners = [np.asarray(point, dtype=float) for point in points]
    yield tuple(np.round(corners[0]).astype(int))
    for a, b in pairwise(corners):
        n = max(1, int(np.ceil(np.abs(b - a).max() / step)))
        for i in range(1, n + 1):
            yield tuple(np.round(a + (b - a) * i / n).astype(int))


def stack(n_slices: int = 40, size: int = 200) -> np.ndarray:
    """Return a made-up stack of (n_slices, size, size): round things that sway and swell from slice to slice."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(np.arange(n_slices), np.arange(size), np.arange(size), indexing="ij")
    image = np.full((n_slices, size, size), 0.75) + 0.05 * ndimage.gaussian_filter(rng.normal(size=z.shape), 2) * 10
    for i in range(26):
        cy, cx = rng.uniform(0, size, 2)
        sway = rng.uniform(-0.6, 0.6, 2)
        radius = rng.uniform(8, 18) * (1 + 0.2 * np.sin(z / rng.uniform(5, 9) + i))
        distance = np.hypot(y - cy - sway[0] * z, (x - cx - sway[1] * z) * rng.uniform(0.7, 1.3))
        wall = np.abs(distance - radius) < 2
        image[distance < radius] = 0.45 + 0.3 * rng.random()
        image[wall] = 0.15
    image = ndimage.gaussian_filter(image, (0.3, 1, 1)) + rng.normal(0, 0.03, z.shape)
    return (255 * image.clip(0, 1)).astype(np.uint8)


def start() -> Pictures:
    """Getting started: the widget as it opens, strokes, candidates, an accepted one, a finished object."""
    with desk(data.cell(), "cell") as d:
        yield "start-open", d.picture()
        d.inside((370, 426))
        d.outside((420, 160), (470, 200))
        yield "start-strokes", d.picture()
        d.ask(d.panel.propose)
        yield "start-candidates", d.picture()
        d.accept(0)
        yield "start-accepted", d.picture()
        d.click(d.panel.finish)
        yield "start-finished", d.picture()


def cells() -> Pictures:
    """Glands of a stained section, in colour: several readings of two strokes, a correction, two finished objects."""
    with desk(data.immunohistochemistry(), "section", rgb=True) as d:
        d.inside((390, 300), (430, 330), size=12)
        d.outside((340, 200), (420, 225), size=12)
        d.ask(d.panel.propose)
        yield "cells-candidates", d.picture()
        d.inside((325, 295), (360, 355), (420, 368), (485, 340), (490, 310), (400, 272), (340, 275), size=8)
        d.outside((290, 300), (310, 370), (400, 395), (500, 385), size=8)
        d.outside((400, 235), (490, 275), size=8)
        d.ask(d.panel.complete)
        yield "cells-corrected", d.picture()
        d.accept(0)
        d.click(d.panel.finish)
        d.inside((15, 300), (130, 320), (230, 350), (280, 410), (230, 430), (100, 440), (15, 410), size=10)
        d.outside((215, 285), (270, 340), (310, 430), (180, 470), (30, 460), size=10)
        d.outside((10, 245), (130, 265), (190, 265), size=10)
        d.ask(d.panel.complete)
        d.accept(0)
        d.click(d.panel.finish)
        yield "cells-finished", d.picture()


def organ() -> Pictures:
    """The liver of a made-up body, with the tumours in it: on a slice, in the volume, and in napari's 3-D display."""
    with desk(phantom_3d()[0], "body", scale=(2.4, 1, 1), units=("mm",) * 3) as d:
        d.viewer.dims.set_current_step(0, 24)
        d.inside((24, 68, 32), (24, 54, 42), (24, 34, 48), size=4)
        d.outside((24, 50, 68), (24, 80, 56), (24, 82, 34), size=4)
        d.ask(d.panel.propose)
        yield "organ-slice", d.picture()
        d.inside((24, 32, 30), (24, 45, 20), (24, 62, 23), size=4)
        d.outside((24, 20, 22), (24, 50, 10), (24, 74, 16), size=4)
        d.click(d.panel.volume)
        d.ask(d.panel.complete)
        yield "organ-volume", d.picture()
        d.accept(0)
        d.viewer.layers["body"].opacity = 0.5
        d.viewer.dims.ndisplay = 3
        scene = getattr(d.viewer, "scene", d.viewer)  # the camera moved there in napari 0.9
        scene.camera.angles = (-15, 30, 110)
        scene.camera.zoom *= 0.85
        yield "organ-3d", d.picture()


def vessels() -> Pictures:
    """Vessels of a retina: all that looks like three lines along some of them, then corrected by more strokes."""
    with desk(data.retina()[350:950, 300:900, 1], "retina") as d:
        d.inside((163, 110), (161, 180), (140, 217), (100, 262), (80, 310), size=5)
        d.outside((230, 60), (230, 170), size=8)
        d.inside((438, 130), (436, 200), (405, 225), size=4)
        d.inside((572, 408), (545, 484), (520, 528), size=5)
        d.ask(d.panel.complete)
        yield "vessels-first", d.picture()
        d.inside((190, 217), (250, 228), size=3)
        d.outside((250, 6), (330, 10), size=8)
        d.outside((300, 340), (390, 420), (360, 480), size=12)
        d.ask(d.panel.complete)
        yield "vessels-corrected", d.picture()


def slices() -> Pictures:
    """One thing in a made-up stack, brushed on a slice and carried to the others."""
    with desk(stack(), "stack") as d:
        d.viewer.dims.set_current_step(0, 20)
        d.inside((20, 140, 30), (20, 144, 33), size=6)
        d.outside((20, 112, 55), (20, 165, 58), size=6)
        d.ask(d.panel.propose)
        yield "stack-slice", d.picture()
        d.accept(0)
        d.choose("Carry the object on this slice")
        d.wait(lambda: d.panel.accept.isEnabled())
        d.viewer.dims.set_current_step(0, 30)
        yield "stack-carried", d.picture()


def dataset() -> Pictures:
    """A data set of made-up body slices in the Dataset widget, with the images that could be next."""
    with tempfile.TemporaryDirectory() as place, desk(phantom_2d(11)[0], "body_11") as d:
        collection = Collection.create(Path(place) / "Dataset701_Liver", ["liver"], ending=".tif")
        for seed in range(7):
            image, labels = phantom_2d(seed)
            collection.add(f"body_{seed:02}", image, ((labels == 1) | (labels == 2)).astype(np.uint8))
        for seed in range(12, 16):
            ps.write(Path(place) / "images" / f"body_{seed}.tif", phantom_2d(seed)[0], labels=False)
        _, there = d.viewer.window.add_plugin_dock_widget("napari-probseg", "Dataset", tabify=True)
        with _answering(collection.folder):
            d.click(there.panel.empty.open)
            d.wait(lambda: there.panel.images.topLevelItemCount() == 7)
        with _answering(Path(place) / "images"):
            d.click(there.panel.search)
            d.wait(lambda: there.panel.found.count() == 4 and there.panel.search.isVisible())
        yield "dataset", d.picture()


def finish_coin_and_ask_for_more(d: Desk) -> None:
    """Finish a coin, and ask for others like it."""
    d.inside((45, 315), (58, 325), size=8)
    d.outside((20, 290), (85, 295), size=6)
    d.ask(d.panel.complete)
    d.accept(0)
    d.click(d.panel.finish)
    d.click(d.panel.more)
    d.wait(lambda: bool(d.widget.work.alike) or not d.widget.work.asking.is_busy)


def more() -> Pictures:
    """Coins: one is finished by hand, the others are offered, one is skipped, all likely ones are taken in one step."""
    with desk(data.coins(), "coins") as d:
        finish_coin_and_ask_for_more(d)
        yield "more-offered", d.picture()
        d.click(d.panel.take_all)
        yield "more-taken", d.picture()


@contextmanager
def _answering(folder: Path) -> Iterator[None]:
    """Answer every dialog that asks for a folder."""
    asked = QFileDialog.getExistingDirectory
    QFileDialog.getExistingDirectory = lambda *_: str(folder)
    try:
        yield
    finally:
        QFileDialog.getExistingDirectory = asked


SCENES: dict[str, Callable[[], Pictures]] = {
    "start": start,
    "cells": cells,
    "organ": organ,
    "vessels": vessels,
    "slices": slices,
    "dataset": dataset,
    "more": more,
}


def main() -> None:
    """Make the pictures of some scenes, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", help=f"some of {', '.join(SCENES)}; all if absent")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "img", help="the folder of the pictures")
    chosen = parser.parse_args()
    if unknown := set(chosen.scenes) - set(SCENES):
        parser.error(f"there is no scene {', '.join(sorted(unknown))}")
    chosen.into.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, patch.object(recovery, "settings_folder", lambda: Path(folder)):
        for name in chosen.scenes or SCENES:  # none of them finds the work of another
            for title, picture in SCENES[name]():
                picture.save(chosen.into / f"{title}.webp", quality=88)


if __name__ == "__main__":
    main()
