"""Completer by intensity histograms and graph cut (GrabCut, Rother et al. 2004); without a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_probseg.case import Case, Marker
from napari_probseg.inference.inputs import differing
from napari_probseg.inference.windows import window_for
from napari_probseg.morphology import far_from, parts_at
from napari_probseg.proposers.completer import Completer
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.unaries.histogram import Codes


@dataclass(frozen=True)
class GraphCutConfig:
    """How often, at most, a mask is cut and better histograms are made from it."""

    n_rounds: int = 4


class GraphCut(Completer):
    """Completes an object by its intensities alone; needs no weights. Satisfies `napari_probseg.Proposer`.

    The histograms of the strokes say how likely each voxel is object (Boykov & Jolly 2001); the mask that is cut out of
    that gives better histograms, and so on until nothing changes (GrabCut, Rother et al. 2004). Only what hangs
    together with a stroke inside is kept.

    Parameters
    ----------
    config : GraphCutConfig, optional
        How often it is cut anew.
    """

    name = "intensities"
    needs_marks = True
    config = GraphCutConfig()

    def __init__(self, config: GraphCutConfig | None = None) -> None:
        if config is not None:
            self.config = config

    def complete(self, case: Case) -> Completion:
        """Look at the intensities of a case; masks are cut from what comes back.

        Parameters
        ----------
        case : Case
            (Y, X) or (Z, Y, X), with a mark at least.

        Returns
        -------
        Completion

        Raises
        ------
        ValueError
            If nothing is marked, or the image is constant or nowhere finite.
        """
        case = case.at(None)
        cut = CutConfig()  # of the rounds: what is likely does not depend on how smooth the answer is to be
        if not (case.partial != Marker.UNKNOWN).any():
            raise ValueError("there is no stroke yet: brush a little inside the object, and a little outside")
        window = window_for(case)
        where = window.within(case.shape)
        partial = case.partial[where]
        codes = Codes.of(differing(case, where, "its intensities tell nothing apart"))
        marked, open_ = partial == Marker.OBJECT, partial == Marker.UNKNOWN
        inside = marked if marked.any() else open_
        outside = partial == Marker.BACKGROUND if (partial == Marker.BACKGROUND).any() else open_ & ~inside
        completion = Completion(case, window, codes.probability(inside, outside))
        for _ in range(self.config.n_rounds):
            mask = parts_at(completion.mask(cut), marked)
            if np.array_equal(mask, inside):
                break
            inside, outside = mask, ~mask
            completion.probability = codes.probability(inside, outside)
        completion.probability = np.where(far_from(completion.mask(cut), marked), np.float32(0), completion.probability)
        return completion
