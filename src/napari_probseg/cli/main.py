"""The command line: its commands, and how what goes wrong is told."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any

import typer

from napari_probseg import __version__
from napari_probseg.cli import active_learning
from napari_probseg.cli.measure import evaluate, reproduce
from napari_probseg.cli.segment import complete, demo, more, propose
from napari_probseg.cli.train import train

INTERRUPTED = 130  # exit status after Ctrl+C, as in shells
STOPPED = "stopped; what was written is whole, and the same command goes on where it fills a folder or trains"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(active_learning.app, name="dataset")
for command in (demo, propose, complete, more, train, evaluate, reproduce):
    app.command()(command)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def begin(
    version: Annotated[
        bool, typer.Option("--version", help="Say which release this is.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Segment images that no model has seen: brush a little, choose among proposals, repeat."""


def main() -> None:
    """Run the command line; what a user can mend is told in one sentence."""
    warnings.showwarning = _show  # type: ignore[assignment]
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            typer.echo(f"napari-probseg: {STOPPED}", err=True)
        raise
    except (ValueError, TypeError, OSError, RuntimeError, LookupError, MemoryError) as error:
        typer.echo(f"napari-probseg: {_sentence_of(error)}", err=True)
        sys.exit(1)


def _show(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Show a warning on a line of its own."""
    typer.echo(f"napari-probseg: note: {str(message).splitlines()[0]}", err=True)


def _sentence_of(error: Exception) -> str:
    """Return the first line of an error; of what lacks memory, what to do."""
    said = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    if isinstance(error, OSError) and error.strerror:  # as the system has it
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{where}{error.strerror}"
    first = said.strip().splitlines()[0] if said.strip() else type(error).__name__
    if (
        "out of memory" in said
        or "can't allocate memory" in said
        or (isinstance(error, MemoryError) and ":" not in said)
    ):
        return "there is not enough memory for this: close other programs, or work on a smaller image or a part of it"
    return first
