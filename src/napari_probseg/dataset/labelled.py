"""Labelled image on its way into a data set: intensities, labels and geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case
from napari_probseg.intensities import finite, unmasked
from napari_probseg.io import Picture
from napari_probseg.io.labels import whole_numbers
from napari_probseg.io.notice import tell


@dataclass(frozen=True, eq=False)
class Finished:
    """An image and its labels that fit together; made by `of`.

    Parameters
    ----------
    channels : (C, Y, X) or (C, Z, Y, X) array
        Intensities, in the image's own dtype; all finite, as `Case.read` has them.
    labels : (Y, X) or (Z, Y, X) array of unsigned integers
        0 is background.
    like : Picture
        Their geometry.
    fingerprint : str
        See `fingerprint`.
    """

    channels: NDArray[Any]
    labels: NDArray[Any]
    like: Picture
    fingerprint: str

    @classmethod
    def of(
        cls,
        image: Any,
        labels: NDArray[Any],
        *,
        like: Picture | None = None,
        spacing: Sequence[float] | None = None,
        channel_axis: int | None = None,
    ) -> Finished:
        """Return an image with its labels.

        Parameters
        ----------
        image : array
            (Y, X) or (Z, Y, X), with one more axis for channels.
        labels : integer array of the image's spatial shape
        like : Picture, optional
            The geometry; its axes name those of the image, which may also be a single channel of it.
        spacing : sequence of float, optional
            In mm, without ``like``.
        channel_axis : int, optional
            Of the image, without ``like``.

        Raises
        ------
        TypeError
            If the image is none of real numbers.
        ValueError
            If the two do not fit together, or the labels are no whole numbers from 0.
        """
        if like is not None:
            if spacing is not None or channel_axis is not None:
                raise ValueError("like tells spacing and channels: leave out spacing and channel_axis")
            spacing, channel_axis = like.spacing, _channel_axis_in(tuple(image.shape), like)
        case = Case(image, spacing, channel_axis)
        labels = whole_numbers(np.asarray(labels))
        if labels.shape != case.shape:
            raise ValueError(f"the labels must have the image's shape {case.shape}, got {labels.shape}")
        if labels.min() < 0:
            raise ValueError(f"labels must be whole numbers from 0, got {labels.dtype} from {labels.min()}")
        values = unmasked(image)
        channels = values[None] if channel_axis is None else np.moveaxis(values, channel_axis, 0)
        if channels.dtype.kind == "f" and not np.isfinite(channels).all():
            them = "masked values, NaN and infinity" if np.ma.is_masked(image) else "NaN and infinity"
            tell(f"{them}, which nnU-Net refuses, become the least and the greatest number of the image")
            channels = finite(channels)
        if like is None:
            distances = tuple(float(mm) for mm in case.spacing or ())
            like = Picture(channels[0], "ZYX"[-case.ndim :], distances, "pixel" if spacing is None else "mm")
        return cls(channels, smallest(labels), like, fingerprint(case.read()))

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape."""
        return self.labels.shape


def fingerprint(image: NDArray[np.float32]) -> str:
    """Return the SHA-256 of intensities, (C, ...) float32: the same for one image in any file format."""
    values = np.ascontiguousarray(image, dtype="<f4")
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(values.data)
    return digest.hexdigest()


def numbered(
    labels: NDArray[Any], kinds: Mapping[int, str] | None, known: Mapping[str, Any], *, any_number: bool = False
) -> NDArray[Any]:
    """Return labels in the numbers of a data set.

    Parameters
    ----------
    labels : array of unsigned integers
    kinds : mapping from int to str or None
        The label that each number above 0 means; if None, the numbers are the data set's already.
    known : mapping from str to int
        The data set's labels; several numbers for one, as nnU-Net's regions have, need ``kinds`` to be None.
    any_number : bool
        Whether the data set numbers objects, so that without ``kinds`` every number will do.

    Raises
    ------
    ValueError
        If a number has no name, or a name no number.
    """
    values = np.unique(labels)
    found = set(values.tolist()) - {0}
    names = set(known) if kinds is None else set(kinds.values())
    explained = set(np.hstack([np.ravel(n) for n in known.values()]).tolist()) if kinds is None else set(kinds)
    numbers, unknown = sorted(found - explained), sorted(names - set(known))
    if (numbers and not (any_number and kinds is None)) or unknown:
        wrong = f"numbers {_first(numbers)} without a name" if numbers else f"names {_first(unknown)}"
        raise ValueError(
            f"the labels have {wrong}, and the data set has {dict(known)}: name each number (--label NAME=NUMBER, or "
            f"--label NAME if all are objects of one kind), and give the data set a label that it lacks first "
            f"(napari-probseg dataset label)"
        )
    if kinds is None:
        return labels
    new = np.array([0 if n == 0 else int(known[kinds[n]]) for n in values.tolist()])
    return smallest(new[np.searchsorted(values, labels)])


def smallest(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as the smallest unsigned numbers that hold them."""
    return labels.astype(np.min_scalar_type(int(labels.max())))


def _first(values: Sequence[Any]) -> str:
    return ", ".join(str(v) for v in values[:5]) + (", ..." if len(values) > 5 else "")


def _channel_axis_in(shape: tuple[int, ...], like: Picture) -> int | None:
    """Return the axis of channels of an image that lies where ``like`` does."""
    whole = tuple(like.data.shape)
    if shape == like.shape:
        return None
    if shape != whole:
        raise ValueError(f"the image must have the shape of like, {whole}, got {shape}")
    if "T" in like.axes:
        raise ValueError(f"a time series of {shape} is more than one image: add its images one by one")
    return like.channel_axis
