"""Models that the sessions of a viewer begin with: the shipped ones, until others are given or adopted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_probseg.candidates import Proposer
from napari_probseg.widgets.layers.image import bare

if TYPE_CHECKING:
    from napari_probseg.proposers.unet_cut import UNetCut

_given: WeakKeyDictionary[Any, Models] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Models:
    """What makes candidates, and the network that completes objects; the shipped ones where absent."""

    proposer: Proposer | None = None
    completer: UNetCut | None = None


def give(viewer: Any, models: Models) -> None:
    """Let sessions of a viewer begin with these models from now on."""
    _given[bare(viewer)] = models


def given(viewer: Any) -> Models:
    """Return the models that sessions of a viewer begin with."""
    return _given.get(bare(viewer)) or Models()
