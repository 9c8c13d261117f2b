"""The journal of a session: what is done is on the disk, whatever happens to the program or to the file."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.session.journal import (
    Subject,
    journals_in,
    new_path,
    read_identity,
    read_journal,
    remember,
    remembered,
    tidy,
    writer,
)
from napari_probseg.session.journal.folder import MAX_REMEMBERED
from sessions import SHAPE, square, state, worked

IMAGE = np.random.default_rng(0).random(SHAPE)


@pytest.fixture(autouse=True)
def close_journals() -> Iterator[None]:
    yield
    for journal in tuple(writer._open):
        journal.close()


def fresh() -> ps.Session:
    return ps.Session(ps.Case(IMAGE, spacing=(2, 1)), GrowingProposer())


def recovered(path: Path) -> ps.Session:
    return ps.Session.load(path, IMAGE, GrowingProposer())


def same(a: ps.Session, b: ps.Session) -> bool:
    """Return whether two sessions are in the same state, with the same history in both directions."""
    verbs = [[(s.verb, len(s.changes)) for s in steps] for one in (a, b) for steps in (one.steps, one.undone)]
    if state(a) != state(b) or verbs[:2] != verbs[2:] or a.n_asked != b.n_asked:
        return False
    n_undone, n_done = len(a.undone), len(a.steps)
    for verb, n in (("redo", n_undone), ("undo", n_done + n_undone), ("redo", n_done)):
        for _ in range(n):
            for one in (a, b):
                getattr(one, verb)()
            if state(a) != state(b):
                return False
    return True


def test_every_step_is_in_the_journal_as_soon_as_it_is_done(tmp_path: Path) -> None:
    session = fresh()
    journal = session.keep(tmp_path / "work.journal")
    worked(session)
    assert journal.flush(10)
    kept = read_journal(journal.path)
    assert same(recovered(journal.path), session)
    assert kept.n_objects == len(np.unique(session.objects)) - 1 and not kept.is_damaged and not kept.saved_as
    assert kept.stored.spacing == (2, 1) and abs(kept.time - time.time()) < 60


def test_a_journal_begins_with_what_was_done_already(tmp_path: Path) -> None:
    session = worked(fresh())
    for _ in range(3):
        session.undo()
    journal = session.keep(tmp_path / "work.journal")
    assert journal.flush(10)
    assert same(recovered(journal.path), session)
    with pytest.raises(FileExistsError, match="there already"):
        session.keep(tmp_path / "work.journal")


def test_nothing_is_written_before_the_first_step(tmp_path: Path) -> None:
    session = fresh()
    journal = session.keep(tmp_path / "deep" / "work.journal")
    assert journal.flush(10) and not any(tmp_path.iterdir())
    session.mark(square(3, 3))
    assert journal.flush(10) and recovered(journal.path).can_undo


def test_a_journal_keeps_what_a_session_began_with(tmp_path: Path) -> None:
    partial = square(10, 10, 3).astype(np.uint8)
    session = ps.Session(ps.Case(IMAGE, partial=partial), GrowingProposer())
    journal = session.keep(tmp_path / "work.journal")
    session.propose(3)
    session.accept(1)
    assert journal.flush(10) and same(recovered(journal.path), session)


def test_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    session = fresh()
    journal = session.keep(tmp_path / "work.journal")
    session.mark(square(10, 10))
    session.mark(square(20, 20))
    session.undo()
    assert journal.close()
    session = recovered(journal.path)
    session.keep(journal.path, kept=read_journal(journal.path))
    session.redo()
    session.mark(square(30, 30))
    assert session.journal.flush(10) and same(recovered(journal.path), session)
    with pytest.raises(TimeoutError, match="another window"):
        session.keep(journal.path, kept=read_journal(journal.path))


def test_a_torn_record_is_cut_off(tmp_path: Path) -> None:
    session = fresh()
    journal = session.keep(tmp_path / "work.journal")
    states, sizes = [], []
    for y in (5, 15, 25):
        session.mark(square(y, 5))
        assert journal.flush(10)
        states.append(state(session))
        sizes.append(journal.path.stat().st_size)
    journal.close()
    whole, torn = journal.path.read_bytes(), tmp_path / "torn.journal"
    for end in range(sizes[0], len(whole)):
        torn.write_bytes(whole[:end])
        kept = read_journal(torn)
        n = sum(end >= size for size in sizes)
        assert len(kept.stored.done) == n and kept.n_bytes == sizes[n - 1] and not kept.is_damaged
    torn.write_bytes(whole[: sizes[1] + 9])
    session = recovered(torn)
    assert state(session) == states[1]
    session.keep(torn, kept=read_journal(torn))
    session.mark(square(35, 35))
    assert session.journal.flush(10) and same(recovered(torn), session)
    session.journal.close()
    torn.write_bytes(whole[: sizes[1]] + b"\0" * 4096)  # as a power cut leaves it
    assert len(read_journal(torn).stored.done) == 2 and not read_journal(torn).is_damaged


def test_what_comes_before_damage_is_kept_and_the_file_is_copied_aside(tmp_path: Path) -> None:
    session = fresh()
    journal = session.keep(tmp_path / "work.journal")
    for y in (5, 15, 25):
        session.mark(square(y, 5))
        journal.flush(10)
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[-200] ^= 1
    journal.path.write_bytes(content)
    kept = read_journal(journal.path)
    assert kept.is_damaged and 0 < len(kept.stored.done) < 3
    session = recovered(journal.path)
    session.keep(journal.path, kept=kept)
    session.mark(square(35, 5))
    assert session.journal.flush(10) and same(recovered(journal.path), session)
    assert (tmp_path / "work.journal.damaged").read_bytes() == content


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_is_told_in_one_sentence_or_costs_the_end_alone(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    path = folder / "work.journal"
    if not path.exists():
        session = fresh()
        journal = session.keep(path)
        worked(session)
        journal.close()
        shutil.copy(path, folder / "whole.journal")
    whole = (folder / "whole.journal").read_bytes()
    n_steps = len(read_journal(folder / "whole.journal").stored.done)
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        kept, says = read_journal(path), ""
    except ValueError as error:
        kept, says = None, str(error)
    if kept is None:
        assert str(path) in says and "\n" not in says
    else:
        assert len(kept.stored.done) <= n_steps + 1  # an undo may be what was cut off


def test_what_is_no_journal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "work.journal"
    with pytest.raises(FileNotFoundError, match="there is no journal"):
        read_journal(path)
    for content in (b"", b"something else", b"napari-probseg journal 1\n"):
        path.write_bytes(content)
        for read in (read_journal, read_identity):
            with pytest.raises(ValueError, match="damaged or no journal"):
                read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no journal .*: it is a folder"):
        read_journal(path)
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(FileNotFoundError, match=r"there is no journal .*: it is a pipe"):
            read_journal(path)
        path.unlink()
    path.write_bytes(b"napari-probseg journal 2\nand so on")
    with pytest.raises(ValueError, match="is of version 2, this release reads version 1"):
        read_journal(path)


def test_a_full_disk_is_told_and_the_journal_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, told = fresh(), []
    journal = session.keep(tmp_path / "work.journal", told=told.append)
    session.mark(square(5, 5))
    assert journal.flush(10)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for x in (15, 25):
            session.mark(square(5, x))
            assert not journal.flush(10)
        assert len(told) == 1 and "No space left on device" in told[0] and "save the session" in told[0]
        assert len(session.steps) == 3, "the work goes on"
        assert len(read_journal(journal.path).stored.done) >= 1
    session.mark(square(5, 35))
    assert journal.flush(10) and told[1:] == [""]
    assert same(recovered(journal.path), session)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_removed_journal_is_made_again_whole(tmp_path: Path) -> None:
    session = fresh()
    journal = session.keep(tmp_path / "folder" / "work.journal")
    worked(session)
    assert journal.flush(10)
    shutil.rmtree(tmp_path / "folder")
    session.mark(square(38, 38))
    assert journal.flush(10) and same(recovered(journal.path), session)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    session, told = fresh(), []
    session.keep(tmp_path / "file" / "work.journal", told=told.append)
    session.mark(square(5, 5))
    assert not session.journal.flush(10) and len(told) == 1
    assert session.can_undo


def test_a_script_is_warned_of_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    session = fresh()
    session.keep(tmp_path / "file" / "work.journal")

    def draw() -> None:
        session.mark(square(5, 5))
        session.journal.flush(10)

    with pytest.warns(
        UserWarning, match=r"the journal in .* cannot be written \(.*file is no folder.*save the session"
    ):
        draw()


def test_a_journal_that_is_too_large_stops_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_BYTES", 3000)
    session, told = fresh(), []
    session.keep(tmp_path / "work.journal", told=told.append)
    for x in range(3, 37):
        session.mark(square(5, x))
        session.journal.flush(10)
    assert len(told) == 1 and "limit" in told[0] and (tmp_path / "work.journal").stat().st_size <= 3000
    assert 0 < len(read_journal(tmp_path / "work.journal").stored.done) < len(session.steps)


def test_a_step_costs_what_it_changed_not_the_volume(tmp_path: Path) -> None:
    sizes = []
    for n in (8, 80):
        session = ps.Session(ps.Case(np.zeros((n, 300, 300), np.uint8)), GrowingProposer())
        journal = session.keep(tmp_path / f"{n}.journal")
        session.mark(square(10, 10, shape=(1, 300, 300)), where=np.s_[3:4, :, :])
        journal.flush(10)
        sizes.append(journal.path.stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 50 and sizes[0] < 2000


def test_a_program_that_is_killed_loses_no_step_that_it_told_of(tmp_path: Path) -> None:
    program = """
import sys
import numpy as np
import napari_probseg as ps
session = ps.Session(ps.Case(np.zeros((40, 40))))
journal = session.keep(sys.argv[1])
for i in range(1000):
    mask = np.zeros((40, 40), bool)
    mask[i % 40, i // 40 : i // 40 + 2] = True
    session.mark(mask)
    journal.flush()
    print(i + 1, flush=True)
"""
    (tmp_path / "program.py").write_text(program)
    for n in (1, 17, 60):
        path = tmp_path / f"{n}.journal"
        command = [sys.executable, tmp_path / "program.py", path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        for line in process.stdout:
            if int(line) >= n:
                break
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        n_told = max([n, *map(int, process.communicate()[0].split())])
        assert n_told <= len(read_journal(path).stored.done) <= n_told + 1


def test_a_program_that_ends_where_nothing_can_be_written_says_so_once(tmp_path: Path) -> None:
    program = """
import errno, os, sys
import numpy as np
import napari_probseg as ps
from napari_probseg.session.journal import writer
def full(about, step):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
writer.record_of = full
session = ps.Session(ps.Case(np.zeros((40, 40))))
journal = session.keep(sys.argv[1])
session.mark(np.eye(40))
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, tmp_path / "program.py", tmp_path / "work.journal"]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    assert done.stderr.count("cannot be written (No space left on device): save the session elsewhere") == 1
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


def test_a_program_that_ends_leaves_a_whole_journal_and_no_lock(tmp_path: Path) -> None:
    program = """
import sys
import numpy as np
import napari_probseg as ps
session = ps.Session(ps.Case(np.zeros((40, 40))))
session.keep(sys.argv[1])
for i in range(40):
    session.mark(np.eye(40) * np.arange(40)[:, None] == i)
"""
    (tmp_path / "program.py").write_text(program)
    subprocess.run([sys.executable, tmp_path / "program.py", tmp_path / "work.journal"], check=True, timeout=120)
    assert len(read_journal(tmp_path / "work.journal").stored.done) == 40
    assert not list(tmp_path.glob("*.lock"))


def test_journals_are_tidied_by_age_and_size_but_not_those_in_use(tmp_path: Path) -> None:
    made, sessions = [], [fresh() for _ in range(5)]
    for i, session in enumerate(sessions):
        path = new_path(tmp_path, "a cell: 1/2")
        journal = session.keep(path, subject=Subject("a cell: 1/2", "/images/cell.tif", "napari"))
        session.mark(square(5, 5))
        assert journal.flush(10) and path.parent == tmp_path
        if i:
            journal.close()
        os.utime(path, (time.time() - 86400 * (100 if i < 2 else 10 - i),) * 2)
        made.append(path)
    by_age = [made[i] for i in (4, 3, 2)]
    assert len(set(made)) == 5 and journals_in(tmp_path)[:3] == by_age
    assert read_identity(made[2])[1] == Subject("a cell: 1/2", "/images/cell.tif", "napari")
    assert tidy(tmp_path) == [made[1]], "the first is in use"
    size = made[4].stat().st_size
    assert tidy(tmp_path, max_bytes=size + size // 2) == [made[3], made[2]]
    assert set(journals_in(tmp_path)) == {made[0], made[4]}
    assert tidy(tmp_path / "nowhere") == []
    sessions[0].journal.close()


def test_folders_of_journals_are_remembered_the_latest_first(tmp_path: Path) -> None:
    places = tmp_path / "settings" / "folders.json"
    assert remembered(places) == []
    folders = [tmp_path / str(i) for i in range(MAX_REMEMBERED + 5)]
    for folder in folders:
        remember(folder, places)
        remember(folder, places)
    assert remembered(places) == folders[: -MAX_REMEMBERED - 1 : -1]
    for content in (b"", b"{", b"3", b"[1, null]", b"[" * 100_000):
        places.write_bytes(content)
        assert remembered(places) == []
