"""Labels and stroke masks of an image: whole numbers, in its voxels.

Here alone it is decided whether a second file or layer lies on an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.failures import is_jpeg
from napari_probseg.io.notice import tell
from napari_probseg.io.picture import Picture
from napari_probseg.io.units import PIXEL
from napari_probseg.io.whole_numbers import in_whole_numbers

MAX_OFF_VOXELS = 0.05  # how far corners may lie apart that are meant to be the same: affines are rounded in files
MIN_ALIKE_SHARE = 0.5  # of neighbours in objects that have one number; less, and the numbers are intensities
MIN_INTENSITIES = 16  # so many numbers, or more, not the dots that mark a few objects
_MAX_LOOKED_AT = 2**20  # voxels
MIN_SURE_SHARE = 0.85  # of the same; more, and an image of whole numbers is taken for labels
_MAX_GLANCED_AT = 2**18  # pixels, while a window waits
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
    if "T" in labels.axes and (labels.axes, labels.data.shape) == (image.axes.replace("C", ""), _shape_in_time(image)):
        refuse_other_place(labels, image, name=name, of=of)
        return np.asarray(labels.data)
    if labels.axes != labels.spatial_axes:
        what = "is a time series" if "T" in labels.axes else "has colours or channels"
        raise ValueError(f"{name} {what}, {tuple(labels.data.shape)}: labels and masks have one number a voxel")
    turn = _turn(labels, image)
    if isinstance(turn, _Turn):
        return turn.of(np.asarray(labels.data), _shape_xyz(labels)).reshape(image.shape)
    of_labels, of_image = labels.affine_in_mm, image.affine_in_mm
    if resample and of_labels is not None and of_image is not None:
        return _resampled(labels, image, of_labels, of_image)
    raise ValueError(f"{name} does not lie on {of}: {turn}; resample it onto the image first")


def _shape_in_time(image: Picture) -> tuple[int, ...]:
    """Return the shape of an image with its axis of time, without channels."""
    return tuple(n for n, axis in zip(image.data.shape, image.axes, strict=True) if axis != "C")


def refuse_other_place(picture: Picture, other: Picture, *, name: str, of: str) -> None:
    """Raise if two pictures do not have the same voxels in the same order, as far as they say where they lie.

    Raises
    ------
    ValueError
        If they do not.
    """
    turn = _turn(picture, other)
    if turn != _SAME:
        reason = turn if isinstance(turn, str) else "its axes are turned"
        raise ValueError(f"{name} does not lie where {of} does: {reason}; correct the one or the other")


def read_labels(path: Path, image: Picture, *, of: Path | str, resample: bool = False) -> NDArray[Any]:
    """Return the labels of an image from a file: whole numbers, in the image's voxels.

    What seems to be intensities is told of.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As `read` and `laid_on`; also if they are no whole numbers.
    """
    labels = whole_numbers(_laid(path, image, of, resample), name=str(path))
    tell_if_intensities(labels, str(path))
    return labels


def read_mask(path: Path, image: Picture, *, of: Path | str, resample: bool = False) -> NDArray[np.bool_]:
    """Return a mask of an image from a file: what is above 0 of whole numbers, in the image's voxels.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As `read_labels`: a probability that is hardly above 0 is no stroke.
    """
    return read_labels(path, image, of=of, resample=resample) > 0


def whole_numbers(values: NDArray[Any], *, name: str = "labels") -> NDArray[Any]:
    """Return labels as integers, also those that another program stored as floats.

    Raises
    ------
    ValueError
        If they are no whole numbers.
    """
    whole = in_whole_numbers(values)
    if whole.dtype.kind in "iub":
        if whole.size and whole.min() < 0:
            got = f"{whole.dtype} from {whole.min()}"
            raise ValueError(f"{name} must be whole numbers from 0, got {got}: give what is below 0 another number")
        return np.asarray(whole)
    if whole.dtype.kind != "f":
        raise ValueError(f"{name} must be whole numbers from 0, got {whole.dtype}")
    wrong = whole[~(np.isfinite(whole) & (whole == np.rint(whole)))]
    is_finite = not wrong.size or np.isfinite(wrong).any()
    advice = "take the labels, not probabilities" if is_finite else "put 0 in its place"
    such = f", such as {wrong.flat[0]:g}" if wrong.size else ""
    raise ValueError(f"{name} must be whole numbers from 0, got {whole.dtype}{such}: {advice}")


def tell_if_intensities(labels: NDArray[Any], name: str) -> None:
    """Warn if an image seems to be taken for its labels: each voxel has another number than the one beside it.

    Parameters
    ----------
    labels : integer array
        Some rows of it are looked at.
    name : str
        What they are called.
    """
    rows = labels.reshape(-1, labels.shape[-1])
    rows = rows[:: max(1, rows.size // _MAX_LOOKED_AT)]
    n_alike, n, _ = _neighbours(rows)
    if n_alike < MIN_ALIKE_SHARE * n and (n_numbers := len(np.unique(rows[rows != 0]))) > MIN_INTENSITIES:
        tell(
            f"{name} seems to hold intensities, not labels: {n_numbers} numbers, and only {100 * n_alike / n:.0f} % of "
            f"its voxels have the same one as the voxel beside them"
        )


def look_like_labels(image: NDArray[Any]) -> bool:
    """Return whether what was taken for an image seems to be labels: whole numbers, each in one piece after the other.

    Some rows of it are looked at.
    """
    n_axes = image.ndim - 1
    every = slice(None, None, math.ceil(max(1, image.size / _MAX_GLANCED_AT) ** (1 / max(1, n_axes))))
    try:
        rows = whole_numbers(image[(every,) * n_axes].reshape(-1, image.shape[-1]))
    except ValueError:
        return False
    n_alike, n_inside, n_near = _neighbours(rows)
    return rows.min() < rows.max() and n_alike > MIN_SURE_SHARE * n_inside and n_alike > MIN_ALIKE_SHARE * n_near


def _neighbours(rows: NDArray[Any]) -> tuple[int, int, int]:
    """Return how many pairs of neighbours have one number that is not 0; in how many neither is 0, or not both are."""
    left, right = rows[:, :-1], rows[:, 1:]
    is_inside, is_near = (left != 0) & (right != 0), (left != 0) | (right != 0)
    alike = is_inside & (left == right)
    return int(alike.sum()), int(is_inside.sum()), int(is_near.sum())


def _laid(path: Path, image: Picture, of: Path | str, resample: bool) -> NDArray[Any]:
    from napari_probseg.io import read

    picture = read(path)
    if is_jpeg(path):
        raise ValueError(f"{path} is a JPEG, which blurs the numbers of labels and masks: save it as .png or .tif")
    return laid_on(picture, image, name=str(path), of=str(of), resample=resample)


@dataclass(frozen=True)
class _Turn:
    """How two grids of the same voxels differ: which axis, (x, y, z), goes where, and which are then flipped."""

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def of(self, data: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return data of a shape, (x, y, z), in the other order; (Z, Y, X)."""
        turned = data.reshape(shape[::-1]).T.transpose(self.axes)
        return np.asarray(np.flip(turned, tuple(axis for axis in range(3) if self.flips[axis])).T)


_SAME = _Turn((0, 1, 2), (False,) * 3)


def _turn(labels: Picture, image: Picture) -> _Turn | str:
    """Return how the voxels of labels become those of an image, or why they are not the same ones."""
    of_labels, of_image = labels.affine_in_mm, image.affine_in_mm
    if len(labels.shape) != len(image.shape) or sorted(labels.shape) != sorted(image.shape):
        return f"its shape is {labels.shape}, the image's {image.shape}"
    is_as_wide = _alike(sorted(labels.spacing), sorted(image.spacing)) or PIXEL in (labels.unit, image.unit)
    if of_labels is None or of_image is None:
        if labels.shape != image.shape:
            return f"its shape is {labels.shape}, the image's {image.shape}"
        if PIXEL in (labels.unit, image.unit) or _alike(labels.spacing, image.spacing):
            return _SAME
        is_as_wide = False
    if not is_as_wide or of_labels is None or of_image is None:
        return f"its spacing is {image.told(labels.spacing)}, the image's {image.told(image.spacing)}"
    shape, wanted = _shape_xyz(labels), _shape_xyz(image)
    corners = _corners(shape)
    there = (np.linalg.solve(of_image, of_labels) @ corners)[:3]  # in voxels of the image
    for axes, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        if tuple(shape[axis] for axis in axes) != wanted:
            continue
        expected = corners[list(axes)]
        for axis, is_flipped in enumerate(flips):
            if is_flipped:
                expected[axis] = wanted[axis] - 1 - expected[axis]
        if np.abs(there - expected).max() <= MAX_OFF_VOXELS:
            return _Turn(axes, flips)
    return f"its corners lie up to {image.told([_farthest(of_labels, of_image, wanted)])} from the image's"


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    return bool(np.allclose(a, b, rtol=MAX_SPACING_OFF, atol=0))


def _shape_xyz(picture: Picture) -> tuple[int, ...]:
    return (*picture.shape[::-1], 1)[:3]


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the indices of the eight outermost voxels, (4, 8), homogeneous."""
    return np.array([[*corner, 1.0] for corner in product(*((0, n - 1) for n in shape))]).T


def _resampled(
    labels: Picture, image: Picture, of_labels: NDArray[np.float64], of_image: NDArray[np.float64]
) -> NDArray[Any]:
    """Return labels in the voxels of an image, each from the nearest of theirs; 0 beyond them."""
    from scipy.ndimage import affine_transform

    back = np.linalg.solve(of_labels, of_image)
    data = np.asarray(labels.data).reshape(_shape_xyz(labels)[::-1]).T
    moved = affine_transform(
        data, back[:3, :3], back[:3, 3], output_shape=_shape_xyz(image), order=0, mode="grid-constant"
    )
    return np.asarray(moved.T.reshape(image.shape))


def _farthest(a: NDArray[np.float64], b: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Return how far corners of one index lie apart in two places, in mm."""
    corners = _corners(shape)
    return float(np.linalg.norm(((a - b) @ corners)[:3], axis=0).max())
