"""Part of the Segment widget that shows objects like the finished ones: gallery, line, buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_probseg.widgets.layers.image import displayed_axes
from napari_probseg.widgets.segment.alike import MoreLikeThis
from napari_probseg.widgets.segment.panel import Panel

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.similar.offer import SimilarObject


class AlikePart(QObject):
    """Draws what a `MoreLikeThis` has on show, and tells it what the pointer and the line are at.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    work : MoreLikeThis
    panel : Panel
    """

    def __init__(self, viewer: Viewer, work: MoreLikeThis, panel: Panel) -> None:
        super().__init__(panel)
        self._viewer, self._work, self._panel = viewer, work, panel
        self._drawn: tuple[tuple[SimilarObject, ...], int] | None = None
        panel.line.setValue(round(100 * work.line))
        panel.line.valueChanged.connect(self._move_line)
        panel.gallery.hovered.connect(self._look)
        panel.gallery.left.connect(self._look_away)

    def draw(self) -> bool:
        """Show the objects in the gallery; return whether there are any."""
        work, gallery = self._work, self._panel.gallery
        alike, image, layers = work.alike, work.image, work.layers
        self._panel.more.setEnabled(image is not None and not work.asking.is_busy)
        n = sum(one.score >= work.line for one in alike)
        self._panel.line.setEnabled(bool(alike))
        self._panel.take_all.setEnabled(n > 0)
        self._panel.accept.setText("Take" if alike else "Accept")
        self._panel.none.setText("Skip" if alike else "None of these")
        self._panel.take_all.setText(f"Take all {n}" if n else "Take all")
        if not alike or layers is None or image is None:
            if self._drawn is not None:
                self._drawn = None
                gallery.clear()
            return False
        pictures, at = work.alike_in_gallery
        if (shown := (alike, work.page)) != self._drawn:
            self._drawn = shown
            case = layers.session.case
            is_flat = "Z" not in case.axes
            axes = displayed_axes(self._viewer, layers.markers) if is_flat else range(case.in_time, case.ndim)
            size, unit = work.measure_of(axes)
            gallery.show_candidates(pictures, size=size, unit=unit, means="likely, by what it is like.")
        gallery.set_current(at)
        return True

    def _look(self, i: int) -> None:
        if self._work.alike:
            self._work.look_at_alike(i)
        else:
            self._work.view.look(i)

    def _look_away(self) -> None:
        if self._work.alike:
            self._work.look_at_alike(None)
        else:
            self._work.view.look_away()

    def _move_line(self, percent: int) -> None:
        self._work.move_line(percent / 100)
