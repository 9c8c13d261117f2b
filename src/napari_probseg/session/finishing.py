"""Finishing objects: they are locked, get classes, are opened again or removed, and adopted from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from numpy.typing import NDArray

from napari_probseg.session.finished import checked_kind, kinds_by
from napari_probseg.session.history import Step
from napari_probseg.session.objects import finishing, removing, reopening, taking
from napari_probseg.session.work import Work


class Finishing(Work):
    """The part of a `Session` that makes finished objects of what is in work, and the other way round."""

    def finish(self, kind: str = "") -> Step:
        """Move the object in work to the finished ones, where it is locked, and begin the next.

        Parameters
        ----------
        kind : str
            The class of a new object; none if empty. One that was reopened keeps its own.

        Returns
        -------
        Step
            Its arguments tell the object's ``label``, its ``kind`` if it has one, its ``n_voxels``, and ``n_locked``:
            the voxels that belong to earlier objects and stay with them.

        Raises
        ------
        RuntimeError
            If there is no object in work, or all of it belongs to earlier ones.
        """
        reopened = self._reopened_label()
        label = reopened or self.max_label + 1
        told, changes = finishing(self._case, self._objects, label, self.in_work)
        if kind := kind if reopened is None else kinds_by(self._history.done).get(reopened, ""):
            told["kind"] = kind
        return self._do("finish", told, changes + self._shown.changes_to(None))

    def classify(self, label: int, kind: str) -> Step:
        """Give a finished object another class.

        Parameters
        ----------
        label : int
            Its number.
        kind : str
            The class; none if empty.

        Returns
        -------
        Step
            Not remembered if it changes nothing.

        Raises
        ------
        ValueError
            If there is no such object.
        """
        self._check_label(label)
        step = Step("classify", {"label": int(label), "kind": checked_kind(kind)})
        if self.kinds.get(label, "") != kind:
            self._n_object_changes += 1
            self._note(step)
        return step

    def classify_all(self, kinds: Mapping[int, str]) -> tuple[Step, ...]:
        """Give finished objects other classes at once: `undo` takes back all of them.

        Parameters
        ----------
        kinds : mapping from int to str
            The class of each number; none if empty.

        Returns
        -------
        tuple of Step
            One for each object that gets another class.

        Raises
        ------
        ValueError
            If there is no such object; nothing is done then.
        """
        given = {}
        for label, kind in kinds.items():
            self._check_label(label)
            given[int(label)] = checked_kind(kind)
        before, steps = self.kinds, list[Step]()
        for label, kind in given.items():
            if before.get(label, "") != kind:
                told = {"label": label, "kind": kind} | ({"joined": True} if steps else {})
                steps.append(self._note(Step("classify", told)))
        self._n_object_changes += len(steps)
        return tuple(steps)

    def reopen(self, label: int) -> Step:
        """Make a finished object the one in work again.

        Parameters
        ----------
        label : int
            Its number, which it keeps.

        Raises
        ------
        ValueError
            If there is no such object.
        RuntimeError
            If another object is in work.
        """
        self._check_label(label)
        changes = reopening(self._case, self._objects, int(label), self._tally.box(label), self.in_work)
        return self._do("reopen", {"label": int(label)}, changes + self._shown.changes_to(None))

    def remove(self, label: int) -> Step:
        """Remove a finished object: its voxels are of no object, and open again; the object in work stays as it is.

        Parameters
        ----------
        label : int
            Its number, which the next object may get if it was the last.

        Raises
        ------
        ValueError
            If there is no such object.
        """
        self._check_label(label)
        changes = removing(self._case, self._objects, int(label), self._tally.box(label))
        return self._do("remove", {"label": int(label)}, changes)

    def take(self, labels: NDArray[Any], kinds: Mapping[int, str] | None = None) -> Step:
        """Adopt finished objects from any label image; voxels of objects that are there already stay theirs.

        Parameters
        ----------
        labels : integer array of the spatial shape
            0 is none. The numbers are kept if there are no objects yet, else they follow on.
        kinds : mapping from int to str, optional
            The class of each number that has one.

        Raises
        ------
        ValueError
            If they do not fit the image, hold nothing new, or have numbers beyond `MAX_LABEL`.
        """
        first = max(self.max_label, self._reopened_label() or 0)
        changes = taking(self._case, self._objects, labels, first)
        told = {"kinds": [[int(label), str(kind)] for label, kind in kinds.items()]} if kinds else {}
        return self._do("take", {"first": first, **told}, changes)

    def _check_label(self, label: object) -> None:
        if not isinstance(label, Integral) or label not in self._tally:
            raise ValueError(f"there is no finished object {label!r}")

    def _reopened_label(self) -> int | None:
        """Return the number of the object in work if it was a finished one before."""
        last = next((s for s in reversed(self.steps) if s.verb in ("finish", "reopen")), None)
        return int(last.arguments["label"]) if last is not None and last.verb == "reopen" else None
