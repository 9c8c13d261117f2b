"""Reading anew: an image that napari's own reader made something else of is read by this plugin, or is labels."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer

from napari_probseg.case import Marker
from napari_probseg.io.labels import whole_numbers
from napari_probseg.widgets.layers.image import (
    bare,
    finest,
    go_to_middle,
    go_to_voxel,
    placement,
    voxel_on_view,
)
from napari_probseg.widgets.layers.misreading import (
    AS_OBJECTS,
    ONE_BY_ONE,
    READ_ANEW,
    distances_of,
    first_of,
    labels_beside,
    lay_as_told,
    misread,
    opened_twice,
    places_told,
    stacked,
    taken_for_image,
)
from napari_probseg.widgets.layers.source import add_read, source_of
from napari_probseg.widgets.readers import NAPARI
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.still import units_may_differ
from napari_probseg.widgets.tasks.background import Background
from napari_probseg.widgets.tasks.series import Read, arriving

SETTLED_MS = 100  # without another image that comes; before anything is laid over it


class ReadingAnew(QObject):
    """Puts what the file of an image tells in the place of what napari's own reader made of it.

    Parameters
    ----------
    work : Workspace
    parent : QWidget
    """

    def __init__(self, work: Workspace, parent: Any) -> None:
        super().__init__(parent)
        self.work = work
        self.background = Background()
        self.background.said.connect(work.say)
        self.background.done.connect(self._take)
        self.background.failed.connect(self._fail)
        self._later = QTimer(self, singleShot=True, interval=SETTLED_MS)
        self._later.timeout.connect(self._put_right)
        work.turned.connect(self._look)

    def read(self, link: str = READ_ANEW) -> None:
        """Read the file of the image at work, or the first that it is a stack of; or take labels as objects."""
        self.work.act(self._take_labels if link == AS_OBJECTS else partial(self._read, link))

    def _read(self, link: str) -> None:
        work = self.work
        of = first_of if link == ONE_BY_ONE else source_of
        path = None if work.image is None else of(work.image)
        if path is None:
            raise ValueError("its file is not there any more: open the image again")
        work.hold()
        self.background.start(lambda: arriving(path))

    def _look(self) -> None:
        """Tell of an image that was misread; where its place alone was left out, put that right a moment later.

        Others may be on their way into the viewer, and napari warns of one that comes beside other units.
        """
        work, image = self.work, self.work.image
        if work.layers is None and image is not None:
            sentence = misread(image) or stacked(image)
            if told := self._labels_told() or sentence or opened_twice(image, work.choices()):
                work.say(told)
            if sentence and self._places_told():
                work.recovery.put_off(image)
                self._later.start()

    def _put_right(self) -> None:
        work, image = self.work, self.work.image
        if image is not None and not work.is_held and (places := self._places_told()):
            on_view = voxel_on_view(work.viewer, image)
            with units_may_differ():
                lay_as_told(places)
            go_to_voxel(work.viewer, image, on_view)
            work.begin_beforehand()
            work.viewer.reset_view()
            lies = f"“{image.name}” lies as its file tells, {distances_of(image)}: napari's own reader leaves that out."
            work.say(self._labels_told() or lies)
        work.recovery.look(image, work.images.channels)

    def _places_told(self) -> list[tuple[Image, dict[str, Any]]]:
        """Return what can be put right; nothing where that has been worked on."""
        if any(map(misread, self._worked_on())):
            return []
        return places_told([bare(layer) for layer in self.work.viewer.layers if not self.work.owns(layer)])

    def _labels(self) -> tuple[Image, Image] | None:
        """Return labels that were opened as an image, and their image, if one of the two is at work."""
        work, worked_on = self.work, self._worked_on()
        if work.image is None:
            return None
        found = labels_beside(work.image, [layer for layer in work.choices() if layer not in worked_on])
        return None if found is None or found[0] in worked_on else found

    def _labels_told(self) -> str:
        return "" if (found := self._labels()) is None else taken_for_image(*found)

    def _take_labels(self) -> None:
        """Make a layer of labels of what was opened as an image, and take them up as the objects of the other one."""
        work, found = self.work, self._labels()
        if found is None:
            raise ValueError("the labels are gone, or were drawn on, or no image has their size: open both anew")
        layer, image = found
        place = placement(layer, layer.ndim)
        labels = Labels(whole_numbers(layer.data, name=layer.name), name=layer.name, visible=False, **place)
        work.take_away(layer)
        with work.adding():
            work.viewer.add_layer(labels)
        work.bring_up(image)
        work.take(labels)

    def _take(self, got: Read) -> None:
        self.work.at_once(lambda: self._take_read(got))

    def _take_read(self, got: Read) -> None:
        """Turn to what was read, and take away what it replaces; what was worked on stays."""
        work = self.work
        work.release_hold()
        try:
            stay = self._worked_on()
            goes = [one for one in work.choices() if _is_instead_of(one, got) and one not in stay]
            was_stack = any(map(first_of, goes))
            before = [(finest(layer).shape, voxel_on_view(work.viewer, layer)) for layer in goes]
            had_brush = work.layers is not None and work.layers.has_brush_in_hand
            for layer in goes:
                layer.name += " before"  # for what follows it is to have its name
                _give_units(layer, got)
            with work.adding(), units_may_differ():  # of layers that lie over what goes
                opened = add_read(work.viewer, got.path, got.layers)
            self._turn_to([layer for layer in opened if isinstance(layer, Image)], goes)
            for layer in goes:
                work.take_away(layer)
            self._go_to_where_it_was(before)
            if had_brush and not work.recovery.is_pending:
                work.brush(Marker.OBJECT)
            else:
                work.images.put_away()
        except Exception as error:  # napari may raise anything
            work.refuse(error)
            return
        work.viewer.reset_view()
        stays = " What was worked on stays, too." if stay else ""
        what = "is open alone: Finish image opens the next one" if was_stack else f"was read anew: {_told(opened)}"
        work.say(f"“{got.path.name}” {what}.{stays}")

    def _turn_to(self, images: list[Image], goes: list[Image]) -> None:
        """Put the first of some images to work, with the empty layers of the one that it takes the place of."""
        work = self.work
        if not images:
            return
        if work.image is not None and work.image in goes:
            work.succeed(work.image, images[0])
        else:
            work.bring_up(images[0])

    def _go_to_where_it_was(self, before: list[tuple[tuple[int, ...], tuple[float, ...]]]) -> None:
        """Show the voxels that were on view of an image of this shape; where its axes were others, its middle."""
        viewer, image = self.work.viewer, self.work.image
        if image is None:
            return
        if (on_view := dict(before).get(finest(image).shape)) is not None:
            go_to_voxel(viewer, image, on_view)
        else:
            go_to_middle(viewer, image)

    def _worked_on(self) -> list[Image]:
        """Return the images on which anything was done, and their channels."""
        images = self.work.images
        done = [images.image_of(one) for one in images if one.session.steps or one.session.can_redo]
        return [layer for image in done if image is not None for layer in (image, *images.channels_of(image))]

    def _fail(self, error: Exception) -> None:
        self.work.release_hold()
        self.work.refuse(error)


def _is_instead_of(layer: Image, got: Read) -> bool:
    """Return whether napari's own reader made a layer of the file that was read, or of all in its folder."""
    return layer.source.reader_plugin == NAPARI and got.path in (source_of(layer), first_of(layer))


def _give_units(layer: Image, got: Read) -> None:
    """Let an image that goes have the units of what comes, beside which it is for a moment: napari warns of others."""
    units = next((tuple(told["units"]) for _, told, _ in got.layers if "units" in told), ())
    if units:
        layer.units = (*units[:1] * (layer.ndim - len(units)), *units)[-layer.ndim :]


def _told(layers: list[Any]) -> str:
    """Return what layers are: "2 channels, pixels 0.5 µm apart"."""
    first = layers[0]
    if not isinstance(first, Image):
        return "it holds labels"
    what = f"{len(layers)} channels, " if len(layers) > 1 else "colours, " if first.rgb else ""
    return what + distances_of(first)
