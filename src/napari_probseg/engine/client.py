"""Client of an engine: starts the worker, sends it one request at a time, and starts it anew where it must."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import suppress
from multiprocessing.connection import Client, Connection
from threading import Lock, Thread
from typing import IO, Any

from napari_probseg.engine import wire
from napari_probseg.engine.images import Images, remove_abandoned_folders
from napari_probseg.engine.local import Local
from napari_probseg.engine.requests import Request, WarmUp

logger = logging.getLogger(__name__)

POLL = 0.02  # seconds between two looks at whether a request is still wanted
GRACE = 1.0  # seconds that a worker has to give a request up, before it is killed
FELL_BACK = "The process for heavy work could not be started: the work is done in the window's own, which may stutter."
STARTING = "Starting the process for heavy work…"


class Engine:
    """Answers requests in a worker process, one at a time.

    The worker is started when `start` is called, or by the first request. One that dies, or runs out of memory, or does
    not give a request up, is started anew.

    Parameters
    ----------
    warm_up : WarmUp, optional
        What a worker loads when it is started, before it is asked.
    """

    def __init__(self, warm_up: WarmUp | None = None) -> None:
        self._warm_up = warm_up
        self._turn, self._tickets = Lock(), itertools.count(1)
        self._worker: _Worker | None = None
        self._local: Local | None = None  # where no process can be started
        self._images: Images | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The worker's number, while there is one."""
        return None if self._worker is None else self._worker.process.pid

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

    def close(self) -> None:
        """End the worker, whatever it is at."""
        self._is_closed = True
        if (worker := self._worker) is not None:
            self._worker = None
            worker.end()
        if self._images is not None:
            self._images.close()

    def _answered(self, request: Request) -> Generator[Any, Any, Any]:
        worker, ticket = self._worker, next(self._tickets)
        assert worker is not None
        try:
            worker.send("ask", ticket, request)
            while True:
                got: tuple[str, Any] = worker.receive(ticket) if worker.connection.poll(POLL) else ("told", None)
                verb, what = got
                if verb == "told" and (yield what) is not None:
                    worker.send("stop", ticket, None)
                elif verb == "done":
                    return what
                elif verb == "failed":
                    raise what
        except GeneratorExit:
            if not worker.gives_up(ticket):
                self._replace(worker)
            raise
        except (EOFError, ConnectionError) as error:
            sentence = self._replace(worker, patience=1.0)
            raise RuntimeError(sentence) from error
        except MemoryError as error:
            self._replace(worker)
            raise MemoryError("there was not enough memory for this: try a smaller region, or a slice") from error

    def _replace(self, worker: _Worker, *, patience: float = 0.0) -> str:
        """Kill a worker and start another one in a thread; return what there is to say of it."""
        died_of, last_words = worker.end(patience)
        self._worker = None
        logger.warning("the worker ended (%s):\n%s", died_of, last_words)
        self.start()
        reason = " for lack of memory" if died_of in (-9, 137) else ""
        return f"the process for heavy work ended{reason} and is started anew: nothing is lost, ask again"

    def _start_quietly(self) -> None:
        with self._turn:
            if self._worker is None and self._local is None and not self._is_closed:
                self._restart()

    def _restart(self) -> None:
        """Start a worker and let it warm up; without one, work is done here from now on."""
        if self._is_closed:
            raise RuntimeError("the engine was closed")
        try:
            worker = _Worker(self._open_images())
            if self._warm_up is not None:
                worker.send("ask", next(self._tickets), self._warm_up)  # its answer is dropped
            self._worker = worker
        except (OSError, EOFError, ValueError) as error:
            logger.warning("heavy work runs in this process, since none of its own could be started: %s", error)
            self._local = Local()

    def _open_images(self) -> Images:
        if self._images is None:
            remove_abandoned_folders()
            self._images = Images()
        return self._images


class _Worker:
    """A worker process and the connection to it."""

    def __init__(self, images: Images) -> None:
        self._images, self._cases = images, wire.Sent(images)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the worker lives)
        try:
            self.process = _started(self._errors)
        except OSError:
            self._errors.close()
            raise
        key = secrets.token_bytes(32)
        try:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            parts = [key, *(os.fsencode(folder) for folder in images.folders[::-1])]
            self.process.stdin.write(" ".join(part.hex() for part in parts).encode() + b"\n")
            self.process.stdin.flush()
            address = os.fsdecode(self.process.stdout.readline()).rstrip("\r\n")
            if not address:
                raise OSError(f"the worker did not start: {self._last_words()[-500:]}")
            self.connection: Connection[Any, Any] = Client(address, authkey=key)
        except BaseException:
            self.process.kill()
            self._close()
            raise

    def send(self, verb: str, ticket: int, what: Any) -> None:
        wire.send(self.connection, (verb, ticket, what), self._cases.name_of)

    def receive(self, wanted: int) -> tuple[str, Any]:
        """Return the verb and the content of the next message; what is read for the worker, or is stale, is ``""``."""
        verb, ticket, what = wire.receive(self.connection, self._cases.case_of)
        if verb == "read":
            self.send("region", ticket, self._region(*what))
            return "", None
        return (verb, what) if ticket == wanted else ("", None)

    def gives_up(self, ticket: int) -> bool:
        """Tell the worker to give a request up; return whether it did in time."""
        end = time.monotonic() + GRACE
        try:
            self.send("cancel", ticket, None)
            while (left := end - time.monotonic()) > 0:
                if self.connection.poll(left) and self.receive(ticket)[0] in ("done", "failed"):
                    return True
        except (EOFError, OSError):
            pass
        return False

    def end(self, patience: float = 0.0) -> tuple[int | None, str]:
        """Kill it, once it had so many seconds to end by itself; return what it ended with, and its last words."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        died_of = self.process.poll()
        self.process.kill()
        with suppress(OSError):
            self.connection.close()
        last_words = self._last_words()
        self._close()
        return died_of, last_words

    def _close(self) -> None:
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self._errors):
            if file is not None:
                with suppress(OSError):
                    file.close()

    def _last_words(self) -> str:
        """Return the end of what the worker wrote as errors."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4000))
        return self._errors.read().decode(errors="replace")

    def _region(self, key: int, where: Any) -> Any:
        try:
            return self._images.read(key, where)
        except Exception as error:  # the worker raises it
            return error


def _started(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a worker: not by `multiprocessing`, which would run the main script a second time."""
    command = [sys.executable, "-P", "-m", "napari_probseg.engine"]  # -P: nothing from the folder it is started in
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, creationflags=no_window
    )
