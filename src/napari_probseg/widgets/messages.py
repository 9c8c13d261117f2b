"""Messages of the widgets to the user."""

from __future__ import annotations

import time
from datetime import datetime

from napari_probseg.progress import counted
from napari_probseg.session.series import Series
from napari_probseg.session.session import Step

GIVEN_UP = "Given up; nothing has changed."
STROKES_ALONE = "it is your strokes alone; was more meant? Undo, then Complete."
LACKS_LEARNT = " What was learnt of the image is not at hand: fine-tune again."
_LONGEST = 240
_LONGEST_NAME = 22  # that a button has room for
_STEPS = {
    "mark": "a stroke",
    "accept": "a candidate",
    "finish": "finishing an object",
    "reopen": "reopening an object",
    "remove": "removing an object",
    "take": "taking objects",
    "skip": "skipping an object",
    "refine": "refining objects",
    "classify": "giving an object a class",
    "adapt": "fine-tuning to this image",
    "forget": "forgetting what was learnt",
}


def progress_of(series: Series) -> str:
    """Return how far a series is: "2 of 20 images · 7 objects · 40 s per image"; empty while none is finished."""
    if not series.done:
        return ""
    far = f"{series.n_done} of {len(series.images)} images · {counted(series.n_objects, 'object')}"
    seconds = round(series.seconds_per_image)
    each = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds} s"
    return f"{far} · {each} per image" if seconds else far


def sentence_of(error: Exception) -> str:
    """Return the first line of an error as a sentence."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "…", "?", "!")) else ".")


def nothing_on_view(i: int) -> str:
    """Return what to say of candidate ``i`` of a volume where the slice on view shows nothing of it."""
    return f"Candidate {i + 1} adds nothing on this slice: right-click its picture to go to where it does."


def question_of(
    name: str,
    n_steps: int,
    n_objects: int,
    when: float,
    *,
    difference: str = "",
    of: str = "",
    now: float | None = None,
) -> str:
    """Return what to ask about earlier work on an image.

    Parameters
    ----------
    name : str
        Of the image.
    n_steps, n_objects : int
        How much was done.
    when, now : float
        In seconds since 1970.
    difference : str
        How the image differs from the one that was worked on.
    of : str
        The file that was worked on, where that has another name.
    """
    what = _work(n_steps, n_objects, when, now)
    if difference:
        return (
            f"There is earlier work on “{name}”: {what}. But this is another image of the "
            f"same shape: {difference}. Go on here all the same?"
        )
    if of:
        return f"Go on here with the work on “{of}”, which holds the same image?\n{what}"
    return f"Go on where you were on “{name}”?\n{what}"


def offer_of(name: str, n_steps: int, n_objects: int, when: float, *, now: float | None = None) -> str:
    """Return how the latest work is offered while no image is open, and in a second line what it is."""
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}…{name[-8:]}"
    return f"Go on with “{short}”\n{name}: {_work(n_steps, n_objects, when, now)}"


def _work(n_steps: int, n_objects: int, when: float, now: float | None) -> str:
    """Return how much was done, and when: "14 steps, 2 finished objects, today 14:03"."""
    then, today = datetime.fromtimestamp(when), datetime.fromtimestamp(time.time() if now is None else now).date()
    days = (today - then.date()).days
    day = {0: "today", 1: "yesterday"}.get(days, f"{then:%d %B %Y}".lstrip("0"))
    work = counted(n_steps, "step") + (f", {counted(n_objects, 'finished object')}" if n_objects else "")
    return f"{work}, {day} {then:%H:%M}"


def cut_off(copy: str) -> str:
    """Return what to say of a journal that was damaged, and is kept as it was in a copy."""
    return f"Its journal is damaged: the steps behind that place are missing, and {copy} is the file as it was."


def name_of(step: Step) -> str:
    """Return a step in words: "a stroke"."""
    if step.is_joined:
        return "giving objects their classes"
    if "box" in step.arguments:
        return "a box"
    return _STEPS.get(step.verb, step.verb)
