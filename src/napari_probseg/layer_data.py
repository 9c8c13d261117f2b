"""napari's readers, writers and sample data: the files of `napari_probseg.io` as layer data tuples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.io import MM_PER, NIFTI, TIFF, Picture, read, write
from napari_probseg.simulate.phantoms import disks_image, phantom_2d, phantom_3d

LayerData = tuple[Any, dict[str, Any], str]
KEY = "napari_probseg"
_UNITS = {"millimeter": "mm", "micrometer": "µm", "um": "µm", "µm": "µm", "meter": "m", "nanometer": "nm", "nm": "nm"}


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for NIfTI, and for TIFF that gives a resolution, which napari's own reader loses."""
    paths = [path] if isinstance(path, str) else path
    names = [p.lower() for p in paths]
    if all(name.endswith(NIFTI) for name in names):
        return read_layers
    if all(name.endswith(TIFF) for name in names) and all(_tells_its_resolution(p) for p in paths):
        return read_layers
    return None


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Return one layer for each file."""
    return [_layer(p) for p in ([path] if isinstance(path, str) else path)]


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an image or labels layer onto the geometry of the file that it came from, or its own scale."""
    array = np.asarray(data)
    like = attributes.get("metadata", {}).get(KEY)
    if not isinstance(like, Picture) or like.shape != array.shape:
        scale = attributes.get("scale", (1.0,) * array.ndim)
        unit = _UNITS.get(str((attributes.get("units") or ("mm",))[-1]), "mm")
        spacing = tuple(float(s) * MM_PER[unit] for s in scale)
        like = Picture(array, "ZYX"[-array.ndim :], spacing[-array.ndim :], unit)
    write(path, array, like=like)
    return [path]


def disks() -> list[LayerData]:
    """Return the three disks of the method's paper."""
    return [(disks_image()[0], {"name": "disks"}, "image")]


def body_slice() -> list[LayerData]:
    """Return a slice through a made-up body."""
    return [(phantom_2d()[0], {"name": "body slice"}, "image")]


def body() -> list[LayerData]:
    """Return a made-up body with slices 2.4 times as thick as its pixels are wide."""
    return [(phantom_3d()[0], {"name": "body", "scale": (2.4, 1.0, 1.0), "units": "mm"}, "image")]


def _layer(path: str) -> LayerData:
    picture = read(path)
    name = Path(path).name.removesuffix(".gz").rsplit(".", 1)[0]
    unit = picture.unit if picture.unit in MM_PER else None
    spacing = [mm / MM_PER[unit] for mm in picture.spacing] if unit else list(picture.spacing)
    attributes: dict[str, Any] = {"name": name, "metadata": {KEY: replace(picture, data=_Shape(picture.data.shape))}}
    is_rgb = picture.axes.endswith("YXC") and picture.data.shape[-1] == 3
    if is_rgb:
        attributes["rgb"] = True
    elif picture.channel_axis is not None:
        attributes["channel_axis"] = picture.channel_axis
    attributes["scale"] = [1.0] * picture.axes.count("T") + spacing
    if unit:
        attributes["units"] = ["s"] * picture.axes.count("T") + [{"µm": "um"}.get(unit, unit)] * len(spacing)
    return picture.data, attributes, "labels" if picture.is_label and picture.data.dtype.kind in "iu" else "image"


class _Shape:
    """Stands for the voxels where only the geometry is kept, so that layers do not hold their image twice."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _tells_its_resolution(path: str) -> bool:
    try:
        return read(path).unit != "pixel"
    except (ValueError, OSError):
        return False
