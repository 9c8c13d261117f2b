"""Findings of the papers, and whether figures of a few seeds reproduce them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
ALIKE = 0.02  # a difference of the score that two arms may have and still serve alike


class Verdict(StrEnum):
    """What figures say of a finding."""

    REPRODUCED = "reproduced"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finding:
    """What a paper says of two arms of a comparison.

    Parameters
    ----------
    claim : str
    better, worse : str
        The arms' names.
    published : str
        The paper's own figures, where they are known for certain.
    alike : bool
        Whether the paper says that they serve alike, rather than that one is better.
    """

    claim: str
    better: str
    worse: str
    published: str = ""
    alike: bool = False


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; without an end where one seed or one case tells nothing of the spread."""

    mean: float
    half: float = float("nan")

    @property
    def low(self) -> float:
        """Its lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Its upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f}" if np.isfinite(self.half) else f"{self.mean:.3f}"

    @property
    def signed(self) -> str:
        """The interval of a difference in words: its mean, and from where to where."""
        ends = f" [{self.low:+.3f}, {self.high:+.3f}]" if np.isfinite(self.half) else ""
        return f"{self.mean:+.3f}{ends}"


def interval(figures: ArrayLike) -> Interval:
    """Return the mean of figures, (seeds, cases), and its confidence interval over other seeds and other cases.

    Every seed is measured on the same cases. The variance of the mean is that of the seeds' means over their number
    plus that of the cases' means over theirs, which is a little too much rather than too little.
    """
    table = np.asarray(figures, dtype=float)
    n_seeds, n_cases = table.shape
    if min(n_seeds, n_cases) < 2:
        return Interval(float(table.mean()))
    by_seed, by_case = table.mean(1).var(ddof=1) / n_seeds, table.mean(0).var(ddof=1) / n_cases
    return _student(float(table.mean()), (by_seed, by_case), (n_seeds - 1, n_cases - 1))


def interval_over_sets(figures: Sequence[ArrayLike]) -> Interval:
    """Return the mean of the means of several sets of objects, and its confidence interval over other objects of each.

    Welch's interval: the sets may differ in their number of objects and in their spread.
    """
    sets = [np.asarray(each, dtype=float) for each in figures]
    mean = float(np.mean([each.mean() for each in sets]))
    if min(map(len, sets)) < 2:
        return Interval(mean)
    variances = [each.var(ddof=1) / len(each) / len(sets) ** 2 for each in sets]
    return _student(mean, variances, [len(each) - 1 for each in sets])


def _student(mean: float, variances: Sequence[float], freedom: Sequence[int]) -> Interval:
    """Return the interval of a mean whose variance is a sum, by the degrees of freedom of Satterthwaite (1946)."""
    variance = sum(variances)
    if variance == 0:
        return Interval(mean, 0.0)
    together = variance**2 / sum(v**2 / n for v, n in zip(variances, freedom, strict=True))
    return Interval(mean, float(stats.t.ppf(0.5 + CONFIDENCE / 2, together) * np.sqrt(variance)))


def verdict(difference: Interval, *, alike: bool = False) -> Verdict:
    """Return what the difference "better - worse" says: its interval must exclude 0 to say anything.

    Where a paper says that two serve ``alike``, the interval must lie within `ALIKE` of 0, or wholly beyond that.
    """
    if not np.isfinite(difference.half):
        return Verdict.UNDECIDED
    low, high = difference.low, difference.high
    if alike:
        reproduced, refuted = low >= -ALIKE and high <= ALIKE, low > ALIKE or high < -ALIKE
    else:
        reproduced, refuted = low > 0, high < 0
    if reproduced:
        return Verdict.REPRODUCED
    return Verdict.REFUTED if refuted else Verdict.UNDECIDED
