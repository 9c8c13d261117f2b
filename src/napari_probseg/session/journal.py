"""Journal: an append-only file of checksummed records, one for each step, written in a thread.

After its first line it is a sequence of records: the length and the CRC-32 of what follows, then the length of a JSON
text, the text, and the compressed arrays that it tells of. What a crash leaves half written at the end is cut off.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakSet

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from napari_probseg.case import Case
from napari_probseg.session.encoding import BROKEN, Stored, described, restored, start_of
from napari_probseg.session.history import Step
from napari_probseg.session.identity import Identity

ENDING = ".journal"
FORMAT = b"napari-probseg journal "
VERSION = 1
MAX_BYTES = 2**30  # of a journal, and of a folder of them
MAX_AGE_DAYS = 90
_FIRST_LINE = FORMAT + b"%d\n" % VERSION
_FRAME = struct.Struct("<II")  # length and CRC-32 of a record
_LENGTH = struct.Struct("<I")
_MAX_BEGINNING_BYTES = 2**26  # of the record that tells of the image
_COMPRESSION = 1  # the fastest: markers are long runs of the same value


@dataclass(frozen=True)
class Subject:
    """What a journal is about, as the user knows it.

    Parameters
    ----------
    name : str
        What the image is called.
    source : str
        The path of its file; empty if it has none.
    """

    name: str = ""
    source: str = ""


@dataclass(frozen=True, eq=False)
class Kept:
    """What a journal holds.

    Parameters
    ----------
    path : Path
    stored : Stored
    subject : Subject
    time : float
        Of the last record, in seconds since 1970.
    saved_as : str
        The file that everything was saved to last; empty if something was done since.
    n_objects : int
        How many objects are finished.
    n_bytes : int
        Of the journal as far as it is whole.
    is_damaged : bool
        Whether more follows than the half-written end that a crash leaves.
    """

    path: Path
    stored: Stored
    subject: Subject
    time: float
    saved_as: str
    n_objects: int
    n_bytes: int
    is_damaged: bool


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
        can again.

    Raises
    ------
    TimeoutError
        If another program writes to the journal.
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
        self._told, self._start = told, start
        self._records: list[tuple[dict[str, Any], Step | None]] = []  # all of them, should the file be made again
        self._n_written = self._n_bytes = 0
        self._is_full = False
        self._file: BinaryIO | None = None
        self._lock: FileLock | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        for step in (*done, *reversed(undone)):
            self._records.append(({"what": "step", "n_asked": n_asked}, step))
        self._records += [({"what": "undo"}, None)] * len(undone)
        if kept is not None:
            self._lock = locked(self.path)
            if kept.is_damaged:
                shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.damaged"))
            self._n_written, self._n_bytes = len(self._records), kept.n_bytes
        elif self._records:
            self.flush(0)
        _open.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_records"):
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
        """Whether everything was saved to a file since the latest step."""
        return bool(self._records) and self._records[-1][0]["what"] == "saved"

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
            self._tell(f"the journal cannot be written ({reason}), save the session: {self.path}")
        else:
            self._tell("")

    def _append(self) -> None:
        file = self._opened()
        n_records = len(self._records)
        if not self._n_bytes:
            file.write(_FIRST_LINE + _record(*self._beginning()))
        for about, step in self._records[self._n_written : n_records]:
            file.write(_record(about, step))
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
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = locked(self.path)
            is_there = self.path.exists()
            self._file = self.path.open("r+b" if is_there else "x+b")
            if not is_there:
                self._n_bytes = self._n_written = 0
                _sync_folder(self.path.parent)
        self._file.seek(self._n_bytes)
        self._file.truncate()
        return self._file

    def _beginning(self) -> tuple[dict[str, Any], Step]:
        about = {
            "what": "begin",
            "time": time.time(),
            "identity": Identity.of(self._start).told(),
            "channel_axis": self._start.channel_axis,
            "name": self.subject.name,
            "source": self.subject.source,
        }
        return about, start_of(self._start)

    def _end(self) -> None:
        self._write()
        self._let_go()
        if self._lock is not None:
            self._lock.release()
            with suppress(OSError):
                Path(self._lock.lock_file).unlink()
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


_open: WeakSet[Journal] = WeakSet()


@atexit.register
def _close_all() -> None:
    for journal in tuple(_open):
        journal.close()


# Reading ----------------------------------------------------------------------------------------------------------


def is_journal(path: Path) -> bool:
    """Return whether a file begins as journals do."""
    try:
        with path.open("rb") as file:
            return file.read(len(FORMAT)) == FORMAT
    except OSError:
        return False


def read_journal(path: str | Path) -> Kept:
    """Return what a journal holds, up to the first record that is not whole.

    Raises
    ------
    FileNotFoundError, PermissionError
        If it is not there, or may not be read.
    ValueError
        If it is no journal of this version, or damaged from the beginning.
    """
    path = Path(path)
    about: dict[str, Any] = {}
    done: list[Step] = []
    undone: list[Step] = []
    n_asked, n_bytes, when, saved_as, is_damaged = 0, 0, 0.0, "", False
    with _opened_to_read(path) as file:
        about, start = _beginning_of(path, file)
        identity, channel_axis = _subject_of(path, about)
        n_bytes, when = file.tell(), float(about["time"])
        records = _records_of(file)
        while True:
            try:
                told, unpacked = next(records)
                what = told["what"]
                if what == "step":
                    done.append(restored(told["step"], unpacked, identity.shape))
                    undone.clear()
                    n_asked = max(n_asked, int(told["n_asked"]))
                elif what in ("undo", "redo"):
                    source, target = (done, undone) if what == "undo" else (undone, done)
                    target.append(source.pop())
                elif what == "saved":
                    saved_as = str(told["path"])
                saved_as = saved_as if what == "saved" else ""
                when = float(told.get("time", when))
                n_bytes = file.tell()
            except StopIteration:
                break
            except BROKEN:
                is_damaged = True
                break
    stored = Stored(
        identity.shape, identity.spacing, channel_axis, start, tuple(done), tuple(undone), n_asked, identity
    )
    subject = Subject(str(about.get("name", "")), str(about.get("source", "")))
    return Kept(path, stored, subject, when, saved_as, count_objects(done), n_bytes, is_damaged)


def read_identity(path: str | Path) -> tuple[Identity, Subject]:
    """Return of which image a journal is, without reading the steps; see `read_journal` for what it raises."""
    path = Path(path)
    with _opened_to_read(path) as file:
        about, _ = _beginning_of(path, file, shape_only=True)
    return _subject_of(path, about)[0], Subject(str(about.get("name", "")), str(about.get("source", "")))


def _opened_to_read(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no journal {path}") from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: ask its owner for access") from error


def _beginning_of(path: Path, file: BinaryIO, *, shape_only: bool = False) -> tuple[dict[str, Any], Step]:
    first_line = file.readline(len(_FIRST_LINE) + 20)
    if first_line.startswith(FORMAT) and first_line != _FIRST_LINE:
        version = first_line[len(FORMAT) :].decode("ascii", "replace").strip()
        raise ValueError(
            f"{path} is of version {version}, this release reads version {VERSION}: open it with the release that "
            f"wrote it"
        )
    try:
        if first_line == _FIRST_LINE:
            about, unpacked = next(_records_of(file))
            identity = Identity.restored(about["identity"])
            if shape_only:
                return about, Step("start")
            return about, restored(about["step"], unpacked, identity.shape, verbs=("start",))
    except (StopIteration, *BROKEN) as error:
        raise _no_journal(path) from error
    raise _no_journal(path)


def _subject_of(path: Path, about: Mapping[str, Any]) -> tuple[Identity, int | None]:
    try:
        axis = about["channel_axis"]
        float(about["time"])
        return Identity.restored(about["identity"]), None if axis is None else int(axis)
    except BROKEN as error:
        raise _no_journal(path) from error


def _no_journal(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged or no journal of napari-probseg: open another file")


class _Unpacked:
    """The arrays of a record, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._rest, self._stream = content, zlib.decompressobj()

    def __call__(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        content = self._stream.decompress(self._rest, n_bytes)
        self._rest = self._stream.unconsumed_tail
        if len(content) != n_bytes:
            raise ValueError(f"{key} is not as large as {shape}")
        return np.frombuffer(content, dtype=dtype).reshape(shape)


def _records_of(file: BinaryIO) -> Iterator[tuple[dict[str, Any], _Unpacked]]:
    """Yield what the records of a file hold, until the first that is not whole.

    Raises
    ------
    ValueError, RecursionError
        If one is whole and holds something else than was written.
    """
    size = os.fstat(file.fileno()).st_size
    while True:
        frame = file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return
        n_bytes, checksum = _FRAME.unpack(frame)
        if n_bytes < _LENGTH.size or file.tell() + n_bytes > size:  # zeros, too, are what a power cut leaves
            return
        content = file.read(n_bytes)
        if zlib.crc32(content) != checksum:
            raise ValueError("a record has another checksum")
        (n_text,) = _LENGTH.unpack_from(content)
        about = json.loads(content[_LENGTH.size : _LENGTH.size + n_text])
        yield about, _Unpacked(content[_LENGTH.size + n_text :])


def _record(about: Mapping[str, Any], step: Step | None) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    text = json.dumps(about if step is None else {**about, "step": described(step, "", arrays)}).encode()
    compress = zlib.compressobj(_COMPRESSION)
    packed = [compress.compress(np.ascontiguousarray(array).data) for array in arrays.values() if array.size]
    content = b"".join([_LENGTH.pack(len(text)), text, *packed, compress.flush()])
    return _FRAME.pack(len(content), zlib.crc32(content)) + content


def count_objects(steps: Sequence[Step]) -> int:
    """Return how many objects are finished after some steps."""
    labels: set[int] = set()
    for step in steps:
        if step.verb == "finish":
            labels.add(int(step.arguments["label"]))
        elif step.verb == "reopen":
            labels.discard(int(step.arguments["label"]))
        elif step.verb == "take":
            new = [c.after[c.before != c.after] for c in step.changes if c.name == "objects"]
            labels.update(int(label) for values in new for label in np.unique(values))
    return len(labels)


# Folders of journals ----------------------------------------------------------------------------------------------


def new_path(folder: Path, name: str) -> Path:
    """Return where a new journal of an image called so will be."""
    stem = re.sub(r"[^\w.-]+", "_", name)[:60].strip(".") or "image"
    stem = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    numbers = ("", *(f"-{i}" for i in range(1, 10_000)))
    return next(path for number in numbers if not (path := folder / f"{stem}{number}{ENDING}").exists())


def journals_in(folder: Path) -> list[Path]:
    """Return the journals of a folder, the latest first; none if it cannot be looked into."""
    try:
        found = [(path.stat().st_mtime, path) for path in folder.glob(f"*{ENDING}")]
    except OSError:
        return []
    return [path for _, path in sorted(found, reverse=True)]


def locked(path: Path) -> FileLock:
    """Return the lock of a journal, taken.

    Raises
    ------
    TimeoutError
        If another program, or another window, has it.
    """
    lock = FileLock(f"{path}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError("another window is at work on it") from error
    return lock


def is_in_use(path: Path) -> bool:
    """Return whether a journal is being written."""
    try:
        locked(path).release()
    except TimeoutError:
        return True
    except OSError:
        return False
    with suppress(OSError):
        Path(f"{path}.lock").unlink()
    return False


def remove(path: Path) -> None:
    """Remove a journal, as far as that can be done."""
    for part in (path, path.with_name(f"{path.name}.lock")):
        with suppress(OSError):
            part.unlink()


def tidy(folder: Path, *, max_age_days: float = MAX_AGE_DAYS, max_bytes: int = MAX_BYTES) -> list[Path]:
    """Remove the journals of a folder that are too old, and the oldest while all of them are too large.

    Returns
    -------
    list of Path
        What was removed; journals that are being written are not.
    """
    removed, n_bytes = [], 0
    for path in journals_in(folder):
        try:
            status = path.stat()
        except OSError:
            continue
        n_bytes += status.st_size
        is_old = time.time() - status.st_mtime > max_age_days * 86400
        if (is_old or n_bytes > max_bytes) and not is_in_use(path):
            remove(path)
            removed.append(path)
            n_bytes -= status.st_size
    return removed


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    """See to it that a new file is on the disk by its name, too, where the system lets us."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
