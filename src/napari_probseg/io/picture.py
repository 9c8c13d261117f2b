"""A picture: what a file holds, and what is needed to write labels that lie exactly on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case
from napari_probseg.io.mapped import piecewise
from napari_probseg.io.units import MM_PER, PIXEL


class NotReadHereError(ValueError):
    """A file that is whole, but holds something else than an image of channels, time and space."""


class NoVoxels:
    """Stands for the voxels where the geometry alone is kept: has their shape, and none of them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim = tuple(shape), len(shape)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file's content and geometry.

    Parameters
    ----------
    data : array
        In napari's order, ``(Z, Y, X)``; a memory map where the file allows it.
    axes : str
        One letter for each axis of ``data``: Z, Y, X in this order, C (channels), T (time).
    spacing : tuple of float
        Of the spatial axes in the order of ``data``, mm; without a unit, how long they are beside each other.
    unit : str
        The unit that the file gives lengths in, a key of `MM_PER`: ``"mm"``, ``"µm"``, ...; or ``"pixel"`` where it
        tells none.
    affine : (4, 4) array, optional
        From voxel indices (x, y, z) to the file's unit, as NIfTI has it.
    header : nibabel header, optional
        Of a NIfTI file.
    is_label : bool
        Whether the file says that its numbers are labels.
    colours : (N, 3) uint8 array, optional
        Of a picture with a palette: the red, green and blue of each number. As labels the numbers count, as an image
        the colours.

    Raises
    ------
    NotReadHereError
        If the axes are not channels, time and space, each once.
    """

    data: Any
    axes: str
    spacing: tuple[float, ...]
    unit: str = PIXEL
    affine: NDArray[np.float64] | None = None
    header: Any = None
    is_label: bool = False
    colours: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.data.shape)
        if len(set(self.axes)) < len(self.axes) or set(self.axes) - set("TCZYX") or not {"Y", "X"} <= set(self.axes):
            raise NotReadHereError(
                f"axes must be of T, C, Z, Y, X, each at most once and Y, X always; got {self.axes!r}"
            )
        if len(shape) != len(self.axes):
            raise NotReadHereError(f"axes {self.axes!r} do not name the {len(shape)} axes of an array of {shape}")
        if self.spatial_axes not in ("YX", "ZYX"):
            raise NotReadHereError(f"axes of space must be in the order Z, Y, X, got {self.axes!r}: transpose it first")

    @property
    def channel_axis(self) -> int | None:
        """The axis of ``data`` that counts channels."""
        return self.axes.index("C") if "C" in self.axes else None

    @property
    def spatial_axes(self) -> str:
        """``"YX"`` or ``"ZYX"``."""
        return "".join(axis for axis in self.axes if axis in "ZYX")

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape, without channels and time."""
        return tuple(n for n, axis in zip(self.data.shape, self.axes, strict=True) if axis in "ZYX")

    @property
    def steps(self) -> tuple[float, ...]:
        """The spacing in the file's own unit."""
        return tuple(mm / MM_PER.get(self.unit, 1.0) for mm in self.spacing)

    def told(self, lengths: Iterable[float]) -> str:
        """Return lengths, as ``spacing`` has them, in the file's own unit: ``"2 x 0.5 µm"``; else in pixels."""
        numbers = " x ".join(f"{length / MM_PER.get(self.unit, 1.0):.4g}" for length in lengths)
        return f"{numbers} {'pixels' if self.unit == PIXEL else self.unit}"

    @property
    def affine_in_mm(self) -> NDArray[np.float64] | None:
        """From voxel indices (x, y, z) to mm; None where the file does not say where it lies."""
        if self.affine is None:
            return None
        if self.header is not None and not (self.header["qform_code"] > 0 or self.header["sform_code"] > 0):
            return None  # a NIfTI file of which only the spacing is known
        scale = MM_PER.get(self.unit, 1.0)
        affine = np.diag([scale, scale, scale, 1.0]) @ self.affine
        return affine if np.isfinite(affine).all() and tells_a_place(affine) else None

    def case(self) -> Case:
        """Return the case of this image.

        Raises
        ------
        ValueError
            If the image has a time axis.
        """
        if "T" in self.axes:
            channels = "" if "C" in self.axes else f", and read(path, axes={self.axes.replace('T', 'C')!r}) channels"
            raise ValueError(
                f"a time series of {tuple(self.data.shape)} is more than one image: put each point in time into a file "
                f"of its own; in Python picture.cases() makes them cases, one by one{channels}"
            )
        image = self.in_colours()
        return Case(piecewise(image.data), image.spacing, channel_axis=image.channel_axis)

    def cases(self) -> list[Case]:
        """Return the case of each point in time, in order: of a time series several, else one.

        Each is an image or a volume of its own, so that nothing takes the time between them for a length.
        """
        if "T" not in self.axes:
            return [self.case()]
        image = self.in_colours()
        before = (slice(None),) * image.axes.index("T")
        axes = image.axes.replace("T", "")
        parts = (image.data[(*before, t)] for t in range(image.data.shape[len(before)]))
        return [replace(image, data=part, axes=axes).case() for part in parts]

    def in_colours(self) -> Picture:
        """Return what this is as an image: the colours of a palette in place of its numbers."""
        if self.colours is None:
            return self
        return replace(self, data=self.colours[np.asarray(self.data)], axes=f"{self.axes}C", colours=None)

    def without_voxels(self) -> Picture:
        """Return the geometry alone, which holds no image in memory."""
        return replace(self, data=NoVoxels(self.data.shape))

    def channels(self) -> NDArray[Any]:
        """Return the intensities, channels first: (C, Y, X) or (C, Z, Y, X); a time axis stays where it is."""
        image = self.in_colours()
        values = np.asarray(image.data)
        return values[None] if image.channel_axis is None else np.moveaxis(values, image.channel_axis, 0)


def tells_a_place(affine: NDArray[np.float64]) -> bool:
    """Return whether the axes of an affine, (4, 4), have three directions."""
    directions = affine[:3, :3] / (np.abs(affine[:3, :3]).max() or 1.0)
    return bool(np.linalg.matrix_rank(directions) == 3)


def drop_axes(data: Any, axes: str, gone: str) -> tuple[Any, str]:
    """Return the data without the axes of length 1 that are named."""
    keep = [n > 1 or axis not in gone for n, axis in zip(data.shape, axes, strict=True)]
    return data[tuple(slice(None) if kept else 0 for kept in keep)], "".join(
        axis for axis, kept in zip(axes, keep, strict=True) if kept
    )


def in_order(data: Any, axes: str) -> tuple[Any, str]:
    """Return the data with its axes of space in the order Z, Y, X; channels and time stay where they are."""
    if len(axes) != data.ndim:
        return data, axes  # refused where the picture is made
    places = [i for i, axis in enumerate(axes) if axis in "ZYX"]
    order = list(range(len(axes)))
    for place, source in zip(places, sorted(places, key=lambda i: "ZYX".index(axes[i])), strict=True):
        order[place] = source
    return data.transpose(order), "".join(axes[i] for i in order)
