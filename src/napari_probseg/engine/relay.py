"""Relay on a worker of dask.distributed: processes that answer a window on another machine, and their messages."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from napari_probseg.engine.process import WorkerProcess

MAX_SILENCE = 120.0  # seconds after which a window that gives no sign of life is taken to be gone
WATCH_SECONDS = 5.0  # between two looks at that
MAX_BYTES = 2**25  # that are handed on at once

_relays: dict[str, _Relay] = {}


class _Relay:
    """A process on this machine that answers one window."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"napari-probseg-relay-{os.getpid()}-"))
        try:
            self.process = WorkerProcess([self._folder])
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.heard = time.monotonic()
        self.watch: asyncio.Task[None] | None = None  # asyncio itself keeps none alive

    def send(self, messages: list[bytes]) -> None:
        for message in messages:
            self.process.connection.send_bytes(message)

    def receive(self, seconds: float) -> list[bytes | None]:
        """Return the messages that come within so many seconds, at least one if any; None is the last one's end."""
        found: list[bytes | None] = []
        n_bytes, connection = 0, self.process.connection
        try:
            while n_bytes < MAX_BYTES and connection.poll(0 if found else seconds):
                found.append(message := connection.recv_bytes())
                n_bytes += len(message)
        except (EOFError, OSError):
            found.append(None)
        return found

    def end(self, patience: float) -> tuple[int | None, str]:
        try:
            return self.process.end(patience)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


async def open_relay(name: str) -> int:
    """Start a process that answers a window, which gives the name; return the process's number."""
    relay = _relays[name] = await asyncio.to_thread(_Relay)
    relay.watch = asyncio.create_task(_watch(name))
    return relay.process.pid


async def send(name: str, messages: list[bytes]) -> None:
    """Hand messages of a window on to its process."""
    relay = _heard(name)
    await asyncio.to_thread(relay.send, messages)


async def receive(name: str, seconds: float) -> list[bytes | None]:
    """Return what the process tells within so many seconds; None at the end if it is gone."""
    relay = _heard(name)
    return await asyncio.to_thread(relay.receive, seconds)


async def keep(name: str) -> None:
    """Hear that a window is still there."""
    _heard(name)


async def end(name: str, patience: float) -> tuple[int | None, str]:
    """End a process; return what it ended with, and its last words."""
    relay = _relays.pop(name, None)
    return (None, "") if relay is None else await asyncio.to_thread(relay.end, patience)


def _heard(name: str) -> _Relay:
    if name not in _relays:
        raise ConnectionError("the process that answered this window was ended")
    _relays[name].heard = time.monotonic()
    return _relays[name]


async def _watch(name: str) -> None:
    """End a process whose window is gone."""
    while (relay := _relays.get(name)) is not None:
        if time.monotonic() > relay.heard + MAX_SILENCE:
            with suppress(OSError):
                await end(name, 0.0)
            return
        await asyncio.sleep(WATCH_SECONDS)
