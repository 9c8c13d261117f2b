"""Completer by pixel classifier and graph cut, for vessels and other things that are thin or scattered."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.proposers.completion import Completion
from napari_probseg.proposers.histogram_cut import GraphCut, window_for
from napari_probseg.unaries.pixel_classifier import Features, features_of, probability

MAX_REGION_VOXELS = 2**21  # voxels of a region: each has 32 features for each channel


class AppearanceCut(GraphCut):
    """Completes by what the voxels under the strokes look like; needs no weights. Satisfies `napari_probseg.Proposer`.

    A logistic regression on features of several scales (`napari_probseg.unaries.pixel_classifier`) says how likely each
    voxel is object, and a graph cut decides. All that looks like it is taken, wherever it lies. With strokes on one
    side of the border alone it does what `GraphCut` does.
    """

    name = "appearance"

    def __init__(self) -> None:
        self._seen: tuple[int, Features] | None = None  # the latest region: seconds of work that each stroke needs

    def complete(self, case: Case) -> Completion:
        """Look at a case; masks are cut from what comes back."""
        window = window_for(case, MAX_REGION_VOXELS)
        where = window.within(case.shape)
        markers = case.strokes[where]
        if len(np.unique(markers[markers != Marker.UNKNOWN])) < 2:
            markers = case.partial[where]
        inside, outside = markers == Marker.OBJECT, markers == Marker.BACKGROUND
        if not inside.any() or not outside.any():
            return super().complete(case)
        return Completion(case, window, probability(self._features(case.read(where)), inside, outside))

    def _features(self, image: NDArray[np.float32]) -> Features:
        key = crc32(np.ascontiguousarray(image).view(np.uint8).data, len(image))
        if self._seen is None or self._seen[0] != key or self._seen[1].shape[1:] != image.shape[1:]:
            self._seen = None  # one at a time: they are large
            self._seen = key, features_of(image)
        return self._seen[1]
