"""Simulated annotator: a dab or scribble where the result is most wrong, or a bounding box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.morphology import ball, deepest
from napari_probseg.region import bounding_box, grown

RADIUS_AT_256 = 3.0


def dab(
    result: NDArray[np.bool_], truth: NDArray[np.bool_], *, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return one brush dab as (inside, outside) masks, or None where the result is right.

    It lies at the voxel farthest from the border of the largest wrong region (the image's border counts as one, as in
    RITM, Sofiiuk et al. 2021), with a radius of 3 pixels in an image of 256, and is clipped to the true label.

    Parameters
    ----------
    result, truth : bool arrays of one shape
        What there is, and what it should be.
    spacing : sequence of float, optional
        Of the voxels, mm; 1 if absent.
    """
    largest = largest_error(result, truth)
    if largest is None:
        return None
    mm = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    middle = deepest(largest, mm)
    wanted = truth == truth[middle]
    drawn = ball(truth.shape, middle, dab_radius(truth.shape, mm), mm) & wanted
    return drawn & truth, drawn & ~truth


def scribble(
    result: NDArray[np.bool_], truth: NDArray[np.bool_], *, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return one line as (inside, outside) masks, or None where the result is right.

    It runs through the middle of the largest wrong region, between its ends but not into them, half as wide as a dab,
    and is clipped to the true label. The arguments are those of `dab`.
    """
    largest = largest_error(result, truth)
    if largest is None:
        return None
    mm = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    line = np.zeros(truth.shape, dtype=bool)
    line[tuple(np.transpose(_middle_line(largest, mm)))] = True
    near = ndimage.distance_transform_edt(~line, sampling=mm) <= dab_radius(truth.shape, mm) / 2
    wanted = truth == truth[np.nonzero(line)][0]
    return near & wanted & truth, near & wanted & ~truth


def box(truth: NDArray[np.bool_], *, margin: float = 0.1) -> NDArray[np.bool_]:
    """Return the sides of a box around the object, one voxel thin, as a mask of strokes outside.

    Parameters
    ----------
    truth : bool array
        With an object.
    margin : float
        Between object and box on each side, over the object's size; sides beyond the image are not drawn.

    Returns
    -------
    bool array of the shape of ``truth``

    Raises
    ------
    ValueError
        If there is no object.
    """
    where = bounding_box(truth)
    if where is None:
        raise ValueError("there is no object to draw a box around: the label is empty")
    drawn = np.zeros(truth.shape, dtype=bool)
    gaps = [1 + round(margin * (s.stop - s.start)) for s in where]
    whole = grown(where, gaps, truth.shape)
    for axis, (s, gap) in enumerate(zip(where, gaps, strict=True)):
        for side in (s.start - gap, s.stop + gap - 1):
            if 0 <= side < truth.shape[axis]:
                drawn[(*whole[:axis], side, *whole[axis + 1 :])] = True
    return drawn


def largest_error(result: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return the largest connected region that is missing, or that is too much; None if there is none.

    Of equal ones the first is taken, and what is missing before what is too much.
    """
    found: NDArray[np.bool_] | None = None
    for wrong in (truth & ~result, result & ~truth):
        parts, n = ndimage.label(wrong)
        size = np.bincount(parts.ravel())[1:]
        if n and (found is None or size.max() > np.count_nonzero(found)):
            found = parts == 1 + int(size.argmax())
    return found


def _middle_line(region: NDArray[np.bool_], spacing: NDArray[np.float64]) -> list[tuple[int, ...]]:
    """Return the middle three fifths of the path between the ends of a connected region that keeps to its middle."""
    from skimage.graph import MCP_Geometric

    even = np.where(region, 1.0, -1.0)  # no way leads through what is negative
    first = deepest(region, spacing)
    for _ in range(2):
        lengths = MCP_Geometric(even, sampling=tuple(spacing)).find_costs([first])[0]
        last, first = first, _argmax(np.where(region & np.isfinite(lengths), lengths, -1))
    depth = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing)[(slice(1, -1),) * region.ndim]
    central = MCP_Geometric(np.where(region, 1 / np.maximum(depth, 1e-9) ** 2, -1.0), sampling=tuple(spacing))
    central.find_costs([first], [last])
    path: list[tuple[int, ...]] = central.traceback(last)
    return path[len(path) // 5 : max(len(path) // 5 + 1, len(path) - len(path) // 5)]


def _argmax(values: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(values.argmax()), values.shape))


def first_dabs(
    truth: NDArray[np.bool_], *, seed: int, spacing: Sequence[float] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return one dab inside (the deepest place of the largest part) and one outside, near the object.

    Parameters
    ----------
    truth : bool array
        With an object.
    seed : int
        Chooses the place outside.
    spacing : sequence of float, optional
        Of the voxels, mm; 1 if absent.

    Returns
    -------
    two bool arrays of the shape of ``truth``
        The second is empty where all is object.

    Raises
    ------
    ValueError
        If there is no object.
    """
    mm = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    first = dab(np.zeros_like(truth), truth, spacing=spacing)
    if first is None:
        raise ValueError("there is no object to mark: the label is empty")
    inside, radius = first[0], dab_radius(truth.shape, mm)
    distance = ndimage.distance_transform_edt(~truth, sampling=mm)
    width = max(3 * radius, 0.5 * float(np.sqrt(np.count_nonzero(truth) * mm.prod() / np.pi)))
    near = (distance > radius) & (distance <= radius + width)
    places = np.argwhere(near if near.any() else ~truth)
    if not len(places):
        return inside, np.zeros_like(truth)
    middle = tuple(places[np.random.default_rng(seed).integers(len(places))])
    return inside, ball(truth.shape, middle, radius, mm) & ~truth


def dab_radius(shape: tuple[int, ...], spacing: NDArray[np.float64]) -> float:
    """Return the radius of a dab in mm: 3 pixels where the image's largest side has 256."""
    return max(RADIUS_AT_256 / 256 * float((np.asarray(shape) * spacing).max()), 0.6 * float(spacing.min()))
