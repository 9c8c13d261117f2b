"""Segment images that no model has seen: brush a little, choose among proposals, repeat."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Marker": "case",
    "Case": "case",
    "Candidates": "candidates",
    "Proposer": "candidates",
    "Session": "session.session",
    "GraphCut": "proposers.histogram_cut",
    "load_completer": "proposers",
    "load_proposer": "proposers",
    "read": "io",
    "write": "io",
}
_MODULES = ("geodesic", "graph_cut", "metrics")
__all__ = [*_HOME, *_MODULES, "__version__"]

if TYPE_CHECKING:
    from napari_probseg.candidates import Candidates as Candidates
    from napari_probseg.candidates import Proposer as Proposer
    from napari_probseg.case import Case as Case
    from napari_probseg.case import Marker as Marker
    from napari_probseg.io import read as read
    from napari_probseg.io import write as write
    from napari_probseg.proposers import load_completer as load_completer
    from napari_probseg.proposers import load_proposer as load_proposer
    from napari_probseg.proposers.histogram_cut import GraphCut as GraphCut
    from napari_probseg.session.session import Session as Session


def __getattr__(name: str) -> Any:
    """Import each name from its home when it is first used, so that importing the package is fast."""
    if name in _MODULES:
        return import_module(f"napari_probseg.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'napari_probseg' has no attribute {name!r}")
    return getattr(import_module(f"napari_probseg.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
