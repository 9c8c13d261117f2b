"""Identity of an image: shape, data type, spacing and a fingerprint of its intensities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np

from napari_probseg.case import Case

MAX_VOXELS_READ_WHOLE = 2**18
N_LINES = 64  # that are read of a larger image
MAX_LINE_VOXELS = 256
_SPACING_TOLERANCE = 1e-3  # relative; formats round


class OtherImageError(ValueError):
    """Work belongs to another image than the one at hand, which has the same shape."""


@dataclass(frozen=True)
class Identity:
    """What tells an image from others.

    Parameters
    ----------
    shape : tuple of int
        The spatial shape, with time first if it has any.
    n_channels : int
    dtype : str
        NumPy's name of the data type, whatever the byte order.
    spacing : tuple of float
        Of the axes of space, in mm.
    fingerprint : str
        See `fingerprint`.
    """

    shape: tuple[int, ...]
    n_channels: int
    dtype: str
    spacing: tuple[float, ...]
    fingerprint: str

    @classmethod
    def of(cls, case: Case) -> Identity:
        """Return the identity of a case's image; a small part of a large image is read."""
        image = case.image
        dtype = np.dtype(image.dtype).name
        return cls(case.shape, case.n_channels, dtype, tuple(case.spacing or ()), fingerprint(image))

    @classmethod
    def restored(cls, told: Mapping[str, Any]) -> Identity:
        """Return the identity that `told` says.

        Raises
        ------
        KeyError, TypeError, ValueError
            If that is none.
        """
        shape, spacing = tuple(map(int, told["shape"])), tuple(map(float, told["spacing"]))
        return cls(shape, int(told["n_channels"]), str(told["dtype"]), spacing, str(told["fingerprint"]))

    def told(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    def difference(self, other: Identity) -> str:
        """Return in words how the image of another identity differs from this one; nothing if it does not.

        Returns
        -------
        str
            Such as "its intensities are others" or "its spacing is (1, 1), not (2, 1)".
        """
        if self.shape != other.shape:
            return f"its shape is {other.shape}, not {self.shape}"
        if self.n_channels != other.n_channels:
            return f"its channels are {other.n_channels}, not {self.n_channels}"
        if self.fingerprint != other.fingerprint:
            if self.dtype != other.dtype:
                return f"it holds {other.dtype} values, not {self.dtype}"
            return "its intensities are others"
        if self.dtype != other.dtype:
            return f"it holds {other.dtype} values, not {self.dtype}"
        mine, theirs = self.spacing, other.spacing
        if len(mine) != len(theirs) or not np.allclose(mine, theirs, rtol=_SPACING_TOLERANCE, atol=0):
            return f"its spacing is {_short(other.spacing)}, not {_short(self.spacing)}"
        return ""


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


def _short(spacing: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{mm:.4g}" for mm in spacing) + ")"
