"""Misreading: images of which napari's own reader made something else than their file tells."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_probseg.io.folder import images_in, in_reading_order
from napari_probseg.io.labels import look_like_labels
from napari_probseg.napari_io.layer_data import is_read_otherwise, place_told
from napari_probseg.napari_io.layer_place import KEY
from napari_probseg.widgets.layers.image import finest, is_in_time, unit_of
from napari_probseg.widgets.layers.source import source_of
from napari_probseg.widgets.readers import NAPARI

READ_ANEW, ONE_BY_ONE, AS_OBJECTS = "read anew", "one by one", "as objects"  # where the links of what is said lead


def misread(layer: Image) -> str:
    """Return what to say, with a link, of an image that napari's own reader made something else of; else nothing."""
    path = layer.source.path
    if not path or layer.source.reader_plugin != NAPARI or KEY in layer.metadata or not is_read_otherwise(str(path)):
        return ""
    return (
        f"napari's own reader left out what the file of “{escape(layer.name)}” tells (distances, axes, colours): "
        f'<a href="{READ_ANEW}">read it anew</a>.'
    )


def first_of(layer: Image) -> Path | None:
    """Return the first of the images that a layer is a stack of, as napari opens a folder; None if it is none."""
    path = Path(str(layer.source.path or ""))
    images = images_in(path) if layer.source.path and path.is_dir() else []
    return in_reading_order(images)[0] if images else None


def stacked(layer: Image) -> str:
    """Return what to say, with a link, of a folder of images that was opened as one stack; nothing of others."""
    if first_of(layer) is None:
        return ""
    return (
        f"“{escape(layer.name)}” is all images of a folder as the slices of one volume. To go from image to image with "
        f'Finish image, <a href="{ONE_BY_ONE}">open the first alone</a>.'
    )


def opened_twice(layer: Image, others: Sequence[Image]) -> str:
    """Return what to say of an image whose file is open beside it already; nothing of others, or of its channels."""
    source = source_of(layer)
    twins = [one for one in others if one is not layer and _is_plain(one) and _is_plain(layer)]
    if source is None or not any(source_of(one) == source and _are_alike(one.data, layer.data) for one in twins):
        return ""
    return f"“{source.name}” is open twice, and each has objects of its own: work on one of the two alone."


def _are_alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether two images are the same, by some of their voxels."""
    some = tuple(slice(None, None, max(1, n // 16)) for n in a.shape)
    return a.shape == b.shape and np.array_equal(a[some], b[some])


def labels_beside(layer: Image, others: Sequence[Image]) -> tuple[Image, Image] | None:
    """Return the layer that seems to be labels, and the image that they are of, where one of the two is ``layer``."""
    beside = [one for one in others if one is not layer and _is_plain(one) and one.data.shape == layer.data.shape]
    if not _is_plain(layer) or not beside:
        return None
    are_labels = [look_like_labels(one.data) for one in (layer, *beside)]
    if all(are_labels) or not any(are_labels):
        return None
    other = beside[are_labels[1:].index(not are_labels[0])]
    return (layer, other) if are_labels[0] else (other, layer)


def taken_for_image(labels: Image, image: Image) -> str:
    """Return what to say, with a link, of labels that were opened as an image."""
    return (
        f"“{escape(labels.name)}” looks like labels of “{escape(image.name)}”: "
        f'<a href="{AS_OBJECTS}">take them as its objects</a>.'
    )


def _is_plain(layer: Image) -> bool:
    """Return whether a layer holds one number a voxel, in memory: else to look at it takes long."""
    return isinstance(layer.data, np.ndarray) and not layer.rgb and not layer.multiscale


def places_told(layers: Sequence[Any]) -> list[tuple[Image, dict[str, Any]]]:
    """Return where files tell that images lie, if that is all that was misread, and nothing lies beside them otherwise.

    Parameters
    ----------
    layers : sequence of Layer
        All that a person has opened.

    Returns
    -------
    list of (Image, dict)
        What is to be put right of those that were misread.
    """
    places: list[tuple[Image, dict[str, Any]]] = []
    for layer in layers:
        if isinstance(layer, Image) and KEY in layer.metadata:
            continue
        if not isinstance(layer, Image) or not _is_as_read(layer) or not misread(layer):
            return []
        place = place_told(str(layer.source.path), tuple(finest(layer).shape))
        if place is None:
            return []
        places.append((layer, place))
    return places


def lay_as_told(places: Sequence[tuple[Image, dict[str, Any]]]) -> None:
    """Lay images where their files tell; see `places_told`."""
    for layer, place in places:
        layer.metadata = layer.metadata | place["metadata"]
        for name in ("units", "axis_labels", "scale"):
            if name in place and hasattr(layer, name):  # napari 0.7 has no units on every layer
                setattr(layer, name, place[name])


def _is_as_read(layer: Image) -> bool:
    """Return whether nobody has laid an image elsewhere since it was read."""
    return not layer.rgb and np.array_equal(layer.data_to_world(np.ones(layer.ndim)), np.ones(layer.ndim))


def distances_of(layer: Image) -> str:
    """Return how far apart the pixels of a layer are: "pixels 0.5 µm apart", "a time series without distances"."""
    unit, series = unit_of(layer), "a time series" if is_in_time(layer) else ""
    if unit:
        return f"{series}{', ' * bool(series)}pixels {float(layer.scale[-1]):.3g} {unit} apart"
    return f"{series} without distances".strip()
