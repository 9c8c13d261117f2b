"""Every state of the Segment widget as a picture, to be looked at: ``python docs/states.py FOLDER``.

Each is taken in the dark and the light theme, in windows of 1280x800 and of 1920x1080 pixels; and what is cut, a text
that is wider than its place, is told. It needs a display of that size: ``xvfb-run -a -s "-screen 0 1920x1080x24"``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from threading import Event
from unittest.mock import patch

import numpy as np
from pictures import Desk, desk
from qtpy.QtWidgets import QAbstractButton, QLabel
from skimage import data

import napari_probseg as ps
from napari_probseg.progress import Progress
from napari_probseg.simulate.phantoms import phantom_3d
from napari_probseg.widgets.segment import asking, recovery

THEMES, SIZES = ("dark", "light"), ((1280, 800), (1920, 1080))


def empty() -> Iterator[tuple[str, Desk]]:
    """No image yet."""
    with desk(data.cell(), "cell") as d:
        d.viewer.layers.clear()
        d.settle()
        yield "empty", d


def flat() -> Iterator[tuple[str, Desk]]:
    """An image: opened, answered live, objects of a class finished and learnt from, an error, and work that runs."""
    with desk(data.cell(), "cell") as d:
        yield "opened", d
        d.viewer.add_image(data.cell()[::-1], name="a channel", visible=False)
        d.viewer.layers.selection.active = d.viewer.layers["cell"]
        d.inside((370, 426))
        d.outside((420, 160), (470, 200))
        d.ask(d.panel.propose)
        yield "candidates", d
        d.accept(0)
        yield "accepted", d
        d.widget.work.set(kind="cell")
        for at in ((370, 426), (200, 200), (520, 300)):
            if not d.widget.work.session.steps or d.widget.work.session.steps[-1].verb == "finish":
                d.inside(at)
            d.click(d.panel.finish)
        d.panel.objects.move(1)
        d.settle()
        yield "finished", d
        d.click(d.panel.tune)
        d.wait(lambda: not d.widget.work.asking.is_busy)
        yield "learnt", d
        d.widget.work.reopen(77)
        d.settle()
        yield "error", d
        d.inside((100, 100))
        over = Event()
        with patch.object(asking, "adapting", lambda *_, **__: learning(over)):
            d.click(d.panel.tune)
            yield "busy", d
        over.set()
        d.click(d.panel.cancel)


def learning(over: Event) -> Iterator[Progress | None]:
    """Stand at one step of many, as fine-tuning does for a moment, until it is over."""
    yield Progress(3, 10)
    while not over.wait(0.05):
        yield None


def colours() -> Iterator[tuple[str, Desk]]:
    """A bright image in colour, with the uncertainty of its candidates."""
    with desk(data.immunohistochemistry(), "section", rgb=True) as d:
        d.inside((390, 300), (430, 330), size=12)
        d.outside((340, 200), (420, 225), size=12)
        d.ask(d.panel.propose)
        d.panel.uncertainty.click()
        d.click(d.panel.most_uncertain)
        yield "uncertain", d


def volume() -> Iterator[tuple[str, Desk]]:
    """A volume: candidates on a slice, and in the volume."""
    with desk(phantom_3d()[0], "body", scale=(2.4, 1, 1), units=("mm",) * 3) as d:
        d.viewer.dims.set_current_step(0, 24)
        d.inside((24, 68, 32), (24, 54, 42), (24, 34, 48), size=4)
        d.outside((24, 50, 68), (24, 80, 56), (24, 82, 34), size=4)
        d.ask(d.panel.propose)
        yield "slice", d
        d.click(d.panel.volume)
        d.ask(d.panel.complete)
        yield "volume", d


def series() -> Iterator[tuple[str, Desk]]:
    """The second image of a folder, and the question about earlier work."""
    with tempfile.TemporaryDirectory() as place, desk(data.cell(), "cell") as d:
        for i in range(3):
            ps.write(
                Path(place) / f"a cell with a rather long name {i}.tif", np.roll(data.cell(), 90 * i, 0), labels=False
            )
        d.viewer.layers.clear()
        d.viewer.open(str(Path(place) / "a cell with a rather long name 0.tif"), plugin="napari")
        d.settle()
        d.inside((370, 426))
        d.click(d.panel.finish_image)
        d.wait(lambda: d.widget.work.image is not None and d.widget.work.image.name.endswith("1"))
        yield "series", d
        d.inside((370, 426))
        d.widget.work.session.journal.close()
        d.viewer.layers.clear()
        d.settle()
        d.viewer.open(str(Path(place) / "a cell with a rather long name 1.tif"), plugin="napari")
        d.wait(lambda: bool(d.widget.work.question))
        yield "question", d


STATES = (empty, flat, colours, volume, series)


def cut(d: Desk) -> list[str]:
    """Return the texts of the panel that are wider than their places."""
    found = []
    for part in (*d.panel.findChildren(QAbstractButton), *d.panel.findChildren(QLabel)):
        if not part.isVisible() or not part.text() or (isinstance(part, QLabel) and part.wordWrap()):
            continue
        if part.sizeHint().width() > part.width() or part.width() > part.parent().width():
            found.append(f"“{part.text()}” needs {part.sizeHint().width()} of {part.width()} pixels")
    room, content = d.panel.work.viewport().width(), d.panel.work.widget().width()
    if content > room or d.panel.work.geometry().right() > d.panel.contentsRect().right():
        found.append(f"what scrolls is {content} wide and has {room} pixels")
    return found


def main() -> int:
    """Take the pictures; the exit status is 1 if something is cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[one.__name__ for one in STATES])
    chosen = parser.parse_args()
    chosen.folder.mkdir(exist_ok=True, parents=True)
    n_cut = 0
    for states in (one for one in STATES if one.__name__ in chosen.only):
        with tempfile.TemporaryDirectory() as place, patch.object(recovery, "settings_folder", lambda p=place: Path(p)):
            for name, d in states():
                for theme, size in product(THEMES, SIZES):
                    d.viewer.theme = theme
                    d.viewer.window.resize(*size)
                    d.settle()
                    title = f"{name}-{theme}-{size[0]}x{size[1]}"
                    d.picture().save(chosen.folder / f"{title}.png")
                    for what in cut(d):
                        n_cut += 1
                        print(f"{title}: {what}")
                d.viewer.theme = THEMES[0]
    return int(n_cut > 0)


if __name__ == "__main__":
    sys.exit(main())
