"""The work on one viewer: a session for each image, its layers, and the verbs of the Segment widget."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from weakref import WeakKeyDictionary

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Marker
from napari_probseg.session import Session, Step
from napari_probseg.widgets.asking import Answer, Request, answer
from napari_probseg.widgets.image import bare, case_of, displayed_axes, placement, plane_on_view
from napari_probseg.widgets.layers import SessionLayers
from napari_probseg.widgets.preview import Preview, Uncertainty
from napari_probseg.widgets.settings import Settings
from napari_probseg.widgets.worker import Background

if TYPE_CHECKING:
    from napari.viewer import Viewer

logger = logging.getLogger(__name__)
P = ParamSpec("P")


def verb(method: Callable[Concatenate[Workspace, P], Any]) -> Callable[Concatenate[Workspace, P], None]:
    """Make a method one the user calls: strokes are taken in first, an error becomes one sentence."""

    @wraps(method)
    def called(self: Workspace, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            if self.is_held:
                raise RuntimeError("a file is being read or written: wait a moment")
            self.take_strokes()
            method(self, *args, **kwargs)
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
    offered = Signal(list)
    shown = Signal(int)
    said = Signal(str, bool)

    def __init__(self, viewer: Viewer, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__()
        self.viewer, self.proposer = viewer, proposer
        self.settings = settings or Settings()
        self.image: Image | None = None
        self.layers: SessionLayers | None = None
        self.brush_size, self.n, self.reach = self.settings.brush_size, self.settings.n_candidates, 1.0
        self.current = self._kept = 0
        self.is_held = False
        self.background = Background()
        self.background.done.connect(self._offer)
        self.background.failed.connect(self.refuse)
        self.background.said.connect(self.say)
        self.preview, self.uncertainty = Preview(viewer), Uncertainty(viewer)
        self._all: WeakKeyDictionary[Image, SessionLayers] = WeakKeyDictionary()
        self._seed = 0
        viewer.layers.events.removed.connect(self._note_removed)

    # What there is ------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        return self.layers.session if self.layers else None

    def owns(self, layer: Any) -> bool:
        """Return whether a layer is one of those that show the work."""
        parts = (self.preview, self.uncertainty, *self._all.values())
        return any(part.holds(layer) for part in parts)

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

    # Images and strokes -------------------------------------------------------------------------------------------

    @verb
    def choose(self, image: Image | None) -> None:
        """Turn to an image; the work on the others stays as it is."""
        if image is self.image:
            return
        self._withdraw()
        self.uncertainty.forget()
        self.image = image
        self.layers = self._all.get(image) if image is not None else None
        self.changed.emit()

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
        """Ask for candidates on the plane on view."""
        self._seed = 0
        self._ask()

    @verb
    def reject(self) -> None:
        """Ask for other candidates: none of these."""
        self._seed += 1
        self._ask()

    def cancel(self) -> None:
        """Give up the candidates that are being drawn; everything stays as it was."""
        if self.background.is_busy:
            self.background.cancel()
            self.say("Cancelled; nothing has changed.")

    def show(self, i: int) -> None:
        """Turn to candidate ``i``: the canvas shows it, and a key accepts it."""
        self._kept = i
        self.look(i)

    def look(self, i: int) -> None:
        """Show candidate ``i`` on the canvas until `look_away`."""
        if self.candidates is not None and self.image is not None:
            self.current = i % len(self.candidates)
            self.preview.show(self.candidates, self.current, placement(self.image, self.candidates.case.ndim))
            self.shown.emit(self.current)

    def look_away(self) -> None:
        """Show the candidate again that was turned to last."""
        self.look(self._kept)

    @verb
    def next(self) -> None:
        """Show the next candidate."""
        self._offer_at_hand()
        self.show(self.current + 1)

    @verb
    def previous(self) -> None:
        """Show the previous candidate."""
        self._offer_at_hand()
        self.show(self.current - 1)

    @verb
    def accept(self, i: int | None = None) -> None:
        """Accept candidate ``i``, or the one on show."""
        self._offer_at_hand()
        i = self.current if i is None else i
        self._stepped(self._session().accept(i), f"Accepted candidate {i + 1}: correct it, propose again, or finish.")

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
        session = self._session()
        step = session.finish()
        self.uncertainty.forget()
        self._stepped(step, f"Object {int(session.objects.max())} is finished and locked: brush the next one.")

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
        self._withdraw()
        self.uncertainty.forget()
        layers.repaint()
        self.changed.emit()
        self.say("The session is open: go on where it was left.")

    # Uncertainty --------------------------------------------------------------------------------------------------

    @verb
    def show_uncertainty(self, on: bool) -> None:
        """Show or hide where the samples disagree."""
        if on and self.image is not None:
            case = self._session().case
            self.uncertainty.show(case.shape, placement(self.image, case.ndim))
        else:
            self.uncertainty.hide()

    @verb
    def go_to_most_uncertain(self) -> None:
        """Bring the undecided voxel into view at which the samples disagree most."""
        place = self.uncertainty.most_uncertain(self._session().case.partial)
        if place is None or self.layers is None:
            raise ValueError("the samples agree everywhere that is not decided: propose again for other places")
        at = self.layers.markers.data_to_world(place)
        n_extra = self.viewer.dims.ndim - len(at)
        for axis, value in enumerate(at):
            self.viewer.dims.set_point(axis + n_extra, value)
        self.viewer.camera.center = tuple(at[axis - n_extra] for axis in self.viewer.dims.displayed)
        self.say("Here the samples disagree most: a stroke here tells them the most.")

    # Behind the verbs ---------------------------------------------------------------------------------------------

    def release(self, *_: Any) -> None:
        """Let go of the viewer: the work stays in ordinary layers."""
        self.background.cancel()
        self.viewer.layers.events.removed.disconnect(self._note_removed)
        self._withdraw()
        self.uncertainty.forget()
        for layers in self._all.values():
            layers.release()
        self._all.clear()
        self.image = self.layers = None

    def open_layers(self) -> SessionLayers:
        """Return the layers of the image's session, made when first needed and put back if they were removed."""
        if self.image is None:
            raise ValueError("there is no image yet: open one, or a sample")
        if self.layers is None:
            self.layers = SessionLayers(
                self.viewer,
                self.image,
                Session(case_of(self.image), self.proposer),
                painted=self._painted,
                brushed=self._brushed,
                undo=self.undo,
                redo=self.redo,
            )
            self._all[self.image] = self.layers
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

    def _ask(self) -> None:
        layers = self.open_layers()
        session, plane = layers.session, plane_on_view(self.viewer, layers.markers)
        axes = displayed_axes(self.viewer, layers.markers)
        request = Request(session.question(plane), self.n, self._seed, plane, self.reach, axes)
        proposer, device = self.proposer, self.settings.device
        self._withdraw()
        self.background.start(lambda: answer(request, proposer, device))

    def _offer(self, got: Answer) -> None:
        """Put what came on offer, unless the work has moved on."""
        self.proposer = got.proposer
        session = self.session
        if session is None:
            return
        session.proposer = got.proposer
        try:
            session.offer(got.candidates)
        except ValueError:
            self.say("The markers changed meanwhile: propose again.")
            return
        self.uncertainty.take(got.candidates)
        self.offered.emit(got.pictures)
        self.show(0)
        self.changed.emit()
        self.say("Hover to look, click or press a key to accept.")

    def _stepped(self, step: Step, sentence: str) -> None:
        """Show what a step changed; candidates on offer or under way no longer fit."""
        self.background.cancel()
        self._withdraw()
        if self.layers is not None:
            self.layers.show()
            self.layers.repaint(change.where for change in step.changes)
        self.changed.emit()
        self.say(sentence)

    def _withdraw(self) -> None:
        self.preview.clear()
        self.offered.emit([])

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
            self.background.cancel()
            self._withdraw()
            self.uncertainty.forget()
            if (layers := self._all.pop(layer, None)) is not None:
                layers.release()
            self.image = self.layers = None
            self.say("The image was removed; its objects stay in their layer.")
        elif self.layers is not None and self.layers.holds(layer):
            self.say(f"“{layer.name}” was removed; nothing is lost, it comes back with the next step.")
        self.changed.emit()


def sentence_of(error: Exception) -> str:
    """Return the first line of an error as a sentence."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    text = text if len(text) <= 240 else text[:239] + "…"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "…", "?", "!")) else ".")


def told(step: Step) -> str:
    """Return a step in words."""
    words = {"mark": "a stroke", "accept": "a candidate", "finish": "finishing an object"}
    return words.get(step.verb, step.verb)
