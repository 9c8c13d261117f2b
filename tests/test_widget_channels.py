"""Further channels: earlier work that saw them is found again once they are chosen."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from qtpy.QtWidgets import QApplication

from window import click, disk, stroke


def test_work_with_further_channels_is_found_when_they_are_chosen(open_widget, qtbot, tmp_path):
    for name, contrast in (("red", 90), ("green", 50)):
        tifffile.imwrite(tmp_path / f"{name}.tif", (disk() * contrast).astype(np.uint8))

    def opened():
        viewer, widget = open_widget()
        for name in ("green", "red"):
            viewer.open(str(tmp_path / f"{name}.tif"), plugin="napari")
        red, green = (getattr(viewer.layers[name], "__wrapped__", viewer.layers[name]) for name in ("red", "green"))
        viewer.layers.selection.active = red
        qtbot.waitUntil(lambda: widget.work.image is red)
        return widget, green

    widget, green = opened()
    widget.work.use_channels([green])
    stroke(qtbot, widget, (30, 30))
    session = widget.work.session
    assert session.case.n_channels == 2 and session.journal.flush(10)
    session.journal.close()
    session.journal = None

    again, green = opened()
    qtbot.waitUntil(lambda: "earlier work on this image with 2 channels" in again.panel.status.text())
    again.work.use_channels([green])
    qtbot.waitUntil(lambda: bool(again.work.question), timeout=20_000)
    click(qtbot, again.panel.question.go_on)
    qtbot.waitUntil(lambda: again.work.session is not None, timeout=20_000)
    QApplication.processEvents()
    assert again.work.session.case.n_channels == 2 and len(again.work.session.steps) == 1
