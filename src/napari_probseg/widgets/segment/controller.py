"""The work on one viewer: a session for each image, its layers, and the verbs of the Segment widget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Marker, Plane
from napari_probseg.proposers.completion import CutConfig
from napari_probseg.session.session import Session, Step
from napari_probseg.widgets.in_use import Models, given
from napari_probseg.widgets.layers.image import (
    bare,
    bring_into_view,
    case_of,
    displayed_axes,
    finest,
    placement,
    plane_on_view,
)
from napari_probseg.widgets.layers.preview import add_quietly
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.messages import nothing_on_view, sentence_of, told
from napari_probseg.widgets.segment.box_tool import carried_over, framed, region_of
from napari_probseg.widgets.segment.candidates_view import Offers
from napari_probseg.widgets.settings import Settings
from napari_probseg.widgets.tasks.adapt import Learnt, learning
from napari_probseg.widgets.tasks.complete import Completed, CompletionRequest, Latest, completed, cut_again, give
from napari_probseg.widgets.tasks.propagate import CarriedOn, CarryRequest, carried_on
from napari_probseg.widgets.tasks.propose import Answer, Request, answer

if TYPE_CHECKING:
    from napari.viewer import Viewer

logger = logging.getLogger(__name__)


def verb(method: Callable[..., Any]) -> Callable[..., None]:
    """Make a method one the user calls: strokes are taken in first, an error becomes one sentence."""

    @wraps(method)
    def called(self: Workspace, *args: Any) -> None:
        try:
            if self.is_held:
                raise RuntimeError("a file is being read or written: wait a moment")
            self.take_strokes()
            method(self, *args)
        except (ValueError, TypeError, RuntimeError, LookupError, OSError, MemoryError) as error:
            self.refuse(error)

    return called


class Workspace(QObject):
    """What the user does with the images of one viewer.

    It owns the sessions and their layers; the widget shows it and calls its verbs, as do keys and commands.

    Parameters
    ----------
    viewer : napari.Viewer
        Where everything is shown.
    proposer : Proposer, optional
        What makes candidates; the shipped network, loaded when it is first needed, if absent.
    settings : Settings, optional
        What the user has set.
    """

    changed = Signal()
    said = Signal(str, bool)

    def __init__(self, viewer: Viewer, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__()
        self.viewer, self.proposer = viewer, proposer
        self.settings = settings or Settings()
        self.image: Image | None = None
        self.layers: SessionLayers | None = None
        self.brush_size, self.n, self.reach = self.settings.brush_size, self.settings.n_candidates, 1.0
        self.channels: list[Image] = []
        self.n_objects = 0
        self.is_held = False
        self.offers = Offers(viewer)
        self.offers.answered.connect(self._answered)
        self.offers.background.failed.connect(self.refuse)
        self.offers.background.said.connect(self.say)
        self.offers.background.progressed.connect(self._learning)
        self._all: WeakKeyDictionary[Image, SessionLayers] = WeakKeyDictionary()
        self.network = "general"
        self._seed = 0
        self._request: Request | None = None
        self.completer, self.whole_volume, self.cut = "general", False, CutConfig(everywhere=False)
        self.completion: Completed | None = None
        self.is_sampled = True  # what is on offer: one of several, not the one answer that a completion is
        self._recutting = Latest()
        self._recutting.done.connect(self._offer_again)
        self._recutting.failed.connect(self.refuse)
        self._advice = ""
        self.offers.shown.connect(self._tell)
        viewer.layers.events.removed.connect(self._note_removed)
        viewer.dims.events.current_step.connect(self._tell)
        viewer.dims.events.ndisplay.connect(self._turned)
        if proposer is None and (models := given(viewer)) is not None:
            self.use(models)

    # What there is ------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        return self.layers.session if self.layers else None

    @property
    def is_volume(self) -> bool:
        return self.layers is not None and self.layers.session.case.ndim == 3

    def owns(self, layer: Any) -> bool:
        """Return whether a layer is one of those that show the work."""
        return self.offers.owns(layer) or any(layers.holds(layer) for layers in self._all.values())

    @property
    def candidates(self) -> Candidates | None:
        return self.session.candidates if self.session else None

    def say(self, sentence: str) -> None:
        """Tell the user something."""
        self.said.emit(sentence, False)

    def refuse(self, error: Exception) -> None:
        """Tell the user in one sentence why something was not done; the log gets all of it."""
        logger.warning("refused", exc_info=error)
        self.said.emit(sentence_of(error), True)

    def use(self, models: Models) -> None:
        """Propose and complete by other models from now on: those that a data set has taught."""
        give(models.completer)
        self.proposer = models.proposer
        if self.completer == self.network:
            self.completer = models.completer.name
        self.network = models.completer.name
        for layers in self._all.values():
            layers.session.proposer = models.proposer

    # Images and strokes -------------------------------------------------------------------------------------------

    @verb
    def choose(self, image: Image | None) -> None:
        """Turn to an image; the work on the others stays as it is."""
        if image is self.image:
            return
        self._forget()
        self.image, self.channels = image, []
        self.layers = self._all.get(image) if image is not None else None
        self._count()
        self.changed.emit()

    @verb
    def prepare(self) -> None:
        """Make the layers of the image, so that something can be drawn over it."""
        self.open_layers()

    @verb
    def brush(self, marker: Marker) -> None:
        """Take up the brush of a marker; UNKNOWN is the eraser."""
        self.open_layers().brush(marker, self.brush_size)
        self.changed.emit()

    def set_brush_size(self, size: int) -> None:
        """Set the diameter of the brush, in voxels."""
        self.brush_size = size
        if self.layers is not None:
            self.layers.markers.brush_size = size

    def take_strokes(self) -> None:
        """Tell the session what was painted on the markers layer."""
        strokes = self.layers.take_strokes() if self.layers and not self.is_held else None
        if strokes is None or self.session is None:
            return
        if strokes:
            self._stepped(
                self.session.mark(strokes.inside, strokes.outside, erase=strokes.erase, where=strokes.where), ""
            )
        if strokes.n_locked:
            self.say("Finished objects are locked: reopen one to change it.")

    # Candidates ---------------------------------------------------------------------------------------------------

    @verb
    def propose(self) -> None:
        """Ask for candidates, on the plane on view or in the volume."""
        layers = self.open_layers()
        plane, axes = self._plane(layers), displayed_axes(self.viewer, layers.markers)
        self._ask(Request(layers.session, self.n, self._next_seed(), plane, self.reach, axes))

    @verb
    def complete(self) -> None:
        """Ask for the whole object, on the plane on view or in the volume."""
        self._complete(self._completion_request())

    @verb
    def carry(self) -> None:
        """Carry the object from the slice on view to the others."""
        layers = self.open_layers()
        plane = plane_on_view(self.viewer, layers.markers) if self.is_volume else None
        if plane is None:
            raise ValueError("only a volume has slices to carry an object to")
        request = CarryRequest(layers.session, plane, displayed_axes(self.viewer, layers.markers))
        self._withdraw()
        self.offers.ask(lambda: carried_on(request))

    @verb
    def tune(self) -> None:
        """Fine-tune the network to the image, on the plane on view or in the volume, then complete anew."""
        request = self._completion_request()
        self._withdraw()
        self.offers.ask(lambda: learning(request, self.settings.device))

    @verb
    def forget(self) -> None:
        """Complete with the network again that knows nothing of this image."""
        step = self._session().forget()
        self._stepped(step, "Forgotten: Complete asks the general network again. Undo brings back what was learnt.")

    def set_cut(self, cut: CutConfig) -> None:
        """Cut in another way; a completion on offer is cut anew."""
        self.cut = cut
        if self.completion is not None:
            got = self.completion
            self._recutting.start(lambda: cut_again(got, cut))

    @verb
    def mark_box(self, corners: Any, layer: Any = None) -> None:
        """Take a box around the object, in voxels of ``layer`` or of the markers: its frame is background."""
        layers, session = self.open_layers(), self._session()
        corners = corners if layer is None else carried_over(corners, layer, layers.markers)
        frame, outside = framed(region_of(corners, session.case.shape), session.case.shape)
        step = session.mark(outside=outside & (session.case.partial[frame] == Marker.UNKNOWN), where=frame)
        self._stepped(step, "The object is inside the box: complete it, or propose.")

    @verb
    def reject(self) -> None:
        """Ask for other candidates: none of these."""
        self._offer_at_hand()
        if self._request is not None and self.is_sampled:
            self._ask(replace(self._request, n=self.n, seed=self._next_seed(), reach=self.reach))

    def cancel(self) -> None:
        """Give up the candidates that are being drawn; everything stays as it was."""
        if self.offers.background.is_busy:
            self.offers.background.cancel()
            self.say("Cancelled; nothing has changed.")

    @verb
    def next(self) -> None:
        """Show the next candidate."""
        self._offer_at_hand()
        self.offers.show(self.offers.current + 1)

    @verb
    def previous(self) -> None:
        """Show the previous candidate."""
        self._offer_at_hand()
        self.offers.show(self.offers.current - 1)

    @verb
    def accept(self, i: int | None = None) -> None:
        """Accept candidate ``i``, or the one on show."""
        self._offer_at_hand()
        i = self.offers.current if i is None else i
        self._stepped(self._session().accept(i), f"Accepted candidate {i + 1}: correct it, propose again, or finish.")

    @verb
    def visit(self, i: int) -> None:
        """Show candidate ``i`` of a volume where it adds something: on the slice of its picture."""
        self._offer_at_hand()
        if self.offers.exhibit is not None and self.layers is not None:
            bring_into_view(self.viewer, self.layers.markers, self.offers.exhibit.pictures[i].place)
            self.offers.show(i)

    @verb
    def add_probability(self) -> None:
        """Add how likely each voxel is object, as the completer sees it, as a layer."""
        if self.completion is None or self.image is None:
            raise ValueError("there is no completion on offer: complete the object first")
        candidates = self.completion.candidates
        values = np.zeros(candidates.case.shape, dtype=np.float32)
        values[candidates.where] = candidates.probability
        where = placement(self.image, values.ndim)
        add_quietly(self.viewer, Image(values, name="probability", contrast_limits=(0, 1), opacity=0.6, **where))

    # Steps --------------------------------------------------------------------------------------------------------

    @verb
    def undo(self) -> None:
        """Take back the latest step, a stroke or the model's."""
        step = self._session().undo()
        self._stepped(step, f"Took back: {told(step)}.")

    @verb
    def redo(self) -> None:
        """Do the step again that was taken back last."""
        step = self._session().redo()
        self._stepped(step, f"Did again: {told(step)}.")

    @verb
    def finish(self) -> None:
        """Move the object to the finished ones and begin the next."""
        step = self._session().finish()
        self.offers.uncertainty.forget()
        self._stepped(step, f"Object {step.arguments['label']} is finished and locked: brush the next one.")

    @verb
    def reopen(self, label: int) -> None:
        """Make a finished object the one in work again."""
        self._stepped(self._session().reopen(label), f"Object {label} is open again: correct it, then finish it.")

    @verb
    def take(self, labels: Labels) -> None:
        """Adopt the objects of a Labels layer from elsewhere."""
        self.open_layers()
        step = self._session().take(labels.data)
        self._stepped(step, f"Took the objects of “{labels.name}”: reopen any of them.")

    @verb
    def replace_session(self, session: Session) -> None:
        """Go on with a session that was saved earlier."""
        layers = self.open_layers()
        layers.session = session
        session.proposer = self.proposer
        self._forget()
        layers.repaint()
        self._count()
        self.changed.emit()
        lost = " What was learnt of the image is not kept in files: fine-tune again."
        has_learnt = any(step.verb == "adapt" for step in session.steps)
        self.say("The session is open: go on where it was left." + (lost if has_learnt else ""))

    # Uncertainty --------------------------------------------------------------------------------------------------

    @verb
    def show_uncertainty(self, on: bool) -> None:
        """Show or hide where the samples disagree."""
        if on and self.image is not None:
            case = self._session().case
            self.offers.uncertainty.show(case.shape, placement(self.image, case.ndim))
        else:
            self.offers.uncertainty.hide()

    @verb
    def go_to_most_uncertain(self) -> None:
        """Bring the undecided voxel into view at which the samples disagree most."""
        place = self.offers.uncertainty.most_uncertain(self._session().case.partial)
        if place is None or self.layers is None:
            raise ValueError("the samples agree everywhere that is not decided: propose again for other places")
        bring_into_view(self.viewer, self.layers.markers, place)
        self.say("Here the samples disagree most: a stroke here tells them the most.")

    # Behind the verbs ---------------------------------------------------------------------------------------------

    def release(self, *_: Any) -> None:
        """Let go of the viewer: the work stays in ordinary layers."""
        self.viewer.layers.events.removed.disconnect(self._note_removed)
        self.viewer.dims.events.current_step.disconnect(self._tell)
        self.viewer.dims.events.ndisplay.disconnect(self._turned)
        self._forget()
        for layers in self._all.values():
            layers.release()
        self._all.clear()
        self.image = self.layers = None

    def open_layers(self) -> SessionLayers:
        """Return the layers of the image's session, made when first needed and put back if they were removed."""
        if self.image is None:
            raise ValueError("there is no image yet: open one, or a sample")
        if self.layers is not None and self.layers.pixels is not finest(self.image):
            self._all.pop(self.image).release()
            self.layers = None
            self.say("The image has new data: work on it begins anew, the earlier layers stay.")
        if self.layers is None:
            self.layers = SessionLayers(
                self.viewer,
                self.image,
                Session(case_of(self.image, self.channels), self.proposer),
                painted=self._painted,
                brushed=self._brushed,
                undo=self.undo,
                redo=self.redo,
            )
            self._all[self.image] = self.layers
            case = self.layers.session.case
            self.offers.preview.prepare(case.shape, placement(self.image, case.ndim))
            if self.proposer is None:
                self.offers.warm_up(self.settings.device)
            if self.image.multiscale:
                self.say("The image has several scales: the work is on the finest.")
            self.changed.emit()
        else:
            self.layers.show()
        return self.layers

    def _session(self) -> Session:
        return self.open_layers().session

    def _offer_at_hand(self) -> None:
        if self.candidates is None:
            raise ValueError("there are no candidates yet: propose first")

    def _next_seed(self) -> int:
        """Count the requests up, so that asking again shows something else and the script repeats it."""
        self._seed += 1
        return self._seed - 1

    def _ask(self, request: Request) -> None:
        self._request = request
        self._withdraw()
        self.offers.ask(lambda: answer(request, self.proposer, self.settings.device))

    def _completion_request(self) -> CompletionRequest:
        layers = self.open_layers()
        plane, axes = self._plane(layers), displayed_axes(self.viewer, layers.markers)
        learnt = layers.session.learnt
        of_this_network = learnt if learnt is not None and learnt.name == self.completer else None
        return CompletionRequest(layers.session, self.completer, plane, axes, self.cut, of_this_network)

    def _plane(self, layers: SessionLayers) -> Plane | None:
        """Return the plane to work on; None for the whole volume, and for an image."""
        return None if self.whole_volume else plane_on_view(self.viewer, layers.markers)

    def _complete(self, request: CompletionRequest) -> None:
        self._withdraw()
        self.offers.ask(lambda: completed(request, self.settings.device))

    def _learning(self, step: int, n_steps: int) -> None:
        self.say(f"Learning this image… {step} of {n_steps}")

    def _answered(self, got: Answer | Learnt) -> None:
        if isinstance(got, Learnt):
            self._learn(got)
        else:
            self._offer(got)

    def _learn(self, got: Learnt) -> None:
        """Go on with what was learnt of the image, and show what it changes."""
        session = self.session
        if session is None or session is not got.request.session:
            return
        if got.after is got.before:
            self.say("Learning did not help it to foresee your strokes: the network stays as it was.")
            return
        if got.before is not session.learnt:
            session.completer = got.before
        self._stepped(session.adapt(got.after, plane=got.request.plane), "Learnt this image.")
        self._complete(replace(got.request, learnt=got.after))

    def _offer(self, got: Answer) -> None:
        """Put what came on offer, unless the work has moved on."""
        if isinstance(got, Completed):
            asked = {"verb": "complete", "plane": got.request.plane}
            sentence = "Accept it, move the sliders, or brush and complete again."
            if got.request.learnt is not None:
                sentence = "From what was learnt of this image: accept it, move the sliders, or brush and go on."
        elif isinstance(got, CarriedOn):
            asked = {"verb": "carry", "plane": got.request.accepted}
            sentence = f"Carried to {got.n_slices} slices: look through them and accept; where it goes wrong, correct."
        else:
            self.proposer = got.maker
            asked = {"n": got.request.n, "seed": got.request.seed, "plane": got.request.plane}
            sentence = "Hover to look, click or press a key to accept."
        if self.session is None or self.image is None:
            return
        if got.maker is not self.session.learnt and not isinstance(got, CarriedOn):
            setattr(self.session, "completer" if isinstance(got, Completed) else "proposer", got.maker)
        try:
            self.session.offer(got.candidates, **asked, **got.options)
        except ValueError:
            self.say("The markers changed meanwhile: ask again.")
            return
        self.completion = got if isinstance(got, Completed) else None
        self.is_sampled = not isinstance(got, Completed | CarriedOn)
        self._advice = sentence
        self.offers.put(got, placement(self.image, got.candidates.case.ndim))
        self.changed.emit()

    def _tell(self, _: Any = None) -> None:
        """Say what to do with what is on offer; where the slice on view shows nothing of it, it must not seem empty."""
        shown, layers = self.offers.exhibit, self.layers
        if shown is None or layers is None:
            return
        may_be_elsewhere = self.is_sampled or self.completion is not None  # what is carried always is
        if shown.in_volume and may_be_elsewhere and self.viewer.dims.ndisplay == 2:
            with suppress(ValueError):  # the viewer shows a place outside the image
                plane = plane_on_view(self.viewer, layers.markers)
                if plane is not None and not self.offers.preview.shows(*plane):
                    self.say(nothing_on_view(self.offers.current))
                    return
        self.say(self._advice)

    def _turned(self, _: Any) -> None:
        """Colour the layers for the display in 2-D or in 3-D."""
        self.offers.preview.recolour()
        for layers in self._all.values():
            layers.recolour()

    def _offer_again(self, got: Completed) -> None:
        """Put a completion that was cut anew on offer, if it is still wanted."""
        if self.completion is not None and got.completion is self.completion.completion:
            self._offer(got)

    def _withdraw(self) -> None:
        """Take what is on offer or under way off: it no longer fits."""
        self.completion = None
        self._recutting.forget()
        self.offers.withdraw()

    def _forget(self) -> None:
        """Withdraw what is on offer, and forget where the samples disagreed."""
        self._withdraw()
        self.offers.forget()

    def _stepped(self, step: Step, sentence: str) -> None:
        """Show what a step changed; candidates on offer or under way no longer fit."""
        self._withdraw()
        if self.layers is not None:
            self.layers.show()
            self.layers.repaint([change.where for change in step.changes])
        if any(change.name == "objects" for change in step.changes):
            self._count()
        self.changed.emit()
        self.say(sentence)

    def _count(self) -> None:
        """Note the largest number of an object: looking through a volume takes too long to do at each stroke."""
        self.n_objects = int(self.session.objects.max()) if self.session else 0

    def release_hold(self) -> None:
        """Let the session move again after a file was read or written."""
        self.is_held = False
        self._settle()

    def _painted(self) -> None:
        """A stroke is complete: napari tells of it before the voxels of some tools are written, so wait a turn."""
        if not self.is_held:
            QTimer.singleShot(0, self._settle)

    def _brushed(self) -> None:
        if self.layers is not None:
            self.brush_size = int(self.layers.markers.brush_size)
        self.changed.emit()

    @verb
    def _settle(self) -> None:
        """Nothing but what every verb does first: take the strokes in."""

    def _note_removed(self, event: Any) -> None:
        layer = bare(event.value)
        if layer is self.image:
            self._forget()
            if (layers := self._all.pop(layer, None)) is not None:
                layers.release()
            self.image = self.layers = None
            self.say("The image was removed; its objects stay in their layer.")
        elif self.layers is not None and self.layers.holds(layer):
            self.say(f"“{layer.name}” was removed; nothing is lost, it comes back with the next step.")
        self.changed.emit()
