"""Work on one image: what is decided, the finished objects, and the steps that can be taken back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Plane
from napari_probseg.pages import zeros
from napari_probseg.region import Region, boxed, parts
from napari_probseg.session.boxes import boxing, is_boxes_alone
from napari_probseg.session.finished import FinishedObject, Tally, kinds_by
from napari_probseg.session.history import Change, History, Step
from napari_probseg.session.objects import changes_to, in_work, without_locked
from napari_probseg.session.refinement import Refinement
from napari_probseg.session.shown import OnShow, Shown

if TYPE_CHECKING:
    from pathlib import Path

    from napari_probseg.session.encoding import Stored
    from napari_probseg.session.journal import Journal

MAX_PAUSE = 60.0  # seconds between two steps that count as work


class Work:
    """The part of a `Session` that a person does alone: strokes, finished objects, going back and forth.

    Parameters
    ----------
    case : Case
        The image, and what is decided of the first object.
    """

    def __init__(self, case: Case) -> None:
        self.start = self._case = case
        self._objects = zeros(case.shape, np.uint32)
        self._shown = Shown(case.shape)
        self._history = History()
        self._n_asked = 0  # requests for candidates
        self._tally = Tally()
        self._n_object_changes = self._n_saved = 0  # of the finished objects: all, and those before they were saved
        self._has_earlier = False  # whether there were objects when it was saved, or left
        self.journal: Journal | None = None  # what every step is written to as soon as it is done
        self.seconds, self._noted = 0.0, time.monotonic()

    @property
    def case(self) -> Case:
        """The image with what is decided of the object in work."""
        return self._case

    @property
    def objects(self) -> NDArray[np.uint32]:
        """The finished objects, a label image of the spatial shape; 0 is none. A read-only view: copy it to keep it."""
        view = self._objects.view()
        view.flags.writeable = False
        return view

    @property
    def max_label(self) -> int:
        """The largest number of a finished object; 0 if there is none."""
        return self._tally.max_label

    @property
    def in_work(self) -> Region:
        """A box outside of which nothing is of the object in work; it may be larger than it must be."""
        return in_work(self.start, self._history.done)

    def has_strokes(self, plane: Plane | None = None) -> bool:
        """Return whether strokes are drawn for the object in work.

        Parameters
        ----------
        plane : (axis, index), optional
            A plane of a volume, or an image of a time series, to look at alone.
        """
        where = list(self.in_work)
        if plane is not None:
            axis, index = plane
            where[axis] = slice(max(index, where[axis].start), min(index + 1, where[axis].stop))
        return bool(self._case.strokes[tuple(where)].any())

    @property
    def kinds(self) -> dict[int, str]:
        """The class of each finished object that was given one, by its number."""
        return {label: kind for label, kind in kinds_by(self._history.done).items() if label in self._tally}

    @property
    def finished(self) -> tuple[FinishedObject, ...]:
        """The finished objects, by number."""
        return self._tally.objects(self.kinds)

    @property
    def has_unsaved_objects(self) -> bool:
        """Whether there are finished objects that `note_saved` was not told of as they are now."""
        return self.max_label > 0 and self.has_other_objects

    @property
    def has_other_objects(self) -> bool:
        """Whether the finished objects are others than `note_saved` was told of; or none is left of what was saved.

        One that is made and removed in between is not missed.
        """
        return self._n_object_changes != self._n_saved and (self.max_label > 0 or self._has_earlier)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done and not undone."""
        return self._history.done

    @property
    def undone(self) -> tuple[Step, ...]:
        """What was undone and can be done again, the one to be done next last."""
        return self._history.undone

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return self._history.can_redo

    def mark(
        self,
        inside: NDArray[Any] | None = None,
        outside: NDArray[Any] | None = None,
        *,
        erase: NDArray[Any] | None = None,
        where: Region | None = None,
        shown: tuple[Region, NDArray[np.bool_]] | tuple[Region, NDArray[np.bool_], float] | None = None,
    ) -> Step:
        """Draw strokes; erased voxels of finished objects stay background.

        Parameters
        ----------
        inside, outside, erase, where : optional
            See `Case.mark`.
        shown : (region, bool array) or (region, bool array, float), optional
            The object that was on show in a region while they were drawn, and the Dice that is expected of it: the next
            answer corrects it. The candidate that is looked at, if absent.

        Returns
        -------
        Step
            Not remembered if it changes nothing.

        Raises
        ------
        ValueError
            As `Case.mark`.
        """
        return self._mark({}, inside, outside, erase=erase, where=where, shown=OnShow(*shown) if shown else None)

    def box(self, where: Region) -> Step:
        """Draw a box around the object: a few voxels around it are background; strokes and finished objects stay.

        It takes the place of a box on the same plane that it meets. Where nothing but boxes is drawn, what was on show
        is of that box, and tells nothing of the object any more.

        Parameters
        ----------
        where : tuple of slices
            Its voxels; of a volume usually on one slice.

        Returns
        -------
        Step
            Not remembered if it changes nothing.

        Raises
        ------
        ValueError
            If it goes around the whole image.
        """
        where, _ = boxed(where, self._case.shape)
        region, outside, erase = boxing(self._case, self._objects, self.steps, where)
        told = {"box": [[s.start, s.stop] for s in where]}
        is_anew = bool(erase.any()) and is_boxes_alone(self.steps)
        return self._mark(told, None, outside, erase=erase, where=region, forgets=is_anew)

    def _mark(
        self,
        told: dict[str, Any],
        *masks: NDArray[Any] | None,
        erase: NDArray[Any] | None,
        where: Region | None,
        shown: OnShow | None = None,
        forgets: bool = False,
    ) -> Step:
        """Draw strokes, as `mark` does; what was on show is evidence of the next answer, unless it is forgotten."""
        marked = self._case.mark(*masks, erase=erase, where=where)
        if where is None:
            drawn = [np.asarray(mask) for mask in (*masks, erase) if mask is not None]
            regions = parts(drawn[0] if len(drawn) == 1 else np.logical_or.reduce(drawn)) if drawn else []
        else:
            regions = [boxed(where, self._case.shape)[0]]
        if erase is not None:
            marked = marked.with_parts(("partial", box, without_locked(marked, self._objects, box)) for box in regions)
        new = [(box, marked.partial[box], marked.strokes[box]) for box in regions]
        changes = tuple(change for values in new for change in changes_to(self._case, self._objects, *values))
        if changes and forgets:
            return self._do("mark", told, changes + self._shown.changes_to(None), marked)
        if changes and (answer := shown or self._on_show(regions)):
            kept = answer.bounded(self._case.shape)
            told = told if kept is None else {**told, **kept.told}
            return self._do("mark", told, changes + self._shown.changes_to(kept), marked)
        return self._do("mark", told, changes, marked)

    def refine(self, what: Refinement | str, changes: tuple[Change, ...] | None = None) -> Step:
        """Smooth an object, keep its largest part, fill its holes or between its slices, or remove specks.

        Parameters
        ----------
        what : Refinement or str
            A name is of what is done to the object in work, in the whole image.
        changes : tuple of Change, optional
            What `Refinement.changes` returned of the state as it is, elsewhere.

        Returns
        -------
        Step
            Not remembered if it changes nothing.

        Raises
        ------
        RuntimeError, ValueError
            See `Refinement.changes`.
        """
        told = what if isinstance(what, Refinement) else Refinement(what)
        if changes is None:
            changes = told.changes(self._case, self._objects, self.finished)
        arguments = {name: value for name, value in asdict(told).items() if value != getattr(Refinement, name, None)}
        return self._do("refine", arguments, changes)

    def undo(self) -> Step:
        """Take back the latest step, with those that it is joined to.

        Returns
        -------
        Step
            The latest step with its changes reversed, as they were just made.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        step = latest = self._undo_one()
        while step.is_joined and self.can_undo:
            step = self._undo_one()
        return latest

    def _undo_one(self) -> Step:
        step = self._history.latest
        back = Step(step.verb, step.arguments, tuple(c.reverse for c in reversed(step.changes)))
        self._apply(back.changes)
        self._history.undo()
        self._n_object_changes += step.verb == "classify"
        if self.journal is not None:
            self.journal.undid()
        return back

    def redo(self) -> Step:
        """Do again what was undone last, with the steps that are joined to it.

        Returns
        -------
        Step
            The last of them.

        Raises
        ------
        RuntimeError
            If nothing was undone, or something was done since.
        """
        step = self._redo_one()
        while self.can_redo and self._history.next.is_joined:
            step = self._redo_one()
        return step

    def _redo_one(self) -> Step:
        step = self._history.next
        self._apply(step.changes)
        self._history.redo()
        self._n_object_changes += step.verb == "classify"
        if self.journal is not None:
            self.journal.redid()
        return step

    def rebase(self, image: Case) -> None:
        """Go on with other distances or other channels of the image: what was done stays.

        Parameters
        ----------
        image : Case
            The image as it is now, nothing decided.

        Raises
        ------
        ValueError
            If its shape is another.
        """
        if image.shape != self._case.shape:
            raise ValueError(f"the work is on an image of {self._case.shape}, this one is {image.shape}")
        image = image.with_sizes(self.start.sizes)
        self.start = image.with_markers(self.start.partial, self.start.strokes)
        self._case = image.with_markers(self._case.partial, self._case.strokes)
        self.withdraw()

    def note_saved(self, path: str | Path, *, whole: bool) -> None:
        """Note that the finished objects are in a file, or the whole session.

        Parameters
        ----------
        path : path
            Of the file.
        whole : bool
            Whether it holds the session, and not only the objects.
        """
        self._n_saved, self._has_earlier = self._n_object_changes, self.max_label > 0
        if whole and self.journal is not None:
            self.journal.saved(path)

    def withdraw(self) -> None:
        """Hear that the work has moved on, and that answers about it as it was come too late."""

    def _on_show(self, drawn: Sequence[Region]) -> OnShow | None:
        """Return the answer that is on show, and corrected by strokes in some regions; a person alone has none."""
        return None

    def _resume(self, stored: Stored) -> None:
        """Take on what was done since this start, in place: what lies between is seen by no one."""
        partial, strokes = self.start.partial.copy(), self.start.strokes.copy()
        arrays: dict[str, NDArray[Any]] = {"partial": partial, "strokes": strokes, "objects": self._objects}
        for step in stored.done:
            for change in step.changes:
                if change.name in arrays:
                    arrays[change.name][change.where] = change.after
                if change.name == "objects":
                    self._tally.take(change)
                    self._has_earlier = True
            self._shown.apply(step.changes)
        self._case = self.start.with_markers(partial, strokes)
        self._n_object_changes = 1
        self._history = History(stored.done, stored.undone)
        self._n_asked = stored.n_asked

    def _do(self, verb: str, arguments: Any, changes: tuple[Change, ...], case: Case | None = None) -> Step:
        """Make a step, to ``case`` if that is what the changes make; one that changes nothing is not remembered."""
        step = Step(verb, arguments, changes)
        if changes:
            self._apply(changes, case)
            self._note(step)
        return step

    def _note(self, step: Step) -> Step:
        self._history.add(step)
        now = time.monotonic()
        self.seconds, self._noted = self.seconds + min(now - self._noted, MAX_PAUSE), now
        if self.journal is not None:
            self.journal.did(step, self._n_asked)
        return step

    def _apply(self, changes: tuple[Change, ...], case: Case | None = None) -> None:
        """Make changes, all of them or, should memory not suffice, none: the state is what the steps say, always."""
        now = case or self._case
        if case is None and (of_case := [c for c in changes if c.name in ("partial", "strokes")]):
            now = now.with_parts((change.name, change.where, change.after) for change in of_case)
        for change in changes:
            if change.name == "objects":
                self._objects[change.where] = change.after  # in place: it is large, and no one else's
                self._tally.take(change)
                self._n_object_changes += 1
        self._shown.apply(changes)
        self._case = now
        self.withdraw()
