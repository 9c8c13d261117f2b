"""Atomic writing of one file, or of several together, and locks."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_probseg.io.paths import why_no_folder, why_not_writable

PART = ".part"  # the ending of a file that is being written
MAX_PART_AGE_SECONDS = 24 * 3600  # after which nobody writes to a part file any more
_HOST = re.sub(r"[^0-9A-Za-z]", "", socket.gethostname())[:16]
_LOCK = ".lock"  # of a folder
_STAGED = ".adding"  # files that are being written; of no account until all of them are
_DECIDED = ".added"  # files that are all written and count, on their way to their places


class UnsettledError(OSError):
    """Files are written and count, but could not be moved to their places yet."""


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that a crash or a full disk leaves the old one as it was.

    A link is written through, the mode of the old file is kept, and in a folder that a group may write to, the group
    may read and write the new file. What a crash leaves of an earlier try is tidied up at the next one.

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
    if why := why_not_writable(path):
        raise OSError(f"{path} could not be written: {why}")
    place = Path(os.path.realpath(path))
    tried = f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}"  # the name may be as long as names can be
    part = place.with_name(f"{tried}.{_HOST}-{os.getpid()}{PART}")
    try:
        make_folder(place.parent)
        for half in place.parent.glob(f"{tried}.*{PART}"):
            _tidy(half)
        part.write_bytes(content)
        _sync(part)
        _share(part, like=place)
        part.replace(place)
    except OSError as error:
        raise OSError(f"{path} could not be written ({error.strerror or error}): {_advice(error)}") from error
    finally:
        with suppress(OSError):  # where the folder could not be made, there is nothing to remove
            part.unlink()


def reason_of(error: OSError) -> str:
    """Return what the system said, where a sentence of this module or its own says more."""
    first = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return first.strerror or str(first)


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there, that whoever may write to the one above may write to as well.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in reversed(missing):
        with suppress(OSError):
            mode, above = stat.S_IMODE(one.stat().st_mode), stat.S_IMODE(one.parent.stat().st_mode)
            if above & stat.S_IWGRP and not above & stat.S_ISVTX:
                one.chmod(mode | above & (stat.S_ISGID | stat.S_IRWXG | stat.S_IRWXO))


def output_folder(folder: str | Path) -> Path:
    """Make a folder for results, if it is not there, and return it.

    Raises
    ------
    OSError
        If it cannot be made, in one sentence.
    """
    folder = Path(folder)
    if why := why_no_folder(folder, or_new=True):
        raise OSError(f"the folder {folder} could not be made: {why}")
    try:
        make_folder(folder)
    except OSError as error:
        raise OSError(f"the folder {folder} could not be made ({error.strerror}): choose another place") from error
    return folder


def _share(path: Path, *, like: Path) -> None:
    """Give a new file the mode of the one that it takes the place of, or what a shared folder asks for."""
    with suppress(OSError):
        if like.exists():
            path.chmod(stat.S_IMODE(like.stat().st_mode))
            return
        mode, above = stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)
        if above & stat.S_IWGRP and not above & stat.S_ISVTX:
            path.chmod(mode | above & (stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH))


def _sync(path: Path) -> None:
    """See to it that a file is on the disk: what counts is whole after a power cut, too, and a full disk is told."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _tidy(part: Path) -> None:
    """Remove a part file whose writer is gone."""
    host, _, pid = part.name.removesuffix(PART).rpartition(".")[2].rpartition("-")
    with suppress(OSError, ValueError):
        is_old = time.time() - part.stat().st_mtime > MAX_PART_AGE_SECONDS
        if is_old or (host == _HOST and pid != str(os.getpid()) and not _runs(int(pid))):
            part.unlink()


def _runs(pid: int) -> bool:
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _advice(error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name"
    return "choose another place or free space"


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

    path = folder / _LOCK
    mode = 0o666 & stat.S_IMODE(folder.stat().st_mode) | 0o600  # whoever may write to the folder may lock it
    lock = FileLock(path, timeout=timeout, mode=mode, thread_local=False)  # a generator may be closed in any thread
    try:
        lock.acquire()
        with suppress(OSError):  # another's
            path.chmod(mode)
    except Timeout as error:
        raise TimeoutError(f"another program is writing to {folder}: try again when it is done") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def begun(folder: Path) -> Iterator[list[str]]:
    """Let a folder be made and begun; where that fails, what is new of it is taken away again.

    What another program has put there meanwhile stays, and all else does then.

    Parameters
    ----------
    folder : path

    Yields
    ------
    list of str
        Names of files, none yet: those that the caller has made are added to it.
    """
    missing = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    made = list[str]()
    try:
        yield made
    except BaseException:
        with suppress(OSError):
            with locked(folder, timeout=1):
                is_alone = {path.name for path in folder.iterdir()} <= {*there, *made, _LOCK}
                for name in made if is_alone else ():
                    (folder / name).unlink(missing_ok=True)
            if is_alone and _LOCK not in there:
                (folder / _LOCK).unlink(missing_ok=True)
            for one in missing if is_alone else ():
                one.rmdir()
        raise


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
        make_folder(staged)
        yield staged
        for path in _files_below(staged):
            _refuse_place(folder / path.relative_to(staged), staged)
            _sync(path)
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
    _refuse_outside(decided, folder)
    try:
        for path in sorted(_files_below(decided), key=lambda path: _rank(path.relative_to(decided), last)):
            place = folder / path.relative_to(decided)
            _refuse_outside(place, folder)
            make_folder(place.parent)
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
    _refuse_outside(path, staged.parent)
    there = next(parent for parent in path.parents if parent.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(errno.EACCES, f"{there} is read-only")
    if there.stat().st_dev != staged.stat().st_dev:
        raise OSError(errno.EXDEV, f"{there} lies on another disk than {staged.parent}, move it there")


def _refuse_outside(path: Path, folder: Path) -> None:
    """Raise if a link on the way to ``path`` leads out of ``folder``."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not there.resolve().is_relative_to(folder.resolve()):
        raise PermissionError(errno.EACCES, f"{there} is a link that leads out of {folder}: put a folder in its place")
