"""Overlays: how a layer that lies over an image is added, removed, laid elsewhere and used again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_probseg.pages import zeros
from napari_probseg.region import Region, hull
from napari_probseg.widgets.layers.image import finest, has_channels_first, placement
from napari_probseg.widgets.still import units_may_differ

if TYPE_CHECKING:
    from napari.viewer import Viewer

Seen = tuple[int, ...] | None  # what the canvas shows of a layer; see `seen`
MAX_DRAWN_REGIONS = 4  # that are drawn one after the other


def add(viewer: Viewer, layer: Any) -> None:
    """Add a layer of ours on top; of units that differ napari warned when the images came whose units it has."""
    with units_may_differ():
        viewer.add_layer(layer)


def remove(viewer: Viewer, layer: Any) -> None:
    """Remove a layer of ours, if it is there."""
    if layer in viewer.layers:
        with units_may_differ():
            viewer.layers.remove(layer)


def add_quietly(viewer: Viewer, layer: Any) -> None:
    """Add a layer on top and leave the active layer active, so that the brush stays in hand."""
    active = viewer.layers.selection.active
    add(viewer, layer)
    if active is not None:
        viewer.layers.selection.active = active


def lay_over(layer: Any, where: dict[str, Any]) -> None:
    """Lay a layer elsewhere; see `placement`."""
    for name, value in where.items():
        if not np.array_equal(np.asarray(getattr(layer, name, value), dtype=object), np.asarray(value, dtype=object)):
            setattr(layer, name, value)


def will_do(layer: Any, ndim: int, where: dict[str, Any]) -> bool:
    """Return whether a layer can be laid elsewhere: it has as many axes, and the same units, else napari may warn."""
    units = tuple(map(str, getattr(layer, "units", ())))
    return bool(layer.ndim == ndim and units == tuple(map(str, where.get("units", units))))


def used_again(
    layer: Labels,
    data: NDArray[Any] | Sequence[tuple[Region, Any]],
    name: str,
    where: dict[str, Any],
    *,
    plane: Seen = (),
) -> Labels:
    """Return a layer with other data of as many axes, laid elsewhere, visible, and without a history of painting.

    Values of regions are written into the data that it has, of which napari takes 20 ms to draw others; see `write`.
    """
    if isinstance(data, np.ndarray):
        layer.data = data
    else:
        write(layer, data, plane=plane)
    if layer.name != name:
        layer.name = name
    lay_over(layer, where)
    if not layer.visible:  # napari draws all anew, also where it is
        layer.visible = True
    layer.editable = False  # which forgets the history
    layer.editable = True
    return layer


def write(layer: Labels, values: Iterable[tuple[Region, Any]], *, plane: Seen = ()) -> None:
    """Write regions of a layer, of which napari draws those that are seen, and not all anew.

    Parameters
    ----------
    layer : Labels
    values : iterable of (region, array)
    plane : tuple of int, optional
        What the canvas shows of it; see `seen`.
    """
    changed = []
    for where, new in values:
        if not np.array_equal(layer.data[where], new):
            layer.data[where] = new
            changed.append(where)
    draw(layer, changed, plane=plane)


def draw(layer: Labels, regions: Sequence[Region], *, plane: Seen = ()) -> None:
    """Let napari draw regions of a layer anew, whose data was changed in place; see `write`.

    Where there are many, all between them is drawn, too: napari takes its time for each, and until a layer is on the
    screen it draws all of it for each.
    """
    has_copy = not layer.visible or layer.data.itemsize > 2  # that napari draws
    if plane is None or len(plane) + 2 != layer.ndim or has_copy:
        if regions:
            layer.refresh()
        return
    parts = [where[len(plane) :] for where in regions if crosses(where, plane)]
    for where in parts if len(parts) <= MAX_DRAWN_REGIONS else [reduce(hull, parts)]:
        offset = [part.indices(n)[0] for part, n in zip(where, layer.data.shape[len(plane) :], strict=True)]
        layer.events.labels_update(data=layer.data[(*plane, *where)], offset=offset)


def crosses(where: Region, index: Sequence[int]) -> bool:
    """Return whether a region has a part on the plane of an index along the first axes."""
    along = zip(where, index, strict=False)
    return all((part.start or 0) <= i and (part.stop is None or i < part.stop) for part, i in along)


def seen(viewer: Viewer, layer: Labels) -> Seen:
    """Return the index of the plane of a volume that the canvas shows, () of an image.

    None where it shows more than a plane, or one that does not go along two axes of the layer in their order.
    """
    order, n_extra = tuple(viewer.dims.order), viewer.dims.ndim - layer.ndim
    if viewer.dims.ndisplay != 2 or order != tuple(range(len(order))) or n_extra < 0 or layer.ndim > 3:
        return None
    if layer.ndim == 2:
        return ()
    here = np.asarray(viewer.dims.point[n_extra:], float)
    beside = here + np.array([0.0, *np.ptp(layer.extent.world, axis=0)[-2:]])
    at, there = (float(layer.world_to_data(place)[0]) for place in (here, beside))
    return (round(at),) if np.isclose(at, there, atol=1e-3) and 0 <= round(at) < layer.data.shape[0] else None


def numbers_for(largest: int) -> Any:
    """Return the type of a layer whose largest number is given: napari draws one of 8 bits ten times as fast."""
    return np.min_scalar_type(largest)


def empty_again(layer: Labels, shape: tuple[int, ...], where: dict[str, Any]) -> bool:
    """Lay a locked layer elsewhere, empty if its shape changes by that; return False if its axes do not fit."""
    if not will_do(layer, len(shape), where):
        return False
    if layer.data.shape != shape:
        used_again(layer, zeros(shape, layer.data.dtype), layer.name, where)
        layer.editable = False
    lay_over(layer, where)
    return True


def at_rest(layer: Labels, image: Image) -> bool:
    """Let an empty layer wait over an image, as one voxel if it is not as large; return False if it will not do."""
    first = int(has_channels_first(image))
    where = placement(image, image.ndim - first)
    if layer.data.shape != finest(image).shape[first : image.ndim] or not will_do(layer, image.ndim - first, where):
        return shrunk(layer, image)
    lay_over(layer, where)
    return True


def shrunk(layer: Labels, image: Image) -> bool:
    """Let a layer lie over an image as one empty voxel until it is used again; return False if its axes do not fit.

    So the view can be fitted to the image, and nothing is drawn twice.
    """
    ndim = image.ndim - int(has_channels_first(image))
    where = placement(image, ndim)
    if not will_do(layer, ndim, where):
        return False
    used_again(layer, np.zeros((1,) * ndim, layer.data.dtype), layer.name, where)
    return True
