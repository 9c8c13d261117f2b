"""More like this in the window: objects like the finished ones are looked for, shown, taken and skipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from napari_probseg.engine.thumbnails import Thumbnail
from napari_probseg.progress import counted
from napari_probseg.session.session import Session
from napari_probseg.similar.examples import EXAMPLES_FILE
from napari_probseg.similar.offer import DEFAULT_LINE, NOTHING_ALIKE, SimilarObject
from napari_probseg.widgets.commands import teaching_of
from napari_probseg.widgets.layers.image import bring_into_view, displayed_axes
from napari_probseg.widgets.models import given
from napari_probseg.widgets.segment.further_channels import FurtherChannels
from napari_probseg.widgets.segment.verbs import verb
from napari_probseg.widgets.tasks.alike import FoundAlike

NOTHING_AS_BEFORE = "nothing here looks like what was finished on other images: finish an object here, then ask again"
IN_GALLERY = 6  # as many as candidates: nothing below them moves


class MoreLikeThis(FurtherChannels):
    """The part of a `Workspace` in which finished objects teach where others are.

    What is offered is seen while no object is in work: a stroke corrects the one on show, which becomes the object in
    work; once that is finished, the others are seen again. What was looked for unasked is seen only while it
    pays to look at it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.line = DEFAULT_LINE
        self.is_more_by_itself = False  # after each finished object
        self._pictures: WeakKeyDictionary[Session, list[Thumbnail]] = WeakKeyDictionary()
        self._unasked: WeakSet[Session] = WeakSet()  # those in which it was looked for by itself
        self._at = 0  # the one that the keys are at
        self._hovered: int | None = None
        self.asking.alike.connect(self._found_alike)

    @property
    def alike(self) -> tuple[SimilarObject, ...]:
        """The objects that are on show, the most likely first; none while an object is in work, or looked for."""
        session = self.session
        if session is None or self.asking.is_busy or session.on_offer is not None or session not in self._pictures:
            return ()
        if _is_in_work(session) or self._is_silent(session):
            return ()
        return session.similar.objects

    @property
    def page(self) -> int:
        """Which of the pages of the gallery the one on show is on."""
        return self._at // IN_GALLERY

    @property
    def alike_in_gallery(self) -> tuple[list[Thumbnail], int]:
        """The pictures around the one on show, and which of them that is."""
        first, session = self.page * IN_GALLERY, self.session
        shown = self.alike[first : first + IN_GALLERY]
        pictures = [] if session is None or not shown else self._pictures[session]
        return [replace(pictures[o.number], share=o.score) for o in shown], self._at - first

    @verb
    def more(self) -> None:
        """Look for objects like the finished ones."""
        if _is_in_work(self._session()):  # what is found would not be seen
            raise RuntimeError("finish or undo the object in work first, then ask for more like the finished ones")
        self._unasked.discard(self._session())
        self._ask_for_more()

    def look_for_more(self) -> None:
        """Look for objects like the finished ones by itself, where that is wanted, and now may find more."""
        session = self._session()
        if self.is_more_by_itself and session.may_find_more and (self._is_silent(session) or not self.alike):
            self._unasked.add(session)
            self._ask_for_more()

    @property
    def _is_asked_for(self) -> bool:
        return super()._is_asked_for and not (self.asking.is_for_others and self.session in self._unasked)

    def _is_silent(self, session: Session) -> bool:
        """Whether nothing that was found unasked is likely enough to be looked at."""
        return session in self._unasked and not session.similar.pays

    def _ask_for_more(self) -> None:
        teaching = teaching_of(self.viewer)
        folder = None if teaching is None else teaching.state.folder
        memory = None if folder is None else Path(folder) / EXAMPLES_FILE
        session = self._session()
        place = self._place(anywhere=not session.case.in_time)
        self.asking.more(session, self.tools, place, given(self.viewer), before=self.images.before, memory=memory)
        self._show()

    def switch_more(self, on: bool) -> None:
        """Look for more by itself after each finished object, or when asked."""
        self.is_more_by_itself = on

    @verb
    def take_all(self) -> None:
        """Take all objects above the line."""
        if self.asking.is_busy and self.asking.is_for_others:
            raise ValueError("others like it are still looked for: one moment")
        session = self._session()
        if not self.alike:
            raise ValueError("there is nothing to take yet: finish an object, then ask for more like it")
        self._at = 0
        n = len(session.similar.above(self.line))
        step = session.take_all_similar(self.line, kind=self.tools.kind)
        taken = f"Took {counted(n, 'object')}: {'it is' if n == 1 else 'they are'} finished and locked."
        self._decided(step, taken)

    def move_line(self, line: float) -> None:
        """Set how likely an object must be to be taken with all others."""
        self.line = line
        self._show_alike()
        self.changed.emit()

    def look_at_alike(self, i: int | None) -> None:
        """Show object ``i`` of the gallery on the canvas for as long as the pointer is on it; None: it has left."""
        self._hovered = None if i is None else self.page * IN_GALLERY + i
        self._show_alike()

    def _take_alike(self, i: int | None = None) -> None:
        at = self._on_show if i is None else self.page * IN_GALLERY + i
        step = self._session().take_similar(at, kind=self.tools.kind)
        self._decided(step, f"Taken: object {step.arguments['first'] + 1} is finished.")

    def _skip_alike(self) -> None:
        step = self._session().skip_similar(self._on_show)
        self._decided(step, "Skipped: what is like it comes later now.")

    @property
    def _on_show(self) -> int:
        """Which of the objects is on show: the one that the pointer is on in the gallery, or the keys are at."""
        return min(self._at if self._hovered is None else self._hovered, len(self.alike) - 1)

    def _decided(self, step: Any, done: str) -> None:
        """Show what is left after a decision, and look for more where it taught enough for that."""
        self._stepped(step, f"{done} {self._left()}".strip())
        self._bring_into_view()
        self.look_for_more()

    def _turn_alike(self, by: int) -> None:
        self._at, self._hovered = (self._on_show + by) % max(1, len(self.alike)), None
        self._show()
        self._bring_into_view()
        if self.alike:
            self.say(f"{self._at + 1} of {len(self.alike)} alike: {self.alike[self._at].score:.0%} likely.")

    def _left(self) -> str:
        """Return how many are on offer, and how many of them are above the line; nothing if there are none."""
        session = self._session()
        left = session.similar
        if self._is_silent(session):
            return self._unsure()
        return f"{len(left)} on offer, {len(left.above(self.line))} of them above the line." if len(left) else ""

    def _unsure(self) -> str:
        """Return why nothing is offered, and how to see it all the same."""
        key = self.settings.keys["more"]
        return f"Nothing more is likely enough: go on with the next, or press {key} to see it all the same."

    def _found_alike(self, got: FoundAlike) -> None:
        """Offer what was found."""
        session, self.images.before = self._session(), None  # what was finished there is known now
        self._pictures[session] = got.pictures
        self._at = 0
        offered = session.offer_similar(got.similar)
        self._show()
        if not len(offered):
            told = NOTHING_ALIKE if session.finished else NOTHING_AS_BEFORE
            self.say(f"{told[0].upper()}{told[1:]}.")
            return
        if self._is_silent(session):
            self.say(self._unsure())
            return
        keys, n = self.settings.keys, len(offered.above(self.line))
        take_all = f"{keys['take_all']} takes all likely; " if n else "move the line to take several; "
        self.say(
            f"{len(offered)} alike, {n or 'none'} likely: {keys['accept']} takes it, {keys['none']} skips it, "
            f"{take_all}a stroke corrects it."
        )
        self._bring_into_view()

    def _show(self) -> None:
        super()._show()
        self._show_alike()

    def _show_alike(self) -> None:
        """Outline what is on show, and let the next stroke correct it."""
        alike, layers, session = self.alike, self.layers, self.session
        if not alike or layers is None or session is None:
            self.view.alike.hide()
            if session is not None:
                session.look_at_similar(None)
            return
        self._at = min(self._at, len(alike) - 1)
        at = self._on_show
        session.look_at_similar(at)
        with self.adding():
            self.view.alike.show(
                session.case.shape,
                alike,
                alike[at],
                line=self.line,
                axes=displayed_axes(self.viewer, layers.markers),
                placement=self._placement(),
            )

    def _bring_into_view(self) -> None:
        """Go to the object on show, where the canvas does not show its place."""
        if self.layers is not None and self.alike:
            picture = self._pictures[self._session()][self.alike[self._at].number]
            bring_into_view(self.viewer, self.layers.markers, picture.place)


def _is_in_work(session: Session) -> bool:
    """Return whether something was drawn or accepted since the last object was finished."""
    last = next((s.verb for s in reversed(session.steps) if s.verb in ("mark", "accept", "finish", "reopen")), "finish")
    return last != "finish"
