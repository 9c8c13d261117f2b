"""The models that a viewer's widgets work with in place of the shipped ones, wherever they were adopted."""

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
    """What makes candidates, and what completes objects."""

    proposer: Proposer
    completer: UNetCut


def give(viewer: Any, models: Models) -> None:
    """Let widgets of a viewer that open from now on work with these models."""
    _given[bare(viewer)] = models


def given(viewer: Any) -> Models | None:
    """Return the models that were given to a viewer; None for the shipped ones."""
    return _given.get(bare(viewer))
