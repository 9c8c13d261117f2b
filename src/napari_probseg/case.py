"""Case: an image, its spacing, and the partial segmentation of one object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_probseg.images import (
    Marker,
    checked_axes,
    checked_image,
    checked_markers,
    checked_plane,
    checked_sizes,
    checked_strokes,
)
from napari_probseg.intensities import finite, single, unmasked
from napari_probseg.pages import Pages, copied, no_pages, pages_of, pages_with_values
from napari_probseg.region import Region, absolute, bounding_box, boxed, hull, on_plane, overlap, parts, relative

__all__ = ["Case", "Marker", "Plane"]

Plane: TypeAlias = tuple[int, int]
Evidence: TypeAlias = tuple[Region, NDArray[np.uint8]]  # a region, and a `Marker` for each of its voxels


@dataclass(frozen=True, eq=False)
class Case:
    """An image with a partial segmentation of one object; a value that is never changed.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array, with one more axis if ``channel_axis`` is given
        Real numbers; bool counts as 0 and 1. A NumPy array, a memory map or anything that slices like one (dask, zarr):
        it is read region by region, never whole.
    spacing : sequence of float, optional
        Distance between voxels along each axis of space, in mm (any one unit will do); 1 if absent. Time has none.
    channel_axis : int, optional
        The axis of ``image`` that counts channels. If absent, and ``spacing`` is for all axes but one, it is that one:
        the first or the last, whichever alone has up to 4 entries.
    partial : uint8 array of the image's spatial shape, optional
        Every voxel's `Marker`: what is decided, by strokes and by accepted candidates.
    strokes : uint8 array of the image's spatial shape, optional
        The part of ``partial`` that a person drew.
    evidence : (tuple of slices, uint8 array of that region's shape), optional
        What was on show, or accepted, before a stroke contradicted it: it decides nothing, but tells of the object.
    expected_dice : float
        The Dice that is expected of the ``evidence``, in [0, 1]: 0 where nobody told, 1 where no strokes tell it.
    sizes : sequence of float
        Sizes in mm of objects that this one may be like, such as those finished before it: of each the square root of
        its area, in a volume the cube root of its volume. A single stroke does not tell how large an object is.
    in_time : bool
        Whether the first axis of ``image`` that counts no channels is time: (T, Y, X) or (T, Z, Y, X). It is an axis of
        the shape and of the markers, but never a length: each image is asked about by itself, as ``plane=(0, t)``.

    Raises
    ------
    TypeError, ValueError
        If the image is not a real-valued 2-D or 3-D one, or a series of such, or the parts do not fit together.
    """

    image: Any
    spacing: Sequence[float] | None = None
    channel_axis: int | None = None
    partial: NDArray[np.uint8] = None  # type: ignore[assignment]
    strokes: NDArray[np.uint8] = None  # type: ignore[assignment]
    evidence: Evidence | None = None
    expected_dice: float = 0.0
    in_time: bool = False
    sizes: Sequence[float] = ()

    def __post_init__(self) -> None:
        image = checked_image(self.image)
        channel_axis, shape, spacing = checked_axes(image, self.channel_axis, self.spacing, in_time=self.in_time)
        given = (self.partial, self.strokes)
        markers = {name: checked_markers(getattr(self, name), shape, name) for name in ("partial", "strokes")}
        of_image = {"image": image, "channel_axis": channel_axis, "spacing": spacing}
        self.__dict__.update(of_image, sizes=checked_sizes(self.sizes), **markers)
        if all(markers is None for markers in given):
            self.__dict__["marked"] = (slice(0, 0),) * len(shape)
            self.__dict__["pages"] = no_pages(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape, without channels; of a time series, time comes first."""
        return self.partial.shape

    @property
    def ndim(self) -> int:
        """2 for an image, 3 for a volume; one more for a time series of such."""
        return self.partial.ndim

    @property
    def axes(self) -> str:
        """What each axis of `shape` is: ``"YX"``, ``"ZYX"``, ``"TYX"`` or ``"TZYX"``."""
        return "T" * self.in_time + "ZYX"[-len(self.spacing or ()) :]

    @property
    def n_channels(self) -> int:
        """How many channels the image has; 1 without a channel axis."""
        return 1 if self.channel_axis is None else int(self.image.shape[self.channel_axis])

    @cached_property
    def marked(self) -> Region:
        """A box outside of which nothing is decided or drawn; it may be too large, but answers cost less by it."""
        boxes = [box for box in (bounding_box(self.partial), bounding_box(self.strokes)) if box]
        return hull(*boxes) if boxes else (slice(0, 0),) * self.ndim

    @cached_property
    def drawn(self) -> Region:
        """The smallest box that holds all strokes; where finished objects are far apart, `marked` is far larger."""
        box = bounding_box(self.strokes[self.marked])
        return (slice(0, 0),) * self.ndim if box is None else absolute(box, self.marked)

    @cached_property
    def pages(self) -> Pages:
        """The pages of ``partial`` and ``strokes`` that something may be decided or drawn on.

        With them the cost of a mark depends on how much is marked, not on how far apart that lies.
        """
        return pages_with_values(self.partial) | pages_with_values(self.strokes)

    def read(self, where: Region | None = None) -> NDArray[np.float32]:
        """Return the intensities of a region, channels first: (C, ...) float32, all of them finite.

        NaN, as files have it around the subject, is outside of the image and as dark as the darkest voxel of its
        channel in the region; so is minus infinity, and infinity is as bright as the brightest. Where single precision
        would blur what the values differ by, since all are large, they are given less their least; what is beyond its
        range is scaled into it.

        Parameters
        ----------
        where : tuple of slices, optional
            The region, one slice for each spatial axis; the whole image if absent.

        Returns
        -------
        (C, Y, X) or (C, Z, Y, X) float32 array
            In the units of the image; C is 1 without a channel axis.
        """
        region: list[slice] = list(where or (slice(None),) * self.ndim)
        if self.channel_axis is not None:
            region.insert(self.channel_axis, slice(None))
        values = single(unmasked(self.image[tuple(region)]))
        return finite(values[None] if self.channel_axis is None else np.moveaxis(values, self.channel_axis, 0))

    def plane(self, axis: int, index: int) -> Case:
        """Return one plane of a volume, or one image of a time series, as a case (a view: nothing is copied or read).

        Parameters
        ----------
        axis : int
            The axis that it stands on: 0, 1 or 2 for Z, Y or X; of a time series always 0.
        index : int
            Where on that axis.

        Returns
        -------
        Case

        Raises
        ------
        ValueError
            If the case is no volume or time series, or has no such plane.
        """
        if self.ndim == 2:
            raise ValueError(f"only a volume has planes to choose from; this image is {self.shape}")
        if not 0 <= axis < (1 if self.in_time else 3) or not 0 <= index < self.shape[axis]:
            of = "an image of a time series" if self.in_time else "a plane of a volume"
            raise ValueError(f"{of} of {self.shape} cannot be index {index} of axis {axis}")
        image_axis = axis if self.channel_axis is None or axis < self.channel_axis else axis + 1
        where = (slice(None),) * axis + (index,)
        channel_axis = self.channel_axis
        if channel_axis is not None and image_axis < channel_axis:
            channel_axis -= 1
        return Case(
            self.image[(slice(None),) * image_axis + (index,)],
            spacing=[mm for a, mm in enumerate(self.spacing or (), start=int(self.in_time)) if a != axis],
            channel_axis=channel_axis,
            partial=self.partial[where],
            strokes=self.strokes[where],
            evidence=None if self.evidence is None else on_plane(*self.evidence, axis, index),
            expected_dice=self.expected_dice,
            sizes=self.sizes,
        )

    def at(self, plane: Plane | None) -> Case:
        """Return what is asked about: one plane, or one image of a time series; the case itself if none is named.

        Parameters
        ----------
        plane : (axis, index) or None
            See `plane`.

        Returns
        -------
        Case

        Raises
        ------
        ValueError
            As `plane`, and if it is a time series and no image of it is named.
        """
        if plane is None and self.in_time:
            raise ValueError(f"a time series of {self.shape} is answered image by image: say which, as plane=(0, t)")
        return self if plane is None else self.plane(*checked_plane(plane))

    def ndim_at(self, plane: Plane | None) -> int:
        """Return how many axes that has which `at` returns: 2 for an image, 3 for a volume.

        Parameters
        ----------
        plane : (axis, index) or None
            See `plane`.

        Returns
        -------
        int
        """
        return self.ndim - (plane is not None)

    def mark(
        self,
        inside: NDArray[Any] | None = None,
        outside: NDArray[Any] | None = None,
        *,
        erase: NDArray[Any] | None = None,
        where: Region | None = None,
    ) -> Case:
        """Return the case with these strokes drawn; a stroke overrides whatever was there.

        Parameters
        ----------
        inside, outside : bool array of the image's spatial shape (or of the region's)
            Voxels that belong to the object, and that do not.
        erase : bool array, optional
            Voxels that become unknown again.
        where : tuple of slices, optional
            The region that the masks cover, one slice for each axis; the whole image if absent.

        Returns
        -------
        Case
            This one itself if nothing is drawn.

        Raises
        ------
        ValueError
            If a mask is none, does not fit the image or the region, or a voxel is drawn in two ways.
        """
        box, within = (None, None) if where is None else boxed(where, self.shape)
        shape = self.shape if box is None else self.partial[box][within].shape
        drawn_by = checked_strokes(shape, inside=inside, outside=outside, erase=erase)
        drawn = {marker: parts(mask) for marker, mask in drawn_by.items()}
        touched = [part for found in drawn.values() for part in found] if box is None else [box]
        if not any(drawn.values()):
            return self
        partial, strokes = (copied(markers, self.pages) for markers in (self.partial, self.strokes))
        views = [markers if box is None else markers[box][within] for markers in (partial, strokes)]
        seen = np.zeros(shape, dtype=np.uint8)
        for marker, found in drawn.items():
            for part in found:
                chosen = drawn_by[marker][part].astype(bool)
                n_twice = int(np.count_nonzero(seen[part][chosen]))
                if n_twice:
                    raise ValueError(
                        f"the strokes contradict each other: {n_twice} voxels are both inside and outside; clear one"
                    )
                for view in (*views, seen):
                    view[part][chosen] = marker
        return self._with_written(partial, strokes, touched)

    def decide(self, where: Region, patch: NDArray[np.uint8]) -> Case:
        """Return the case with the unknown voxels of a region set to ``patch``; decided ones stay.

        Parameters
        ----------
        where, patch : tuple of slices, uint8 array of that region's shape
            The region, and a `Marker` for every voxel; UNKNOWN leaves it open.
        """
        before = self.partial[where]
        return self.with_parts([("partial", where, np.where(before == Marker.UNKNOWN, patch, before))])

    def with_parts(self, parts: Iterable[tuple[str, Region, NDArray[np.uint8]]]) -> Case:
        """Return the case with other markers in some regions; for callers whose values are `Marker` values already.

        Parameters
        ----------
        parts : iterable of (name, where, values)
            ``"partial"`` or ``"strokes"``, a region, and a `Marker` for every voxel of it; later ones override earlier.
        """
        arrays = {"partial": self.partial, "strokes": self.strokes}
        written = []
        for name, where, values in parts:
            if arrays[name] is getattr(self, name):
                arrays[name] = copied(arrays[name], self.pages)
            arrays[name][where] = values
            written.append(where)
        return self._with_written(**arrays, regions=written)

    def with_evidence(self, where: Region, patch: NDArray[np.uint8], expected_dice: float = 0.0) -> Case:
        """Return the case with other `evidence`, which lasts until its markers change.

        Parameters
        ----------
        where, patch : tuple of slices, uint8 array of that region's shape
            What it is about, and a `Marker` for every voxel.
        expected_dice : float
            See `Case`.
        """
        return self._with(evidence=(where, patch), expected_dice=expected_dice)

    def with_sizes(self, sizes: Sequence[float]) -> Case:
        """Return the case with other `sizes` that this object may be of.

        Parameters
        ----------
        sizes : sequence of float
            See `Case`.
        """
        return self._with(sizes=checked_sizes(sizes))

    def with_shown(self, where: Region, mask: NDArray[np.bool_], expected_dice: float = 0.0) -> Case:
        """Return the case with the answer that was on show as `evidence`: what the latest stroke corrects.

        Parameters
        ----------
        where, mask : tuple of slices, bool array of that region's shape
            What the answer is about, and what it took as object; the rest is background to it.
        expected_dice : float
            See `Case`.
        """
        return self.with_evidence(where, np.where(mask, Marker.OBJECT, Marker.BACKGROUND), expected_dice)

    def accepted(self, where: Region) -> NDArray[np.uint8]:
        """Return what is known of a region beside the strokes: what was accepted, and the `evidence`.

        Parameters
        ----------
        where : tuple of slices
            The region.

        Returns
        -------
        uint8 array of the region's shape
            A `Marker` for every voxel, UNKNOWN under strokes.
        """
        known = np.where(self.strokes[where] == Marker.UNKNOWN, self.partial[where], Marker.UNKNOWN)
        if self.evidence is None:
            return known
        box, patch = self.evidence
        both = overlap(box, where)
        if both is not None:
            mine, theirs = relative(both, where), relative(both, box)
            is_open = (known[mine] == Marker.UNKNOWN) & (self.strokes[both] == Marker.UNKNOWN)
            known[mine] = np.where(is_open, patch[theirs], known[mine])
        return known

    def with_markers(
        self, partial: NDArray[np.uint8], strokes: NDArray[np.uint8], *, marked: Region | None = None
    ) -> Case:
        """Return the case with other markers; for callers whose arrays are `Marker` values of its shape already.

        Parameters
        ----------
        partial, strokes : uint8 arrays of the image's spatial shape
            As those of `Case`; neither is copied.
        marked : tuple of slices, optional
            What `marked` will say, where that is known; it is looked for if absent.

        Returns
        -------
        Case
            Without `evidence`.
        """
        case = self._with(evidence=None, expected_dice=0.0, partial=partial, strokes=strokes)
        for known in ("marked", "drawn", "pages"):
            case.__dict__.pop(known, None)
        if marked is not None:
            case.__dict__["marked"] = marked
        return case

    def _with(self, **values: Any) -> Case:
        case = copy(self)
        case.__dict__.update(values)
        return case

    def _with_written(self, partial: NDArray[np.uint8], strokes: NDArray[np.uint8], regions: Sequence[Region]) -> Case:
        """Return the case with markers that differ from these in some regions alone."""
        edges = [[s.indices(n)[:2] for s, n in zip(where, self.shape, strict=True)] for where in regions]
        marked = hull(self.marked, *(tuple(slice(*edge) for edge in sides) for sides in edges))
        case = self.with_markers(partial, strokes, marked=marked)
        case.__dict__["pages"] = self.pages | pages_of(regions, self.shape)
        return case
