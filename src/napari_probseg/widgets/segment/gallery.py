"""Gallery of the candidates as thumbnails to look at, hover and click."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QAbstractButton, QGridLayout, QLabel, QSizePolicy, QStackedLayout, QWidget

from napari_probseg.engine.thumbnails import Pane, Thumbnail
from napari_probseg.rendering import BLUE, RED
from napari_probseg.widgets.style import colour, faint, lively

if TYPE_CHECKING:
    from napari.viewer import Viewer

_COLUMNS, _SIDE, _CAPTION, _GAP = 3, 92, 18, 4
_INNER = _SIDE - 4
_MAX_POINTS = 10.0  # of a caption, which has no room for larger letters
OF_SAMPLES = "of the samples agree with it."
KEPT = "kept"  # in place of the share: what was on show, changed near the stroke alone
# Where the planes of a volume's candidate are: the one on view above, those across it below.
_ROOMS = (QRect(0, 0, _INNER, 57), QRect(0, 59, 43, 29), QRect(45, 59, 43, 29))


class Gallery(QWidget):
    """Up to eight candidates, best first; a hint in their place while there are none."""

    hovered = Signal(int)
    left = Signal()
    chosen = Signal(int)
    visited = Signal(int)

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
        self._set_rows(2)

    def set_hint(self, hint: str) -> None:
        """Say what to do next, where the candidates will be."""
        self._hint.setText(hint)

    def show_candidates(
        self,
        pictures: Sequence[Thumbnail],
        *,
        size: float,
        unit: str,
        sampled: bool = True,
        means: str = OF_SAMPLES,
    ) -> None:
        """Show these candidates.

        Parameters
        ----------
        pictures : sequence of Thumbnail
            Best first.
        size, unit : float, str
            What a voxel counts, and in what: see `measure`.
        sampled : bool
            Whether each stands for a share of samples; a completion does not.
        means : str
            What its share says of it.
        """
        self.clear()
        for i, picture in enumerate(pictures):
            cell = Cell(self._viewer, i, picture, size=size, unit=unit, sampled=sampled, means=means)
            cell.entered.connect(self.hovered)
            cell.gone.connect(self.left)
            cell.picked.connect(self.chosen)
            cell.visited.connect(self.visited)
            self._grid.addWidget(cell, i // _COLUMNS, i % _COLUMNS)
            self.cells.append(cell)
        self._set_rows(max(2, -(-len(pictures) // _COLUMNS)))
        self._stack.setCurrentIndex(1 if pictures else 0)

    def clear(self) -> None:
        """Take the candidates away: the hint is back."""
        for cell in self.cells:
            self._grid.removeWidget(cell)
            cell.hide()
            cell.deleteLater()
        self.cells = []
        self._set_rows(2)
        self._stack.setCurrentIndex(0)

    def _set_rows(self, n: int) -> None:
        self.setFixedHeight(n * (_SIDE + _CAPTION) + (n - 1) * 6)

    def hasHeightForWidth(self) -> bool:
        """Return that it is as high at any width: else what scrolls would be as high as all of it would like to be."""
        return False

    def set_current(self, i: int | None) -> None:
        """Frame the candidate that the canvas shows."""
        for cell in self.cells:
            cell.set_current(cell.index == i)


class Cell(QAbstractButton):
    """One candidate: its picture, what it adds, and the share of the samples behind it."""

    entered = Signal(int)
    gone = Signal()
    picked = Signal(int)
    visited = Signal(int)

    def __init__(
        self,
        viewer: Viewer,
        index: int,
        content: Thumbnail,
        *,
        size: float,
        unit: str,
        sampled: bool,
        means: str,
    ) -> None:
        super().__init__()
        self.index = index
        self._viewer = viewer
        self._current = False
        self._share = (KEPT if content.is_kept else share_of(content.share)) if sampled else ""
        self._is_of_none = not content.share and not content.is_kept
        self._added = added(content.n_object or content.n_background, size=size, unit=unit)
        self._adds_background = not content.n_object
        self._rooms = _ROOMS if len(content.panes) == len(_ROOMS) else (QRect(0, 0, _INNER, _INNER),)
        self._pictures = [_pixmap(pane, room) for pane, room in zip(content.panes, self._rooms, strict=True)]
        self.setToolTip(
            f"Adds {added(content.n_object, size=size, unit=unit)[1:]} of object and "
            f"{added(content.n_background, size=size, unit=unit)[1:]} of background.\n"
            + (f"{share_of(content.share)} {means} " if sampled and content.share else "")
            + ("It is what was on show, changed near your stroke alone. " if content.is_kept else "")
            + "Click to accept it."
            + ("\nRight-click to go to the slice of its picture." if len(content.panes) > 1 else "")
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
        painter.fillRect(frame, colour(self._viewer, "background"))
        for picture, room in zip(self._pictures, self._rooms, strict=True):
            shown = QRectF(QPointF(), picture.deviceIndependentSize())
            shown.moveCenter(QRectF(room.translated(3, 2)).center())
            painter.drawPixmap(shown.topLeft(), picture)
        if self._current:
            pen = QPen(lively(self._viewer))
            pen.setWidth(3)
            painter.setPen(pen)
            painter.drawRect(frame)
        self._paint_caption(painter)
        painter.end()

    def _paint_caption(self, painter: QPainter) -> None:
        ink = colour(self._viewer, "text")
        font = self.font()
        font.setPointSizeF(min(max(6.5, font.pointSizeF() * 0.85), _MAX_POINTS))
        painter.setFont(font)
        line = QRect(1, _SIDE, self.width() - 2, _CAPTION)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor.fromRgbF(*(BLUE if self._adds_background else RED)))
        painter.drawEllipse(line.left(), line.center().y() - 2, 6, 6)
        painter.setPen(ink)
        painter.drawText(
            line.adjusted(9, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._added
        )
        needed = sum(map(painter.fontMetrics().horizontalAdvance, (self._added, self._share)))
        if self._is_of_none or needed + _GAP > line.width() - 9:
            return  # what does not fit is in the tip
        painter.setPen(faint(ink))
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._share)

    def contextMenuEvent(self, event: Any) -> None:
        if len(self._pictures) > 1:
            self.visited.emit(self.index)
        event.accept()

    def _pick(self) -> None:
        self.picked.emit(self.index)


def added(n_voxels: int, *, size: float, unit: str) -> str:
    """Return how much a candidate adds in few letters: "+204 px", "+3.2 mm²", "+14.9k px", "+1.2 L"."""
    return f"+{sized(n_voxels, size=size, unit=unit)}"


def share_of(share: float) -> str:
    """Return a share in few letters: "41%", "<1%"."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def sized(n_voxels: int, *, size: float, unit: str) -> str:
    """Return how large so many voxels are in few letters: "204 px", "3.2 mm²"."""
    amount, thousand = n_voxels * size, ""
    for letter in ("k", "M", "G"):
        if amount >= 999.5:
            amount, thousand = amount / 1000, letter
    return f"{amount:.3g}{thousand} {unit}".replace("k mL", " L")


def measure(spacing: Sequence[float], length: str | None, axes: Sequence[int]) -> tuple[float, str]:
    """Return how large a voxel is along some axes, two or three, and in what: px or voxels where there is no unit.

    Parameters
    ----------
    spacing : sequence of float
        Of the voxels, in units of ``length``.
    length : str, optional
        The unit of length in short ("mm").
    axes : sequence of int
        The axes of the plane, or all of the volume.
    """
    if length is None:
        return 1.0, "px" if len(axes) == 2 else "voxels"
    size, unit = prod(spacing[axis] for axis in axes), length + "²³"[len(axes) - 2]
    return (size / 1000, "mL") if unit == "mm³" else (size, unit)


def _pixmap(pane: Pane, room: QRect) -> QPixmap:
    """Return a picture scaled into its room, with voxels in their true proportions."""
    height, width = pane.picture.shape[:2]
    data = pane.picture.tobytes()
    image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    tall, ratio = height * pane.stretch, 2.0
    scale = ratio * min(room.height() / tall, room.width() / width)
    pixmap = QPixmap.fromImage(image).scaled(
        max(1, round(width * scale)),
        max(1, round(tall * scale)),
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
