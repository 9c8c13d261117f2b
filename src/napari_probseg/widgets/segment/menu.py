"""Menu of the Segment widget: channels, completers, objects of other layers, sessions, the script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QWidget

from napari_probseg.progress import counted
from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.layers.source import source_of
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.file_dialogs import Files
from napari_probseg.widgets.segment.image_series import ImageSeries
from napari_probseg.widgets.segment.script_dialog import ScriptDialog
from napari_probseg.widgets.segment.tools import NETWORK

if TYPE_CHECKING:
    from napari.viewer import Viewer


N_CANDIDATES = range(3, 9)
CARRY, FOLLOW = "Carry the object on this slice to the others", "Follow the object through time"
BETWEEN_TIMES = "Fill in the images between"
REFINEMENTS = {
    "between": "Fill between slices",
    "smooth": "Smooth",
    "largest": "Keep the largest part",
    "holes": "Fill holes",
    "specks": "Remove specks",
}
COMPLETERS = {
    NETWORK: "a network",
    "appearance": "what the strokes look like (vessels; no network)",
    "intensities": "the strokes’ intensities (no network)",
}


class Menu(QObject):
    """Fills a menu whenever it opens: further channels, objects of other layers, sessions, the script.

    Parameters
    ----------
    menu, channels : QMenu
        What is filled; the second with channels alone.
    viewer : napari.viewer.Viewer
        Whose layers are offered.
    work : Workspace
        What the entries act on.
    files : Files
        What reads and writes.
    series : ImageSeries
        The images that are segmented one after the other.
    parent : QWidget
        What the dialog lies over.
    """

    def __init__(
        self,
        menu: QMenu,
        channels: QMenu,
        viewer: Viewer,
        work: Workspace,
        files: Files,
        series: ImageSeries,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._menu, self._viewer, self._work, self._files, self._series = menu, viewer, work, files, series
        menu.aboutToShow.connect(self._fill)
        channels.aboutToShow.connect(self._fill_channels)
        channels.triggered.connect(self._take_channel)
        self._channels_menu = channels

    def _fill(self) -> None:
        menu, work = self._menu, self._work
        has_image, has_session = work.image is not None, work.session is not None
        has_slices = work.session is not None and work.session.case.ndim > 2
        menu.clear()
        menu.addMenu(self._channels())
        menu.addMenu(self._objects_elsewhere())
        menu.addMenu(self._images())
        menu.addMenu(self._completers())
        menu.addMenu(self._candidates())
        menu.addMenu(self._refinements("Refine the object", finished=False))
        menu.addMenu(self._refinements("Refine all finished objects", finished=True))
        menu.addAction(FOLLOW if work.is_in_time else CARRY, work.carry).setEnabled(has_slices)
        is_completed = work.on_offer is not None and work.on_offer.completion is not None
        menu.addAction("Probability as a layer", work.add_probability).setEnabled(is_completed)
        by_itself = menu.addAction("More like this after each finished object")
        by_itself.setCheckable(True)
        by_itself.setChecked(work.is_more_by_itself)
        by_itself.toggled.connect(work.switch_more)
        by_class = menu.addAction("Colour objects by class")
        by_class.setCheckable(True)
        by_class.setChecked(work.images.colours.by_class)
        by_class.toggled.connect(work.colour_by_class)
        if (elsewhere := work.elsewhere).address:
            there = menu.addAction(f"Send images to {elsewhere.address}, and compute there")
            there.setCheckable(True)
            there.setChecked(elsewhere.is_on)
            there.toggled.connect(elsewhere.switch)
        has_learnt = work.session is not None and work.session.learnt is not None
        menu.addAction("Forget what was learnt of this image", work.forget).setEnabled(has_learnt)
        menu.addSeparator()
        menu.addAction("Open session…", self._files.open_session).setEnabled(has_image)
        menu.addAction("Save session…", self._files.save_session).setEnabled(has_session)
        menu.addSeparator()
        menu.addAction("Show script…", self._show_script).setEnabled(has_session)

    def _channels(self) -> QMenu:
        """Offer grey layers like the image."""
        menu = QMenu("Further channels", self._menu)
        self._offer_channels(menu)
        menu.setEnabled(bool(menu.actions()))
        menu.triggered.connect(self._take_channel)
        return menu

    def _fill_channels(self) -> None:
        self._channels_menu.clear()
        self._offer_channels(self._channels_menu)

    def _offer_channels(self, menu: QMenu) -> None:
        for layer in self._work.possible_channels():
            action = menu.addAction(layer.name)
            action.setData(layer)
            action.setCheckable(True)
            action.setChecked(layer in self._work.images.channels)

    def _objects_elsewhere(self) -> QMenu:
        menu = QMenu("Take objects from layer", self._menu)
        for layer in map(bare, self._viewer.layers):
            if isinstance(layer, Labels) and not self._work.owns(layer):
                menu.addAction(layer.name).setData(layer)
        menu.setEnabled(self._work.image is not None and bool(menu.actions()))
        menu.triggered.connect(self._take_objects)
        return menu

    def _images(self) -> QMenu:
        """Offer the images of the series: those that are finished, the latest first, and then the others."""
        menu, series = QMenu("Go to image", self._menu), self._series.series
        for one in reversed(series.done):
            text = f"✓ {one.path.name}: {counted(one.n_objects, 'object')}, {one.seconds / 60:.1f} min"
            menu.addAction(text).setData(one.path)
        menu.addSeparator()
        for path in series.images:
            if series.found(path) is None:
                menu.addAction(f"{'✓ ' if series.is_done(path) else ''}{path.name}").setData(path)
        menu.setStyleSheet("QMenu { menu-scrollable: 1; }")
        menu.setEnabled(bool(series.images))
        menu.triggered.connect(self._go_to_image)
        return menu

    def _refinements(self, title: str, *, finished: bool) -> QMenu:
        """Offer what can be done to the object at work, or to all finished ones."""
        menu, session = QMenu(title, self._menu), self._work.session
        has_slices = session is not None and session.case.ndim > 2
        for how, text in REFINEMENTS.items():
            action = menu.addAction(BETWEEN_TIMES if how == "between" and self._work.is_in_time else text)
            action.setData((how, finished))
            action.setEnabled(how != "between" or has_slices)
        menu.setEnabled(session is not None and bool(session.max_label if finished else session.steps))
        menu.triggered.connect(self._refine)
        return menu

    def _refine(self, action: QAction) -> None:
        self._work.refine(*action.data())

    def _go_to_image(self, action: QAction) -> None:
        self._series.go_to(action.data())

    def _completers(self) -> QMenu:
        """Offer what can tell object and background apart before the cut."""
        menu = QMenu("Complete by", self._menu)
        for known, text in COMPLETERS.items():
            action = menu.addAction(text)
            action.setData(known)
            action.setCheckable(True)
            action.setChecked(self._work.tools.completer == known)
        menu.triggered.connect(self._choose_completer)
        return menu

    def _candidates(self) -> QMenu:
        """Offer how many candidates there can be."""
        menu = QMenu("Candidates", self._menu)
        for n in N_CANDIDATES:
            action = menu.addAction(f"{n} ways")
            action.setData(n)
            action.setCheckable(True)
            action.setChecked(self._work.tools.n == n)
        menu.triggered.connect(self._choose_n)
        return menu

    def _choose_n(self, action: QAction) -> None:
        self._work.set(n=action.data())

    def _choose_completer(self, action: QAction) -> None:
        self._work.set(completer=action.data())

    def _take_channel(self, action: QAction) -> None:
        layer, channels = action.data(), self._work.images.channels
        self._work.use_channels([*channels, layer] if action.isChecked() else [c for c in channels if c is not layer])

    def _take_objects(self, action: QAction) -> None:
        self._work.take(action.data())

    def _show_script(self) -> None:
        session, image = self._work.session, self._work.image
        if session is not None and image is not None:
            dialog = ScriptDialog(session.script(str(source_of(image) or "image.tif")), self.parent())
            dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            dialog.show()
