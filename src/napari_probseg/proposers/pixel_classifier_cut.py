"""Completer by pixel classifier and graph cut, for vessels and other things that are thin or scattered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.inference.inputs import differing
from napari_probseg.proposers.completion import Completion
from napari_probseg.proposers.histogram_cut import GraphCut, GraphCutConfig, window_for
from napari_probseg.unaries.pixel_classifier import Features, features_of, probability


@dataclass(frozen=True)
class PixelClassifierCutConfig(GraphCutConfig):
    """What is looked at: each voxel of a region has 32 features for each channel."""

    max_region_voxels: int = 2**21


class PixelClassifierCut(GraphCut):
    """Completes by what the voxels under the strokes look like; needs no weights. Satisfies `napari_probseg.Proposer`.

    A logistic regression on features of several scales (`napari_probseg.unaries.pixel_classifier`) says how likely each
    voxel is object, and a graph cut decides. All that looks like it is taken, wherever it lies. With strokes on one
    side of the border alone it does what `GraphCut` does.

    Parameters
    ----------
    config : PixelClassifierCutConfig, optional
    """

    name = "appearance"
    config: PixelClassifierCutConfig = PixelClassifierCutConfig()
    _seen: ClassVar[tuple[int, Features] | None] = None  # of the latest region of all: seconds of work, and large

    def __init__(self, config: PixelClassifierCutConfig | None = None) -> None:
        super().__init__(config)

    def complete(self, case: Case) -> Completion:
        """Look at a case; masks are cut from what comes back."""
        case = case.at(None)
        window = window_for(case, self.config.max_region_voxels)
        where = window.within(case.shape)
        markers = case.strokes[where]
        if len(np.unique(markers[markers != Marker.UNKNOWN])) < 2:
            markers = case.partial[where]
        inside, outside = markers == Marker.OBJECT, markers == Marker.BACKGROUND
        if not inside.any() or not outside.any():
            return super().complete(case)
        image = differing(case, where, "nothing looks like anything there")
        return Completion(case, window, probability(self._features(image), inside, outside))

    @classmethod
    def _features(cls, image: NDArray[np.float32]) -> Features:
        key, seen = crc32(np.ascontiguousarray(image).view(np.uint8).data, len(image)), cls._seen
        if seen is None or seen[0] != key or seen[1].shape[1:] != image.shape[1:]:
            seen = cls._seen = None  # one at a time
            seen = cls._seen = key, features_of(image)
        return seen[1]
