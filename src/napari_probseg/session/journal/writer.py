"""Writing a journal: every step is appended as soon as it is done, in a thread, and synchronised to the disk."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakSet

from filelock import FileLock

from napari_probseg.case import Case
from napari_probseg.io.file_state import FileState
from napari_probseg.io.notice import tell
from napari_probseg.io.paths import why_not_writable
from napari_probseg.session.encoding import start_of
from napari_probseg.session.history import Step
from napari_probseg.session.identity import Identity
from napari_probseg.session.journal.folder import MAX_BYTES, locked, new_path, remove, sync_folder, unlock
from napari_probseg.session.journal.reader import Kept, Subject
from napari_probseg.session.journal.records import FIRST_LINE, record_of


class Journal:
    """Appends what happens in a session to a file, in order, in a thread of its own.

    The file is made with the first step. If it cannot be written, the records wait in memory and are written as soon
    as that is possible; if it is removed, it is made again.

    Parameters
    ----------
    path : path
    start : Case
        What the session began with.
    done, undone : sequences of Step
        What was done in it already, and undone again: this is written first.
    n_asked : int
        How often it had asked.
    subject : Subject, optional
    kept : Kept, optional
        What the file holds already of the same session: it is gone on with.
    told : function, optional
        Is called in the thread with one sentence when the file can no longer be written, and with an empty one when it
        can again. If absent, the sentence is a warning.

    Raises
    ------
    FileExistsError
        If there is such a file, and it is not to be gone on with.
    OSError
        If there can be no file at that path.
    TimeoutError
        If another program writes to the journal, or has done so since it was read.
    """

    def __init__(
        self,
        path: str | Path,
        start: Case,
        done: Sequence[Step] = (),
        undone: Sequence[Step] = (),
        *,
        n_asked: int = 0,
        subject: Subject | None = None,
        kept: Kept | None = None,
        told: Callable[[str], Any] | None = None,
    ) -> None:
        self.path, self.subject, self.trouble = Path(path), subject or Subject(), ""
        if kept is None and os.path.lexists(self.path):
            if why := why_not_writable(self.path):
                raise OSError(f"no journal can be kept at {path}: {why}")
            raise FileExistsError(f"{path} is there already: open it with Session.load, or choose another name")
        self.damaged: Path | None = None  # a copy of what the file was, where it could not be read to its end
        self._told, self._start = told, start
        self._lock = None if kept is None else _relocked(self.path, kept)
        self._records: list[tuple[dict[str, Any], Step | None]] = []  # all of them, should the file be made again
        self._n_written = self._n_bytes = 0
        self._size = None if kept is None else kept.size  # of the file when it was let go
        self._is_full = False
        self._file: BinaryIO | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        for step in (*done, *reversed(undone)):
            self._records.append(({"what": "step", "n_asked": n_asked}, step))
        self._records += [({"what": "undo"}, None)] * len(undone)
        self.beside = None if kept is None else kept.beside  # what the work wrote last beside its image
        if self.beside is not None:
            self._records.append(({"what": "beside", **self.beside.told}, None))
        if kept is not None:
            self._n_written, self._n_bytes = len(self._records), kept.n_bytes
            if kept.is_damaged:
                self.damaged = _new_copy(self.path)
                shutil.copyfile(self.path, self.damaged)
        elif self._records:
            self.flush(0)
        _open.add(self)

    def __del__(self) -> None:
        if not hasattr(self, "_records"):
            return
        if sys.is_finalizing():  # `_close_all` has tried, and what is needed to write is gone
            self._let_go()
        else:
            self._end()

    def did(self, step: Step, n_asked: int) -> None:
        """Note a new step."""
        self._note({"what": "step", "n_asked": n_asked}, step)

    def undid(self) -> None:
        """Note that the latest step was taken back."""
        self._note({"what": "undo"})

    def redid(self) -> None:
        """Note that the step taken back last was done again."""
        self._note({"what": "redo"})

    def saved(self, path: str | Path) -> None:
        """Note that everything was saved to a file."""
        self._note({"what": "saved", "path": str(path)})

    def wrote(self, beside: FileState) -> None:
        """Note what the finished objects beside the image are now."""
        self.beside = beside
        self._note({"what": "beside", **beside.told})

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything is written, for so many seconds at most; return whether it is."""
        with suppress(RuntimeError, TimeoutError):  # at the end of the program, or not in time
            self._thread.submit(self._write).result(timeout)
        return self._n_written == len(self._records)

    def close(self) -> bool:
        """Write everything, and let the file go until there is more; return whether everything is written."""
        _open.discard(self)
        try:
            self._thread.submit(self._end).result()
        except RuntimeError:  # at the end of the program, when no thread takes work any more
            self._end()
        return self._n_written == len(self._records)

    @property
    def is_saved(self) -> bool:
        """Whether everything was saved to a file since the latest step, and that is still there."""
        last: dict[str, Any] = next((about for about, _ in reversed(self._records) if about["what"] != "beside"), {})
        return last.get("what") == "saved" and Path(last["path"]).exists()

    def remove(self) -> None:
        """Let the file go, and remove it; should there be more to write, it is made again, whole."""
        self._n_written = len(self._records)
        self.close()
        remove(self.path)

    def _note(self, about: dict[str, Any], step: Step | None = None) -> None:
        self._records.append(({**about, "time": time.time()}, step))
        _open.add(self)
        with suppress(RuntimeError):  # at the end of the program: `_close_all` writes it
            self._thread.submit(self._write)

    # In the thread ------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write what waits, and see to it that it is on the disk."""
        if self._n_written == len(self._records) or self._is_full:
            return
        try:
            self._append()
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._let_go()
            self._tell(f"the journal in {self.path} cannot be written ({reason}): save the session elsewhere")
        else:
            self._tell("")

    def _append(self) -> None:
        file = self._opened()
        n_records = len(self._records)
        if not self._n_bytes:
            file.write(FIRST_LINE + record_of(*self._beginning()))
        for about, step in self._records[self._n_written : n_records]:
            file.write(record_of(about, step))
        if file.tell() > MAX_BYTES:
            self._is_full = True
            file.truncate(self._n_bytes)
            raise OSError(f"it has reached its limit of {MAX_BYTES / 1e9:.1f} GB")
        file.flush()
        os.fsync(file.fileno())
        self._n_bytes, self._n_written = file.tell(), n_records

    def _opened(self) -> BinaryIO:
        """Return the file, open, at the end of what is whole of it; made if it is not there, or no longer."""
        if self._file is not None and not _is_at(self._file, self.path):
            self._let_go()
            if self.path.exists():
                self._begin_another()
        if self._file is None:
            if why := why_not_writable(self.path):
                raise OSError(why)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = locked(self.path)
                if self._is_of_another():
                    self._begin_another()
            is_there = self.path.exists()
            self._file = self.path.open("r+b" if is_there else "x+b")
            if not is_there:
                self._n_bytes = self._n_written = 0
                sync_folder(self.path.parent)
        self._file.seek(self._n_bytes)
        self._file.truncate()
        return self._file

    def _beginning(self) -> tuple[dict[str, Any], Step]:
        about = {
            "what": "begin",
            "time": time.time(),
            "identity": Identity.of(self._start).told(),
            "channel_axis": self._start.channel_axis,
            "in_time": self._start.in_time,
            **asdict(self.subject),
        }
        return about, start_of(self._start)

    def _end(self) -> None:
        self._write()
        self._let_go()
        with suppress(OSError):
            self._size = self.path.stat().st_size
        self._unlock()

    def _is_of_another(self) -> bool:
        """Return whether another program wrote to the file since it was let go."""
        with suppress(OSError):
            return self._size is not None and self.path.stat().st_size != self._size
        return False

    def _begin_another(self) -> None:
        """Go on at another path, where all that was done here is written: what lies at the old one is of others now."""
        self._unlock()
        self.path, self._size = new_path(self.path.parent, self.path.stem), None
        self._lock = locked(self.path)

    def _unlock(self) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    def _let_go(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written is written again
                self._file.close()
            self._file = None

    def _tell(self, sentence: str) -> None:
        if sentence != self.trouble:
            self.trouble = sentence
            if self._told is not None:
                self._told(sentence)
            elif sentence:
                tell(sentence)


_open: WeakSet[Journal] = WeakSet()


@atexit.register
def _close_all() -> None:
    for journal in tuple(_open):
        journal.close()


def _relocked(path: Path, kept: Kept) -> FileLock:
    """Return the lock of a journal that was read, taken, unless another program has written to it since."""
    lock = locked(path)
    if path.stat().st_size == kept.size:
        return lock
    unlock(lock)
    raise TimeoutError("another window went on with it meanwhile: open the image again")


def _new_copy(path: Path) -> Path:
    """Return where the next copy of a damaged journal will be: none takes the place of an earlier one."""
    numbers = ("", *(f"-{i}" for i in range(2, 10_000)))
    return next(copy for n in numbers if not (copy := path.with_name(f"{path.name}.damaged{n}")).exists())


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
