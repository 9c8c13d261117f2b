"""Objects beside their image: the work that wrote them may replace them, today and after the window was closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.session.beside import Written, write_beside
from napari_probseg.session.journal import read_journal
from sessions import SHAPE, square

IMAGE = np.random.default_rng(0).random(SHAPE)


def begun() -> ps.Session:
    session = ps.Session(ps.Case(IMAGE), GrowingProposer())
    session.mark(square(10, 10))
    session.finish()
    return session


def written(session: ps.Session, image: Path, by: Written) -> Path | None:
    """Return the name that what lay there before has now."""
    is_own = by.is_by(image, session)
    _, aside = write_beside(image, session.objects, session.finished, like=None, is_own=is_own)
    by.note(image, session)
    return aside


def gone_on(journal: Path) -> ps.Session:
    session = ps.Session.load(journal, IMAGE, GrowingProposer())
    session.keep(journal, kept=read_journal(journal))
    return session


@pytest.mark.parametrize("is_kept", [True, False])
def test_work_replaces_its_own_objects_and_no_others(tmp_path: Path, is_kept: bool) -> None:
    image, by, (session, other) = tmp_path / "cell.tif", Written(), (begun(), begun())
    if is_kept:
        session.keep(tmp_path / "work.journal")
    assert written(session, image, by) is None and written(session, image, by) is None
    assert written(other, image, by) is not None
    assert written(session, image, by) is not None, "they are those of the other work now"


def test_work_that_is_gone_on_with_another_day_replaces_its_own_objects(tmp_path: Path) -> None:
    image, session = tmp_path / "cell.tif", begun()
    journal = session.keep(tmp_path / "work.journal")
    journal.saved(tmp_path)
    written(session, image, Written())
    assert journal.is_saved, "a file beside the image is nothing that was done"
    for _ in range(2):  # days
        journal.close()
        session = gone_on(journal.path)
        journal = session.journal
        assert written(session, image, Written()) is None
    session.mark(square(30, 30))
    journal.close()
    assert read_journal(journal.path).beside is not None
    (tmp_path / "cell_objects.tif").write_bytes(b"of another program")
    assert written(gone_on(journal.path), image, Written()) is not None
