"""Showing of the Segment widget: what there is of the image at work, and how it comes into the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QTimer, Signal

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.engine.models import Model
from napari_probseg.session.request import Offer
from napari_probseg.session.session import Session
from napari_probseg.widgets.engines import engine
from napari_probseg.widgets.garbage import Garbage
from napari_probseg.widgets.layers.colours import warm_up
from napari_probseg.widgets.layers.depth import Depth
from napari_probseg.widgets.layers.image import (
    bare,
    displayed_axes,
    has_channels_first,
    hides,
    is_in_time,
    placement,
    plane_on_view,
    time_on_view,
    unit_of,
)
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.layers.source import source_of
from napari_probseg.widgets.messages import LACKS_LEARNT, cut_off, offer_of, question_of
from napari_probseg.widgets.models import give, given
from napari_probseg.widgets.segment.asking import Asking, Place
from napari_probseg.widgets.segment.beforehand import Beforehand
from napari_probseg.widgets.segment.brush_circle import BrushCircle
from napari_probseg.widgets.segment.brush_fit import BrushFit, camera_of, fitting
from napari_probseg.widgets.segment.candidates_view import CandidatesView
from napari_probseg.widgets.segment.elsewhere import Elsewhere
from napari_probseg.widgets.segment.following import Following
from napari_probseg.widgets.segment.gallery import measure
from napari_probseg.widgets.segment.images import images_of
from napari_probseg.widgets.segment.live import Live
from napari_probseg.widgets.segment.overlays import Overlays
from napari_probseg.widgets.segment.recovery import Recovery
from napari_probseg.widgets.segment.resuming import Resuming, open_image_of
from napari_probseg.widgets.segment.tools import Tools
from napari_probseg.widgets.settings import Settings

if TYPE_CHECKING:
    from napari.viewer import Viewer


class Showing(Following):
    """Shows what there is of the image at work, and derives that from its session.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where everything is shown.
    proposer : Proposer, optional
        What makes candidates; the shipped network, loaded when it is first needed, if absent.
    settings : Settings, optional
        What the user has set.
    """

    turned = Signal()  # to another image
    put_down = Signal(object)  # whatever waits for the mouse, for the sake of something else or of None

    def __init__(self, viewer: Viewer, proposer: Proposer | None = None, settings: Settings | None = None) -> None:
        super().__init__()
        self.viewer, self.settings = viewer, settings or Settings()
        self.brush_fit = BrushFit(self.settings.brush_size)
        self.tools = Tools(brush_size=self.settings.brush_size or Tools().brush_size, n=self.settings.n_candidates)
        self.view, self.asking = CandidatesView(viewer), Asking(engine(self.settings.device), self.settings.device)
        self.elsewhere = Elsewhere(self.asking, self.settings.device)
        self.restoring = partial(self.asking.restoring, viewer)
        self.images = images_of(viewer)
        self.recovery = Recovery(self.settings.journal, self.restoring, self._lay_next)
        self.images.colours.by_class = self.settings.class_colours
        self.live = Live(self.settings.live)
        self.view.preview.is_filled = self.settings.fill
        self.overlays, self.resuming = Overlays(viewer, self.owns), Resuming()
        self._circle, self._garbage, self._depth = BrushCircle(viewer), Garbage(viewer), Depth(viewer)
        self.changed.connect(self._show_in_depth)
        self._beforehand = Beforehand(self.lay_beforehand, self._must_wait)
        self._warming_up = warm_up()
        if proposer is not None:
            give(viewer, replace(given(viewer), proposer=proposer))

    # What there is ---------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        return self.layers.session if self.layers else None

    @property
    def subject(self) -> object:
        return self.session

    @property
    def on_offer(self) -> Offer | None:
        return self.session.on_offer if self.session else None

    @property
    def candidates(self) -> Candidates | None:
        return self.session.candidates if self.session else None

    @property
    def is_in_time(self) -> bool:
        """Whether the image at work is a time series."""
        return self.image is not None and is_in_time(self.image)

    @property
    def is_volume(self) -> bool:
        """Whether the image at work is a volume, also before anything is brushed."""
        image = self.image
        return image is not None and image.ndim - int(has_channels_first(image)) == 3 and not self.is_in_time

    @property
    def question(self) -> str:
        """What to ask about earlier work on the image at work; empty if there is none."""
        if (earlier := self.recovery.earlier) is None or self.image is None:
            return ""
        kept = earlier.kept
        n_steps, of = len(kept.stored.done), kept.subject.other_name(source_of(self.image))
        return question_of(self.image.name, n_steps, kept.n_objects, kept.time, difference=earlier.difference, of=of)

    @property
    def offered_work(self) -> str:
        """What the latest work was, to go on with while there is no image; empty if there is none."""
        if (kept := self.resuming.latest) is None or self.image is not None:
            return ""
        return offer_of(kept.subject.name, len(kept.stored.done), kept.n_objects, kept.time)

    def choices(self) -> list[Image]:
        """Return the viewer's images that can be worked on."""
        return [bare(layer) for layer in self.viewer.layers if isinstance(layer, Image) and not self.owns(layer)]

    def measure_of(self, axes: Sequence[int]) -> tuple[float, str]:
        """Return how large a voxel of the image at work is along some axes, and in what: see `measure`.

        Through time it has no size.
        """
        if self.image is None or self.session is None:
            return 1.0, "px"
        case = self.session.case
        if case.in_time and 0 in axes:
            return 1.0, "px" if case.ndim == 3 else "voxels"
        return measure(case.spacing or (), unit_of(self.image), [axis - case.in_time for axis in axes])

    def owns(self, layer: Any) -> bool:
        """Return whether a layer is one of those that show the work."""
        shown = self.view.holds(layer) or any(layers.holds(layer) for layers in self.images)
        return shown or self.images.holds_spare(layer)

    # What is shown ---------------------------------------------------------------------------------------------

    def open_layers(self) -> SessionLayers:
        """Return the layers of the image at work, made when first needed and put back if they were removed."""
        self.recovery.refuse_while_pending()
        before = self.layers
        with self.adding():
            layers, sentence = self.images.open()
        if layers is not before:
            QTimer.singleShot(0, self._prepare)
            if isinstance(layers.session.proposer, Model):
                self.asking.warm_up()
            self._show()
        if sentence:
            self.say(sentence)
        return layers

    def _prepare(self) -> None:
        """Make the layer of what will be on offer, in a turn of its own: napari takes its time for each layer.

        One that is there from an image before comes on top of what was laid over this one meanwhile.
        """
        if self.session is None or self.layers is None:
            return
        self.view.passing.prepare(self.session.case.shape, self._placement())
        shown = [bare(layer) for layer in self.viewer.layers]
        own = [i for i, layer in enumerate(shown) if self.view.holds(layer)]
        if own and min(own) < max((i for i, layer in enumerate(shown) if self.layers.holds(layer)), default=-1):
            self.viewer.layers.move_multiple(own, len(shown))

    def lay_beforehand(self) -> bool:
        """Do one of the things that are done before an image is painted on; return False if all are done.

        The layers of an image on which no work has begun are laid over it, the circle of the brush is drawn once, and
        what is in memory is set aside.
        """
        if self.image is None:
            return False
        if laid := self._lay_next():
            self._show_in_depth(hides=True)
        return laid or self._circle.draw_beforehand() or self._garbage.set_aside()

    def _lay_next(self) -> bool:
        """Lay one of the layers over the image at work, if no work has begun on it; return False if all are there."""
        if (image := self.image) is None or self.layers is not None:
            return False
        try:
            with self.adding():
                return self.images.lay_beforehand(image) or self.view.passing.lay_beforehand(image)
        except (ValueError, TypeError, MemoryError):  # the first verb says so
            return False

    def begin_beforehand(self) -> None:
        """Begin soon with what is done before the image at work is painted on."""
        self._beforehand.begin()

    def take_garbage_back(self) -> None:
        """Let Python search all that is in memory for what nobody needs."""
        self._garbage.take_back()

    def _must_wait(self) -> bool:
        is_looking = self.recovery.is_pending and not self.recovery.is_asking
        return self.is_held or is_looking or self._warming_up.is_alive()

    def list_images(self, *, is_removing: bool = False) -> None:
        """Take up the last image, where none that is in the viewer is at work; nothing is laid while one is removed."""
        images = self.choices()
        if self.image not in images and not self.is_held:
            self._turn_to(images[-1] if images else None)
        elif self.layers is not None and self.view.offer is None:
            take_up = partial(QTimer.singleShot, 0, self._show) if is_removing else self._show
            take_up()
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

    def _recovered(self, image: Image, session: Session) -> None:
        """Go on with earlier work."""
        if image is not self.image:
            return
        self.images.adopt(image, session)
        QTimer.singleShot(0, self._prepare)
        self.asking.warm_up()
        self._show()
        copy = None if session.journal is None else session.journal.damaged
        damaged = "" if copy is None else f" {cut_off(copy.name)}"
        self.say("Go on where you were." + self.recovery.told_of_others + damaged + LACKS_LEARNT * session.lacks_learnt)

    def _uncover(self) -> None:
        """Bring the image at work on top, with all that lies over it, where an image hides any of that."""
        shown = [bare(layer) for layer in self.viewer.layers]
        if self.image not in shown:
            return
        own, images = {self.image, *self.images.channels}, self.choices()
        parts: list[Any] = [self.view, *filter(None, [self.layers])]
        over = [i for i, layer in enumerate(shown) if any(part.holds(layer) for part in parts)]
        hiding = [i for i, layer in enumerate(shown) if layer in images and hides(layer)]
        others = [i for i in hiding if shown[i] not in own]
        if max(hiding, default=-1) > min(over, default=len(shown)) or max(others, default=-1) > shown.index(self.image):
            under = [i for i, layer in enumerate(shown) if layer in own]
            self.viewer.layers.move_multiple(under + over, len(shown))

    def take_away(self, layer: Any) -> None:
        """Take a layer out of the viewer; what was done on it is kept."""
        with self.adding():
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _show(self) -> None:
        """Show what there is of the image at work: the candidates on offer, and whatever the widget derives."""
        layers, session = self.layers, self.session
        if layers is not None:
            layers.resize_brush(self.tools.brush_size)  # before it is in hand: [ and ] change what the panel tells
        if layers is None or session is None or session.on_offer is None:
            if not self.asking.is_live:  # else what is on show stays until the next answer comes
                self.view.clear()
                if layers is not None:
                    layers.leave_open(None)
        elif session.on_offer is not self.view.offer:
            axes = displayed_axes(self.viewer, layers.markers)
            with self.adding():
                self.view.turn_to(session.on_offer, session.looked_at, session.case, axes, self._placement())
        self.changed.emit()

    def _hide(self, image: Image | None = None) -> None:
        """Give up what is asked, and show nothing of it; what showed it waits for another image, if there is one."""
        self.asking.give_up()
        self.asking.cool_down()
        if image is not None:
            self.view.rest(image)
        else:
            self.view.forget()

    def _turn_to(self, image: Image | None) -> None:
        """Put an image to work; what is on offer on it is shown again."""
        if image is not self.image:
            self.images.turn_to(image)
            for layers in self.images:
                layers.set_on_view(layers is self.layers)
            self._beforehand.begin()
            self.put_down.emit(self)
            self.resuming.forget()
            self._hide(image)
            self._select(image)
            self.recovery.forget()
            self._resize_brush(self.brush_fit.turned(image, self.tools.brush_size))
            self._fit_brush()
            if self.layers is None:
                self.recovery.look(image, self.images.channels)
            self.turned.emit()
        self._show()

    def _put_away(self) -> None:
        """Take away what lay ready for an image, unless the one at work will need it."""
        if self.image is None or self.layers is not None:
            self.images.put_away()

    def _choose_brush(self, size: int) -> None:
        """Let the brush have a size that a person chose, in voxels, on this image and those like it."""
        self.brush_fit.choose(self.image)
        self._resize_brush(size)

    def _fit_brush(self, _: Any = None) -> None:
        """Let the brush be as wide on the screen as ever."""
        if self.brush_fit.fits_screen and self.image is not None:
            self._resize_brush(fitting(float(camera_of(self.viewer).zoom), self.image.scale))

    def _resize_brush(self, size: int) -> None:
        if size != self.tools.brush_size:
            self.tools = replace(self.tools, brush_size=size)
            if self.layers is not None:
                self.layers.resize_brush(size)
            self.changed.emit()

    def _show_in_depth(self, *, hides: bool = False) -> None:
        """In depth show the layers that hold something; see `Depth`."""
        self._depth.settle([*self.images.emptiness, *self.view.passing.emptiness], hides=hides)

    def _turned(self, _: Any) -> None:
        """Draw the layers for the display in 2-D or in 3-D, or of other axes."""
        if self.image in self.choices():  # else napari is removing it
            self._show_in_depth(hides=True)
            self.view.passing.recolour()
            self.images.recolour()
            if self.layers is not None:
                self.view.turn(displayed_axes(self.viewer, self.layers.markers))

    # What verbs need -------------------------------------------------------------------------------------------

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
        on_view = time_on_view if self._session().case.in_time else plane_on_view
        whole = anywhere or (self.tools.whole_volume and on_view is plane_on_view)
        return Place(None if whole else on_view(self.viewer, markers), displayed_axes(self.viewer, markers))

    def _placement(self) -> dict[str, Any]:
        if self.image is None or self.session is None:
            raise ValueError("there is no image yet: open one, or a sample")
        return placement(self.image, self.session.case.ndim)
