"""Client of an engine: starts the worker, sends it one request at a time, and starts it anew where it must."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Protocol

from napari_probseg.engine import wire
from napari_probseg.engine.images import Images, remove_abandoned_folders
from napari_probseg.engine.local import Local
from napari_probseg.engine.process import WorkerProcess
from napari_probseg.engine.requests import Request, WarmUp

logger = logging.getLogger(__name__)

POLL = 0.02  # seconds between two looks at whether a request is still wanted
GRACE = 3.0  # seconds that a worker has to give a request up, before it is killed: another one takes longer to start
FELL_BACK = "The process for heavy work could not be started: the work is done in the window's own, which may stutter."
STARTING = "Starting the process for heavy work…"


class Link(Protocol):
    """A worker process, here or on another machine, and the connection to it."""

    connection: Any

    @property
    def pid(self) -> int:
        """Its number, where it runs."""
        ...

    def end(self, patience: float = 0.0) -> tuple[int | None, str]:
        """End it, once it had so many seconds to do so by itself; return what it ended with, and its last words."""
        ...


class Engine:
    """Answers requests in a worker process, one at a time.

    The worker is started when `start` is called, or by the first request. One that dies, or runs out of memory, or does
    not give a request up, is started anew; one that died between two requests costs neither.

    Parameters
    ----------
    warm_up : WarmUp, optional
        What a worker loads when it is started, before it is asked.
    reach : function, optional
        Starts the worker on another machine, where no file of this one is read and images are sent; see `remote`.
    """

    def __init__(self, warm_up: WarmUp | None = None, *, reach: Callable[[], Link] | None = None) -> None:
        self._warm_up, self._reach = warm_up, reach
        self._turn, self._tickets = Lock(), itertools.count(1)
        self._worker: _Worker | None = None
        self._local: Local | None = None  # where no process can be started
        self._images: Images | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The worker's number, while there is one."""
        return None if self._worker is None else self._worker.link.pid

    def start(self) -> None:
        """Start the worker in a thread, and let it load what it will need."""
        Thread(target=self._start_quietly, daemon=True).start()

    def answering(self, request: Request) -> Generator[Any, Any, Any]:
        """Send a request; yield what is told, or None now and then; return the answer.

        Closing the generator gives the request up; sending it anything tells the request to come to an end by itself,
        where that suits it.

        Raises
        ------
        RuntimeError
            If the worker died of it.
        ValueError, TypeError, LookupError, OSError, MemoryError
            As the request says.
        """
        while not self._turn.acquire(timeout=POLL):
            yield None
        try:
            if self._worker is not None and self._worker.has_ended():
                self._bury(self._worker)
            if self._worker is None and self._local is None:
                yield STARTING
                self._restart()
                if self._local is not None:
                    yield FELL_BACK
            if self._local is not None:
                return (yield from self._local.answering(request))
            return (yield from self._answered(request))
        finally:
            self._turn.release()

    def close(self, patience: float = 0.0) -> None:
        """End the worker, whatever it is at; first wait so many seconds for one that is being started."""
        self._is_closed = True
        if patience and self._turn.acquire(timeout=patience):
            self._turn.release()
        if (worker := self._worker) is not None:
            self._worker = None
            worker.link.end()
        if self._images is not None:
            self._images.close()

    def _answered(self, request: Request) -> Generator[Any, Any, Any]:
        worker, ticket = self._worker, next(self._tickets)
        assert worker is not None
        try:
            worker.send("ask", ticket, request)
            while True:
                got: tuple[str, Any] = worker.receive(ticket) if worker.link.connection.poll(POLL) else ("told", None)
                verb, what = got
                if verb == "told" and (yield what) is not None:
                    worker.send("stop", ticket, None)
                elif verb == "done":
                    return what
                elif verb == "failed":
                    raise what
        except GeneratorExit:
            if not worker.gives_up(ticket):
                self._replace(worker, f"it did not give a request up within {GRACE:g} s")
            raise
        except (EOFError, ConnectionError) as error:
            sentence = self._replace(worker, patience=1.0)
            raise RuntimeError(sentence) from error
        except MemoryError as error:
            self._replace(worker, "it ran out of memory")
            raise MemoryError("there was not enough memory for this: try a smaller region, or a slice") from error

    def _replace(self, worker: _Worker, why: str = "", *, patience: float = 0.0) -> str:
        """End a worker and start another one in a thread; return what there is to say of one that ended by itself.

        Parameters
        ----------
        worker : _Worker
        why : str
            Why it is ended, where it did not end by itself.
        patience : float
            Seconds that it has to end by itself.
        """
        died_of = self._bury(worker, why, patience=patience)
        self.start()
        reason = ", perhaps for lack of memory," if died_of in (-9, 137) else ""
        return f"the process for heavy work ended{reason} and is started anew: nothing is lost, ask again"

    def _bury(self, worker: _Worker, why: str = "", *, patience: float = 0.0) -> int | None:
        """End a worker, or what is left of it, and return what it ended with; see `_replace`."""
        died_of, last_words = worker.link.end(patience)
        self._worker = None
        if why or self._is_closed:
            logger.info("the worker was ended: %s", why or "its window is closed")
        else:
            logger.warning("the worker ended (%s):\n%s", died_of, last_words)
        return died_of

    def _start_quietly(self) -> None:
        with self._turn:
            if self._worker is None and self._local is None and not self._is_closed:
                with suppress(ConnectionError):  # it is told of when it is asked
                    self._restart()

    def _restart(self) -> None:
        """Start a worker and let it warm up; without one, work is done here from now on."""
        if self._is_closed:
            raise RuntimeError("the engine was closed")
        try:
            images = self._open_images()
            worker = _Worker(images, WorkerProcess(images.folders) if self._reach is None else self._reach())
            if self._warm_up is not None:
                worker.send("ask", next(self._tickets), self._warm_up)  # its answer is dropped
            self._worker = worker
            if self._is_closed:  # meanwhile
                self.close()
        except (OSError, EOFError, ValueError) as error:
            if self._reach is not None:
                raise ConnectionError(str(error)) from error
            logger.warning("heavy work runs in this process, since none of its own could be started: %s", error)
            self._local = Local()

    def _open_images(self) -> Images:
        if self._images is None:
            remove_abandoned_folders()
            self._images = Images(are_sent=self._reach is not None)
        return self._images


class _Worker:
    """A worker, and the cases that it was sent."""

    def __init__(self, images: Images, link: Link) -> None:
        self._images, self._cases, self.link = images, wire.Sent(images), link

    def send(self, verb: str, ticket: int, what: Any) -> None:
        wire.send(self.link.connection, (verb, ticket, what), self._cases.name_of)

    def receive(self, wanted: int) -> tuple[str, Any]:
        """Return the verb and the content of the next message; what is read for the worker, or is stale, is ``""``."""
        verb, ticket, what = wire.receive(self.link.connection, self._cases.case_of)
        if verb == "read":
            self.send("region", ticket, self._region(*what))
            return "", None
        return (verb, what) if ticket == wanted else ("", None)

    def has_ended(self) -> bool:
        """Return whether it ended while nothing was asked of it: a request is not to blame, and is sent to the next."""
        try:
            while self.link.connection.poll(0):
                self.receive(0)  # what comes late, of a request that was given up
        except (EOFError, OSError):
            return True
        return False

    def gives_up(self, ticket: int) -> bool:
        """Tell the worker to give a request up; return whether it did in time."""
        end = time.monotonic() + GRACE
        try:
            self.send("cancel", ticket, None)
            while (left := end - time.monotonic()) > 0:
                if self.link.connection.poll(left) and self.receive(ticket)[0] in ("done", "failed"):
                    return True
        except (EOFError, OSError):
            pass
        return False

    def _region(self, key: int, where: Any) -> Any:
        try:
            return self._images.read(key, where)
        except Exception as error:  # the worker raises it
            return error
