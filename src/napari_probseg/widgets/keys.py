"""Key bindings on one viewer, without taking those of another plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from app_model.types import KeyBinding, KeyCode

if TYPE_CHECKING:
    from napari.viewer import Viewer


class Keys:
    """The keys that one widget holds on a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer; the active layer's own keys win over these.
    verbs : mapping of str to bound method
        What each verb does; held weakly, so that keys keep no widget alive.
    """

    def __init__(self, viewer: Viewer, verbs: Mapping[str, Callable[[], Any]]) -> None:
        self._viewer = viewer
        self._verbs = {verb: weakly(method) for verb, method in verbs.items()}
        self._bound: list[str] = []

    def bind(self, keys: Mapping[str, str]) -> list[str]:
        """Bind the key of each verb and return the keys that could not be had."""
        refused = []
        for verb, key in keys.items():
            if not key or verb not in self._verbs:
                continue
            try:
                self._viewer.bind_key(_spelled(key), self._verbs[verb])
            except ValueError:  # unknown, or another plugin's on this viewer
                refused.append(key)
            else:
                self._bound.append(_spelled(key))
        return refused

    def hold(self, key: str, press: Callable[[], Any], release: Callable[[], Any]) -> list[str]:
        """Bind a key that does something for as long as it is held; return it if it could not be had."""
        pressed, released = weakly(press), weakly(release)

        def held(viewer: Any) -> Generator[None, None, None]:
            pressed(viewer)
            yield
            released(viewer)

        try:
            if key:
                self._viewer.bind_key(_spelled(key), held)
                self._bound.append(_spelled(key))
        except ValueError:
            return [key]
        return []

    def release(self) -> None:
        """Give the keys back."""
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound.clear()


def weakly(method: Callable[[], Any]) -> Callable[[Any], None]:
    """Return a function for ``bind_key`` that calls a method as long as its owner lives."""
    reference = WeakMethod(method)

    def pressed(_: Any) -> None:
        if (alive := reference()) is not None:
            alive()

    return pressed


def short(key: str) -> str:
    """Return a key as it is drawn on a button: "Shift+U" is "⇧U"; the signs of a Mac's keys are for Macs alone."""
    is_mac = sys.platform == "darwin"
    for name, sign in (("Shift+", "⇧"), ("Alt+", "⌥" if is_mac else "Alt+"), ("Control+", "⌃" if is_mac else "Ctrl+")):
        key = key.replace(name, sign)
    return key.replace("Escape", "Esc")


def _spelled(key: str) -> str:
    """Return a key in napari's spelling: "Shift+U" is "Shift-U"."""
    spelled = key.strip().replace("+", "-")
    if any(part.key == KeyCode.UNKNOWN for part in KeyBinding.from_str(spelled).parts):
        raise ValueError(f"{key!r} is not a key")
    return spelled
