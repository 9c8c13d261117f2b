"""Commands of napari's palette: the verbs of the Segment widget of the viewer in front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from weakref import WeakSet

import napari


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


def undo() -> None:
    """Take back the latest step, a stroke or the model's."""
    _do("undo")


def redo() -> None:
    """Do the step again that was taken back last."""
    _do("redo")


def finish() -> None:
    """Finish the object and begin the next."""
    _do("finish")


def cancel() -> None:
    """Give up what runs."""
    _do("cancel")
