"""One napari viewer for many tests: what a test leaves on it is taken away, and must then be as it was."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QDockWidget, QWidget
from vispy.gloo.context import set_current_canvas


class StandingViewer:
    """Makes a viewer when it is first asked for, as napari's own ``make_napari_viewer`` does, and closes it at the end.

    Most of the time of a test of the window goes into making napari's window and closing it.
    """

    def __init__(self) -> None:
        self._viewer: Any = None
        self._app: Any = None  # of napari's actions
        self._as_made: dict[str, Any] = {}

    @contextmanager
    def lent(self):
        """Lend it to a test; what is on it afterwards is taken away."""
        from napari.settings import get_settings

        with self._at_hand():
            get_settings().reset()
            viewer = self._viewer
            self._come_to_front()
            yield viewer
            get_settings().reset()
            if not hasattr(viewer.window, "_qt_window"):  # a test has closed it
                self._forget()
                return
            is_shown = viewer.window._qt_window.isVisible()
            self._clear()
            if is_shown:  # it would be drawn from now on, whatever comes and goes
                self._shut()
                return
            state = self._state()
            left = {name: (n, self._as_made[name]) for name, n in state.items() if n != self._as_made[name]}
            self._as_made = state  # one test fails, not all that follow
            assert not left, f"a viewer is left otherwise than it was found: {left}"

    def close(self) -> None:
        """Close it, and check that nothing keeps its canvas alive, as napari's own fixture does."""
        if self._viewer is None:
            return
        kept = weakref.ref(self._viewer.window._qt_viewer)
        with self._at_hand():
            self._shut()
        gc.unfreeze()
        gc.collect()
        assert kept() is None, "something keeps a viewer alive that was closed"

    @contextmanager
    def _at_hand(self):
        """Make it if there is none; let napari know its actions. There is no thread for the status, and no console."""
        import napari
        from napari._app_model._app import NapariApplication, _napari_names
        from napari._qt._qapp_model.qactions import init_qactions
        from napari._qt.qt_viewer import QtViewer
        from napari.plugins import _initialize_plugins

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(NapariApplication, "get_app_model", lambda *_: self._app)
            patched.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None)
            patched.setattr("napari._qt.qt_viewer.QtViewer._get_console", _no_console)
            if self._viewer is None:
                self._app = NapariApplication(f"standing {id(self)}")
                self._app.injection_store.namespace = _napari_names
                for begun in (_initialize_plugins, init_qactions):
                    begun.cache_clear()
                self._viewer = napari.Viewer(show=False, show_welcome_screen=False)
                QtViewer._instances.clear()  # napari's own fixture counts those that its tests leave
                self._as_made = self._state()
            yield

    def _shut(self) -> None:
        with patch.object(self._viewer.window._qt_window, "_save_current_window_settings"):
            self._viewer.close()
        self._forget()

    def _forget(self) -> None:
        self._viewer = None
        self._app.destroy(self._app.name)

    def _come_to_front(self) -> None:
        """Let VisPy draw on it: a viewer that another test has closed may be the one that it has drawn on last."""
        set_current_canvas(self._viewer.window._qt_viewer.canvas._scene_canvas)

    def _clear(self) -> None:
        from napari_probseg.widgets import models
        from napari_probseg.widgets.segment import closing, images

        viewer = self._viewer
        window = viewer.window._qt_window
        self._come_to_front()
        for dock in window.findChildren(QDockWidget):
            if is_ours(widget := getattr(dock, "inner_widget", lambda: None)()):
                viewer.window.remove_dock_widget(dock)
                widget.deleteLater()
        viewer.window.remove_dock_widget("all")
        with no_search():
            viewer.layers.clear()
        if (worked_on := images._images.pop(viewer, None)) is not None:
            for layers in worked_on.in_memory:
                if layers.session.journal is not None:
                    layers.session.journal.close()
        models._given.pop(viewer, None)
        for guard in window.findChildren(closing.Guard):
            guard.setParent(None)
        viewer.dims.ndisplay = 2
        viewer.dims.order = (0, 1)
        viewer.camera.angles = (0, 0, 90)
        viewer.theme = "dark"
        viewer.title = "napari"
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def _state(self) -> dict[str, Any]:
        """Return what a test may leave otherwise than it was, and who of ours is still told of what happens."""
        viewer = self._viewer
        emitters = [viewer.events, viewer.dims.events, viewer.camera.events]
        emitters += [viewer.layers.events, viewer.layers.selection.events]
        told = [back for group in emitters for emitter in group.emitters.values() for back in emitter.callbacks]
        told += [back for kind in ("move", "drag", "wheel") for back in getattr(viewer, f"mouse_{kind}_callbacks")]
        return {
            "keys": sorted(map(str, viewer.keymap)),
            "layers": len(viewer.layers),
            "docks": len(viewer.window._wrapped_dock_widgets),
            "dims": (viewer.dims.ndim, viewer.dims.ndisplay, tuple(viewer.dims.order)),
            "told": [str(back) for back in told if is_ours(back[0]() if isinstance(back, tuple) else back)],
        }


def is_ours(thing: Any) -> bool:
    """Return whether a widget, or who is told of something, is of this package."""
    owner = getattr(thing, "__self__", thing)
    module = getattr(owner, "__module__", None) or type(owner).__module__
    return module.startswith("napari_probseg")


@contextmanager
def no_search():
    """Let no layer that is removed set off a search of all that is in memory, as napari has it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("napari._vispy.canvas.gc", SimpleNamespace(collect=lambda *_: 0), raising=False)
        yield


def _no_console(*_: Any) -> QWidget:
    widget = QWidget()
    widget._update_theme = lambda **_: None
    return widget
