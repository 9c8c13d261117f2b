"""Fine-tuning the completer to an image, in a thread."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_probseg.session.request import Request
from napari_probseg.widgets.tasks.complete import Completer

if TYPE_CHECKING:
    from napari_probseg.progress import Progress
    from napari_probseg.proposers.unet_cut import UNetCut


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of fine-tuning: the completer before, and after; the same one if learning did not help."""

    request: Request
    before: UNetCut
    after: UNetCut


def adapting(request: Request, completer: Completer, *, device: str) -> Generator[str | Progress, None, Learnt]:
    """Fine-tune a completer to the image of a request, yielding what is done and how far it is."""
    yield "Loading the network…"
    before: Any = completer.load(device)
    if not hasattr(before, "adapting"):
        raise RuntimeError("there is no network to fine-tune: choose ••• > Complete by > a network first")
    yield "Looking at the image…"
    after = yield from before.adapting(request.question, plane=request.plane)
    return Learnt(request, before, after)
