"""Asking: a question is prepared here, answered in a thread, and its answer offered to the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.case import Plane
from napari_probseg.session.session import Session
from napari_probseg.widgets.models import Models
from napari_probseg.widgets.segment.tools import NETWORK, Tools
from napari_probseg.widgets.tasks.adapt import Learnt, adapting
from napari_probseg.widgets.tasks.background import Background, Latest, Task
from napari_probseg.widgets.tasks.complete import Completer, completing, cutting_again
from napari_probseg.widgets.tasks.propagate import propagating
from napari_probseg.widgets.tasks.propose import Answer, Exhibit, proposing, warming_up


@dataclass(frozen=True)
class Place:
    """What of an image is on view.

    Parameters
    ----------
    plane : (axis, index), optional
        The plane of a volume to work on; the whole volume, or an image, if absent.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    """

    plane: Plane | None
    axes: tuple[int, int]


class Asking(QObject):
    """Asks one question at a time, and as a slider moves cuts the latest one alone.

    Parameters
    ----------
    device : str
        Where networks run.
    """

    offered = Signal(object)
    learnt = Signal(object)
    failed = Signal(Exception)
    said = Signal(str)

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device
        self._session: Session | None = None  # whose question is out
        self.background, self._cutting, self._warming = Background(), Latest(), Background()
        for runner in (self.background, self._cutting):
            runner.done.connect(self._take)
            runner.failed.connect(self.failed)
        self.background.said.connect(self.said)
        self._delay = QTimer(self, singleShot=True, interval=1000)
        self._delay.timeout.connect(self._warm_up)

    @property
    def is_busy(self) -> bool:
        """Whether a question is out."""
        return self.background.is_busy

    def propose(self, session: Session, tools: Tools, place: Place) -> None:
        """Ask for candidates."""
        request = session.ask(n=tools.n, seed=None, plane=place.plane)
        self._propose(session, request, tools, place)

    def propose_others(self, session: Session, tools: Tools, place: Place) -> None:
        """Ask for other candidates than those on offer."""
        self._propose(session, session.ask_others(n=tools.n), tools, place)

    def complete(self, session: Session, tools: Tools, place: Place, models: Models) -> None:
        """Ask for the whole object."""
        request, completer = session.ask("complete", plane=place.plane), _completer(session, tools, models)
        self._ask(session, lambda: completing(request, completer, tools.cut, axes=place.axes, device=self._device))

    def carry(self, session: Session, place: Place) -> None:
        """Carry the object from a slice to the others."""
        request = session.ask("carry", plane=place.plane)
        self._ask(session, lambda: propagating(request, axes=place.axes))

    def tune(self, session: Session, tools: Tools, place: Place, models: Models) -> None:
        """Fine-tune the network to the image."""
        request, completer = session.ask("adapt", plane=place.plane), _completer(session, tools, models)
        self._ask(session, lambda: adapting(request, completer, device=self._device))

    def cut_again(self, session: Session, tools: Tools, place: Place, shown: Exhibit) -> None:
        """Cut the completion on offer anew, when the cut that runs has ended, unless a later one comes first."""
        offer = session.on_offer
        if offer is not None and offer.completion is not None:
            self._session = session
            self._cutting.start(lambda: cutting_again(offer, tools.cut, axes=place.axes, advice=shown.advice))

    def give_up(self) -> bool:
        """Withdraw the question that is out, and drop what runs; return whether there was one."""
        was_busy, session = self.is_busy, self._session
        self._cutting.forget()
        self.background.cancel()
        if was_busy and session is not None:
            session.withdraw()
        return was_busy

    def warm_up(self) -> None:
        """Load the network, once the first layers are drawn: that takes the same locks."""
        self._delay.start()

    def cool_down(self) -> None:
        """Load no network that was not begun to load."""
        self._delay.stop()

    def _propose(self, session: Session, request: Any, tools: Tools, place: Place) -> None:
        maker, reach, axes = session.proposer, tools.reach, place.axes
        self._ask(session, lambda: proposing(request, maker, reach=reach, axes=axes, device=self._device))

    def _ask(self, session: Session, task: Task) -> None:
        self._cutting.forget()
        self._session = session
        self.background.start(task)

    def _take(self, got: Answer | Learnt) -> None:
        """Offer an answer to the session that asked, unless its work has moved on."""
        session = self._session
        if session is None or not session.is_current(got.request):
            self.said.emit("The markers changed meanwhile: ask again.")
            return
        if isinstance(got, Learnt):
            self.learnt.emit(got)
            return
        session.offer(got.candidates, got.request, maker=got.maker, completion=got.completion)
        if got.request.verb == "propose":
            session.proposer = got.maker
        elif got.request.verb == "complete" and got.maker is not session.learnt:
            session.completer = got.maker
        self.offered.emit(got)

    def _warm_up(self) -> None:
        self._warming.start(lambda: warming_up(self._device))


def network_in_use(models: Models) -> Completer:
    """Return the network that completes objects, as it is before it is fine-tuned to an image."""
    return Completer(NETWORK if models.completer is None else models.completer.name, models.completer)


def _completer(session: Session, tools: Tools, models: Models) -> Completer:
    """Return the completer that is meant, as it was fine-tuned to the image where that was done."""
    network = models.completer if tools.completer == NETWORK else None
    name = tools.completer if network is None else network.name
    learnt = session.learnt if session.learnt is not None and session.learnt.name == name else None
    return Completer(name, learnt or network, is_learnt=learnt is not None)
