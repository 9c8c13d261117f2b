"""A proposer without a network."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.proposers.plane import in_volume, plane_with_most_strokes


class GrowingProposer:
    """Grows the object by a few pixels, by more with each candidate; the seed adds a pixel."""

    name = "growing"

    def propose(
        self, case: Case, n: int = 8, *, seed: int = 0, plane: Plane | None = None, reach: float = 1.0
    ) -> Candidates:
        if case.ndim == 3:
            plane = plane or plane_with_most_strokes(case)
            return in_volume(self.propose(case.plane(*plane), n, seed=seed, reach=reach), case, plane)
        if not case.partial.any():
            raise ValueError("there is no stroke yet")
        inside = case.partial == Marker.OBJECT
        patches = np.stack([self._grown(case, inside, 2 + 2 * i + seed % 3) for i in range(n)])
        score = np.linspace(0.9, 0.3, n, dtype=np.float32)
        probability = (patches == Marker.OBJECT).mean(0).astype(np.float32)
        whole = tuple(slice(0, m) for m in case.shape)
        return Candidates(case, whole, patches, score, np.full(n, 1 / n, np.float32), probability)

    @staticmethod
    def _grown(case: Case, inside: np.ndarray, n: int) -> np.ndarray:
        patch, unknown = case.partial.copy(), case.partial == Marker.UNKNOWN
        patch[unknown & ndimage.binary_dilation(inside, iterations=n + 3)] = Marker.BACKGROUND
        patch[unknown & ndimage.binary_dilation(inside, iterations=n)] = Marker.OBJECT
        return patch
