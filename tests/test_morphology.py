"""Connected parts of masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_probseg.morphology import each_part, numbered_parts


def test_parts_that_lie_apart_are_numbered_as_they_are_together() -> None:
    rng = np.random.default_rng(0)
    for shape, share in (((60, 70), 0.02), ((60, 70), 0.3), ((20, 30, 25), 0.003), ((7,), 0.5), ((5, 5), 0.0)):
        mask = rng.random(shape) < share
        parts, n = numbered_parts(mask)
        expected, n_expected = ndimage.label(mask, np.ones((3,) * mask.ndim))
        assert n == n_expected and parts.dtype == np.int32
        pairs = set(zip(parts.ravel().tolist(), expected.ravel().tolist(), strict=True))
        assert len(pairs) == len(np.unique(parts)) == len(np.unique(expected)), "each part has one number"
        again = np.zeros(shape, dtype=int)
        for where, part in each_part(mask):
            again[where] += part
            assert ndimage.label(part, np.ones((3,) * mask.ndim))[1] == 1
        assert np.array_equal(again, mask)
