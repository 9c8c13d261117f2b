"""TIFF: axes and distances from OME and ImageJ metadata, and from the resolution tags."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.picture import DAMAGED, MM_PER, NotReadHereError, Picture, drop_axes

_SAME_UNIT = {
    "um": "µm",
    "μm": "µm",  # the Greek letter, not the sign
    "\\u00B5m": "µm",  # as ImageJ writes it
    "micron": "µm",
    "microns": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
}
_AXES = {"S": "C", "Q": "Z", "I": "Z", "R": "Z"}  # samples are channels; pages without a name are slices
_SCREEN_DPI = (1.0, 72.0, 96.0)  # what programs write that know no resolution


def read_tiff(path: Path, axes: str | None) -> Picture:
    """Read a TIFF file; see `napari_probseg.io.read`."""
    import tifffile

    try:
        with _errors_raised("tifffile"), tifffile.TiffFile(path) as file:
            series: Any = file.series[0]
            if series.dataoffset is not None and series.keyframe.is_memmappable:
                dtype = series.dtype.newbyteorder(file.byteorder)
                data: Any = np.memmap(path, dtype, mode="c", offset=series.dataoffset, shape=series.shape)
            else:
                data = _decoded(path, series)
            spacing, unit, is_label = _told(file)
            is_colour = series.keyframe.photometric == tifffile.PHOTOMETRIC.RGB
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    data, given = drop_axes(data, "".join(_AXES.get(axis, axis) for axis in series.axes), "TCZQIRHLEAMPV")
    if is_colour and given.endswith("YXC") and data.shape[-1] == 4:
        data = data[..., :3]  # the fourth is opacity
    if data.dtype == bool:
        data = data.view(np.uint8)
    distances = tuple(spacing.get(axis, 1.0) for axis in given if axis in "ZYX")
    return Picture(data, axes or given, distances, unit, is_label=is_label and data.dtype.kind in "iu")


def _decoded(path: Path, series: Any) -> NDArray[Any]:
    """Return compressed pixels; through Pillow where tifffile alone lacks the decoder, as for LZW and JPEG."""
    try:
        return np.asarray(series.asarray())
    except (ValueError, ImportError) as error:
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        missing = NotReadHereError(
            f"its compression ({series.keyframe.compression.name}) needs another package: pip install imagecodecs"
        )
    from imageio.v3 import imread

    try:
        pages = [imread(path, plugin="pillow", index=page.index) for page in series.pages]
        pixels = np.stack(pages).reshape(series.shape)
    except (OSError, ValueError, AttributeError) as error:
        raise missing from error
    if pixels.dtype != series.dtype:  # Pillow has fewer kinds of numbers than TIFF
        raise missing
    return pixels


def tells_more_than_pixels(path: str | Path) -> bool:
    """Return whether a TIFF file says how far apart its pixels are, or that they are labels; reads no pixel."""
    import tifffile

    try:
        with _errors_raised("tifffile"), tifffile.TiffFile(path) as file:
            _, unit, is_label = _told(file)
    except (tifffile.TiffFileError, *DAMAGED):
        return False
    return is_label or unit != "pixel"


def tiff_bytes(path: Path, array: NDArray[Any], *, axes: str, like: Picture, labels: bool) -> bytes:
    """Return the content of an OME-TIFF file; see `napari_probseg.io.write`."""
    import tifffile

    is_colour = axes.endswith("YXC") and array.shape[-1] == 3
    metadata: dict[str, Any] = {"axes": axes[:-1] + "S" if is_colour else axes}
    if labels:
        metadata["Name"] = "labels"
        array = _in_32_bits(array)
    options: dict[str, Any] = {}
    if like.unit != "pixel":
        unit = like.unit if like.unit != "inch" else "mm"
        for axis, mm in zip("XYZ", reversed(like.spacing), strict=False):
            metadata[f"PhysicalSize{axis}"] = mm / MM_PER[unit]
            metadata[f"PhysicalSize{axis}Unit"] = unit
        options = {"resolution": tuple(10 / mm for mm in like.spacing[:-3:-1]), "resolutionunit": "CENTIMETER"}
    buffer = io.BytesIO()
    photometric = "rgb" if is_colour else "minisblack"
    try:
        tifffile.imwrite(
            buffer, array, ome=True, metadata=metadata, compression="zlib", photometric=photometric, **options
        )
    except tifffile.OmeXmlError as error:
        raise ValueError(f"TIFF cannot hold {array.dtype}: convert it, for example with astype('float32')") from error
    return buffer.getvalue()


def _in_32_bits(array: NDArray[Any]) -> NDArray[Any]:
    """Return labels of 64 bits, which OME-TIFF lacks, in 32; the same numbers, or an error."""
    if array.dtype.itemsize < 8:
        return array
    for dtype in (np.uint32, np.int32):
        if not array.size or (array.min() >= np.iinfo(dtype).min and array.max() <= np.iinfo(dtype).max):
            return array.astype(dtype)
    raise ValueError(f"TIFF holds labels of 32 bits, these go up to {array.max()}: renumber them or use .nii.gz")


def _told(file: Any) -> tuple[dict[str, float], str, bool]:
    """Return the spacing of X, Y and Z in mm, the unit that the file used, and whether it says that it holds labels."""
    if file.is_ome:
        spacing, unit, is_label = _told_by_ome(file.ome_metadata)
        if spacing or is_label:
            return spacing, unit, is_label
    tags, imagej = file.pages[0].tags, file.imagej_metadata or {}
    unit = str(imagej.get("unit", ""))
    unit = _SAME_UNIT.get(unit, unit)
    if unit not in MM_PER:
        number = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags and not imagej else 1
        unit = {2: "inch", 3: "cm"}.get(number, "pixel")
    if unit == "pixel":
        return {}, unit, False
    spacing = {}
    for axis, name in (("X", "XResolution"), ("Y", "YResolution")):
        count, per = tags[name].value if name in tags else (0, 1)
        if count > 0 and per > 0 and not (unit == "inch" and count / per in _SCREEN_DPI):
            spacing[axis] = per / count * MM_PER[unit]
    if float(imagej.get("spacing", 0)) > 0:
        spacing["Z"] = float(imagej["spacing"]) * MM_PER[unit]
    return spacing, unit if spacing else "pixel", False


def _told_by_ome(text: str) -> tuple[dict[str, float], str, bool]:
    import tifffile

    try:
        image: Any = tifffile.xml2dict(text)["OME"]["Image"]
        image = image[0] if isinstance(image, list) else image
        pixels = image["Pixels"]
    except (ParseError, KeyError, TypeError):
        return {}, "pixel", False
    spacing, unit = {}, "pixel"
    for axis in "ZYX":
        size = float(pixels.get(f"PhysicalSize{axis}", 0))
        given = str(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        given = _SAME_UNIT.get(given, given)
        if size > 0 and given in MM_PER:
            spacing[axis], unit = size * MM_PER[given], given
    return spacing, unit, image.get("Name") == "labels"


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
