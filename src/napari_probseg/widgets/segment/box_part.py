"""Box part of the Segment widget: a rectangle around the object, of a Shapes layer or drawn on the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.messages import GIVEN_UP
from napari_probseg.widgets.segment.box_tool import BoxTool, rectangle_of
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.panel import Panel

if TYPE_CHECKING:
    from napari.viewer import Viewer


class BoxPart(QObject):
    """Lets a person box the object in.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    work : Workspace
        What takes the box.
    panel : Panel
        Whose button shows whether one is awaited.
    """

    def __init__(self, viewer: Viewer, work: Workspace, panel: Panel) -> None:
        super().__init__(panel)
        self._viewer, self._work, self._panel = viewer, work, panel
        self._tool = BoxTool(viewer, panel, self._drawn, self._ended)
        work.put_down.connect(self._give_up)

    @property
    def is_waiting(self) -> bool:
        """Whether a rectangle is to be drawn."""
        return self._tool.is_waiting

    def begin(self) -> None:
        """Take the rectangle of the Shapes layer that is selected, or have one drawn; while one is, give that up."""
        active = bare(self._viewer.layers.selection.active)
        if self.is_waiting:
            self._give_up(None)
        elif (corners := rectangle_of(active)) is not None:
            self._work.mark_box(corners, active)
        else:
            self._work.act(self._take_up)
        self._show()

    def stop(self) -> None:
        """Wait for none any longer."""
        self._tool.stop()

    def _take_up(self) -> None:
        layers = self._work.open_layers()
        self._work.prepare()
        self._work.put_down.emit(self)
        self._tool.start(layers.markers)
        self._show()
        self._work.say("Draw a rectangle; Esc gives it up.")

    def _give_up(self, instead: object) -> None:
        if self.is_waiting and instead is not self:
            self.stop()
            self._ended("" if instead is not None else GIVEN_UP)

    def _ended(self, said: str = "") -> None:
        self._work.say(said)  # what to do is told no longer
        self._show()

    def _show(self) -> None:
        self._panel.box.setChecked(self.is_waiting)
        self._work.changed.emit()

    def _drawn(self, corners: Any) -> None:
        self._show()
        self._work.mark_box(corners)
