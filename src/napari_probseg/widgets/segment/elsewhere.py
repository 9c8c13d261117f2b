"""Elsewhere: networks run on another machine, once the user has said that images may be sent there."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_probseg.engine.models import Model
from napari_probseg.engine.requests import WarmUp
from napari_probseg.widgets.segment.asking import Asking
from napari_probseg.widgets.settings import read_settings
from napari_probseg.widgets.tasks.background import Background

if TYPE_CHECKING:
    from napari_probseg.engine.client import Engine
    from napari_probseg.engine.remote import Cluster


class Elsewhere(QObject):
    """Lets answers come from a cluster of dask.distributed; nothing is sent there before `switch` is called.

    Parameters
    ----------
    asking : Asking
        What is told where to ask.
    device : str
        Where networks run over there.
    """

    changed = Signal()
    said = Signal(str)
    failed = Signal(Exception)

    def __init__(self, asking: Asking, device: str) -> None:
        super().__init__()
        self._address = ""  # where answers come from, once it is switched on
        self._asking, self._device = asking, device
        self._found: tuple[Cluster, Engine] | None = None
        self._looking = Background()
        self._looking.said.connect(self.said)
        self._looking.done.connect(self._take)
        self._looking.failed.connect(self.failed)

    @property
    def address(self) -> str:
        """Address of the cluster's scheduler: that which is on, else that which is set now; empty for none."""
        return self._address if self.is_on else read_settings().compute_on.strip()

    @property
    def is_on(self) -> bool:
        """Whether answers come from there, or it is looked whether they can."""
        return self._found is not None or self._looking.is_busy

    def switch(self, on: bool) -> None:
        """Let answers come from there from now on, if it answers; or from this machine again."""
        if on and not self.is_on:
            self._address = address = self.address
            self._looking.start(lambda: _reaching(address, self._device))
        elif not on and self.is_on:
            self.stop()
            self.said.emit("Answers come from this machine again.")
        self.changed.emit()

    def stop(self) -> None:
        """Let go of the other machine."""
        self._looking.cancel()
        self._asking.ask_at(None)
        found, self._found = self._found, None
        if found is not None:
            _let_go(*found)

    def _take(self, found: tuple[Cluster, Engine]) -> None:
        self._found = found
        self._asking.ask_at(found[1])
        self.said.emit(f"Answers come from {self.address} from now on; the images at work are sent there.")
        self.changed.emit()


def _reaching(address: str, device: str) -> Generator[str, None, tuple[Cluster, Engine]]:
    """Look for a cluster, and start what answers there."""
    from napari_probseg.engine.remote import Cluster

    yield f"Looking for {address}…"
    cluster = Cluster(address)
    engine = cluster.engine(WarmUp(Model(), Model(), device))
    try:
        engine.start()
        yield f"{address} answers…"
    except GeneratorExit:  # it is not wanted any more
        _let_go(cluster, engine)
        raise
    return cluster, engine


def _let_go(cluster: Any, engine: Any) -> None:
    """End what answers over there, in a thread: it may be out of reach."""
    from threading import Thread

    from napari_probseg.engine.remote import ANSWER_SECONDS

    def end() -> None:
        engine.close(patience=ANSWER_SECONDS)
        cluster.close()

    Thread(target=end, daemon=True).start()
