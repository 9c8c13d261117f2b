"""Appearance of image layers: what a person set of one image, for the next of its kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image

_ALWAYS = ("colormap", "gamma", "opacity", "blending", "interpolation2d", "rendering", "visible")


@dataclass(frozen=True, eq=False)
class Appearance:
    """How an image is drawn.

    Parameters
    ----------
    settings : mapping
        Attributes of its layer; with the contrast limits where they were changed by hand.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    def put_on(self, image: Image) -> None:
        """Let another image be drawn so, as far as it can be; napari draws it anew for all that differs."""
        for name, value in self.settings.items():
            is_for_grey = name in ("colormap", "contrast_limits", "gamma")
            if not (image.rgb and is_for_grey) and getattr(image, name) != value:
                setattr(image, name, value)


class Limits:
    """Remembers the contrast limits that images came with, to tell which a person has changed."""

    def __init__(self) -> None:
        self._first: WeakKeyDictionary[Image, tuple[float, ...]] = WeakKeyDictionary()

    def note(self, image: Image | None) -> None:
        """Note the limits of an image that is seen for the first time."""
        if image is not None and not image.rgb and image not in self._first:
            self._first[image] = tuple(image.contrast_limits)

    def note_anew(self, image: Image) -> None:
        """Note the limits of a layer that holds another image now."""
        self._first.pop(image, None)
        self.note(image)

    def appearance_of(self, image: Image) -> Appearance:
        """Return how an image is drawn."""
        settings = {name: getattr(image, name) for name in _ALWAYS}
        if not image.rgb and self._first.get(image) not in (None, tuple(image.contrast_limits)):
            settings["contrast_limits"] = tuple(image.contrast_limits)
        return Appearance(settings)
