"""Fixtures that several files of tests share."""

from __future__ import annotations

import gc
from contextlib import ExitStack, suppress
from importlib import import_module

import pytest


def pytest_collection_finish(session) -> None:
    """Load triton, which comes with torch's builds for CUDA, before there is a window: after Mesa's LLVM it crashes."""
    if any(item.path.name.startswith("test_widget") for item in session.items):
        with suppress(ImportError):
            import_module("triton")


def needs_window(request) -> bool:
    return request.node.path.name.startswith("test_widget")


@pytest.fixture(autouse=True)
def older_objects(request):
    """Keep what was there before a test of a window out of its garbage collections.

    A viewer sets off hundreds of them, and they would look through all that other tests have imported and left: most of
    the time that these tests took.
    """
    if needs_window(request):
        gc.collect(1)
        gc.freeze()


@pytest.fixture(autouse=True)
def journals(request, monkeypatch, tmp_path_factory):
    """Return the folder of journals of the tests of a window: none of them finds the work of another."""
    if not needs_window(request):
        return None
    folder = tmp_path_factory.mktemp("journals")
    monkeypatch.setattr("napari_probseg.widgets.segment.recovery.settings_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def answers_here(request, monkeypatch):
    """Let the tests of a window be answered in a thread of it, and when it is asked: a file with ``LIVE`` says more.

    Layers are made when they are needed, and beforehand where a file says ``BEFOREHAND``.
    """
    if request.node.path.name.startswith("test_widget"):
        from napari_probseg.engine.local import Local
        from napari_probseg.widgets.settings import LIVE_OFF, Settings

        asked = Settings(
            live=getattr(request.module, "LIVE", LIVE_OFF), brush_size=getattr(request.module, "BRUSH", 10)
        )
        if not getattr(request.module, "BEFOREHAND", False):
            monkeypatch.setattr("napari_probseg.widgets.segment.beforehand.Beforehand.begin", lambda beforehand: None)
        monkeypatch.setattr("napari_probseg.widgets.segment.showing.engine", lambda device: Local())
        monkeypatch.setattr("napari_probseg.widgets.dataset.controller.another", Local)
        monkeypatch.setattr("napari_probseg.widgets.segment.widget.read_settings", lambda: asked)
        monkeypatch.setattr("napari_probseg.widgets.segment.controller.keep_setting", lambda name, value: None)


@pytest.fixture
def collection(tmp_path):
    """Return an empty data set of images with two kinds of objects."""
    from napari_probseg.dataset.collection import Collection

    return Collection.create(tmp_path / "Dataset700_Test", ["cell", "nucleus"], ending=".tif")


@pytest.fixture
def session():
    """Return a session on an image of noise, whose proposer has no network."""
    import numpy as np

    import napari_probseg as ps
    from fakes import GrowingProposer
    from sessions import SHAPE

    return ps.Session(ps.Case(np.random.default_rng(0).random(SHAPE)), GrowingProposer())


@pytest.fixture(scope="session")
def standing():
    """Return the viewers that most tests of a window share; hardly any test needs more than one."""
    viewers = []
    yield viewers
    for viewer in viewers:
        viewer.close()


@pytest.fixture
def new_viewer(request, qtbot, monkeypatch):
    """Return a function that returns a viewer, one that tests share unless a file says ``OWN_VIEWER``."""
    if getattr(request.module, "OWN_VIEWER", False):
        yield request.getfixturevalue("make_napari_viewer_proxy")
        return
    from napari.utils._proxies import PublicOnlyProxy

    from standing_viewer import StandingViewer

    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    standing, lent = request.getfixturevalue("standing"), []
    with ExitStack() as until:

        def viewer():
            if len(lent) == len(standing):
                standing.append(StandingViewer())
            lent.append(until.enter_context(standing[len(lent)].lent()))
            return PublicOnlyProxy(lent[-1])

        yield viewer


@pytest.fixture
def open_widget(new_viewer, caplog):
    """Return a function that opens a viewer with an image and the docked widget."""
    from napari_probseg.widgets.segment.widget import SegmentWidget
    from standing_viewer import no_search
    from window import Balls

    opened = []

    def opener(image=None, proposer=None, **kwargs):
        viewer = new_viewer()
        if image is not None:
            viewer.add_image(image, name="image", **kwargs)
        widget = SegmentWidget(viewer, proposer or Balls())
        viewer.window.add_dock_widget(widget, name="Segment")
        opened.append(widget)
        return viewer, widget

    yield opener
    with no_search():
        for widget in opened:
            widget.release()
    caplog.get_records("call").clear()  # of what was refused: their frames would keep the viewer alive


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three images."""
    import numpy as np

    import napari_probseg as ps
    from window import disk

    for i in range(3):
        ps.write(tmp_path / f"cell{i}.tif", (disk() * (i + 1)).astype(np.float32), labels=False)
    return tmp_path


@pytest.fixture
def opened(open_widget, folder):
    """Return a viewer and the widget, with the first image of the folder."""
    viewer, widget = open_widget()
    viewer.open(str(folder / "cell0.tif"), plugin="napari")
    return viewer, widget


@pytest.fixture
def answer_dialog(monkeypatch):
    """Return a function that answers the next file dialogs with a path."""
    from qtpy.QtWidgets import QFileDialog, QMessageBox

    def answer(path, kind=""):
        for name in ("getSaveFileName", "getOpenFileName"):
            monkeypatch.setattr(QFileDialog, name, lambda *_: (str(path), kind))

    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    return answer
