"""Worker of an engine: answers one request at a time, and gives one up where it stands."""

from __future__ import annotations

import _thread
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.engine import wire
from napari_probseg.engine.models import Resources

INSIST_SECONDS = 0.05  # between two interruptions of what is to be given up
_PLAIN = (MemoryError, ValueError, TypeError, LookupError, OSError, RuntimeError)


class GivenUp(BaseException):
    """The request is not wanted any more; no ``except Exception`` on the way holds it up."""


class Server:
    """Answers the requests that come through a connection, in the main thread of its process.

    Messages come as (verb, ticket, what): ``ask`` a request, ``stop`` or ``cancel`` it, ``region`` that was asked for.
    They go as (verb, ticket, what): ``told``, ``done``, ``failed``, ``read``.

    Parameters
    ----------
    connection : Connection
    folders : list of str
        Removed should the other process be killed.
    """

    def __init__(self, connection: Connection[Any, Any], folders: list[str]) -> None:
        self._connection, self._folders = connection, folders
        self._asked: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._regions: queue.Queue[tuple[int, NDArray[Any]]] = queue.Queue()
        self._sending = threading.Lock()
        self._cases = wire.Received(self._read)
        self._resources = Resources()
        self._ticket = 0  # of what is being answered; 0 is nothing
        self._given_up: set[int] = set()
        self._stopped: set[int] = set()

    def serve(self) -> None:
        """Answer requests until the other process is gone, and this one with it."""
        signal.signal(signal.SIGINT, self._interrupted)
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            ticket, request = self._asked.get()
            if ticket in self._given_up:  # which was told
                continue
            try:
                self._resources.stop.clear()
                if ticket in self._stopped:
                    self._resources.stop.set()
                self._ticket = ticket
                self._answer(ticket, request)
            except GivenUp:
                self._ticket = 0
                self._tell_given_up(ticket)
            finally:
                self._ticket = 0
            del request  # an image that is large may go

    def _answer(self, ticket: int, request: Any) -> None:
        try:
            steps = request.answer(self._resources)
            while True:
                try:
                    told = next(steps)
                except StopIteration as stop:
                    result = stop.value
                    break
                self._send("told", ticket, told)
            self._ticket = 0
            self._send("done", ticket, result)
        except Exception as error:
            self._ticket = 0
            self._send("failed", ticket, plain(error))

    def _send(self, verb: str, ticket: int, what: Any) -> None:
        held, self._ticket = self._ticket, 0  # a message is sent whole
        with self._sending:
            wire.send(self._connection, (verb, ticket, what), self._cases.name_of)
        self._ticket = held
        if held in self._given_up:
            raise GivenUp

    def _give_up(self, ticket: int) -> None:
        """Give a request up where it stands; one that waits, or has to load or import something, is told of at once.

        Else the client would take this process to hang.
        """
        self._given_up.add(ticket)
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        if ticket != self._ticket or self._resources.is_loading or _is_importing(main):
            self._tell_given_up(ticket)
        threading.Thread(target=self._insist, args=(ticket,), daemon=True).start()

    def _insist(self, ticket: int) -> None:
        """Interrupt the main thread until it has given a request up: what Python calls back by itself swallows that."""
        while True:
            _thread.interrupt_main()
            time.sleep(INSIST_SECONDS)
            if self._ticket != ticket:
                return

    def _tell_given_up(self, ticket: int) -> None:
        with self._sending:
            wire.send(self._connection, ("failed", ticket, RuntimeError("given up")), self._cases.name_of)

    def _interrupted(self, _: int, frame: FrameType | None) -> None:
        """Called in the main thread, between two of its instructions: not of an import, which could not be repeated."""
        is_meant = self._ticket and self._ticket in self._given_up
        if is_meant and not self._resources.is_loading and not _is_importing(frame):
            raise GivenUp

    def _listen(self) -> None:
        try:
            while True:
                verb, ticket, what = wire.receive(self._connection, self._cases.case_of)
                if verb == "ask":
                    self._asked.put((ticket, what))
                elif verb == "region":
                    self._regions.put((ticket, what))
                elif verb == "stop":
                    self._stopped.add(ticket)
                    if ticket == self._ticket or not self._ticket:
                        self._resources.stop.set()
                else:
                    self._give_up(ticket)
        except (EOFError, OSError):
            for folder in self._folders:
                shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)  # whatever the main thread is at

    def _read(self, key: int, where: Any) -> NDArray[Any]:
        asked, of = self._ticket, 0
        self._send("read", asked, (key, where))
        while of != asked:  # another one is of a request that was given up while it was read for
            of, region = self._regions.get()
        if isinstance(region, Exception):
            raise region
        return np.asarray(region)


def plain(error: Exception) -> Exception:
    """Return an error that any process can read, with its traceback as a note: torch's own would import torch."""
    note = "".join(traceback.format_exception(error))
    kind = type(error)
    if kind.__module__ != "builtins" and not kind.__module__.startswith("napari_probseg"):
        is_full = "out of memory" in str(error).lower() or "not enough memory" in str(error).lower()
        base = MemoryError if is_full else next((base for base in _PLAIN if isinstance(error, base)), RuntimeError)
        error = base(str(error))
    elif kind is RuntimeError and ("not enough memory" in str(error) or "can't allocate memory" in str(error)):
        error = MemoryError(str(error))  # as torch says it of a CPU
    error.__cause__ = error.__context__ = error.__traceback__ = None
    error.add_note(note)
    return error


def main() -> None:
    """Serve the process that started this one: it gives a key and folders, and is given an address."""
    key, *folders = (bytes.fromhex(part) for part in sys.stdin.readline().split())
    threading.Thread(target=_end_with_window, args=(folders,), daemon=True).start()
    address = None if os.name == "nt" else str(Path(os.fsdecode(folders[0])) / f"w{os.getpid()}")
    with suppress(AttributeError, OSError):  # the window comes first
        os.nice(5)
    with Listener(address, authkey=key) as listener:
        sys.stdout.write(f"{listener.address}\n")
        sys.stdout.flush()
        connection = listener.accept()
    os.dup2(2, 1)  # what libraries print
    Server(connection, [os.fsdecode(folder) for folder in folders]).serve()


def _end_with_window(folders: list[bytes]) -> None:
    """End this process once the other end of its standard input is closed: its window is gone, however early."""
    sys.stdin.read()
    for folder in folders:
        shutil.rmtree(os.fsdecode(folder), ignore_errors=True)
    os._exit(0)


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether what is done in a frame is a part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
