"""The pictures of the documentation: screenshots of the widget at work, made by ``python docs/pictures.py [NAME ...]``.

Each scene opens napari on an image that comes with scikit-image or is made here, and does what its page tells: it
brushes on the canvas's layer and clicks the widget's buttons, and takes a picture of the whole window. It needs a
display; where there is none, ``xvfb-run -a -s "-screen 0 1400x900x24"`` gives one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QMenu
from scipy import ndimage
from skimage import data

from napari_probseg.simulate.phantoms import phantom_3d

FOLDER = Path(__file__).parent / "img"
WINDOW = (1280, 800)
MAX_SECONDS = 300

Point = tuple[float, ...]


class Desk:
    """A napari window with an image and the Segment widget, and a hand that brushes, clicks and takes pictures."""

    def __init__(self, image: np.ndarray, name: str, **options: object) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*WINDOW)
        self.viewer.add_image(image, name=name, **options)
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-probseg", "Segment")
        self.panel = self.widget.panel
        self.viewer.reset_view()
        self.settle()

    def settle(self, seconds: float = 0.5) -> None:
        """Let the window do what it has to do."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
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
        owner = action.parent()
        action.trigger()
        if isinstance(owner, QMenu) and owner is not menu:
            self.settle()
        self.settle()

    def zoom(self, centre: Point, factor: float) -> None:
        """Look closer at a place (in voxels of the plane on view)."""
        scene = getattr(self.viewer, "scene", self.viewer)  # the camera moved there in napari 0.9
        scene.camera.center = centre
        scene.camera.zoom *= factor
        self.settle()

    def picture(self, name: str) -> None:
        """Save the window as it is."""
        self.settle(1)
        self.viewer.screenshot(str(FOLDER / f"{name}.png"), canvas_only=False, flash=False)


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
    for a, b in zip(corners, corners[1:], strict=False):
        n = max(1, int(np.ceil(np.abs(b - a).max() / step)))
        for i in range(1, n + 1):
            yield tuple(np.round(a + (b - a) * i / n).astype(int))


def stack(n_slices: int = 40, size: int = 200) -> np.ndarray:
    """Return a made-up stack of (n_slices, size, size): a branching process among round ones, from slice to slice."""
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


def start() -> None:
    """Getting started: the widget as it opens, strokes, candidates, an accepted one, a finished object."""
    with desk(data.cell(), "cell") as d:
        d.picture("start-open")
        d.inside((370, 426))
        d.outside((420, 160), (470, 200))
        d.picture("start-strokes")
        d.ask(d.panel.propose)
        d.picture("start-candidates")
        d.accept(0)
        d.picture("start-accepted")
        d.click(d.panel.finish)
        d.picture("start-finished")


SCENES: dict[str, Callable[[], None]] = {"start": start}


def main(names: list[str]) -> None:
    """Make the pictures of some scenes, or of all."""
    if unknown := set(names) - set(SCENES):
        raise SystemExit(f"there is no scene {', '.join(sorted(unknown))}: name some of {', '.join(SCENES)}")
    FOLDER.mkdir(exist_ok=True)
    for name in names or SCENES:
        SCENES[name]()
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
