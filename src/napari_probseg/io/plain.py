"""Plain pictures: PNG, JPEG and the like, which know no distances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.picture import Picture


def read_plain(path: Path, axes: str | None) -> Picture:
    """Read a plain picture; see `napari_probseg.io.read`."""
    from imageio.v3 import imread

    with path.open("rb") as file:
        data = np.asarray(imread(file, index=0, plugin="pillow"))
    if data.ndim == 3 and data.shape[-1] in (2, 4):
        data = data[..., : data.shape[-1] - 1]  # the last is opacity
    if data.ndim == 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.dtype == bool:
        data = data.view(np.uint8)
    return Picture(data, axes or ("YXC" if data.ndim == 3 else "YX"), (1.0, 1.0))


def png_bytes(path: Path, array: NDArray[Any], *, axes: str, like: Picture, labels: bool) -> bytes:
    """Return the content of a PNG file; see `napari_probseg.io.write`."""
    from imageio.v3 import imwrite

    kinds = {"YX": ("uint8", "uint16"), "YXC": ("uint8",)}
    if str(array.dtype) not in kinds.get(axes, ()):
        raise ValueError(f"PNG holds 2-D images of uint8 or uint16, not {array.shape} of {array.dtype}: use .tif")
    return bytes(imwrite("<bytes>", array, extension=".png"))
