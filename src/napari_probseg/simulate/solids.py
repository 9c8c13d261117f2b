"""Solids of even grey in noise: a ball, a box, a tube or a shell in thin or thick slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("ball", "box", "tube", "shell")


@dataclass(frozen=True, eq=False)
class Solid:
    """A volume with one object.

    Parameters
    ----------
    image : (Z, Y, X) float32 array
    truth : (Z, Y, X) bool array
    spacing : (float, float, float)
        In mm.
    """

    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    spacing: tuple[float, float, float]


def solid(
    kind: str,
    *,
    n_slices: int,
    thickness: float = 1.0,
    side: int = 64,
    size: float = 0.3,
    contrast: float = 4.0,
    seed: int = 0,
) -> Solid:
    """Return a solid in the middle of a volume.

    Parameters
    ----------
    kind : str
        One of `KINDS`. The tube runs along the slices' normal and sways; the shell is hollow, with a wall of two fifths
        of its radius.
    n_slices : int
    thickness : float
        Of a slice, over the side of its pixels, which is 1 mm.
    side : int
        Pixels along the sides of a slice.
    size : float
        Radius over ``side``; along the normal it is the same in mm, or as the slices are, whichever is less.
    contrast : float
        Difference of grey, in standard deviations of the noise.
    seed : int

    Raises
    ------
    ValueError
        If there is no such solid.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no solid {kind!r}: choose one of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    radius = size * side
    height = min(radius, 0.42 * n_slices * thickness)
    z, y, x = np.ogrid[:n_slices, :side, :side]
    z = (z - (n_slices - 1) / 2) * thickness
    y, x = y - (side - 1) / 2, x - (side - 1) / 2
    if kind == "box":
        truth = (np.abs(z) <= height) & (np.abs(y) <= radius) & (np.abs(x) <= 0.8 * radius)
    elif kind == "tube":
        sway = 0.15 * side * np.sin(z / max(1.0, n_slices * thickness) * 2 * np.pi)
        truth = (y - sway) ** 2 + x**2 <= (0.5 * radius) ** 2
    else:
        far = np.sqrt((z / height) ** 2 + (y / radius) ** 2 + (x / radius) ** 2)
        truth = (far <= 1) & (far > 0.6) if kind == "shell" else far <= 1
    truth = np.broadcast_to(truth, (n_slices, side, side)).copy()
    image = (contrast * truth + rng.normal(size=truth.shape)).astype(np.float32)
    return Solid(image, truth, (thickness, 1.0, 1.0))
