"""Records of a journal: one for each step, checksummed, and how they are written to bytes and read again.

After its first line a journal is a sequence of records: the length and the CRC-32 of what follows, then the length of
a JSON text, the text, and the compressed arrays that it tells of.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.limits import Allowance
from napari_probseg.session.encoding import described
from napari_probseg.session.history import Step

FORMAT = b"napari-probseg journal "
VERSION = 1
FIRST_LINE = FORMAT + b"%d\n" % VERSION
_FRAME = struct.Struct("<II")  # length and CRC-32 of a record
_LENGTH = struct.Struct("<I")
_PIECE = 2**16  # bytes of a record that are unpacked at once
_COMPRESSION = 1  # the fastest: markers are long runs of the same value


def is_journal(path: Path) -> bool:
    """Return whether a file begins as journals do."""
    try:
        with path.open("rb") as file:
            return file.read(len(FORMAT)) == FORMAT
    except OSError:
        return False


class Unpacked:
    """The arrays of a record, one after the other."""

    def __init__(self, content: memoryview, allowance: Allowance) -> None:
        self._rest, self._stream, self._allowance = content, zlib.decompressobj(), allowance

    def __call__(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the next array; see `napari_probseg.session.encoding.Fetch`."""
        n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        self._allowance.take(n_bytes)
        pieces, n_missing = [], n_bytes
        while n_missing:
            packed = self._stream.unconsumed_tail
            if not packed:
                packed, self._rest = bytes(self._rest[:_PIECE]), self._rest[_PIECE:]
            pieces.append(self._stream.decompress(packed, n_missing))
            n_missing -= len(pieces[-1])
            if not packed and not pieces[-1]:
                raise ValueError(f"{key} is not as large as {shape}")
        return np.frombuffer(b"".join(pieces), dtype=dtype).reshape(shape)


def records_of(file: BinaryIO, allowance: Allowance | None = None) -> Iterator[tuple[dict[str, Any], Unpacked]]:
    """Yield what the records of a file hold, until the first that is not whole.

    Parameters
    ----------
    file : file
        Open, at its second line.
    allowance : Allowance, optional
        How much their arrays may unpack to.

    Yields
    ------
    (dict, Unpacked)
        What JSON can hold of a record, and its arrays, still packed.

    Raises
    ------
    ValueError
        If one is whole and holds something else than was written.
    RecursionError
        If that is nested too deeply to be read.
    """
    allowance = allowance or Allowance()
    size = os.fstat(file.fileno()).st_size
    while True:
        frame = file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return
        n_bytes, checksum = _FRAME.unpack(frame)
        if n_bytes < _LENGTH.size or file.tell() + n_bytes > size:  # zeros, too, are what a power cut leaves
            return
        content = file.read(n_bytes)
        if zlib.crc32(content) != checksum:
            raise ValueError("a record has another checksum")
        (n_text,) = _LENGTH.unpack_from(content)
        about = json.loads(content[_LENGTH.size : _LENGTH.size + n_text])
        yield about, Unpacked(memoryview(content)[_LENGTH.size + n_text :], allowance)


def record_of(about: Mapping[str, Any], step: Step | None) -> bytes:
    """Return a record of what JSON can hold, and of a step."""
    arrays: dict[str, NDArray[Any]] = {}
    text = json.dumps(about if step is None else {**about, "step": described(step, "", arrays)}).encode()
    compress = zlib.compressobj(_COMPRESSION)
    packed = [compress.compress(np.ascontiguousarray(array).data) for array in arrays.values() if array.size]
    content = b"".join([_LENGTH.pack(len(text)), text, *packed, compress.flush()])
    return _FRAME.pack(len(content), zlib.crc32(content)) + content
