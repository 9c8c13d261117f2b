"""Geodesic distance to strokes, lengthened by the edges of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.images import checked_image, checked_mask, checked_number, checked_spacing, checked_whole
from napari_probseg.intensities import unmasked

TOLERANCE = 1e-4
MAX_ROUNDS = 100
BATCH_VOXELS = 2**17  # voxels whose steps are measured in one go


def geodesic_distance(
    image: NDArray[Any],
    seeds: NDArray[Any],
    *,
    spacing: Sequence[float] | None = None,
    edge_weight: float = 1.0,
    n_rounds: int | None = None,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Return the length of the shortest path from the seeds to each voxel.

    A path goes from voxel to voxel over 8 (2-D) or 26 (3-D) neighbours, and a step costs
    ``sqrt(r^2 + (edge_weight * dI)^2)``, r being its length in mm and dI the difference of intensities (Euclidean over
    channels). Without ``n_rounds`` the answer is exact for such paths, to float32. Against straight lines in a flat
    image, which may run in any direction, it is at most 8.3 % too long in 2-D and 12.9 % in 3-D (for equal spacing).

    Parameters
    ----------
    image : (C, Y, X) or (C, Z, Y, X) array
        Channels first; the channels may be left out.
    seeds : (Y, X) or (Z, Y, X) bool array
        Where the distance is 0.
    spacing : sequence of float, optional
        Distance between voxels along each axis, in mm; 1 if absent.
    edge_weight : float
        Millimetres that a difference of one unit of intensity counts as; 0 ignores the image.
    n_rounds : int, optional
        Stop after so many rounds: sooner, and the distance may be too long where a path winds much. Until nothing
        changes if absent.
    device : str or device
        Where it is computed.

    Returns
    -------
    distance : float32 array of the shape of ``seeds``, in mm

    Raises
    ------
    TypeError, ValueError
        If there is no seed, the shapes do not fit, the image is not finite, or a number is out of range.

    Notes
    -----
    Sweeps over the slices along each axis, forwards and backwards (Toivanen 1996; Criminisi et al. 2008), of which each
    is one operation on a whole slice, until nothing changes.
    """
    seeds = checked_mask(seeds, "seeds").astype(bool)
    values, mm = _checked_image(image, seeds), checked_spacing(spacing, seeds.ndim)
    _refuse_out_of_range(edge_weight, n_rounds)
    intensity = F.pad(float(edge_weight) * torch.from_numpy(values).to(device), (1, 1) * seeds.ndim)
    distance = torch.full(intensity.shape[1:], torch.inf, device=device)  # what is beyond the border is never a way
    inner = distance[(slice(1, -1),) * seeds.ndim]
    inner[torch.from_numpy(seeds).to(device)] = 0
    for _ in range(MAX_ROUNDS if n_rounds is None else n_rounds):
        before = inner.clone()
        for axis in range(seeds.ndim):
            _sweep(distance.movedim(axis, 0), intensity.movedim(axis + 1, 0), _squared_steps(mm, axis).to(device))
        if bool((inner > before - TOLERANCE * min(mm)).all()):
            break
    return inner.cpu().numpy()


def _refuse_out_of_range(edge_weight: float, n_rounds: int | None) -> None:
    if n_rounds is not None and checked_whole(n_rounds, "n_rounds") < 1:
        raise ValueError(f"n_rounds must be at least 1, got {n_rounds}")
    if not np.isfinite(checked_number(edge_weight, "edge_weight")) or edge_weight < 0:
        raise ValueError(f"edge_weight must be 0 or more millimetres for a unit of intensity, got {edge_weight}")


def _sweep(distance: Tensor, intensity: Tensor, squared: Tensor) -> None:
    """Improve ``distance`` (N + 2, ...) in place along its first axis, forwards, then backwards.

    Parameters
    ----------
    intensity : (N + 2, C, ...) tensor
        In mm, padded like the distance.
    squared : (3,) or (3, 3) tensor
        Squared length of the steps from a slice to the next, in mm^2.
    """
    offsets = tuple(range(squared.ndim))
    lengths = squared.reshape(*squared.shape, *(1,) * squared.ndim)  # (3, 3, 1, 1)
    inner = (slice(1, -1),) * squared.ndim
    around, came = _neighbours(intensity, squared.ndim), _neighbours(distance, squared.ndim)
    n = len(distance) - 2
    n_at_once = max(1, BATCH_VOXELS // distance[0].numel())
    for forwards in (True, False):
        for first in range(0, n, n_at_once):
            slices = torch.arange(first, min(first + n_at_once, n)) + 1
            slices, step = (slices, 1) if forwards else (n + 1 - slices, -1)
            here = intensity[slices][(..., *(None,) * squared.ndim, *inner)]
            cost = ((around[slices - step] - here).square().sum(1) + lengths).sqrt()  # (n, 3, 3, Y, X)
            for k, length in zip(slices.tolist(), cost, strict=True):
                better = (came[k - step] + length).amin(offsets)
                torch.minimum(distance[k][inner], better, out=distance[k][inner])


def _neighbours(padded: Tensor, ndim: int) -> Tensor:
    """Return a view of (..., Y + 2, X + 2) with the 3x3 around each place before it: (..., 3, 3, Y, X)."""
    for _ in range(ndim):
        padded = padded.unfold(-ndim, 3, 1)
    order = list(range(padded.ndim))
    return padded.permute(*order[: -2 * ndim], *order[-ndim:], *order[-2 * ndim : -ndim])


def _squared_steps(mm: Sequence[float], axis: int) -> Tensor:
    """Return the squared lengths of the steps to the next slice along ``axis``, for offsets -1, 0, 1 of the others."""
    others = [m for a, m in enumerate(mm) if a != axis]
    squares = [
        mm[axis] ** 2 + sum((o * m) ** 2 for o, m in zip(offset, others, strict=True))
        for offset in product((-1, 0, 1), repeat=len(others))
    ]
    return torch.tensor(squares, dtype=torch.float32).reshape((3,) * len(others))


def _checked_image(image: NDArray[Any], seeds: NDArray[np.bool_]) -> NDArray[np.float32]:
    given = unmasked(checked_image(image))
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise ValueError(
            "the image holds NaN, infinite or masked values: replace them first, for example with numpy.nan_to_num"
        )
    is_exact = given.dtype.itemsize <= 2 or given.dtype == np.float32
    # Differences alone count, and those of large numbers single precision would blur.
    values = (given if is_exact or not given.size else given.astype(np.float64) - given.min()).astype(np.float32)
    values = values[None] if values.ndim == seeds.ndim else values
    if seeds.ndim not in (2, 3) or values.shape[1:] != seeds.shape:
        raise ValueError(f"the image must be {seeds.shape} like the seeds, or have channels first; got {given.shape}")
    if not seeds.any():
        raise ValueError("there is no seed to measure the distance from: mark at least one voxel")
    return values
