"""Colours of the layers: markers red and blue, finished objects of other colours, by number or by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, partial
from importlib import import_module
from threading import Thread, main_thread

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_probseg.case import Marker
from napari_probseg.rendering import BLUE, RED

_OBJECT_COLOURS = (
    (0.30, 0.78, 0.45),
    (0.98, 0.78, 0.25),
    (0.72, 0.46, 0.90),
    (0.25, 0.80, 0.82),
    (0.98, 0.58, 0.22),
    (0.95, 0.50, 0.75),
    (0.70, 0.82, 0.28),
    (0.65, 0.55, 0.45),
)
_LIBRARIES = ("pandas", "skimage.color")  # that napari imports for the first layer of labels
_NO_CLASS = (0.62, 0.62, 0.62)
_SEED_OF_CLASSES = 0.25  # by which a colormap that colours by class is known: nothing else is made of it
_N_COLOURS = (255, 65535)  # as many as napari tells apart by one byte of each voxel, and by two
Colour = tuple[float, float, float]
# Values of the passing layer alone, beside the markers: what was accepted becomes unknown again, a ring around a place
# that is gone to, and objects alike.
TAKEN_BACK, RING, UNLIKELY, LIKELY, ON_SHOW = 3, 4, 5, 6, 7
_PASSING: dict[int | None, Colour | tuple[float, ...]] = {
    TAKEN_BACK: (0.3, 0.3, 0.3, 1.0),
    RING: (1.0, 0.85, 0.1, 1.0),
    UNLIKELY: (0.75, 0.75, 0.78, 0.8),
    LIKELY: (1.0, 0.78, 0.1, 1.0),
    ON_SHOW: (1.0, 0.25, 0.25, 1.0),
}


def marker_colours(*, in_depth: bool = False) -> DirectLabelColormap:
    """Return the colours of a layer of markers: interior red, exterior blue.

    In depth, in napari's 3-D display, the exterior is clear: it would hide the object that it lies around.
    """
    return DirectLabelColormap(color_dict=_of_markers(0.0, in_depth))


def passing_colours(*, in_depth: bool = False) -> DirectLabelColormap:
    """Return the colours of the passing layer: those of markers, paler, and those that only it has."""
    return DirectLabelColormap(color_dict=_of_markers(0.3, in_depth) | _PASSING)


def _of_markers(paleness: float, in_depth: bool) -> dict[int | None, tuple[float, ...]]:
    """Return the colours of markers, mixed with so much white."""
    red, blue = (tuple(paleness + (1 - paleness) * part for part in colour) for colour in (RED, BLUE))
    clear = (0.0, 0.0, 0.0, 0.0)
    outside = clear if in_depth else (*blue, 0.7)  # it may cover most of the image
    return {None: clear, int(Marker.UNKNOWN): clear, int(Marker.OBJECT): (*red, 1.0), int(Marker.BACKGROUND): outside}


def object_colours() -> CyclicLabelColormap:
    """Return the colours of finished objects: none of them the markers' red or blue."""
    return CyclicLabelColormap(colors=[(0, 0, 0, 0), *((*colour, 1.0) for colour in _OBJECT_COLOURS)])


@cache
def warm_up() -> Thread:
    """Import and compile what napari's layers of labels need, in a thread: else the window waits for it.

    Python waits at its end for the one of these that is being done, and the others are left: none is amid what is
    written in C when that is taken apart.
    """
    imports = [partial(import_module, library) for library in _LIBRARIES]
    compiled = [partial(colours().map, np.zeros((1, 1), np.uint8)) for colours in (marker_colours, object_colours)]

    def prepare() -> None:
        for step in (*imports, *compiled):
            if main_thread().is_alive():
                step()

    thread = Thread(target=prepare, name="napari-probseg colours")
    thread.start()
    return thread


@cache
def object_colour(label: int) -> Colour:
    """Return the colour of a finished object by its number."""
    red, green, blue, _ = np.ravel(object_colours().map(label)).tolist()
    return red, green, blue


class ObjectColours:
    """How finished objects are coloured: by number, or by class; a class keeps the colour that it was given first.

    Parameters
    ----------
    by_class : bool
        Whether objects of one class have one colour; those of no class are grey.
    """

    def __init__(self, by_class: bool = False) -> None:
        self.by_class = by_class
        self._places: dict[str, int] = {}

    def know(self, kinds: Iterable[str]) -> None:
        """Give these classes colours, in this order, if they have none yet."""
        for kind in filter(None, kinds):
            self._places.setdefault(kind, len(self._places))

    def of_class(self, kind: str) -> Colour:
        """Return the colour of a class; grey for the empty string. Beyond the eighth they are darker ones."""
        if not kind:
            return _NO_CLASS
        self.know([kind])
        turn, at = divmod(self._places[kind], len(_OBJECT_COLOURS))
        red, green, blue = _OBJECT_COLOURS[at]
        light = 0.65**turn
        return red * light, green * light, blue * light

    def of(self, label: int, kind: str) -> Colour:
        """Return the colour of an object."""
        return self.of_class(kind) if self.by_class else object_colour(label)

    def put_on(self, layer: Labels, kinds: Mapping[int, str]) -> None:
        """Colour a layer of objects of these classes; by number, colours that a person has chosen are left."""
        before = layer.colormap
        if not self.by_class:
            if _is_by_class(before):
                layer.colormap = object_colours()
            return
        wanted = self._of_classes(kinds)
        if not _is_by_class(before) or len(before.colors) != len(wanted):
            layer.colormap = CyclicLabelColormap(colors=wanted, seed=_SEED_OF_CLASSES)
        elif not np.array_equal(before.colors, wanted):
            before.colors = wanted
            layer.events.colormap()  # what is drawn has other colours, and need not be read anew

    def _of_classes(self, kinds: Mapping[int, str]) -> NDArray[np.float32]:
        """Return the colour of each number, (255 or 65535, 4), 0 first.

        napari looks numbers up by a dictionary otherwise, one voxel after the other: seconds for a large image.
        """
        n = next((n for n in _N_COLOURS if n > max(kinds, default=0)), _N_COLOURS[-1])
        colours = np.full((n, 4), (*_NO_CLASS, 1), np.float32)
        colours[0] = 0
        for label, kind in kinds.items():
            if kind and label < n:  # beyond that napari begins again
                colours[label] = (*self.of_class(kind), 1)
        return colours


def _is_by_class(colours: object) -> bool:
    return isinstance(colours, CyclicLabelColormap) and colours.seed == _SEED_OF_CLASSES
