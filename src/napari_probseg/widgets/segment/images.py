"""Images of a viewer, each with its session and its layers; one of them is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from napari.layers import Image, Labels

from napari_probseg.session.session import Session
from napari_probseg.similar.examples import Query
from napari_probseg.widgets.layers.colours import ObjectColours
from napari_probseg.widgets.layers.image import bare, case_of, finest
from napari_probseg.widgets.layers.misreading import misread
from napari_probseg.widgets.layers.overlay import remove
from napari_probseg.widgets.layers.session_layers import SessionLayers
from napari_probseg.widgets.layers.spare import Spare
from napari_probseg.widgets.layers.wiring import Wiring
from napari_probseg.widgets.models import given

if TYPE_CHECKING:
    from napari.viewer import Viewer

IN_TIME = {
    3: "A time series: each image is answered by itself; ••• > Follow the object through time.",
    4: "A time series: each volume is answered by itself; ••• > Follow the object through time.",
}
MAX_LOOKED_BACK_ON = 2**27  # voxels of an image that is kept for what its objects look like


class Images:
    """The images that are worked on, and which of them is at work.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where they are shown.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_of = ref(bare(viewer))  # weak: they are found by their viewer, and would keep it alive
        self._wiring: Wiring | None = None
        self._keep: Callable[[Session, Image], Any] | None = None
        self._all: WeakKeyDictionary[Image, SessionLayers] = WeakKeyDictionary()
        self._unwritten: list[SessionLayers] = []  # of images that are gone, whose journals could not be written
        self._spare = Spare()  # for the next image
        self.at_work: Image | None = None
        self._sizes: dict[str, tuple[float, ...]] = {}  # of the objects finished last, by the axes of their image
        self.before: Query | None = None  # what was finished on the image before, until it was looked at
        self.colours = ObjectColours()
        self._channels: WeakKeyDictionary[Image, list[ref[Image]]] = WeakKeyDictionary()

    def connect(self, keep: Callable[[Session, Image], Any], wiring: Wiring) -> None:
        """Take up the work where it was left when `release` was called.

        Parameters
        ----------
        keep : function
            Lets a new session have a journal.
        wiring : Wiring
            What is told of what is done on the layers of any image.
        """
        self._keep, self._wiring = keep, wiring
        for image, layers in list(self._all.items()):
            if image in self._viewer.layers:
                layers.resume(wiring)
            else:
                del self._all[image]

    @property
    def _viewer(self) -> Viewer:
        if (viewer := self._viewer_of()) is None:
            raise RuntimeError("the viewer was closed")
        return viewer

    @property
    def layers(self) -> SessionLayers | None:
        """The layers of the image at work, once there are any."""
        return None if self.at_work is None else self._all.get(self.at_work)

    def __iter__(self) -> Iterator[SessionLayers]:
        return iter(list(self._all.values()))

    @property
    def in_memory(self) -> list[SessionLayers]:
        """What would be lost with the program if no file had it: all images, and those removed that no journal has."""
        return [*self, *self._unwritten]

    def image_of(self, layers: SessionLayers) -> Image | None:
        """Return the image that layers lie over."""
        return next((image for image, own in self._all.items() if own is layers), None)

    def is_worked_on(self, image: Image) -> bool:
        """Return whether there is a step that was done on an image, or can be done again."""
        layers = self._all.get(image)
        return layers is not None and bool(layers.session.steps or layers.session.undone)

    def turn_to(self, image: Image | None) -> None:
        """Put an image to work; the next one that is new has objects of like sizes."""
        if image is not self.at_work and self.layers is not None:
            self._look_back_on(self.layers.session)
        self.at_work = image

    def _look_back_on(self, session: Session) -> None:
        """Note of an image that is left what the next ones can begin with."""
        self._sizes[session.case.axes] = session.sizes()
        if session.finished and prod(session.case.shape) <= MAX_LOOKED_BACK_ON:
            self.before = session.query_similar()

    @property
    def channels(self) -> list[Image]:
        """The further channels of the image at work."""
        return [] if self.at_work is None else self.channels_of(self.at_work)

    def channels_of(self, image: Image) -> list[Image]:
        """Return the further channels of an image, those that are still there."""
        return [layer for one in self._channels.get(image, ()) if (layer := one()) is not None]

    def set_channels(self, image: Image, channels: Iterable[Image]) -> None:
        """Let an image have these further channels; work that has begun goes on with those it began with."""
        self._channels[image] = [ref(layer) for layer in channels]

    def open(self) -> tuple[SessionLayers, str]:
        """Return the layers of the image at work, made when first needed, and what there is to say of them.

        Raises
        ------
        ValueError
            If there is no image, or it is none that can be worked on.
        TypeError
            If it holds no real numbers.
        """
        image, said = self.at_work, []
        if image is None:
            raise ValueError("there is no image yet: open one, or a sample")
        layers = self._all.get(image)
        if layers is not None and layers.pixels is not finest(image):
            self._all.pop(image).release()
            layers = None
            said.append("The image has new data: work on it begins anew, the earlier layers stay.")
        if layers is None:
            case = case_of(image, self.channels_of(image))
            session = Session(case.with_sizes(self._sizes.get(case.axes, ())), given(self._viewer).proposer)
            if self._keep is not None:
                self._keep(session, image)
            layers = self._new_layers(image, session)
            said.append(misread(image))
            if session.case.in_time:
                said.append(IN_TIME[session.case.ndim])
            if image.multiscale:
                said.append("The image has several scales: the work is on the finest.")
        else:
            layers.show()
        return layers, " ".join(filter(None, said))

    def adopt(self, image: Image, session: Session) -> SessionLayers:
        """Return new layers of an image, with a session that was found of it."""
        session.proposer = given(self._viewer).proposer
        return self._new_layers(image, session)

    def _new_layers(self, image: Image, session: Session) -> SessionLayers:
        """Lay layers over an image, those of the image that it follows if they will do."""
        if self._wiring is None:
            raise RuntimeError("the work on the images was let go of: open the Segment widget again")
        spare, self._spare = self._spare, Spare()
        layers = self._all[image] = SessionLayers(
            self._viewer, image, session, self._wiring, colours=self.colours, spare=spare
        )
        self._take_away(layer for layer in spare if not layers.holds(layer))
        return layers

    def lay_beforehand(self, image: Image) -> bool:
        """Lay a layer over an image on which no work has begun; return False if all lie there.

        Raises
        ------
        ValueError, TypeError
            If the image is none that can be worked on.
        """
        return image not in self._all and self._spare.lay_over(self._viewer, image, case_of(image).shape)

    @property
    def emptiness(self) -> list[tuple[Labels, bool]]:
        """The layers over the image at work, and those that lie ready, each with whether it holds nothing."""
        return [*((layer, True) for layer in self._spare), *(() if self.layers is None else self.layers.emptiness)]

    def recolour(self) -> None:
        """Colour the markers for the display in 2-D or in 3-D."""
        for layers in (self._spare, *self):
            layers.recolour(in_depth=self._viewer.dims.ndisplay == 3)

    def holds_spare(self, layer: Any) -> bool:
        """Return whether a layer lies ready for an image on which no work has begun."""
        return self._spare.holds(layer)

    def hand_on(self, before: Image, image: Image) -> None:
        """Lay the layers of an image that will be removed over another one, if they will do and it has none."""
        self.let_go(before)
        if image in self._all or not self._spare.shrink(self._viewer, image):
            self.put_away()

    def let_go(self, image: Image) -> None:
        """Forget the work on an image whose layer goes, or will hold another one; the layers over it wait for more."""
        layers = self._all.get(image)
        self.remove(image)
        if layers is not None:
            self.put_away()
            self._spare = Spare(layers.markers, layers.objects, layers.held)

    def put_away(self) -> None:
        """Take the layers away that no image has taken over."""
        spare, self._spare = self._spare, Spare()
        self._take_away(spare)

    def _take_away(self, layers: Iterable[Any]) -> None:
        for layer in layers:
            remove(self._viewer, layer)

    def remove(self, image: Image) -> bool:
        """Forget an image that was taken out of the viewer; its layers stay, as ordinary ones.

        Returns
        -------
        bool
            Whether what was done on it is in its journal; else it stays in memory.
        """
        is_written = True
        if (layers := self._all.pop(image, None)) is not None:
            layers.release()
            self._look_back_on(layers.session)
            if layers.session.journal is not None and not layers.session.journal.close():
                is_written = False
                self._unwritten.append(layers)
        if image is self.at_work:
            self.turn_to(None)
        return is_written

    def release(self) -> None:
        """Let go of the layers, which are ordinary ones until `connect` takes the work up again."""
        self.put_away()
        for layers in self:
            layers.release()
        self._keep = self._wiring = None


_images: WeakKeyDictionary[Any, Images] = WeakKeyDictionary()


def images_of(viewer: Any) -> Images:
    """Return the images of a viewer: they outlive the widget."""
    viewer = bare(viewer)
    if viewer not in _images:
        _images[viewer] = Images(viewer)
    return _images[viewer]
