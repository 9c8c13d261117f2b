"""View state of the Segment widget: what is shown and what can be done, derived from the session and never set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_probseg.case import Marker

if TYPE_CHECKING:
    from napari_probseg.session.finished import FinishedObject
    from napari_probseg.session.history import Step
    from napari_probseg.session.session import Session

BRUSH_HINT = "Brush a little inside the object\nand a little outside it,\nthen propose."
PROPOSE_HINT = "Propose draws several ways to go on:\nhover to look, click to accept."
LIVE_HINT = "Brush a little inside the object\nand a little outside it:\nthe answer follows by itself."
STROKES_HINT = "Your strokes are there:\ncomplete the object, propose,\nor brush on."
CORRECT_HINT = "Brush where it is wrong,\npropose a next step,\nor finish the object."
SLICE_HINT = "Brush where it is wrong, or accept\nother slices: Complete in the Volume\ngoes on from them."
BOX_HINT = "Draw a rectangle around the object,\nfrom corner to corner."
BUSY_HINT = "One moment…"
_OF_THE_OBJECT = ("mark", "accept", "reopen", "finish")  # after which there is none, until it is brushed


@dataclass(frozen=True)
class ViewState:
    """What the widget draws.

    Parameters
    ----------
    has_image, is_volume : bool
        Whether there is an image at work, and whether it is a volume, not images in time.
    is_asking, is_busy : bool
        Whether a question is out that the user asked; whether that, or a file is read or written.
    is_live : bool
        Whether answers come by themselves.
    can_cancel : bool
        Whether there is something to give up: a question, or what waits for the mouse.
    can_accept, can_choose, can_cut : bool
        Whether there is a candidate to accept, several to choose from, a completion to cut anew.
    can_undo, can_redo, can_finish : bool
    objects : tuple of FinishedObject
        The finished objects, by number.
    knows_uncertainty : bool
        Whether it is known where samples disagree.
    brush : Marker or None
        The brush in hand; UNKNOWN is the eraser.
    question : str
        What earlier work there is to go on with; empty if there is none to be asked about.
    offered_work : str
        What the latest work was, offered while there is no image; empty if there is none.
    hint : str
        What to do next, where the candidates will be.
    """

    has_image: bool = False
    is_volume: bool = False
    is_asking: bool = False
    is_live: bool = False
    is_busy: bool = False
    can_cancel: bool = False
    can_accept: bool = False
    can_choose: bool = False
    can_cut: bool = False
    can_undo: bool = False
    can_redo: bool = False
    can_finish: bool = False
    objects: tuple[FinishedObject, ...] = ()
    knows_uncertainty: bool = False
    brush: Marker | None = None
    question: str = ""
    offered_work: str = ""
    hint: str = BRUSH_HINT


def view_state(
    session: Session | None,
    *,
    has_image: bool,
    is_volume: bool = False,
    is_asking: bool,
    is_held: bool,
    knows_uncertainty: bool,
    is_live: bool = False,
    is_awaited: bool = False,
    mode: str = "",
    label: int = 0,
    question: str = "",
    offered_work: str = "",
    has_alike: bool = False,
    is_boxing: bool = False,
    is_picking: bool = False,
) -> ViewState:
    """Derive what the widget draws.

    Parameters
    ----------
    session : Session or None
        Of the image at work, once there is one.
    has_image, is_volume, is_asking, is_held, knows_uncertainty, is_live : bool
        See `ViewState`; ``is_held`` while a file is read or written.
    is_awaited : bool
        Whether an answer is awaited that comes by itself.
    mode, label : str, int
        Of the markers layer.
    question, offered_work : str
        See `ViewState`.
    has_alike : bool
        Whether objects like the finished ones are on show.
    is_boxing, is_picking : bool
        Whether a box, or a click on an object, is awaited.
    """
    offer = None if session is None or is_asking else session.on_offer
    accepted = None if session is None or is_asking else session.accepted
    is_cut = accepted is not None or (offer is not None and offer.completion is not None)
    return ViewState(
        has_image=has_image,
        is_volume=is_volume,
        is_asking=is_asking,
        is_live=is_live,
        is_busy=is_asking or is_held,
        can_cancel=is_asking or is_boxing or is_picking,
        can_accept=offer is not None or has_alike,
        can_choose=has_alike or (offer is not None and offer.is_sampled),
        can_cut=is_cut,
        can_undo=session is not None and session.can_undo,
        can_redo=session is not None and session.can_redo,
        can_finish=_latest(session) is not None,
        objects=() if session is None else session.finished,
        knows_uncertainty=knows_uncertainty,
        brush=_brush(mode, label),
        question=question,
        offered_work=offered_work,
        hint=BUSY_HINT if is_asking or is_awaited else BOX_HINT if is_boxing else _hint(session, is_live),
    )


def _latest(session: Session | None) -> Step | None:
    """Return what was done last with the object at work; None if there is none."""
    steps = () if session is None else session.steps
    latest = next((step for step in reversed(steps) if step.verb in _OF_THE_OBJECT), None)
    return None if latest is None or latest.verb == "finish" else latest


def _hint(session: Session | None, is_live: bool) -> str:
    """Return what to do next with the object at work, of which nothing is on offer."""
    latest = _latest(session)
    if session is not None and latest is not None:
        case, in_work = session.case, session.in_work
        is_mark = latest.verb == "mark"
        if is_mark and bool(case.strokes[in_work].any()):
            return STROKES_HINT if is_live else PROPOSE_HINT
        if not is_mark or bool((case.partial[in_work] == Marker.OBJECT).any()):  # else it was erased
            is_of_slice = case.axes == "ZYX" and latest.arguments.get("request", {}).get("plane") is not None
            return SLICE_HINT if is_of_slice else CORRECT_HINT
    return LIVE_HINT if is_live else BRUSH_HINT


def _brush(mode: str, label: int) -> Marker | None:
    paints = mode in ("paint", "fill", "polygon")
    if mode == "erase" or (paints and label == Marker.UNKNOWN):
        return Marker.UNKNOWN
    return Marker(label) if paints and label in (Marker.OBJECT, Marker.BACKGROUND) else None
