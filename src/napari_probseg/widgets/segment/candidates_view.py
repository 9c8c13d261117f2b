"""The candidates on offer: drawn in a thread, shown on the canvas, withdrawn when they no longer fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case
from napari_probseg.widgets.layers.preview import Preview, Uncertainty
from napari_probseg.widgets.tasks.background import Background, Task
from napari_probseg.widgets.tasks.propose import Answer, Exhibit, warm_up

if TYPE_CHECKING:
    from napari.viewer import Viewer


class Offers(QObject):
    """Asks for candidates and shows those that came.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where candidates are previewed.
    """

    answered = Signal(object)
    offered = Signal(object)
    shown = Signal(int)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.current = self._kept = 0
        self.background = Background()
        self.background.done.connect(self.answered)
        self._warming, self._device = Background(), "auto"
        self._warming_delay = QTimer(self, singleShot=True, interval=1000)
        self._warming_delay.timeout.connect(self._warm_up)
        self.preview, self.uncertainty = Preview(viewer), Uncertainty(viewer)
        self.exhibit: Exhibit | None = None
        self._candidates: Candidates | None = None
        self._case: Case | None = None
        self._placement: dict[str, Any] = {}

    def warm_up(self, device: str) -> None:
        """Load the network in a thread, once the first layers are drawn: that takes the same locks."""
        self._device = device
        self._warming_delay.start()

    def _warm_up(self) -> None:
        device = self._device
        self._warming.start(lambda: warm_up(device))

    def ask(self, task: Task) -> None:
        """Run what makes candidates in a thread; ``answered`` tells of them."""
        self.withdraw()
        self.background.start(task)

    def put(self, got: Answer, placement: dict[str, Any]) -> None:
        """Show the candidates that came, the best of them on the canvas."""
        self._candidates, self._case, self._placement = got.candidates, got.request.session.case, placement
        self.exhibit = got.exhibit
        self.uncertainty.take(got.candidates.where, got.exhibit.disagreement)
        self.offered.emit(got.exhibit)
        self.show(0)

    def withdraw(self) -> None:
        """Take the candidates off offer, and give up those that are being drawn."""
        self.background.cancel()
        self.preview.hide()
        if self._candidates is not None:
            self._candidates = self._case = self.exhibit = None
            self.offered.emit(None)

    def forget(self) -> None:
        """Withdraw the candidates, forget where they disagreed, and take the layers away."""
        self._warming_delay.stop()
        self.withdraw()
        self.preview.clear()
        self.uncertainty.forget()

    def show(self, i: int) -> None:
        """Turn to candidate ``i``: the canvas shows it, and a key accepts it."""
        self._kept = i
        self.look(i)

    def look(self, i: int) -> None:
        """Show candidate ``i`` on the canvas until `look_away`."""
        if self._candidates is not None and self._case is not None:
            self.current = i % len(self._candidates)
            self.preview.show(self._candidates, self.current, self._case, self._placement)
            self.shown.emit(self.current)

    def look_away(self) -> None:
        """Show the candidate again that was turned to last."""
        self.look(self._kept)

    def owns(self, layer: Any) -> bool:
        """Return whether a layer is the preview or the uncertainty."""
        return self.preview.holds(layer) or self.uncertainty.holds(layer)
