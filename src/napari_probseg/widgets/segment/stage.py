"""Stage of the Segment widget: layers, candidates and questions, kept in step with the sessions of the images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.engine.models import Model
from napari_probseg.session.request import Offer
from napari_probseg.session.session import Session, Step
from napari_probseg.widgets.engines import engine
from napari_probseg.widgets.layers.image import bare, case_of, displayed_axes, placement, plane_on_view
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.messages import LACKS_LEARNT, name_of, offer_of, question_of, sentence_of
from napari_probseg.widgets.models import give, given
from napari_probseg.widgets.segment.asking import Asking, Place
from napari_probseg.widgets.segment.brush_fit import camera_of, fitting
from napari_probseg.widgets.segment.candidates_view import CandidatesView
from napari_probseg.widgets.segment.following import Following
from napari_probseg.widgets.segment.images import images_of
from napari_probseg.widgets.segment.live import Live
from napari_probseg.widgets.segment.overlays import Overlays
from napari_probseg.widgets.segment.recovery import Recovery
from napari_probseg.widgets.segment.resuming import Resuming, open_image_of
from napari_probseg.widgets.segment.tools import Tools
from napari_probseg.widgets.segment.verbs import verb
from napari_probseg.widgets.settings import Settings
from napari_probseg.widgets.tasks.adapt import Learnt
from napari_probseg.widgets.tasks.propose import Answer

if TYPE_CHECKING:
    from napari.viewer import Viewer


MAX_WAIT = 0.04  # seconds that a choice waits for the disk; the window stands still meanwhile


# More than 400 lines: what happens to a session, and all that follows from it in the window, is read in one place.
class Stage(Following):
    """Keeps what the viewer shows in step with the sessions, which alone hold the state.

    Each image has a session; one image is at work. Whatever happens, `_show` derives what is seen from the session of
    that image.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where everything is shown.
    proposer : Proposer, optional
        What makes candidates; the shipped network, loaded when it is first needed, if absent.
    settings : Settings, optional
        What the user has set.
    """

    def __init__(self, viewer: Viewer, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__()
        self.viewer, self.settings = viewer, settings or Settings()
        self.fits_brush = not self.settings.brush_size  # until a person chooses its size
        self.tools = Tools(brush_size=self.settings.brush_size or Tools().brush_size, n=self.settings.n_candidates)
        self.view, self.asking = CandidatesView(viewer), Asking(engine(self.settings.device), self.settings.device)
        self.restoring = partial(self.asking.restoring, viewer)
        self.images, self.recovery = images_of(viewer), Recovery(self.settings.journal, self.restoring)
        self.live = Live(self.settings.live)
        self.view.preview.is_filled = self.settings.fill
        self.overlays = Overlays(viewer, self.owns)
        self.resuming = Resuming()
        self.recovery.changed.connect(self.changed)
        self.resuming.changed.connect(self.changed)
        self.recovery.said.connect(self.said)
        self.recovery.recovered.connect(self._recovered)
        self.view.shown.connect(self._looked_at)
        self.view.shown.connect(self._advise)
        self.asking.offered.connect(self._offered)
        self.asking.learnt.connect(self._learnt)
        self.asking.recut.connect(self._recut)
        self.asking.failed.connect(self._failed)
        self.asking.said.connect(self.say)
        self.asking.background.progressed.connect(self._learning)
        viewer.layers.events.removing.connect(self._note_removing)
        viewer.layers.events.removed.connect(self._note_removed)
        viewer.dims.events.current_step.connect(self._advise)
        viewer.dims.events.ndisplay.connect(self._turned)
        viewer.dims.events.order.connect(self._turned)
        camera_of(viewer).events.zoom.connect(self._fit_brush)
        if proposer is not None:
            give(viewer, replace(given(viewer), proposer=proposer))
        else:
            self.asking.start()
        wiring = {"painted": self._painted, "brushed": self._brushed, "undo": self._undo, "redo": self._redo}
        wiring |= {"cancel": self._cancel, "moved": self._moved}
        self.images.connect(self.recovery.keep, **wiring)

    # What there is ------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        return self.layers.session if self.layers else None

    @property
    def on_offer(self) -> Offer | None:
        return self.session.on_offer if self.session else None

    @property
    def candidates(self) -> Candidates | None:
        return self.session.candidates if self.session else None

    @property
    def question(self) -> str:
        """What to ask about earlier work on the image at work; empty if there is none."""
        if (earlier := self.recovery.earlier) is None or self.image is None:
            return ""
        kept = earlier.kept
        n_steps = len(kept.stored.done)
        return question_of(self.image.name, n_steps, kept.n_objects, kept.time, difference=earlier.difference)

    @property
    def offered_work(self) -> str:
        """What the latest work was, to go on with while there is no image; empty if there is none."""
        if (kept := self.resuming.latest) is None or self.image is not None:
            return ""
        return offer_of(kept.subject.name, len(kept.stored.done), kept.n_objects, kept.time)

    def choices(self) -> list[Image]:
        """Return the viewer's images that can be worked on."""
        return [bare(layer) for layer in self.viewer.layers if isinstance(layer, Image) and not self.owns(layer)]

    def owns(self, layer: Any) -> bool:
        """Return whether a layer is one of those that show the work."""
        return self.view.owns(layer) or any(layers.holds(layer) for layers in self.images)

    # Telling ------------------------------------------------------------------------------------------------------

    def _advise(self, _: Any = None) -> None:
        """Say what to do with what is on offer."""
        if self.layers is not None and (advice := self.view.advice(self.layers.markers)):
            self.say(advice)

    def _learning(self, step: int, n_steps: int) -> None:
        verb = "Looking for others like it" if self.asking.is_for_others else "Learning this image"
        self.say(f"{verb}… {step} of {n_steps}")

    # Keeping in step ----------------------------------------------------------------------------------------------

    def open_layers(self) -> SessionLayers:
        """Return the layers of the image at work, made when first needed and put back if they were removed."""
        self.recovery.refuse_while_pending()
        before = self.layers
        with self.adding():
            layers, sentence = self.images.open()
        if layers is not before:
            case = layers.session.case
            self.view.preview.prepare(case.shape, self._placement())
            if isinstance(layers.session.proposer, Model):
                self.asking.warm_up()
            self._show()
        if sentence:
            self.say(sentence)
        return layers

    def list_images(self) -> None:
        """Take up the last image, where none that is in the viewer is at work."""
        images = self.choices()
        if self.image not in images and not self.is_held:
            self._turn_to(images[-1] if images else None)
        elif self.layers is not None and self.view.offer is None:
            self._show()  # the work is taken up again
        self.changed.emit()

    def look_around(self) -> None:
        """Look for work to go on with where there is no image yet."""
        if self.image is None:
            self.resuming.look(self.recovery.folders())

    def resume(self) -> None:
        """Open the image of the latest work, and go on with that."""
        kept = self.resuming.latest
        if kept is None:
            return
        self.resuming.forget()
        self.recovery.expect(kept)
        try:
            with self.adding():
                image = open_image_of(kept, self.viewer)
            self._turn_to(image)
            if not self.recovery.is_pending and self.layers is None:  # nor gone on with while it was opened
                name, path = kept.subject.source, kept.path
                raise ValueError(f"{name} holds another image than the work was done on, which stays in {path}")
        except Exception as error:  # a reader may raise anything
            self.refuse(error)
        self.changed.emit()

    def take_strokes(self) -> None:
        """Tell the sessions what was painted; the work turns to the image that was painted on."""
        for layers in () if self.is_held else self.images:
            strokes = layers.take_strokes()
            if strokes is None:
                continue
            self._turn_to(self.images.image_of(layers))
            if strokes:
                step = layers.session.mark(strokes.inside, strokes.outside, erase=strokes.erase, where=strokes.where)
                self._stepped(step, "")
            if strokes.n_locked:
                self.say("Finished objects are locked: reopen one to change it.")

    def hold(self) -> None:
        """Keep the session still while a file is read or written: strokes wait."""
        self.is_held = True

    def release_hold(self) -> None:
        """Let the session move again."""
        self.is_held = False
        self._settle()
        self.list_images()

    def release(self, *_: Any) -> None:
        """Let go of the viewer: the work stays in ordinary layers."""
        self.viewer.layers.events.removing.disconnect(self._note_removing)
        self.viewer.layers.events.removed.disconnect(self._note_removed)
        self.viewer.dims.events.current_step.disconnect(self._advise)
        self.viewer.dims.events.ndisplay.disconnect(self._turned)
        self.viewer.dims.events.order.disconnect(self._turned)
        camera_of(self.viewer).events.zoom.disconnect(self._fit_brush)
        self._hide()
        self.recovery.forget()
        self.resuming.forget()
        self.images.release()

    def group_of(self, image: Image) -> list[Any]:
        """Return an image with its channels and the layers that lie over it."""
        own = [] if (layers := self.images.layers_of(image)) is None else [layers.markers, layers.objects]
        return [*self.images.channels_of(image), image, *own]

    def take_away(self, layer: Any) -> None:
        """Take a layer out of the viewer; what was done on it is kept."""
        with self.adding():
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _show(self) -> None:
        """Show what there is of the image at work: the candidates on offer, and whatever the widget derives."""
        layers, session = self.layers, self.session
        if layers is None or session is None or session.on_offer is None:
            if not self.asking.is_live:  # else what is on show stays until the next answer comes
                self.view.clear()
                if layers is not None:
                    layers.leave_open(None)
        elif session.on_offer is not self.view.offer:
            axes = displayed_axes(self.viewer, layers.markers)
            with self.adding():
                self.view.turn_to(session.on_offer, session.case, axes, self._placement())
        self.changed.emit()

    def _hide(self) -> None:
        """Give up what is asked, and show nothing of the image at work."""
        self.asking.give_up()
        self.asking.cool_down()
        self.view.forget()

    def _turn_to(self, image: Image | None) -> None:
        """Put an image to work; what is on offer on it is shown again."""
        if image is not self.image:
            self.images.turn_to(image)
            for layers in self.images:
                layers.set_on_view(layers is self.layers)
            self.resuming.forget()
            self._hide()
            self._select(image)
            self.recovery.forget()
            self._fit_brush()
            if self.layers is None:
                self.recovery.look(image, self.images.channels)
        self._show()

    def _recovered(self, image: Image, session: Session) -> None:
        """Go on with earlier work."""
        if image is not self.image:
            return
        layers = self.images.adopt(image, session)
        self.view.preview.prepare(session.case.shape, self._placement())
        layers.repaint()
        self.asking.warm_up()
        self._show()
        self.say("Go on where you were." + LACKS_LEARNT * session.lacks_learnt)

    def _stepped(self, step: Step, sentence: str) -> None:
        """Show what a step changed, once a choice is on the disk: what was told of is never lost."""
        journal = None if self.session is None else self.session.journal
        if journal is not None and step.verb != "mark":
            journal.flush(MAX_WAIT)
        self.asking.give_up()
        if self.layers is not None:
            with self.adding():
                self.layers.show()
            self._select(self.image)
            self.layers.repaint([change.where for change in step.changes])
        if step.verb == "mark":
            self._go_along()
        self._show()
        self.say(sentence)

    def _go_along(self) -> None:
        """Ask for the answer to a stroke, if it is to come by itself."""
        session = self.session
        if not self.live.is_on or session is None or not (session.case.strokes[session.case.marked] > 0).any():
            return
        try:
            place = self._place()
        except ValueError:  # the canvas shows no slice
            return
        self.live.begin()
        self.asking.go_along(session, self.tools, place, given(self.viewer))

    def _offered(self, got: Answer) -> None:
        """Show the candidates that came."""
        self.view.keep(got.candidates, got.exhibit)
        self._show()
        self._advise()
        if self.asking.was_live and (too_slow := self.live.end()):
            self.say(too_slow)
            self.changed.emit()

    def _failed(self, error: Exception) -> None:
        """Tell why there is no answer; calmly where nobody asked for one."""
        self._show()
        if self.asking.was_live and isinstance(error, ValueError):
            self.say(sentence_of(error))
        else:
            self.refuse(error)

    def _looked_at(self, i: int) -> None:
        """Note which candidate is on show: the next stroke corrects that one."""
        if self.session and self.session.on_offer is self.view.offer:
            self.session.look_at(i)
            if self.layers is not None:
                self.layers.leave_open(self.session.taken_back)

    def _recut(self, got: Answer) -> None:
        """Go on with what was accepted as it is cut now."""
        if (session := self.session) is not None and session.accepted is not None:
            step = session.accept_instead(got.candidates, got.request, completion=got.completion)
            self._stepped(step, "Changed what was accepted; strokes hold.")

    def _moved(self, layers: SessionLayers) -> None:
        """The image was laid elsewhere: what lies over it goes along, and so do the distances that count."""
        image = self.images.image_of(layers)
        if image is None:
            return
        case, now = layers.session.case, case_of(image, self.images.channels_of(image))
        if now.shape == case.shape and now.spacing != case.spacing:
            self.asking.give_up()
            layers.session.rebase(now)
        if layers is self.layers:
            self.view.lay_over(self._placement())
            self._fit_brush()
            self._show()

    def _learnt(self, got: Learnt) -> None:
        """Go on with what was learnt of the image, and show what it changes."""
        if got.after is got.before:
            self.say("Learning did not help it to foresee your strokes: the network stays as it was.")
            self._show()
            return
        session = self._session()
        if got.before is not session.learnt:
            session.completer = got.before
        self._stepped(session.adapt(got.after, plane=got.request.plane), "Learnt this image.")
        place = replace(self._place(anywhere=True), plane=got.request.plane)
        self.asking.complete(session, self.tools, place, given(self.viewer))
        self._show()

    # Verbs of the images and of their steps -----------------------------------------------------------------------

    @verb
    def choose(self, image: Image | None) -> None:
        """Turn to an image; the work on the others stays as it is."""
        self._turn_to(image)

    @verb
    def undo(self) -> None:
        """Take back the latest step, a stroke or the model's."""
        step = self._session().undo()
        self._stepped(step, f"Took back: {name_of(step)}.")

    @verb
    def redo(self) -> None:
        """Do the step again that was taken back last."""
        step = self._session().redo()
        self._stepped(step, f"Did again: {name_of(step)}.")

    # What verbs need ----------------------------------------------------------------------------------------------

    def _session(self) -> Session:
        return self.open_layers().session

    def _at_hand(self) -> Offer:
        """Return what is on offer and on show.

        Raises
        ------
        ValueError
            If there is nothing.
        """
        offer = self.on_offer
        if offer is None or offer is not self.view.offer:
            raise ValueError("there are no candidates yet: propose first")
        return offer

    def _place(self, *, anywhere: bool = False) -> Place:
        """Return the plane to work on, and how the canvas lies; `anywhere` leaves the plane out."""
        markers = self.open_layers().markers
        whole = anywhere or self.tools.whole_volume
        return Place(None if whole else plane_on_view(self.viewer, markers), displayed_axes(self.viewer, markers))

    def _placement(self) -> dict[str, Any]:
        if self.image is None or self.session is None:
            raise ValueError("there is no image yet: open one, or a sample")
        return placement(self.image, self.session.case.ndim)

    # Events -------------------------------------------------------------------------------------------------------

    def _painted(self, _: SessionLayers) -> None:
        """A stroke is complete: napari tells of it before the voxels of some tools are written, so wait a turn."""
        if not self.is_held:
            QTimer.singleShot(0, self._settle)

    @verb
    def _settle(self) -> None:
        """Do nothing but what every verb does first: take the strokes in."""

    def _fit_brush(self, _: Any = None) -> None:
        """Let the brush be as wide on the screen as ever."""
        if self.fits_brush and self.image is not None:
            size = fitting(float(camera_of(self.viewer).zoom), self.image.scale)
            if size != self.tools.brush_size:
                self.tools = replace(self.tools, brush_size=size)
                if self.layers is not None:
                    self.layers.markers.brush_size = size
                self.changed.emit()

    def _brushed(self, layers: SessionLayers) -> None:
        if layers is self.layers:
            if int(layers.markers.brush_size) != self.tools.brush_size:
                self.fits_brush = False
            self.tools = replace(self.tools, brush_size=int(layers.markers.brush_size))
        self.changed.emit()

    def _undo(self, layers: SessionLayers) -> None:
        self.choose(self.images.image_of(layers))
        self.undo()

    def _redo(self, layers: SessionLayers) -> None:
        self.choose(self.images.image_of(layers))
        self.redo()

    def _cancel(self, _: SessionLayers) -> None:
        """Give up what runs, by Esc on a layer."""
        self.cancel()

    def cancel(self) -> None:
        """Give up the candidates that are being drawn; everything stays as it was."""
        if self.asking.give_up():
            self._show()
            self.say("Cancelled; nothing has changed.")

    def _turned(self, _: Any) -> None:
        """Draw the layers for the display in 2-D or in 3-D, or of other axes."""
        self.view.preview.recolour()
        for layers in self.images:
            layers.recolour()
        if self.layers is not None:
            self.view.turn(displayed_axes(self.viewer, self.layers.markers))

    def _note_removed(self, event: Any) -> None:
        self._is_removing = False
        layer = bare(event.value)
        if layer is self.image:
            self.recovery.forget_image(layer)
            self.images.remove(layer)
            self._hide()
            self.say("The image was removed; its objects stay in their layer.")
        elif isinstance(layer, Image):
            self.recovery.forget_image(layer)
            self.images.remove(layer)  # if it is one of those that are worked on
        elif self.layers is not None and self.layers.holds(layer):
            self.say(f"“{layer.name}” was removed; nothing is lost, it comes back with the next step.")
        self.changed.emit()
