"""Markers and objects layers of a session: strokes come in through them, results come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_probseg.case import Marker
from napari_probseg.region import Region, hull, n_voxels, overlap, relative
from napari_probseg.session.shown import Answer
from napari_probseg.widgets.layers import encircling
from napari_probseg.widgets.layers.colours import ObjectColours, marker_colours
from napari_probseg.widgets.layers.edits import Strokes, following, touched_region
from napari_probseg.widgets.layers.image import GEOMETRY, bare, finest, placement
from napari_probseg.widgets.layers.overlay import add, draw, lay_over, numbers_for, seen, used_again, write
from napari_probseg.widgets.layers.spare import Spare, are_few, new_layer
from napari_probseg.widgets.layers.wiring import Wiring

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.session.session import Session

_BRUSH = ("mode", "selected_label", "brush_size")


class SessionLayers:
    """The layers through which a person sees a session and paints on it.

    The session owns the truth and the layers show it, so a layer that is removed can always be made anew.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are shown.
    image : napari.layers.Image
        What they lie over.
    session : Session
        What they show.
    wiring : Wiring
        What is told of what is done on them.
    colours : ObjectColours
        How finished objects are coloured.
    spare : Spare, optional
        Layers to be used, where they will do.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        session: Session,
        wiring: Wiring,
        *,
        colours: ObjectColours,
        spare: Spare | None = None,
    ) -> None:
        self.session = session
        self.image_name, self.pixels, self._image = image.name, finest(image), ref(image)
        self._viewer_of = ref(bare(viewer))  # weak: they outlive the widget, and would keep the viewer alive
        self._tell = wiring.of(self)
        self._colours = colours
        self._touched: Region | None = None
        self._open: Answer | None = None  # what the candidate on show takes back, and is not shown as decided
        self.is_drawing = False  # a stroke, of which napari tells when it is complete
        self.is_encircling = False  # a stroke that goes on without a button
        self._escape_cancels = self._may_cancel = False
        self._hidden: list[Labels] = []  # while another image is at work
        self._placement = placement(image, session.case.ndim)
        self._metadata = dict(image.metadata)
        self.objects = self._new_objects(spare)
        self.markers = self._new_markers(spare)
        self._follow_image()
        self.show()

    @property
    def _whole(self) -> Region:
        return tuple(slice(0, n) for n in self.session.case.shape)

    @property
    def _viewer(self) -> Viewer:
        if (viewer := self._viewer_of()) is None:
            raise RuntimeError("the viewer was closed")
        return viewer

    def show(self) -> None:
        """Put the layers into the viewer, again if they were removed."""
        active = self._viewer.layers.selection.active
        if self.objects not in self._viewer.layers:
            self.objects = self._new_objects()
            add(self._viewer, self.objects)
        if self.markers not in self._viewer.layers:
            self.markers = self._new_markers()
            self._touched = None
            add(self._viewer, self.markers)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def holds(self, layer: Any) -> bool:
        """Return whether a layer is one of the two."""
        return bare(layer) is self.markers or bare(layer) is self.objects

    @property
    def has_brush_in_hand(self) -> bool:
        """Whether a brush or the eraser paints on the markers."""
        return self._viewer.layers.selection.active is self.markers and self.markers.mode in ("paint", "erase")

    def take_strokes(self) -> Strokes | None:
        """Return what was painted since the last call; whatever may not be painted is taken off the layer."""
        if self.is_drawing or self.is_encircling:
            self._touched = self._whole
        if self._touched is None:
            return None
        where, self._touched = self._touched, None
        new, old = self.markers.data[where], self._shown(where)
        locked = self.session.objects[where] > 0
        free = ~locked & (new != old)
        strokes = Strokes(
            where,
            inside=free & (new == Marker.OBJECT),
            outside=free & (new == Marker.BACKGROUND),
            erase=free & (new == Marker.UNKNOWN),
            n_locked=int(np.count_nonzero(locked & (new != old))),
            n_foreign=int(np.count_nonzero(new > Marker.BACKGROUND)),
        )
        foreign = (new != old) & (locked | (new > Marker.BACKGROUND))
        if foreign.any():
            new[foreign] = old[foreign]
            draw(self.markers, [where], plane=seen(self._viewer, self.markers))
        if self.is_encircling:
            self.stop_encircling()
        return strokes

    def repaint(self, regions: Iterable[Region] | None = None) -> None:
        """Show the session as it is now, in the regions that changed or everywhere.

        A layer that shows it already is not drawn anew.
        """
        self.colour_objects()
        if self.session.max_label > np.iinfo(self.objects.dtype).max:
            self.objects.data = self._objects(...)
        wheres = [] if regions is None else list(regions)
        for layer, values in ((self.markers, self._shown), (self.objects, self._objects)):
            if regions is None:
                layer.data[...] = values(...)
                layer.refresh()
            else:
                write(layer, [(where, values(where)) for where in wheres], plane=seen(self._viewer, layer))

    def leave_open(self, taken_back: Answer | None) -> None:
        """Show what a candidate takes back as unknown: napari tells of no stroke over voxels that have its colour.

        A stroke that is being drawn stays.
        """
        regions = [region for region, _ in filter(None, (self._open, taken_back))]
        is_midst = self.is_drawing or self.is_encircling
        before = [(self.markers.data[where].copy(), self._shown(where)) for where in regions if is_midst]
        self._open = taken_back
        if is_midst:
            after = [
                np.where(now != shown, now, self._shown(at)) for at, (now, shown) in zip(regions, before, strict=True)
            ]
            write(self.markers, zip(regions, after, strict=True), plane=seen(self._viewer, self.markers))
        elif regions:
            self.repaint(regions)

    def brush(self, marker: Marker, size: int) -> None:
        """Make the markers layer active, with the brush of a marker; UNKNOWN erases."""
        self.show()
        if not self.markers.visible:
            self.markers.visible = True
        self._viewer.layers.selection.active = self.markers
        self.resize_brush(size)
        if marker is Marker.UNKNOWN:
            self.markers.mode = "erase"
        else:
            self.markers.selected_label = int(marker)
            self.markers.mode = "paint"

    def resize_brush(self, size: int) -> None:
        """Let the brush have a diameter, in voxels."""
        if self.markers.brush_size != size:  # napari tells of one that is the same, too, and all is drawn anew
            self.markers.brush_size = size

    def resume(self, wiring: Wiring) -> None:
        """Go on after `release`; what was painted meanwhile are strokes."""
        self._tell = wiring.of(self)
        if not np.array_equal(self.objects.data, self.session.objects):  # changed as an ordinary layer: it stays one
            self.objects = self._new_objects()
        else:
            self.objects.editable = False
            self._bind_undo(self.objects)
        self.colour_objects()
        self._connect(self.markers)
        self._follow_image()
        self._note_data()
        self.show()

    def set_on_view(self, on: bool) -> None:
        """Show the layers, or hide those that the user sees while another image is at work."""
        if not on:
            self._hidden += [layer for layer in (self.markers, self.objects) if layer.visible]
        for layer in self._hidden:
            layer.visible = on
        if on:
            self._hidden = []

    def begin_stroke(self, event: Any) -> None:
        """Note that a button was pressed on the markers."""
        self.is_drawing = True
        if not self.is_encircling and encircling.begins(self.markers, event):
            self._note_encircling(True)
            self._tell.encircling(event)

    def stop_encircling(self) -> None:
        """Give up the stroke that goes on without a button."""
        self._note_encircling(False)
        encircling.give_up(self.markers)

    def _note_encircling(self, on: bool) -> None:
        self.is_encircling = on
        self.let_escape_cancel(self._may_cancel)

    def let_escape_cancel(self, on: bool) -> None:
        """Let Esc give up what runs, or encircling; it is napari's own key, of polygons, while there is neither."""
        self._may_cancel = on
        on = on or self.is_encircling
        if on != self._escape_cancels:
            self._escape_cancels = on
            for layer in (self.markers, self.objects):
                layer.bind_key("Escape", self._tell.cancel if on else None, overwrite=True)

    def recolour(self, *, in_depth: bool) -> None:
        """Colour the markers for the display in 2-D or in 3-D."""
        self._in_depth = in_depth
        self.markers.colormap = marker_colours(in_depth=in_depth)

    def colour_objects(self) -> None:
        """Colour the finished objects by number, or by their class."""
        self._colour(self.objects)

    def release(self) -> None:
        """Leave the layers to the viewer as ordinary ones."""
        self._note_encircling(False)
        self.let_escape_cancel(False)
        self.leave_open(None)
        self.set_on_view(True)
        if (image := self._image()) is not None:
            image.events.name.disconnect(self._rename)
            for name in GEOMETRY:
                if name in image.events.emitters:
                    getattr(image.events, name).disconnect(self._move)
        self.is_drawing = False
        self.markers.mouse_drag_callbacks.remove(self._follow)
        self.markers.events.paint.disconnect(self._note_paint)
        self.markers.events.data.disconnect(self._note_data)
        for name in _BRUSH:
            getattr(self.markers.events, name).disconnect(self._note_brush)
        if self._in_depth:
            self.recolour(in_depth=False)
        self.markers.mode = "pan_zoom"  # napari crashes where a layer in another mode goes and a volume comes
        self.objects.editable = True
        for layer in (self.markers, self.objects):
            for key in ("Control-Z", "Control-Shift-Z"):
                layer.bind_key(key, None)

    def _shown(self, where: Any) -> NDArray[np.uint8]:
        """Return the markers to show: what is decided, without the finished objects and what is taken back."""
        if not self.session.steps:
            return self.session.case.partial[where].copy()
        shown: NDArray[np.uint8] = np.where(
            self.session.objects[where] > 0, np.uint8(0), self.session.case.partial[where]
        )
        if self._open is not None:
            region, mask = self._open
            here = self._whole if where is ... else where
            if (common := overlap(here, region)) is not None:
                is_open = mask[relative(common, region)] & (self.session.case.strokes[common] == Marker.UNKNOWN)
                shown[relative(common, here)][is_open] = Marker.UNKNOWN
        return shown

    def _new_markers(self, spare: Spare | None = None) -> Labels:
        layer = self._new("markers", lambda: self._shown(...), spare)
        self._connect(layer)
        return layer

    def _new(self, kind: str, data: Callable[[], NDArray[Any]], spare: Spare | None) -> Labels:
        """Return a layer, a spare one if there is any that will do."""
        in_depth, shape = self._viewer.dims.ndisplay == 3, self.session.case.shape
        self._in_depth = in_depth
        layer = None if spare is None else spare.taken(kind, self._viewer, len(shape), self._placement)
        if layer is None or spare is None:
            return new_layer(kind, data(), self.image_name, self._placement, in_depth=in_depth)
        held = self.held[kind] if spare.is_empty_over(kind, shape) and self.session.max_label < 256 else None
        values = self._shown if kind == "markers" else self._objects
        written = [(where, values(where)) for where in held or ()] if are_few(held) else data()
        name, plane = f"{kind} of {self.image_name}", seen(self._viewer, layer)
        return used_again(layer, written, name, self._placement, plane=plane)

    @property
    def held(self) -> dict[str, list[Region]]:
        """The regions outside of which the layers are empty."""
        boxes, in_work = [one.box for one in self.session.finished], self.session.in_work
        return {"objects": boxes, "markers": [in_work] if n_voxels(in_work) else []}

    @property
    def emptiness(self) -> list[tuple[Labels, bool]]:
        """The layers, each with whether it holds nothing and nobody is about to draw on it."""
        is_drawn_on = self.has_brush_in_hand or n_voxels(self.session.in_work) > 0
        return [(self.objects, not self.session.finished), (self.markers, not is_drawn_on)]

    def _objects(self, where: Any) -> NDArray[Any]:
        """Return the objects to show, in as few bits as will do."""
        return self.session.objects[where].astype(numbers_for(self.session.max_label))

    def _connect(self, layer: Labels) -> None:
        layer.events.paint.connect(self._note_paint)
        layer.events.data.connect(self._note_data)
        for name in _BRUSH:
            getattr(layer.events, name).connect(self._note_brush)
        self._follow = following(self)
        layer.mouse_drag_callbacks.append(self._follow)
        self._bind_undo(layer)

    def _new_objects(self, spare: Spare | None = None) -> Labels:
        layer = self._new("objects", lambda: self._objects(...), spare)
        self._colour(layer)
        layer.metadata = self._metadata
        layer.editable = False  # finished objects are locked: they change by reopening alone
        self._bind_undo(layer)
        return layer

    def _colour(self, objects: Labels) -> None:
        self._colours.put_on(objects, self.session.kinds if self._colours.by_class else {})

    def _bind_undo(self, layer: Labels) -> None:
        """Map Ctrl+Z to the session's undo: napari's own history knows strokes alone and would write stale voxels."""
        layer.bind_key("Control-Z", self._tell.undo, overwrite=True)
        layer.bind_key("Control-Shift-Z", self._tell.redo, overwrite=True)

    def _follow_image(self) -> None:
        """Be called after the image, and lie where it does, from now on."""
        if (image := self._image()) is None:
            return
        image.events.name.connect(self._rename)
        for name in GEOMETRY:
            if name in image.events.emitters:  # napari 0.7 has no event of units
                getattr(image.events, name).connect(self._move)
        self._rename()
        self._move()

    def _rename(self, _: Any = None) -> None:
        """Call the layers after the image, but for one that a person has called otherwise."""
        if (image := self._image()) is None or image.name == self.image_name:
            return
        before, self.image_name = self.image_name, image.name
        for kind, layer in (("markers", self.markers), ("objects", self.objects)):
            if layer.name.startswith(f"{kind} of {before}"):
                layer.name = f"{kind} of {self.image_name}"

    def _move(self, _: Any = None) -> None:
        """Lie where the image lies."""
        if (image := self._image()) is None:
            return
        where = placement(image, self.session.case.ndim)
        before, self._placement = self._placement, where
        for layer in (self.markers, self.objects):
            lay_over(layer, where)
        if any(not np.array_equal(np.asarray(where[name], object), np.asarray(before[name], object)) for name in where):
            self._tell.moved(None)

    def _note_paint(self, event: Any) -> None:
        self._note_encircling(False)
        self._touch(touched_region(getattr(event, "value", None), self.markers.data.shape))

    def _note_brush(self, event: Any) -> None:
        if self.markers.mode != "paint":
            self._note_encircling(False)
        self._tell.brushed(event)

    def _note_data(self, event: Any = None) -> None:
        """Another plugin gave the layer new data: take it as painting if it fits."""
        if self.markers.data.shape != self.session.case.shape:
            self.markers.data = self._shown(...)
        else:
            self._touch(self._whole)

    def _touch(self, where: Region) -> None:
        if self._touched is not None:
            where = hull(self._touched, where)
        self._touched = where
        self._tell.painted(None)
