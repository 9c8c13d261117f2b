"""The protocol: an annotator who marks where the result is most wrong, or chooses among what is on offer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_probseg.dataset.targets import Target
from napari_probseg.inference.frame import is_around
from napari_probseg.metrics import dice, surface_distance
from napari_probseg.simulate.annotator import box, dab, scribble

WORTH_IT = 0.03  # Dice that a candidate must add to be chosen: a stroke adds more

Mask = NDArray[np.bool_]
Strokes = tuple[Mask, Mask]


class Play(Protocol):
    """A method at work on one object."""

    def mark(self, inside: Mask, outside: Mask) -> Mask:
        """Take in strokes, and return the object that is decided now."""
        ...

    def offered(self) -> Sequence[Mask]:
        """Return the object that each candidate on offer would lead to."""
        ...

    def choose(self, i: int) -> Mask:
        """Take candidate ``i``, and return the object that is decided now."""
        ...


Method = Callable[[Target], Play]


@dataclass(frozen=True)
class Interaction:
    """One thing that the annotator did.

    Parameters
    ----------
    verb : str
        ``"mark"``, ``"choose"``, or ``"rest"`` where the result was right already.
    dice : float
        Of the result after it.
    seconds : float
        That the method took.
    hd95 : float
        Surface distance in mm, the 95th percentile, in volumes; not a number in images.
    best : float
        Dice of the best that is on show or on offer after it.
    """

    verb: str
    dice: float
    seconds: float
    hd95: float = float("nan")
    best: float = float("nan")


def interact(play: Play, target: Target, *, n: int = 20, marks: str = "dabs") -> list[Interaction]:
    """Return ``n`` interactions with a method.

    The first mark is the same for every method. Each next one lies where the method's own result is most wrong
    (`simulate.annotator`). Where a candidate is better than the result by `WORTH_IT`, the best is chosen instead, which
    counts as much as a mark. A result that is right stays so.

    Parameters
    ----------
    play : Play
    target : Target
    n : int
    marks : str
        ``"dabs"``, ``"scribbles"``, or ``"box"``: a box first, then dabs; dabs alone where most of the box would lie
        beyond the image.

    Raises
    ------
    ValueError
        If the marks are of another kind.
    """
    result, done = np.zeros_like(target.truth), list[Interaction]()
    scores: list[float] = []
    while len(done) < n:
        chosen = bool(scores) and max(scores) > dice(result, target.truth) + WORTH_IT
        drawn = None if chosen else strokes_on(result, target, marks=marks, is_first=not done)
        begun = time.perf_counter()
        if chosen:
            result = play.choose(int(np.argmax(scores)))
        elif drawn is not None:
            result = play.mark(*drawn)
        else:
            break
        seconds = time.perf_counter() - begun
        verb = "choose" if chosen else "mark"
        scores = [dice(mask, target.truth) for mask in play.offered()]
        reached = dice(result, target.truth)
        done.append(Interaction(verb, reached, seconds, _hd95(result, target), max([reached, *scores])))
    return done + [Interaction("rest", 1.0, 0.0, _hd95(target.truth, target), 1.0)] * (n - len(done))


def strokes_on(result: Mask, target: Target, *, marks: str, is_first: bool) -> Strokes | None:
    """Return what the annotator draws next, (inside, outside); None if the result is right."""
    kinds: dict[str, Callable[..., Strokes | None]] = {"dabs": dab, "scribbles": scribble, "box": dab}
    if marks not in kinds:
        raise ValueError(f"marks are {', '.join(kinds)}, got {marks!r}")
    if marks == "box" and is_first:
        around = box(target.truth)
        if is_around(target.case().mark(outside=around)):
            return np.zeros_like(result), around
    return kinds[marks](result, target.truth, spacing=target.spacing)


def _hd95(result: Mask, target: Target) -> float:
    is_volume = result.ndim == 3
    return surface_distance(result, target.truth, spacing=target.spacing) if is_volume else float("nan")
