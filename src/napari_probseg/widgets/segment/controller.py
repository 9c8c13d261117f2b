"""Controller of the Segment widget: the verbs of the user, for the images of one viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Labels
from numpy.typing import NDArray

from napari_probseg.candidates import Proposer
from napari_probseg.case import Marker
from napari_probseg.progress import counted
from napari_probseg.session.boxes import n_sides
from napari_probseg.session.finished import place_in
from napari_probseg.session.refinement import Refinement
from napari_probseg.session.session import Session
from napari_probseg.strokes import is_strokes_alone
from napari_probseg.widgets.layers.image import (
    bare,
    displayed_axes,
    obstacle_to_strokes,
    plane_on_view,
    voxels_of,
)
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.messages import LACKS_LEARNT, STROKES_ALONE
from napari_probseg.widgets.models import Models, give, given
from napari_probseg.widgets.segment.alike import MoreLikeThis
from napari_probseg.widgets.segment.box_tool import BOX_BEYOND, BOX_TAKEN, carried_over, region_of
from napari_probseg.widgets.segment.verbs import NotYetError, verb, verb_of_subject
from napari_probseg.widgets.settings import Settings, keep_setting
from napari_probseg.widgets.tasks.background import Background
from napari_probseg.widgets.tasks.refine import Refined, refining

N_WORTH_LEARNING = 3  # finished objects, at which it is told that the network can learn from them


class Workspace(MoreLikeThis):
    """What the user does with the images of one viewer; the widget shows it and calls its verbs, as do keys."""

    def __init__(self, viewer: Any, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__(viewer, proposer, settings)
        self._refining = Background()
        self._refining.done.connect(self._refined)
        self._refining.failed.connect(self._not_refined)
        self._refining.said.connect(self.say)

    def use(self, models: Models) -> None:
        """Propose and complete by other models from now on: those that a data set has taught."""
        give(self.viewer, models)
        for layers in self.images:
            layers.session.proposer = models.proposer

    def set(self, **tools: Any) -> None:
        """Set some of the `Tools`; a completion on offer, or accepted just now, is cut anew as the cut is set."""
        if "brush_size" in tools:
            self._choose_brush(tools.pop("brush_size"))
        self.tools = replace(self.tools, **tools)
        if "cut" in tools and self.session is not None:
            self.asking.cut_again(self.session, self.tools, self._place(anywhere=True))

    @verb
    def switch_live(self, on: bool) -> None:
        """Let the answer come by itself after each stroke, or ask for it."""
        if on == self.live.is_on:
            return
        self.live.switch(on)
        if on and self.session is not None and self.on_offer is None:
            self._go_along()
        self._show()

    @verb
    def fill(self, on: bool) -> None:
        """Fill candidates on the canvas, or outline them."""
        self.view.fill(on)

    # Strokes -------------------------------------------------------------------------------------------

    @verb
    def prepare(self) -> None:
        """Make the layers of the image, so that something can be drawn over it."""
        self.open_layers()
        self._uncover()

    @verb
    def brush(self, marker: Marker) -> None:
        """Take up the brush of a marker; UNKNOWN is the eraser."""
        self.open_layers().brush(marker, self.tools.brush_size)
        self._uncover()
        if obstacle := obstacle_to_strokes(self.viewer):
            self.say(obstacle)
        self.changed.emit()

    @verb_of_subject
    def mark_box(self, corners: Any, layer: Any = None) -> None:
        """Take a box around the object, in voxels of ``layer`` or of the markers: its frame is background."""
        layers, session = self.open_layers(), self._session()
        corners = corners if layer is None else carried_over(corners, layer, layers.markers)
        box = region_of(corners, session.case.shape)
        self._stepped(session.box(box), BOX_TAKEN)
        if n_sides(box, session.case.shape) < 2 and not (session.case.partial[session.in_work] == Marker.OBJECT).any():
            self.asking.give_up()  # it tells too little for an answer
            self._show()
            self.say(BOX_BEYOND)
        layers.brush(Marker.OBJECT, self.tools.brush_size)  # the next strokes correct it; [ and ] are of that layer
        self.changed.emit()

    # Candidates ---------------------------------------------------------------------------------------------------

    @verb
    def propose(self) -> None:
        """Ask for candidates, on the plane on view or in the volume."""
        self.asking.propose(self._session(), self.tools, self._place_of_strokes())
        self._show()

    @verb
    def reject(self) -> None:
        """Ask for other candidates: none of these."""
        if self.alike:
            self._skip_alike()
        elif self._at_hand().is_sampled:
            self.asking.propose_others(self._session(), self.tools, self._place(anywhere=True))
            self._show()

    @verb
    def complete(self) -> None:
        """Ask for the whole object, on the plane on view or in the volume; that tells how fast answers are, too."""
        self.live.begin()
        self.asking.complete(self._session(), self.tools, self._place_of_strokes(), given(self.viewer))
        self._show()

    @verb
    def carry(self) -> None:
        """Carry the object from the slice on view to the others, or follow it through time."""
        layers = self.open_layers()
        if layers.session.case.in_time:
            self.asking.follow(layers.session, self.tools, self._place(), given(self.viewer))
        elif (plane := plane_on_view(self.viewer, layers.markers)) is not None:
            offer = self.on_offer
            if offer is not None and self.is_meant and offer.request.plane == plane:
                layers.session.accept(self.view.current)  # the answer that came by itself is what is carried
            self.asking.carry(layers.session, replace(self._place(anywhere=True), plane=plane))
        else:
            raise ValueError("only a volume has slices to carry an object to")
        self._show()

    @verb
    def tune(self) -> None:
        """Let the network learn from finished objects, or from strokes, on the plane on view or in the volume."""
        self.asking.tune(self._session(), self.tools, self._place(), given(self.viewer))
        self._show()

    @verb
    def next(self) -> None:
        """Show the next candidate."""
        if self.alike:
            self._turn_alike(1)
            return
        self._at_hand()
        self.view.show(self.view.current + 1)

    @verb
    def previous(self) -> None:
        """Show the previous candidate."""
        if self.alike:
            self._turn_alike(-1)
            return
        self._at_hand()
        self.view.show(self.view.current - 1)

    @verb_of_subject
    def visit(self, i: int) -> None:
        """Show candidate ``i`` of a volume where it adds something."""
        self._at_hand()
        self.view.visit(i, self.open_layers().markers)

    @verb_of_subject
    def accept(self, i: int | None = None) -> None:
        """Accept candidate ``i``, or the one on show."""
        if self.alike:
            self._take_alike(i)
            return
        self._at_hand()
        i = self.view.current if i is None else i
        self._stepped(self._session().accept(i), f"Accepted candidate {i + 1}: correct it, propose again, or finish.")

    @verb
    def add_probability(self) -> None:
        """Add how likely each voxel is object, as the completer sees it, as a layer."""
        self.view.add_probability(self._placement())

    @verb
    def show_uncertainty(self, on: bool) -> None:
        """Show or hide where the samples disagree."""
        if on and self.image is not None:
            self.view.uncertainty.show(self._session().case.shape, self._placement())
        else:
            self.view.uncertainty.hide()

    @verb
    def go_to_most_uncertain(self) -> None:
        """Bring the undecided voxel into view at which the samples disagree most."""
        self.view.go_to_most_uncertain(self._session().case.partial, self.open_layers().markers)
        self.say("Here the samples disagree most: a stroke here tells them the most.")

    # Steps --------------------------------------------------------------------------------------------------------

    @verb
    def forget(self) -> None:
        """Complete with the network again that knows nothing of this image."""
        step = self._session().forget()
        self._stepped(step, "Forgotten: Complete asks the general network again. Undo brings back what was learnt.")

    def finish(self) -> None:
        """Move the object to the finished ones and begin the next; pressed again while it waits it is done once."""
        if not self.awaits("finish"):
            self.act(self._finish, "finish")

    def _finish(self) -> None:
        self.finish_object()
        self.look_for_more()

    def finish_object(self) -> None:
        """Finish the object at work, or raise; where answers come by themselves, that is the answer to its strokes."""
        session = self._session()
        if self.asking.is_live and session.on_offer is None:
            raise NotYetError("the answer to your strokes is on its way: the object is finished with it")
        if self.is_meant:
            session.accept(self.view.current)
        told = STROKES_ALONE if is_strokes_alone(session.case, session.in_work) else "brush the next one."
        step = session.finish(self.tools.kind)
        self.view.uncertainty.forget()
        if (layers := self.layers) is not None and layers.has_brush_in_hand:
            layers.brush(Marker.OBJECT, self.tools.brush_size)  # the next one begins inside
        is_worth_learning = len(session.finished) == N_WORTH_LEARNING and session.learnt is None
        hint = " Fine-tune lets the network learn from these." if is_worth_learning else ""
        self._stepped(step, f"Object {step.arguments['label']} is finished and locked: {told}{hint}")

    @verb_of_subject
    def reopen(self, label: int) -> None:
        """Make a finished object the one in work again."""
        self._stepped(self._session().reopen(label), f"Object {label} is open again: correct it, then finish it.")

    @verb_of_subject
    def go_to_object(self, label: int) -> None:
        """Bring a finished object into view."""
        layers, session = self.open_layers(), self._session()
        one = next((one for one in session.finished if one.label == label), None)
        if one is None:
            raise ValueError(f"there is no finished object {label}")
        shown = displayed_axes(self.viewer, layers.markers)
        hidden = next((axis for axis in range(session.case.ndim) if axis not in shown), None)
        self.view.point_to(place_in(session.objects, one, hidden), layers.markers)

    def classify(self, label: int, kind: str) -> None:
        """Give a finished object another class; number 0 is all that are finished from now on."""
        if label:
            self._classify(label, kind)
        else:
            self._classify_next(kind)

    @verb_of_subject
    def remove_object(self, label: int) -> None:
        """Remove a finished object."""
        self._stepped(self._session().remove(label), f"Object {label} is removed: Undo brings it back.")

    @verb_of_subject
    def _classify(self, label: int, kind: str) -> None:
        self._session().classify(label, kind)
        self.open_layers().colour_objects()
        self.say(f"Object {label} is of class “{kind}”." if kind else f"Object {label} is of no class.")
        self.changed.emit()

    def classify_all(self, kinds: Mapping[int, str]) -> None:
        """Give finished objects of the image at work these classes, without a word."""
        self._session().classify_all(kinds)
        self.open_layers().colour_objects()
        self.changed.emit()

    @verb_of_subject
    def rename_class(self, kind: str, new: str) -> None:
        """Give all finished objects of a class another one, or none, and so those that are finished from now on."""
        labels = [one.label for one in self._session().finished if one.kind == kind]
        self.classify_all(dict.fromkeys(labels, new))
        if self.tools.kind == kind:
            self.tools = replace(self.tools, kind=new)
        of = f"of class “{new}”" if new else "of no class"
        self.say(f"{counted(len(labels), 'object')} of class “{kind}” {'is' if len(labels) == 1 else 'are'} {of} now.")
        self.changed.emit()

    @verb
    def _classify_next(self, kind: str) -> None:
        self.tools = replace(self.tools, kind=kind)
        self.say(f"Objects that you finish from now on are of class “{kind}”." if kind else "")
        self.changed.emit()

    @verb
    def colour_by_class(self, on: bool) -> None:
        """Colour the finished objects by class, or by number, from now on."""
        self.images.colours.by_class = on
        for layers in self.images:
            layers.colour_objects()
        keep_setting("class_colours", on)
        self.changed.emit()

    def kinds(self) -> tuple[str, ...]:
        """Return the classes that were given to objects of any image at work, and that of the next ones."""
        given = [kind for layers in self.images for kind in layers.session.kinds.values()]
        return tuple(dict.fromkeys([*given, self.tools.kind] if self.tools.kind else given))

    @verb_of_subject
    def refine(self, how: str, finished: bool = False) -> None:
        """Refine the object at work, or all finished ones, in a thread: on the slice on view, or in the volume."""
        layers, session = self.open_layers(), self._session()
        shown = displayed_axes(self.viewer, layers.markers)
        across = next((axis for axis in range(session.case.ndim) if axis not in shown), 0)
        plane = None if how == "between" or finished else self._place().plane
        what = Refinement(how, finished, plane, across)
        self.asking.give_up()
        self._begin_refining(session, what)

    def _begin_refining(self, session: Session, what: Refinement) -> None:
        self.hold()
        self._refining.start(lambda: refining(session, what))
        self.changed.emit()

    def _refined(self, got: Refined) -> None:
        """Do what was found, unless something was brushed meanwhile: then it is found anew."""
        self.release_hold()
        if got.session is not self.session:
            return
        if got.case is not got.session.case:
            self._begin_refining(got.session, got.what)
        else:
            step = got.session.refine(got.what, got.changes)
            is_flat = got.session.case.ndim == 2 or got.what.plane is None
            where = "" if is_flat else f" on the {'image' if self.is_in_time else 'slice'} on view"
            done = f"Done{where}: Undo takes it back." if step.changes else f"There is nothing to change{where}."
            self._stepped(step, done)

    def _not_refined(self, error: Exception) -> None:
        self.release_hold()
        self.refuse(error)

    @verb
    def take(self, labels: Labels) -> None:
        """Adopt the objects of a Labels layer from elsewhere."""
        session = self._session()
        if self.image is not None:
            step = session.take(voxels_of(bare(labels), self.image))
            self._stepped(step, f"Took the objects of “{labels.name}”: reopen any of them.")

    @verb
    def take_saved(self, labels: NDArray[Any], kinds: Mapping[int, str], path: Path) -> None:
        """Take up the objects of the image at work that were saved to a file."""
        session = self._session()
        step = session.take(labels, kinds)
        session.note_saved(path, whole=False)
        self._stepped(step, "Took up the objects that were saved: reopen any of them.")

    @verb
    def replace_session(self, session: Session, layers: SessionLayers | None = None) -> None:
        """Go on with a session that was saved earlier, on the image at work, which ``layers`` are those of."""
        if layers not in (None, self.layers):
            raise RuntimeError("the image that the session belongs to was removed meanwhile: open it, and the session")
        layers = self.open_layers()
        session.proposer = given(self.viewer).proposer
        self.recovery.put_aside(layers.session)
        if self.image is not None:
            self.recovery.keep(session, self.image)
        layers.session = session
        self._hide()
        layers.repaint()
        self._show()
        self.say("The session is open: go on where it was left." + LACKS_LEARNT * session.lacks_learnt)
