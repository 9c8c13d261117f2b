"""Completion: the probability of object around the marks, and the masks cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker
from napari_probseg.graph_cut import Cutter, noise_of
from napari_probseg.images import checked_number
from napari_probseg.morphology import with_rim
from napari_probseg.region import placed
from napari_probseg.strokes import told

if TYPE_CHECKING:
    from napari_probseg.inference.answer import Answer
    from napari_probseg.inference.windows import Window

MAX_WHOLE_VOXELS = 2**24  # an image of so many voxels or fewer is decided everywhere, a larger one around the marks


@dataclass(frozen=True)
class CutConfig:
    """How a mask is cut out of probabilities (Boykov & Jolly 2001, with the energy of `napari_probseg.graph_cut`).

    Parameters
    ----------
    smoothness : float
        lambda: what a border between object and background costs; 0 thresholds the probabilities at one half.
    edges : float
        Difference of intensity that counts as an edge, in units of the image's own noise: sigma over `noise_of`. The
        smaller, the fainter the edges that the border clings to.
    everywhere : bool
        Whether background is decided everywhere (in the image, or in the region of a large one), or near the object
        alone.
    """

    smoothness: float = 1.0
    edges: float = 2.0
    everywhere: bool = True

    def __post_init__(self) -> None:
        if not (np.isfinite(checked_number(self.smoothness, "smoothness")) and self.smoothness >= 0):
            raise ValueError(f"smoothness must be a number from 0, got {self.smoothness}")
        if not (np.isfinite(checked_number(self.edges, "edges")) and self.edges > 0):
            raise ValueError(f"edges must be a number above 0 (times the image's noise), got {self.edges}")


class Completion:
    """What a completer thinks of a case; masks are cut from it without asking the network again.

    Parameters
    ----------
    case : Case
        What it completes, (Y, X) or (Z, Y, X).
    window : Window
        What was looked at.
    probability : float32 array
        Of object, in [0, 1], in the part of the window that lies in the image.
    expected_dice : float, optional
        What a network expects of it, in [0, 1]; how sure it is in the mean, where it does not tell.
    answer : Answer, optional
        What a network of images made of it, from which a proposer with the same network can go on.
    """

    def __init__(
        self,
        case: Case,
        window: Window,
        probability: NDArray[np.float32],
        *,
        expected_dice: float | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.case, self.window, self.probability = case, window, probability
        self.expected_dice, self.answer = expected_dice, answer
        self.where = where = window.within(case.shape)
        self._inner = Case(case.read(where), spacing=case.spacing, channel_axis=0, partial=case.partial[where])
        self._noise = noise_of(self._inner.image, channel_axis=0) or 1.0  # a constant image has no edges anyway
        self._cutter: Cutter | None = None
        self._edges = 0.0

    @property
    def image(self) -> NDArray[np.float32]:
        """The intensities of the region, (C, ...)."""
        return self._inner.image  # type: ignore[no-any-return]

    def mask(self, config: CutConfig) -> NDArray[np.bool_]:
        """Return the object in the region: the mask of least energy that agrees with all that is decided."""
        if self._cutter is None or self._edges != config.edges:
            self._cutter = None  # one graph at a time: in 3-D they are large
            self._cutter = Cutter(self._inner, sigma=config.edges * self._noise)
            self._edges = config.edges
        return self._cutter.cut(self.probability, smoothness=config.smoothness)

    def foreseen(self) -> float:
        """Return the share of the marks that the network alone would have put on the right side, the mean of both."""
        chosen, marks = self.probability > 0.5, self.case.partial[self.case.marked]
        shares = []
        for marker, wanted in ((Marker.OBJECT, chosen), (Marker.BACKGROUND, ~chosen)):
            n_wrong = int(np.count_nonzero((self.case.partial[self.where] == marker) & ~wanted))
            shares.append(1 - n_wrong / max(1, int(np.count_nonzero(marks == marker))))
        return float(np.mean(shares))

    def candidates(self, config: CutConfig) -> Candidates:
        """Return the mask as one candidate."""
        is_small = config.everywhere and self.case.partial.size <= MAX_WHOLE_VOXELS
        where = tuple(slice(0, n) for n in self.case.shape) if is_small else self.where
        patch = self.case.partial[where].copy()
        probability = placed(where, self.where, self.probability)
        mask = placed(where, self.where, self.mask(config))
        open_ = patch == Marker.UNKNOWN
        patch[open_ & mask] = Marker.OBJECT
        patch[open_ & ~mask & (True if config.everywhere else with_rim(mask))] = Marker.BACKGROUND
        sure = told(float(np.abs(2 * self.probability - 1).mean()))
        one = np.ones(1, dtype=np.float32)
        plausible = sure if self.expected_dice is None else self.expected_dice
        return Candidates(self.case, where, patch[None], plausible * one, one, probability)
