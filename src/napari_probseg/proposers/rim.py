"""How far around an object a candidate decides background: near it what is outside is plain, farther off it is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import bounding_box

LEAST = 3.0


def with_rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return an object and what is as near to it as half of its radius, that of a disk or a ball of its size."""
    box = bounding_box(inside)
    if box is None:
        return np.zeros_like(inside)
    n = np.count_nonzero(inside)
    radius = np.sqrt(n / np.pi) if inside.ndim == 2 else (3 * n / (4 * np.pi)) ** (1 / 3)
    reach = max(LEAST, 0.5 * float(radius))
    margin = int(reach) + 1
    near = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
    rim = np.zeros_like(inside)
    rim[near] = ndimage.distance_transform_edt(~inside[near]) <= reach
    return rim
