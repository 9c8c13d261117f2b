"""Packing of masks and labels into short texts, for scripts and for steps that JSON keeps."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(array: NDArray[Any]) -> str:
    """Return a mask or a label array as a short text, to be read by `unpack`."""
    values = np.packbits(array) if array.dtype == bool else np.ascontiguousarray(array, dtype="<u4")
    kind = "b" if array.dtype == bool else "u"
    shape = "x".join(str(n) for n in array.shape)
    return f"{kind}{shape}:{base64.b85encode(zlib.compress(values.tobytes(), 9)).decode()}"


def unpack(text: str) -> NDArray[Any]:
    """Return the array that `pack` wrote: bool, or uint32 labels.

    Raises
    ------
    ValueError
        If the text was changed.
    """
    try:
        head, body = text.split(":", 1)
        shape = tuple(int(n) for n in head[1:].split("x"))
        content = zlib.decompress(base64.b85decode(body))
        if head[0] == "u":
            return np.frombuffer(content, dtype="<u4").reshape(shape).astype(np.uint32)
        bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8))
        return bits[: int(np.prod(shape))].reshape(shape).astype(bool)
    except (ValueError, IndexError, zlib.error) as error:
        raise ValueError("a packed stroke is damaged: copy the script again, whole") from error
