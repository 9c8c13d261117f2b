"""Layout of the Dataset widget; what its parts do is wired in widget.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QListView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_probseg.active_learning.comparison import Comparison
from napari_probseg.active_learning.registry import GENERAL
from napari_probseg.engine.teaching import Suggestion
from napari_probseg.io import READABLE
from napari_probseg.progress import counted
from napari_probseg.widgets.busy_bar import BusyBar
from napari_probseg.widgets.dataset.curve_view import CurveView
from napari_probseg.widgets.own_focus import OwnFocus
from napari_probseg.widgets.status import StatusLine
from napari_probseg.widgets.style import KeyButton, colour, faint, line, row
from napari_probseg.widgets.tasks.dataset import Row, State

if TYPE_CHECKING:
    from napari.viewer import Viewer

_THUMBNAIL = 84


class DatasetPanel(OwnFocus):
    """Every part of the Dataset widget, from the top down."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.name = QLabel(objectName="title")
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # the tip has all of it
        self.menu_button = QToolButton(text="•••", objectName="menu", toolTip="Another data set; begin a training anew")
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.menu_button)
        self.menu_button.setMenu(self.menu)
        self.add = KeyButton("Add this image", tip="Add the image in Segment with its finished objects")
        self.add.setObjectName("primary")
        self.images = QTreeWidget(columnCount=3)
        self.images.setHeaderLabels(["Image", "Part", "Labelled"])
        self.images.setRootIsDecorated(False)
        self.images.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.images.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.images.setToolTip(
            "Images for training teach the model; on those held out models are compared, never trained"
        )

        self.train = KeyButton(
            "Train", tip="Train a model on the images for training, from the one in use: some minutes"
        )
        self.stop = KeyButton("Stop training", tip="Stop; the training can be gone on with")
        self.curve = CurveView(viewer, "The learning curve appears here.")
        self.judged_on = QLabel(objectName="faint")
        self.in_use = QLabel(objectName="figure")
        self.newest = QLabel(objectName="figure")
        self.compare = KeyButton("Compare", tip="Compare the newest model with the one in use on the held-out images")
        self.adopt = KeyButton("Adopt", tip="Use the new model from now on, here and in Segment")
        self.adopt.setObjectName("primary")
        self.back = KeyButton("Go back", tip="Use the model again that was in use before")

        self.search = KeyButton("Next image…", tip="Rank the images of a folder, the most uncertain first")
        self.stop_search = KeyButton("Stop looking", tip="Stop looking; what was found stays")
        self.found = FoundList(viewer)
        self.found.setIconSize(QSize(_THUMBNAIL, _THUMBNAIL))
        self.found.setResizeMode(QListView.ResizeMode.Adjust)
        self.found.setWordWrap(False)
        self.found.setTextElideMode(Qt.TextElideMode.ElideLeft)  # images of a folder differ in how their names end
        self.found.setToolTip("Click an image to open it and select it in Segment")
        self.found.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
        self.found.setMinimumHeight(_THUMBNAIL + 36)
        self._rows: tuple[Row, ...] = ()  # that are listed
        self._found: list[Suggestion] = []

        self.status = StatusLine(viewer)
        self.progress = BusyBar(viewer)
        self.empty = EmptyState()
        self._lay_out()

    def sizeHint(self) -> QSize:
        return QSize(320, super().sizeHint().height())

    def show_state(self, state: State | None, comparison: Comparison | None) -> None:
        """Show what there is."""
        self.empty.setVisible(state is None)
        self.whole.setVisible(state is not None)
        if state is None:
            return
        self.name.setText(state.folder.name)
        self.name.setToolTip(str(state.folder))
        self._show_rows(state.rows)
        n = state.n_held_out
        self.judged_on.setText(
            f"Dice on {counted(n, 'held-out image')}:" if n else "No image is held out yet to compare on."
        )
        self.in_use.setText(_figure("In use", state.in_use, None if comparison is None else comparison.old.score))
        new = None if comparison is None else comparison.new.score
        self.newest.setText(_figure("New", state.newest, new) if state.newest else "New: none yet")

    def show_found(self, found: list[Suggestion]) -> None:
        """Show what a search has found, the most uncertain first."""
        shown, wanted = self._found, list(found)
        for i in reversed([i for i, one in enumerate(shown) if one not in wanted]):
            del shown[i]
            self.found.takeItem(i)
        for i, one in enumerate(wanted):
            if i < len(shown) and shown[i] is one:
                continue
            if one in shown:
                self.found.insertItem(i, self.found.takeItem(shown.index(one)))
                shown.remove(one)
            else:
                self.found.insertItem(i, _item(one))
            shown.insert(i, one)

    def _show_rows(self, rows: Sequence[Row]) -> None:
        """List the images of the data set: those anew that differ from what is listed."""
        n_same = next((i for i, (a, b) in enumerate(zip(rows, self._rows, strict=False)) if a != b), len(rows))
        n_same = min(n_same, len(self._rows))
        if n_same == len(rows) == len(self._rows):
            return
        for i in reversed(range(n_same, len(self._rows))):
            self.images.takeTopLevelItem(i)
        new = rows[n_same:]
        self.images.addTopLevelItems(
            [QTreeWidgetItem([one.name, "held out" if one.held_out else "training", one.date]) for one in new]
        )
        self._rows = tuple(rows)
        self.images.scrollToBottom()

    def _lay_out(self) -> None:
        self.whole = QWidget()
        rows = QVBoxLayout(self.whole)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(6)
        rows.addLayout(row(self.name, self.menu_button, stretch=(1, 0)))
        rows.addWidget(self.images, 2)
        rows.addWidget(self.add)
        rows.addWidget(line())
        rows.addLayout(row(self.train, self.stop))
        rows.addWidget(self.curve)
        rows.addWidget(self.judged_on)
        rows.addLayout(row(self.in_use, self.newest, stretch=(1, 1)))
        rows.addLayout(row(self.compare, self.adopt, self.back))
        rows.addWidget(line())
        rows.addLayout(row(self.search, self.stop_search))
        rows.addWidget(self.found, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(6)
        layout.addWidget(self.whole, 1)
        layout.addWidget(self.empty)
        layout.addStretch(0)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        header = self.images.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(0)  # by the rows that are seen
        self.images.setMinimumHeight(96)
        steady = self.progress.sizePolicy()
        steady.setRetainSizeWhenHidden(True)
        self.progress.setSizePolicy(steady)
        for wide in (self.train, self.stop, self.search, self.stop_search):
            wide.setSizePolicy(QSizePolicy.Policy.Expanding, wide.sizePolicy().verticalPolicy())
        self.setMinimumWidth(300)


class FoundList(QListWidget):
    """Images to choose from, as thumbnails; a hint while there are none.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        In whose theme the hint is drawn.
    """

    hint = "Images of a folder appear here,\nthe most uncertain first."

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewMode=QListView.ViewMode.IconMode, movement=QListView.Movement.Static)
        self._viewer = viewer

    def paintEvent(self, event: Any) -> None:
        super().paintEvent(event)
        if not self.count():
            painter = QPainter(self.viewport())
            painter.setPen(faint(colour(self._viewer, "text")))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, self.hint)
            painter.end()


class EmptyState(QWidget):
    """What is shown while there is no data set."""

    def __init__(self) -> None:
        super().__init__()
        self.new = QPushButton("New data set…", objectName="primary")
        self.open = QPushButton("Open a data set…")
        text = QLabel(
            "A data set collects finished images\nand teaches the next model with them.\nIts format is nnU-Net’s.",
            objectName="faint",
        )
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 80, 24, 24)
        layout.setSpacing(16)
        layout.addWidget(text)
        layout.addWidget(self.new)
        layout.addWidget(self.open)
        layout.addStretch(1)


def _item(one: Suggestion) -> QListWidgetItem:
    """Return an image that was found as an item of the list."""
    ending = next((e for e in READABLE if one.path.name.lower().endswith(e)), "")
    item = QListWidgetItem(_icon(one.picture), one.path.name[: len(one.path.name) - len(ending)])
    item.setData(Qt.ItemDataRole.UserRole, one.path)
    item.setToolTip(f"{one.path.name}: uncertainty {one.uncertainty:.2f}")
    item.setSizeHint(QSize(_THUMBNAIL + 8, _THUMBNAIL + 20))
    return item


def _figure(title: str, model: str, score: float | None) -> str:
    name = "shipped" if model == GENERAL else model
    return f"{title}: {name}" + ("" if score is None else f"  <b>{score:.3f}</b>")


def _icon(picture: NDArray[np.uint8]) -> QIcon:
    height, width = picture.shape[:2]
    image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    side = 2 * _THUMBNAIL
    keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    return QIcon(QPixmap.fromImage(image).scaled(side, side, keep, smooth))
