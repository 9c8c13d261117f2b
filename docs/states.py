"""Every state of the widgets as a picture, to be looked at: ``python docs/states.py FOLDER``.

Each is taken in the dark and the light theme, in windows of 1280x800 and of 1920x1080 pixels (dialogs and menus by
themselves); and what is cut, a text that is wider than its place, is told. It needs a display of that size:
``xvfb-run -a -s "-screen 0 1920x1080x24"``; with ``--sizes 1024x640`` another one, and with ``QT_SCALE_FACTOR=2`` twice
that.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from napari.qt import get_stylesheet
from pictures import Desk, desk, finish_coin_and_ask_for_more
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QAbstractButton, QLabel, QWidget
from skimage import data

import napari_probseg as ps
from napari_probseg.active_learning.comparison import Comparison, Judgement
from napari_probseg.dataset.collection import Collection
from napari_probseg.engine.models import Model
from napari_probseg.engine.teaching import Suggestion, thumbnail
from napari_probseg.progress import Progress
from napari_probseg.session.request import Request
from napari_probseg.simulate.phantoms import phantom_2d, phantom_3d
from napari_probseg.widgets.dataset.panel import DatasetPanel
from napari_probseg.widgets.messages import offer_of
from napari_probseg.widgets.segment import asking, elsewhere, recovery
from napari_probseg.widgets.segment.class_dialog import KindsDialog
from napari_probseg.widgets.segment.panel import Panel
from napari_probseg.widgets.segment.script_dialog import ScriptDialog
from napari_probseg.widgets.settings import Settings
from napari_probseg.widgets.tasks import dataset as lessons
from napari_probseg.widgets.tasks import next_image
from napari_probseg.widgets.tasks.adapt import Learnt

THEMES, SIZES = ("dark", "light"), ("1280x800", "1920x1080")
States = Iterator[tuple[str, Desk] | tuple[str, Desk, QWidget]]  # a dialog or a menu is seen by itself


def empty() -> States:
    """No image yet, and earlier work to go on with."""
    with desk(data.cell(), "cell") as d:
        d.viewer.layers.clear()
        d.settle()
        yield "empty", d
        d.panel.empty.offer(offer_of("a cell with a rather long name.tif", 14, 2, time.time()))
        yield "earlier", d


def flat() -> States:
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
        d.panel.menu.aboutToShow.emit()
        yield "menu", d, d.panel.menu
        yield "script", d, ScriptDialog(d.widget.work.session.script("cell.tif"), d.widget)
        tints = {number: (0.3 * number, 0.8, 0.5) for number in (1, 2, 3)}
        yield "classes", d, KindsDialog(tints, ["cell", "nucleus"], d.widget, {1: "cell"})
        d.click(d.panel.tune)
        d.wait(lambda: not d.widget.work.asking.is_busy)
        yield "learnt", d
        with patch.object(asking, "adapting", lambda _, request, model, **__: learnt(request, model)):
            d.click(d.panel.tune)
            d.wait(lambda: not d.widget.work.asking.is_busy)
            yield "helped", d
        d.click(d.panel.undo)
        d.widget.work.reopen(77)
        d.settle()
        yield "error", d
        d.panel.live.setChecked(False)
        with patch.object(os, "fsync", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
            d.inside((600, 60))
            d.wait(lambda: "memory" in d.panel.status.text())
            yield "full", d
        with patch.object(elsewhere, "read_settings", lambda: Settings(compute_on="tcp://127.0.0.1:9")):
            d.choose("Send images to")
            d.wait(lambda: not d.widget.work.elsewhere.is_on)
            yield "refused", d
        over = Event()
        with patch.object(asking, "adapting", lambda *_, **__: learning(over)):
            d.click(d.panel.tune)
            yield "busy", d
        over.set()
        d.click(d.panel.cancel)


def learnt(request: Request, model: Model) -> Iterator[Any]:
    """Have learnt something, as if it had helped."""
    yield Progress(1, 1)
    return Learnt(request, model, Model.learnt("general", b"what was learnt"))


def learning(over: Event) -> Iterator[Progress | None]:
    """Stand at one step of many, as fine-tuning does for a moment, until it is over."""
    yield Progress(3, 10)
    while not over.wait(0.05):
        yield None


def colours() -> States:
    """A bright image in colour, with the uncertainty of its candidates."""
    with desk(data.immunohistochemistry(), "section", rgb=True) as d:
        d.inside((390, 300), (430, 330), size=12)
        d.outside((340, 200), (420, 225), size=12)
        d.ask(d.panel.propose)
        d.panel.uncertainty.click()
        d.click(d.panel.most_uncertain)
        yield "uncertain", d


def alike() -> States:
    """Objects like a finished one, offered."""
    with desk(data.coins(), "coins") as d:
        d.click(d.panel.box)
        yield "box", d
        finish_coin_and_ask_for_more(d)
        yield "alike", d


def volume() -> States:
    """A volume: candidates on a slice, in the volume, and an object in 3-D."""
    with desk(phantom_3d()[0], "body", scale=(2.4, 1, 1), units=("mm",) * 3) as d:
        d.viewer.dims.set_current_step(0, 24)
        d.inside((24, 68, 32), (24, 54, 42), (24, 34, 48), size=4)
        d.outside((24, 50, 68), (24, 80, 56), (24, 82, 34), size=4)
        d.ask(d.panel.propose)
        yield "slice", d
        d.click(d.panel.volume)
        d.ask(d.panel.complete)
        yield "volume", d
        d.accept(0)
        d.viewer.dims.ndisplay = 3
        yield "3d", d


def series() -> States:
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


def dataset() -> States:
    """The Dataset widget: none yet, an empty one, nothing held out, training, compared, ranking."""
    over = Event()
    with tempfile.TemporaryDirectory() as place, desk(phantom_2d(11)[0], "body_11") as d:
        _, there = d.viewer.window.add_plugin_dock_widget("napari-probseg", "Dataset", tabify=True)
        teaching, folder = there.teaching, Path(place) / "Dataset701_Liver"
        yield "no-data-set", d
        teaching.make(folder, ["liver", "tumour"])
        d.wait(lambda: teaching.state is not None)
        yield "data-set", d
        for seed in range(7):
            image, labels = phantom_2d(seed)
            Collection(folder).add(f"a_rather_long_name_{seed:02}", image, labels.clip(0, 2).astype(np.uint8))
            if seed in (0, 6):
                teaching.open(folder)
                d.wait(lambda: not teaching.work.is_busy)
                yield ("nothing-held-out" if seed == 0 else "held-out"), d
        with patch.object(lessons, "training", lambda _, of, points, *__, **___: training(of, points, over)):
            d.click(there.panel.train)
            yield "training", d
            over.set()
            d.wait(lambda: not teaching.training.is_busy)
            yield "compared", d
        over.clear()
        with patch.object(next_image, "ranking", lambda _, __, images, found, *___: ranking(images, found, over)):
            teaching.search(folder / "imagesTr")
            yield "ranking", d
            over.set()
            d.wait(lambda: not teaching.searching.is_busy)
            yield "ranked", d


def training(folder: Path, points: list[tuple[int, float]], over: Event) -> Iterator[Any]:
    """Stand at one step of many of a training until it is over; then there is a better model."""
    points[:] = [(step, 0.2 + 2 / (step + 3)) for step in range(0, 90, 5)]
    yield Progress(90, 300)
    while not over.wait(0.05):
        yield None
    comparison = Comparison("0001", "general", Judgement({1: 0.832}, 1, 9), Judgement({1: 0.791}, 1, 9))
    state = replace(lessons.State.of(Collection(folder)), newest="0001")
    return lessons.Done(state, "Model 0001 is better: adopt it?", comparison=comparison)


def ranking(images: Path, found: list[Suggestion], over: Event) -> Iterator[Any]:
    """Stand at one image of many of a ranking until it is over."""
    for i, path in enumerate(sorted(images.iterdir())[:4]):
        found.append(Suggestion(path, 0.4 - i / 20, "", thumbnail(path)))
    yield Progress(4, 20)
    yield "Looking at a_rather_long_name_04_0000.nii.gz, 5 of 20…"
    while not over.wait(0.05):
        yield None
    return "4 images, the most uncertain first: click one to open it."


def preferences() -> States:
    """Napari's Preferences, at the page of the plugin."""
    with desk(data.cell(), "cell") as d:
        dialog = PreferencesDialog(parent=d.viewer.window._qt_window)
        pages = [dialog._list.item(i).text() for i in range(dialog._list.count())]
        dialog._list.setCurrentRow(next(i for i, page in enumerate(pages) if "probseg" in page.lower()))
        yield "preferences", d, dialog


STATES: tuple[Callable[[], States], ...] = (
    empty,
    flat,
    colours,
    alike,
    volume,
    series,
    dataset,
    preferences,
)


def cut(panel: QWidget) -> list[str]:
    """Return the texts of a panel that are wider than their places."""
    found = []
    for part in (*panel.findChildren(QAbstractButton), *panel.findChildren(QLabel)):
        if not part.isVisible() or not part.text() or (isinstance(part, QLabel) and part.wordWrap()):
            continue
        if part.sizeHint().width() > part.width() or part.width() > part.parent().width():
            found.append(f"“{part.text()}” needs {part.sizeHint().width()} of {part.width()} pixels")
    if isinstance(panel, Panel):
        room, content = panel.work.viewport().width(), panel.work.widget().width()
        if content > room or panel.work.geometry().right() > panel.contentsRect().right():
            found.append(f"what scrolls is {content} wide and has {room} pixels")
    return found


def picture_of(d: Desk, part: QWidget) -> QPixmap:
    """Return a dialog or a menu as it is shown."""
    part.setStyleSheet(get_stylesheet(d.viewer.theme))
    part.show()
    d.settle()
    taken = part.grab()
    part.hide()
    return taken


def main() -> int:
    """Take the pictures; the exit status is 1 if something is cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[one.__name__ for one in STATES])
    parser.add_argument("--sizes", nargs="*", default=list(SIZES))
    chosen = parser.parse_args()
    chosen.folder.mkdir(exist_ok=True, parents=True)
    n_cut = 0
    for states in (one for one in STATES if one.__name__ in chosen.only):
        with tempfile.TemporaryDirectory() as place, patch.object(recovery, "settings_folder", lambda p=place: Path(p)):
            for name, d, *part in states():
                for theme, size in product(THEMES, chosen.sizes[:1] if part else chosen.sizes):
                    d.viewer.theme = theme
                    title = f"{name}-{theme}" if part else f"{name}-{theme}-{size}"
                    if part:
                        picture_of(d, *part).save(str(chosen.folder / f"{title}.png"))
                        continue
                    d.viewer.window.resize(*map(int, size.split("x")))
                    d.picture().save(chosen.folder / f"{title}.png")
                    for panel in d.panel.window().findChildren((Panel, DatasetPanel)):
                        for what in cut(panel):
                            n_cut += 1
                            print(f"{title}: {what}")
                d.viewer.theme = THEMES[0]
    return int(n_cut > 0)


if __name__ == "__main__":
    sys.exit(main())
