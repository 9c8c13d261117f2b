"""Maps in other places: along each axis a matrix that interpolates, or averages, is multiplied to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def transformed(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Return values, (..., Y, X) or (..., Z, Y, X), of which each matrix makes (P,) of the (N,) along its axis.

    Parameters
    ----------
    values : tensor
    matrices : sequence of (P, N) tensors
        One for each of the last axes, see `interpolating` and `resizing`.
    """
    if len(matrices) == 3:
        planes = values.shape[-2:]
        values = matrices[0].to(values) @ values.flatten(-2)
        values = values.reshape(*values.shape[:-1], *planes)
    down, right = matrices[-2:]
    return down.to(values) @ (values @ right.to(values).T)


def interpolating(n: int, places: Tensor) -> Tensor:
    """Return the (P, n) matrix that interpolates linearly; beyond its ends values are those of the ends.

    Parameters
    ----------
    n : int
        Of values along an axis.
    places : (P,) tensor
        Where: 0 is the middle of the first of them.
    """
    at = places.double().clamp(0, n - 1)
    before = at.floor().long()
    share = at - before
    matrix = torch.zeros(len(at), n, dtype=torch.float64)
    row = torch.arange(len(at))
    matrix[row, before] = 1 - share
    matrix[row, (before + 1).clamp(max=n - 1)] += share
    return matrix.float()


def resizing(n: int, size: int, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """Return the (size, n) matrix that makes ``size`` of n values: means where they are fewer, else interpolated.

    Parameters
    ----------
    n, size : int
    padding : (int, int)
        How often the first and the last value are repeated before.
    """
    first, last = padding
    total = first + n + last
    if size < total:
        edges = np.arange(size + 1) * total
        low, high = edges[:-1] // size, -(-edges[1:] // size)
        places = np.arange(total)
        within = (places >= low[:, None]) & (places < high[:, None])
        matrix = torch.from_numpy(within / (high - low)[:, None])
    else:
        matrix = interpolating(total, (torch.arange(size) + 0.5) * (total / size) - 0.5).double()
    inner = matrix[:, first : first + n].clone()
    inner[:, 0] += matrix[:, :first].sum(1)
    inner[:, -1] += matrix[:, first + n :].sum(1)
    return inner.float()
