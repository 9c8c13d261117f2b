"""Requests of fine-tuning: a completer learns an image, and what one has learnt earlier is loaded again."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from napari_probseg.case import Case, Plane
from napari_probseg.engine.models import Model, Resources
from napari_probseg.engine.requests import LOADING, LOOKING
from napari_probseg.progress import Progress
from napari_probseg.region import Part


@dataclass(frozen=True, eq=False)
class Adapt:
    """The completer, fine-tuned to the image.

    Parameters
    ----------
    case : Case
    model : Model or Completer
    plane : (axis, index), optional
        To learn from; the volume if absent.
    device : str
    finished : tuple of Part
        Finished objects to learn from; where there is none, it learns from strokes.
    """

    case: Case
    model: Any
    plane: Plane | None
    device: str
    finished: tuple[Part, ...] = ()

    def answer(self, resources: Resources) -> Generator[str | Progress, None, tuple[Any, Any]]:
        """Return the completer before and after; the same one if learning did not help."""
        yield LOADING
        before = resources.completer(self.model, self.device)
        if not hasattr(before, "adapting"):
            raise RuntimeError("there is no network to fine-tune: choose ••• > Complete by > a network first")
        if self.finished and hasattr(before, "learning"):
            after = yield from before.learning(self.case, self.finished, plane=self.plane)
        else:
            yield LOOKING
            after = yield from before.adapting(self.case, plane=self.plane)
        if not isinstance(self.model, Model):
            return before, after
        if after is before:
            return self.model, self.model
        from napari_probseg.proposers.fine_tuned import packed

        learnt = Model.learnt(self.model.name, packed(after))
        resources.keep(learnt, after, self.device)
        return self.model, learnt


@dataclass(frozen=True, eq=False)
class Recall:
    """The completer that was fine-tuned to an image earlier.

    Parameters
    ----------
    content : bytes
        What is kept of it.
    model : Model or Completer
        What it may have been fine-tuned from, beside the shipped one.
    device : str
    """

    content: bytes
    model: Any
    device: str

    def answer(self, resources: Resources) -> Generator[str, None, Any]:
        """Return it, or None if it is broken or was fine-tuned from other weights."""
        yield LOADING
        from napari_probseg.proposers.fine_tuned import unpacked

        for base in dict.fromkeys((self.model, Model())):
            with suppress(ValueError, OSError, RuntimeError):
                found = unpacked(self.content, [resources.completer(base, self.device)])
                if not isinstance(base, Model):
                    return found
                learnt = Model.learnt(base.name, self.content)
                resources.keep(learnt, found, self.device)
                return learnt
        return None
