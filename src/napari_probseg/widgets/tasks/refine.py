"""Refining: what smoothing and the like change, found in a thread while the session is held still."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from napari_probseg.session.history import Change
from napari_probseg.session.refinement import Refinement
from napari_probseg.session.session import Session


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement changes of a session."""

    session: Session
    what: Refinement
    changes: tuple[Change, ...]


def refining(session: Session, what: Refinement) -> Generator[str, None, Refined]:
    """Return what a refinement changes."""
    yield "Refining…"
    return Refined(session, what, what.changes(session.case, session.objects, session.finished))
