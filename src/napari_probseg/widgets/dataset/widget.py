"""The Dataset dock widget: collect finished images, train, compare, adopt or go back, find the next image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QFileDialog, QInputDialog, QListWidgetItem, QMainWindow, QVBoxLayout, QWidget

from napari_probseg.progress import counted
from napari_probseg.widgets import commands
from napari_probseg.widgets.dataset.controller import Teaching
from napari_probseg.widgets.dataset.panel import DatasetPanel
from napari_probseg.widgets.ending import close_at_the_end
from napari_probseg.widgets.keys import weakly
from napari_probseg.widgets.segment.class_dialog import kinds_of
from napari_probseg.widgets.style import sheet, use_all_height

if TYPE_CHECKING:
    import napari.viewer


class DatasetWidget(QWidget):
    """The loop across images: every finished one makes the next easier.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer it belongs to.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.teaching = Teaching(viewer)
        self.panel = DatasetPanel(viewer)
        self._was_docked = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel, 1)
        use_all_height(self)
        self._wire()
        self._viewer.events.theme.connect(self._restyle)
        self._restyle()
        self._redraw()
        close_at_the_end(self)

    def event(self, event: QEvent) -> bool:
        """Notice that the dock was opened or closed: napari sends no close event."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._was_docked = True
                QTimer.singleShot(0, self._lie_over_segment)  # once the dock has its place
            elif self._was_docked:
                self.release()
        return bool(super().event(event))

    def release(self) -> None:
        """Let go of the viewer; a training that runs stops where it can be gone on with."""
        if self._was_docked:
            self._was_docked = False
            self._viewer.events.theme.disconnect(self._restyle)
            self.teaching.release()

    # Wiring -------------------------------------------------------------------------------------------------------

    def _wire(self) -> None:
        panel, teaching = self.panel, self.teaching
        for button, verb in (
            (panel.empty.new, self._new),
            (panel.empty.open, self._open),
            (panel.add, self._add),
            (panel.train, teaching.train),
            (panel.stop, teaching.stop),
            (panel.compare, teaching.compare),
            (panel.adopt, teaching.adopt),
            (panel.back, teaching.go_back),
            (panel.search, self._search),
            (panel.stop_search, teaching.stop_search),
        ):
            button.clicked.connect(weakly(verb))
        panel.menu.aboutToShow.connect(self._fill_menu)
        panel.found.itemClicked.connect(self._show)
        teaching.changed.connect(self._redraw)
        teaching.found_more.connect(self._show_found)
        teaching.learnt_more.connect(self._learn)
        teaching.said.connect(self.panel.status.say)

    def _fill_menu(self) -> None:
        menu, teaching = self.panel.menu, self.teaching
        idle = not teaching.training.is_busy
        menu.clear()
        menu.addAction("Open another data set…", self._open).setEnabled(idle)
        menu.addAction("New data set…", self._new).setEnabled(idle)
        menu.addSeparator()
        is_broken_off = teaching.state is not None and teaching.state.is_under_way
        menu.addAction("Begin the training anew", self._train_anew).setEnabled(idle and is_broken_off)

    # Asking -------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a data set (nnU-Net v2 raw format)")
        if folder:
            self.teaching.open(Path(folder))

    def _new(self) -> None:
        folder, _ = QFileDialog.getSaveFileName(self, "New data set: name its folder", "Dataset001_Mine")
        if not folder:
            return
        segment = commands.found(self._viewer)
        kinds = () if segment is None else segment.work.kinds()
        text, accepted = QInputDialog.getText(
            self,
            "New data set",
            "What do you segment? One name, or several parted by commas:",
            text=", ".join(kinds) or "object",
        )
        labels = [name.strip() for name in text.split(",") if name.strip()]
        if accepted and labels:
            self.teaching.make(Path(folder), labels)

    def _add(self) -> None:
        try:
            work = self.teaching.finished_work()
        except ValueError as error:
            self.teaching.refuse(error)
            return
        if (state := self.teaching.state) is None:
            return
        if (kinds := kinds_of(work, state.labels, self)) is not None:
            self.teaching.add(kinds)
        else:
            self.teaching.say("Nothing was added: in the data set each object has a class.")

    def _search(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of images to choose the next one from")
        if folder:
            self.teaching.search(Path(folder))

    def _show(self, item: QListWidgetItem) -> None:
        self.teaching.show(item.data(Qt.ItemDataRole.UserRole))

    def _train_anew(self) -> None:
        self.teaching.train(anew=True)

    # Redrawing ----------------------------------------------------------------------------------------------------

    def _restyle(self, _: Any = None) -> None:
        self.setStyleSheet(sheet(self._viewer))

    def _redraw(self) -> None:
        panel, teaching, state = self.panel, self.teaching, self.teaching.state
        panel.show_state(state, teaching.comparison)
        training, working = teaching.training.is_busy, teaching.work.is_busy
        searching = teaching.searching.is_busy
        panel.train.setVisible(not training)
        panel.stop.setVisible(training)
        panel.search.setVisible(not searching)
        panel.stop_search.setVisible(searching)
        panel.progress.setVisible(training or working or searching)
        if not training:
            panel.progress.setMaximum(0)
        panel.add.setEnabled(not working)
        if state is None:
            return
        panel.train.setText(
            "Go on training" if state.is_under_way else f"Train on {counted(state.n_training, 'image')}"
        )
        panel.train.setEnabled(state.n_training > 0)
        compared, idle = teaching.comparison, not (training or working)
        panel.compare.setEnabled(bool(state.newest) and state.n_held_out > 0 and compared is None and idle)
        panel.adopt.setEnabled(compared is not None and compared.is_better and idle)
        panel.back.setEnabled(state.can_go_back and idle)
        panel.curve.show_points(teaching.points, panel.curve.n_steps)

    def _learn(self, step: int, n_steps: int) -> None:
        self.panel.progress.setMaximum(n_steps)
        self.panel.progress.setValue(step)
        self.panel.curve.show_points(self.teaching.points, n_steps)

    def _show_found(self) -> None:
        self.panel.show_found(self.teaching.found)

    def _lie_over_segment(self) -> None:
        """Share the place of the Segment dock, if there is one: both below each other need a tall screen."""
        segment, own = commands.found(self._viewer), self.parent()
        other = None if segment is None else segment.parent()
        window = None if own is None else own.parent()
        if isinstance(window, QMainWindow) and isinstance(own, QDockWidget) and isinstance(other, QDockWidget):
            window.tabifyDockWidget(other, own)
            QTimer.singleShot(0, self._come_to_front)  # once the tabs are there

    def _come_to_front(self) -> None:
        if isinstance(own := self.parent(), QDockWidget):
            own.raise_()
