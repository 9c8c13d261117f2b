"""Why a file cannot be read: each cause its own sentence, with advice that helps."""

from __future__ import annotations

import gzip
import struct
import zlib
from contextlib import suppress
from pathlib import Path

from PIL import Image

from napari_probseg.io.paths import reading_failure
from napari_probseg.io.picture import NotReadHereError

DAMAGED = (  # what the libraries raise on a file whose bytes are wrong, found by trying; they promise nothing narrower
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
NOT_READ = (*DAMAGED, MemoryError, Image.DecompressionBombError)
N_HEAD = 400  # bytes that tell of which kind a file is
CONVERT, UNPACK, ANEW = "convert it to NIfTI or TIFF", "unpack it first", "get it anew"
# What the first bytes tell: where, which, what it is, and the endings that it should have here; or what to do, if it is
# not read.
_KINDS: tuple[tuple[int, bytes, str, tuple[str, ...] | str], ...] = (
    (0, b"\x1f\x8b", "a compressed file (gzip)", (".nii.gz",)),
    (344, b"n+1\0", "an uncompressed NIfTI file", (".nii",)),
    (4, b"n+2\0", "an uncompressed NIfTI file", (".nii",)),
    (0, b"II*\0", "a TIFF file", (".tif", ".tiff")),
    (0, b"MM\0*", "a TIFF file", (".tif", ".tiff")),
    (0, b"II+\0", "a TIFF file", (".tif", ".tiff")),
    (0, b"MM\0+", "a TIFF file", (".tif", ".tiff")),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG file", (".png", ".jpg", ".jpeg", ".bmp", ".gif")),
    (0, b"\xff\xd8\xff", "a JPEG file", (".jpg", ".jpeg", ".png", ".bmp", ".gif")),
    (0, b"GIF8", "a GIF file", (".gif", ".png", ".jpg", ".jpeg", ".bmp")),
    (128, b"DICM", "a DICOM file", CONVERT),
    (344, b"ni1\0", "the header of a pair of files (.hdr and .img)", CONVERT),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", CONVERT),
    (0, b"NRRD0", "an NRRD file", CONVERT),
    (0, b"ObjectType", "a MetaImage file", CONVERT),
    (0, b"NDims", "a MetaImage file", CONVERT),
    (0, b"SIMPLE  =", "a FITS file", CONVERT),
    (0, b"CDF\x01", "a NetCDF file", CONVERT),
    (0, b"\x93NUMPY", "a NumPy file", CONVERT),
    (0, b"ZISRAWFILE", "a CZI file of Zeiss", CONVERT),
    (0, b"\xda\xce\xbe\n", "an ND2 file of Nikon", CONVERT),
    (0, b"\x70\0\0\0", "a LIF file of Leica", CONVERT),
    (0, b"8BPS", "a file of Photoshop", CONVERT),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 file", (".jpg", ".jpeg", ".png", ".bmp", ".gif")),
    (4, b"ftyphei", "a HEIC picture", CONVERT),
    (8, b"WEBPVP8", "a WebP picture", (".png", ".jpg", ".jpeg", ".bmp", ".gif")),
    (0, b"%PDF", "a PDF document", CONVERT),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"BZh", "a compressed file (bzip2)", UNPACK),
    (0, b"\xfd7zXZ\0", "a compressed file (xz)", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a compressed file (zstd)", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (0, b"<!DOCTYPE html", "a web page, as failed downloads leave it", ANEW),
    (0, b"<html", "a web page, as failed downloads leave it", ANEW),
    (0, b"<?xml", "a message of a server, as failed downloads leave it", ANEW),
    (0, b'{"', "a message of a server, as failed downloads leave it", ANEW),
    (0, b"version https://git-lfs", "only what Git LFS left in place of it", "fetch it with git lfs pull"),
)


def refuse_misnamed(path: Path, ending: str) -> None:
    """Raise if the first bytes of a file say that it is of another kind than its name.

    Raises
    ------
    NotReadHereError
        If they do.
    ValueError
        If the file is empty.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(N_HEAD)
    if not head:
        raise ValueError("it is empty")
    if (found := _kind(head)) is not None:
        what, then = found
        if isinstance(then, str):
            raise NotReadHereError(f"it holds {what}: {then}")
        if ending not in then:
            stem = path.name[: -len(ending)]
            raise NotReadHereError(f"it holds {what}, and its name says {ending}: rename it to {stem}{then[0]}")
        if ending == ".nii.gz":
            _refuse_other_content(path)


def _refuse_other_content(path: Path) -> None:
    """Raise if a compressed file holds something else than NIfTI, as far as it can be unpacked."""
    head = b""
    with suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
        head = file.read(N_HEAD)
    found = _kind(head)
    if found is not None and ".nii" not in found[1]:
        raise NotReadHereError(f"what is compressed in it is {found[0]}, no NIfTI file: {UNPACK}")


def _kind(head: bytes) -> tuple[str, tuple[str, ...] | str] | None:
    """Return what the first bytes of a file say that it is, and what to do or how it should end; None if nothing."""
    return next(
        ((what, then) for at, magic, what, then in _KINDS if head[at : at + len(magic)].lower() == magic.lower()), None
    )


def is_jpeg(path: str | Path) -> bool:
    """Return whether a file holds a JPEG picture, whatever its name says."""
    with Path(path).open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def failure(path: Path, error: BaseException, ending: str) -> Exception:
    """Return the error to raise where a file could not be read: one sentence that is true of its cause."""
    if isinstance(error, NotReadHereError):
        return ValueError(f"{path} cannot be opened: {error}")
    if (cause := reading_failure(path, error)) is not None:
        return cause
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(f"{path} cannot be opened: it is too large for a plain picture: save it as .tif")
    return ValueError(f"{path} is damaged or no {ending} file ({reason_of(error)}): get it anew")


def reason_of(error: BaseException) -> str:
    """Return the first line of what a library said, not too long."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
