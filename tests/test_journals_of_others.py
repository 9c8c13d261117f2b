"""Journals that other windows, wrong clocks and other programs have to do with: what was done is found again."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.session.journal import is_in_use, journals_in, new_path, read_journal, records, tidy
from sessions import SHAPE, square, state

IMAGE = np.random.default_rng(0).random(SHAPE)
DAY = 86400


def kept(path: Path, n_steps: int = 1) -> ps.Session:
    """Return a session that keeps a new journal, with some strokes."""
    session = ps.Session(ps.Case(IMAGE))
    journal = session.keep(path)
    for i in range(n_steps):
        session.mark(square(5, 5 + 8 * i))
    assert journal.flush(10)
    return session


def gone_on(path: Path) -> ps.Session:
    session = ps.Session.load(path, IMAGE)
    session.keep(path, kept=read_journal(path))
    return session


def dated(folder: Path, *days_ago: float, now: float | None = None) -> list[Path]:
    """Return closed journals of a folder that were written last so many days ago."""
    paths = []
    for days in days_ago:
        paths.append(new_path(folder, "cell"))
        kept(paths[-1]).journal.close()
        os.utime(paths[-1], ((now or time.time()) - days * DAY,) * 2)
    return paths


@pytest.mark.skipif(sys.platform == "win32", reason="a link needs rights there")
def test_a_journal_that_is_gone_hides_no_other_one(tmp_path: Path) -> None:
    (path,) = dated(tmp_path, 0)
    (tmp_path / "gone.journal").symlink_to(tmp_path / "removed just now")
    assert journals_in(tmp_path) == [path]


def test_what_another_window_has_gone_on_with_is_not_cut_off(tmp_path: Path) -> None:
    """A journal was let go, another window went on with it, and then there is one more step here."""
    path = tmp_path / "work.journal"
    here = kept(path, 2)
    here.journal.close()
    there = gone_on(path)
    there.mark(square(30, 30))
    there.journal.close()
    here.undo()
    here.mark(square(20, 20))
    assert here.journal.flush(10) and here.journal.path != path
    assert state(ps.Session.load(path, IMAGE)) == state(there)
    assert state(ps.Session.load(here.journal.path, IMAGE)) == state(here)
    here.mark(square(30, 5))
    here.journal.close()
    assert state(ps.Session.load(here.journal.path, IMAGE)) == state(here)


def test_a_session_is_not_saved_onto_its_own_journal(tmp_path: Path) -> None:
    path = tmp_path / "work.journal"
    here = kept(path, 2)
    (tmp_path / "sub").mkdir()
    for same in (path, tmp_path / "sub" / ".." / "work.journal"):
        with pytest.raises(ValueError, match="is the journal of this session, and keeps every step already: choose"):
            here.save(same)
    here.mark(square(30, 30))
    here.journal.close()
    assert state(ps.Session.load(path, IMAGE)) == state(here)


@pytest.mark.parametrize("is_open", [True, False])
def test_what_took_the_place_of_a_journal_is_not_written_into(tmp_path: Path, is_open: bool) -> None:
    """A session may be saved onto the journal of another one."""
    path = tmp_path / "work.journal"
    here, other = kept(path, 2), ps.Session(ps.Case(IMAGE))
    other.mark(square(20, 20))
    if not is_open:
        here.journal.close()
    other.save(path)
    before = path.read_bytes()
    here.mark(square(30, 30))
    here.journal.close()
    assert path.read_bytes() == before and here.journal.path.parent == tmp_path
    assert state(ps.Session.load(path, IMAGE)) == state(other)
    assert state(ps.Session.load(here.journal.path, IMAGE)) == state(here)


def test_work_that_another_window_went_on_with_since_it_was_read_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "work.journal"
    kept(path).journal.close()
    read, session = read_journal(path), ps.Session.load(path, IMAGE)
    there = gone_on(path)
    there.mark(square(30, 30))
    there.journal.close()
    with pytest.raises(TimeoutError, match="another window went on with it meanwhile"):
        session.keep(path, kept=read)
    assert not is_in_use(path) and journals_in(tmp_path) == [path]
    assert state(ps.Session.load(path, IMAGE)) == state(there)


def test_a_journal_that_is_let_go_is_gone_on_with_here(tmp_path: Path) -> None:
    session = kept(tmp_path / "work.journal")
    for _ in range(3):
        session.journal.close()
        session.mark(square(30, 30 - len(session.steps)))
    assert session.journal.flush(10) and session.journal.path == tmp_path / "work.journal"
    assert state(ps.Session.load(session.journal.path, IMAGE)) == state(session)


def test_looking_whether_a_journal_is_in_use_leaves_its_lock_to_who_has_it(tmp_path: Path) -> None:
    session = kept(tmp_path / "work.journal")
    for _ in range(3):
        assert is_in_use(session.journal.path)
    session.journal.close()
    assert not is_in_use(session.journal.path) and not list(tmp_path.glob("*.lock"))


def test_who_was_away_for_long_finds_the_work(tmp_path: Path) -> None:
    paths = dated(tmp_path, 400, 420, 600, now=time.time() + 2000 * DAY)  # whenever this test runs
    assert tidy(tmp_path) == [paths[2]], "200 days older than the latest"
    assert journals_in(tmp_path) == paths[:2]


@pytest.mark.parametrize("years", [-20, -56, 14])
def test_a_wrong_clock_costs_no_work(tmp_path: Path, years: float) -> None:
    """It wrote journals before it was put right, or is wrong now that they are tidied."""
    wrong = dated(tmp_path, 0, 1, now=time.time() + years * 365 * DAY)
    right = dated(tmp_path, 0, 1) if years < 0 else []
    assert tidy(tmp_path) == []
    assert set(journals_in(tmp_path)) == {*wrong, *right}
    assert tidy(tmp_path) == []


def test_the_journals_of_the_image_that_is_opened_stay(tmp_path: Path) -> None:
    paths = dated(tmp_path, 0, 100, 200)
    assert tidy(tmp_path, keep=paths[1:2]) == [paths[2]]
    assert tidy(tmp_path, max_bytes=1, keep=paths[1:2]) == [paths[0]]


def test_each_copy_of_a_damaged_journal_stays(tmp_path: Path) -> None:
    path = tmp_path / "work.journal"
    kept(path, 3).journal.close()
    damaged = []
    for _ in range(2):
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        damaged.append(bytes(content))
        session = gone_on(path)
        session.mark(square(30, 30))
        session.journal.close()
    assert sorted(p.read_bytes() for p in tmp_path.glob("*.damaged*")) == sorted(damaged)


def test_a_damaged_journal_stays_where_there_is_no_room_for_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "work.journal"
    kept(path, 3).journal.close()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        gone_on(path)
    gc.collect()
    assert path.read_bytes() == content and not is_in_use(path)


@pytest.mark.parametrize("seconds", ["1e300", "NaN", "Infinity", "-5", "9e11"])
def test_a_journal_of_no_time_is_none(tmp_path: Path, seconds: str) -> None:
    path = tmp_path / "work.journal"
    kept(path).journal.close()
    with path.open("rb") as file:
        file.readline()
        about = next(records.records_of(file))[0]
    path.write_bytes(records.FIRST_LINE + records.record_of({**about, "time": float(seconds)}, None))
    with pytest.raises(ValueError, match="damaged or no journal"):
        read_journal(path)


def test_what_was_saved_is_saved_as_long_as_that_is_there(tmp_path: Path) -> None:
    """Be it a session file, or the folder of a data set that the image was added to."""
    session = kept(tmp_path / "work.journal")
    file, folder = tmp_path / "work.npz", tmp_path / "Dataset001_Cells"
    session.save(file)
    folder.mkdir()
    for place in (file, folder):
        session.note_saved(place, whole=True)
        assert session.journal.is_saved
        place.rename(tmp_path / "elsewhere") if place is file else place.rmdir()
        assert not session.journal.is_saved
    session.journal.close()
