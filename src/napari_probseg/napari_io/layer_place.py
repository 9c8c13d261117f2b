"""Place of a napari layer: where its voxels lie, by what napari tells of it and by the file that it came from."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io import MM_PER, PIXEL, Picture
from napari_probseg.io.notice import tell
from napari_probseg.io.picture import NoVoxels
from napari_probseg.io.units import unit_named

_TIME_NAMES = {"t", "time", "frame", "frames", "timepoint", "time point"}
KEY = "napari_probseg"  # of a layer's metadata
# Where the files lie whose layers are open, by path: napari's "new labels" copies no metadata.
_opened: MutableMapping[str, Picture] = WeakValueDictionary()


def opened(path: str | Path, picture: Picture) -> Picture:
    """Return the geometry of a file that is opened; it is known to layers without metadata as long as it is kept."""
    _opened[str(Path(path).resolve())] = geometry = picture.without_voxels()
    return geometry


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
    axes, like = _axes_and_file(shape, n_axes, attributes, in_world=in_world)
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
            is_slice = found.axes.replace("C", "") != axes  # of a time series
            return replace(found, data=NoVoxels(shape), axes=axes + "C" * is_rgb) if is_slice else found
        if found.affine is not None:
            to_world, unit = found.affine @ np.linalg.solve(shown, to_world), found.unit
    steps = np.linalg.norm(to_world[:3, :3], axis=0) * MM_PER.get(unit, 1.0)
    spatial = "".join(axis for axis in axes if axis in "ZYX")
    is_placed = in_world or not np.array_equal(to_world, np.diag(np.abs(np.diag(to_world))))
    return Picture(
        NoVoxels(shape),
        axes + "C" * is_rgb,
        tuple(steps[: len(spatial)][::-1].tolist()),
        unit,
        to_world if is_placed else None,
        found.header if found is not None and is_placed else None,
    )


def is_time(attributes: Mapping[str, Any], axis: int = 0) -> bool:
    """Return whether an axis of a layer is time, by its unit or by its name, of what napari tells of it."""
    unit = (attributes.get("units") or {axis: None})[axis]
    label = (attributes.get("axis_labels") or {axis: ""})[axis]
    return str(label).lower() in _TIME_NAMES or "[time]" in getattr(unit, "dimensionality", ())


def _axes_and_file(
    shape: tuple[int, ...], n_axes: int, attributes: Mapping[str, Any], *, in_world: bool
) -> tuple[str, Picture | None]:
    """Return the axes of a layer, and the file that it lies on if its metadata tell of one with such axes."""
    like = None if in_world else attributes.get("metadata", {}).get(KEY)
    axes = {2: "YX", 3: "TYX" if is_time(attributes) else "ZYX", 4: "TZYX"}.get(n_axes)
    if axes is None:
        raise ValueError(f"layers of two to four axes can be saved, this one is {shape}: split it first")
    if isinstance(like, Picture):
        if len(like.axes.replace("C", "")) == n_axes:
            return like.axes.replace("C", ""), like
        if len(like.spatial_axes) == n_axes:
            return axes, like  # else it is a slice of the file's volume, which may be any
    return axes, None


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
    steps = picture.steps[::-1]
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


def _same_place(a: Picture, b: Picture) -> bool:
    if a.affine is None or b.affine is None:
        return a.affine is b.affine and a.unit == b.unit
    return bool(np.allclose(a.affine, b.affine)) and a.unit == b.unit
