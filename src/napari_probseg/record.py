"""A session on disk, and as a program: one ``.npz`` file without pickle, one Python script without files."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker, hull, relative
from napari_probseg.files import write_whole
from napari_probseg.history import Change, Step, change_between

if TYPE_CHECKING:
    from napari_probseg.session import Session

FORMAT = "napari-probseg session"
VERSION = 1


def write_session(path: str | Path, session: Session) -> None:
    """Write a session's start and its steps; see `Session.save`."""
    start = session.start
    blank = np.zeros(start.shape, dtype=np.uint8)
    begun = change_between("partial", blank, start.partial) + change_between("strokes", blank, start.strokes)
    arrays: dict[str, NDArray[Any]] = {}
    steps = [_described(step, f"step{i}", arrays) for i, step in enumerate(session.steps)]
    about = {
        "format": FORMAT,
        "version": VERSION,
        "shape": start.shape,
        "spacing": start.spacing,
        "channel_axis": start.channel_axis,
        "n_asked": session._n_asked,
        "start": _described(Step("start", {}, begun), "start", arrays),
        "steps": steps,
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
    return Case(image, about["spacing"], about["channel_axis"], **arrays), steps, int(about["n_asked"])


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


# As a program ---------------------------------------------------------------------------------------------------------


def script_of(session: Session, image: str) -> str:
    """Return the program of a session; see `Session.script`."""
    case = session.start
    lines = [
        '"""What was done in napari-probseg; the strokes are packed into the text."""',
        "",
        "import numpy as np",
        "",
        "import napari_probseg as ps",
        "from napari_probseg.record import unpack",
        "",
        f"image = ps.read({image!r}).data",
        f"case = ps.Case(image, spacing={case.spacing}, channel_axis={case.channel_axis})",
    ]
    for marker, name in ((Marker.OBJECT, "inside"), (Marker.BACKGROUND, "outside")):
        if (case.partial == marker).any():
            lines.append(f"case = case.mark({name}=unpack({pack(case.partial == marker)!r}))")
    lines += ["session = ps.Session(case)", *_loading_lines(session), ""]
    for step in session.steps:
        lines += _WRITERS[step.verb](step)
    lines += ["", "objects = session.objects", "partial = session.case.partial", ""]
    return "\n".join(lines)


def _loading_lines(session: Session) -> list[str]:
    """Return what loads the networks that were used."""
    asked = {step.arguments.get("verb", "propose") for step in session.steps if step.verb == "accept"}
    lines = []
    if "propose" in asked:
        lines.append(f"session.proposer = ps.load_proposer({getattr(session.proposer, 'name', 'general')!r})")
    if "complete" in asked or any(step.verb == "adapt" for step in session.steps):
        lines.append(f"session.completer = ps.load_completer({getattr(session.completer, 'name', 'general')!r})")
    return lines


def _mark_lines(step: Step) -> list[str]:
    """Return the call that draws a step's strokes: its changed voxels, by the marker they got."""
    where = hull(*(change.where for change in step.changes))
    masks = {name: np.zeros([s.stop - s.start for s in where], dtype=bool) for name in ("inside", "outside", "erase")}
    for change in step.changes:
        own = relative(change.where, where)
        for name, marker in zip(masks, (Marker.OBJECT, Marker.BACKGROUND, Marker.UNKNOWN), strict=True):
            masks[name][own] |= (change.before != change.after) & (change.after == marker)
    drawn = ", ".join(f"{name}=unpack({pack(mask)!r})" for name, mask in masks.items() if mask.any())
    spans = ", ".join(f"{s.start}:{s.stop}" for s in where)
    return [f"session.mark({drawn}, where=np.s_[{spans}])"]


def _accept_lines(step: Step) -> list[str]:
    request = {k: tuple(v) if isinstance(v, list) else v for k, v in step.arguments["request"].items()}
    asked = ", ".join(f"{name}={value!r}" for name, value in request.items() if value is not None)
    return [f"session.{step.arguments.get('verb', 'propose')}({asked})", f"session.accept({step.arguments['i']})"]


def _adapt_lines(step: Step) -> list[str]:
    plane = step.arguments["plane"]
    return [f"session.adapt({'' if plane is None else f'plane={tuple(plane)}'})"]


def _take_lines(step: Step) -> list[str]:
    change = next(c for c in step.changes if c.name == "objects")
    spans = ", ".join(f"{s.start}:{s.stop}" for s in change.where)
    first = int(step.arguments["first"])
    new = np.where(change.before != change.after, change.after.astype(np.int64) - first, 0).astype(np.uint32)
    return [
        "labels = np.zeros(case.shape, dtype=np.uint32)",
        f"labels[{spans}] = unpack({pack(new)!r})",
        "session.take(labels)",
    ]


_WRITERS: dict[str, Callable[[Step], list[str]]] = {
    "mark": _mark_lines,
    "accept": _accept_lines,
    "finish": lambda _: ["session.finish()"],
    "reopen": lambda step: [f"session.reopen({step.arguments['label']})"],
    "take": _take_lines,
    "adapt": _adapt_lines,
    "forget": lambda _: ["session.forget()"],
}


def pack(array: NDArray[Any]) -> str:
    """Return a mask or a label array as a short text, to be read by `unpack`."""
    values = np.packbits(array) if array.dtype == bool else np.ascontiguousarray(array, dtype="<u4")
    kind = "b" if array.dtype == bool else "u"
    shape = "x".join(str(n) for n in array.shape)
    return f"{kind}{shape}:{base64.b85encode(zlib.compress(values.tobytes(), 9)).decode()}"


def unpack(text: str) -> NDArray[Any]:
    """Return the array that `pack` wrote: bool, or uint32 labels.

    Raises
    ------
    ValueError
        If the text was changed.
    """
    try:
        head, body = text.split(":", 1)
        shape = tuple(int(n) for n in head[1:].split("x"))
        content = zlib.decompress(base64.b85decode(body))
        if head[0] == "u":
            return np.frombuffer(content, dtype="<u4").reshape(shape).astype(np.uint32)
        bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8))
        return bits[: int(np.prod(shape))].reshape(shape).astype(bool)
    except (ValueError, IndexError, zlib.error) as error:
        raise ValueError("a packed stroke is damaged: copy the script again, whole") from error
