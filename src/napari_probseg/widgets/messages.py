"""Messages of the widgets to the user."""

from __future__ import annotations

from napari_probseg.session.session import Step

_LONGEST = 240
_STEPS = {
    "mark": "a stroke",
    "accept": "a candidate",
    "finish": "finishing an object",
    "reopen": "reopening an object",
    "take": "taking objects",
    "adapt": "fine-tuning to this image",
    "forget": "forgetting what was learnt",
}


def sentence_of(error: Exception) -> str:
    """Return the first line of an error as a sentence."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "…", "?", "!")) else ".")


def nothing_on_view(i: int) -> str:
    """Return what to say of candidate ``i`` of a volume where the slice on view shows nothing of it."""
    return f"Candidate {i + 1} adds nothing on this slice: right-click its picture to go to where it does."


def name_of(step: Step) -> str:
    """Return a step in words: "a stroke"."""
    return _STEPS.get(step.verb, step.verb)
