"""Case: an image, its spacing, and the partial segmentation of one object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_probseg.images import checked_channel_axis, checked_image, checked_mask, checked_spacing
from napari_probseg.intensities import finite, single
from napari_probseg.pages import Pages, copied, no_pages, pages_of, pages_with_values
from napari_probseg.region import Region, bounding_box, boxed, hull, overlap, parts, relative

Plane: TypeAlias = tuple[int, int]


class Marker(np.uint8, Enum):
    """What is known of a voxel: a number as the arrays of markers have it, which are compared with it as they are."""

    UNKNOWN = 0
    OBJECT = 1
    BACKGROUND = 2


@dataclass(frozen=True, eq=False)
class Case:
    """An image with a partial segmentation of one object; a value that is never changed.

    Parameters
    ----------
    image : (Y, X) or (Z, Y, X) array, with one more axis if ``channel_axis`` is given
        Real numbers; bool counts as 0 and 1. A NumPy array, a memory map or anything that slices like one (dask, zarr):
        it is read region by region, never whole.
    spacing : sequence of float, optional
        Distance between voxels along each spatial axis, in mm (any one unit will do); 1 if absent.
    channel_axis : int, optional
        The axis of ``image`` that counts channels. If absent, and ``spacing`` is for all axes but one, it is that one:
        the first or the last, whichever alone has up to 4 entries.
    partial : uint8 array of the image's spatial shape, optional
        Every voxel's `Marker`: what is decided, by strokes and by accepted candidates.
    strokes : uint8 array of the image's spatial shape, optional
        The part of ``partial`` that a person drew.
    evidence : (tuple of slices, uint8 array of that region's shape), optional
        What had been accepted before a stroke contradicted it: a `Marker` for every voxel. It decides nothing, but says
        what the object may be like.

    Raises
    ------
    TypeError, ValueError
        If the image is not a real-valued 2-D or 3-D one, or the parts do not fit together.
    """

    image: Any
    spacing: Sequence[float] | None = None
    channel_axis: int | None = None
    partial: NDArray[np.uint8] = None  # type: ignore[assignment]
    strokes: NDArray[np.uint8] = None  # type: ignore[assignment]
    evidence: tuple[Region, NDArray[np.uint8]] | None = None

    def __post_init__(self) -> None:
        image = checked_image(self.image)
        channel_axis = checked_channel_axis(image, self.channel_axis, self.spacing)
        spatial = tuple(n for axis, n in enumerate(image.shape) if axis != channel_axis)
        if len(spatial) not in (2, 3):
            raise ValueError(
                f"an image must be (Y, X) or (Z, Y, X), and channel_axis=... names an axis of channels; "
                f"got shape {tuple(image.shape)} with channel_axis={self.channel_axis}"
            )
        if sum(n > 1 for n in spatial) < 2:
            raise ValueError(f"there is nothing to segment in an image of {spatial}: two axes need at least 2 voxels")
        spacing = checked_spacing(self.spacing, len(spatial))
        given = (self.partial, self.strokes)
        partial = _checked_markers(self.partial, spatial, "partial")
        strokes = _checked_markers(self.strokes, spatial, "strokes")
        for name, value in (
            ("image", image),
            ("channel_axis", channel_axis),
            ("spacing", spacing),
            ("partial", partial),
            ("strokes", strokes),
        ):
            object.__setattr__(self, name, value)
        if all(markers is None for markers in given):
            self.__dict__["marked"] = (slice(0, 0),) * len(spatial)
            self.__dict__["pages"] = no_pages(spatial)

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape, without channels."""
        return self.partial.shape

    @property
    def ndim(self) -> int:
        """2 for an image, 3 for a volume."""
        return self.partial.ndim

    @property
    def n_channels(self) -> int:
        """How many channels the image has; 1 without a channel axis."""
        return 1 if self.channel_axis is None else int(self.image.shape[self.channel_axis])

    @cached_property
    def marked(self) -> Region:
        """A box outside of which nothing is decided or drawn; it may be larger than it must be.

        With it the cost of an answer depends on where the marks are, not on the size of the volume.
        """
        boxes = [box for box in (bounding_box(self.partial), bounding_box(self.strokes)) if box]
        return hull(*boxes) if boxes else (slice(0, 0),) * self.ndim

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
        values = single(np.asarray(self.image[tuple(region)]))
        return finite(values[None] if self.channel_axis is None else np.moveaxis(values, self.channel_axis, 0))

    def plane(self, axis: int, index: int) -> Case:
        """Return one plane of a volume as a 2-D case (a view: nothing is copied or read).

        Parameters
        ----------
        axis : int
            The axis that it stands on: 0, 1 or 2 for Z, Y or X.
        index : int
            Where on that axis.

        Returns
        -------
        Case

        Raises
        ------
        ValueError
            If the case is no volume, or has no such plane.
        """
        if self.ndim != 3:
            raise ValueError(f"only a volume has planes to choose from; this image is {self.shape}")
        if not 0 <= axis < 3 or not 0 <= index < self.shape[axis]:
            raise ValueError(f"a plane of a volume of {self.shape} cannot be index {index} of axis {axis}")
        image_axis = axis if self.channel_axis is None or axis < self.channel_axis else axis + 1
        where = (slice(None),) * axis + (index,)
        channel_axis = self.channel_axis
        if channel_axis is not None and image_axis < channel_axis:
            channel_axis -= 1
        return Case(
            self.image[(slice(None),) * image_axis + (index,)],
            spacing=[mm for a, mm in enumerate(self.spacing or ()) if a != axis],
            channel_axis=channel_axis,
            partial=self.partial[where],
            strokes=self.strokes[where],
            evidence=_evidence_on_plane(self.evidence, axis, index),
        )

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
        drawn_by: dict[Marker, NDArray[Any]] = {}
        for name, mask, marker in (
            ("erase", erase, Marker.UNKNOWN),
            ("inside", inside, Marker.OBJECT),
            ("outside", outside, Marker.BACKGROUND),
        ):
            if mask is None:
                continue
            drawn_by[marker] = checked_mask(mask, name)
            if drawn_by[marker].shape != shape:
                raise ValueError(f"{name} must have the shape {shape} of the image, got {drawn_by[marker].shape}")
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
        where : tuple of slices
            The region.
        patch : uint8 array of the region's shape
            A `Marker` for every voxel; UNKNOWN leaves it open.
        """
        before = self.partial[where]
        return self.with_part("partial", where, np.where(before == Marker.UNKNOWN, patch, before))

    def with_part(self, name: str, where: Region, values: NDArray[np.uint8]) -> Case:
        """Return the case with other markers in a region; for callers whose values are `Marker` values already.

        Parameters
        ----------
        name : str
            ``"partial"`` or ``"strokes"``.
        where : tuple of slices
            The region.
        values : uint8 array of the region's shape
            A `Marker` for every voxel.
        """
        return self.with_parts([(name, where, values)])

    def with_parts(self, parts: Iterable[tuple[str, Region, NDArray[np.uint8]]]) -> Case:
        """Return the case with other markers in some regions.

        Parameters
        ----------
        parts : iterable of (name, where, values)
            Each as `with_part` takes them; later ones override earlier ones.
        """
        arrays = {"partial": self.partial, "strokes": self.strokes}
        written = []
        for name, where, values in parts:
            if arrays[name] is getattr(self, name):
                arrays[name] = copied(arrays[name], self.pages)
            arrays[name][where] = values
            written.append(where)
        return self._with_written(**arrays, regions=written)

    def with_evidence(self, where: Region, patch: NDArray[np.uint8]) -> Case:
        """Return the case with other `evidence`, which lasts until its markers change.

        Parameters
        ----------
        where : tuple of slices
            The region that it is about.
        patch : uint8 array of the region's shape
            A `Marker` for every voxel.
        """
        case = copy(self)
        object.__setattr__(case, "evidence", (where, patch))
        return case

    def with_shown(self, where: Region, mask: NDArray[np.bool_]) -> Case:
        """Return the case with the answer that was on show as `evidence`: what the latest stroke corrects.

        Parameters
        ----------
        where : tuple of slices
            The region that the answer is about.
        mask : bool array of the region's shape
            What it took as object; the rest is background to it.
        """
        return self.with_evidence(where, np.where(mask, Marker.OBJECT, Marker.BACKGROUND))

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
        case = copy(self)
        object.__setattr__(case, "evidence", None)
        object.__setattr__(case, "partial", partial)
        object.__setattr__(case, "strokes", strokes)
        for known in ("marked", "pages"):
            case.__dict__.pop(known, None)
        if marked is not None:
            case.__dict__["marked"] = marked
        return case

    def _with_written(self, partial: NDArray[np.uint8], strokes: NDArray[np.uint8], regions: Sequence[Region]) -> Case:
        """Return the case with markers that differ from these in some regions alone."""
        edges = [[s.indices(n)[:2] for s, n in zip(where, self.shape, strict=True)] for where in regions]
        marked = hull(self.marked, *(tuple(slice(*edge) for edge in sides) for sides in edges))
        case = self.with_markers(partial, strokes, marked=marked)
        case.__dict__["pages"] = self.pages | pages_of(regions, self.shape)
        return case


def _evidence_on_plane(
    evidence: tuple[Region, NDArray[np.uint8]] | None, axis: int, index: int
) -> tuple[Region, NDArray[np.uint8]] | None:
    if evidence is None or not evidence[0][axis].start <= index < evidence[0][axis].stop:
        return None
    where, patch = evidence
    return (*where[:axis], *where[axis + 1 :]), patch.take(index - where[axis].start, axis)


def _checked_markers(markers: Any, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    if markers is None:
        return np.zeros(shape, dtype=np.uint8)
    values = np.asarray(markers)
    if values.shape != shape:
        raise ValueError(f"{name} must have the image's spatial shape {shape}, got {values.shape}")
    if values.dtype != np.uint8 or values.max(initial=0) > max(Marker):
        raise TypeError(f"{name} must be uint8 with values 0 unknown, 1 object, 2 background; got {values.dtype}")
    return values
