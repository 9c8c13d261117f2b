"""Proposing in a thread: loading the network, drawing the candidates, painting their pictures."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import NOTHING_LEFT, Candidates, Proposer
from napari_probseg.session.request import Request
from napari_probseg.widgets.tasks.torch_import import quiet_import
from napari_probseg.widgets.thumbnails import Thumbnail, thumbnails


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What is shown of candidates beside themselves; what takes long to work out, so that a thread does it.

    Parameters
    ----------
    pictures : list of Thumbnail
        One of each.
    disagreement : (...) float32 array
        Where the samples disagree, in the region that the candidates change: 0 none, 1 half against half.
    in_volume : bool
        Whether they are of a whole volume, not of one plane of it.
    advice : str
        What to do with them, in a sentence.
    """

    pictures: list[Thumbnail]
    disagreement: NDArray[np.float32]
    in_volume: bool
    advice: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a request, for `Session.offer`: candidates, who made them, and what is shown of them.

    Parameters
    ----------
    request : Request
    maker : Proposer
        What made them.
    candidates : Candidates
    exhibit : Exhibit
    completion : Completion, optional
        Of a completer's answer.
    """

    request: Request
    maker: Any
    candidates: Candidates
    exhibit: Exhibit
    completion: Any = None


def proposing(
    request: Request, proposer: Proposer | None, *, reach: float, axes: tuple[int, int], device: str
) -> Generator[str, None, Answer]:
    """Answer a request, yielding a sentence for each part of the work.

    Parameters
    ----------
    request : Request
    proposer : Proposer or None
        The shipped network, loaded if it is not yet, if absent.
    reach : float
        How far to grow, in (0, 1]; for proposers that can.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    device : str
        Where the network runs.
    """
    if proposer is None:
        yield "Loading the network…"
        proposer = loaded(device)
    yield "Drawing candidates…"
    in_volume = request.plane is None and request.case.ndim == 3
    options = taken_by(proposer, reach=reach, **({"ndim": 3} if in_volume else {}))
    if in_volume and "ndim" not in options:
        raise ValueError("this network proposes on slices alone: choose Slice, or complete the volume")
    request = request.with_arguments(**options)
    candidates = proposer.propose(request.question, **request.arguments)
    advice = "Hover to look, click or press a key to accept."
    return Answer(request, proposer, candidates, exhibit(candidates, axes, in_volume=in_volume, advice=advice))


def exhibit(candidates: Candidates, axes: tuple[int, int], *, in_volume: bool, advice: str = "") -> Exhibit:
    """Return what is shown of candidates on a canvas with these axes: downwards, to the right."""
    pictures = thumbnails(candidates, axes, in_volume=in_volume)
    if not len(candidates):
        advice = f"{NOTHING_LEFT[0].upper()}{NOTHING_LEFT[1:]}."
    return Exhibit(pictures, candidates.disagreement(), in_volume, advice)


def taken_by(proposer: Proposer, **wanted: Any) -> dict[str, Any]:
    """Return those of the wanted options that a proposer takes."""
    taken = signature(proposer.propose).parameters
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values())
    return {name: value for name, value in wanted.items() if takes_all or name in taken}


def warming_up(device: str) -> Generator[str, None, None]:
    """Load the network before it is asked for, while the first strokes are drawn; an error waits until then."""
    yield ""
    with suppress(Exception):
        loaded(device)


def loaded(device: str) -> Proposer:
    """Return the shipped proposer; its networks are loaded once for all, which is never to be the window's work."""
    try:
        with quiet_import():
            from napari_probseg.proposers import load_proposer

            return load_proposer(device=device)
    except OSError as error:
        if sys.platform != "win32":
            raise
        # pytorch#166628: on Windows torch's libraries fail to load once Qt has loaded its own.
        raise OSError("torch could not start after Qt: import torch before napari, or start with python -m") from error
