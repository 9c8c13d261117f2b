"""Asking: a question is prepared here, answered by the engine, and its answer offered to the session."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.case import Case, Plane
from napari_probseg.engine.client import FELL_BACK, STARTING, Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.models import Model
from napari_probseg.engine.requests import WarmUp
from napari_probseg.engine.similar import FindSimilar, LookBack
from napari_probseg.session.alike import N_OFFERED
from napari_probseg.session.encoding import Stored
from napari_probseg.session.session import Session
from napari_probseg.similar.examples import Query
from napari_probseg.widgets.models import Models, given
from napari_probseg.widgets.segment.tools import NETWORK, Tools
from napari_probseg.widgets.tasks.adapt import Learnt, adapting
from napari_probseg.widgets.tasks.alike import FoundAlike, finding
from napari_probseg.widgets.tasks.background import Background, Latest, Task
from napari_probseg.widgets.tasks.complete import completing, cutting_again
from napari_probseg.widgets.tasks.propagate import following, propagating
from napari_probseg.widgets.tasks.propose import Answer, going_along, proposing
from napari_probseg.widgets.tasks.recover import restoring


@dataclass(frozen=True)
class Place:
    """What of an image is on view.

    Parameters
    ----------
    plane : (axis, index), optional
        The plane of a volume, or the image of a time series, to work on; the whole volume, or an image, if absent.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    """

    plane: Plane | None
    axes: tuple[int, int]


class Asking(QObject):
    """Asks one question at a time, and as a slider moves cuts the latest one alone.

    Parameters
    ----------
    engine : Engine or Local
        What answers, where models are told by name; proposers that a script hands over run in a thread of the window.
    device : str
        Where networks run.
    """

    offered = Signal(object)
    learnt = Signal(object)
    alike = Signal(object)
    recut = Signal(object)  # what was accepted, cut in another way
    failed = Signal(Exception)
    said = Signal(str)

    def __init__(self, engine: Engine | Local, device: str) -> None:
        super().__init__()
        self._engine = self._home = engine
        self._local, self._device = Local(), device
        self._session: Session | None = None  # whose question is out
        self._is_live = False  # whether it was asked by itself, after a stroke
        self.verb, self._has_come = "", False  # of it, see `Request`; whether a first part of the answer is there
        self.is_for_others = False  # whether the latest question was what else is like the finished objects
        self.background, self._cutting, self._warming = Background(), Latest(), Background()
        for runner in (self.background, self._cutting):
            runner.came.connect(self._take)
            runner.done.connect(self._take)
        self.background.failed.connect(self._fail)
        self._cutting.failed.connect(self.failed)
        self.background.said.connect(self._say)
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

    @property
    def is_live(self) -> bool:
        """Whether a question is out that was asked by itself, after a stroke."""
        return self._is_live and self.is_busy

    @property
    def is_unanswered(self) -> bool:
        """Whether a question is out of which not even a part is answered."""
        return self.is_busy and not self._has_come

    @property
    def awaiting(self) -> Session | None:
        """The session whose strokes wait for an answer that comes by itself, if there is one."""
        return self._session if self.is_live else None

    @property
    def was_live(self) -> bool:
        """Whether the latest question was asked by itself."""
        return self._is_live

    def go_along(self, session: Session, tools: Tools, place: Place, models: Models) -> None:
        """Ask after a stroke for the whole object, and then for other ways to go on."""
        proposer: Any = session.proposer or Model()
        completer = _completer(session, tools, models)
        if not isinstance(proposer, Model) and isinstance(completer, Model) and tools.completer == NETWORK:
            completer = None  # a script's own proposer answers alone
        elif proposer != completer or session.case.ndim_at(place.plane) == 3:
            proposer = None  # its first candidate would be another answer
        elif session.is_chosen:
            completer = None  # what was chosen may be held by another candidate than the first
        request = session.ask(n=tools.n, seed=None, plane=place.plane)
        engine = self.engine_of(completer or proposer)
        options: dict[str, Any] = {"cut": tools.cut, "reach": tools.reach, "axes": place.axes, "device": self._device}
        self._ask(session, lambda: going_along(engine, request, proposer, completer, **options), is_live=True)

    def propose_others(self, session: Session, tools: Tools, place: Place) -> None:
        """Ask for other candidates than those on offer."""
        self._propose(session, session.ask_others(n=tools.n), tools, place)

    def complete(self, session: Session, tools: Tools, place: Place, models: Models) -> None:
        """Ask for the whole object."""
        request, model = session.ask("complete", plane=place.plane), _completer(session, tools, models)
        engine, cut, axes = self.engine_of(model), tools.cut, place.axes
        options: dict[str, Any] = {"axes": axes, "device": self._device, "is_learnt": model is session.learnt}
        self._ask(session, lambda: completing(engine, request, model, cut, **options))

    def carry(self, session: Session, place: Place) -> None:
        """Carry the object from a slice to the others."""
        request = session.ask("carry", plane=place.plane)
        self._ask(session, lambda: propagating(self._engine, request, axes=place.axes))

    def follow(self, session: Session, tools: Tools, place: Place, models: Models) -> None:
        """Follow the object through a time series, from where it is marked or accepted."""
        request, model = session.ask("carry", plane=place.plane), _completer(session, tools, models)
        engine = self.engine_of(model)
        self._ask(session, lambda: following(engine, request, model, axes=place.axes, device=self._device))

    def tune(self, session: Session, tools: Tools, place: Place, models: Models) -> None:
        """Fine-tune the network to the image."""
        request, model = session.ask("adapt", plane=place.plane), _completer(session, tools, models)
        engine = self.engine_of(model)
        self._ask(session, lambda: adapting(engine, request, model, device=self._device))

    def more(
        self,
        session: Session,
        tools: Tools,
        place: Place,
        models: Models,
        *,
        before: Query | None = None,
        memory: Path | None = None,
    ) -> None:
        """Ask for objects like the finished ones, and those of a data set whose examples are in a file.

        Where there are few here, those of the image before are looked at first.
        """
        query, request = session.query_similar(plane=place.plane), session.ask("similar")
        model = _completer(session, tools, models)
        memory = memory if self._engine is self._home else None  # a file of this machine
        asked = FindSimilar(query, N_OFFERED, model, place.axes, self._device, memory)
        back = LookBack(before, model, self._device, memory) if before is not None and asked.needs_others else None
        self._ask(session, lambda: finding(self.engine_of(model), request, asked, back))
        self.is_for_others = True

    def cut_again(self, session: Session, tools: Tools, place: Place) -> None:
        """Cut the completion on offer, or accepted just now, in another way, unless a later cut comes first.

        Other ways to go on beside it, if there are any on offer or on their way, go along.
        """
        offer = session.on_offer or session.accepted
        if offer is not None and offer.completion is not None:
            if self.is_live:
                self.background.cancel()  # the others, as they were cut before
            self._session = session
            asked = offer.completion.cut_as(tools.cut, place.axes)
            asked = asked.alone if offer is session.accepted else asked
            engine = self.engine_of(asked.model)
            self._cutting.start(lambda: cutting_again(engine, offer.request, asked))

    def give_up(self) -> bool:
        """Withdraw the question that is out, and drop what runs; return whether there was one."""
        was_busy, session = self.is_busy, self._session
        self._cutting.forget()
        self.background.cancel()
        if was_busy and session is not None:
            session.withdraw()
        return was_busy

    def call_off(self) -> bool:
        """Give up the question that is out, and have on offer again what was before; return whether there was one."""
        was_busy, session = self.is_busy, self._session
        self._cutting.forget()
        self.background.cancel()
        if was_busy and session is not None:
            session.call_off()
        return was_busy

    def restoring(self, viewer: Any, stored: Stored, case: Case) -> Generator[Any, None, Session]:
        """Make a session of what is stored, in a thread; see `napari_probseg.widgets.tasks.recover.restoring`."""
        model = given(viewer).completer
        return restoring(self.engine_of(model), stored, case, model, device=self._device)

    def ask_at(self, engine: Engine | None) -> None:
        """Ask an engine on another machine from now on; None: the one of this machine again."""
        self.give_up()
        self._engine = engine or self._home

    def start(self) -> None:
        """Start the engine's process, if it is one, so that it is there when it is asked."""
        if isinstance(self._engine, Engine):
            self._engine.start()

    def warm_up(self) -> None:
        """Load the network before it is asked for, once the first layers are drawn."""
        self._delay.start()

    def cool_down(self) -> None:
        """Load no network that was not begun to load."""
        self._delay.stop()

    def _propose(self, session: Session, request: Any, tools: Tools, place: Place) -> None:
        model = session.proposer or Model()
        engine = self.engine_of(model)
        options: dict[str, Any] = {"cut": tools.cut, "reach": tools.reach, "axes": place.axes, "device": self._device}
        self._ask(session, lambda: proposing(engine, request, model, **options))

    def engine_of(self, model: Any) -> Engine | Local:
        """Return what answers with a model."""
        return self._engine if isinstance(model, Model) else self._local

    def _ask(self, session: Session, task: Task, *, is_live: bool = False) -> None:
        self._cutting.forget()
        self._session, self._is_live, self.is_for_others = session, is_live, False
        self.verb, self._has_come = session.asked, False
        self.background.start(task)

    def _take(self, got: Answer | Learnt | FoundAlike) -> None:
        """Offer an answer to the session that asked, unless its work has moved on."""
        session, self._has_come = self._session, True
        accepted = None if session is None else session.accepted
        if accepted is not None and got.request.ticket == accepted.request.ticket:
            self.recut.emit(got)
            return
        if session is None or not session.is_current(got.request):
            self.said.emit("The markers changed meanwhile: ask again.")
            return
        if isinstance(got, FoundAlike):
            self.alike.emit(got)
            return
        if isinstance(got, Learnt):
            self.learnt.emit(got)
            return
        session.offer(got.candidates, got.request, maker=got.maker, completion=got.completion)
        if got.request.verb == "propose":
            if got.maker is not session.learnt:
                session.proposer = got.maker
        elif got.request.verb == "complete" and got.maker is not session.learnt:
            session.completer = got.maker
        self.offered.emit(got)

    def _fail(self, error: Exception) -> None:
        """Have on offer what was before the question that has no answer."""
        if self._session is not None and self._session.on_offer is None:
            self._session.call_off()
        self.failed.emit(error)

    def _say(self, sentence: str) -> None:
        """Tell what is done; of what nobody asked for only that the network is loaded."""
        if not self._is_live or sentence in (STARTING, FELL_BACK):
            self.said.emit(sentence)

    def _warm_up(self) -> None:
        if isinstance(self._engine, Engine):
            self._engine.start()
        else:
            self._warming.start(lambda: self._engine.answering(WarmUp(Model(), None, self._device)))


def _completer(session: Session, tools: Tools, models: Models) -> Any:
    """Return the completer that is meant, as it was fine-tuned to the image where that was done."""
    model = models.completer if tools.completer == NETWORK else Model(tools.completer)
    learnt = session.learnt
    return learnt if learnt is not None and learnt.name == model.name else model
