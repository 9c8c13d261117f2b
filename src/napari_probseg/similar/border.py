"""Border of objects alike: how network and classifier count there, and how far out it lies, as the examples tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.similar.completion import Answer, object_at

MAX_LOG_ODDS = 4.0  # that the classifier has beside the network
MIN_RIGHT_IOU = 0.5  # of an example that is found, from which it tells of the border; else something else is wrong
OFFSET_SHARE = 0.8  # of what the borders of examples say, by which others are moved
MAX_OFFSET = 2.0  # in log-odds
N_FORETOLD = 4  # of the latest examples, each from the others


@dataclass(frozen=True)
class Border:
    """Where an object ends.

    Parameters
    ----------
    network, look : float
        How much the network and the classifier count.
    offset : float
        In log-odds; above 0 the border lies farther out than both say.
    """

    network: float
    look: float
    offset: float = 0.0

    def log_odds(self, by_network: NDArray[np.float32], by_look: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return log-odds of object by the network and the classifier together."""
        by_look = np.clip(by_look, -MAX_LOG_ODDS, MAX_LOG_ODDS)
        return np.float32(self.network) * by_network + np.float32(self.look) * by_look + np.float32(self.offset)


BY_LOOK = Border(0.0, 1.0)
BORDERS = (Border(1.0, 0.0), Border(1.0, 0.5), Border(0.5, 1.0), BY_LOOK)
FIRST_BORDER = {2: BORDERS[0], 3: BORDERS[1]}  # with one example, from which a classifier cannot be judged


@dataclass(frozen=True, eq=False)
class Foretold:
    """An example as it would be found had it not been finished.

    Parameters
    ----------
    answer : Answer
        Of the network, at its deepest place.
    by_look : float32 array of the answer's region
        Log-odds by a classifier of the other examples.
    place : tuple of int
        The deepest place in that region.
    truth, locked : bool arrays of that region
        The example, and other finished objects.
    """

    answer: Answer
    by_look: NDArray[np.float32]
    place: tuple[int, ...]
    truth: NDArray[np.bool_]
    locked: NDArray[np.bool_]

    def iou(self, border: Border) -> float:
        """Return the IoU of what is found by a border with the example."""
        found = object_at(border.log_odds(self.answer.log_odds, self.by_look), self.place, self.locked)
        if found is None:
            return 0.0
        return int(np.count_nonzero(found & self.truth)) / int(np.count_nonzero(found | self.truth))

    def at_border(self, border: Border) -> float:
        """Return the median of the log-odds along the example's own border, where it should be 0."""
        rim = ndimage.binary_dilation(self.truth) & ~ndimage.binary_erosion(self.truth, border_value=1)
        return float(np.median(border.log_odds(self.answer.log_odds, self.by_look)[rim]))


def learnt_border(ndim: int, foretold: Sequence[Foretold], *, by_look: bool) -> Border:
    """Return the border that foretells examples best.

    Parameters
    ----------
    ndim : int
    foretold : sequence of Foretold
    by_look : bool
        Whether there are others, of which a classifier could be learnt.
    """
    best = FIRST_BORDER[ndim]
    if by_look and foretold:
        best = max(BORDERS, key=lambda border: sum(one.iou(border) for one in foretold))
    said = [one.at_border(best) for one in foretold if one.iou(best) >= MIN_RIGHT_IOU]
    if not said:
        return best
    offset = -OFFSET_SHARE * float(np.median(said)) * len(said) / (len(said) + 1)
    return replace(best, offset=float(np.clip(offset, -MAX_OFFSET, MAX_OFFSET)))
