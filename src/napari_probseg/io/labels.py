"""Labels and stroke masks of an image: whole numbers, in its voxels.

Here alone it is decided whether a second file or layer lies on an image.
"""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.picture import Picture
from napari_probseg.io.whole_numbers import in_whole_numbers

MAX_OFF_VOXELS = 0.05  # how far corners may lie apart that are meant to be the same: affines are rounded in files
MAX_SPACING_OFF = 0.01  # of spacings, where only they are known


def laid_on(labels: Picture, image: Picture, *, name: str, of: str, resample: bool = False) -> NDArray[Any]:
    """Return the voxels of labels in the order of an image's voxels, if both lie in the same place.

    Where both say where they lie, their voxels must be the same ones: those of axes that are flipped or permuted are
    put in the image's order, exactly. Where one says nothing, shapes and spacings are compared, as far as they are
    told.

    Parameters
    ----------
    labels, image : Picture
    name, of : str
        What the two are called in the error.
    resample : bool
        Whether labels that lie elsewhere are to be taken to the image's voxels, each from the nearest of theirs.

    Returns
    -------
    array of ``image.shape``

    Raises
    ------
    ValueError
        If they do not lie on the image, or are no labels but colours or a time series.
    """
    if labels.axes != labels.spatial_axes:
        what = "is a time series" if "T" in labels.axes else "has colours or channels"
        raise ValueError(f"{name} {what}, {tuple(labels.data.shape)}: labels and masks have one number a voxel")
    if len(labels.shape) != len(image.shape):
        raise _misplaced(name, of, f"it is {labels.shape}, the image {image.shape}")
    of_labels, of_image = labels.affine_in_mm, image.affine_in_mm
    if of_labels is None or of_image is None:
        if labels.shape != image.shape:
            raise _misplaced(name, of, f"it is {labels.shape}, the image {image.shape}")
        if "pixel" not in (labels.unit, image.unit) and not np.allclose(
            labels.spacing, image.spacing, rtol=MAX_SPACING_OFF, atol=0
        ):
            raise _misplaced(name, of, f"its spacing is {_mm(labels.spacing)}, the image's {_mm(image.spacing)}")
        return np.asarray(labels.data)
    to_image = np.asarray(
        np.linalg.solve(of_image, of_labels), dtype=np.float64
    )  # from voxel indices (x, y, z) to those of the image
    order = _order(to_image, _shape_xyz(labels), _shape_xyz(image))
    if order is not None:
        return _reordered(np.asarray(labels.data), _shape_xyz(labels), *order).reshape(image.shape)
    if resample:
        return _resampled(np.asarray(labels.data), to_image, _shape_xyz(labels), _shape_xyz(image)).reshape(image.shape)
    if sorted(labels.shape) != sorted(image.shape):
        reason = f"it is {labels.shape}, the image {image.shape}"
    elif not np.allclose(sorted(labels.spacing), sorted(image.spacing), rtol=MAX_SPACING_OFF, atol=0):
        reason = f"its spacing is {_mm(labels.spacing)}, the image's {_mm(image.spacing)}"
    else:
        reason = f"its corners lie up to {_farthest(of_labels, of_image, _shape_xyz(image)):.3g} mm from the image's"
    raise _misplaced(name, of, reason)


def read_labels(path: Path, image: Picture, *, of: Path | str, resample: bool = False) -> NDArray[Any]:
    """Return the labels of an image from a file: whole numbers, in the image's voxels.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As `read` and `laid_on`; also if they are no whole numbers.
    """
    return whole_numbers(_laid(path, image, of, resample), name=str(path))


def read_mask(path: Path, image: Picture, *, of: Path | str, resample: bool = False) -> NDArray[np.bool_]:
    """Return a mask of an image from a file: what is above 0, in the image's voxels.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As `read` and `laid_on`.
    """
    return np.asarray(_laid(path, image, of, resample) > 0)


def whole_numbers(values: NDArray[Any], *, name: str = "labels") -> NDArray[Any]:
    """Return labels as integers, also those that another program stored as floats.

    Raises
    ------
    ValueError
        If they are no whole numbers.
    """
    whole = in_whole_numbers(values)
    if whole.dtype.kind in "iub":
        return np.asarray(whole)
    if whole.dtype.kind != "f":
        raise ValueError(f"{name} must be whole numbers from 0, got {whole.dtype}")
    wrong = whole[~(np.isfinite(whole) & (whole == np.rint(whole)))]
    such = f", such as {wrong.flat[0]:g}" if wrong.size else ""
    raise ValueError(
        f"{name} must be whole numbers from 0, got {whole.dtype}{such}: take the labels, not probabilities"
    )


def _laid(path: Path, image: Picture, of: Path | str, resample: bool) -> NDArray[Any]:
    from napari_probseg.io import read

    return laid_on(read(path), image, name=str(path), of=str(of), resample=resample)


def _misplaced(name: str, of: str, reason: str) -> ValueError:
    return ValueError(f"{name} does not lie on {of}: {reason}; resample it onto the image first")


def _shape_xyz(picture: Picture) -> tuple[int, ...]:
    return (*picture.shape[::-1], 1)[:3]


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the indices of the eight outermost voxels, (4, 8), homogeneous."""
    return np.array([[*corner, 1.0] for corner in product(*((0, n - 1) for n in shape))]).T


def _order(
    to_image: NDArray[np.float64], shape: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[bool, ...]] | None:
    """Return which axis goes where, and which are then flipped, for two grids of the same voxels; else None."""
    corners = _corners(shape)
    there = (to_image @ corners)[:3]
    for axes, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        if tuple(shape[axis] for axis in axes) != wanted:
            continue
        expected = corners[list(axes)]
        for axis, is_flipped in enumerate(flips):
            if is_flipped:
                expected[axis] = wanted[axis] - 1 - expected[axis]
        if np.abs(there - expected).max() <= MAX_OFF_VOXELS:
            return axes, flips
    return None


def _reordered(
    data: NDArray[Any], shape: tuple[int, ...], axes: tuple[int, ...], flips: tuple[bool, ...]
) -> NDArray[Any]:
    turned = data.reshape(shape[::-1]).T.transpose(axes)  # (x, y, z)
    return np.asarray(np.flip(turned, tuple(axis for axis in range(3) if flips[axis])).T)


def _resampled(
    data: NDArray[Any], to_image: NDArray[np.float64], shape: tuple[int, ...], wanted: tuple[int, ...]
) -> NDArray[Any]:
    from scipy.ndimage import affine_transform

    back = np.linalg.inv(to_image)
    moved = affine_transform(
        data.reshape(shape[::-1]).T, back[:3, :3], back[:3, 3], output_shape=wanted, order=0, mode="constant"
    )
    return np.asarray(moved.T)


def _farthest(a: NDArray[np.float64], b: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return how far corners of one index lie apart in two places, in mm."""
    corners = _corners(shape)
    return float(np.linalg.norm(((a - b) @ corners)[:3], axis=0).max())


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{mm:.4g}" for mm in spacing) + " mm"
