"""Completer by pixel classifier and graph cut, for vessels and other things that are thin or scattered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_probseg.case import Case, Marker
from napari_probseg.inference.inputs import differing
from napari_probseg.inference.windows import window_for
from napari_probseg.proposers.completion import Completion
from napari_probseg.proposers.histogram_cut import GraphCut, GraphCutConfig
from napari_probseg.unaries.pixel_classifier import probability, seen_features


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
        return Completion(case, window, probability(seen_features(image), inside, outside))
