"""Refining: what smoothing and the like change, found in a thread while the session is held still."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from napari_probseg.case import Case
from napari_probseg.session.history import Change
from napari_probseg.session.refinement import Refinement
from napari_probseg.session.session import Session


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement changes of a session, as it is as long as its case is this one."""

    session: Session
    case: Case
    what: Refinement
    changes: tuple[Change, ...]


def refining(session: Session, what: Refinement) -> Generator[str, None, Refined]:
    """Return what a refinement changes."""
    yield "Refining…"
    case = session.case
    return Refined(session, case, what, what.changes(case, session.objects, session.finished))
