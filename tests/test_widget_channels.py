"""Further channels: earlier work that saw them is found again once they are chosen."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from qtpy.QtWidgets import QApplication

import napari_probseg as ps
from napari_probseg.engine.thumbnails import thumbnails
from window import Balls, click, disk, stroke


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


def test_a_channel_that_is_removed_is_seen_no_longer_and_one_that_goes_with_its_image_changes_nothing(
    open_widget, qtbot
):
    viewer, widget = open_widget(disk().astype(np.float32))
    others = [getattr(layer, "__wrapped__", layer) for name in "ab" for layer in [viewer.add_image(disk(), name=name)]]
    viewer.layers.selection.active = viewer.layers["image"]
    widget.work.use_channels(others)
    stroke(qtbot, widget, (30, 30))
    session = widget.work.session
    viewer.layers.remove("a")
    qtbot.waitUntil(lambda: session.case.n_channels == 2)
    assert widget.panel.channels.text() == "2 of 2 ch" and session.can_undo
    viewer.layers.clear()
    QApplication.processEvents()
    assert session.case.n_channels == 2


@pytest.mark.parametrize(("channels_first", "is_grey"), [(True, True), (False, False)], ids=["modalities", "colours"])
def test_pictures_have_colours_only_where_the_image_has(channels_first, is_grey):
    values = np.random.default_rng(0).random((3, 40, 50)).astype(np.float32)
    image = values if channels_first else np.moveaxis(values, 0, -1)
    mask = np.zeros((40, 50), bool)
    mask[18:22, 20:26] = True
    case = ps.Case(image, channel_axis=0 if channels_first else -1).mark(inside=mask)
    (picture, *_) = thumbnails(Balls().propose(case, 2), (0, 1))
    outside = picture.panes[0].picture[:3].astype(int)  # far from what is drawn over it
    assert (np.ptp(outside, axis=-1) < 3).all() == is_grey
