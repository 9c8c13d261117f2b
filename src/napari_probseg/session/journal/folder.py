"""Folders of journals: their names, their locks, and what is removed when there are too many."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from napari_probseg.io.atomic import write_whole

ENDING = ".journal"
MAX_BYTES = 2**30  # of a journal, and of a folder of them
MAX_AGE_DAYS = 90
MAX_REMEMBERED = 20  # folders beside those of the settings
FIRST_RELEASE = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # no journal is older


def new_path(folder: Path, name: str) -> Path:
    """Return where a new journal of an image called so will be."""
    stem = re.sub(r"[^\w.-]+", "_", name)[:60].strip(".") or "image"
    stem = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    numbers = chain([""], (f"-{i}" for i in range(1, 10_000)))
    return next(path for number in numbers if not (path := folder / f"{stem}{number}{ENDING}").exists())


def journals_in(folder: Path) -> list[Path]:
    """Return the journals of a folder, the latest first; none if it cannot be looked into."""
    dated: list[tuple[float, Path]] = []
    with suppress(OSError):
        for path in folder.glob(f"*{ENDING}"):
            with suppress(OSError):  # it was removed just now, or is a link that leads nowhere: the others are there
                dated.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(dated, reverse=True)]


def remember(folder: Path, places: Path) -> None:
    """Note that there are journals in a folder, in a file of such folders."""
    known = remembered(places)
    if folder not in known:
        with suppress(OSError):  # journals there are found again as soon as their image is opened
            places.parent.mkdir(parents=True, exist_ok=True)
            write_whole(places, json.dumps([str(folder), *map(str, known[: MAX_REMEMBERED - 1])]).encode())


def remembered(places: Path) -> list[Path]:
    """Return the folders that were noted in a file, the latest first."""
    try:
        return [Path(folder) for folder in json.loads(places.read_bytes()) if isinstance(folder, str)]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


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
        unlock(locked(path))
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def unlock(lock: FileLock) -> None:
    """Let a lock go, and remove its file: while it is held, lest it be that of another program already."""
    file = Path(lock.lock_file)
    if os.name == "nt":  # where a file that is open cannot be removed
        lock.release()
    with suppress(OSError):
        file.unlink()
    lock.release()


def remove(path: Path) -> None:
    """Remove a journal, as far as that can be done."""
    for part in (path, path.with_name(f"{path.name}.lock")):
        with suppress(OSError):
            part.unlink()


def tidy(
    folder: Path, *, max_age_days: float = MAX_AGE_DAYS, max_bytes: int = MAX_BYTES, keep: Sequence[Path] = ()
) -> list[Path]:
    """Remove the journals of a folder that are too old, and the oldest while all of them are too large.

    How old one is counts from the latest of them, not from now: who was away finds what was left, and a clock that runs
    ahead removes nothing. One from before there were any was written by a clock that had lost the time, and counts as
    of now.

    Parameters
    ----------
    folder : Path
    max_age_days : float
    max_bytes : int
        Of all together.
    keep : sequence of Path
        Journals that stay in any case: those of an image that was just opened.

    Returns
    -------
    list of Path
        What was removed; journals that are being written are not.
    """
    removed: list[Path] = []
    n_bytes, latest = 0, 0.0
    for path in journals_in(folder):
        try:
            if path.stat().st_mtime < FIRST_RELEASE:
                os.utime(path)
            status = path.stat()
        except OSError:
            continue
        n_bytes, latest = n_bytes + status.st_size, latest or status.st_mtime
        is_old = latest - status.st_mtime > max_age_days * 86400
        if (is_old or n_bytes > max_bytes) and path not in keep and not is_in_use(path):
            remove(path)
            removed.append(path)
            n_bytes -= status.st_size
    return removed


def sync_folder(folder: Path) -> None:
    """See to it that a new file is on the disk by its name, too, where the system lets us."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
