"""Plain pictures: PNG, JPEG and the like, which know no distances."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.atomic import write_whole
from napari_probseg.io.paths import refuse_to_write
from napari_probseg.io.picture import NotReadHereError, Picture

_WITH_OPACITY = ("LA", "La", "PA", "RGBA", "RGBa", "RGBX")


def read_plain(path: Path, axes: str | None) -> Picture:
    """Read a plain picture; see `napari_probseg.io.read`."""
    from PIL import Image

    with path.open("rb") as file, Image.open(file) as opened:
        image: Any = opened
        depth, colour_type = _png_depth(file) if image.format == "PNG" else (8, 0)
        if depth == 16 and colour_type != 0:
            raise NotReadHereError("it has colours or opacity of 16 bits, of which only 8 can be read: save it as .tif")
        if getattr(image, "n_frames", 1) > 1 and image.format in ("GIF", "PNG", "WEBP"):
            raise NotReadHereError(f"it holds {image.n_frames} pictures: save the one that is meant by itself")
        image.load()
        colours = None
        if image.mode in ("P", "PA") and image.format in ("PNG", "BMP"):
            colours = _palette(image)
        elif image.mode in ("P", "PA", "CMYK", "YCbCr"):
            image = image.convert("L" if _is_of_greys(image) else "RGB")
        if image.mode not in ("1", "L", "I", "F", "P", "RGB", *_WITH_OPACITY) and not image.mode.startswith("I;16"):
            raise NotReadHereError(f"its pixels are of the kind {image.mode}, which is not read: save it as .tif")
        data = np.array(image)
    if image.mode in _WITH_OPACITY:
        data = data[..., :-1]
    if data.ndim == 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.dtype == bool:
        data = data.astype(np.uint8)  # not a view: Pillow's true is 255
    if depth in (2, 4) and colour_type == 0:  # Pillow stretches what has fewer than 8 bits
        data = data // (255 // (2**depth - 1))
    return Picture(data, axes or ("YXC" if data.ndim == 3 else "YX"), (1.0, 1.0), colours=colours)


def is_more_than_a_picture(path: str | Path) -> bool:
    """Return whether a PNG or GIF file holds what most readers change or make an axis of; reads no pixel.

    That is: more than 8 bits of colours or opacity, which they cut; grey of fewer than 8 bits, which they stretch; grey
    with opacity, which they take for two slices; and pictures that move.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    if head.startswith(b"GIF8"):
        return True
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or len(head) < 26:
        return False
    depth, colour_type = head[24:26]
    is_cut, is_stretched = depth == 16 and colour_type != 0, depth in (2, 4) and colour_type == 0
    return is_cut or is_stretched or colour_type == 4 or b"acTL" in head


def png_bytes(path: Path, array: NDArray[Any], *, axes: str, like: Picture, labels: bool) -> bytes:
    """Return the content of a PNG file; see `napari_probseg.io.write`."""
    from PIL import Image

    is_wider = labels and array.size and str(array.dtype) not in ("uint8", "uint16")
    if is_wider and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        array = array.astype(np.min_scalar_type(array.max()))
    kinds = {"YX": ("uint8", "uint16"), "YXC": ("uint8",)}
    if str(array.dtype) not in kinds.get(axes, ()):
        numbers = f", numbers up to {array.max()}" if labels and array.size else ""
        raise ValueError(
            f"PNG holds 2-D images of uint8 or uint16, not {array.shape} of {array.dtype}{numbers}: use .tif"
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array, array.dtype.newbyteorder("="))).save(buffer, "PNG")
    return buffer.getvalue()


def write_picture(path: str | Path, picture: Any) -> None:
    """Write a picture of Pillow's, whole or not at all; the ending of its name says of which kind.

    Raises
    ------
    ValueError
        If no kind of picture has that ending.
    OSError
        If it cannot be written.
    """
    path, buffer = Path(path), io.BytesIO()
    picture.save(buffer, _kind_of(path))
    write_whole(path, buffer.getvalue())


def refuse_picture(path: str | Path, *, made_from: Iterable[str | Path | None] = ()) -> None:
    """Raise, before anything is computed, if no picture can be written at a path; see `refuse_to_write`.

    Raises
    ------
    ValueError
        If no kind of picture has its ending, or it is one of the files that it is made from.
    OSError
        If there can be no file, or its folder may not be written to.
    """
    _kind_of(Path(path))
    refuse_to_write(path, made_from=made_from)


def _kind_of(path: Path) -> str:
    """Return what Pillow calls the kind of picture that an ending says."""
    from PIL import Image

    kind = Image.registered_extensions().get(path.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise ValueError(f"{path} has no ending of a picture: use .png")
    return kind


def _png_depth(file: Any) -> tuple[int, int]:
    """Return the bits of each number of a PNG file, and its colours: 0 grey, 2 RGB, 3 palette, +4 opacity."""
    place = file.tell()
    file.seek(24)
    depth, colour_type = file.read(2)
    file.seek(place)
    return depth, colour_type


def _is_of_greys(image: Any) -> bool:
    """Return whether a picture has a palette of greys, which alone are what it holds: GIF gives them any numbers."""
    if image.mode != "P":
        return False
    palette = np.frombuffer(bytes(image.getpalette("RGB")), np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _palette(image: Any) -> NDArray[np.uint8]:
    """Return the red, green and blue of each number, (256, 3)."""
    palette = np.frombuffer(bytes(image.getpalette("RGB")), np.uint8).reshape(-1, 3)
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours
