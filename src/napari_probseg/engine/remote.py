"""Remote engine: the process for heavy work runs on another machine, on a worker of a dask.distributed cluster."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import napari_probseg
from napari_probseg.engine import relay
from napari_probseg.engine.client import Engine
from napari_probseg.engine.requests import WarmUp

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 2.0
ANSWER_SECONDS = 60.0  # after which what was called over there is taken to be out of reach
BYTES_A_SECOND = 1e6  # that are sent at least
LOOK_SECONDS = 0.2  # that one look at whether there is a message waits over there
SIGN_SECONDS = 30.0  # between two signs of life


class Cluster:
    """A cluster of dask.distributed that runs already.

    Its worker must have this very version of the package. With an address that begins with ``tls://`` the certificates
    are those of dask's own configuration, and whoever has none gets no answer.

    Parameters
    ----------
    address : str
        Of its scheduler, for example ``tls://workstation:8786``.

    Raises
    ------
    RuntimeError
        If dask.distributed is not installed here.
    ConnectionError
        If there is no cluster at that address, it has no worker, or that has no such package.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed  # noqa: F401 (only whether it is there)
        except ImportError as error:
            raise RuntimeError("computing elsewhere needs dask: pip install 'napari-probseg[cluster]'") from error
        self.address = address
        self._loop = Loop()
        self._client: Any = None
        try:
            self._client = self._loop.do(_connected(address), CONNECT_SECONDS + 2 * CLOSE_SECONDS)
        except Exception as error:  # dask raises of many kinds, and of ill-formed addresses ValueError
            self.close()
            certificates = " and does dask's configuration here name its certificates?" * address.startswith("tls")
            raise ConnectionError(
                f"nothing answers at {address}: is `dask scheduler` running there?{certificates}"
            ) from error
        try:
            self._worker = self._chosen()
        except BaseException:
            self.close()
            raise

    def engine(self, warm_up: WarmUp | None = None) -> Engine:
        """Return an engine whose worker process runs there."""
        return Engine(warm_up, reach=lambda: _RemoteProcess(self))

    def call(self, function: Callable[..., Any], *arguments: Any, n_bytes: int = 0) -> Any:
        """Call a function over there and return what it returns.

        Parameters
        ----------
        function, *arguments
            What is called, and with what.
        n_bytes : int
            How much the arguments are: sending much takes longer.

        Raises
        ------
        ConnectionError
            If it cannot be reached in `ANSWER_SECONDS`, or what it ran there is gone.
        """
        try:
            running = self._running(function, *arguments)
            return self._loop.do(running, ANSWER_SECONDS + n_bytes / BYTES_A_SECOND)
        except Exception as error:
            raise ConnectionError(
                f"{self.address} does not answer any more: ask again later, or compute on this machine"
            ) from error

    def close(self) -> None:
        """Let go of it; what runs there is ended when nothing is heard from here."""
        if self._client is not None:
            with suppress(Exception):  # dask raises of many kinds, and it may be out of reach
                self._loop.do(_closed(self._client), 2 * CLOSE_SECONDS)
        self._loop.stop()

    async def _running(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return (await self._client.run(function, *arguments, workers=[self._worker]))[self._worker]

    def _chosen(self) -> str:
        """Return the address of the worker to ask."""
        workers = self._client.scheduler_info()["workers"]
        if not workers:
            raise ConnectionError(f"no worker has joined the scheduler at {self.address}: start `dask worker` there")
        first = str(min(workers))
        self._worker = first
        try:
            version = self.call(_version)
        except ConnectionError as error:
            raise ConnectionError(f"the worker of {self.address} has no napari-probseg: install it there") from error
        if version != (here := napari_probseg.__version__):
            raise ConnectionError(f"{self.address} has napari-probseg {version}, and not {here} as here")
        return first


class Loop:
    """An event loop in a thread of its own, where a client of dask begins and ends.

    A client that makes its own loop leaves it, and itself, to the garbage collector where it cannot connect; collected
    while the next one begins, they wait for each other for ever.
    """

    def __init__(self) -> None:
        self._is_running = Event()
        self._thread = Thread(target=self._run, name="napari-probseg cluster", daemon=True)
        self._thread.start()
        self._is_running.wait()

    def do(self, coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """Return what a coroutine returns on this loop; cancel it, and raise TimeoutError, if that takes longer."""
        try:
            running = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # stopped
            coroutine.close()
            raise
        try:
            return running.result(seconds)
        finally:
            running.cancel()

    def stop(self) -> None:
        """End the loop, with whatever it is at, and its thread."""
        with suppress(RuntimeError):  # it is stopped
            self._loop.call_soon_threadsafe(self._has_ended.set)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop, self._has_ended = asyncio.get_running_loop(), asyncio.Event()
        self._is_running.set()
        await self._has_ended.wait()


async def _connected(address: str) -> Any:
    """Return a client of dask on the loop that runs; close it whole if it cannot connect."""
    from distributed import Client

    client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, asynchronous=True)
    try:
        return await client
    except BaseException:
        with suppress(Exception):
            await _closed(client)
        raise


async def _closed(client: Any) -> None:
    await client.close(timeout=CLOSE_SECONDS)


class _RemoteProcess:
    """A worker process on another machine; see `napari_probseg.engine.client.Link`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._name, self._has_ended = cluster, secrets.token_hex(16), Event()
        self.pid = int(cluster.call(relay.open_relay, self._name))
        self.connection = _Relayed(cluster, self._name)
        Thread(target=self._give_signs, daemon=True).start()

    def end(self, patience: float = 0.0) -> tuple[int | None, str]:
        """End it; return what it ended with, and its last words, as far as these are still to be had."""
        self._has_ended.set()
        try:
            died_of, last_words = self._cluster.call(relay.end, self._name, patience)
        except ConnectionError as error:
            return None, str(error)
        return died_of, last_words

    def _give_signs(self) -> None:
        while not self._has_ended.wait(SIGN_SECONDS):
            try:
                self._cluster.call(relay.keep, self._name)
            except ConnectionError:
                return


class _Relayed:
    """A connection to a process on another machine, as `multiprocessing.connection.Connection` is one here."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self._name = cluster, name
        self._came: deque[bytes | None] = deque()

    def send_bytes(self, message: Any) -> None:
        self._cluster.call(relay.send, self._name, [bytes(message)], n_bytes=len(message))

    def poll(self, timeout: float) -> bool:
        """Return whether there is a message, or the end of all."""
        if not self._came:
            self._came.extend(self._cluster.call(relay.receive, self._name, min(timeout, LOOK_SECONDS)))
        return bool(self._came)

    def recv_bytes(self) -> bytes:
        while not self.poll(LOOK_SECONDS):
            pass
        message = self._came.popleft()
        if message is None:
            self._came.append(None)
            raise EOFError
        return message

    def recv_bytes_into(self, buffer: bytearray) -> int:
        message = self.recv_bytes()
        buffer[:] = message
        return len(message)


def _version() -> str:
    return napari_probseg.__version__
