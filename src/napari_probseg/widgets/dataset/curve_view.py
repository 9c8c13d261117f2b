"""Plot of the learning curve, while it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_probseg.widgets.style import colour, faint, lively

if TYPE_CHECKING:
    from napari.viewer import Viewer

Points = Sequence[tuple[int, float]]
_LEFT, _BELOW = 34, 16


class CurveView(QWidget):
    """The loss over the steps of a training, from 0 upwards; a hint while there are no points."""

    def __init__(self, viewer: Viewer, hint: str) -> None:
        super().__init__()
        self._viewer, self._hint = viewer, hint
        self.points: Points = ()
        self.n_steps = 0
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(92)

    def sizeHint(self) -> QSize:
        return QSize(300, 92)

    def show_points(self, points: Points, n_steps: int) -> None:
        """Draw these points, of a training of so many steps."""
        self.points, self.n_steps = tuple(points), n_steps
        self.update()

    def paintEvent(self, _: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(6.5, font.pointSizeF() * 0.8))
        painter.setFont(font)
        painter.setPen(faint(colour(self._viewer, "text")))
        if not self.points:
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._hint)
            return
        frame = QRectF(_LEFT, 4, self.width() - _LEFT - 6, self.height() - _BELOW - 6)
        highest = max(loss for _, loss in self.points) * 1.05 or 1.0
        last = max(self.n_steps, self.points[-1][0])
        painter.drawText(QRectF(0, 0, _LEFT - 4, 14), Qt.AlignmentFlag.AlignRight, f"{highest:.2g}")
        painter.drawText(QRectF(0, frame.bottom() - 10, _LEFT - 4, 14), Qt.AlignmentFlag.AlignRight, "0")
        below = QRectF(frame.left(), frame.bottom() + 2, frame.width(), _BELOW)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "loss")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"step {self.points[-1][0]} of {last}")
        painter.setPen(QPen(colour(self._viewer, "primary"), 1))
        painter.drawLine(frame.bottomLeft(), frame.bottomRight())
        painter.drawLine(frame.bottomLeft(), frame.topLeft())
        painter.setPen(QPen(lively(self._viewer), 2))
        line = [
            QPointF(frame.left() + frame.width() * step / last, frame.bottom() - frame.height() * loss / highest)
            for step, loss in self.points
        ]
        if len(line) == 1:
            painter.drawEllipse(line[0], 1.5, 1.5)
        painter.drawPolyline(QPolygonF(line))
        painter.end()
