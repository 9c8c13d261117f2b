"""The demo in a window: an image, strokes on it, candidates on offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
import numpy as np

from napari_probseg.widgets.segment import SegmentWidget

if TYPE_CHECKING:
    from napari_probseg.candidates import Proposer
    from napari_probseg.demo import Example


def open_example(shown: Example, proposer: Proposer | None = None) -> tuple[napari.Viewer, SegmentWidget]:
    """Open a window on an example, draw its strokes and ask for candidates.

    Parameters
    ----------
    shown : Example
    proposer : Proposer, optional
        The shipped network, loaded in a thread, if absent.
    """
    viewer = napari.Viewer(title="napari-probseg: red is inside, blue is outside; choose a candidate on the right")
    case = shown.case
    options = (
        {"rgb": True} if case.n_channels == 3 else {"channel_axis": case.channel_axis} if case.n_channels > 1 else {}
    )
    image = case.image
    if case.n_channels == 3 and case.channel_axis is not None:
        image = np.moveaxis(np.asarray(image), case.channel_axis, -1)
    viewer.add_image(image, name=shown.name, scale=case.spacing, **options)
    widget = SegmentWidget(viewer, proposer)
    viewer.window.add_dock_widget(widget, name="Segment", area="right")
    markers = widget.work.open_layers().markers
    if shown.plane is not None:
        axis, index = shown.plane
        viewer.dims.set_current_step(axis, index)
    drawn = np.nonzero(case.strokes)
    markers.data_setitem(drawn, case.strokes[drawn])
    widget.work.propose()
    return viewer, widget
