"""The Segment dock widget: brush, propose, choose, correct, finish."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_probseg.candidates import Proposer
from napari_probseg.case import Marker
from napari_probseg.widgets import commands
from napari_probseg.widgets.ending import close_at_the_end
from napari_probseg.widgets.keys import Keys, short, weakly
from napari_probseg.widgets.layers.image import bare, displayed_axes
from napari_probseg.widgets.segment.alike_part import AlikePart
from napari_probseg.widgets.segment.box_part import BoxPart
from napari_probseg.widgets.segment.closing import guard
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.file_dialogs import Files
from napari_probseg.widgets.segment.first_view import FirstView
from napari_probseg.widgets.segment.focus import FocusClick
from napari_probseg.widgets.segment.image_series import ImageSeries
from napari_probseg.widgets.segment.menu import Menu
from napari_probseg.widgets.segment.objects_part import ObjectsPart
from napari_probseg.widgets.segment.panel import Panel
from napari_probseg.widgets.segment.reading_anew import ReadingAnew
from napari_probseg.widgets.segment.slider_scales import edges_at, nearest_step, smoothness_at
from napari_probseg.widgets.segment.steady import Steady
from napari_probseg.widgets.segment.view_state import ViewState, view_state
from napari_probseg.widgets.settings import read_settings
from napari_probseg.widgets.style import KeyButton, sheet, use_all_height

if TYPE_CHECKING:
    import napari.viewer

    from napari_probseg.session.request import Offer


class SegmentWidget(QWidget):
    """The whole job of segmenting one image after another, in one dock.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer it belongs to.
    proposer : Proposer, optional
        What makes candidates; the shipped network, loaded in a thread when first needed, if absent.
    """

    def __init__(self, viewer: napari.viewer.Viewer, proposer: Proposer | None = None) -> None:
        super().__init__()
        self._viewer = viewer
        self.work = Workspace(viewer, proposer, read_settings())
        self.panel = Panel(viewer)
        self._files = Files(self.work, self)
        self._objects = ObjectsPart(viewer, self.work, self.panel)
        self._series = ImageSeries(self.work, self)
        self._anew = ReadingAnew(self.work, self)
        self._box = BoxPart(viewer, self.work, self.panel)
        self._menu = Menu(self.panel.menu, self.panel.channels_menu, viewer, self.work, self._files, self._series, self)
        self._focus = FocusClick(viewer, self.panel.objects.kind, self.panel.objects.kind.lineEdit())
        self._first_view = FirstView(viewer, self)
        self._was_docked = False
        self._drawn: Offer | None = None  # what the gallery shows
        self._is_stale = False  # whether something has changed since all was drawn
        self._alike = AlikePart(viewer, self.work, self.panel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Steady(self.panel), 1)
        use_all_height(self)
        self.verbs = {
            "inside": self._brush_inside,
            "outside": self._brush_outside,
            "erase": self._erase,
            "box": self._box.begin,
            "propose": self.work.propose,
            "complete": self.work.complete,
            "tune": self.work.tune,
            "previous": self.work.previous,
            "next": self.work.next,
            "accept": self.work.accept,
            "none": self.work.reject,
            "undo": self.work.undo,
            "redo": self.work.redo,
            "more": self.work.more,
            "take_all": self.work.take_all,
            "finish": self.work.finish,
            "next_object": self._objects.next,
            "previous_object": self._objects.previous,
            "reopen": self._objects.reopen,
            "finish_image": self._series.finish_image,
            "image_before": self._series.go_back,
            "cancel": self.work.cancel,
        }
        self._keys = Keys(viewer, {**self.verbs, "thinner": self._thinner, "thicker": self._thicker})
        self._wire()
        self._connect_viewer()
        self._bind_keys()
        self._restyle()
        self._list_images()
        self.work.look_around()
        commands.register(self)
        close_at_the_end(self)

    def belongs_to(self, viewer: Any) -> bool:
        """Return whether this is the widget of a viewer (or of a proxy of it)."""
        return bare(viewer) is bare(self._viewer)

    def event(self, event: QEvent) -> bool:
        """Notice that the dock was closed: napari sends no close event but takes the widget out of the dock."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._was_docked = True
                self._first_view.fit()
            elif self._was_docked:
                self.release()
        elif event.type() == QEvent.Type.Show:
            guard(self, self.work.images)
            QTimer.singleShot(0, self._place_hidden_parts)
            self.work.begin_beforehand()
        elif event.type() == QEvent.Type.Hide and not self.window().isVisible():
            self.work.take_garbage_back()  # the window may be closing
        elif event.type() == QEvent.Type.StyleChange:
            self._restyle()
        return bool(super().event(event))

    def release(self) -> None:
        """Let go of the viewer: its keys, its events, the layers (which stay, as ordinary ones)."""
        if not self._was_docked:
            return
        self._was_docked = False
        commands.unregister(self)
        self._objects.stop()
        self._focus.release()
        self._box.stop()
        self._keys.release()
        self._viewer.layers.events.inserted.disconnect(self._list_images)
        self._viewer.layers.events.removed.disconnect(self._list_images)
        self._viewer.layers.events.renamed.disconnect(self._redraw)
        self._viewer.layers.selection.events.active.disconnect(self._follow)
        self._viewer.events.theme.disconnect(self._restyle)
        self.work.release()

    def _place_hidden_parts(self) -> None:
        """Let Qt tell all parts of the window where they are, also hidden ones.

        It does so once anything is drawn into a picture: 50 ms, when napari first draws the controls of a locked layer.
        """
        self.panel.status.grab()

    # Wiring -------------------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        panel, work = self.panel, self.work
        for name, verb in self.verbs.items():
            if isinstance(button := getattr(panel, name, None), KeyButton):
                button.clicked.connect(weakly(verb))
        panel.images.currentIndexChanged.connect(self._choose)
        panel.empty.sample.clicked.connect(weakly(self._open_sample))
        panel.brush_size.valueChanged.connect(self._set_brush_size)
        panel.reach.valueChanged.connect(self._set_reach)
        panel.volume.toggled.connect(self._set_extent)
        panel.gallery.chosen.connect(work.accept)
        panel.gallery.visited.connect(work.visit)
        panel.status.linkActivated.connect(self._anew.read)
        panel.save.clicked.connect(weakly(self._files.save_objects))
        panel.uncertainty.toggled.connect(work.show_uncertainty)
        panel.most_uncertain.clicked.connect(weakly(work.go_to_most_uncertain))
        panel.empty.go_on.clicked.connect(weakly(work.resume))
        panel.empty.not_now.clicked.connect(weakly(work.resuming.forget))
        panel.live.toggled.connect(work.switch_live)
        panel.fill.toggled.connect(work.fill)
        panel.question.go_on.clicked.connect(weakly(work.recovery.go_on))
        panel.question.anew.clicked.connect(weakly(work.recovery.start_anew))
        work.changed.connect(self._redraw)
        work.acted.connect(self._redraw_once)
        work.view.shown.connect(panel.gallery.set_current)
        work.said.connect(panel.status.say)
        work.asking.background.busy.connect(self._redraw)
        work.asking.background.busy.connect(self._forget_progress)
        work.asking.background.progressed.connect(self._set_progress)
        for background in (self._files.background, self._series.background, self._anew.background):
            background.busy.connect(self._redraw)
        self._series.changed.connect(self._redraw)
        panel.brush_size.setValue(work.tools.brush_size)
        panel.reach.setValue(10)
        panel.live.setChecked(work.live.is_on)
        panel.fill.setChecked(work.settings.fill)
        panel.bare.pressed.connect(work.overlays.hide)
        panel.bare.released.connect(work.overlays.show)
        panel.smoothness.setValue(nearest_step(smoothness_at, work.tools.cut.smoothness))
        panel.edges.setValue(nearest_step(edges_at, work.tools.cut.edges))
        panel.smoothness.valueChanged.connect(self._set_cut)  # once both stand where they belong
        panel.edges.valueChanged.connect(self._set_cut)
        self._set_reach(10)

    def _connect_viewer(self) -> None:
        self._viewer.layers.events.inserted.connect(self._list_images)
        self._viewer.layers.events.removed.connect(self._list_images)
        self._viewer.layers.events.renamed.connect(self._redraw)
        self._viewer.layers.selection.events.active.connect(self._follow)
        self._viewer.events.theme.connect(self._restyle)

    def _bind_keys(self) -> None:
        keys = self.work.settings.keys
        refused = self._keys.bind(keys)
        refused += self._keys.hold(keys["hide"], self.work.overlays.hide, self.work.overlays.show)
        self._keys.bind({"thinner": "[", "thicker": "]"})  # napari's own, which only Labels layers know
        for name, key in keys.items():
            button = getattr(self.panel, name, None)
            if key not in refused and name in self.verbs and isinstance(button, KeyButton):
                button.set_key(short(key))
        self.panel.bare.set_key("" if keys["hide"] in refused else short(keys["hide"]))
        if refused:
            taken = f"Taken by another plugin or unknown: {', '.join(refused)}; set other keys in Preferences."
            self.panel.status.say(taken, is_error=True)

    # Redrawing ----------------------------------------------------------------------------------------------------

    def _restyle(self, _: Any = None) -> None:
        if (wanted := sheet(self._viewer)) != self.styleSheet():
            self.setStyleSheet(wanted)

    def _redraw(self, _: Any = None) -> None:
        """Draw what follows from the session of the image at work, once for all that a verb changes."""
        self._is_stale = self.work.is_acting
        if self._is_stale:
            return
        self._draw_images()
        self._draw(self.state())
        self._draw_candidates()

    def _redraw_once(self) -> None:
        if self._is_stale:
            self._redraw()

    def state(self) -> ViewState:
        """Return what there is to draw."""
        work, layers = self.work, self.work.layers
        return view_state(
            work.session,
            has_image=work.image is not None,
            is_volume=work.is_volume,
            is_asking=work.asking.is_busy and not work.asking.is_live,
            is_live=work.live.is_on,
            is_awaited=work.asking.is_live,
            is_held=work.is_held,
            knows_uncertainty=work.view.uncertainty.is_known,
            mode="" if layers is None else str(layers.markers.mode),
            label=0 if layers is None else int(layers.markers.selected_label),
            question=work.question,
            offered_work=work.offered_work,
            has_alike=bool(work.alike),
            is_boxing=self._box.is_waiting,
            is_picking=self._objects.is_picking,
        )

    def _draw(self, state: ViewState) -> None:
        panel = self.panel
        panel.show_work(state.has_image, state.question)
        panel.empty.offer(state.offered_work)
        panel.accept.setEnabled(state.can_accept)
        for part in (panel.next, panel.previous, panel.none):
            part.setEnabled(state.can_choose)
        for part in (panel.smoothness, panel.edges):
            part.setEnabled(state.can_cut)
        for part in (panel.complete, panel.tune):
            part.setEnabled(not state.is_asking)
        panel.show_extent(state.is_volume)
        panel.cancel.setEnabled(state.can_cancel)
        if self.work.layers is not None:
            self.work.layers.let_escape_cancel(state.can_cancel)
        panel.propose.setEnabled(not state.is_asking)
        panel.undo.setEnabled(state.can_undo)
        panel.redo.setEnabled(state.can_redo)
        panel.finish.setEnabled(state.can_finish)
        self._objects.draw(state.objects)
        panel.finish_image.setEnabled(state.has_image and not state.is_busy)
        panel.image_before.setEnabled(bool(self._series.series.n_done) and not state.is_busy)
        panel.progress_text.setText(self._series.progress)
        panel.progress_text.setVisible(bool(self._series.progress))
        for part in (panel.uncertainty, panel.most_uncertain):
            part.setEnabled(state.knows_uncertainty)
        panel.progress.setVisible(state.is_busy)
        panel.gallery.set_hint(state.hint)
        panel.gallery.setEnabled(state.can_accept)
        panel.live.setChecked(state.is_live)
        for part, marker in (
            (panel.inside, Marker.OBJECT),
            (panel.outside, Marker.BACKGROUND),
            (panel.erase, Marker.UNKNOWN),
        ):
            part.setChecked(state.brush is marker)
        panel.brush_size.setMaximum(max(panel.brush_size.maximum(), self.work.tools.brush_size))
        panel.brush_size.setValue(self.work.tools.brush_size)

    def _draw_candidates(self) -> None:
        """Show the candidates in the gallery that the canvas shows."""
        view, layers = self.work.view, self.work.layers
        if self._alike.draw():
            self._drawn = None
            return
        if view.offer is self._drawn:
            return
        self._drawn, shown = view.offer, view.exhibit
        if view.offer is None or shown is None or layers is None:
            self.panel.gallery.clear()
            return
        case, request = view.offer.candidates.case, view.offer.request
        through_time = case.in_time and request.verb == "carry"
        of_space = displayed_axes(self._viewer, layers.markers)
        axes = range(not through_time and case.in_time, case.ndim) if shown.in_volume else of_space
        size, unit = self.work.measure_of(axes)
        self.panel.gallery.show_candidates(shown.pictures, size=size, unit=unit, sampled=view.offer.is_sampled)
        self.panel.gallery.set_current(view.current)
        if self.panel.uncertainty.isChecked():
            self.work.show_uncertainty(True)

    def _draw_images(self) -> None:
        """List the viewer's images, the one at work chosen."""
        box, images = self.panel.images, self.work.choices()
        box.blockSignals(True)
        if [(box.itemText(i), bare(box.itemData(i))) for i in range(box.count())] != [(i.name, i) for i in images]:
            box.clear()
            for image in images:
                box.addItem(image.name, image)
        box.setCurrentIndex(images.index(self.work.image) if self.work.image in images else -1)
        box.blockSignals(False)
        box.setEnabled(bool(images))
        possible = self.work.possible_channels()
        used = [] if self.work.image is None else [self.work.image, *self.work.images.channels]
        self.panel.show_channels([i.name for i in used], [i.name for i in possible if i not in used])

    def _forget_progress(self, _: bool) -> None:
        """Let the bar move to and fro until it is known how far the work is."""
        self._set_progress(0, 0)

    def _set_progress(self, step: int, n_steps: int) -> None:
        self.panel.progress.setRange(0, n_steps)
        self.panel.progress.setValue(step)

    # What the parts do --------------------------------------------------------------------------------------------

    def _list_images(self, event: Any = None) -> None:
        if event is not None and event.type == "inserted" and self.work.image is None:
            self.panel.status.say("")  # what was said is of an image that was removed
            self._first_view.fit()
        self.work.list_images(is_removing=event is not None and event.type == "removed")

    def _follow(self, event: Any) -> None:
        if event.value is not None:
            self.work.follow(event.value)

    def _choose(self, index: int) -> None:
        self.work.bring_up(self.panel.images.itemData(index) if index >= 0 else None)
        self._draw_images()  # the one at work is told, also while another one waits

    def _open_sample(self) -> None:
        from skimage.data import cell

        self._viewer.add_image(cell(), name="cell")

    def _brush_inside(self) -> None:
        self.work.brush(Marker.OBJECT)

    def _brush_outside(self) -> None:
        self.work.brush(Marker.BACKGROUND)

    def _erase(self) -> None:
        self.work.brush(Marker.UNKNOWN)

    def _set_brush_size(self, size: int) -> None:
        if size != self.work.tools.brush_size:
            self.work.set(brush_size=size)

    def _thinner(self) -> None:
        self.work.set(brush_size=max(1, self.work.tools.brush_size - 1))

    def _thicker(self) -> None:
        self.work.set(brush_size=self.work.tools.brush_size + 1)

    def _set_reach(self, tenths: int) -> None:
        self.work.set(reach=tenths / 10)
        words = "a bit more" if tenths <= 3 else "further" if tenths <= 7 else "to the end"
        self.panel.reach.setToolTip(f"How far a candidate grows beyond what is decided: {words}")

    def _set_extent(self, whole: bool) -> None:
        self.work.set(whole_volume=whole)

    def _set_cut(self, _: int) -> None:
        panel = self.panel
        smoothness, edges = smoothness_at(panel.smoothness.value()), edges_at(panel.edges.value())
        self.work.set(cut=replace(self.work.tools.cut, smoothness=smoothness, edges=edges))
