"""More like this in a session: objects like the finished ones are offered, taken, skipped, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Plane
from napari_probseg.progress import Progress, result_of
from napari_probseg.region import Part, Region, bounding_box, boxed, grown, overlap, placed
from napari_probseg.session.finishing import Finishing
from napari_probseg.session.history import Step
from napari_probseg.session.objects import adding
from napari_probseg.session.packing import pack, unpack
from napari_probseg.session.shown import OnShow
from napari_probseg.similar.examples import Example, Query
from napari_probseg.similar.offer import (
    DEFAULT_LINE,
    MAX_EARLIER,
    NOTHING_ALIKE,
    TAKEN_IOU,
    Decisions,
    Similar,
    SimilarObject,
)
from napari_probseg.strokes import FOUND

if TYPE_CHECKING:
    from napari_probseg.similar.finder import Finder

N_OFFERED = 30


class Alike(Finishing):
    """The part of a `Session` in which finished objects teach where others are.

    Parameters
    ----------
    case : Case
        See `Work`.
    """

    completer: Any

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._found = Similar(())
        self._finder: Finder | None = None
        self._ranked: tuple[Any, Similar] | None = None
        self._corrected: SimilarObject | None = None
        self._n_at_look = 0  # finished objects when others were looked for last
        self._wait = 1  # for how many more, where that brought nothing

    @property
    def skipped(self) -> tuple[Part, ...]:
        """What was offered and is not meant."""
        steps = (step.arguments for step in self.steps if step.verb == "skip")
        return tuple(Part(tuple(slice(*s) for s in told["where"]), unpack(told["mask"])) for told in steps)

    @property
    def similar(self) -> Similar:
        """The objects on offer that are like finished ones, the most likely first, ranked by all decisions so far.

        What was taken or skipped is not among them; once that is undone, it is again.
        """
        key = self._found, self._n_object_changes, sum(step.verb == "skip" for step in self.steps)
        if self._ranked is None or self._ranked[0] != key:
            self._ranked = key, self._found.decided(Decisions(self._objects, self.skipped))
        return self._ranked[1]

    @property
    def may_find_more(self) -> bool:
        """Whether so much was finished since others were looked for last that it pays to look again, unasked.

        One more object is enough where anything of the last offer was taken, or might have been; where nothing was, as
        many as twice the wait before.
        """
        return len(self.finished) >= self._n_at_look + (1 if self._has_brought else self._wait)

    @property
    def _has_brought(self) -> bool:
        decisions = Decisions(self._objects, ())
        return any((decisions.became(o) or 0.0) >= TAKEN_IOU for o in self._found.objects)

    def query_similar(
        self, *, like: Iterable[int] | None = None, known: Sequence[Example] = (), plane: Plane | None = None
    ) -> Query:
        """Return the question what else is like finished objects, to be answered here or elsewhere.

        Parameters
        ----------
        like : iterable of int, optional
            The numbers of the finished objects to be like, the others being of other kinds; if absent, those of the
            class of the latest one.
        known : sequence of Example
            Examples of other images.
        plane : (0, t), optional
            Which image of a time series; the one with the latest object if absent.

        Returns
        -------
        Query

        Raises
        ------
        ValueError
            If there is no finished object of such a number, or a plane of a volume is named.
        """
        if plane is not None and not self._case.in_time:
            raise ValueError(f"objects are looked for in all of an image or a volume: leave out plane={plane}")
        examples, others = (self._parts(labels) for labels in self._labels_like(like))
        if self._case.in_time and plane is None:
            latest = self._latest_label()
            side = self._tally.box(latest)[0] if latest in self._tally else slice(0, 1)
            plane = 0, (side.start + side.stop - 1) // 2
        return Query(self._case, examples, others, self.skipped, tuple(known), plane)

    def propose_similar(
        self,
        n: int | None = N_OFFERED,
        *,
        like: Iterable[int] | None = None,
        known: Sequence[Example] = (),
        plane: Plane | None = None,
        tell: Callable[[Progress], object] | None = None,
    ) -> Similar:
        """Look for objects like the finished ones, and put them on offer.

        Parameters
        ----------
        n : int, optional
            How many at most; those near to the latest finished object come first in a large image. All of the image
            if None.
        like, known, plane
            See `query_similar`.
        tell : callable, optional
            Hears of each `Progress`.

        Returns
        -------
        Similar
            It may be empty: nothing is alike.

        Raises
        ------
        ValueError
            If there is no finished object to be like, or it is too small or too large for that.
        """
        query = self.query_similar(like=like, known=known, plane=plane)
        if self._finder is None:
            from napari_probseg.similar.finder import finder_of

            self._finder = finder_of(self.completer)
        return self.offer_similar(result_of(self._finder.finding(query, n), tell))

    def offer_similar(self, found: Similar) -> Similar:
        """Put what was found on offer.

        Parameters
        ----------
        found : Similar
            The answer to `query_similar`.

        Returns
        -------
        Similar
            What of it is not decided already.
        """
        self._wait = 2 * self._wait if self._n_at_look and not self._has_brought else 1
        earlier = (*self._found.earlier, *self._found.objects)[-MAX_EARLIER:]
        self._found, self._n_at_look = replace(found, earlier=earlier), len(self.finished)
        return self.similar

    def take_similar(self, i: int = 0, *, kind: str = "") -> Step:
        """Take an object on offer: it is finished, locked, and of the class of its examples.

        Parameters
        ----------
        i : int
            Which of `similar`; 0 is the most likely.
        kind : str
            The class where the examples are of other images.

        Raises
        ------
        RuntimeError
            If nothing is on offer.
        IndexError
            If there is no such object.
        """
        return self._take([self._on_offer(i)], kind)

    def take_all_similar(self, above: float = DEFAULT_LINE, *, kind: str = "") -> Step:
        """Take all objects on offer that are at least so likely, in one step.

        Parameters
        ----------
        above : float
            The line, in [0, 1].
        kind : str
            See `take_similar`.

        Raises
        ------
        RuntimeError
            If none is.
        """
        chosen = self.similar.above(above)
        if not chosen:
            raise RuntimeError("no object on offer is above the line: lower it, or look at them one by one")
        return self._take(chosen, kind)

    def skip_similar(self, i: int = 0) -> Step:
        """Say that an object on offer is not meant: the others are ranked anew.

        Parameters
        ----------
        i : int
            Which of `similar`; 0 is the most likely.

        Raises
        ------
        RuntimeError
            If nothing is on offer.
        IndexError
            If there is no such object.
        """
        found = self._on_offer(i)
        return self.skip(found.mask, where=found.where)

    def skip(self, mask: NDArray[Any], *, where: Region | None = None) -> Step:
        """Say that something is not meant when others like the finished objects are looked for.

        Parameters
        ----------
        mask : bool array of the image's shape, or of the region's
            What is not meant.
        where : tuple of slices, optional
            The region; the whole image if absent.

        Raises
        ------
        ValueError
            If the mask is empty, or does not fit.
        """
        box = tuple(slice(0, n) for n in self._case.shape) if where is None else boxed(where, self._case.shape)[0]
        chosen = np.asarray(mask).astype(bool)
        if chosen.shape != tuple(s.stop - s.start for s in box):
            raise ValueError(f"the mask must have the shape of the image or its region, got {chosen.shape}")
        inner = bounding_box(chosen)
        if inner is None:
            raise ValueError("there is nothing to skip: the mask is empty")
        spans = [[s.start + o.start, s.stop + o.start] for s, o in zip(inner, box, strict=True)]
        return self._note(Step("skip", {"where": spans, "mask": pack(chosen[inner])}))

    def look_at_similar(self, i: int | None) -> None:
        """Note which object on offer is on show: the next stroke corrects that one.

        Parameters
        ----------
        i : int or None
            Which of `similar`; None if none is on show.

        Raises
        ------
        RuntimeError
            If nothing is on offer.
        IndexError
            If there is no such object.
        """
        self._corrected = None if i is None else self._on_offer(i)

    def _on_show(self, drawn: Sequence[Region]) -> OnShow | None:
        """Return the object on show where a stroke lies near it, in a region with room for what is missing of it.

        No stroke tells it but the correction: it changes near that alone.
        """
        if (o := self._corrected) is None:
            return None
        where = grown(o.where, [2 + (s.stop - s.start) // 2 for s in o.where], self._case.shape)
        if not any(overlap(where, box) for box in drawn):
            return None
        return OnShow(where, placed(where, o.where, o.mask), FOUND)

    def _on_offer(self, i: int) -> SimilarObject:
        if not len(self.similar):
            raise RuntimeError(NOTHING_ALIKE if self._found.n_examples else "call propose_similar() first")
        if not isinstance(i, Integral) or not 0 <= i < len(self.similar):
            raise IndexError(f"there is no object {i!r} on offer: choose one of 0 to {len(self.similar) - 1}")
        return self.similar.objects[i]

    def _labels_like(self, like: Iterable[int] | None = None) -> tuple[list[int], list[int]]:
        """Return the finished objects of some numbers, or of the class of the latest one, that last; and the others.

        Raises
        ------
        ValueError
            If there is no finished object of such a number.
        """
        latest, kinds, labels = self._latest_label(), self.kinds, {o.label for o in self.finished}
        wanted = {label for label in labels if kinds.get(label) == kinds.get(latest)} if like is None else set(like)
        if missing := wanted - labels:
            raise ValueError(f"there is no finished object {min(missing)} to be like")
        order = sorted(labels, key=lambda label: (label == latest, label))
        return [label for label in order if label in wanted], [label for label in order if label not in wanted]

    def _parts(self, labels: Iterable[int]) -> tuple[Part, ...]:
        """Return the masks of finished objects."""
        boxes = {label: self._tally.box(label) for label in labels}
        return tuple(Part(box, self._objects[box] == label, label) for label, box in boxes.items())

    def _latest_label(self) -> int:
        """Return the number of the object that was finished last; 0 if there is none."""
        last = next((step.arguments["label"] for step in reversed(self.steps) if step.verb == "finish"), 0)
        return int(last) if last in self._tally else self.max_label

    def _take(self, chosen: Sequence[SimilarObject], kind: str) -> Step:
        first = max(self.max_label, self._reopened_label() or 0)
        free = [Part(o.where, o.mask & (self._objects[o.where] == 0)) for o in chosen]
        like = self._found.like
        told: dict[str, Any] = {"first": first, "like": like}
        if kind := self.kinds.get(like, "") if like else kind:
            told["kinds"] = [[i, kind] for i in range(1, 1 + len(free))]
        return self._do("take", told, adding(self._case, self._objects, free, first))
