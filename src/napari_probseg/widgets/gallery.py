"""The candidates on offer as thumbnails to look at, hover and click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QAbstractButton, QGridLayout, QLabel, QSizePolicy, QStackedLayout, QWidget

from napari_probseg.widgets.layers import BLUE, RED
from napari_probseg.widgets.style import colour
from napari_probseg.widgets.thumbnails import Thumbnail

if TYPE_CHECKING:
    from napari.viewer import Viewer

_COLUMNS, _SIDE, _CAPTION = 3, 92, 18


class Gallery(QWidget):
    """Up to nine candidates, best first; a hint in their place while there are none."""

    hovered = Signal(int)
    left = Signal()
    chosen = Signal(int)

    def __init__(self, viewer: Viewer, hint: str) -> None:
        super().__init__()
        self._viewer = viewer
        self.cells: list[Cell] = []
        self._hint = QLabel(hint, objectName="faint")
        self._hint.setWordWrap(True)
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint.setMargin(16)
        board = QWidget()
        self._grid = QGridLayout(board)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(6)
        self._grid.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._hint)
        self._stack.addWidget(board)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(2 * (_SIDE + _CAPTION) + 6)

    def set_hint(self, hint: str) -> None:
        """Say what to do next, where the candidates will be."""
        self._hint.setText(hint)

    def show_candidates(self, pictures: Sequence[Thumbnail], *, size: float, unit: str, sampled: bool = True) -> None:
        """Show these candidates; none brings back the hint.

        Parameters
        ----------
        pictures : sequence of Thumbnail
            Best first.
        size, unit : float, str
            The area of a voxel of the plane, or its volume, and what that is counted in ("px", "mm²", "mL").
        sampled : bool
            Whether each stands for a share of samples; a completion does not.
        """
        for cell in self.cells:
            self._grid.removeWidget(cell)
            cell.hide()
            cell.deleteLater()
        self.cells = []
        for i, picture in enumerate(pictures):
            cell = Cell(self._viewer, i, picture, size=size, unit=unit, sampled=sampled)
            cell.entered.connect(self.hovered)
            cell.gone.connect(self.left)
            cell.picked.connect(self.chosen)
            self._grid.addWidget(cell, i // _COLUMNS, i % _COLUMNS)
            self.cells.append(cell)
        rows = max(2, -(-len(pictures) // _COLUMNS))
        self.setFixedHeight(rows * (_SIDE + _CAPTION) + (rows - 1) * 6)
        self._stack.setCurrentIndex(1 if pictures else 0)

    def set_current(self, i: int | None) -> None:
        """Frame the candidate that the canvas shows."""
        for cell in self.cells:
            cell.set_current(cell.index == i)


class Cell(QAbstractButton):
    """One candidate: its picture, what it adds, and the share of the samples behind it."""

    entered = Signal(int)
    gone = Signal()
    picked = Signal(int)

    def __init__(
        self, viewer: Viewer, index: int, content: Thumbnail, *, size: float, unit: str, sampled: bool
    ) -> None:
        super().__init__()
        self.index = index
        self._viewer = viewer
        self._current = False
        self._share = f"{content.share:.0%}" if sampled else ""
        self._added = added(content.n_object or content.n_background, size=size, unit=unit)
        self._adds_background = not content.n_object
        self._picture = _pixmap(content)
        self.setToolTip(
            f"Adds {added(content.n_object, size=size, unit=unit)[1:]} of object and "
            f"{added(content.n_background, size=size, unit=unit)[1:]} of background.\n"
            + (f"{self._share} of the samples agree with it. " if sampled else "")
            + "Click to accept it."
        )
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFixedSize(self.sizeHint())
        self.clicked.connect(self._pick)

    def sizeHint(self) -> QSize:
        return QSize(_SIDE + 4, _SIDE + _CAPTION)

    def set_current(self, current: bool) -> None:
        self._current = current
        self.update()

    def enterEvent(self, event: Any) -> None:
        super().enterEvent(event)
        self.entered.emit(self.index)

    def leaveEvent(self, event: Any) -> None:
        super().leaveEvent(event)
        self.gone.emit()

    def paintEvent(self, _: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRect(1, 1, self.width() - 2, _SIDE - 2)
        painter.fillRect(frame, QColor(0, 0, 0))
        size = self._picture.size() / self._picture.devicePixelRatio()
        painter.drawPixmap(
            frame.center().x() - int(size.width() / 2) + 1,
            frame.center().y() - int(size.height() / 2) + 1,
            self._picture,
        )
        if self._current:
            pen = QPen(colour(self._viewer, "current"))
            pen.setWidth(3)
            painter.setPen(pen)
            painter.drawRect(frame)
        self._paint_caption(painter)
        painter.end()

    def _paint_caption(self, painter: QPainter) -> None:
        ink = colour(self._viewer, "text")
        font = self.font()
        font.setPointSizeF(max(6.5, font.pointSizeF() * 0.85))
        painter.setFont(font)
        line = QRect(1, _SIDE, self.width() - 2, _CAPTION)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor.fromRgbF(*(BLUE if self._adds_background else RED)))
        painter.drawEllipse(line.left(), line.center().y() - 2, 6, 6)
        painter.setPen(ink)
        painter.drawText(
            line.adjusted(9, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._added
        )
        ink.setAlpha(150)
        painter.setPen(ink)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._share)

    def _pick(self) -> None:
        self.picked.emit(self.index)


def added(n_voxels: int, *, size: float, unit: str) -> str:
    """Return how much a candidate adds in few letters: "+204 px", "+3.2 mm²", "+14.9k px"."""
    amount, thousand = n_voxels * size, ""
    for letter in ("k", "M"):
        if amount >= 999.5:
            amount, thousand = amount / 1000, letter
    return f"+{amount:.3g}{thousand} {unit}"


def _pixmap(content: Thumbnail) -> QPixmap:
    """Return the picture scaled into a cell, with voxels in their true proportions."""
    height, width = content.picture.shape[:2]
    data = content.picture.tobytes()
    image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    tall, ratio = height * content.stretch, 2.0
    scale = ratio * (_SIDE - 4) / max(tall, width)
    pixmap = QPixmap.fromImage(image).scaled(
        max(1, round(width * scale)),
        max(1, round(tall * scale)),
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
