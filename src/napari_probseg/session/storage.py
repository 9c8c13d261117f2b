"""Session file: one ``.npz`` without pickle."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.atomic import write_whole
from napari_probseg.io.limits import Allowance
from napari_probseg.io.paths import reading_failure, refuse_no_file
from napari_probseg.io.picture import NotReadHereError
from napari_probseg.session.encoding import BROKEN, Stored, described, restored
from napari_probseg.session.identity import Identity
from napari_probseg.session.journal import is_journal, read_journal

FORMAT = "napari-probseg session"
VERSION = 1
MAX_ABOUT_BYTES = 2**28


def write_session(path: str | Path, stored: Stored) -> None:
    """Write what is to be stored of a session; see `Session.save`."""
    arrays: dict[str, NDArray[Any]] = {}
    about = {
        "format": FORMAT,
        "version": VERSION,
        "shape": stored.shape,
        "spacing": stored.spacing,
        "channel_axis": stored.channel_axis,
        "in_time": stored.in_time,
        "n_asked": stored.n_asked,
        "identity": None if stored.identity is None else stored.identity.told(),
        "start": described(stored.start, "start", arrays),
        "steps": [described(step, f"step{i}", arrays) for i, step in enumerate(stored.done)],
        "undone": [described(step, f"undone{i}", arrays) for i, step in enumerate(stored.undone)],
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def read_stored(path: str | Path) -> Stored:
    """Return what a session file or a journal holds; see `Session.load`."""
    path = Path(path)
    refuse_no_file(path, "session file")
    if is_journal(path):
        return read_journal(path).stored
    try:
        with path.open("rb") as raw, zipfile.ZipFile(raw) as file:
            if file.getinfo("about.npy").file_size > MAX_ABOUT_BYTES:
                raise ValueError("it tells too much of itself")
            with file.open("about.npy") as member:
                about = json.loads(np.lib.format.read_array(member, allow_pickle=False).tobytes())
            if about["format"] != FORMAT:
                raise ValueError(f"it is a {about['format']!r:.60}")
            if (version := about["version"]) == VERSION:
                return _stored(about, file)
    except NotReadHereError as error:
        raise ValueError(f"{path} cannot be opened: {error}") from error
    except BROKEN as error:
        if (cause := reading_failure(path, error)) is not None:
            raise cause from error
        raise ValueError(f"{path} is damaged or no session of napari-probseg: open another file") from error
    raise ValueError(
        f"{path} is of version {version!r:.20}, this release reads version {VERSION}: "
        f"open it with the release that wrote it"
    )


def _stored(about: dict[str, Any], file: zipfile.ZipFile) -> Stored:
    allowance = Allowance()

    def fetch(key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        with file.open(f"{key}.npy") as member:
            np.lib.format.read_magic(member)
            told = np.lib.format.read_array_header_1_0(member)
            if told != (shape, False, dtype):  # before anything is made of the size that it tells
                raise ValueError(f"{key} is {told}, not {shape} {dtype}")
            n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
            allowance.take(n_bytes)
            content = member.read(n_bytes)
        return np.frombuffer(content, dtype=dtype).reshape(shape)

    shape = tuple(map(int, about["shape"]))
    identity = about.get("identity")
    axis = about["channel_axis"]
    spacing = tuple(map(float, about["spacing"]))
    in_time = about.get("in_time", False) is True  # of files without it, none is
    if len(spacing) != len(shape) - in_time or not all(np.isfinite(mm) and mm > 0 for mm in spacing):
        raise ValueError(f"the spacing {spacing} does not fit an image of {shape}")
    return Stored(
        shape,
        spacing,
        None if axis is None else int(axis),
        restored(about["start"], fetch, shape, verbs=("start",)),
        tuple(restored(step, fetch, shape) for step in about["steps"]),
        tuple(restored(step, fetch, shape) for step in about.get("undone", ())),
        int(about["n_asked"]),
        None if identity is None else Identity.restored(identity),
        in_time,
    )
