"""A picture: what a file holds, and what is needed to write labels that lie exactly on it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case

MM_PER = {"m": 1e3, "cm": 10.0, "mm": 1.0, "µm": 1e-3, "nm": 1e-6, "inch": 25.4}
DAMAGED = (  # what the libraries raise on a file whose bytes are wrong, found by trying; they promise nothing narrower
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class NotReadHereError(ValueError):
    """A file that is whole, but holds something else than an image of channels, time and space."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file's content and geometry.

    Parameters
    ----------
    data : array
        In napari's order, ``(Z, Y, X)``; a memory map where the file allows it.
    axes : str
        One letter for each axis of ``data``: Z, Y, X, C (channels), T (time).
    spacing : tuple of float
        Of the spatial axes in the order of ``data``, mm; 1 where the file says nothing.
    unit : str
        The unit that the file gives lengths in: ``"mm"``, ``"µm"``, ... or ``"pixel"`` where it says nothing.
    affine : (4, 4) array, optional
        From voxel indices (x, y, z) to the file's unit, as NIfTI has it.
    header : nibabel header, optional
        Of a NIfTI file.
    is_label : bool
        Whether the file says that its numbers are labels.

    Raises
    ------
    NotReadHereError
        If the axes are not channels, time and space, each once.
    """

    data: Any
    axes: str
    spacing: tuple[float, ...]
    unit: str = "pixel"
    affine: NDArray[np.float64] | None = None
    header: Any = None
    is_label: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.data.shape)
        if len(set(self.axes)) < len(self.axes) or set(self.axes) - set("TCZYX") or not {"Y", "X"} <= set(self.axes):
            raise NotReadHereError(
                f"axes must be of T, C, Z, Y, X, each at most once and Y, X always; got {self.axes!r}"
            )
        if len(shape) != len(self.axes):
            raise NotReadHereError(f"axes {self.axes!r} do not name the {len(shape)} axes of an array of {shape}")

    @property
    def channel_axis(self) -> int | None:
        """The axis of ``data`` that counts channels."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape, without channels and time."""
        return tuple(n for n, axis in zip(self.data.shape, self.axes, strict=True) if axis in "ZYX")

    def case(self) -> Case:
        """Return the case of this image.

        Raises
        ------
        ValueError
            If the image has a time axis.
        """
        if "T" in self.axes:
            raise ValueError(
                f"a time series of {tuple(self.data.shape)} is more than one image: take one, Case(picture.data[0], "
                f"picture.spacing), or read(path, axes={self.axes.replace('T', 'C')!r}) if these are channels"
            )
        return Case(self.data, self.spacing, channel_axis=self.channel_axis)


def drop_axes(data: Any, axes: str, gone: str) -> tuple[Any, str]:
    """Return the data without the axes of length 1 that are named."""
    keep = [n > 1 or axis not in gone for n, axis in zip(data.shape, axes, strict=True)]
    return data[tuple(slice(None) if kept else 0 for kept in keep)], "".join(
        axis for axis, kept in zip(axes, keep, strict=True) if kept
    )
