"""Which of several windows to believe, where each sees an object at its own zoom."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from napari_probseg.case import Case
from napari_probseg.metrics import dice
from napari_probseg.proposers.inputs import resized
from napari_probseg.proposers.window import Window, cut_off


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
        dice(np.asarray(seen_from(a, b, logits[i]) > 0), np.asarray(logits[i + 1] > 0))
        for i, (a, b) in enumerate(pairwise(windows))
    ]
    found = []
    for i, window in enumerate(windows):
        beside = alike[max(0, i - 1) : i + 1]
        free = 1 - 4 * min(0.25, float(cut_off(logits[i] > 0, window, case.shape)))
        found.append((sum(beside) / len(beside) if beside else 1.0) * free)
    return found


def seen_from(near: Window, far: Window, logit: Tensor) -> Tensor:
    """Return the logits of a window on the grid of a larger one; background where it does not reach."""
    size = logit.shape[0]
    edges = [
        (round((a - b) / n * size), max(1, round(m / n * size)))
        for a, m, b, n in zip(near.low, near.size, far.low, far.size, strict=True)
    ]
    edges = [(max(0, start), min(length, size - max(0, start))) for start, length in edges]
    seen = torch.full_like(logit, -10.0)
    seen[tuple(slice(start, start + n) for start, n in edges)] = resized(logit[None], [n for _, n in edges])[0]
    return seen
