"""What is stored of a session, and its steps as JSON and arrays, and back: for session files and journals."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.images import checked_sizes
from napari_probseg.region import Region
from napari_probseg.session.history import Change, Step, change_between
from napari_probseg.session.identity import Identity, OtherImageError
from napari_probseg.session.packing import unpack
from napari_probseg.session.refinement import Refinement

logger = logging.getLogger(__name__)

# The arrays of a session: their data type and the largest value that they hold.
ARRAYS: Mapping[str, tuple[np.dtype[Any], int]] = {
    "partial": (np.dtype("u1"), int(max(Marker))),
    "strokes": (np.dtype("u1"), int(max(Marker))),
    "objects": (np.dtype("<u4"), 2**31 - 1),
    "shown": (np.dtype("u1"), int(max(Marker))),
}
VERBS = ("mark", "accept", "finish", "reopen", "remove", "take", "skip", "classify", "refine", "adapt", "forget")
ASKED = ("propose", "complete", "carry", "question")  # what the candidates of an accepted step were asked by
MAX_LEARNT_BYTES = 2**28
BROKEN = (  # what reading raises of a file in which anything may be wrong
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,  # of NumPy's headers, which are Python
    TokenError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
# How arrays are fetched that `described` put away under a key: by key, shape and data type.
Fetch = Callable[[str, tuple[int, ...], "np.dtype[Any]"], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Stored:
    """A session without its image and its models.

    Parameters
    ----------
    shape : tuple of int
        The spatial shape, with time first if it has any.
    spacing : tuple of float
        Of the axes of space, in mm.
    channel_axis : int or None
    start : Step
        What was decided when it began, as a step from nothing.
    done, undone : tuple of Step
        See `History`.
    n_asked : int
        How often it had asked.
    identity : Identity or None
        Of its image; release 0.1.0 kept none.
    in_time : bool
        Whether it is a time series; see `Case`.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    channel_axis: int | None
    start: Step
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()
    n_asked: int = 0
    identity: Identity | None = None
    in_time: bool = False

    def case(self, image: Any) -> Case:
        """Return the image as the session knows it."""
        return Case(image, self.spacing, self.channel_axis, in_time=self.in_time, sizes=self.sizes)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sizes in mm that its first object may have had; none where they were not kept."""
        return tuple(self.start.arguments.get("sizes", ()))

    def check(self, case: Case, where: str, *, any_image: bool = False) -> None:
        """Raise if a case is not of the image that the session belongs to.

        Parameters
        ----------
        case : Case
        where : str
            Where the session was kept, for the sentence.
        any_image : bool
            Whether any image of the same shape will do.

        Raises
        ------
        ValueError
            If its shape is another.
        OtherImageError
            If it is another image of the same shape.
        """
        if case.shape != self.shape:
            raise ValueError(f"{where} was made on an image of {self.shape}, this one is {case.shape}")
        difference = "" if any_image or self.identity is None else self.identity.difference(Identity.of(case))
        if difference:
            raise OtherImageError(
                f"{where} was made on another image than this one: {difference}; any_image=True opens it all the same"
            )


def start_of(case: Case) -> Step:
    """Return what a case has decided, and which sizes its object may have, as a step from nothing."""
    where = case.marked
    parts = {"partial": case.partial[where], "strokes": case.strokes[where]}
    found = (change_between(name, np.zeros_like(values), values, where) for name, values in parts.items())
    told = {"sizes": list(case.sizes)} if case.sizes else {}
    return Step("start", told, tuple(change for changes in found for change in changes))


def described(step: Step, name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Put a step's regions into ``arrays``, under names that begin with ``name``; return the rest for JSON."""
    changes = []
    for i, change in enumerate(step.changes):
        arrays[f"{name}_{i}_before"], arrays[f"{name}_{i}_after"] = change.before, change.after
        changes.append({"name": change.name, "key": f"{name}_{i}", "where": [[s.start, s.stop] for s in change.where]})
    about = {"verb": step.verb, "arguments": dict(step.arguments), "changes": changes}
    if weights := _weights_of(step.learnt):
        key = f"{name}_learnt"
        arrays[key] = np.frombuffer(weights, dtype=np.uint8)
        about["learnt"] = {"key": key, "n_bytes": len(weights)}
    return about


def _weights_of(learnt: Any) -> bytes:
    """Return what was fine-tuned as the bytes of a weights file; none if it has no weights."""
    if learnt is None or isinstance(learnt, bytes):
        return learnt or b""
    if isinstance(tuned := getattr(learnt, "tuned", None), bytes):  # it lies in another process
        return tuned
    from napari_probseg.proposers.fine_tuned import packed

    try:
        return packed(learnt)
    except RuntimeError as error:  # of a GPU: the step itself is kept
        logger.warning("what was fine-tuned cannot be kept: %s", error)
        return b""


def restored(about: Mapping[str, Any], fetch: Fetch, shape: Sequence[int], *, verbs: Sequence[str] = VERBS) -> Step:
    """Return the step that was `described`.

    Parameters
    ----------
    about : mapping
        What `described` returned.
    fetch : function
        Returns the array of a key, which must have a shape and a data type.
    shape : sequence of int
        The spatial shape of the image.
    verbs : sequence of str
        The verbs that it can be of.

    Raises
    ------
    KeyError, TypeError
        If that is none.
    ValueError
        If it is none on such an image, or of another verb.
    """
    if about["verb"] not in verbs or not isinstance(about["arguments"], dict):
        raise ValueError(f"there is no step {about['verb']!r}")
    changes = []
    for told in about["changes"]:
        where = _region(told["where"], shape)
        dtype, largest = ARRAYS[told["name"]]
        sides = tuple(s.stop - s.start for s in where)
        before, after = (fetch(f"{told['key']}_{when}", sides, dtype) for when in ("before", "after"))
        if max(int(before.max(initial=0)), int(after.max(initial=0))) > largest:
            raise ValueError(f"{told['name']} of a step hold values that they cannot have")
        changes.append(Change(told["name"], where, before, after))
    learnt = None
    if (weights := about.get("learnt")) is not None:
        if about["verb"] != "adapt" or not 0 < _whole(weights["n_bytes"]) <= MAX_LEARNT_BYTES:
            raise ValueError(f"a step cannot have learnt {weights}")
        learnt = fetch(weights["key"], (weights["n_bytes"],), np.dtype("u1")).tobytes()
    step = Step(about["verb"], about["arguments"], tuple(changes), learnt)
    _check_arguments(step, shape)
    return step


def _region(told: Any, shape: Sequence[int]) -> Region:
    """Return a region of an image that JSON told."""
    where = tuple(slice(_whole(start), _whole(stop)) for start, stop in told)
    if len(where) != len(shape) or not all(0 <= s.start < s.stop <= n for s, n in zip(where, shape, strict=True)):
        raise ValueError(f"a step lies at {told}, which is not in an image of {tuple(shape)}")
    return where


def _check_arguments(step: Step, shape: Sequence[int]) -> None:
    """Raise if the arguments of a step are not what its verb takes: they come from a file that may hold anything."""
    told = step.arguments
    changed = {change.name for change in step.changes}
    if (step.verb == "mark" and not changed) or (step.verb == "take" and "objects" not in changed):
        raise ValueError(f"a step {step.verb!r} changes nothing")
    if step.verb == "mark" and "box" in told:
        _region(told["box"], shape)
    elif step.verb == "start":
        checked_sizes(told.get("sizes", ()))
    elif step.verb in ("finish", "reopen", "remove", "classify"):
        _whole(told["label"])
        _text(told.get("kind", ""))
    elif step.verb == "take":
        _whole(told["first"]), _whole(told.get("like", 0))
        for label, kind in told.get("kinds", ()):
            _whole(label)
            _text(kind)
    elif step.verb == "skip":
        if unpack(told["mask"]).shape != tuple(s.stop - s.start for s in _region(told["where"], shape)):
            raise ValueError("what was skipped has another shape than its region")
    elif step.verb == "refine":
        plane = told.get("plane")
        Refinement(**{**told, "plane": None if plane is None else tuple(map(_whole, plane))})
    elif step.verb == "accept":
        _whole(told["i"])
        request, verb = told["request"], told.get("verb", "propose")
        if verb not in ASKED or not isinstance(told.get("maker", ""), str):
            raise ValueError(f"a candidate was accepted of {verb!r}, which is no way to ask")
        if not isinstance(request, dict) or not all(name.isidentifier() for name in request):
            raise ValueError("a request has arguments that are no names")
        for value in request.values():
            _plain(value)
    elif step.verb == "adapt":
        if told["plane"] is not None:
            axis, index = told["plane"]
            _whole(axis), _whole(index)
        if not isinstance(told.get("maker", ""), str):
            raise ValueError("what was fine-tuned has no name")


def _plain(value: Any) -> None:
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(part is None or isinstance(part, bool | int | float | str) for part in parts):
        raise ValueError(f"an argument cannot be {value!r}")


def _text(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"a name is needed, got {value!r}")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a whole number is needed, got {value!r}")
    return value
