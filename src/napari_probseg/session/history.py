"""History of steps that can be undone: each keeps the regions that it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from napari_probseg.region import Region, parts


@dataclass(frozen=True, eq=False)
class Change:
    """A region of one array, before and after.

    Parameters
    ----------
    name : str
        ``"partial"``, ``"strokes"``, ``"objects"``, or ``"shown"``: the answer that the latest stroke corrects.
    where : tuple of slices
    before, after : arrays of the region's shape
    """

    name: str
    where: Region
    before: NDArray[Any]
    after: NDArray[Any]

    @property
    def reverse(self) -> Change:
        """The change that takes this one back."""
        return Change(self.name, self.where, self.after, self.before)

    def applied(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of the array with the change made."""
        changed = array.copy()
        changed[self.where] = self.after
        return changed


@dataclass(frozen=True, eq=False)
class Step:
    """One act of the user.

    Parameters
    ----------
    verb : str
        The verb of `Session` that did it.
    arguments : mapping
        What JSON can hold of its arguments and of what came out.
    changes : tuple of Change
        What it changed.
    learnt : object, optional
        The completer that it brought; or the bytes of its weights, where those that it was fine-tuned from are not at
        hand.
    """

    verb: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    learnt: Any = None

    @property
    def is_joined(self) -> bool:
        """Whether it is a part of the same act as the step before it: they are taken back, and done again, at once."""
        return bool(self.arguments.get("joined"))


class History:
    """The steps that are done, and those that were undone and can be done again.

    Parameters
    ----------
    done, undone : iterables of Step
        See the properties.
    """

    def __init__(self, done: Iterable[Step] = (), undone: Iterable[Step] = ()) -> None:
        self._done, self._undone = list(done), list(undone)

    @property
    def done(self) -> tuple[Step, ...]:
        """The steps that are done, the oldest first."""
        return tuple(self._done)

    @property
    def undone(self) -> tuple[Step, ...]:
        """The steps that can be done again, the one to be done next last."""
        return tuple(self._undone)

    def add(self, step: Step) -> None:
        """Note a new step; what was undone before it cannot be done again."""
        self._done.append(step)
        self._undone.clear()

    @property
    def latest(self) -> Step:
        """The step to be undone next."""
        if not self._done:
            raise RuntimeError("there is nothing to undo")
        return self._done[-1]

    @property
    def next(self) -> Step:
        """The step to be done again next."""
        if not self._undone:
            raise RuntimeError("there is nothing to redo")
        return self._undone[-1]

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._undone)

    def undo(self) -> Step:
        """Move the latest step to the undone ones and return it."""
        self._undone.append(self.latest)
        return self._done.pop()

    def redo(self) -> Step:
        """Move the step undone last back to the done ones and return it."""
        self._done.append(self.next)
        return self._undone.pop()


def change_between(
    name: str, before: NDArray[Any], after: NDArray[Any], where: Region | None = None
) -> tuple[Change, ...]:
    """Return the changes of small boxes that hold every difference: one, unless they are scattered, or none.

    Parameters
    ----------
    before, after : arrays of the region's shape
    where : tuple of slices, optional
        The region that they cover; the whole image if absent.
    """
    offset = [s.start or 0 for s in where] if where else [0] * before.ndim
    changes = []
    for box in parts(before != after):
        place = tuple(slice(a + b.start, a + b.stop) for a, b in zip(offset, box, strict=True))
        changes.append(Change(name, place, before[box].copy(), after[box].copy()))
    return tuple(changes)
