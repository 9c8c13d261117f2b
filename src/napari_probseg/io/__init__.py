"""Images and labels on disk: NIfTI and TIFF with their geometry, and plain pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.images import checked_spacing
from napari_probseg.io.atomic import write_whole
from napari_probseg.io.endings import known_ending
from napari_probseg.io.failures import NOT_READ, failure, refuse_misnamed
from napari_probseg.io.nifti import nifti_bytes, read_nifti
from napari_probseg.io.paths import refuse_no_file, refuse_to_write
from napari_probseg.io.picture import Picture, tells_a_place
from napari_probseg.io.plain import is_more_than_a_picture, png_bytes, read_plain
from napari_probseg.io.tiff import read_tiff, tells_more_than_pixels, tiff_bytes
from napari_probseg.io.units import MM_PER, PIXEL

__all__ = [
    "MM_PER",
    "NIFTI",
    "PIXEL",
    "PLAIN",
    "READABLE",
    "TIFF",
    "WRITABLE",
    "Picture",
    "is_more_than_a_picture",
    "read",
    "refuse_output",
    "tells_more_than_pixels",
    "write",
]

NIFTI = (".nii.gz", ".nii")
TIFF = (".tif", ".tiff")
PLAIN = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_READERS: dict[tuple[str, ...], Callable[[Path, str | None], Picture]] = {
    NIFTI: read_nifti,
    TIFF: read_tiff,
    PLAIN: read_plain,
}
READABLE = tuple(ending for endings in _READERS for ending in endings)
_WRITERS: dict[tuple[str, ...], Callable[..., bytes]] = {NIFTI: nifti_bytes, TIFF: tiff_bytes, (".png",): png_bytes}
WRITABLE = tuple(ending for endings in _WRITERS for ending in endings)


def read(path: str | Path, *, axes: str | None = None) -> Picture:
    """Read an image or labels; uncompressed NIfTI and TIFF are memory-mapped, never read whole.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, ``.png``, ``.jpg``, ``.bmp`` or ``.gif``.
    axes : str, optional
        What the axes of the data are, such as ``"CZYX"``, where the file says it wrongly or not at all.

    Returns
    -------
    Picture
        Axes of length 1 other than Y and X are left out: a NIfTI file of one slice is a 2-D image.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is no such file, or it may not be read.
    TypeError
        If ``axes`` are no letters.
    ValueError
        If it is damaged or of a kind that is not read.
    MemoryError
        If it does not fit into memory.
    """  # noqa: DOC501 (`failure` is none, but returns one of these)
    path = Path(path)
    refuse_no_file(path)
    if not isinstance(axes, str | None):
        raise TypeError(f"axes must be letters such as 'CZYX', got {axes!r:.60}")
    reader: Callable[[Path, str | None], Picture] = _by_ending(path, _READERS)
    try:
        refuse_misnamed(path, _ending(path))
        return reader(path, axes)
    except NOT_READ as error:
        raise failure(path, error, _ending(path)) from error


def write(
    path: str | Path,
    array: NDArray[Any],
    *,
    like: Picture | None = None,
    spacing: Sequence[float] | None = None,
    affine: NDArray[Any] | None = None,
    labels: bool | None = None,
) -> None:
    """Write labels or an image, compressed where the format can; until all is written the old file stays whole.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, or ``.png`` for what is 2-D.
    array : (Y, X) or (Z, Y, X) array
        The dtype is kept; bool becomes uint8, 64-bit labels become 32-bit ones in TIFF, in PNG 8- or
        16-bit ones. An image may also have all the axes of ``like.data``.
    like : Picture, optional
        What the array lies on: its affine, orientation, codes and units are taken exactly.
    spacing : sequence of float, optional
        In mm, without ``like``.
    affine : (4, 4) array, optional
        Without ``like``: from voxel indices (x, y, z) to mm. NIfTI alone keeps all of it.
    labels : bool, optional
        Whether the file shall say that these are labels; if absent, integers are.

    Raises
    ------
    TypeError
        If ``like`` is no picture.
    ValueError
        If the array does not fit the file or ``like``, or holds nothing.
    OSError
        If the disk is full or the place cannot be written to.
    """
    path, array = Path(path), _numbers(array)
    writer: Callable[..., bytes] = _by_ending(path, _WRITERS)
    if not isinstance(like, Picture | None):
        raise TypeError(f"like must be a picture that was read, got {type(like).__name__}: read(path)")
    labels = array.dtype.kind in "iu" if labels is None else labels
    if labels and array.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {array.dtype}: use array.astype('uint16')")
    in_time = like is not None and "T" in like.axes
    if labels and array.ndim not in (2, 3) and not (in_time and array.ndim == 4):
        raise ValueError(f"labels must be (Y, X) or (Z, Y, X), got shape {array.shape}: save one volume at a time")
    like = like if like is not None else _placed(array, spacing, affine)
    axes = like.axes.replace("C", "") if labels else like.axes
    if array.shape != tuple(n for n, axis in zip(like.data.shape, like.axes, strict=True) if axis in axes):
        axes = like.spatial_axes
    if axes == like.spatial_axes and array.shape != like.shape:
        raise ValueError(
            f"the image that this lies on is {like.shape}, the array {array.shape}: they must have the same shape"
        )
    write_whole(path, writer(path, array, axes=axes, like=like, labels=labels))


def refuse_output(
    path: str | Path, *, made_from: Iterable[str | Path | None] = (), like: Picture | None = None
) -> None:
    """Raise, before anything is computed, if no result can be written at a path.

    Parameters
    ----------
    path, made_from
        See `refuse_to_write`.
    like : Picture, optional
        What the result will lie on.

    Raises
    ------
    ValueError
        If its ending is unknown, or it is one of the files that it is made from, or no volume can be kept so.
    OSError
        If there can be no file, or its folder may not be written to.
    """
    _by_ending(Path(path), _WRITERS)
    if like is not None and len(like.shape) > 2 and _ending(Path(path)) in PLAIN:
        raise ValueError(f"{path} cannot hold a volume of {like.shape}: use .tif or .nii.gz")
    refuse_to_write(path, made_from=made_from)


def _numbers(array: Any) -> NDArray[Any]:
    """Return an array as it can be written: in this machine's order of bytes, bool as uint8."""
    values: NDArray[Any] = np.asarray(array)
    if values.dtype.kind not in "biufc":
        raise ValueError(f"an array of numbers can be written, got one of {values.dtype}: convert it first")
    if not values.size:
        raise ValueError(f"there is nothing to write in an array of {values.shape}")
    return values.astype(np.uint8 if values.dtype == bool else values.dtype.newbyteorder("="), copy=False)


def _placed(array: NDArray[Any], spacing: Sequence[float] | None, affine: NDArray[Any] | None) -> Picture:
    """Return the picture that an array of its own lies on."""
    if array.ndim not in (2, 3):
        raise ValueError(f"an array of (Y, X) or (Z, Y, X) can be written, got shape {array.shape}")
    if affine is not None:
        try:
            affine = np.asarray(affine, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"an affine must be (4, 4) numbers, got {affine!r:.60}") from error
        if affine.shape != (4, 4) or spacing is not None:
            raise ValueError(f"an affine must be (4, 4) and takes the place of spacing, got shape {affine.shape}")
        if not (np.isfinite(affine).all() and tells_a_place(affine) and np.array_equal(affine[3], [0, 0, 0, 1])):
            raise ValueError(
                f"an affine must be finite, of three directions, with the last row 0, 0, 0, 1; got {affine.tolist()}"
            )
        spacing = np.linalg.norm(affine[:3, : array.ndim], axis=0)[::-1].tolist()
    given = checked_spacing(spacing, array.ndim)
    return Picture(array, "ZYX"[-array.ndim :], given, PIXEL if spacing is None else "mm", affine)


def _by_ending(path: Path, table: dict[tuple[str, ...], Any]) -> Any:
    ending = known_ending(path, [ending for endings in table for ending in endings])
    return next(entry for endings, entry in table.items() if ending in endings)


def _ending(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
