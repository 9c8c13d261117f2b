"""Process of a worker on this machine: started with a connection to it, and ended."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection
from pathlib import Path
from threading import Timer
from typing import IO, Any

START_SECONDS = 120.0  # after which a worker that has not told its address is taken to hang
# Where the threads of a network wait for one another they spin a little, and sleep then. By default they spin 150 times
# as long, and where the window draws, or anything else has a core, all wait for the thread that has none. Asleep at
# once they take longer for a volume. What a person has set holds.
CALM = {"GOMP_SPINCOUNT": "2000"}


class WorkerProcess:
    """A worker process and the connection to it.

    Parameters
    ----------
    folders : sequence of Path
        It removes them should this process be killed; the last one, which must be on a disk, holds its socket.

    Raises
    ------
    OSError, EOFError, ValueError
        If none can be started.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the worker lives)
        try:
            self._process = _started(self._errors)
        except OSError:
            self._errors.close()
            raise
        key = secrets.token_bytes(32)
        hung = Timer(START_SECONDS, self._process.kill)
        hung.daemon = True
        hung.start()
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            parts = [key, *(os.fsencode(folder) for folder in folders[::-1])]
            self._process.stdin.write(" ".join(part.hex() for part in parts).encode() + b"\n")
            self._process.stdin.flush()
            address = os.fsdecode(self._process.stdout.readline()).rstrip("\r\n")
            if not address:
                raise OSError(f"the worker did not start: {self._last_words()[-500:]}")
            self.connection: Connection[Any, Any] = Client(address, authkey=key)
        except BaseException:
            self._process.kill()
            self._close()
            raise
        finally:
            hung.cancel()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def end(self, patience: float = 0.0) -> tuple[int | None, str]:
        """Kill it, once it had so many seconds to end by itself; return what it ended with, and its last words."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        died_of = self._process.poll()
        self._process.kill()
        with suppress(OSError):
            self.connection.close()
        last_words = self._last_words()
        self._close()
        return died_of, last_words

    def _close(self) -> None:
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            if file is not None:
                with suppress(OSError):
                    file.close()

    def _last_words(self) -> str:
        """Return the end of what the worker wrote as errors; nothing once it was ended."""
        if self._errors.closed:
            return ""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4000))
        return self._errors.read().decode(errors="replace")


def _started(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a worker: not by `multiprocessing`, which would run the main script a second time."""
    command = [sys.executable, "-P", "-m", "napari_probseg.engine"]  # -P: nothing from the folder it is started in
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    pipe, around = subprocess.PIPE, {**({} if "OMP_WAIT_POLICY" in os.environ else CALM), **os.environ}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, creationflags=no_window, env=around)
