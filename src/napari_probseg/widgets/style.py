"""Style of the widgets: the theme's colours, and small parts that Qt has no widget for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QRectF, QSize, Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLayout, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer


def colour(viewer: Viewer, name: str) -> QColor:
    """Return a colour of the viewer's theme: "text", "primary", "current", "highlight", ..."""
    return QColor(*getattr(get_theme(viewer.theme), name).as_rgb_tuple(alpha=False))


def faint(ink: QColor, *, is_enabled: bool = True) -> QColor:
    """Return the colour of what matters less: fainter than the ink, but read on the theme's grounds (4.5 to 1)."""
    pale = QColor(ink)
    pale.setAlpha(70 if not is_enabled else 175 if ink.lightness() > 127 else 220)
    return pale


def lively(viewer: Viewer) -> QColor:
    """Return the colour of what is at work: the theme's own, as it stands out from the theme's grounds (3 to 1)."""
    current = colour(viewer, "current")
    if is_dark(viewer):
        return current.lighter(130)
    ground = _luminance(colour(viewer, "background"))
    ink = QColor.fromHsl(current.hslHue(), current.hslSaturation(), 160)
    while 3 * (_luminance(ink) + 0.05) > ground + 0.05:  # a yellow is pale where a blue is not
        ink = ink.darker(105)
    return ink


def _luminance(shade: QColor) -> float:
    """Return the relative luminance of a colour (WCAG 2)."""
    red, green, blue, _ = shade.getRgbF()
    linear = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue))
    return float(sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


def is_dark(viewer: Viewer) -> bool:
    """Return whether the viewer's theme is a dark one."""
    return colour(viewer, "background").lightness() < colour(viewer, "text").lightness()


def sheet(viewer: Viewer) -> str:
    """Return the style sheet of the Segment widget, in the colours of the viewer's theme."""
    text, current = colour(viewer, "text"), colour(viewer, "current")
    highlight = colour(viewer, "highlight").name()
    primary = colour(viewer, "primary").name()
    error = colour(viewer, "error")
    readable = error.lighter(200) if is_dark(viewer) else error.darker(135)
    pale = "rgba({}, {}, {}, {})".format(*faint(text).getRgb())
    size = get_settings().appearance.font_size  # which napari's own sheet leaves out of lists and what is painted
    return f"""
        QTreeView, Cell {{ font-size: {size}pt; }}
        QPushButton {{ padding: 3px 5px; min-height: 18px; border: 1px solid transparent; border-radius: 3px; }}
        QPushButton:disabled {{ border-color: {primary}; }}
        QPushButton#narrow {{ padding-left: 2px; }}
        QPushButton#primary:enabled {{ background-color: {current.name()}; font-weight: 600; }}
        QPushButton#primary:enabled:hover {{ background-color: {current.lighter(118).name()}; }}
        QPushButton#half:checked {{ background-color: {highlight}; font-weight: 600; }}
        QToolButton#menu {{ padding: 4px 6px; min-height: 18px; border-radius: 3px; }}
        QToolButton#menu::menu-indicator {{ image: none; }}
        QLabel#faint, QLabel#status {{ color: {pale}; }}
        QLabel#status[error="true"] {{ color: {readable.name()}; }}
        QMenu::item {{ padding: 3px 24px; }}
        QMenu::indicator {{ left: 6px; width: 12px; height: 12px; }}
        QFrame#line {{ background-color: {primary}; max-height: 1px; border: none; }}
        QProgressBar {{ max-height: 3px; min-height: 3px; border: none; border-radius: 1px; }}
    """


def dot(fill: tuple[float, float, float] | None, ratio: float = 2.0) -> QIcon:
    """Return a round icon of one colour; an empty ring for None."""
    pixmap = QPixmap(int(12 * ratio), int(12 * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if fill is None:
        pen = painter.pen()
        pen.setColor(QColor(140, 140, 140))
        pen.setWidthF(1.5)
        painter.setPen(pen)
        painter.drawEllipse(QRectF(2, 2, 8, 8))
    else:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor.fromRgbF(*fill))
        painter.drawEllipse(QRectF(1, 1, 10, 10))
    painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else Qt would tint it where its row is selected
    return icon


class KeyButton(QPushButton):
    """A button that shows its key at the right, small and faint.

    It takes no focus by a click, so that keys keep going to the canvas.

    Parameters
    ----------
    text, tip : str
    least : int
        Pixels that it is wide at least.
    """

    def __init__(self, text: str, *, tip: str, least: int = 0, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._key, self._least = "", least
        self._again = QTimer(self, singleShot=True, interval=0)  # once Qt has taken in the style
        self._again.timeout.connect(self._make_room)
        self.setToolTip(tip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def set_key(self, key: str) -> None:
        """Draw this key; none for the empty string."""
        self._key = key
        self._make_room()
        self.update()

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(self._least, 0))

    def minimumSizeHint(self) -> QSize:
        return super().minimumSizeHint().expandedTo(QSize(self._least, 0))

    def changeEvent(self, event: Any) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._again.start()

    def _make_room(self) -> None:
        """Leave room for the key beside the text."""
        if not self._key and not self.styleSheet():
            return  # it never had one
        room = 10 + self.fontMetrics().horizontalAdvance(self._key) if self._key else 8
        if (wanted := f"padding-right: {room}px;") != self.styleSheet():
            self.setStyleSheet(wanted)

    def paintEvent(self, event: Any) -> None:
        super().paintEvent(event)
        if not self._key:
            return
        painter = QPainter(self)
        font = self.font()
        font.setPointSizeF(max(6.0, font.pointSizeF() * 0.85))
        font.setBold(False)
        painter.setFont(font)
        painter.setPen(faint(self.palette().buttonText().color(), is_enabled=self.isEnabled()))
        painter.drawText(
            self.rect().adjusted(0, 0, -6, 0), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._key
        )
        painter.end()


def row(*parts: QWidget, stretch: tuple[int, ...] = ()) -> QLayout:
    """Return parts side by side, with their shares of the width."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    for part in parts:
        layout.addWidget(part)
    for i, share in enumerate(stretch):
        layout.setStretch(i, share)
    return layout


def line() -> QFrame:
    """Return a thin line across."""
    return QFrame(objectName="line", frameShape=QFrame.Shape.NoFrame)


def use_no_more_height(widget: QWidget) -> None:
    """Let a widget be as high as it would like to be at most; where there is less room it shrinks."""
    widget.setSizePolicy(widget.sizePolicy().horizontalPolicy(), QSizePolicy.Policy.Maximum)


def use_all_height(widget: QWidget) -> None:
    """Let a widget fill its dock: below one that does not ask for that napari adds a stretch, larger for each dock."""
    widget.setSizePolicy(widget.sizePolicy().horizontalPolicy(), QSizePolicy.Policy.Expanding)
