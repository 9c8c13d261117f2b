"""Readers, writers and sample data for napari: files as layer data tuples.

Layers get the scale and units of their file, not its origin and directions: napari slices a turned volume
badly, and nobody brushes on one. The geometry travels in the metadata instead, so that what is drawn is saved
exactly where the image lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io import MM_PER, NIFTI, PIXEL, TIFF, Picture, read, tells_more_than_pixels, write
from napari_probseg.io.mapped import in_memory_or_on_disk
from napari_probseg.io.notice import tell
from napari_probseg.io.units import unit_named
from napari_probseg.napari_io.version import draws_any_byte_order
from napari_probseg.simulate.phantoms import disks_image, phantom_2d, phantom_3d

LayerData = tuple[Any, dict[str, Any], str]
KEY = "napari_probseg"
_PINT = {"µm": "um", "Å": "angstrom"}  # what napari calls a unit, where that differs
# Where the files lie whose layers are open, by path: napari's "new labels" copies no metadata.
_opened: MutableMapping[str, Picture] = WeakValueDictionary()


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
        short = _PINT.get(picture.unit, picture.unit)
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


def picture_of(shape: tuple[int, ...], attributes: Mapping[str, Any], *, in_world: bool = False) -> Picture:
    """Return where the voxels of a layer lie.

    A layer over an opened file lies where that does, as far as napari shows them one over the other: moved, turned or
    cropped with the layer. Without a file, it lies where napari shows it.

    Parameters
    ----------
    shape : tuple of int
        Of the layer's data.
    attributes : mapping
        What napari tells of the layer: scale, translate, rotate, shear, affine, units, metadata, rgb.
    in_world : bool
        Whether to say where napari shows it, though it may be of a file.

    Returns
    -------
    Picture
        Without voxels. Its affine is absent if only its spacing is known.

    Raises
    ------
    ValueError
        If it has fewer axes than two, or more than four.
    """
    is_rgb = bool(attributes.get("rgb"))
    n_axes = len(shape) - is_rgb
    axes = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(n_axes)
    if axes is None:
        raise ValueError(f"layers of two to four axes can be saved, this one is {shape}: split it first")
    like = attributes.get("metadata", {}).get(KEY)
    like = like if isinstance(like, Picture) and not in_world else None
    if like is not None and len(like.axes.replace("C", "")) == n_axes:
        axes = like.axes.replace("C", "")
    elif like is not None and len(like.spatial_axes) != n_axes:
        like = None  # a slice of the file's volume, which may be any
    unit = _unit(attributes, like, n_axes)
    to_world = _in_xyz(data_to_world(attributes, n_axes), axes, like, attributes)
    found = _open_file(shape, to_world, unit) if like is None and not in_world else like
    if found is not None:
        shown = _shown(found)
        if "scale" not in attributes:  # nothing is told of how it is shown
            to_world = shown
        if np.allclose(to_world, shown, rtol=1e-5, atol=1e-9 * np.abs(shown).max()) and shape in (
            found.shape,
            tuple(found.data.shape),
        ):
            return found
        if found.affine is not None:
            to_world, unit = found.affine @ np.linalg.solve(shown, to_world), found.unit
    steps = np.linalg.norm(to_world[:3, :3], axis=0) * MM_PER.get(unit, 1.0)
    spatial = "".join(axis for axis in axes if axis in "ZYX")
    is_placed = in_world or not np.array_equal(to_world, np.diag(np.abs(np.diag(to_world))))
    return Picture(
        _Shape(shape),
        axes + "C" * is_rgb,
        tuple(steps[: len(spatial)][::-1].tolist()),
        unit,
        to_world if is_placed else None,
        found.header if found is not None and is_placed else None,
    )


def data_to_world(attributes: Mapping[str, Any], n_axes: int) -> NDArray[np.float64]:
    """Return the matrix from voxel indices to where napari shows them, (n + 1, n + 1), in the order of the axes."""

    def given(name: str, default: NDArray[Any]) -> NDArray[np.float64]:
        value = attributes.get(name)
        return np.asarray(default if value is None else value, dtype=np.float64)

    shear = given("shear", np.eye(n_axes))
    if shear.ndim == 1:  # the upper triangle alone
        upper, shear = shear, np.eye(n_axes)
        shear[np.triu_indices(n_axes, 1)] = upper
    matrix = np.eye(n_axes + 1)
    matrix[:-1, :-1] = given("rotate", np.eye(n_axes)) @ shear @ np.diag(given("scale", np.ones(n_axes)))
    matrix[:-1, -1] = given("translate", np.zeros(n_axes))
    return np.asarray(given("affine", np.eye(n_axes + 1)) @ matrix)


def _unit(attributes: Mapping[str, Any], like: Picture | None, n_axes: int) -> str:
    """Return the unit of a layer's world: that of its last axis, else of its file."""
    units = attributes.get("units") or ("",) * n_axes
    unit = unit_named(str(units[-1])) or PIXEL
    return like.unit if unit == PIXEL and like is not None else unit if unit in MM_PER else PIXEL


def _in_xyz(
    matrix: NDArray[np.float64], axes: str, like: Picture | None, attributes: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Return the part of a matrix that is of space, as (x, y, z) in the unit of x."""
    kept = [i for i, axis in enumerate(axes) if axis in "ZYX"][::-1]
    n = len(kept)
    found = np.eye(4)
    found[:n, :n], found[:n, 3] = matrix[np.ix_(kept, kept)], matrix[kept, -1]
    units = [unit_named(str(unit)) for unit in attributes.get("units") or ()]
    if len(units) == len(axes):
        own = [MM_PER.get(units[i] or "") for i in kept]
        for row, mm in enumerate(own):
            if mm is not None and own[0] is not None:
                found[row] *= mm / own[0]
    return found


def _shown(picture: Picture) -> NDArray[np.float64]:
    """Return where napari shows the voxels (x, y, z) of a file, in the file's unit: they are read with its scale."""
    steps = [mm / MM_PER.get(picture.unit, 1.0) for mm in reversed(picture.spacing)]
    return np.diag([*steps, *[1.0] * (4 - len(steps))])


def _open_file(shape: tuple[int, ...], to_world: NDArray[np.float64], unit: str) -> Picture | None:
    """Return the geometry of the open files that are shown with these very voxels, if they all lie in one place."""
    matches = [
        picture
        for picture in list(_opened.values())
        if picture.shape == shape and picture.unit == unit and np.allclose(_shown(picture), to_world, rtol=1e-5)
    ]
    if all(_same_place(match, matches[0]) for match in matches):
        return matches[0] if matches else None
    tell(
        "several open files have the shape and scale of this layer but lie in different places: it is saved with its "
        "scale alone; to save it in the place of one of them, copy that layer's metadata to it"
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
