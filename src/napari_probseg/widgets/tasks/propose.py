"""Asking a proposer, in a thread: loading it, drawing the candidates, painting their pictures."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, signature
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Plane
from napari_probseg.session.session import Session
from napari_probseg.widgets.segment.thumbnails import Thumbnail, thumbnails
from napari_probseg.widgets.tasks.torch_import import quiet_import

_loading = Lock()


@dataclass(frozen=True)
class Request:
    """What a proposer is asked for, noted on the main thread and answered in another.

    Parameters
    ----------
    session : Session
        Whose case is in question.
    n : int
        How many candidates to offer.
    seed : int
        The seed of the samples.
    plane : (axis, index), optional
        The plane of a volume on view; the volume if absent.
    reach : float
        How far to grow, in (0, 1]; for proposers that can.
    axes : (int, int)
        The axes on the canvas: downwards, to the right.
    """

    session: Session
    n: int
    seed: int
    plane: Plane | None
    reach: float
    axes: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a request: of whom, with which of the options, and what is shown of it.

    What takes long to work out in a large volume is here, so that it is done in the thread.
    """

    request: Any
    options: dict[str, Any]
    maker: Proposer
    candidates: Candidates
    exhibit: Exhibit


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What is shown of candidates beside themselves.

    Parameters
    ----------
    pictures : list of Thumbnail
        One of each.
    disagreement : (...) float32 array
        Where the samples disagree, in the region that the candidates change: 0 none, 1 half against half.
    in_volume : bool
        Whether they are of a whole volume, not of one plane of it.
    """

    pictures: list[Thumbnail]
    disagreement: NDArray[np.float32]
    in_volume: bool


def answer(request: Request, proposer: Proposer | None, device: str) -> Generator[str, None, Answer]:
    """Answer a request, yielding a sentence for each part of the work; loads the network if there is none yet."""
    if proposer is None:
        yield "Loading the network…"
        proposer = loaded(device)
    yield "Drawing candidates…"
    case, in_volume = request.session.question(request.plane), of_volume(request)
    wanted = options(proposer, reach=request.reach, **({"ndim": 3} if in_volume else {}))
    if in_volume and "ndim" not in wanted:
        raise ValueError("this network proposes on slices alone: choose Slice, or complete the volume")
    candidates = proposer.propose(case, request.n, seed=request.seed, plane=request.plane, **wanted)
    return Answer(request, wanted, proposer, candidates, exhibit(candidates, request))


def of_volume(request: Any) -> bool:
    """Return whether a request is for a whole volume, not for one plane of it or for an image."""
    return request.plane is None and request.session.case.ndim == 3


def exhibit(candidates: Candidates, request: Any) -> Exhibit:
    """Return what is shown of the candidates that a request brought."""
    in_volume = of_volume(request)
    pictures = thumbnails(candidates, request.axes, in_volume=in_volume)
    return Exhibit(pictures, candidates.disagreement(), in_volume)


def options(proposer: Proposer, **wanted: Any) -> dict[str, Any]:
    """Return those of the wanted options that a proposer takes."""
    taken = signature(proposer.propose).parameters
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values())
    return {name: value for name, value in wanted.items() if takes_all or name in taken}


def warm_up(device: str) -> Generator[str, None, None]:
    """Load the network before it is asked for, while the first strokes are drawn; an error waits until then."""
    yield ""
    with suppress(Exception):
        loaded(device)


def loaded(device: str) -> Proposer:
    """Return the shipped network, loaded once: seconds of work that must never be the window's."""
    with _loading:
        return _load(device)


@cache
def _load(device: str) -> Proposer:
    try:
        with quiet_import():
            from napari_probseg.proposers import load_proposer

            return load_proposer(device=device)
    except OSError as error:
        if sys.platform != "win32":
            raise
        # pytorch#166628: on Windows torch's libraries fail to load once Qt has loaded its own.
        raise OSError("torch could not start after Qt: import torch before napari, or start with python -m") from error
