"""What a path leads to, in words, where it is not the file or folder that is wanted: links, pipes, folders, names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

CHECK_ITS_NAME = "check its name"  # where there is nothing at all
_OF_THE_DISK = {
    getattr(errno, name, None)
    for name in ("EIO", "ESTALE", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "ETIMEDOUT", "ENXIO", "ENODEV", "EBUSY")
} - {None}
_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}


def refuse_no_file(path: str | Path, what: str = "file") -> None:
    """Raise if there is no file at a path to be read; a pipe or a device, which to open could take for ever, is none.

    Parameters
    ----------
    path : path
    what : str
        What it is called to the user: ``"file"``, ``"session file"``.

    Raises
    ------
    FileNotFoundError
        If there is none. Where that cannot be told, reading it will.
    """
    if why := why_no_file(path):
        raise FileNotFoundError(f"there is no {what} {path}: {why}")


def why_no_file(path: str | Path) -> str:
    """Return why there is no file at a path, and what to do, as the end of a sentence; empty if there is one."""
    path = Path(path)
    if obstacle := _on_the_way_to(path, "name another file"):
        return obstacle
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return CHECK_ITS_NAME
    except OSError:
        return ""
    if stat.S_ISDIR(mode):
        return "it is a folder, name a file in it"
    return "" if stat.S_ISREG(mode) else "it is a pipe or a device, name a file"


def why_no_folder(path: str | Path, *, or_new: bool = False) -> str:
    """Return why there is no folder at a path, and what to do, as the end of a sentence; empty if there is one.

    With ``or_new`` it is empty where one may be made, too.
    """
    path = Path(path)
    if obstacle := _on_the_way_to(path, "name another folder"):
        return obstacle
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return "" if or_new else CHECK_ITS_NAME
    except OSError:
        return ""
    return "" if is_folder else "it is no folder, name one"


def why_not_writable(path: str | Path) -> str:
    """Return why no file can be written at a path, and what to do, as the end of a sentence; empty if one may be.

    A pipe or a device is not to be replaced by a file, and a link that leads to a disk that is not there does not make
    its folder elsewhere.
    """
    path = Path(path)
    if obstacle := _on_the_way_to(path, "choose another name", is_written=True):
        return obstacle
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if stat.S_ISDIR(mode):
        return "it is a folder, choose another name"
    return "" if stat.S_ISREG(mode) else "it is a pipe or a device, choose another name"


def refuse_to_write(path: str | Path, *, made_from: Iterable[str | Path | None] = ()) -> None:
    """Raise, before anything is computed, if no result can be written at a path.

    Parameters
    ----------
    path : path
        Of the result.
    made_from : iterable of path, optional
        The files that it is made from, which it must not replace.

    Raises
    ------
    OSError
        If there can be no file, or its folder may not be written to.
    ValueError
        If it is one of those files.
    """
    path = Path(path)
    if why := why_not_writable(path):
        raise OSError(f"{path} could not be written: {why}")
    if path.exists() and any(given is not None and path.samefile(given) for given in made_from):
        raise ValueError(f"{path} is what the result is made from, and would be replaced: choose another name")
    folder = next(one for one in Path(os.path.realpath(path)).parents if one.exists())
    if not os.access(folder, os.W_OK):
        raise OSError(f"{path} could not be written: {folder} is read-only, choose another place")


def reading_failure(path: str | Path, error: BaseException) -> OSError | MemoryError | None:
    """Return the error to raise where a file could not be read for no fault of its content; None if it is that."""
    if isinstance(error, PermissionError):
        return PermissionError(f"{path} may not be read: ask its owner for access")
    if isinstance(error, MemoryError):
        return MemoryError(f"{path} does not fit into memory: close other programs, or use a smaller part of it")
    if isinstance(error, FileNotFoundError) and not Path(path).exists():
        return FileNotFoundError(f"there is no file {path} any more: it was removed or renamed while it was read")
    if isinstance(error, OSError) and error.errno in _TOO_MANY_OPEN:
        return OSError(f"{path} could not be read ({error.strerror}): close some of what is open, try again")
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return OSError(
            f"{path} could not be read ({error.strerror}): see whether its disk or network is there, try again"
        )
    return None


def _on_the_way_to(path: Path, advice: str, *, is_written: bool = False) -> str:
    """Return what on the way to a path is not what it should be, and the advice; empty if nothing is."""
    for one in (*reversed(path.parents), path):
        try:
            one.stat()
        except ValueError:
            return f"a name cannot hold what this one does, {advice}"
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return f"its name is longer than names can be, {'choose a shorter name' if is_written else advice}"
            if error.errno == errno.ENOTDIR:
                return f"{one.parent} is no folder, {advice}"
            if not one.is_symlink():
                return ""
            what = "it is a link that leads" if one == path else f"{one} is a link that leads"
            if error.errno == errno.ELOOP:
                return f"{what} back to itself, {advice}"
            if is_written and one == path and Path(os.path.realpath(path)).parent.is_dir():
                return ""
            return f"{what} to {one.readlink()}, which is not there, {advice}"
    return ""
