"""Scale selection: which of several windows to believe."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from torch import Tensor

from napari_probseg.case import Case
from napari_probseg.inference.inputs import resized
from napari_probseg.inference.windows import Window, cut_off
from napari_probseg.metrics import dice


def beliefs(case: Case, windows: list[Window], logits: Tensor) -> list[float]:
    """Return for each window how well its object agrees with what the next ones see, less what its rim cuts off.

    Parameters
    ----------
    case : Case
    windows : list of Window
        From close to far.
    logits : (windows, S, ...) tensor
        Of object.
    """
    alike = [
        dice(np.asarray(seen_from(a, b, logits[i : i + 1])[0] > 0), np.asarray(logits[i + 1] > 0))
        for i, (a, b) in enumerate(pairwise(windows))
    ]
    found = []
    for i, window in enumerate(windows):
        beside = alike[max(0, i - 1) : i + 1]
        free = 1 - 4 * min(0.25, float(cut_off(logits[i] > 0, window, case.shape)))
        found.append((sum(beside) / len(beside) if beside else 1.0) * free)
    return found


def seen_from(near: Window, far: Window, logits: Tensor, size: int | None = None) -> Tensor:
    """Return what is seen in a window on a grid over a larger one; background where the window does not reach.

    Parameters
    ----------
    near, far : Window
    logits : (M, S, ...) tensor
        Maps over ``near``.
    size : int, optional
        Points of the grid along each side; S if absent.

    Returns
    -------
    logits : (M, size, ...) tensor
    """
    size = size or logits.shape[-1]
    edges = [
        (max(0, round((a - b) / n * size)), max(1, round(m / n * size)))
        for a, m, b, n in zip(near.low, near.size, far.low, far.size, strict=True)
    ]
    edges = [(min(start, size - 1), min(length, size - min(start, size - 1))) for start, length in edges]
    seen = logits.new_full((len(logits), *[size] * len(edges)), -10.0)
    seen[(slice(None), *(slice(start, start + n) for start, n in edges))] = resized(logits, [n for _, n in edges])
    return seen
