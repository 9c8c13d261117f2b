"""Recovery: journals of the images of a viewer, and the offer to go on where one was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod

from napari.layers import Image
from napari.settings import get_settings
from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.case import Case
from napari_probseg.session.encoding import Stored
from napari_probseg.session.journal import (
    ENDING,
    MAX_AGE_DAYS,
    MAX_BYTES,
    Kept,
    Subject,
    new_path,
    remember,
    remembered,
    tidy,
)
from napari_probseg.session.learnt import can_be_kept
from napari_probseg.session.session import Session
from napari_probseg.widgets.layers.image import case_of
from napari_probseg.widgets.layers.source import reader_of, source_of
from napari_probseg.widgets.messages import sentence_of
from napari_probseg.widgets.segment.verbs import NotYetError
from napari_probseg.widgets.settings import BESIDE_IMAGE
from napari_probseg.widgets.tasks.background import Background
from napari_probseg.widgets.tasks.recover import ASIDE, Earlier, journals_of, looking, n_channels_before, recovering

logger = logging.getLogger(__name__)
_MAX_WAIT = 0.04  # s for the disk, while the window stands still


class Recovery(QObject):
    """Keeps a journal of the work on each image, and finds the earlier ones of an image that is opened.

    Parameters
    ----------
    place : str
        Where new journals are: `Settings.journal`.
    restoring : function
        A task that makes a session of what is stored, on a case.
    lay : function
        Makes one of the layers that a session will need, and returns whether there was one to make.
    """

    changed = Signal()
    said = Signal(str, bool)
    recovered = Signal(object, object)  # the image, its session

    def __init__(
        self, place: str, restoring: Callable[[Stored, Case], Generator[Any, None, Session]], lay: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._place, self._restoring, self._lay = place, restoring, lay
        self._looked_for: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()
        self._image: Image | None = None  # of the question
        self._channels: tuple[Image, ...] = ()
        self._goes_on = False  # with what is found, without asking
        self._is_tidied = False
        self._is_put_off = False  # until the image at work lies as its file tells
        self._expected: Path | None = None  # the journal that the user has chosen to go on with already
        self._expects_latest = False  # whether that is the latest one of the image that is turned to next
        self.earlier: Earlier | None = None
        self.told_of_others = ""  # where further work is on the image that was gone on with, in words
        self._restored: Session | None = None  # whose layers are being made
        self._background = Background()
        self._background.said.connect(self._say)
        self._background.done.connect(self._take)
        self._background.failed.connect(self._fail)

    def refuse_while_pending(self) -> None:
        """Raise if it is not known yet, or not answered, whether to go on with earlier work."""
        if self._is_at_work:
            raise NotYetError("earlier work on this image is looked for: one moment")
        if self.earlier is not None:
            raise RuntimeError("earlier work on this image was found: choose Go on or Start anew first")

    @property
    def _is_at_work(self) -> bool:
        """Whether earlier work is looked for, or will be, or is made into a session with its layers."""
        return self._is_put_off or self._background.is_busy or self._restored is not None

    @property
    def is_pending(self) -> bool:
        """Whether it is not known yet, or not answered, whether to go on with earlier work."""
        return self._is_put_off or self._background.is_busy or self.earlier is not None

    @property
    def is_asking(self) -> bool:
        """Whether a person is asked whether to go on with earlier work."""
        return self.earlier is not None and not self._is_at_work

    def keep(self, session: Session, image: Image) -> None:
        """Let a session have a journal from now on."""
        subject = subject_of(image)
        folder = self._folders(subject)[0]
        if folder != settings_folder():
            remember(folder, _places())
        session.keep(new_path(folder, subject.name), subject=subject, told=_while_it_lives(self._tell))

    def put_aside(self, session: Session) -> None:
        """Let the journal of a session go that is replaced: it is kept, and offered no more."""
        if session.journal is not None:
            session.journal.close()
            _put_aside(session.journal.path)

    def folders(self) -> list[Path]:
        """Return where there may be journals of any image."""
        return [settings_folder(), *remembered(_places())]

    def expect(self, kept: Kept) -> None:
        """Go on with some earlier work without asking, as soon as its image is there and is the same."""
        self._expected = kept.path

    def expect_latest(self) -> None:
        """Go on without asking with the latest work on the image that is turned to next, if it is the same."""
        self._expects_latest = True

    def put_off(self, image: Image) -> None:
        """Wait until `look` is called once more: how an image lies is put right first, and is compared."""
        expects_latest = self._goes_on
        self.forget_image(image)
        self._expects_latest, self._is_put_off = expects_latest, True

    def look(self, image: Image | None, channels: Sequence[Image] = ()) -> None:
        """Look for earlier work on an image with its further channels, once."""
        self._goes_on, self._expects_latest = self._expects_latest, False
        if self._is_put_off:
            self._is_put_off = False
            self.changed.emit()
        if image is None or image in self._looked_for:
            return
        self._looked_for[image] = True
        try:
            case, subject = case_of(image, channels), subject_of(image)
        except (ValueError, TypeError):  # the first verb says so
            return
        folders = self._folders(subject)
        paths = journals_of(folders, case, subject)
        self._tidy(folders, keep=paths)
        if paths:
            self._image, self._channels = image, tuple(channels)
            self._background.start(lambda: looking(paths, case, subject))
            self.changed.emit()
        elif n := n_channels_before(folders, case, subject):
            self._say(f"There is earlier work on this image with {n} channels: choose those above, and go on with it.")

    def look_again(self, image: Image, channels: Sequence[Image]) -> None:
        """Look for earlier work on an image with other further channels than before."""
        self.forget_image(image)
        self.look(image, channels)

    def forget(self) -> None:
        """Look no further, for the image at work is another one; the question comes again with the image."""
        if self._image is not None and self.is_pending:
            self._looked_for.pop(self._image, None)
        self._background.cancel()
        self._is_put_off = False
        self.earlier = self._image = self._restored = None

    def forget_image(self, image: Image) -> None:
        """Look anew for work on an image should it come back."""
        if image is self._image:
            self.forget()
        self._looked_for.pop(image, None)

    def go_on(self) -> None:
        """Go on with the earlier work."""
        earlier, image = self.earlier, self._image
        if earlier is not None and image is not None and self.is_asking:
            case = case_of(image, self._channels)
            self._background.start(lambda: recovering(earlier, case, self._restoring))
            self.changed.emit()

    def start_anew(self) -> None:
        """Put the earlier work aside."""
        if (earlier := self.earlier) is None or not self.is_asking:
            return
        where = earlier.kept.path
        if not earlier.difference:  # else it is the work on another image, which may come back
            for path in (earlier.kept.path, *earlier.older):
                aside = _put_aside(path)
                where = aside if path == earlier.kept.path else where
        self.earlier = None
        self._say(f"The earlier work stays in a file for {MAX_AGE_DAYS} days: ••• > Open session… > {where}")
        self.changed.emit()

    def _take(self, got: Earlier | Session | None) -> None:
        if isinstance(got, Session):
            self._restored = got
            self._lay_next()
        else:
            self.earlier, expected, self._expected = got, self._expected, None
            self._say("")
            if got is not None and (self._goes_on or got.kept.path == expected) and not got.difference:
                self.go_on()
        self.changed.emit()

    def _lay_next(self) -> None:
        """Make the layers of the session, each in a turn of the event loop of its own, and then hand it over."""
        if (session := self._restored) is None:
            return
        if self._lay():
            QTimer.singleShot(0, self._lay_next)
        else:
            self._restored = None
            self._recover(session)
            self.changed.emit()

    def _recover(self, session: Session) -> None:
        earlier, image, self.earlier = self.earlier, self._image, None
        if earlier is None or image is None:
            return
        others = [] if earlier.difference else earlier.older
        self.told_of_others = f" Other work on it is in a file: ••• > Open session… > {others[0]}." if others else ""
        try:
            if earlier.difference:
                self.keep(session, image)
            else:
                subject = earlier.kept.subject
                session.keep(earlier.kept.path, kept=earlier.kept, subject=subject, told=_while_it_lives(self._tell))
        except OSError as error:
            self.said.emit(sentence_of(error), True)
            self.look_again(image, self._channels)  # what another window has done of it meanwhile
            return
        self.recovered.emit(image, session)

    def _fail(self, error: Exception) -> None:
        logger.info("could not go on", exc_info=error)
        self.said.emit(sentence_of(error), True)
        self.earlier = None
        self.changed.emit()

    def _tell(self, sentence: str) -> None:
        """Say what is wrong with a journal; called in its thread."""
        with suppress(RuntimeError):  # the window is gone
            if sentence:
                self.said.emit(f"{sentence[0].upper()}{sentence[1:]}. The work goes on in memory.", True)
            else:
                self.said.emit("The journal is written again.", False)

    def _say(self, sentence: str) -> None:
        self.said.emit(sentence, False)

    def _folders(self, subject: Subject) -> list[Path]:
        """Return where journals of an image are looked for; new ones are written to the first."""
        folders = [settings_folder()]
        if subject.source:
            beside = Path(subject.source).parent
            folders.insert(0 if self._place == BESIDE_IMAGE else 1, beside)
        return folders

    def _tidy(self, folders: list[Path], *, keep: list[Path]) -> None:
        """Remove what is too old or too much, once, but what is of the image that was opened, and say so."""
        removed = [path for folder in ([] if self._is_tidied else folders) for path in tidy(folder, keep=keep)]
        self._is_tidied = True
        if removed:
            self._say(
                f"Removed {len(removed)} journals of earlier work: {MAX_AGE_DAYS} days older than the last, or beyond "
                f"{MAX_BYTES / 1e9:.0f} GB."
            )


def _while_it_lives(method: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that calls a method as long as its owner lives, which a journal is not to keep alive."""
    reference = WeakMethod(method)

    def call(sentence: str) -> None:
        if (alive := reference()) is not None:
            alive(sentence)

    return call


def is_in_journal(session: Session | None) -> bool:
    """Return whether all that was done on an image is found again when it is opened anew."""
    if session is None or not session.steps:
        return True
    is_written = session.journal is not None and session.journal.flush(_MAX_WAIT)
    return is_written and (session.learnt is None or can_be_kept(session.learnt))


def subject_of(image: Image) -> Subject:
    """Return the name of an image, the path of its file, and what read it."""
    path = source_of(image)
    return Subject(image.name) if path is None else Subject(image.name, str(path), reader_of(image))


def settings_folder() -> Path:
    """Return the folder of journals beside napari's settings."""
    path: Any = get_settings().config_path
    return (Path(path).parent if path else Path.home() / ".napari-probseg") / "probseg-journals"


def _places() -> Path:
    """Return the file that tells of further folders of journals."""
    return settings_folder() / "folders.json"


def _put_aside(path: Path) -> Path:
    """Rename a journal so that it is offered no more; return where it is."""
    aside = path.with_name(path.name.removesuffix(ENDING) + ASIDE)
    try:
        return path.replace(aside)
    except OSError:
        return path
