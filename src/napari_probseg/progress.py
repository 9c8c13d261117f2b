"""Progress of a long work, and the result of one image in a batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Progress:
    """Where a training stands after a step.

    Parameters
    ----------
    step, n_steps : int
        How many are done, and how many there are to be.
    losses : dict of str to float
        Of that step, by their names.
    seconds, seconds_for_data : float
        That the step took, and those of them that its batch took to be made.
    validation : dict of str to float
        The scores; empty but after a validation.
    """

    step: int
    n_steps: int
    losses: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_for_data: float = 0.0
    validation: dict[str, float] = field(default_factory=dict)


class Fate(StrEnum):
    """What became of it."""

    DONE = "done"
    THERE = "there already"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Parameters
    ----------
    name : str
    fate : Fate
    message : str
        More about it; of a failure, the sentence of the error.
    """

    name: str
    fate: Fate
    message: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.fate}{', ' if self.message else ''}{self.message}"


def report_of(outcomes: Iterable[Outcome], n: int) -> Iterator[str]:
    """Yield a line for each of ``n`` outcomes as it comes, and one that counts them.

    Raises
    ------
    RuntimeError
        At the end, if any failed.
    """
    counts = dict.fromkeys(Fate, 0)
    for i, outcome in enumerate(outcomes, 1):
        counts[outcome.fate] += 1
        yield f"{i}/{n} {outcome}"
    said = ", ".join(f"{count} {fate}" for fate, count in counts.items() if count)
    if counts[Fate.FAILED]:
        raise RuntimeError(f"{said}: mend what is named above and do it again, what is done is left")
    yield said or "there is nothing to do"


def counted(n: int, what: str) -> str:
    """Return how many there are of something in words: "1 image", "2 images"."""
    return f"{n} {what}{'s' if n != 1 else ''}"


def result_of(work: Generator[Any, None, T], tell: Callable[[Any], object] | None = None) -> T:
    """Return what a work returns in the end.

    Parameters
    ----------
    work : generator
        It yields its progress.
    tell : callable, optional
        Hears of each progress.
    """
    while True:
        try:
            progress = next(work)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        if tell is not None:
            tell(progress)
