"""Progress of long work on the command line: a bar on a terminal, plain lines where the output goes elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from napari_probseg.progress import Progress, result_of

T = TypeVar("T")

N_PLAIN_LINES = 10  # of a work whose length is known, where there is no bar


@dataclass(frozen=True)
class Line:
    """What is to be shown of a progress.

    Parameters
    ----------
    text : str
    step, n_steps : int
        How far it is; 0 where that is not known.
    stays : bool
        Whether it is to be read afterwards, too.
    """

    text: str
    step: int = 0
    n_steps: int = 0
    stays: bool = False

    def __str__(self) -> str:
        return f"{self.step}/{self.n_steps}  {self.text}" if self.n_steps else self.text


def line_of(said: str | Progress) -> Line:
    """Return the line of a sentence, or of a step of training with its losses and scores."""
    if isinstance(said, str):
        return Line(said)
    figures = "  ".join(f"{name} {value:.3f}" for name, value in (said.losses | said.validation).items())
    return Line(figures, said.step, said.n_steps, stays=bool(said.validation))


def shown(work: Generator[Any, None, T], line: Callable[[Any], Line] = line_of, *, console: Console | None = None) -> T:
    """Show the progress of a work on the error stream, and return what comes of it.

    Parameters
    ----------
    work : generator
        It yields its progress.
    line : callable
        From a progress to its line.
    console : Console, optional
        Where it is shown.
    """
    console = console or Console(stderr=True)
    with _bar(console) if console.is_terminal else _lines(console) as show:
        return result_of(work, lambda said: show(line(said)))


def show_training(training: Iterator[str | Progress]) -> None:
    """Show a training on the error stream, and at the end how much of it went into data; its sentences stay."""
    from napari_probseg.training.general import ShareOfTime

    share = ShareOfTime()

    def counted() -> Generator[str | Progress, None, None]:
        for said in training:
            if isinstance(said, Progress):
                share.add(said)
            yield said

    shown(counted(), lambda said: replace(line_of(said), stays=True) if isinstance(said, str) else line_of(said))
    if share.seconds:
        Console(stderr=True).print(str(share), highlight=False)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Line], None]]:
    text = TextColumn("{task.description}", markup=False)
    with Bar(BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), text, console=console) as bar:
        task = bar.add_task("", total=None)

        def show(line: Line) -> None:
            bar.update(task, description=line.text, completed=line.step, total=line.n_steps or None)
            if line.stays:
                bar.console.print(str(line), markup=False, highlight=False)

        yield show


@contextmanager
def _lines(console: Console) -> Iterator[Callable[[Line], None]]:
    said: tuple[str, int] = ("", -1)

    def show(line: Line) -> None:
        nonlocal said
        tenth = N_PLAIN_LINES * line.step // line.n_steps if line.n_steps else 0
        now = ("", tenth) if line.n_steps else (line.text, 0)
        if now != said or line.stays:
            console.print(str(line), markup=False, highlight=False, soft_wrap=True)
        said = now

    yield show
