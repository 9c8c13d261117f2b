"""Commands of napari's palette: the verbs of the Segment widget of the viewer in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from weakref import WeakSet

import napari

from napari_probseg.widgets.layers.image import bare


class SegmentWidget(Protocol):
    """What the commands know of the Segment widget."""

    verbs: Mapping[str, Callable[[], None]]
    work: Any
    panel: Any

    def parent(self) -> Any:
        """Return the dock that it is in."""
        ...

    def belongs_to(self, viewer: Any) -> bool:
        """Return whether it is the widget of a viewer."""
        ...


_open: WeakSet[SegmentWidget] = WeakSet()


def register(widget: SegmentWidget) -> None:
    """Let the commands find a widget, for as long as it lives."""
    _open.add(widget)


def unregister(widget: SegmentWidget) -> None:
    """Let the commands forget a widget that was closed."""
    _open.discard(widget)


def found(viewer: Any) -> SegmentWidget | None:
    """Return the Segment widget of a viewer, if it is open."""
    return next((widget for widget in _open if widget.belongs_to(viewer)), None)


def widget_of(viewer: Any) -> SegmentWidget:
    """Return the Segment widget of a viewer, opened if there is none."""
    if (there := found(viewer)) is not None:
        return there
    _, opened = viewer.window.add_plugin_dock_widget("napari-probseg", "Segment")
    return opened


class Teaching(Protocol):
    """What the Segment widget knows of the Dataset widget."""

    viewer: Any
    state: Any
    found: Any
    added: Any
    refused: Any

    def add(self, kinds: Mapping[int, str]) -> None:
        """Add the image in Segment with its finished objects."""
        ...


_teaching: WeakSet[Teaching] = WeakSet()


def register_teaching(teaching: Teaching) -> None:
    """Let the Segment widget find a data set, for as long as it is open."""
    _teaching.add(teaching)


def unregister_teaching(teaching: Teaching) -> None:
    """Let the Segment widget forget a data set that was closed."""
    _teaching.discard(teaching)


def teaching_of(viewer: Any) -> Teaching | None:
    """Return the data set that is open beside a viewer's images, if one is."""
    return next((one for one in _teaching if bare(one.viewer) is bare(viewer) and one.state is not None), None)


def _do(verb: str) -> None:
    if (viewer := napari.current_viewer()) is not None:
        widget_of(viewer).verbs[verb]()


def inside() -> None:
    """Take up the brush for the inside of the object."""
    _do("inside")


def outside() -> None:
    """Take up the brush for the outside of the object."""
    _do("outside")


def erase() -> None:
    """Take up the eraser."""
    _do("erase")


def box() -> None:
    """Draw a box around the object."""
    _do("box")


def complete() -> None:
    """Complete the object."""
    _do("complete")


def tune() -> None:
    """Fine-tune the network to this image."""
    _do("tune")


def propose() -> None:
    """Ask for candidates."""
    _do("propose")


def accept() -> None:
    """Accept the candidate on show."""
    _do("accept")


def next_candidate() -> None:
    """Show the next candidate."""
    _do("next")


def previous_candidate() -> None:
    """Show the previous candidate."""
    _do("previous")


def none_of_these() -> None:
    """Ask for other candidates."""
    _do("none")


def more() -> None:
    """Look for objects like the finished ones."""
    _do("more")


def take_all() -> None:
    """Take all objects above the line that are like the finished ones."""
    _do("take_all")


def undo() -> None:
    """Take back the latest step, a stroke or the model's."""
    _do("undo")


def redo() -> None:
    """Do the step again that was taken back last."""
    _do("redo")


def finish() -> None:
    """Finish the object and begin the next."""
    _do("finish")


def next_object() -> None:
    """Go to the next finished object."""
    _do("next_object")


def previous_object() -> None:
    """Go to the finished object before."""
    _do("previous_object")


def reopen() -> None:
    """Reopen the finished object that is selected, else the latest one."""
    _do("reopen")


def finish_image() -> None:
    """Save the objects, and open the next image."""
    _do("finish_image")


def image_before() -> None:
    """Open the image again that was finished before."""
    _do("image_before")


def cancel() -> None:
    """Give up what runs."""
    _do("cancel")
