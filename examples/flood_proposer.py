"""A proposer of one's own: the strokes flood the image, and each candidate lets the flood rise further."""

from __future__ import annotations

import numpy as np
from skimage.filters import gaussian
from skimage.morphology import dilation, disk
from skimage.segmentation import flood

import napari_probseg as ps
from napari_probseg.proposers.plane import in_volume, plane_with_most_strokes

MAX_TOLERANCE = 2.0  # in standard deviations of the image


class FloodProposer:
    """Offers what can be reached from the strokes inside without too large a change of intensity."""

    name = "flood"

    def propose(
        self, case: ps.Case, n: int = 8, *, seed: int = 0, plane: tuple[int, int] | None = None
    ) -> ps.Candidates:
        """Return at most ``n`` floods, best first: see `napari_probseg.Proposer`."""
        if case.ndim == 3:  # one plane of a volume, as a case of its own
            plane = plane or plane_with_most_strokes(case)
            return in_volume(self.propose(case.plane(*plane), n, seed=seed), case, plane)
        starts = np.argwhere(case.partial == ps.Marker.OBJECT)
        if not len(starts):
            raise ValueError("there is no stroke inside: brush inside the object first")
        shuffled = np.random.default_rng(seed).permutation(starts)[:20]
        smooth = gaussian(case.read()[0], 1)  # the first channel
        tolerances = smooth.std() * np.linspace(0.25, MAX_TOLERANCE, n)
        floods = [self._flooded(case, smooth, shuffled, tolerance) for tolerance in tolerances]
        distinct = [mask for i, mask in enumerate(floods) if i == 0 or (mask != floods[i - 1]).any()]
        distinct.sort(key=lambda mask: -self._contrast(smooth, mask))
        patches = np.stack([self._patch(case, mask) for mask in distinct])
        return ps.Candidates(
            case,
            where=tuple(slice(0, length) for length in case.shape),
            patches=patches,
            score=np.linspace(1, 0.5, len(patches), dtype=np.float32),
            share=np.full(len(patches), 1 / len(patches), dtype=np.float32),
            probability=np.mean(patches == ps.Marker.OBJECT, axis=0).astype(np.float32),
        )

    @staticmethod
    def _flooded(case: ps.Case, image: np.ndarray, starts: np.ndarray, tolerance: float) -> np.ndarray:
        """Return what the starts flood, (Y, X) bool, without what is decided as background."""
        reached = np.any([flood(image, tuple(start), tolerance=tolerance) for start in starts], axis=0)
        return reached & (case.partial != ps.Marker.BACKGROUND)

    @staticmethod
    def _contrast(image: np.ndarray, mask: np.ndarray) -> float:
        """Return how sharply the intensity changes at the border of a mask."""
        rim = dilation(mask, disk(2)) & ~mask
        return abs(image[mask].mean() - image[rim].mean()) if rim.any() else 0.0

    @staticmethod
    def _patch(case: ps.Case, mask: np.ndarray) -> np.ndarray:
        """Return the partial segmentation of a flood: background around it, and what was decided as it was."""
        patch = np.where(mask, ps.Marker.OBJECT, ps.Marker.UNKNOWN).astype(np.uint8)
        patch[dilation(mask, disk(5)) & ~mask] = ps.Marker.BACKGROUND
        return np.where(case.partial == ps.Marker.UNKNOWN, patch, case.partial)


if __name__ == "__main__":
    import napari

    from napari_probseg.cli.demo import example
    from napari_probseg.widgets.segment.widget import SegmentWidget

    viewer = napari.Viewer()
    viewer.add_image(example().case.image, name="cell")
    viewer.window.add_dock_widget(SegmentWidget(viewer, FloodProposer()), name="Segment")
    napari.run()
