"""The demo: an image with strokes on it, as a value and in a window."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Plane
from napari_probseg.morphology import ball, deepest
from napari_probseg.simulate.annotator import dab_radius

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.candidates import Proposer
    from napari_probseg.widgets.segment.widget import SegmentWidget


@dataclass(frozen=True)
class Example:
    """A case with strokes, the name of its image, and the plane that the strokes are on, if it is a volume.

    ``is_shipped`` is true where the image is no one's work, so that nothing of an earlier demonstration is asked about.
    """

    name: str
    case: Case
    plane: Plane | None = None
    is_shipped: bool = False


def example(path: str | Path | None = None) -> Example:
    """Return an image with one stroke inside something and one outside of it.

    Parameters
    ----------
    path : path, optional
        An image or volume; a micrograph of a cell that scikit-image brings along if absent.
    """
    if path is None:
        from skimage.data import cell

        case = Case(cell())
        return Example("cell", case.mark(*_strokes_at(case.shape, (370, 426), (420, 160))), is_shipped=True)
    from napari_probseg.io import read

    case = read(path).case()
    plane = (0, case.shape[0] // 2) if case.ndim == 3 else None
    flat = case if plane is None else case.plane(*plane)
    inside, outside = guessed_strokes(flat)
    where = None if plane is None else (slice(plane[1], plane[1] + 1), slice(None), slice(None))
    if where is not None:
        inside, outside = inside[None], outside[None]
    return Example(Path(path).name, case.mark(inside, outside, where=where), plane)


def guessed_strokes(case: Case) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return one dab in the middle of what stands out most in a 2-D image, and one beside it.

    Raises
    ------
    ValueError
        If the image is constant.
    """
    from scipy import ndimage
    from skimage.filters import gaussian, threshold_otsu

    grey = gaussian(case.read().mean(0), 2)
    if np.ptp(grey) == 0:
        from napari_probseg.inference.inputs import evenness

        whole = tuple(slice(0, n) for n in case.shape)
        raise ValueError(f"{evenness(case, whole)}: there is nothing to segment")
    bright = grey > threshold_otsu(grey)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    thing = bright if border.mean() < 0.5 else ~bright  # the background is what the border mostly shows
    parts, n = ndimage.label(thing)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if n else thing
    spacing = np.ones(2)
    return _strokes_at(case.shape, deepest(largest, spacing), deepest(~thing, spacing))


def _strokes_at(
    shape: tuple[int, ...], inside: tuple[int, ...], outside: tuple[int, ...]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    one = np.ones(2)
    radius = dab_radius(shape, one)
    first = ball(shape, inside, radius, one)
    return first, ball(shape, outside, radius, one) & ~first


def has_display() -> bool:
    """Return whether a window can be opened here."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_example(shown: Example, proposer: Proposer | None = None) -> tuple[Viewer, SegmentWidget]:
    """Open a window on an example, draw its strokes and ask for candidates.

    Parameters
    ----------
    shown : Example
    proposer : Proposer, optional
        The shipped network, loaded in a thread, if absent.
    """
    import napari

    from napari_probseg.widgets.segment.widget import SegmentWidget

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
    if shown.plane is not None:
        axis, index = shown.plane
        viewer.dims.set_current_step(axis, index)
    recovery = widget.work.recovery

    def begin() -> None:
        """Draw the strokes, unless earlier work on the image is gone on with."""
        if shown.is_shipped and recovery.earlier is not None:
            recovery.start_anew()  # which calls this again
        elif recovery.is_pending:
            return  # it is looked for, or asked about: this is called again
        else:
            draw()

    def draw() -> None:
        recovery.changed.disconnect(begin)
        layers = widget.work.open_layers()
        markers = layers.markers
        if not layers.session.steps:
            drawn = np.nonzero(case.strokes)
            markers.data_setitem(drawn, case.strokes[drawn])
            widget.work.propose()

    recovery.changed.connect(begin)
    begin()
    return viewer, widget
