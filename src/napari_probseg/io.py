"""Images and labels on disk: NIfTI and TIFF with their geometry, and plain pictures."""

from __future__ import annotations

import gzip
import io
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case
from napari_probseg.files import write_whole

NIFTI = (".nii", ".nii.gz")
TIFF = (".tif", ".tiff")
PLAIN = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
MM_PER = {"m": 1e3, "cm": 10.0, "mm": 1.0, "µm": 1e-3, "nm": 1e-6, "inch": 25.4}
_SAME_UNIT = {"um": "µm", "micron": "µm", "microns": "µm", "μm": "µm", "\\u00B5m": "µm", "meter": "m", "centimeter": "cm"}
_DAMAGED = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file's content, with what is needed to write labels that lie exactly on it.

    Parameters
    ----------
    data : array
        As napari orders it: ``(Z, Y, X)``; a memory map where the file allows.
    axes : str
        One letter for each axis of ``data``: Z, Y, X, C (channels), T (time).
    spacing : tuple of float
        Of the spatial axes in the order of ``data``, mm; 1 where the file says nothing.
    unit : str
        The unit that the file gives lengths in: ``"mm"``, ``"µm"``, ... or ``"pixel"`` where it says nothing.
    affine : (4, 4) array, optional
        Of a NIfTI file: from its voxel indices (x, y, z) to mm.
    header : nibabel header, optional
        Of a NIfTI file.
    is_label : bool
        Whether the file says that its numbers are labels.
    """

    data: Any
    axes: str
    spacing: tuple[float, ...]
    unit: str = "pixel"
    affine: NDArray[np.float64] | None = None
    header: Any = None
    is_label: bool = False

    @property
    def channel_axis(self) -> int | None:
        """The axis of ``data`` that counts channels."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape."""
        return tuple(n for n, axis in zip(self.data.shape, self.axes, strict=True) if axis in "ZYX")

    def case(self) -> Case:
        """Return the case of this image.

        Raises
        ------
        ValueError
            If the image has a time axis.
        """
        if "T" in self.axes:
            raise ValueError(f"a time series of {self.data.shape} is more than one image: choose a time point first")
        return Case(self.data, spacing=self.spacing, channel_axis=self.channel_axis)


def read(path: str | Path) -> Picture:
    """Read an image or labels; uncompressed NIfTI and TIFF are memory-mapped.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, ``.png``, ``.jpg``, ``.bmp`` or ``.gif``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or of a kind that is not read.
    """
    path = Path(path)
    reader = {NIFTI: _read_nifti, TIFF: _read_tiff, PLAIN: _read_plain}[_kind(path, (NIFTI, TIFF, PLAIN))]
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return reader(path)
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged or no {_ending(path)} file ({_reason(error)}): get it anew") from error


def write(
    path: str | Path, array: NDArray[Any], *, like: Picture | None = None, spacing: tuple[float, ...] | None = None
) -> None:
    """Write an image or labels; the old file stays whole until the end.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, or ``.png`` for what is 2-D.
    array : (Y, X) or (Z, Y, X) array
        Integers are written as labels, bool as uint8; the dtype is kept.
    like : Picture, optional
        What they lie on: affine, orientation and units are taken from it exactly.
    spacing : tuple of float, optional
        In mm, where there is no ``like``.

    Raises
    ------
    ValueError
        If the array does not fit the file or ``like``.
    OSError
        If the disk is full or the place cannot be written to.
    """
    path, array = Path(path), np.asarray(array)
    writer = {NIFTI: _nifti_bytes, TIFF: _tiff_bytes, (".png",): _png_bytes}[_kind(path, (NIFTI, TIFF, (".png",)))]
    if array.ndim not in (2, 3):
        raise ValueError(f"an array of (Y, X) or (Z, Y, X) can be written, got shape {array.shape}")
    if like is not None and array.shape != like.shape:
        raise ValueError(f"the image that this lies on is {like.shape}, the array {array.shape}: they must be the same")
    if spacing is not None and len(spacing) != array.ndim:
        raise ValueError(f"spacing must give one distance for each of {array.ndim} axes, got {tuple(spacing)}")
    array = array.astype(np.uint8) if array.dtype == bool else array
    like = like or Picture(array, "ZYX"[-array.ndim :], tuple(spacing or (1.0,) * array.ndim), "mm" if spacing else "pixel")
    write_whole(path, writer(path, array, like))


def _kind(path: Path, kinds: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    name = path.name.lower()
    for endings in kinds:
        if name.endswith(endings):
            return endings
    known = ", ".join(ending for endings in kinds for ending in endings)
    raise ValueError(f"{path.name} has an ending that is not known here: use one of {known}")


def _ending(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


# NIfTI ----------------------------------------------------------------------------------------------------------------


def _read_nifti(path: Path) -> Picture:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image: Any = nibabel.load(path)
        data = np.asanyarray(image.dataobj).T
    except (ImageFileError, HeaderDataError) as error:
        raise ValueError(_reason(error)) from error
    if data.dtype.kind == "f" and data.dtype.itemsize > 4:
        data = data.astype(np.float32)  # scaled integers: nibabel makes them float64
    length, duration = image.header.get_xyzt_units()
    axes = ("ZYX" if data.ndim == 3 else "YX") if data.ndim < 4 else "TZYX" if duration == "sec" else "CZYX"
    if data.ndim == 5 and data.shape[1] == 1:  # vectors: x, y, z, no time, channels
        data, axes = data[:, 0], "CZYX"
    if data.ndim > 4:
        raise ValueError(f"it has {data.ndim} axes")
    unit = {"meter": "m", "mm": "mm", "micron": "µm"}.get(length, "mm")
    zooms = [abs(float(z)) or 1.0 for z in image.header.get_zooms()[: min(3, data.ndim)]]
    spacing = tuple(z * MM_PER[unit] for z in reversed(zooms))
    is_label = str(image.header.get_intent()[0]) == "label"
    return Picture(data, axes, spacing, unit, np.asarray(image.affine), image.header.copy(), is_label)


def _nifti_bytes(path: Path, array: NDArray[Any], like: Picture) -> bytes:
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    header = None if like.header is None else like.header.copy()
    affine = like.affine if like.affine is not None else np.diag([*like.spacing[::-1], *[1.0] * (4 - array.ndim)])
    try:
        image = nibabel.Nifti1Image(array.T, affine, header, dtype=array.dtype)
    except HeaderDataError as error:
        raise ValueError(f"NIfTI cannot hold {array.dtype}: convert it, for example with astype('float32')") from error
    image.header.set_slope_inter(1, 0)
    if header is None:
        image.header.set_xyzt_units("mm")
    if array.dtype.kind in "iu":
        image.header.set_intent("label")
    content = image.to_bytes()
    return gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content


# TIFF -----------------------------------------------------------------------------------------------------------------


def _read_tiff(path: Path) -> Picture:
    import tifffile

    try:
        with _errors_raised("tifffile"), tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes = "".join({"S": "C", "Q": "Z", "I": "Z", "R": "Z"}.get(axis, axis) for axis in series.axes)
            spacing, unit = _tiff_spacing(file)
            mapped = series.dataoffset is not None and series.keyframe.compression == 1
            if mapped and series.dataoffset + series.nbytes > path.stat().st_size:
                raise ValueError("it ends too early")
            data = tifffile.memmap(path, mode="r") if mapped else series.asarray()
    except tifffile.TiffFileError as error:
        raise ValueError(_reason(error)) from error
    data = data.reshape(series.shape)
    keep = [i for i, (n, axis) in enumerate(zip(data.shape, axes, strict=True)) if n > 1 or axis in "YX"]
    data, axes = data.reshape([data.shape[i] for i in keep]), "".join(axes[i] for i in keep)
    if len(set(axes)) < len(axes) or set(axes) - set("TCZYX"):
        raise ValueError(f"its axes {series.axes} are more than channels, time and space")
    if axes.endswith("YXC") and data.shape[-1] == 4:
        data = data[..., :3]  # the fourth is opacity
    return Picture(data, axes, tuple(spacing.get(axis, 1.0) for axis in axes if axis in "ZYX"), unit)


@contextmanager
def _errors_raised(logger_name: str) -> Iterator[None]:
    """Raise as ValueError what a library only logs as an error: a file that ends early would pass as a short one."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(logger_name)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
    if said:
        raise ValueError(said[0])


def _tiff_spacing(file: Any) -> tuple[dict[str, float], str]:
    """Return the spacing of X, Y and Z in mm, and the unit that the file used."""
    if file.is_ome and (found := _ome_spacing(file.ome_metadata)):
        return found
    tags = file.pages[0].tags
    imagej = file.imagej_metadata or {}
    unit = _SAME_UNIT.get(str(imagej.get("unit", "")), str(imagej.get("unit", "")))
    if unit not in MM_PER:
        number = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 1
        unit = {2: "inch", 3: "cm"}.get(number, "pixel") if not imagej else "pixel"
    factor = MM_PER.get(unit, 1.0)
    spacing = {}
    for axis, name in (("X", "XResolution"), ("Y", "YResolution")):
        if name in tags and unit != "pixel":
            count, per = tags[name].value
            if count > 0 and per > 0:
                spacing[axis] = per / count * factor
    if float(imagej.get("spacing", 0)) > 0:
        spacing["Z"] = float(imagej["spacing"]) * factor
    return spacing, unit if spacing else "pixel"


def _ome_spacing(text: str) -> tuple[dict[str, float], str] | None:
    import tifffile

    image: Any = tifffile.xml2dict(text)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    spacing, unit = {}, "pixel"
    for axis in "XYZ":
        size = float(pixels.get(f"PhysicalSize{axis}", 0))
        given = str(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        given = _SAME_UNIT.get(given, given)
        if size > 0 and given in MM_PER:
            spacing[axis], unit = size * MM_PER[given], given
    return (spacing, unit) if spacing else None


def _tiff_bytes(path: Path, array: NDArray[Any], like: Picture) -> bytes:
    import tifffile

    metadata: dict[str, Any] = {"axes": "ZYX"[-array.ndim :]}
    options: dict[str, Any] = {}
    if like.unit != "pixel":
        unit = like.unit if like.unit in MM_PER and like.unit != "inch" else "mm"
        for axis, mm in zip("XYZ", reversed(like.spacing), strict=False):
            metadata[f"PhysicalSize{axis}"] = mm / MM_PER[unit]
            metadata[f"PhysicalSize{axis}Unit"] = unit
        options = {"resolution": tuple(10 / mm for mm in like.spacing[:-3:-1]), "resolutionunit": "CENTIMETER"}
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, array, ome=True, metadata=metadata, compression="zlib", photometric="minisblack", **options
    )
    return buffer.getvalue()


# Plain pictures -------------------------------------------------------------------------------------------------------


def _read_plain(path: Path) -> Picture:
    from imageio.v3 import imread

    data = np.asarray(imread(path, index=0))
    if data.ndim == 3 and data.shape[-1] in (2, 4):
        data = data[..., : data.shape[-1] - 1]  # the last is opacity
    if data.ndim == 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return Picture(data, "YXC" if data.ndim == 3 else "YX", (1.0, 1.0))


def _png_bytes(path: Path, array: NDArray[Any], like: Picture) -> bytes:
    from imageio.v3 import imwrite

    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a .png holds (Y, X) of uint8 or uint16, not {array.shape} of {array.dtype}: use .tif")
    return bytes(imwrite("<bytes>", array, extension=".png"))
