"""Patches: the partial segmentations that probabilities lead to, cut at full resolution."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.graph_cut import Cutter, noise_of
from napari_probseg.morphology import far_from, with_rim
from napari_probseg.region import Region

SMALLEST_PART = 0.02  # of a reading that is worth keeping beside the part with the marks
SMOOTHNESS, EDGES = 1.0, 2.0  # of the cut, where nothing else is asked for


class Patches:
    """Masks in a region of a case, with one graph for all of them; they obey what is decided.

    Parameters
    ----------
    case : Case
    where : tuple of slices
        The region.
    window : tuple of slices
        The region of the completion: the noise there tells which edges count, as where it is completed alone.
    max_voxels : int
        Of a region that is cut; in a larger one probabilities are compared with one half.
    smoothness, edges : float
        Of the cut: lambda, and sigma over the noise of the image.
    """

    def __init__(
        self,
        case: Case,
        where: Region,
        *,
        window: Region,
        max_voxels: int,
        smoothness: float = SMOOTHNESS,
        edges: float = EDGES,
    ) -> None:
        self.where, self.smoothness = where, smoothness
        self.before = case.partial[where]
        self.cutter: Cutter | None = None
        if self.before.size <= max_voxels:
            inner = Case(case.read(where), spacing=case.spacing, channel_axis=0, partial=self.before)
            noise = noise_of(case.read(window), channel_axis=0) or 1.0
            self.cutter = Cutter(inner, sigma=edges * noise)

    def of(self, probability: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the partial segmentation of a reading: its object, and background near it."""
        if self.cutter is None:
            mask = (probability > 0.5) & (self.before != Marker.BACKGROUND)
        else:
            mask = self.cutter.cut(probability, smoothness=self.smoothness)
        mask = _without_specks(mask, self.before == Marker.OBJECT)
        patch = self.before.copy()
        is_open = patch == Marker.UNKNOWN
        patch[is_open & mask] = Marker.OBJECT
        patch[is_open & ~mask & with_rim(mask | (patch == Marker.OBJECT))] = Marker.BACKGROUND
        return patch

    def offered(self, patches: Iterable[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], list[int]]:
        """Return those patches that are worth offering, and their indices.

        The first one, the completion, stays if any other does, even where it adds nothing: a small object may lie under
        its stroke. Of the others those stay that add to the object, and are like none before.
        """
        kept: list[NDArray[np.uint8]] = []
        index: list[int] = []
        any_adds = False
        for i, patch in enumerate(patches):
            adds = bool(((patch == Marker.OBJECT) & (self.before != Marker.OBJECT)).any())
            any_adds |= adds
            if (adds or i == 0) and not any(np.array_equal(patch, other) for other in kept):
                kept.append(patch)
                index.append(i)
        return (kept, index) if any_adds else ([], [])


def _without_specks(mask: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop parts without a mark that are small beside the whole."""
    apart = far_from(mask, known)
    if not apart.any() or np.count_nonzero(apart) > SMALLEST_PART * np.count_nonzero(mask):
        return mask
    return mask & ~apart
