"""Engine of the windows of this process: one worker answers them all."""

from __future__ import annotations

import atexit
from functools import cache

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.models import Model
from napari_probseg.engine.requests import WarmUp


@cache
def engine(device: str) -> Engine | Local:
    """Return the engine of the windows; its worker is started when it is told to, or first asked.

    Parameters
    ----------
    device : str
        What it warms up for.
    """
    shared = Engine(WarmUp(Model(), Model(), device))
    atexit.register(shared.close)
    return shared


def another() -> Engine | Local:
    """Return an engine for long work beside the windows; whoever has it closes it."""
    own = Engine()
    atexit.register(own.close)
    return own
