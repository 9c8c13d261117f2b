"""Models that the sessions of a viewer begin with: the shipped ones, until others are given or adopted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from napari_probseg.engine.models import Model
from napari_probseg.widgets.layers.image import bare

_given: WeakKeyDictionary[Any, Models] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Models:
    """What makes candidates, and what completes objects.

    Parameters
    ----------
    proposer, completer : Model, or Proposer
        By name, for the engine to load; or one that a script hands over, which runs in a thread of the window.
    """

    proposer: Any = field(default_factory=Model)
    completer: Any = field(default_factory=Model)


def give(viewer: Any, models: Models) -> None:
    """Let sessions of a viewer begin with these models from now on."""
    _given[bare(viewer)] = models


def given(viewer: Any) -> Models:
    """Return the models that sessions of a viewer begin with."""
    return _given.get(bare(viewer)) or Models()
