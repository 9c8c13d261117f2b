"""Readers, writers and sample data for napari: files as layer data tuples.

Layers get the scale and units of their file, not its origin and directions: napari slices a turned volume
badly, and nobody brushes on one. The geometry travels in the metadata instead, so that what is drawn is saved
exactly where the image lies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.io import MM_PER, NIFTI, TIFF, Picture, read, tells_more_than_pixels, write
from napari_probseg.napari_io.version import draws_any_byte_order
from napari_probseg.simulate.phantoms import disks_image, phantom_2d, phantom_3d

LayerData = tuple[Any, dict[str, Any], str]
KEY = "napari_probseg"
_UNITS = {"millimeter": "mm", "micrometer": "µm", "um": "µm", "nanometer": "nm", "centimeter": "cm", "meter": "m"}
_opened: dict[str, Picture] = {}  # geometry of the files opened, by path: napari's "new labels" copies no metadata


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for NIfTI, and for TIFF that tells distances or labels: napari's own reader loses them."""
    paths = [path] if isinstance(path, str) else path
    if all(p.lower().endswith(NIFTI) or (p.lower().endswith(TIFF) and tells_more_than_pixels(p)) for p in paths):
        return read_layers
    return None


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Return one layer for each file."""
    return [_layer(p) for p in ([path] if isinstance(path, str) else path)]


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer onto the image that it was drawn on."""
    array = np.asarray(data)
    write(path, array, like=_geometry(array, attributes), labels=True)
    return [path]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an Image layer with the geometry of the file that it came from, or else its own scale."""
    array = np.asarray(data[0] if attributes.get("multiscale") else data)
    write(path, array, like=_geometry(array, attributes), labels=False)
    return [path]


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
    _opened[str(Path(path).resolve())] = geometry = replace(picture, data=_Shape(picture.data.shape))
    stem = Path(path).name.removesuffix(".gz").rsplit(".", 1)[0]
    attributes: dict[str, Any] = {"name": stem.removesuffix(".ome"), "metadata": {KEY: geometry}}
    if picture.axes.endswith("YXC") and picture.data.shape[-1] == 3:
        attributes["rgb"] = True
    elif picture.channel_axis is not None:
        attributes["channel_axis"] = picture.channel_axis
    axes, scale = picture.axes.replace("C", ""), _scale(picture)
    attributes["scale"] = [scale.get(axis, 1.0) for axis in axes]
    if picture.unit != "pixel":
        short = "um" if picture.unit == "µm" else picture.unit
        attributes["units"] = ["s" if axis == "T" else short for axis in axes]
    return (
        _drawable(picture.data),
        attributes,
        "labels" if picture.is_label and picture.axes in ("YX", "ZYX") else "image",
    )


def _drawable(data: Any) -> Any:
    """Return voxels in the machine's byte order where napari draws no other; only then does that copy them."""
    if data.dtype.isnative or draws_any_byte_order():
        return data
    return np.asarray(data).astype(data.dtype.newbyteorder("="))


def _geometry(array: Any, attributes: dict[str, Any]) -> Picture:
    """Return what a layer lies on: its own file, else an open file of its shape and scale, else its scale."""
    like = attributes.get("metadata", {}).get(KEY)
    if isinstance(like, Picture) and array.shape in (like.shape, like.data.shape):
        return like
    is_rgb = bool(attributes.get("rgb"))
    axes = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(array.ndim - is_rgb)
    if axes is None:
        raise ValueError(f"layers of two to four axes can be saved, this one is {array.shape}: split it first")
    steps = zip(axes, attributes.get("scale", np.ones(len(axes))), strict=True)
    scale = [abs(float(step)) for axis, step in steps if axis != "T"]
    found = _open_file(array.shape, scale)
    if found is not None:
        return found
    unit = str((attributes.get("units") or ("pixel",))[-1])
    unit = _UNITS.get(unit, unit)
    if unit not in MM_PER:
        unit = "pixel" if np.allclose(scale, 1) else "mm"
    return Picture(array, axes + "C" * is_rgb, tuple(step * MM_PER.get(unit, 1.0) for step in scale), unit)


def _open_file(shape: tuple[int, ...], scale: list[float]) -> Picture | None:
    """Return the geometry of the open files of this shape and scale, if they all lie in one place."""
    matches = [g for g in _opened.values() if g.shape == shape and np.allclose(list(_scale(g).values()), scale)]
    if all(_same_place(match, matches[0]) for match in matches):
        return matches[0] if matches else None
    warnings.warn(
        "several open files have the shape and scale of this layer but lie in different places: it is saved with its "
        "scale alone; to save it in the place of one of them, copy that layer's metadata to it",
        stacklevel=2,
    )
    return None


def _scale(picture: Picture) -> dict[str, float]:
    """Return the spacing of each spatial axis in the file's own unit, which is how napari shows it."""
    spatial = [axis for axis in picture.axes if axis in "ZYX"]
    return {axis: mm / MM_PER.get(picture.unit, 1.0) for axis, mm in zip(spatial, picture.spacing, strict=True)}


def _same_place(a: Picture, b: Picture) -> bool:
    if a.affine is None or b.affine is None:
        return a.affine is b.affine and a.unit == b.unit
    return bool(np.allclose(a.affine, b.affine)) and a.unit == b.unit


class _Shape:
    """Stands for the voxels where only the geometry is kept, so that layers do not hold their image twice."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim = tuple(shape), len(shape)
