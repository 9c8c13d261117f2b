"""Finish image: what is finished is saved, and the next image of the folder opens as this one was shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_probseg.case import Marker
from napari_probseg.napari_io.layer_data import get_reader
from napari_probseg.session.beside import Written, objects_beside
from napari_probseg.session.series import Done, Series
from napari_probseg.session.session import Session
from napari_probseg.widgets import commands
from napari_probseg.widgets.layers.appearance import Limits
from napari_probseg.widgets.layers.exchange import may_take, take
from napari_probseg.widgets.layers.image import bare, finest, go_to_middle, place_of
from napari_probseg.widgets.layers.source import siblings_of, source_of
from napari_probseg.widgets.messages import progress_of
from napari_probseg.widgets.readers import NAPARI, OWN_READER
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.into_data_set import IntoDataSet
from napari_probseg.widgets.segment.passage import Passage, told
from napari_probseg.widgets.segment.recovery import is_in_journal
from napari_probseg.widgets.segment.way import Way, way_of
from napari_probseg.widgets.still import in_turns, units_may_differ
from napari_probseg.widgets.tasks.background import Background
from napari_probseg.widgets.tasks.series import Found, Left, Read, arriving, leaving, taking_up


class ImageSeries(QObject):
    """Goes from image to image: finishes one, opens the next, and goes back.

    Parameters
    ----------
    work : Workspace
    parent : QWidget
        What dialogs lie over.
    """

    changed = Signal()

    def __init__(self, work: Workspace, parent: Any) -> None:
        super().__init__(parent)
        self.work, self.series, self._written = work, Series(), Written()
        self.background, self._passage = Background(), Passage(work, parent, self._is_settled)
        self.background.said.connect(work.say)
        self.background.done.connect(self._take)
        self.background.failed.connect(self.fail)
        self._data_set = IntoDataSet(work, parent)
        self._data_set.added.connect(self._added)
        self._data_set.refused.connect(self._not_added)
        self._limits = Limits()
        self._counted: WeakKeyDictionary[Session, float] = WeakKeyDictionary()  # seconds of work that are counted
        self._way: Way | None = None
        self._leaving: Image | None = None  # that goes when the next one is there
        self._destination: Path | None = None  # where to go when what was changed is saved; else to the next one
        self._interrupted: set[Path] = set()  # images that were left before they were finished
        self._finished: tuple[Session | None, Done] | None = None  # while it is added to a data set
        self._arrived: Path | None = None  # whose earlier work is looked for
        self._is_again, self._is_finishing, self._said = False, False, ""
        work.changed.connect(self._note)
        work.recovery.changed.connect(self._settle)

    @property
    def progress(self) -> str:
        """How far the series is, in words."""
        return progress_of(self.series)

    # What the user does -------------------------------------------------------------------------------------------

    def finish_image(self) -> None:
        """Finish the object at work, save the objects, and open the next image; pressed twice it is done once."""
        if not (self._is_finishing or self.work.awaits("_finish_image")):
            self._finish_image()

    @told
    def _finish_image(self) -> None:
        work = self.work
        if (image := work.image) is None:
            raise ValueError("there is no image yet: open one, or a sample")
        session, path = work.session, source_of(image)
        if session is None:
            work.recovery.refuse_while_pending()
        elif work.is_meant or (session.case.partial[session.in_work] == Marker.OBJECT).any():
            work.finish_object()
        if path is None:
            raise ValueError("this image comes from no file: save its objects with “Save objects…”, and open the next")
        n = 0 if session is None else len(session.finished)
        done, self._is_finishing, self._said = Done(path, n, self._seconds(session)), True, ""
        self._way, self._finished = self._way_of(image), (session, done)
        if session is None or not self._data_set.is_open or not (n or session.has_other_objects):
            self._leave(session)
        elif (kinds := self._data_set.kinds(session, may_ask=True)) is not None:
            self._data_set.add(kinds)
        else:
            self._finished, self._is_finishing = None, False
            work.say("The image is not finished: in the data set each object has a class.")

    @told
    def go_back(self) -> None:
        """Open the image again that was finished before this one."""
        image = self.work.image
        path = self.series.before_that(None if image is None else source_of(image))
        if path is None:
            raise ValueError("no image was finished before this one")
        self._go_to(path)

    @told
    def go_to(self, path: Path) -> None:
        """Open any image of the series."""
        self._go_to(path)

    # Leaving ------------------------------------------------------------------------------------------------------

    def _leave(self, session: Session | None, collection: Path | None = None) -> None:
        """Save what is not saved, in a thread, and go on."""
        if self._finished is None or (image := self.work.image) is None:
            return
        own, done = self._finished
        channels = [file for layer in self.work.images.channels if (file := source_of(layer)) not in (None, done.path)]
        options: dict[str, Any] = {"session": session, "like": place_of(image), "channels": channels}
        self._leaving = image
        if own is not None:
            self._counted[own] = own.seconds
        self._passage.begin()
        series = self.series if done.path in self.series.images else None
        self.background.start(lambda: leaving(done, series, collection=collection, written=self._written, **options))
        self.changed.emit()

    def _added(self, folder: Path | None) -> None:
        """The image is in the data set: go on."""
        self._leave(None, folder)

    def _not_added(self) -> None:
        self._finished, self._destination, self._is_finishing = None, None, False

    def _left(self, got: Left) -> None:
        self.series, self._finished, self._said = got.series, None, got.sentence
        self._go_on_after(got.done.path)

    def _go_on_after(self, image: Path) -> None:
        """Go on to the next image, if there is one."""
        path, self._destination = self._destination or self._next(image), None
        if path is None:
            self._leaving, self._is_finishing = None, False
            self._passage.end()
            folder, n = image.parent.name, len(self.series.images)
            whole = f"All {n} images of “{folder}” are" if n > 1 else f"The only image of “{folder}” is"
            self.work.say(f"{self._said} {whole} finished.")
            self.changed.emit()
            return
        self._open(path)

    def _next(self, image: Path) -> Path | None:
        """Return what to open after an image: the most uncertain one of a ranking, or the next of the folder."""
        teaching = commands.teaching_of(self.work.viewer)
        ranked = [] if teaching is None else [one.path.absolute() for one in teaching.found]
        return next((p for p in ranked if p != image and not self.series.is_done(p)), self.series.next_after(image))

    # Arriving -----------------------------------------------------------------------------------------------------

    def _go_to(self, path: Path) -> None:
        """Open any image, and close the one at work if it is of the series: its work is kept, or saved once more."""
        image, session = self.work.image, self.work.session
        self._leaving, self._is_again, self._said = None, True, ""
        own = None if image is None else source_of(image)
        if image is not None:
            self._way = self._way_of(image)
        if own is None or own == path or own not in self.series.images:
            self._open(path)
        elif session is None or not session.has_other_objects or not self.series.is_done(own):
            if is_in_journal(session):
                self._leaving = image
            if session is not None and session.steps and not self.series.is_done(own):
                self._interrupted.add(own)
            self._open(path)
        else:
            self._destination = path
            self._finished = session, Done(own, len(session.finished), self._seconds(session))
            if objects_beside(own).is_file():
                self._leave(session)
            elif (kinds := self._data_set.kinds(session, may_ask=False)) is not None:
                self._data_set.add(kinds)
            else:  # another *Finish image* asks what they are, and puts them into the data set
                self._not_added()
                self._open(path)

    def _open(self, path: Path) -> None:
        """Open an image file as the one before was opened, in a thread where this plugin or napari's own reads it."""
        work, way = self.work, self._way
        self._is_again = self._is_again or path in self._interrupted
        self._interrupted.discard(path)
        there = [layer for layer in work.choices() if source_of(layer) == path]
        channels = [] if way is None else way.names.of_image(path) or []
        if there:
            self._arrive(path, [layer for file in (path, *channels) for layer in self._layers_of(file)], is_new=False)
        elif way is None or way.reader in ("", OWN_READER, NAPARI) or get_reader(str(path)) is not None:
            self._passage.begin()
            is_plain = way is not None and way.reader == NAPARI and get_reader(str(path)) is None
            read = partial(arriving, path, channels, is_joined=way is not None and way.is_joined)
            self.background.start(lambda: read(reader=NAPARI if is_plain else ""))
            self.changed.emit()
        else:
            self._passage.begin()
            self._passage.freeze()
            with work.adding(), units_may_differ():
                opened = [one for file in (path, *channels) for one in work.viewer.open(str(file), plugin=way.reader)]
            self._arrive(path, [layer for layer in map(bare, opened) if isinstance(layer, Image)])

    def _read(self, got: Read) -> None:
        """Let the layers of the images that go take what was read, where they can; else add new ones, and remove them.

        Each in a turn of its own, as napari takes its time.
        """
        if self._is_finishing and not got.images:
            self.series = self.series.without(got.path)
            self._said += f" “{got.path.name}” holds no image and was passed over."
            self._go_on_after(self.series.done[-1].path)
            return
        work, before, images, goes = self.work, self._leaving, got.images, self._going()
        chosen, channels = self._chosen(images), [] if before is None else work.images.channels_of(before)
        comes = [*chosen, *(image for image in images if image not in chosen)]
        self._passage.freeze()
        if before is not None and len(chosen) == 1 + len(channels) and may_take(goes, comes):
            taken = [partial(self._take_image, *both) for both in zip(goes, comes, strict=True)]
            arrive = partial(self._arrive_in_place, got.path, before, channels)
            self._in_turns([partial(work.let_go, before), *taken, arrive])
        else:
            added = [partial(self._add, image) for image in images]
            self._in_turns([*added, partial(self._arrive, got.path, images)])

    def _going(self) -> list[Image]:
        """Return the layers that go with the image: its channels, and what else of its files nobody worked on."""
        if self._leaving is None:
            return []
        images, own = self.work.images, [self._leaving, *self.work.images.channels_of(self._leaving)]
        return own + [one for one in siblings_of(own, self.work.choices()) if not images.is_worked_on(one)]

    def _in_turns(self, acts: list[Callable[[], Any]]) -> None:
        in_turns(self, [partial(self.work.at_once, act) for act in acts], self.fail)

    def _chosen(self, layers: list[Image]) -> list[Image]:
        return layers[:1] if self._way is None else self._way.chosen(layers)

    def _add(self, image: Image) -> None:
        with self.work.adding():
            self.work.viewer.add_layer(image)

    def _take_image(self, layer: Image, image: Image) -> None:
        take(layer, image)
        self._limits.note_anew(layer)

    def _layers_of(self, path: Path) -> list[Image]:
        return [layer for layer in self.work.choices() if source_of(layer) == path]

    def _arrive(self, path: Path, layers: list[Image], *, is_new: bool = True) -> None:
        """Turn to an image that is open now, as the one before was shown, and take that away."""
        work = self.work
        work.release_hold()
        if not layers:
            raise ValueError(f"there is no image in {path.name}: open the next one yourself")
        chosen = self._chosen(layers) or layers[:1]
        before, goes = self._leaving, self._going()[::-1]
        work.images.set_channels(chosen[0], chosen[1:])
        self._expect(chosen)
        if before is None or before is chosen[0]:
            work.choose(chosen[0])
            goes = []
        else:
            work.succeed(before, chosen[0])
        self._show_place(chosen[0], is_new=is_new)
        work.hold()
        taken_away = [partial(work.take_away, layer) for layer in goes]
        self._in_turns([*taken_away, partial(self._begin, chosen[0], path, fits=bool(goes))])

    def _arrive_in_place(self, path: Path, image: Image, channels: list[Image]) -> None:
        """Turn to an image that is where the one before was."""
        self._expect([image, *channels])
        self.work.release_hold()
        self.work.begin_anew(image)
        self._show_place(image, is_new=True)
        self.work.hold()
        self._in_turns([partial(self._begin_once_laid, image, path)])

    def _expect(self, layers: list[Image]) -> None:
        """Let an image that comes, and its channels, be drawn as the one before, and go on with work on it."""
        for look, layer in zip(() if self._way is None else self._way.looks, layers, strict=False):
            look.put_on(layer)
        self._leaving = None
        if self._is_again:
            self.work.recovery.expect_latest()

    def _show_place(self, image: Image, *, is_new: bool) -> None:
        if is_new and (self._way is None or self._way.shape != finest(image).shape):
            go_to_middle(self.work.viewer, image)

    def _begin_once_laid(self, image: Image, path: Path) -> None:
        """Lay what lies over an image over it, one a turn, and begin."""
        act = self._begin_once_laid if self.work.lay_beforehand() else partial(self._begin, fits=True)
        self._in_turns([partial(act, image, path)])

    def _begin(self, image: Image, path: Path, *, fits: bool) -> None:
        """Fit the view, and begin."""
        work = self.work
        if fits:
            work.viewer.reset_view()
        work.release_hold()
        work.bring_up(image)
        self._arrived, self._is_finishing = path, False
        self._settle()
        self._passage.thaw()
        self._passage.let_mouse_go()
        number = self.series.images.index(path) + 1 if path in self.series.images else 0
        where = f" {number} of {len(self.series.images)}" if number else ""
        work.say(f"{self._said} Image{where}: “{image.name}”.".strip())
        self.changed.emit()

    def _is_settled(self) -> bool:
        image, is_asking = self.work.image, self.work.recovery.is_asking
        return is_asking or self._arrived is None or image is None or source_of(image) != self._arrived

    def _settle(self) -> None:
        """Take up the brush, and the objects that were saved, once it is known whether there is earlier work."""
        work, path = self.work, self._arrived
        if path is None or work.recovery.is_pending or work.image is None or source_of(work.image) != path:
            if work.recovery.is_asking:
                work.images.put_away()
            return
        self._arrived = None
        is_again, self._is_again = self._is_again, False
        if is_again and work.layers is None and objects_beside(path).is_file():
            like = place_of(work.image)
            work.hold()
            self.background.start(lambda: taking_up(path, like))
        elif self._way is not None and self._way.has_brush:
            work.at_once(partial(work.brush, Marker.OBJECT))
        else:
            work.images.put_away()

    # What came of tasks -------------------------------------------------------------------------------------------

    def _take(self, got: Left | Read | Found) -> None:
        try:
            if isinstance(got, Left):
                self.work.at_once(partial(self._left, got))
            elif isinstance(got, Read):
                with units_may_differ():
                    self._read(got)
            else:
                self._found(got)
        except Exception as error:  # a reader, and napari, may raise anything
            self.fail(error)

    def _found(self, got: Found) -> None:
        work, path = self.work, got.session_of
        work.release_hold()
        if work.image is not None and source_of(work.image) == path:
            work.at_once(partial(work.take_saved, got.labels, got.kinds, objects_beside(path)))
            if work.session is not None and work.session.finished:
                self._written.note(path, work.session)

    def fail(self, error: Exception) -> None:
        """Tell why the series does not go on, after what was done; the image stays as it is."""
        self._leaving, self._finished, self._destination = None, None, None
        self._is_again = self._is_finishing = False
        self._passage.end()
        self.work.refuse(error, after=self._said)
        self.changed.emit()

    # Behind it ----------------------------------------------------------------------------------------------------

    def _note(self) -> None:
        self._limits.note(self.work.image)

    def _seconds(self, session: Session | None) -> float:
        """Return how long an image was worked on, since that was counted last."""
        return 0.0 if session is None else session.seconds - self._counted.get(session, 0.0)

    def _way_of(self, image: Image) -> Way:
        layers = self.work.layers
        return way_of(
            [image, *self.work.images.channels],
            self.work.choices(),
            self._limits,
            has_brush=layers is not None and layers.has_brush_in_hand,
        )
