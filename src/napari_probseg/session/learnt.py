"""What was fine-tuned to the image of a session: kept as weights beside its steps, and made a completer again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_probseg.session.encoding import Stored
from napari_probseg.session.history import Step

if TYPE_CHECKING:
    from napari_probseg.proposers.unet_cut import UNetCut

logger = logging.getLogger(__name__)


def has_learnt(stored: Stored) -> bool:
    """Return whether something is kept that was fine-tuned."""
    return any(isinstance(step.learnt, bytes) for step in (*stored.done, *stored.undone))


def can_be_kept(learnt: Any) -> bool:
    """Return whether what was fine-tuned is kept in files: a network that knows what it was fine-tuned from."""
    return isinstance(learnt, bytes) or hasattr(learnt, "untuned") or bool(getattr(learnt, "tuned", b""))


def with_learnt(stored: Stored, completer: Any = None, *, device: str = "auto") -> Stored:
    """Return what is stored of a session with completers in place of the weights, as far as they can be made.

    Parameters
    ----------
    stored : Stored
    completer : Proposer, optional
        What it may have been fine-tuned from, beside the shipped weights.
    device : str
        Where those run.
    """
    if not has_learnt(stored):
        return stored
    done, undone = (
        tuple(_unpacked(step, completer, device) for step in steps) for steps in (stored.done, stored.undone)
    )
    return replace(stored, done=done, undone=undone)


def _unpacked(step: Step, completer: Any, device: str) -> Step:
    if not isinstance(step.learnt, bytes):
        return step
    from napari_probseg.proposers.fine_tuned import unpacked

    try:
        return replace(step, learnt=unpacked(step.learnt, _bases(completer, device)))
    except (
        ValueError,
        OSError,
        RuntimeError,
    ) as error:  # the session tells that it lacks it, its file keeps it
        logger.warning("what was fine-tuned is not at hand: %s", error)
        return step


def _bases(completer: Any, device: str) -> Iterator[UNetCut]:
    """Yield what may have been fine-tuned: the completer at hand, and the shipped one, loaded if need be."""
    from napari_probseg.proposers import load_completer
    from napari_probseg.proposers.unet_cut import UNetCut

    if isinstance(completer, UNetCut):
        yield completer
    shipped = load_completer(device=device)
    if isinstance(shipped, UNetCut):
        yield shipped
