"""Session as a Python script, its strokes packed into the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.region import Region, bounding_box, hull, relative
from napari_probseg.session.encoding import start_of
from napari_probseg.session.history import Step
from napari_probseg.session.packing import pack, unpack

__all__ = ["pack", "script_of", "unpack"]  # scripts of earlier releases find `unpack` here

_DRAWN = {"inside": Marker.OBJECT, "outside": Marker.BACKGROUND, "erase": Marker.UNKNOWN}


def script_of(case: Case, steps: Sequence[Step], image: str, *, proposer: str, completer: str) -> str:
    """Return a program that does a session's steps again; see `Session.script`.

    Parameters
    ----------
    case : Case
        What the session began with.
    steps : sequence of Step
    image : str
        The path of the image.
    proposer, completer : str
        What made the candidates of steps that do not say it.
    """
    how = f"spacing={case.spacing}, channel_axis={case.channel_axis}" + ", in_time=True" * case.in_time
    how += f", sizes={case.sizes}" if case.sizes else ""
    lines = [
        '"""What was done in napari-probseg; the strokes are packed into the text."""',
        "",
        "import numpy as np",
        "",
        "import napari_probseg as ps",
        "from napari_probseg.session.script import unpack",
        "",
        f"image = ps.read({image!r}).data",
        f"case = ps.Case(image, {how})",
    ]
    if begun := start_of(case).changes:
        lines.append("begun = {name: np.zeros(case.shape, dtype=np.uint8) for name in ('partial', 'strokes')}")
        for change in begun:
            packed = pack(change.after.astype(np.uint32))
            lines.append(f"begun[{change.name!r}][{_spans(change.where)}] = unpack({packed!r})")
        lines.append(f"case = ps.Case(image, {how}, **begun)")
    lines += ["session = ps.Session(case)"]
    body: list[str] = []
    shown = np.zeros(case.shape, dtype=np.uint8)
    loaded: dict[str, str] = {}
    for step in steps:
        told_of_shown = _shown_by(step, shown)
        role, name = _maker(step, {"proposer": proposer, "completer": completer}, in_time=case.in_time)
        if role and loaded.get(role) != name:
            # The first of each is loaded at the top, another one where it was taken up.
            (body if role in loaded else lines).append(f"session.{role} = ps.load_{role}({name!r})")
            loaded[role] = name
        body += _mark_lines(step, told_of_shown) if step.verb == "mark" else _WRITERS[step.verb](step)
    lines += ["", *body, "", "objects = session.objects", "partial = session.case.partial", ""]
    return "\n".join(lines)


def _maker(step: Step, otherwise: Mapping[str, str], *, in_time: bool) -> tuple[str, str]:
    """Return who made what a step brought, the proposer or the completer, and its name; nothing of other steps.

    Through time it is the completer that carries an object.
    """
    if step.verb not in ("accept", "adapt"):
        return "", ""
    verb = step.arguments.get("verb", "propose") if step.verb == "accept" else "complete"
    role = {"propose": "proposer", "complete": "completer", "carry": "completer" * in_time}.get(verb, "")
    return role, str(step.arguments.get("maker") or otherwise.get(role, ""))


def _shown_by(step: Step, shown: NDArray[np.uint8]) -> str:
    """Take in what a step changed of the answer on show; return the argument that says it, empty if nothing did."""
    changes = [change for change in step.changes if change.name == "shown"]
    for change in changes:
        shown[change.where] = change.after
    where = bounding_box(shown) if changes else None
    if where is None:
        return ""
    expected = step.arguments.get("expected_dice", 0.0)
    on_show = f"np.s_[{_spans(where)}], unpack({pack(shown[where] == Marker.OBJECT)!r})"
    return f"shown=({on_show}{f', {expected}' if expected else ''})"


def _mark_lines(step: Step, shown: str) -> list[str]:
    """Return the call that draws a step's strokes: its changed voxels, by the marker they got."""
    drawing = [change for change in step.changes if change.name != "shown"]
    where = hull(*(change.where for change in drawing))
    drawn = np.full([s.stop - s.start for s in where], -1, dtype=np.int8)
    for change in sorted(drawing, key=lambda change: change.name):  # strokes last: what was erased may be locked
        here = drawn[relative(change.where, where)]
        changed = change.before != change.after
        here[changed] = change.after[changed]
    masks = {name: drawn == marker for name, marker in _DRAWN.items()}
    strokes = ", ".join(f"{name}=unpack({pack(mask)!r})" for name, mask in masks.items() if mask.any())
    return [f"session.mark({strokes}, where=np.s_[{_spans(where)}]{', ' if shown else ''}{shown})"]


def _spans(where: Region) -> str:
    return ", ".join(f"{s.start}:{s.stop}" for s in where)


def _accept_lines(step: Step) -> list[str]:
    request = {k: tuple(v) if isinstance(v, list) else v for k, v in step.arguments["request"].items()}
    asked = ", ".join(f"{name}={value!r}" for name, value in request.items() if value is not None)
    return [f"session.{step.arguments.get('verb', 'propose')}({asked})", f"session.accept({step.arguments['i']})"]


def _adapt_lines(step: Step) -> list[str]:
    plane = step.arguments["plane"]
    return [f"session.adapt({'' if plane is None else f'plane={tuple(plane)}'})"]


def _take_lines(step: Step) -> list[str]:
    first = int(step.arguments["first"])
    lines = ["labels = np.zeros(case.shape, dtype=np.uint32)"]
    for change in step.changes:
        if change.name == "objects":
            new = np.where(change.before != change.after, change.after.astype(np.int64) - first, 0).astype(np.uint32)
            lines.append(f"labels[{_spans(change.where)}] = unpack({pack(new)!r})")
    kinds = {int(label): kind for label, kind in step.arguments.get("kinds", ())}
    return [*lines, f"session.take(labels{f', {kinds}' if kinds else ''})"]


def _finish_lines(step: Step) -> list[str]:
    kind = step.arguments.get("kind", "")
    return [f"session.finish({repr(kind) if kind else ''})"]


def _refine_lines(step: Step) -> list[str]:
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in step.arguments.items()}
    if set(told) == {"how"}:
        return [f"session.refine({told['how']!r})"]
    options = ", ".join(f"{name}={value!r}" for name, value in told.items())
    return ["from napari_probseg.session.refinement import Refinement", f"session.refine(Refinement({options}))"]


def _classify_lines(step: Step) -> list[str]:
    return [f"session.classify({step.arguments['label']}, {step.arguments['kind']!r})"]


def _skip_lines(step: Step) -> list[str]:
    where = tuple(slice(*span) for span in step.arguments["where"])
    return [f"session.skip(unpack({step.arguments['mask']!r}), where=np.s_[{_spans(where)}])"]


_WRITERS: dict[str, Callable[[Step], list[str]]] = {
    "accept": _accept_lines,
    "finish": _finish_lines,
    "reopen": lambda step: [f"session.reopen({step.arguments['label']})"],
    "remove": lambda step: [f"session.remove({step.arguments['label']})"],
    "take": _take_lines,
    "classify": _classify_lines,
    "refine": _refine_lines,
    "skip": _skip_lines,
    "adapt": _adapt_lines,
    "forget": lambda _: ["session.forget()"],
}
