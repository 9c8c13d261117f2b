"""What an array must be to be an image (numbers, axes, spacing), what markers are, and what tells images apart."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b
from math import prod
from numbers import Real
from operator import index
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_UNNAMED_CHANNELS = 4  # up to which the axis that has no spacing is known to count channels
MAX_VOXELS_READ_WHOLE = 2**18  # by a fingerprint
N_LINES = 64  # that are read of a larger image
MAX_LINE_VOXELS = 256


class Marker(np.uint8, Enum):
    """What is known of a voxel: a number as the arrays of markers have it, which are compared with it as they are."""

    UNKNOWN = 0
    OBJECT = 1
    BACKGROUND = 2


def checked_image(image: Any) -> Any:
    """Return what an image is given as, a list of numbers as an array.

    Raises
    ------
    TypeError
        If it is no array of real numbers.
    """
    if isinstance(image, list | tuple):
        if image and hasattr(image[0], "shape"):
            raise TypeError("the image is a list of arrays (multiscale?): pass one of them, the finest being image[0]")
        try:
            image = np.asarray(image)
        except ValueError as error:
            raise TypeError("the image is a list of rows of different lengths: make them as long") from error
    if not (hasattr(image, "shape") and hasattr(image, "dtype")):
        advice = ""
        if isinstance(image, str | PathLike):
            advice = ": read it, napari_probseg.read(path).case()"
        elif callable(getattr(image, "case", None)):  # a picture
            advice = ": take its case, picture.case(), or its image, picture.data"
        elif hasattr(image, "image"):  # a case
            advice = ": take its image, case.image"
        raise TypeError(f"an image must be an array, got {type(image).__name__}{advice}")
    try:
        kind = np.dtype(image.dtype).kind
    except TypeError as error:
        what = f"{type(image).__module__}.{type(image).__name__} of {image.dtype}"
        raise TypeError(
            f"an image must be a NumPy array, got a {what}: convert it first, numpy.asarray(image)"
        ) from error
    if kind not in "iufb":
        advice = "use numpy.abs(image)" if kind == "c" else "convert it first"
        raise TypeError(f"an image must hold real numbers, got {image.dtype}: {advice}")
    return image


def are_same_voxels(image: Any, other: Any) -> bool:
    """Return whether two arrays are the same one, or views of the same memory: one image of a series, taken twice."""
    if isinstance(image, np.ndarray) and isinstance(other, np.ndarray):
        return image.__array_interface__ == other.__array_interface__
    return image is other


def checked_axes(
    image: Any, channel_axis: int | None, spacing: Sequence[float] | None, *, in_time: bool = False
) -> tuple[int | None, tuple[int, ...], tuple[float, ...]]:
    """Return what the axes of an image are.

    Parameters
    ----------
    image : array
        Of which the shape alone is looked at.
    channel_axis, spacing
        As they are given, or None.
    in_time : bool
        Whether the first axis that counts no channels is time.

    Returns
    -------
    channel_axis : int or None
        The axis that counts channels, from 0.
    shape : tuple of int
        Of the other axes, time and space.
    spacing : tuple of float
        Distances along the axes of space, in mm: time has none.

    Raises
    ------
    TypeError
        If ``in_time`` is neither true nor false.
    ValueError
        If they are not those of an image, a volume, or a series of such in time.
    """
    if not isinstance(in_time, bool | np.bool_):
        raise TypeError(f"in_time must be True or False, got {in_time!r:.60}")
    channel_axis = checked_channel_axis(image, channel_axis, None if in_time else spacing)
    shape = tuple(n for axis, n in enumerate(image.shape) if axis != channel_axis)
    of_space = shape[int(in_time) :]
    if len(of_space) not in (2, 3):
        wanted = (
            "a time series must be (T, Y, X) or (T, Z, Y, X)" if in_time else "an image must be (Y, X) or (Z, Y, X)"
        )
        series = "" if in_time else ", and in_time=True says that the first axis is time"
        raise ValueError(
            f"{wanted}, and channel_axis=... names an axis of channels{series}; "
            f"got shape {tuple(image.shape)} with channel_axis={channel_axis}"
        )
    if not all(n == n for n in image.shape):  # NaN, as dask has it where nobody has counted
        raise ValueError(
            f"an image of {tuple(image.shape)} does not know its size: call image.compute_chunk_sizes() first"
        )
    if 0 in image.shape:
        raise ValueError(f"there is nothing to segment in an image of {tuple(image.shape)}: it has no voxel")
    if sum(n > 1 for n in of_space) < 2:
        raise ValueError(f"there is nothing to segment in an image of {of_space}: two axes need at least 2 voxels")
    return channel_axis, shape, checked_spacing(spacing, len(of_space))


def checked_channel_axis(image: Any, channel_axis: int | None, spacing: Sequence[float] | None) -> int | None:
    """Return the axis that counts channels, from 0; None if none does.

    Parameters
    ----------
    image : array
        Of which the shape alone is looked at.
    channel_axis : int or None
        As it is given; it may count from the end.
    spacing : sequence of float or None
        One distance for each axis, or for all but one: then that one counts channels.

    Raises
    ------
    ValueError
        If there is no such axis, or it does not show which one has no distance.
    """
    ndim = len(image.shape)
    if channel_axis is None and spacing is not None and np.size(spacing) == ndim - 1 in (2, 3):
        return _axis_of_few(tuple(image.shape))
    if channel_axis is None:
        return None
    if not isinstance(channel_axis, Real) or channel_axis not in range(-ndim, ndim):
        raise ValueError(f"channel_axis={channel_axis} is not an axis of an image of shape {tuple(image.shape)}")
    return int(channel_axis) % ndim


def _axis_of_few(shape: tuple[int, ...]) -> int:
    """Return the axis of channels where all others have a spacing: the first or last, whichever alone is short."""
    few = [axis for axis in (0, len(shape) - 1) if shape[axis] <= MAX_UNNAMED_CHANNELS]
    if len(few) != 1:
        raise ValueError(
            f"spacing must give one distance for each of the {len(shape)} axes of an image of {shape}; if one of them "
            f"counts channels, name it: channel_axis=0 or channel_axis=-1; if the first is time, in_time=True"
        )
    return few[0]


def checked_whole(number: Any, name: str) -> int:
    """Return a number that must be whole.

    Raises
    ------
    TypeError
        If it is none.
    """
    try:
        return index(number)
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number, got {number!r:.60}") from error


def checked_number(number: Any, name: str) -> float:
    """Return a number; whether it is in its range is for the caller to say.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(number, Real):
        raise TypeError(f"{name} must be a number, got {number!r:.60}")
    return float(number)


def checked_plane(plane: Any) -> tuple[int, int]:
    """Return a plane of a volume as (axis, index).

    Raises
    ------
    TypeError
        If its parts are no whole numbers.
    ValueError
        If it has not two of them.
    """
    parts = tuple(plane) if isinstance(plane, tuple | list | np.ndarray) else ()
    if len(parts) != 2:
        raise ValueError(f"a plane must be (axis, index), such as (0, 12), got {plane!r:.60}")
    return checked_whole(parts[0], "the axis of a plane"), checked_whole(parts[1], "the index of a plane")


def checked_spacing(spacing: Sequence[float] | None, ndim: int) -> tuple[float, ...]:
    """Return the distances between voxels along ``ndim`` axes, in mm; 1 if none are given.

    Raises
    ------
    ValueError
        If there are more or fewer of them, or one is no number above 0.
    """
    if spacing is None:
        return (1.0,) * ndim
    try:
        values = _floats(spacing)
    except (TypeError, ValueError) as error:
        raise ValueError(f"spacing must give one distance for each of {ndim} axes, got {spacing!r:.60}") from error
    if len(values) != ndim:
        raise ValueError(f"spacing must give one distance for each of {ndim} axes of space, got {values}")
    if not all(np.isfinite(mm) and mm > 0 for mm in values):
        raise ValueError(f"spacing must be positive distances, got {values}")
    return values


def _floats(numbers: Any) -> tuple[float, ...]:
    """Return numbers as floats; the letters of a text are none.

    Raises
    ------
    TypeError
        If they are a text.
    """
    if isinstance(numbers, str | bytes):
        raise TypeError(f"numbers are wanted, got the text {numbers!r:.60}")
    return tuple(float(number) for number in numbers)


def checked_sizes(sizes: Any) -> tuple[float, ...]:
    """Return sizes of objects, in mm.

    Raises
    ------
    ValueError
        If one is no number above 0.
    """
    try:
        values = _floats(sizes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sizes must be numbers, in mm, got {sizes!r:.60}") from error
    if not all(np.isfinite(mm) and mm > 0 for mm in values):
        raise ValueError(f"sizes must be above 0, in mm, got {values!r:.60}")
    return values


def checked_strokes(shape: tuple[int, ...], **masks: Any) -> dict[Marker, NDArray[Any]]:
    """Return masks by what a stroke over them draws: ``erase``, ``inside`` or ``outside``; those of None are left out.

    Raises
    ------
    ValueError
        If one is no mask, or is not of the shape.
    """
    drawn_by = {}
    for name, marker in (("erase", Marker.UNKNOWN), ("inside", Marker.OBJECT), ("outside", Marker.BACKGROUND)):
        if (mask := masks.get(name)) is None:
            continue
        drawn_by[marker] = checked_mask(mask, name)
        if drawn_by[marker].shape != shape:
            raise ValueError(f"{name} must have the shape {shape} of the image, got {drawn_by[marker].shape}")
    return drawn_by


def checked_mask(mask: Any, name: str) -> NDArray[Any]:
    """Return a mask as an array, of bool or of whole numbers, of which all but 0 are in it.

    Raises
    ------
    ValueError
        If it holds other numbers: a probability does not say whether a voxel is in it.
    """
    values = np.asarray(mask)
    if values.dtype.kind not in "biu" and (values.dtype.kind != "f" or (values != np.rint(values)).any()):
        got = f"{values.dtype} with other numbers" if values.dtype.kind == "f" else f"an array of {values.dtype}"
        raise ValueError(
            f"{name} must be a mask of True and False, got {got}: compare first, for example probability > 0.5"
        )
    return values


def checked_markers(markers: Any, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Return the `Marker` of every voxel of an image of a shape; UNKNOWN everywhere if none are given.

    Raises
    ------
    TypeError
        If they are other numbers.
    ValueError
        If they are of another shape.
    """
    if markers is None:
        return np.zeros(shape, dtype=np.uint8)
    values = np.asarray(markers)
    if values.shape != shape:
        raise ValueError(f"{name} must have the image's spatial shape {shape}, got {values.shape}")
    if values.dtype != np.uint8 or values.max(initial=0) > max(Marker):
        raise TypeError(f"{name} must be uint8 with values 0 unknown, 1 object, 2 background; got {values.dtype}")
    return values


def fingerprint(image: Any) -> str:
    """Return a hash of an image's values: of all if it is small, else of lines that are spread over it.

    Parameters
    ----------
    image : array
        Anything that slices like a NumPy array; a memory map or a lazy array is not read whole.
    """
    shape = tuple(int(n) for n in image.shape)
    digest = blake2b(digest_size=16)
    if prod(shape) <= MAX_VOXELS_READ_WHOLE:
        digest.update(_bytes_of(image[...]))
        return digest.hexdigest()
    along = int(np.argmax(shape))
    length = min(shape[along], MAX_LINE_VOXELS)
    # A lattice of rank 1 (Roberts 2018): lines at places that fill the image evenly, and are the same ones each time.
    root = max(np.roots([1.0, *(0.0,) * (len(shape) - 1), -1.0, -1.0]).real)
    for i in range(N_LINES):
        at = [(0.5 + (i + 1) / root ** (axis + 1)) % 1 for axis in range(len(shape))]
        where: list[Any] = [int(part * n) for part, n in zip(at, shape, strict=True)]
        start = int(at[along] * (shape[along] - length + 1))
        where[along] = slice(start, start + length)
        digest.update(_bytes_of(image[tuple(where)]))
    return digest.hexdigest()


def _bytes_of(values: Any) -> bytes:
    """Return values as bytes that do not depend on the machine."""
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
