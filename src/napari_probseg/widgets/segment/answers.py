"""Answers of the Segment widget: asked for after strokes, by themselves or by a person, and shown as they come."""

from __future__ import annotations

from typing import Any

from napari_probseg.region import Region
from napari_probseg.session.session import Step
from napari_probseg.widgets.messages import sentence_of
from napari_probseg.widgets.models import given
from napari_probseg.widgets.segment.asking import Place
from napari_probseg.widgets.segment.live import BACK_ON
from napari_probseg.widgets.segment.showing import Showing
from napari_probseg.widgets.tasks.propose import Answer

ASKED_BY = {"propose": "Propose", "complete": "Complete", "adapt": "Fine-tune", "similar": "More like this"}


class Answers(Showing):
    """Asks for the answer to strokes where it is to come by itself, and shows what comes.

    The parameters are those of `Showing`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._given_up: tuple[int, str] = 0, ""  # for the sake of a step: so many there were then, and what to say
        self._noted = ""  # of a question that is given up for the step that is made
        self.view.shown.connect(self._looked_at)
        self.asking.offered.connect(self._offered)
        self.asking.failed.connect(self._failed)
        self.asking.background.progressed.connect(self._learning)

    @property
    def _is_asked_for(self) -> bool:
        """Whether a person asked the latest question."""
        return not self.asking.is_live

    def _note_given_up(self, what: str = "") -> None:
        """Note what to say of a question of a person that a step comes before; nothing where Live answers it."""
        is_out = self.asking.is_busy if what else self.asking.is_unanswered
        if is_out and self._is_asked_for:
            name = ASKED_BY.get(self.asking.verb, "Follow" if self.is_in_time else "Carry")
            if not self.live.is_on or name not in ("Propose", "Complete"):
                self._noted = f"“{name}” was given up{what}: ask again."

    def _taken_note(self) -> str:
        """Return what was noted, which is told beside the next answer, too."""
        noted, self._noted = self._noted, ""
        self._given_up = 0 if self.session is None else len(self.session.steps), noted
        return noted

    def _advise(self, _: Any = None) -> None:
        """Say what to do with what is on offer, and what was given up for it."""
        if self.layers is not None and (advice := self.view.advice(self.layers.markers)):
            n_steps, given_up = self._given_up
            self.say(f"{given_up} {advice}" if given_up and n_steps == len(self.layers.session.steps) else advice)

    def _answer_again(self) -> None:
        """Ask for an answer, if that comes by itself, where the latest step is a stroke and nothing is on offer."""
        steps = () if self.session is None else self.session.steps
        latest = next((step.verb for step in reversed(steps) if not _is_beside_the_work(step)), "")
        if latest == "mark" and self.on_offer is None:
            self._go_along()

    def _go_along(self) -> None:
        """Ask for the answer to a stroke, if it is to come by itself."""
        session = self.session
        if not self.live.is_on or session is None or not session.has_strokes():
            return
        try:
            place = self._place()
        except ValueError:  # the canvas shows no slice
            return
        if not session.has_strokes(place.plane):  # what is taken back may lie on another slice
            return
        self.live.begin()
        self.asking.go_along(session, self.tools, place, given(self.viewer))

    @property
    def is_meant(self) -> bool:
        """Whether what is on show is what is meant: where answers come by themselves, nobody accepts each of them.

        Also where the answer that is on show was so slow that it is the last that came by itself.
        """
        offer = self.on_offer
        is_shown = offer is not None and len(offer.candidates) > 0 and offer is self.view.offer
        return is_shown and (self.live.is_on or self.asking.was_live)

    def _keep_answer(self, drawn: Region) -> str:
        """Accept the answer that came by itself on another slice, or at another time, than is drawn on now; say so."""
        offer, session = self.on_offer, self._session()
        if offer is None or offer.request.plane is None or not self.is_meant:
            return ""
        axis, k = offer.request.plane
        if offer.candidates.where[axis] != slice(k, k + 1) or drawn[axis].start <= k < drawn[axis].stop:
            return ""
        session.accept(self.view.current)
        return f"The answer on {'image' if self.is_in_time else 'slice'} {k} is kept."

    def _place_of_strokes(self) -> Place:
        """Return the plane on view to work on, or the volume.

        Raises
        ------
        ValueError
            If all strokes lie on other planes.
        """
        place, session = self._place(), self._session()
        if session.has_strokes() and not session.has_strokes(place.plane):
            what, or_else = ("image", " or") if self.is_in_time else ("slice", ", choose Volume, or")
            raise ValueError(f"the strokes are on another {what} than the one on view: go there{or_else} brush here")
        return place

    def _offered(self, got: Answer) -> None:
        """Show the candidates that came."""
        self.view.keep(got.candidates, got.exhibit)
        self._show()
        was_on = self.live.is_on
        if self.asking.was_live or got.request.verb == "complete":
            self.live.end()
        if self.live.is_on and not was_on:
            self.say(BACK_ON)
            self.changed.emit()
        elif self.asking.was_live and self.live.why_off:
            self.say(self.live.why_off)
            self.changed.emit()
        elif not len(got.candidates):  # of others it is told as they are shown
            self._advise()

    def _failed(self, error: Exception) -> None:
        """Tell why there is no answer; calmly where nobody asked for one."""
        self._show()
        if self.asking.was_live and isinstance(error, ValueError):
            self.say(sentence_of(error))
        else:
            self.refuse(error)

    def _learning(self, step: int, n_steps: int) -> None:
        verb = "Looking for others like it" if self.asking.is_for_others else "Learning"
        self.say(f"{verb}… {step} of {n_steps}")

    def _looked_at(self, i: int) -> None:
        """Note which candidate is on show: the next stroke corrects that one."""
        if self.session and self.session.on_offer is self.view.offer:
            self.session.look_at(i)
            if self.layers is not None:
                self.layers.leave_open(self.session.taken_back)


def _is_beside_the_work(step: Step) -> bool:
    """Return whether a step leaves the object in work as it is."""
    return step.verb in ("classify", "remove", "skip", "take") or bool(step.arguments.get("finished"))
