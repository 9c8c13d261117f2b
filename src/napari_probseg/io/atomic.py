"""Atomic writing of one file, or of several together, and locks."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_STAGED = ".adding"  # files that are being written; of no account until all of them are
_DECIDED = ".added"  # files that are all written and count, on their way to their places


class UnsettledError(OSError):
    """Files are written and count, but could not be moved to their places yet."""


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that a crash or a full disk leaves the old one as it was.

    Parameters
    ----------
    path : path
        Its folder is made if it is not there.
    content : bytes

    Raises
    ------
    OSError
        If it cannot be written; the old file is whole then, and nothing half is left.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}): choose another place or free space"
        ) from error
    finally:
        with suppress(OSError):  # where the folder could not be made, there is nothing to remove
            part.unlink()


@contextmanager
def locked(folder: Path, *, timeout: float = 60) -> Iterator[None]:
    """Keep other writers out of a folder.

    The lock is the operating system's, which frees it when its process ends, however it ends: a ``.lock`` file that
    is left behind holds nobody up.

    Parameters
    ----------
    folder : path
    timeout : float
        How long to wait for another writer, in seconds.

    Raises
    ------
    TimeoutError
        If another writer is not done by then.
    OSError
        If the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=timeout, thread_local=False)  # a generator may be closed in any thread
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError(f"another program is writing to {folder}: try again when it is done") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def together(folder: Path, *, last: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a folder for files that then all appear below ``folder``; after a crash at any moment, all or none do.

    They are written aside, and one rename decides that they count. From there on they are moved to their places, by
    `settle` if this process does not live to do it. To be called while `locked`.

    Parameters
    ----------
    folder : path
    last : sequence of str
        What in the folder takes its place after all the rest, in this order.

    Raises
    ------
    OSError
        If something cannot be written; nothing is changed then.
    UnsettledError
        If everything is written, but not all of it can take its place yet.
    """
    settle(folder, last=last)
    staged = folder / _STAGED
    try:
        staged.mkdir()
        yield staged
        for path in _files_below(staged):
            _refuse_place(folder / path.relative_to(staged), staged)
            with path.open("rb+") as file:  # so that after a power cut, too, what counts is whole
                os.fsync(file.fileno())
        staged.rename(folder / _DECIDED)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    settle(folder, last=last)


def is_unsettled(folder: Path) -> bool:
    """Return whether files that count are not in their places yet."""
    return (folder / _DECIDED).is_dir()


def settle(folder: Path, *, last: Sequence[str] = ()) -> None:
    """Bring to its end what a crash interrupted in `together`; to be called while `locked`.

    Raises
    ------
    UnsettledError
        If a file cannot be moved to its place; the next call goes on.
    """
    shutil.rmtree(folder / _STAGED, ignore_errors=True)
    decided = folder / _DECIDED
    if not decided.is_dir():
        return
    try:
        for path in sorted(_files_below(decided), key=lambda path: _rank(path.relative_to(decided), last)):
            place = folder / path.relative_to(decided)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        shutil.rmtree(decided)
    except OSError as error:
        raise UnsettledError(
            f"files wait in {decided} for their places below {folder} ({error.strerror or error}): make the folder "
            f"writable, close what has its files open, and open it again"
        ) from error


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _rank(path: Path, last: Sequence[str]) -> tuple[int, Path]:
    top = path.parts[0]
    return (last.index(top) + 1 if top in last else 0), path


def _refuse_place(path: Path, staged: Path) -> None:
    """Raise if a staged file could not be renamed to ``path``, while that still changes nothing."""
    there = next(parent for parent in path.parents if parent.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(errno.EACCES, f"{there} is read-only")
    if there.stat().st_dev != staged.stat().st_dev:
        raise OSError(errno.EXDEV, f"{there} lies on another disk than {staged.parent}, move it there")
