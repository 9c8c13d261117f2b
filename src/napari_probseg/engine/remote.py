"""Remote engine: the process for heavy work runs on another machine, on a worker of a dask.distributed cluster."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import napari_probseg
from napari_probseg.engine import relay
from napari_probseg.engine.client import Engine
from napari_probseg.engine.requests import WarmUp

CONNECT_SECONDS = 10.0
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
            from distributed import Client
        except ImportError as error:
            raise RuntimeError("computing elsewhere needs dask: pip install 'napari-probseg[cluster]'") from error
        self.address = address
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:  # dask raises of many kinds, and of ill-formed addresses ValueError
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

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function over there and return what it returns.

        Raises
        ------
        ConnectionError
            If it cannot be reached, or what it ran there is gone.
        """
        try:
            return self._client.run(function, *arguments, workers=[self._worker])[self._worker]
        except Exception as error:
            raise ConnectionError(f"{self.address} does not answer any more") from error

    def close(self) -> None:
        """Let go of it; what runs there is ended when nothing is heard from here."""
        self._client.close(timeout=2)

    def _chosen(self) -> str:
        """Return the address of the worker to ask."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
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
        self._cluster.call(relay.send, self._name, [bytes(message)])

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
