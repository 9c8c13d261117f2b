"""Asking a completer, in a thread: loading it, completing the object, cutting it again as a slider moves."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Plane
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.plane import in_volume
from napari_probseg.session.session import Session
from napari_probseg.widgets.tasks.background import Background, Task
from napari_probseg.widgets.tasks.propose import Answer, exhibit
from napari_probseg.widgets.tasks.torch_import import quiet_import

if TYPE_CHECKING:
    from napari_probseg.proposers.histogram_cut import GraphCut
    from napari_probseg.proposers.unet_cut import UNetCut

_loading = Lock()
_given: dict[str, UNetCut] = {}


@dataclass(frozen=True)
class CompletionRequest:
    """What a completer is asked for, noted on the main thread and answered in another.

    Parameters
    ----------
    session : Session
        Whose case is in question.
    completer : str
        What `load_completer` calls it.
    plane : (axis, index), optional
        The plane of a volume; the volume if absent.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    cut : CutConfig
        How the mask is cut.
    learnt : UNetCut, optional
        The completer that was fine-tuned to the image, if there is one.
    """

    session: Session
    completer: str
    plane: Plane | None
    axes: tuple[int, int]
    cut: CutConfig
    learnt: UNetCut | None = None


@dataclass(frozen=True, eq=False)
class Completed(Answer):
    """What came of a request, with what is needed to cut it anew."""

    question: Case
    completion: Completion


def completed(request: CompletionRequest, device: str) -> Generator[str, None, Completed]:
    """Answer a request, yielding a sentence for each part of the work."""
    yield "Loading the network…"
    completer = request.learnt or loaded(request.completer, device)
    yield "Looking at the image…"
    question = request.session.question(request.plane)
    seen = question if request.plane is None else question.plane(*request.plane)
    completion = completer.complete(seen)
    yield "Cutting the object out…"
    candidates = _cut(completion, question, request)
    shown = exhibit(candidates, request)
    return Completed(request, asdict(request.cut), completer, candidates, shown, question, completion)


def cut_again(got: Completed, cut: CutConfig) -> Generator[str, None, Completed]:
    """Cut a completion in another way: the network is not asked again."""
    yield ""
    request = replace(got.request, cut=cut)
    candidates = _cut(got.completion, got.question, request)
    shown = exhibit(candidates, request)
    return replace(got, request=request, options=asdict(cut), candidates=candidates, exhibit=shown)


def _cut(completion: Completion, question: Case, request: CompletionRequest) -> Candidates:
    candidates = completion.candidates(request.cut)
    return candidates if request.plane is None else in_volume(candidates, question, request.plane)


def loaded(name: str, device: str) -> UNetCut | GraphCut:
    """Return a completer: one that was given, or a shipped one, loaded once."""
    with _loading:
        return _given.get(name) or _load(name, device)


def give(completer: UNetCut) -> None:
    """Let `loaded` return a completer under its name: one that was adopted."""
    _given[completer.name] = completer


@cache
def _load(name: str, device: str) -> Any:
    with quiet_import():
        from napari_probseg.proposers import load_completer

        return load_completer(name, device=device)


class Latest(QObject):
    """Runs one task at a time and of those that come meanwhile the latest alone: for sliders."""

    done = Signal(object)
    failed = Signal(Exception)

    def __init__(self) -> None:
        super().__init__()
        self._background = Background()
        self._background.done.connect(self._finish)
        self._background.failed.connect(self._fail)
        self._next: Task | None = None

    def start(self, task: Task) -> None:
        """Run a task, when the one that runs has ended."""
        if self._background.is_busy:
            self._next = task
        else:
            self._background.start(task)

    def forget(self) -> None:
        """Drop what runs and what waits."""
        self._next = None
        self._background.cancel()

    def _finish(self, result: Any) -> None:
        self._go_on()
        self.done.emit(result)

    def _fail(self, error: Exception) -> None:
        self._go_on()
        self.failed.emit(error)

    def _go_on(self) -> None:
        task, self._next = self._next, None
        if task is not None:
            self._background.start(task)
