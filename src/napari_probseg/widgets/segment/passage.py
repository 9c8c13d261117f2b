"""Passage from one image to the next: the session and the canvas stand still, and what a person does waits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Protocol

from qtpy.QtWidgets import QWidget

from napari_probseg.widgets.late_mouse import LateMouse
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.verbs import NotYetError
from napari_probseg.widgets.still import StillCanvas


class Passage:
    """What stands still while another image is on its way.

    Parameters
    ----------
    work : Workspace
    parent : QWidget
        Anything in the window.
    is_settled : function
        Returns whether the image that came can be drawn on: the brush is in hand again, if it was.
    """

    def __init__(self, work: Workspace, parent: QWidget, is_settled: Callable[[], bool]) -> None:
        self._work, self._is_settled = work, is_settled
        self._canvas, self._mouse = StillCanvas(parent), LateMouse(parent, self._wait)

    def begin(self) -> None:
        """Keep the session still; strokes are for the image that comes."""
        self._work.hold()
        self._mouse.begin()

    def freeze(self) -> None:
        """Keep the canvas as it is drawn."""
        self._canvas.hold()

    def thaw(self) -> None:
        """Draw the canvas again."""
        self._canvas.release()

    def end(self) -> None:
        """Let what a person did meanwhile be done, and the strokes that follow be drawn at once."""
        self._canvas.release()
        self._work.release_hold()
        self.let_mouse_go()

    def let_mouse_go(self) -> None:
        """Draw the strokes that wait, and those that follow at once."""
        self._work.wait(partial(self._once_settled, self._mouse.end))

    def _wait(self, draw: Callable[[], Any]) -> None:
        self._work.wait(partial(self._once_settled, partial(self._draw, draw)))

    def _once_settled(self, what: Callable[[], Any]) -> None:
        if not self._is_settled():
            raise NotYetError("the image is not there yet: one moment")
        what()

    def _draw(self, draw: Callable[[], Any]) -> None:
        if (rest := self._mouse.rest_ms) > 0:
            raise NotYetError("a stroke is being drawn: one moment", rest)
        if not self._work.recovery.is_asking:  # else a question lies over the work
            draw()


class _Traveller(Protocol):
    work: Workspace

    def fail(self, error: Exception) -> None: ...


def told(method: Callable[..., Any]) -> Callable[..., None]:
    """Make a method one the user calls, as `verb` does; a stroke is drawn to its end first, and any error is told."""

    @wraps(method)
    def called(self: _Traveller, *args: Any) -> None:
        def do() -> None:
            if self.work.layers is not None and self.work.layers.is_drawing:
                raise NotYetError("a stroke is being drawn: one moment")
            try:
                method(self, *args)
            except NotYetError:
                raise
            except Exception as error:  # a reader may raise anything
                self.fail(error)

        self.work.act(do, method.__name__)

    return called
