"""Image layers: their case, their placement, the plane on view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_probseg.case import Case, Plane

if TYPE_CHECKING:
    from napari.viewer import Viewer

_CHANNEL_NAMES = {"c", "ch", "channel", "channels"}


def case_of(layer: Image, channels: Sequence[Image] = ()) -> Case:
    """Return the case of an Image layer: 2-D or 3-D, grey, RGB, or with a leading axis named "c".

    A multiscale layer gives its finest level. Other grey layers of the same shape can be its further channels.

    Raises
    ------
    TypeError, ValueError
        If the layer holds something else, for example a time series.
    """
    n_channel_axes = int(_has_channels_first(layer))
    n_spatial = layer.ndim - n_channel_axes
    if n_spatial > 3:
        raise ValueError(
            f"“{layer.name}” has {n_spatial} axes {tuple(finest(layer).shape)}, but an image must have 2 or 3: "
            f"split it first (right-click the layer, Split Stack)"
        )
    spacing = [abs(float(mm)) for mm in layer.scale[n_channel_axes:]]
    if channels:
        return Case(np.stack([finest(part) for part in (layer, *channels)]), spacing, channel_axis=0)
    return Case(finest(layer), spacing, channel_axis=-1 if layer.rgb else 0 if n_channel_axes else None)


def may_be_channels(layer: Image, other: Any) -> bool:
    """Return whether another layer can be a further channel of an image: grey, with the same voxels."""
    grey = all(isinstance(part, Image) and not part.rgb and not _has_channels_first(part) for part in (layer, other))
    return grey and finest(layer).shape == finest(other).shape and np.allclose(layer.scale, other.scale)


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


def displayed_axes(viewer: Viewer, layer: Any) -> tuple[int, int]:
    """Return the layer's two axes on the canvas: downwards, to the right."""
    n_extra = viewer.dims.ndim - layer.ndim
    down, right = (axis - n_extra for axis in viewer.dims.order[-2:])
    return down, right


def bring_into_view(viewer: Viewer, layer: Any, place: Sequence[int]) -> None:
    """Move the sliders and the camera to a voxel of a layer."""
    at = layer.data_to_world(place)
    n_extra = viewer.dims.ndim - len(at)
    for axis, value in enumerate(at):
        viewer.dims.set_point(axis + n_extra, value)
    scene = getattr(viewer, "scene", viewer)  # the camera moved there in napari 0.9
    scene.camera.center = tuple(at[axis - n_extra] for axis in viewer.dims.displayed)


def unit_of(layer: Image) -> str | None:
    """Return the layer's unit of length in short ("mm", "µm"); None where it counts pixels."""
    units = getattr(layer, "units", None)
    if units is None or str(units[-1]) in ("pixel", "dimensionless"):
        return None
    return f"{units[-1]:~P}"


def _has_channels_first(layer: Image) -> bool:
    labels = getattr(layer, "axis_labels", None)
    return not layer.rgb and labels is not None and str(labels[0]).lower() in _CHANNEL_NAMES
