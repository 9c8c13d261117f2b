"""Folders of journals: their names, their locks, and what is removed when there are too many."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from napari_probseg.io.atomic import write_whole

ENDING = ".journal"
MAX_BYTES = 2**30  # of a journal, and of a folder of them
MAX_AGE_DAYS = 90
MAX_REMEMBERED = 20  # folders beside those of the settings


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


def sync_folder(folder: Path) -> None:
    """See to it that a new file is on the disk by its name, too, where the system lets us."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
