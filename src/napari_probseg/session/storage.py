"""Session file: one ``.npz`` without pickle."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case
from napari_probseg.io.atomic import write_whole
from napari_probseg.session.history import Change, Step, change_between

FORMAT = "napari-probseg session"
VERSION = 1


def write_session(path: str | Path, start: Case, steps: Sequence[Step], n_asked: int) -> None:
    """Write what a session began with, its steps, and how often it asked; see `Session.save`."""
    blank = np.zeros(start.shape, dtype=np.uint8)
    begun = change_between("partial", blank, start.partial) + change_between("strokes", blank, start.strokes)
    arrays: dict[str, NDArray[Any]] = {}
    described = [_described(step, f"step{i}", arrays) for i, step in enumerate(steps)]
    about = {
        "format": FORMAT,
        "version": VERSION,
        "shape": start.shape,
        "spacing": start.spacing,
        "channel_axis": start.channel_axis,
        "n_asked": n_asked,
        "start": _described(Step("start", {}, begun), "start", arrays),
        "steps": described,
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def read_session(path: str | Path, image: Any) -> tuple[Case, list[Step], int]:
    """Return the case that a session began with, its steps, and how often it had asked; see `Session.load`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no session file {path}")
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]))
            start = _restored(about["start"], file)
            steps = [_restored(step, file) for step in about["steps"]]
    except (
        ValueError,
        KeyError,
        TypeError,
        OSError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} is damaged or no session of napari-probseg: open another file") from error
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {about.get('version')}, this release reads version {VERSION}: "
            f"open it with the release that wrote it"
        )
    case = Case(image, about["spacing"], about["channel_axis"])
    if case.shape != tuple(about["shape"]):
        raise ValueError(f"{path} was made on an image of {tuple(about['shape'])}, this one is {case.shape}")
    arrays = {change.name: change.applied(getattr(case, change.name)) for change in start.changes}
    start_case = case.with_markers(arrays.get("partial", case.partial), arrays.get("strokes", case.strokes))
    return start_case, steps, int(about["n_asked"])


def _described(step: Step, name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Put a step's regions into ``arrays`` and return the rest as JSON can hold it."""
    changes = []
    for i, change in enumerate(step.changes):
        arrays[f"{name}_{i}_before"], arrays[f"{name}_{i}_after"] = change.before, change.after
        changes.append({"name": change.name, "key": f"{name}_{i}", "where": [[s.start, s.stop] for s in change.where]})
    return {"verb": step.verb, "arguments": dict(step.arguments), "changes": changes}


def _restored(about: dict[str, Any], file: Any) -> Step:
    changes = (
        Change(
            change["name"],
            tuple(slice(a, b) for a, b in change["where"]),
            file[f"{change['key']}_before"],
            file[f"{change['key']}_after"],
        )
        for change in about["changes"]
    )
    return Step(about["verb"], about["arguments"], tuple(changes))
