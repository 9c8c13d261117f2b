"""Writing files whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


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
