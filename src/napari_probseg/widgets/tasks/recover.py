"""Recovery task: what the journals hold of an image, and a session from one, in a thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.case import Case
from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.tuning import Recall
from napari_probseg.session.encoding import Stored
from napari_probseg.session.history import Step
from napari_probseg.session.identity import Identity
from napari_probseg.session.journal import Kept, Subject, is_in_use, journals_in, read_identity, read_journal
from napari_probseg.session.learnt import has_learnt
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
        Further journals of the same image, or of the same other one.
    """

    kept: Kept
    difference: str
    older: tuple[Path, ...] = ()


def journals_of(folders: Sequence[Path], case: Case, subject: Subject) -> list[Path]:
    """Return the journals in some folders that may be of an image, or of its file as it was, the latest first.

    An image in memory is compared; one that is read piece by piece is not, for that may take long.
    """
    found = [one for one in _identities(folders, case) if one[1].n_channels == case.n_channels]
    if found and type(case.image) is np.ndarray:
        identity = Identity.of(case)
        found = [one for one in found if _is_of(*one[1:], identity, subject)]
    return [path for path, _, _ in found if not is_in_use(path)]


def n_channels_before(folders: Sequence[Path], case: Case, subject: Subject) -> int:
    """Return how many channels the latest work on the same file saw, if it is another number; else 0."""
    for path, about, of in _identities(folders, case):
        if about.n_channels != case.n_channels and subject.source and of.source == subject.source:
            return 0 if is_in_use(path) else about.n_channels
    return 0


def _identities(folders: Sequence[Path], case: Case) -> list[tuple[Path, Identity, Subject]]:
    """Return the journals in some folders of images with the shape of a case, and what they are of."""
    found = []
    for path in (path for folder in folders for path in journals_in(folder) if not path.name.endswith(ASIDE)):
        with _passing_over():
            about, of = read_identity(path)
            if about.shape == case.shape:
                found.append((path, about, of))
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
    found: list[tuple[Path, str]] = []
    for path in paths:
        with _passing_over():
            about, of = read_identity(path)
            if _is_of(about, of, identity, subject):
                found.append((path, about.difference(identity)))
    found.sort(key=lambda one: bool(one[1]))  # work on this very image goes before work on what its file was
    for i, (path, difference) in enumerate(found):
        with _passing_over():
            if (kept := read_journal(path)).stored.done or kept.stored.undone:
                older = tuple(other for other, its in found[i + 1 :] if its == difference)
                return Earlier(kept, difference, older)
    return None


@contextmanager
def _passing_over() -> Iterator[None]:
    """Pass over a journal that cannot be read."""
    try:
        yield
    except (OSError, ValueError):
        logger.info("passed over", exc_info=True)


def latest_work(folders: Sequence[Path]) -> Generator[str, None, Kept | None]:
    """Return the latest work in some folders whose image can be opened; None if there is none.

    Journals whose file is gone, that are put aside, or that are being written are passed over.
    """
    yield ""
    dated = []
    for path in (path for folder in folders for path in journals_in(folder) if not path.name.endswith(ASIDE)):
        with suppress(OSError):
            dated.append((path.stat().st_mtime, path))
    for _, path in sorted(dated, reverse=True):
        with _passing_over():
            source = read_identity(path)[1].source
            if source and Path(source).is_file() and not is_in_use(path):
                kept = read_journal(path)
                if kept.stored.done or kept.stored.undone:
                    return kept
    return None


def _is_of(about: Identity, of: Subject, identity: Identity, subject: Subject) -> bool:
    """Return whether a journal is of an image, or of the file that it comes from."""
    is_same = bool(about.fingerprint) and about.fingerprint == identity.fingerprint
    return is_same or bool(subject.source and of.source == subject.source)


def recovering(
    earlier: Earlier, case: Case, restoring: Callable[[Stored, Case], Generator[Any, None, Session]]
) -> Generator[Any, None, Session]:
    """Return the session of earlier work, on the image as it is now; see `restoring`."""
    yield "Going on where you were…"
    session = yield from restoring(earlier.kept.stored, case)
    _ = session.case.marked  # found here: it is looked for in all of a large image
    return session


def restoring(
    engine: Engine | Local, stored: Stored, case: Case, model: Any, *, device: str
) -> Generator[Any, None, Session]:
    """Return a session as it was stored, with what was fine-tuned to its image.

    Parameters
    ----------
    engine : Engine or Local
    stored : Stored
    case : Case
        The image, nothing decided.
    model : Model or Completer
        What it may have been fine-tuned from, beside the shipped weights.
    device : str
        Where networks run.
    """
    if has_learnt(stored):
        yield "Loading what was learnt of the image…"
        done: list[Step] = []
        undone: list[Step] = []
        for steps, restored in ((stored.done, done), (stored.undone, undone)):
            for step in steps:
                learnt = step.learnt
                if isinstance(learnt, bytes):
                    learnt = (yield from engine.answering(Recall(learnt, model, device))) or learnt
                restored.append(replace(step, learnt=learnt))
        stored = replace(stored, done=tuple(done), undone=tuple(undone))
    return Session.restored(stored, case)
