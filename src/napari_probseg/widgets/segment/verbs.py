"""Verbs: what a user calls by a button, a key or a command; an error becomes one sentence."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple

from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.widgets.messages import sentence_of

AGAIN_MS = 20  # until it is tried again to do what waits

logger = logging.getLogger(__name__)


class NotYetError(RuntimeError):
    """What was asked for waits for something short, and is done after that.

    Parameters
    ----------
    sentence : str
    again_ms : int
        Milliseconds until it is tried again.
    """

    def __init__(self, sentence: str = "", again_ms: int = AGAIN_MS) -> None:
        super().__init__(sentence)
        self.again_ms = again_ms


class _Act(NamedTuple):
    """What is to be done, and by which name it is known; a verb takes in strokes first."""

    what: Callable[[], Any]
    name: str = ""
    is_verb: bool = True


class Speaking(QObject):
    """Tells the user what was done, and why something was not; what cannot be done yet is done a moment later."""

    changed = Signal()
    acted = Signal()  # what a person asked for is done, with all that it led to
    said = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self.is_held = False  # while a file is read or written: verbs wait
        self._n_acts = 0  # under way, one within another
        self._waiting: deque[_Act] = deque()
        self._is_first = False  # whether what is asked for is done before what waits
        self._again = QTimer(self, singleShot=True)
        self._again.timeout.connect(self._go_on)

    @property
    def subject(self) -> object:
        """What a person is at."""
        return None

    @property
    def is_acting(self) -> bool:
        """Whether what a person asked for is being done; `acted` tells of its end."""
        return self._n_acts > 0

    def say(self, sentence: str) -> None:
        """Tell the user something."""
        self.said.emit(sentence, False)

    def refuse(self, error: Exception, *, after: str = "") -> None:
        """Tell the user in one sentence why something was not done, after what was; a log if asked for has all."""
        logger.info("refused", exc_info=error)  # the console of a user stays free of tracebacks
        self.said.emit(f"{after} {sentence_of(error)}".strip(), True)
        self.changed.emit()

    def take_strokes(self) -> None:
        """Take in what was painted; every verb does it first."""

    def act(self, what: Callable[[], Any], name: str = "") -> None:
        """Do what the user asked for, or let it wait; an error becomes one sentence.

        Parameters
        ----------
        what : function
            Raises `NotYetError`, before it changes anything, where it has to wait.
        name : str
            By which `awaits` knows it.
        """
        act = _Act(what, name)
        if self._waiting and not self._is_first:
            self._wait(act)
            return
        try:
            self._do(act)
        except NotYetError as reason:
            self._wait(act)
            if not self.is_held:  # else what is said tells of the file
                self.say(sentence_of(reason))

    def wait(self, what: Callable[[], Any]) -> None:
        """Do something after all that waits, in a turn of its own: no verb, it may be a part of a stroke."""
        self._wait(_Act(what, is_verb=False))

    def awaits(self, name: str) -> bool:
        """Return whether something of a name waits."""
        return any(name == act.name for act in self._waiting)

    def at_once(self, what: Callable[[], Any]) -> Any:
        """Do something before what waits: it is what that waits for."""
        before, self._is_first = self._is_first, True
        try:
            return what()
        finally:
            self._is_first = before

    def _do(self, act: _Act) -> None:
        self._n_acts += 1
        try:
            if self.is_held:
                raise NotYetError("a file is being read or written: one moment")
            if act.is_verb:
                self.take_strokes()
            self.at_once(act.what)
        except NotYetError:
            raise
        except (ValueError, TypeError, RuntimeError, LookupError, OSError, MemoryError) as error:
            self.refuse(error)
        finally:
            self._n_acts -= 1
            if not self._n_acts:
                self.acted.emit()

    def forget_waiting(self) -> None:
        """Do nothing of what waits."""
        self._waiting.clear()

    def _wait(self, act: _Act) -> None:
        self._waiting.append(act)
        self._again.start(0)

    def _go_on(self) -> None:
        """Do what waits as far as it need not wait any longer."""
        while self._waiting:
            first = self._waiting.popleft()
            try:
                self._do(first)
            except NotYetError as reason:
                self._waiting.appendleft(first)
                self._again.start(reason.again_ms)
                return


def verb(method: Callable[..., Any]) -> Callable[..., None]:
    """Make a method of `Speaking` one the user calls: strokes are taken in first, an error becomes one sentence.

    While a file is read or written it waits.
    """

    @wraps(method)
    def called(self: Speaking, *args: Any) -> None:
        self.act(partial(method, self, *args))

    return called


def verb_of_subject(method: Callable[..., Any]) -> Callable[..., None]:
    """Make a method a verb about a part of what a person is at, a candidate or an object: it is done on nothing else.

    Where the work has gone on to another image while the verb waited, that is said.
    """

    @wraps(method)
    def called(self: Speaking, *args: Any) -> None:
        subject = self.subject

        def do() -> None:
            if subject is not None and self.subject is not subject:
                raise RuntimeError("another image is at work by now: nothing was done on it")
            method(self, *args)

        self.act(do)

    return called
