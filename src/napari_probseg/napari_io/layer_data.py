"""Readers, writers and sample data for napari: files as layer data tuples.

Layers get the scale and units of their file, not its origin and directions: napari slices a turned volume
badly, and nobody brushes on one. The geometry travels in the metadata instead, so that what is drawn is saved
exactly where the image lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.io import (
    NIFTI,
    PLAIN,
    TIFF,
    Picture,
    is_more_than_a_picture,
    read,
    tells_more_than_pixels,
    write,
)
from napari_probseg.io.folder import stem_of
from napari_probseg.io.mapped import in_memory_or_on_disk
from napari_probseg.io.notice import tell
from napari_probseg.io.tiff import geometry_of_tiff
from napari_probseg.napari_io.layer_place import KEY, opened, picture_of
from napari_probseg.napari_io.version import draws_any_byte_order
from napari_probseg.simulate.phantoms import disks_image, phantom_2d, phantom_3d

LayerData = tuple[Any, dict[str, Any], str]
_PINT = {"µm": "um", "Å": "angstrom"}  # what napari calls a unit, where that differs


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for NIfTI, and for what napari's own reader changes or loses: see `is_read_otherwise`."""
    return read_layers if all(map(is_read_otherwise, [path] if isinstance(path, str) else path)) else None


def is_read_otherwise(path: str) -> bool:
    """Return whether napari's own reader makes something else of a file than is meant.

    It leaves out distances, axes and labels of NIfTI and TIFF, and palettes of TIFF; of some PNG files it cuts or
    stretches the numbers, or makes an axis of opacity or of pictures that move.
    """
    name = path.lower()
    if name.endswith(TIFF):
        return tells_more_than_pixels(path)
    return name.endswith(NIFTI) or (name.endswith(PLAIN) and is_more_than_a_picture(path))


def place_told(path: str, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """Return the attributes that lay a layer of a file where that tells that its pixels lie; reads none of them.

    Parameters
    ----------
    path : str
    shape : tuple of int
        Of the layer, as another reader has made it.

    Returns
    -------
    dict or None
        None where more than the place is told otherwise by this plugin's reader.
    """
    picture = geometry_of_tiff(path) if path.lower().endswith(TIFF) else None
    if picture is None or tuple(picture.data.shape) != shape:
        return None
    return {"metadata": {KEY: opened(path, picture)}, **_where(picture)}


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Return one layer for each file."""
    return [_layer(p) for p in ([path] if isinstance(path, str) else path)]


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer onto the image that it was drawn on."""
    array = np.asarray(data[0] if attributes.get("multiscale") else data)
    _write(path, array, attributes, labels=True)
    return [path]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an Image layer with the geometry of the file that it came from, or else its own scale."""
    array = np.asarray(data[0] if attributes.get("multiscale") else data)
    _write(path, array, attributes, labels=False)
    return [path]


def _write(path: str, array: Any, attributes: Mapping[str, Any], *, labels: bool) -> None:
    like = picture_of(tuple(array.shape), attributes)
    affine = like.affine
    if not path.lower().endswith(NIFTI) and affine is not None and (affine != np.diag(np.abs(np.diag(affine)))).any():
        tell(f"{Path(path).name} keeps how far apart voxels are, not where they lie: save as .nii.gz to keep that, too")
    write(path, array, like=like, labels=labels)


def disks() -> list[LayerData]:
    """Return three disks like those of Wong, Guttag & Dalca (2022)."""
    return [(disks_image()[0], {"name": "disks"}, "image")]


def body_slice() -> list[LayerData]:
    """Return a slice through a made-up body."""
    return [(phantom_2d()[0], {"name": "body slice"}, "image")]


def body() -> list[LayerData]:
    """Return a made-up body with slices 2.4 times as thick as its pixels are wide."""
    return [(phantom_3d()[0], {"name": "body", "scale": (2.4, 1.0, 1.0), "units": ("mm",) * 3}, "image")]


def _layer(path: str) -> LayerData:
    picture = read(path)
    if picture.colours is not None and not picture.is_label:
        picture = picture.in_colours()
    picture = replace(picture, data=in_memory_or_on_disk(picture.data))
    attributes: dict[str, Any] = {"name": stem_of(Path(path)), "metadata": {KEY: opened(path, picture)}}
    if picture.axes.endswith("YXC") and picture.data.shape[-1] == 3:
        attributes["rgb"] = True
    elif picture.channel_axis is not None:
        attributes["channel_axis"] = picture.channel_axis
    return (
        _drawable(picture.data),
        attributes | _where(picture),
        "labels" if picture.is_label and picture.axes in ("YX", "ZYX") else "image",
    )


def _where(picture: Picture) -> dict[str, Any]:
    """Return the attributes that lay a layer where a picture lies."""
    axes = picture.axes.replace("C", "")
    steps = dict(zip(picture.spatial_axes, picture.steps, strict=True))
    attributes: dict[str, Any] = {"scale": [steps.get(axis, 1.0) for axis in axes]}
    if "T" in axes:
        attributes["axis_labels"] = tuple(axes.lower())
    if picture.unit != "pixel":
        short = _PINT.get(picture.unit, picture.unit)
        attributes["units"] = ["s" if axis == "T" else short for axis in axes]
    return attributes


def _drawable(data: Any) -> Any:
    """Return voxels in the machine's byte order where napari draws no other; only then does that copy them."""
    if data.dtype.isnative or draws_any_byte_order():
        return data
    return np.asarray(data).astype(data.dtype.newbyteorder("="))
