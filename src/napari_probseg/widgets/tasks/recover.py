"""Recovery task: what the journals hold of an image, and a session from one, in a thread."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_probseg.case import Case
from napari_probseg.session.identity import Identity
from napari_probseg.session.journal import Kept, Subject, is_in_use, journals_in, read_identity, read_journal
from napari_probseg.session.session import Session

ASIDE = ".earlier.journal"  # of work that was not gone on with: it is kept, and offered no more
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Earlier:
    """Earlier work that can be gone on with.

    Parameters
    ----------
    kept : Kept
    difference : str
        How the image differs from the one that the work was done on, in words; empty if it is the same.
    older : tuple of Path
        Further journals of the same image.
    """

    kept: Kept
    difference: str
    older: tuple[Path, ...] = ()


def journals_of_shape(folders: Sequence[Path], case: Case) -> list[Path]:
    """Return the journals in some folders that may be of an image: those of its shape, the latest first."""
    found = []
    for path in (path for folder in folders for path in journals_in(folder) if not path.name.endswith(ASIDE)):
        try:
            about, _ = read_identity(path)
        except (OSError, ValueError):
            logger.info("passed over", exc_info=True)
            continue
        if (about.shape, about.n_channels) == (case.shape, case.n_channels):
            found.append(path)
    return found


def looking(paths: Sequence[Path], case: Case, subject: Subject) -> Generator[str, None, Earlier | None]:
    """Return the latest work on an image, or on the file that it comes from, as that was before; None if there is none.

    Parameters
    ----------
    paths : sequence of Path
        The journals that may hold it, the latest first.
    case : Case
        The image.
    subject : Subject
        Its name and its file.
    """
    yield "Looking for earlier work on this image…"
    identity = Identity.of(case)
    found: list[Earlier] = []
    older: list[Path] = []
    for path in paths:
        try:
            about, of = read_identity(path)
            difference = about.difference(identity)
            is_of_file = bool(subject.source) and of.source == subject.source
            is_same = about.fingerprint == identity.fingerprint
            if not (is_same or is_of_file) or is_in_use(path):
                continue
            if found:
                older.append(path)
            elif (kept := read_journal(path)).stored.done or kept.stored.undone:
                found.append(Earlier(kept, difference))
        except (OSError, ValueError):
            logger.info("passed over", exc_info=True)
    return replace(found[0], older=tuple(older)) if found else None


def recovering(earlier: Earlier, case: Case) -> Generator[str, None, Session]:
    """Return the session of earlier work, on the image as it is now."""
    yield "Going on where you were…"
    return Session.restored(earlier.kept.stored, case)
