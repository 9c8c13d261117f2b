"""Diversity: a few distinct samples out of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

MIN_IOU_ALIKE = 0.85
MIN_IOU_SAME = 0.95


@dataclass(frozen=True)
class Choice:
    """The samples to offer, best first, and the share of all samples that agree with each."""

    index: NDArray[np.intp]
    share: NDArray[np.float32]

    def by(self, score: NDArray[np.floating]) -> Choice:
        """Return the same samples in the order of another score, (M,), highest first."""
        order = np.argsort(-score[self.index], kind="stable")
        return Choice(self.index[order], self.share[order])


def choose_distinct(
    overlap: NDArray[np.float32],
    score: NDArray[np.floating],
    n: int,
    *,
    votes: NDArray[np.bool_] | None = None,
    kept: int | None = None,
) -> Choice:
    """Choose at most ``n`` distinct samples, best first.

    Samples that overlap (IoU) by `MIN_IOU_ALIKE` or more count as one reading, shown by its best. Where more readings
    remain than asked for, the best one and then those farthest from what is chosen are kept (farthest-point selection,
    weighted with the score).

    Parameters
    ----------
    overlap : (M, M) array
        `pairwise_iou` of what the samples take as object.
    score : (M,) array
        How plausible each is.
    votes : (M,) bool array, optional
        The samples whose agreement is counted; all if absent.
    kept : int, optional
        One that is chosen unless it is nearly the same as a better one (`MIN_IOU_SAME`).
    """
    alike = np.where(np.arange(len(score)) == kept, MIN_IOU_SAME, MIN_IOU_ALIKE)
    leaders = _leaders(overlap, np.argsort(-score, kind="stable"), alike)
    if len(leaders) > n:
        leaders = _farthest(overlap, score, leaders, n, kept)
    leaders = sorted(leaders, key=lambda i: -score[i])
    nearest = overlap[:, leaders].argmax(1)  # each sample stands behind the reading that it is most like
    agrees = overlap[np.arange(len(overlap)), np.asarray(leaders)[nearest]] >= MIN_IOU_ALIKE
    votes = np.ones(len(overlap), dtype=bool) if votes is None else votes
    counts = np.bincount(nearest[agrees & votes], minlength=len(leaders))
    return Choice(np.asarray(leaders, dtype=np.intp), (counts / max(1, int(votes.sum()))).astype(np.float32))


def pairwise_iou(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the (M, M) intersections over unions; 1 where both are empty."""
    flat = torch.from_numpy(masks.reshape(len(masks), -1)).float()  # torch: NumPy's threads would wait for torch's
    both = (flat @ flat.T).numpy()
    area = np.diagonal(both)
    union = area[:, None] + area[None] - both
    return np.where(union > 0, both / np.maximum(union, 1), 1.0).astype(np.float32)


def _leaders(overlap: NDArray[np.float32], order: NDArray[np.intp], alike: NDArray[np.floating]) -> list[int]:
    leaders: list[int] = []
    for i in order:
        if not leaders or overlap[i, leaders].max() < alike[i]:
            leaders.append(int(i))
    return leaders


def _farthest(
    overlap: NDArray[np.float32], score: NDArray[np.floating], leaders: list[int], n: int, kept: int | None
) -> list[int]:
    chosen = [leaders[0], *([kept] if n > 1 and kept in leaders[1:] else [])]
    while len(chosen) < n:
        rest = [i for i in leaders if i not in chosen]
        gain = [(1 - overlap[i, chosen].max()) * score[i] for i in rest]
        chosen.append(rest[int(np.argmax(gain))])
    return chosen
