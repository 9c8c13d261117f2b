"""Wiring: what is told of what a person does on the layers of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any
from weakref import WeakMethod, ref


@dataclass(frozen=True)
class Wiring:
    """What a person does on the layers of a session calls these bound methods, with the layers; held weakly.

    Parameters
    ----------
    painted : bound method
        After a stroke.
    brushed : bound method
        When another brush is taken up.
    undo, redo, cancel : bound methods
        For Ctrl+Z, Ctrl+Shift+Z and Esc.
    moved : bound method
        When the image was laid elsewhere.
    encircling : bound method
        When a stroke begins that goes on without a button; see `napari_probseg.widgets.layers.encircling`.
    """

    painted: Callable[[Any], Any]
    brushed: Callable[[Any], Any]
    undo: Callable[[Any], Any]
    redo: Callable[[Any], Any]
    cancel: Callable[[Any], Any]
    moved: Callable[[Any], Any]
    encircling: Callable[[Any], Any]

    def of(self, layers: Any) -> Wiring:
        """Return the same of some layers: functions of an event that call the methods as long as the layers live."""
        return Wiring(**{one.name: _telling(getattr(self, one.name), layers) for one in fields(self)})


def _telling(method: Callable[[Any], Any], layers: Any) -> Callable[[Any], None]:
    called, me = WeakMethod(method), ref(layers)

    def tell(_: Any) -> None:
        if (alive := called()) is not None and (own := me()) is not None:
            alive(own)

    return tell
