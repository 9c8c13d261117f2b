"""TIFF: what is in a file is read as it is stored; labels and images are written as OME-TIFF."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.failures import NOT_READ
from napari_probseg.io.limits import MAX_DEFLATE_RATIO, MAX_LZW_RATIO, refuse_to_unpack
from napari_probseg.io.notice import heard, tell
from napari_probseg.io.picture import NotReadHereError, Picture, drop_axes, in_order
from napari_probseg.io.tiff_facts import facts_of
from napari_probseg.io.units import MM_PER, PIXEL

_AXES = {"S": "C", "Q": "Z", "I": "Z", "R": "Z"}  # samples are channels; pages without a name are slices
_DROPPED = "TCZQIRHLEAMPV"
_OPACITY = (1, 2)  # of ExtraSamples
_PLAIN = ("YX", "IYX", "QYX", "ZYX", "YXS")  # what any reader takes for the same as we
_IN_ORDER = ("YX", "ZYX", "TYX", "TZYX")
_GREY = ("MINISBLACK", "MINISWHITE")
_BESIDE = ("thumbnail", "label", "macro")  # small pictures that scanners put beside the one of the slide
MIN_RESOLUTION_MM = 1e-8  # of a pixel: what is finer, the resolution tags cannot hold
_MAX_RATIOS = {  # of bytes that are unpacked over those that are stored
    "NONE": 1,
    "LZW": MAX_LZW_RATIO,
    "ADOBE_DEFLATE": MAX_DEFLATE_RATIO,
    "DEFLATE": MAX_DEFLATE_RATIO,
    "PACKBITS": 64,
}
_OME_UNITS = {"inch": "in"}
_NO_COLOURS_HERE = ("SEPARATED", "CIELAB", "ICCLAB", "ITULAB")  # inks, and colours that are no intensities
_IN_PILLOW = ("MINISBLACK", "RGB", "PALETTE", "YCBCR")  # which Pillow reads as they are, without inverting them


def read_tiff(path: Path, axes: str | None) -> Picture:
    """Read a TIFF file; see `napari_probseg.io.read`."""
    import tifffile

    try:
        with _said_by_tifffile(path), tifffile.TiffFile(path) as file:
            series = _the_series(file)
            page = series.keyframe
            if page.photometric.name in _NO_COLOURS_HERE:
                raise NotReadHereError(f"its colours are of the kind {page.photometric.name}: convert them to RGB")
            if series.dataoffset is not None and page.is_memmappable:
                _refuse_to_unpack(path, series, in_memory=False)
                dtype = series.dtype.newbyteorder(file.byteorder)
                data: Any = np.memmap(path, dtype, mode="c", offset=series.dataoffset, shape=series.shape)
            else:
                _refuse_to_unpack(path, series, in_memory=True)
                data = _decoded(path, series)
            facts = facts_of(file)
            colours = _palette(page) if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
            if file.is_imagej:
                colours = None  # what ImageJ shows intensities in
            data = _without_opacity(data, series.axes, page)
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error
    data, given = drop_axes(data, "".join(_AXES.get(axis, axis) for axis in series.axes), _DROPPED)
    data, given = in_order(data, axes or given)
    if data.dtype == bool:
        data = data.view(np.uint8)
    spacing, unit = facts.spacing(path, [axis for axis in given if axis in "ZYX"])
    return Picture(data, given, spacing, unit, is_label=facts.is_label and data.dtype.kind in "iu", colours=colours)


def tells_more_than_pixels(path: str | Path) -> bool:
    """Return whether a TIFF file holds more than grey or RGB numbers, which any reader gets right; reads no pixel.

    That is: how far apart its pixels are, that they are labels, what its axes are, opacity, a palette, or that it has
    several images.
    """
    import tifffile

    try:
        with _said_by_tifffile(None), tifffile.TiffFile(path) as file:
            facts, series = facts_of(file), file.series[0]
            is_plain = (
                len(file.series) == 1 and series.axes in ("YX", "IYX", "QYX", "ZYX", "YXS") and series.dtype != bool
            )
            has_palette = series.keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE and not file.is_imagej
            has_more = has_palette or bool(series.keyframe.extrasamples)
            return not is_plain or has_more or bool(facts.lengths) or facts.is_label
    except tifffile.TiffFileError:
        return False
    except NOT_READ:
        return False


def geometry_of_tiff(path: str | Path) -> Picture | None:
    """Return where the pixels of a TIFF file lie, and read none of them.

    Returns
    -------
    Picture or None
        Without voxels; None where another reader may make other numbers or axes of it: of colours, labels and channels,
        and of axes in another order than (T, Z, Y, X).
    """
    import tifffile

    try:
        with _said_by_tifffile(None), tifffile.TiffFile(path) as file:
            facts, series = facts_of(file), _the_series(file)
            is_grey = series.keyframe.photometric.name in _GREY or file.is_imagej
    except (tifffile.TiffFileError, *NOT_READ):
        return None
    blank = np.broadcast_to(np.zeros((), series.dtype), series.shape)
    data, axes = drop_axes(blank, "".join(_AXES.get(axis, axis) for axis in series.axes), _DROPPED)
    if not is_grey or facts.is_label or series.dtype == bool or axes not in _IN_ORDER:
        return None
    spacing, unit = facts.spacing(Path(path), [axis for axis in axes if axis in "ZYX"])
    return Picture(data, axes, spacing, unit).without_voxels()


def _the_series(file: Any) -> Any:
    """Return the one image of a file; thumbnails and the scales of a pyramid are none.

    Raises
    ------
    NotReadHereError
        If it holds several, or parts of it are missing.
    ValueError
        If it holds none.
    """
    if not file.series:
        raise ValueError("it holds no image")
    images = [s for s in file.series if not s.keyframe.is_reduced and not s.name.lower().startswith(_BESIDE)]
    if len(images) > 1:
        shapes = ", ".join(str(tuple(s.shape)) for s in images[:4]) + (", ..." if len(images) > 4 else "")
        raise NotReadHereError(
            f"it holds {len(images)} images, {shapes}: save the one that is meant as a file of its own"
        )
    series = (images or file.series)[0]
    if any(page is None for page in series._pages):
        raise NotReadHereError(
            "parts of its image are missing: it may be one of a set of files, which must lie in one folder"
        )
    return series


def _refuse_to_unpack(path: Path, series: Any, *, in_memory: bool) -> None:
    name = series.keyframe.compression.name
    n_stored = sum({p.parent.filename: p.parent.filehandle.size for p in series._pages if p is not None}.values())
    most = _MAX_RATIOS.get(name, 1e5)
    bits = series.keyframe.bitspersample / (8 * series.dtype.itemsize) if most == 1 else 1  # packed: 1, 10, 12, 14 bits
    refuse_to_unpack(
        tuple(series.shape),
        series.dtype.itemsize,
        n_stored,
        most=most / bits,
        advice="save it uncompressed, then it is read piece by piece" if in_memory else "use a part of it",
        in_memory=in_memory,
    )


def _decoded(path: Path, series: Any) -> NDArray[Any]:
    """Return compressed pixels; through Pillow where tifffile alone lacks the decoder, as for LZW and JPEG."""
    try:
        return np.asarray(series.asarray())
    except (ValueError, ImportError, NotImplementedError) as error:
        if not isinstance(error, ImportError) and not any(
            word in str(error) for word in ("imagecodecs", "not supported")
        ):
            raise
    page = series.keyframe
    what = page.compression.name if page.compression != 1 else f"numbers of {page.bitspersample} bits"
    missing = NotReadHereError(f"its compression ({what}) needs another package: pip install imagecodecs")
    if page.photometric.name not in _IN_PILLOW or len({p.parent.filename for p in series._pages}) > 1:
        raise missing
    from PIL import Image

    pages = []
    try:
        with Image.open(_unturned(path, series)) as image:
            for one in series.pages:
                image.seek(one.index)
                pages.append(_as_stored(np.array(image), page))
        pixels = np.stack(pages).reshape(series.shape)
    except (OSError, ValueError, AttributeError, EOFError, SyntaxError) as error:
        raise missing from error
    if pixels.dtype != series.dtype:  # Pillow has fewer kinds of numbers than TIFF
        raise missing
    return pixels


def _unturned(path: Path, series: Any) -> Path | io.BytesIO:
    """Return a file of which Pillow turns or mirrors no page, as it would by what the file tells of its camera."""
    tags = [one.aspage().tags.get("Orientation") for one in series.pages]
    turned = [tag for tag in tags if tag is not None and tag.value != 1]
    if not turned:
        return path
    content = bytearray(path.read_bytes())
    for tag in turned:
        struct.pack_into(f"{series.keyframe.parent.byteorder}H", content, tag.valueoffset, 1)
    return io.BytesIO(content)


def _as_stored(pixels: NDArray[Any], page: Any) -> NDArray[Any]:
    """Return a page of Pillow, whose colours always are the last axis, in the shape that it has in the file."""
    if pixels.shape != page.shape and page.axes == "SYX":
        pixels = np.moveaxis(pixels, -1, 0)
    if pixels.shape != tuple(page.shape):
        raise ValueError(f"a page of {page.shape} came as {pixels.shape}")
    return pixels != 0 if pixels.dtype == bool else pixels  # Pillow's true is 255


def _palette(page: Any) -> NDArray[np.uint8] | None:
    """Return the red, green and blue of each number, (N, 3); None if the file does not tell."""
    if page.colormap is None:
        return None
    return np.ascontiguousarray((np.asarray(page.colormap).T >> 8).astype(np.uint8))


def _without_opacity(data: Any, axes: str, page: Any) -> Any:
    """Return the data without the samples that say how opaque a pixel is."""
    opaque = sum(int(kind) in _OPACITY for kind in page.extrasamples)
    if "S" not in axes or not opaque:
        return data
    where = axes.index("S")
    kept = data[(slice(None),) * where + (slice(0, data.shape[where] - opaque),)]
    return kept


def tiff_bytes(path: Path, array: NDArray[Any], *, axes: str, like: Picture, labels: bool) -> bytes:
    """Return the content of an OME-TIFF file; see `napari_probseg.io.write`."""
    import tifffile

    is_colour = axes.endswith("YXC") and array.shape[-1] == 3
    metadata: dict[str, Any] = {"axes": axes[:-1] + "S" if is_colour else axes}
    if labels:
        metadata["Name"] = "labels"
        array = _in_32_bits(array)
    options: dict[str, Any] = {}
    if like.unit != PIXEL or len(set(like.spacing)) > 1:
        for axis, mm in zip("XYZ", reversed(like.spacing), strict=False):
            metadata[f"PhysicalSize{axis}"] = mm / MM_PER.get(like.unit, 1.0)
            metadata[f"PhysicalSize{axis}Unit"] = _OME_UNITS.get(like.unit, like.unit)
    if like.unit != PIXEL and min(like.spacing[-2:]) > MIN_RESOLUTION_MM:
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


@contextmanager
def _said_by_tifffile(path: Path | None) -> Iterator[None]:
    """Raise as ValueError what tifffile only logs as an error: a file that ends early would pass as a short one.

    What it logs as a warning is told, but where zeros would stand for what is missing.

    Raises
    ------
    ValueError
        If it logged an error.
    NotReadHereError
        If zeros would stand for what is missing.
    """
    with heard("tifffile") as said:
        yield
    sentences = {
        record.getMessage().splitlines()[0]: record.levelno for record in said if record.levelno >= logging.WARNING
    }
    for sentence, level in sentences.items():
        if level >= logging.ERROR:
            raise ValueError(sentence)
        if "zeroed" in sentence:
            raise NotReadHereError(
                f"parts of its image are missing ({sentence[:200]}): it may be one of a set of files, which must lie "
                f"in one folder"
            )
    for sentence in list(sentences)[:3]:
        if path is not None:
            tell(f"{path.name}: {sentence[:200]}")
