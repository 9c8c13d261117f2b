"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Resample = Annotated[
    bool,
    typer.Option("--resample", help="Take masks that lie on other voxels to the nearest of the image's."),
]
