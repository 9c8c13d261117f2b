"""Image layers: their case, their placement, the plane on view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_probseg.case import Case, Plane
from napari_probseg.images import MAX_UNNAMED_CHANNELS
from napari_probseg.io import MM_PER, PIXEL, Picture
from napari_probseg.io.labels import laid_on
from napari_probseg.io.units import unit_named
from napari_probseg.napari_io.layer_place import KEY, data_to_world, is_time, picture_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

_RIM, _WELL_INSIDE = 0.05, 0.25  # of what the canvas shows: a place there is not seen well; where it is moved to
_CHANNEL_NAMES = {"c", "ch", "channel", "channels"}


def case_of(layer: Image, channels: Sequence[Image] = ()) -> Case:
    """Return the case of an Image layer: 2-D or 3-D, grey, RGB, or with a leading axis named "c", or a time series.

    A multiscale layer gives its finest level. Other grey layers of the same shape can be its further channels.

    Raises
    ------
    TypeError
        If the layer holds no real numbers.
    ValueError
        If it holds something else than one image or volume, or a time series of such.
    """
    n_channel_axes = int(has_channels_first(layer))
    in_time, shape = is_in_time(layer), tuple(finest(layer).shape)
    if _n_times(layer) > in_time:
        raise ValueError(
            f"“{layer.name}” of {shape} has time in another place than first: move that axis to the front "
            f"(numpy.moveaxis), or split it (right-click the layer, Split Stack)"
        )
    named = [i for i, label in enumerate(getattr(layer, "axis_labels", ())) if str(label).lower() in _CHANNEL_NAMES]
    if named and named[0] > 0 and not layer.rgb:
        raise ValueError(
            f"“{layer.name}” of {shape} has its channels in another place than first: "
            f"viewer.add_image(layer.data, channel_axis={named[0]}) makes a layer of each"
        )
    n_spatial = layer.ndim - n_channel_axes - in_time
    if n_spatial > 3:
        has_short = n_spatial == layer.ndim and shape[1] <= MAX_UNNAMED_CHANNELS < shape[0]  # as (Z, C, Y, X)
        splits = "viewer.add_image(layer.data, channel_axis=1)" if has_short else "right-click the layer, Split Stack"
        raise ValueError(
            f"“{layer.name}” has {n_spatial} axes {shape}, but an image must have 2 or 3: split it first "
            f"({splits}), or name them if the first is time: layer.axis_labels = ('t', 'z', 'y', 'x')"
        )
    spacing = _spacing(layer)[n_channel_axes + in_time :]
    if channels:
        image, axis = np.stack([finest(part) for part in (layer, *channels)]), 0
        return Case(image, spacing, channel_axis=axis, in_time=in_time)
    if layer.rgb:  # a fourth value is opacity
        return Case(finest(layer)[..., :3], spacing, channel_axis=-1, in_time=in_time)
    return Case(finest(layer), spacing, channel_axis=0 if n_channel_axes else None, in_time=in_time)


def may_be_channels(layer: Image, other: Any) -> bool:
    """Return whether another layer can be a further channel of an image: grey, with the same voxels."""
    grey = all(isinstance(part, Image) and not part.rgb and not has_channels_first(part) for part in (layer, other))
    if not grey or finest(layer).shape != finest(other).shape:
        return False
    return np.allclose(_to_world(layer), _to_world(other), rtol=1e-5)


def bare(thing: Any) -> Any:
    """Return a viewer or a layer without the proxy that napari hands to plugins, so that it can be told by ``is``."""
    return getattr(thing, "__wrapped__", thing)


def finest(layer: Image) -> Any:
    """Return the data of an Image layer, of its finest level if there are several."""
    return layer.data[0] if layer.multiscale else layer.data


def placement(layer: Image, ndim: int) -> dict[str, Any]:
    """Return the arguments that lay a Labels layer of ``ndim`` axes exactly over an Image layer."""
    last = slice(layer.ndim - ndim, None)
    where: dict[str, Any] = {"scale": layer.scale[last], "translate": layer.translate[last]}
    where["affine"] = np.asarray(layer.affine.affine_matrix)[layer.ndim - ndim :, layer.ndim - ndim :]
    if layer.ndim == ndim:
        where |= {"rotate": layer.rotate, "shear": layer.shear}
    for name in ("units", "axis_labels"):  # napari 0.5 has neither on every layer
        if (value := getattr(layer, name, None)) is not None:
            where[name] = tuple(value)[last]
    return where


GEOMETRY = ("scale", "translate", "rotate", "shear", "affine", "units")


def hides(layer: Image) -> bool:
    """Return whether an image hides what lies under it."""
    return bool(layer.visible) and layer.opacity == 1 and str(layer.blending).startswith(("translucent", "opaque"))


def go_to_middle(viewer: Viewer, layer: Image) -> None:
    """Move the sliders to the middle of an image; to the first one of a time series."""
    shape = finest(layer).shape[: layer.ndim]
    at = layer.data_to_world([0 if is_in_time(layer) else n // 2 for n in shape])
    n_extra = viewer.dims.ndim - len(at)
    for axis in viewer.dims.not_displayed:
        if axis >= n_extra:
            viewer.dims.set_point(axis, at[axis - n_extra])


def voxel_on_view(viewer: Viewer, layer: Any) -> tuple[float, ...]:
    """Return the voxel of a layer that the sliders stand at."""
    return tuple(layer.world_to_data(viewer.dims.point[viewer.dims.ndim - layer.ndim :]))


def go_to_voxel(viewer: Viewer, layer: Any, voxel: Sequence[float]) -> None:
    """Move the sliders to a voxel of a layer; the camera stays."""
    viewer.dims.set_point(range(viewer.dims.ndim - layer.ndim, viewer.dims.ndim), layer.data_to_world(voxel))


def plane_on_view(viewer: Viewer, layer: Any) -> Plane | None:
    """Return the plane (axis, index) of a 3-D Labels layer that the viewer shows; None for a 2-D one.

    Raises
    ------
    ValueError
        If the viewer shows the volume in 3-D, or a place outside it.
    """
    if layer.ndim == 2:
        return None
    if viewer.dims.ndisplay == 3:
        raise ValueError("candidates are drawn on a slice: switch the viewer back to 2-D first, or choose Volume")
    n_extra = viewer.dims.ndim - layer.ndim
    hidden = [axis - n_extra for axis in viewer.dims.not_displayed if axis >= n_extra]
    if len(hidden) != 1:
        raise ValueError("the viewer does not show one slice of the volume: roll the axes until it does")
    axis = hidden[0]
    index = round(float(layer.world_to_data(viewer.dims.point[n_extra:])[axis]))
    if not 0 <= index < layer.data.shape[axis]:
        raise ValueError("the viewer shows a place outside the image: move the slider back into it")
    return axis, index


def time_on_view(viewer: Viewer, layer: Any) -> Plane:
    """Return which image of a time series the viewer shows, as (0, t), of its Labels layer.

    Raises
    ------
    ValueError
        If the viewer shows time as an axis of the canvas, or a place outside.
    """
    n_extra = viewer.dims.ndim - layer.ndim
    if n_extra not in viewer.dims.not_displayed:
        raise ValueError("turn the axes back: each image is looked at by itself, and the slider goes through time")
    t = round(float(layer.world_to_data(viewer.dims.point[n_extra:])[0]))
    if not 0 <= t < layer.data.shape[0]:
        raise ValueError("the viewer shows a time outside the series: move the slider back into it")
    return 0, t


def obstacle_to_strokes(viewer: Viewer) -> str:
    """Return in a sentence why a stroke would not be drawn over the image as the viewer shows it now; else nothing."""
    if viewer.dims.ndisplay == 3:
        return "Strokes are drawn on a slice: switch the viewer back to 2-D first."
    grid = getattr(viewer, "canvas", viewer).grid  # it moved there in napari 0.9
    if grid.enabled and abs(grid.stride) < len(viewer.layers):
        return "The viewer shows each layer by itself: turn its grid off to brush over the image."
    return ""


def displayed_axes(viewer: Viewer, layer: Any) -> tuple[int, int]:
    """Return the layer's two axes on the canvas: downwards, to the right."""
    n_extra = viewer.dims.ndim - layer.ndim
    down, right = (axis - n_extra for axis in viewer.dims.order[-2:])
    return down, right


def bring_into_view(viewer: Viewer, layer: Any, place: Sequence[int], *, in_the_middle: bool = False) -> None:
    """Move the sliders to a voxel of a layer, and the camera as far as it must, if it does not show that place."""
    at, shift = layer.data_to_world(place), None if in_the_middle else _shift_to(viewer, layer, place)
    n_extra = viewer.dims.ndim - len(at)
    hidden = [axis for axis in viewer.dims.not_displayed if axis >= n_extra]
    if viewer.dims.ndisplay == 3 or not np.allclose([viewer.dims.point[i] - at[i - n_extra] for i in hidden], 0):
        # All at once: each time napari draws all layers anew.
        viewer.dims.set_point(range(n_extra, viewer.dims.ndim), at)
    scene = getattr(viewer, "scene", viewer)  # the camera moved there in napari 0.9
    shown = [axis - n_extra for axis in viewer.dims.displayed]
    if shift is None:
        scene.camera.center = tuple(at[axis] for axis in shown)
    elif shift.any():
        step = np.subtract(at, layer.data_to_world(np.asarray(place) - shift))
        scene.camera.center = tuple(np.asarray(scene.camera.center)[-len(shown) :] + step[shown])


def _shift_to(viewer: Viewer, layer: Any, place: Sequence[int]) -> NDArray[np.float64] | None:
    """Return how far the canvas must move for a voxel to be seen well, on whatever slice, in voxels along each axis.

    Not at all if it shows that place, and not at its very rim; None if nothing is known of what it shows.
    """
    low, high = np.asarray(layer.corner_pixels, dtype=float)
    axes = list(displayed_axes(viewer, layer))
    if viewer.dims.ndisplay == 3 or not (high > low)[axes].all():
        return None
    shift, last = np.zeros(layer.ndim), np.asarray(layer.data.shape) - 1
    for axis in axes:
        span = high[axis] - low[axis]
        before, behind = (place[axis] - side for side in (low[axis], high[axis]))
        if before < (_RIM * span if low[axis] > 0 else 0):
            shift[axis] = before - _WELL_INSIDE * span
        elif behind > (-_RIM * span if high[axis] < last[axis] else 0):
            shift[axis] = behind + _WELL_INSIDE * span
    return shift


def unit_of(layer: Image) -> str | None:
    """Return the layer's unit of length in short ("mm", "µm"); None where it counts pixels."""
    units = getattr(layer, "units", None)
    if units is None or str(units[-1]) in ("pixel", "dimensionless"):
        return None
    symbol = f"{units[-1]:~P}"
    return unit_named(symbol) or symbol  # napari's symbols change with the release of pint: there are two letters mu


def voxels_of(layer: Labels, image: Image) -> NDArray[Any]:
    """Return the labels of a layer in the voxels of an image; see `napari_probseg.io.labels.laid_on`.

    Where both come from files that say where they lie, that counts; else where napari shows them.

    Raises
    ------
    ValueError
        If they do not lie on the image.
    """
    is_told = all(
        isinstance(file := one.metadata.get(KEY), Picture) and file.affine_in_mm is not None for one in (layer, image)
    )
    labels, place = (_picture(one, in_world=not is_told) for one in (layer, image))
    if not is_told and PIXEL in (labels.unit, place.unit):  # then only napari's numbers can be compared
        in_mm = MM_PER.get(place.unit, 1.0)
        labels = replace(labels, unit=place.unit, spacing=tuple(step * in_mm for step in labels.steps))
    drawn, name, of = replace(labels, data=finest(layer)), f"“{layer.name}”", f"“{image.name}”"
    try:
        return laid_on(drawn, place, name=name, of=of)
    except ValueError as error:
        if is_told or drawn.axes != drawn.spatial_axes or drawn.shape != place.shape:
            raise
        raise ValueError(
            f"{name} has the shape of {of}, but not its scale and place: if its voxels are the image's, give it the "
            f"image's scale and translate; else resample it onto the image first"
        ) from error


def place_of(layer: Image) -> Picture:
    """Return where the image of a layer lies, with its file's geometry if it has one; without its voxels."""
    picture = _picture(layer, in_world=False)
    if has_channels_first(layer) and "C" not in picture.axes:
        return replace(picture, data=np.broadcast_to(np.uint8(0), finest(layer).shape), axes=f"C{picture.axes}")
    return picture


def _picture(layer: Any, *, in_world: bool) -> Picture:
    """Return where a layer lies, but for its axis of channels if that is its first."""
    n_channel_axes = int(isinstance(layer, Image) and has_channels_first(layer))
    shape = finest(layer).shape[n_channel_axes:]
    return picture_of(tuple(shape), _attributes(layer, layer.ndim - n_channel_axes), in_world=in_world)


def _attributes(layer: Any, n_axes: int) -> dict[str, Any]:
    """Return what napari tells of the last axes of a layer."""
    last = slice(layer.ndim - n_axes, None)
    told: dict[str, Any] = {name: np.asarray(getattr(layer, name))[last] for name in ("scale", "translate")}
    told["affine"] = np.asarray(layer.affine.affine_matrix)[layer.ndim - n_axes :, layer.ndim - n_axes :]
    told["metadata"], told["rgb"] = layer.metadata, bool(getattr(layer, "rgb", False))
    if n_axes == layer.ndim:
        told |= {"rotate": layer.rotate, "shear": layer.shear}
    for name in ("units", "axis_labels"):  # napari 0.5 has neither on every layer
        if (value := getattr(layer, name, None)) is not None:
            told[name] = tuple(value)[last]
    return told


def _to_world(layer: Any) -> NDArray[np.float64]:
    return data_to_world(_attributes(layer, layer.ndim), layer.ndim)


def _spacing(layer: Any) -> list[float]:
    """Return how far apart voxels are along each axis, in the unit of the last one."""
    steps = np.linalg.norm(_to_world(layer)[:-1, :-1], axis=0)
    units = [unit_named(str(unit)) for unit in getattr(layer, "units", None) or ()]
    if len(units) != layer.ndim or any(unit not in MM_PER for unit in units[-1:]):
        return [float(step) for step in steps]
    last = MM_PER[str(units[-1])]
    return [float(step) * MM_PER.get(str(unit), last) / last for step, unit in zip(steps, units, strict=True)]


def _n_times(layer: Any) -> int:
    """Return how many axes of a layer are time, by their units or names."""
    told = _attributes(layer, layer.ndim)
    return sum(is_time(told, axis) for axis in range(layer.ndim))


def is_in_time(layer: Any) -> bool:
    """Return whether a layer is a time series of images or volumes: time is its first axis but for channels."""
    first = int(isinstance(layer, Image) and has_channels_first(layer))
    return layer.ndim - first in (3, 4) and is_time(_attributes(layer, layer.ndim), first)


def has_channels_first(layer: Image) -> bool:
    """Return whether the first axis of a layer is that of its channels, by its name."""
    labels = getattr(layer, "axis_labels", None)
    return not layer.rgb and labels is not None and str(labels[0]).lower() in _CHANNEL_NAMES
