"""Options that several commands have, and those that do nothing for what is asked."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Resample = Annotated[
    bool,
    typer.Option("--resample", help="Take masks that lie on other voxels to the nearest of the image's."),
]


def refuse_unused(context: typer.Context, subject: str, *names: str) -> None:
    """Raise if an option was given that does nothing for what is asked.

    Parameters
    ----------
    context : typer.Context
        Of the command.
    subject : str
        What is asked for.
    *names : str
        Of the command's arguments that are of no use to it. What the environment tells is for other commands, too.

    Raises
    ------
    ValueError
        If one of them stands on the command line.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"--{name.replace('_', '-')} does nothing for {subject}: leave it out")
