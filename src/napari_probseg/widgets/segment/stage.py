"""Stage of the Segment widget: whatever happens to the session of an image, and what follows from it in the window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_probseg.candidates import Proposer
from napari_probseg.progress import counted
from napari_probseg.session.session import Session, Step
from napari_probseg.widgets.layers.image import bare, bring_into_view, case_of, plane_on_view, time_on_view
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.layers.wiring import Wiring
from napari_probseg.widgets.messages import GIVEN_UP, name_of
from napari_probseg.widgets.models import given
from napari_probseg.widgets.segment.answers import Answers
from napari_probseg.widgets.segment.brush_fit import camera_of
from napari_probseg.widgets.segment.verbs import verb
from napari_probseg.widgets.settings import Settings
from napari_probseg.widgets.tasks.adapt import Learnt
from napari_probseg.widgets.tasks.propose import Answer

if TYPE_CHECKING:
    from napari.viewer import Viewer

MAX_WAIT_SECONDS = 0.04  # that a choice waits for the disk; the window stands still meanwhile


class Stage(Answers):
    """Keeps what the viewer shows in step with the sessions, which alone hold the state.

    Each image has a session; one image is at work. Whatever happens, `_show` derives what is seen from the session of
    that image. The parameters are those of `Showing`.
    """

    def __init__(self, viewer: Viewer, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__(viewer, proposer, settings)
        self._unanswered: WeakSet[Session] = WeakSet()  # whose strokes still wait, as another image was turned to
        self.recovery.changed.connect(self.changed)
        self.resuming.changed.connect(self.changed)
        self.recovery.said.connect(self.said)
        self.recovery.recovered.connect(self._recovered)
        self.view.shown.connect(self._advise)
        self.asking.learnt.connect(self._learnt)
        self.asking.recut.connect(self._recut)
        self.asking.said.connect(self.say)
        self.elsewhere.said.connect(self.say)
        self.elsewhere.failed.connect(self.refuse)
        self.elsewhere.changed.connect(self._show)
        viewer.layers.events.removing.connect(self._note_removing)
        viewer.layers.events.removed.connect(self._note_removed)
        viewer.dims.events.current_step.connect(self._advise)
        viewer.dims.events.ndisplay.connect(self._turned)
        viewer.dims.events.order.connect(self._turned)
        camera_of(viewer).events.zoom.connect(self._fit_brush)
        if proposer is None:
            self.asking.start()
        wiring = Wiring(
            painted=self._painted,
            brushed=self._brushed,
            undo=self._undo,
            redo=self._redo,
            cancel=self._cancel,
            moved=self._moved,
            encircling=self._encircling,
        )
        self.images.connect(self.recovery.keep, wiring)

    # Strokes ---------------------------------------------------------------------------------------------------

    def take_strokes(self) -> None:
        """Tell the sessions what was painted; the work turns to the image that was painted on."""
        for layers in () if self.is_held else self.images:
            strokes = layers.take_strokes()
            if strokes is None:
                continue
            self._turn_to(self.images.image_of(layers))
            if strokes:
                self._note_given_up(" for your stroke")
                kept = self._keep_answer(strokes.where)
                step = layers.session.mark(strokes.inside, strokes.outside, erase=strokes.erase, where=strokes.where)
                self._stepped(step, kept)
            if strokes.n_locked:
                self.say("Finished objects are locked: reopen one to change it.")
            elif strokes.n_foreign:
                self.say("Label 1 is inside and 2 outside, and others are no strokes: take up a brush again.")

    def hold(self) -> None:
        """Keep the session still while a file is read or written: strokes wait."""
        self.is_held = True

    def release_hold(self) -> None:
        """Let the session move again."""
        self.is_held = False
        self._settle()
        self.list_images()

    def _painted(self, _: SessionLayers) -> None:
        """A stroke is complete: napari tells of it before the voxels of some tools are written, so wait a turn."""
        if not self.is_held:
            QTimer.singleShot(0, self._settle)

    def _settle(self) -> None:
        """Do nothing but what every verb does first: take the strokes in."""
        if not self.is_held:
            self.act(lambda: None)

    # Steps and answers -----------------------------------------------------------------------------------------

    def _stepped(self, step: Step, sentence: str) -> None:
        """Show what a step changed, once a choice is on the disk: what was told of is never lost."""
        journal = None if self.session is None else self.session.journal
        if journal is not None and step.verb != "mark":
            journal.flush(MAX_WAIT_SECONDS)
        if not self._noted:
            self._note_given_up()
        self.asking.give_up()
        self._beforehand.put_off()
        if self.layers is not None:
            with self.adding():
                self.layers.show()
            self._select(self.image)
            self._uncover()
            self.layers.repaint([change.where for change in step.changes])
        self._answer_again()
        self._show()
        self.say(f"{sentence} {self._taken_note()}".strip())

    def _turn_to(self, image: Image | None) -> None:
        """Put an image to work; the answer that its strokes still wait for is asked for again."""
        before, awaiting = self.image, self.asking.awaiting
        super()._turn_to(image)
        if image is before:
            return
        if awaiting is not None:
            self._unanswered.add(awaiting)
        session = self.session
        if session is not None and session in self._unanswered:
            self._unanswered.discard(session)
            self._go_along()
            self._show()

    def _recovered(self, image: Image, session: Session) -> None:
        """Go on with earlier work where the latest step was done, with the answer to its latest strokes."""
        super()._recovered(image, session)
        if session is not self.session or self.layers is None:
            return
        if latest := next((step.changes[-1].where for step in reversed(session.steps) if step.changes), None):
            bring_into_view(self.viewer, self.layers.markers, [(s.start + s.stop - 1) // 2 for s in latest])
        self._answer_again()
        self._show()

    def _recut(self, got: Answer) -> None:
        """Go on with what was accepted as it is cut now, unless something was brushed meanwhile."""
        self.take_strokes()
        if (session := self.session) is not None and session.accepted is not None:
            step = session.accept_instead(got.candidates, got.request, completion=got.completion)
            self._stepped(step, "Changed what was accepted; strokes hold.")

    def _learnt(self, got: Learnt) -> None:
        """Go on with what was learnt of the image, and show what it changes of the object in work."""
        if got.after is got.before:
            objects = "Objects like the finished ones are known well, or learning did not help with them"
            told = objects if got.request.finished else "Learning did not help it to predict your strokes"
            self._session().call_off()
            self._show()
            self.say(f"{told}: the network stays as it was.")
            return
        session = self._session()
        if got.before is not session.learnt:
            session.completer = got.before
        n, plane = len(got.request.finished), got.request.plane
        learnt = f"Learnt from {counted(n, 'finished object')}: the next ones take fewer strokes."
        self._stepped(session.adapt(got.after, plane=plane), learnt if n else "Learnt this image.")
        at_work = session.case.at(plane)
        if at_work.strokes[at_work.drawn].any():
            place = replace(self._place(anywhere=True), plane=plane)
            self.asking.complete(session, self.tools, place, given(self.viewer))
        self._show()

    # Verbs of the images and of their steps --------------------------------------------------------------------

    @verb
    def choose(self, image: Image | None) -> None:
        """Turn to an image; the work on the others stays as it is."""
        self._turn_to(image)

    @verb
    def bring_up(self, image: Image | None) -> None:
        """Turn to an image, and let no other one hide it."""
        self._turn_to(image)
        self._uncover()

    @verb
    def succeed(self, before: Image, image: Image) -> None:
        """Turn to an image that takes the place of another, which will be removed: the layers over that lie over it."""
        self.images.hand_on(before, image)
        shown, follows = self.viewer.layers, [image, *self.images.channels_of(image)]
        for layer in follows:
            shown.move(shown.index(layer), shown.index(before))
        self._turn_to(image)

    def let_go(self, image: Image) -> None:
        """Let the work on an image go, which is kept: its layer will hold another one."""
        self.images.let_go(image)
        self.images.turn_to(image)
        self.recovery.forget_image(image)

    @verb
    def begin_anew(self, image: Image) -> None:
        """Turn to the image at work, which is another one since `let_go`."""
        self.images.turn_to(None)
        self._turn_to(image)

    @verb
    def undo(self) -> None:
        """Take back the latest step, a stroke or the model's."""
        session = self._session()
        if session.can_undo:
            self._note_given_up()
            self.asking.give_up()  # before: a choice is there again once it is taken back
        step = session.undo()
        self._stepped(step, f"Took back: {name_of(step)}{self._elsewhere(step)}.")

    @verb
    def redo(self) -> None:
        """Do the step again that was taken back last."""
        step = self._session().redo()
        self._stepped(step, f"Did again: {name_of(step)}{self._elsewhere(step)}.")

    def _elsewhere(self, step: Step) -> str:
        """Return where a step changed something, if that is not on view: " on slice 12"."""
        boxes = [change.where for change in step.changes if change.name in ("partial", "strokes", "objects")]
        if self.layers is None or self.layers.markers.ndim == 2 or not boxes:
            return ""
        try:
            on_view = time_on_view if self.is_in_time else plane_on_view
            axis, index = on_view(self.viewer, self.layers.markers) or (0, 0)
        except ValueError:  # the volume in 3-D, say
            return ""
        first, last = min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes) - 1
        if first <= index <= last:
            return ""
        what = "image" if self.is_in_time else "slice"
        return f" on {what} {first}" if first == last else f" on {what}s {first} to {last}"

    def cancel(self) -> None:
        """Give up the candidates that are being drawn, or what waits for the mouse; everything stays as it was."""
        self.forget_waiting()
        self.put_down.emit(None)
        if self.asking.call_off():
            self._show()
            self.say("Cancelled; nothing has changed.")

    # Events of the viewer and of its layers --------------------------------------------------------------------

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
            self._answer_again()
            self._show()

    def _brushed(self, layers: SessionLayers) -> None:
        self._beforehand.put_off()
        if layers.has_brush_in_hand:
            self.put_down.emit(layers)
        if layers is self.layers and (size := int(layers.markers.brush_size)) != self.tools.brush_size:
            self._choose_brush(size)
        self.changed.emit()

    def _undo(self, layers: SessionLayers) -> None:
        self.choose(self.images.image_of(layers))
        self.undo()

    def _redo(self, layers: SessionLayers) -> None:
        self.choose(self.images.image_of(layers))
        self.redo()

    def _cancel(self, layers: SessionLayers) -> None:
        """Give up what runs, by Esc on a layer."""
        if layers.is_encircling:
            layers.stop_encircling()
            self.say(GIVEN_UP)
        else:
            self.cancel()

    def _encircling(self, _: SessionLayers) -> None:
        self.say("The right button encircles: go round to where you began and it is filled; Esc gives it up.")

    def _note_removed(self, event: Any) -> None:
        self._is_removing = False
        layer = bare(event.value)
        if layer is self.image:
            sentence = self._farewell()
            self.recovery.forget_image(layer)
            if not self.images.remove(layer):
                sentence = "The image was removed, and its journal cannot be written: napari asks as it closes."
            self._hide()
            QTimer.singleShot(0, self._put_away)  # napari may be removing them
            self.say(sentence)
        elif isinstance(layer, Image):
            self.recovery.forget_image(layer)
            self.images.remove(layer)  # if it is one of those that are worked on
        elif self.layers is not None and self.layers.holds(layer):
            self.say(f"“{layer.name}” was removed; nothing is lost, it comes back with the next step.")
        self.changed.emit()

    def _farewell(self) -> str:
        """Return what there is to say of the image at work that was removed."""
        if self.layers is None or not self.layers.session.steps:
            return ""
        if self.layers.session.finished and self.layers.objects in self.viewer.layers:
            return "The image was removed; its objects stay in their layer."
        return "The image was removed; what was done on it is offered when it is opened again."

    def release(self, *_: Any) -> None:
        """Let go of the viewer: the work stays in ordinary layers."""
        self.viewer.layers.events.removing.disconnect(self._note_removing)
        self.viewer.layers.events.removed.disconnect(self._note_removed)
        self.viewer.dims.events.current_step.disconnect(self._advise)
        self.viewer.dims.events.ndisplay.disconnect(self._turned)
        self.viewer.dims.events.order.disconnect(self._turned)
        camera_of(self.viewer).events.zoom.disconnect(self._fit_brush)
        self.elsewhere.stop()
        self._beforehand.stop()
        self._garbage.release()
        self._depth.release()
        self._hide()
        self.view.release()
        self.recovery.forget()
        self.resuming.forget()
        self.images.release()
