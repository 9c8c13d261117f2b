"""Candidates on the canvas: the one that is turned to, and where the samples disagree."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_probseg.candidates import Candidates
from napari_probseg.engine.exhibit import Exhibit, exhibit
from napari_probseg.pages import zeros
from napari_probseg.session.request import Offer
from napari_probseg.widgets.layers.alike import AlikeOutlines
from napari_probseg.widgets.layers.image import bring_into_view, displayed_axes, plane_on_view
from napari_probseg.widgets.layers.overlay import add_quietly
from napari_probseg.widgets.layers.passing import PassingLayer
from napari_probseg.widgets.layers.preview import Preview, Uncertainty
from napari_probseg.widgets.messages import nothing_on_view

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.case import Case


class CandidatesView(QObject):
    """Shows what is on offer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where candidates are previewed.
    """

    shown = Signal(int)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.passing, self.uncertainty = PassingLayer(viewer), Uncertainty(viewer)
        self.preview, self.alike = Preview(self.passing), AlikeOutlines(self.passing)
        self.offer: Offer | None = None
        self.current = self._kept = 0
        self._case: Case | None = None
        self._placement: dict[str, Any] = {}
        self._axes = (0, 1)
        self._exhibits: WeakKeyDictionary[Candidates, Exhibit] = WeakKeyDictionary()

    @property
    def exhibit(self) -> Exhibit | None:
        """What is shown of the candidates beside themselves."""
        return None if self.offer is None else self._exhibits[self.offer.candidates]

    def keep(self, candidates: Candidates, shown: Exhibit) -> None:
        """Keep what is shown of candidates for as long as they are on offer."""
        self._exhibits[candidates] = shown

    def clear(self) -> None:
        """Show nothing; where the samples disagreed stays known."""
        if self.offer is not None:
            self.offer = self._case = None
            self.preview.hide()

    def turn_to(self, offer: Offer, i: int, case: Case, axes: tuple[int, int], placement: dict[str, Any]) -> None:
        """Show an offer.

        Parameters
        ----------
        offer : Offer
        i : int
            The candidate that is seen first.
        case : Case
            What is decided now.
        axes : (int, int)
            The axes on the canvas: downwards, to the right.
        placement : mapping
            How layers lie over the image.
        """
        self.offer, self._case, self._placement, self._axes = offer, case, placement, axes
        candidates = offer.candidates
        if candidates not in self._exhibits:
            in_volume = offer.request.case.ndim_at(offer.request.plane) == 3
            self.keep(candidates, exhibit(candidates, axes, in_volume=in_volume))
        self.uncertainty.take(candidates.where, self._exhibits[candidates].disagreement)
        self.show(i)

    def rest(self, image: Image) -> None:
        """Show nothing, and forget where the samples disagreed; layers stay, for an image that comes."""
        self.offer = self._case = None
        self.passing.rest(image)
        self.uncertainty.forget()

    def forget(self) -> None:
        """Show nothing, forget where the samples disagreed, and take the layers away."""
        self.offer = self._case = None
        self.passing.clear()
        self.uncertainty.forget()

    def release(self) -> None:
        """Take the layers away, and let go of the viewer."""
        self.forget()
        for part in (self.passing, self.uncertainty):
            part.remover.release()

    def show(self, i: int) -> None:
        """Turn to candidate ``i``: the canvas shows it, and a key accepts it."""
        self._kept = i
        self.look(i)

    def look(self, i: int) -> None:
        """Show candidate ``i`` on the canvas until `look_away`."""
        if self.offer is not None and self._case is not None and len(self.offer.candidates):
            self.current = i % len(self.offer.candidates)
            self.preview.show(self.offer.candidates, self.current, self._case, self._placement, self._axes)
            self.shown.emit(self.current)

    def fill(self, on: bool) -> None:
        """Fill what is shown, or draw its outline."""
        self.preview.is_filled = on
        self.look(self.current)

    def turn(self, axes: tuple[int, int]) -> None:
        """Show the same on a canvas that was turned."""
        self._axes = axes
        self.look(self.current)

    def look_away(self) -> None:
        """Show the candidate again that was turned to last."""
        self.look(self._kept)

    def visit(self, i: int, markers: Any) -> None:
        """Show candidate ``i`` of a volume where it adds something: on the slice of its picture."""
        if self.exhibit is not None:
            bring_into_view(self._viewer, markers, self.exhibit.pictures[i].place)
            self.show(i)

    def go_to_most_uncertain(self, partial: NDArray[np.uint8], markers: Any) -> None:
        """Bring the undecided voxel into view at which the samples disagree most.

        Raises
        ------
        ValueError
            If there is none.
        """
        place = self.uncertainty.most_uncertain(partial)
        if place is None:
            raise ValueError("the samples agree everywhere that is not decided: propose again for other places")
        self.point_to(place, markers, in_the_middle=True)  # else it is not found among all that is uncertain

    def point_to(self, place: Sequence[int], markers: Any, *, in_the_middle: bool = False) -> None:
        """Bring a voxel into view, and draw a ring around it."""
        bring_into_view(self._viewer, markers, place, in_the_middle=in_the_middle)
        self.passing.ring(place, displayed_axes(self._viewer, markers))

    def lay_over(self, placement: dict[str, Any]) -> None:
        """Lie elsewhere, as the image does now."""
        self._placement = placement
        self.passing.lay_over(placement)
        self.uncertainty.lay_over(placement)

    def add_probability(self, placement: dict[str, Any]) -> None:
        """Add how likely each voxel is object, as the completer sees it, as a layer.

        Raises
        ------
        ValueError
            If there is no completion on offer.
        """
        if self.offer is None or self.offer.completion is None:
            raise ValueError("there is no completion on offer: complete the object first")
        candidates = self.offer.candidates
        values = zeros(candidates.case.shape, dtype=np.float32)
        values[candidates.where] = candidates.probability
        layer = Image(values, name="probability", contrast_limits=(0, 1), opacity=0.6, **placement)
        add_quietly(self._viewer, layer)

    def advice(self, markers: Any) -> str:
        """Return what to do with what is on offer; where the slice on view shows nothing of it, that is said."""
        shown, offer = self.exhibit, self.offer
        if shown is None or offer is None:
            return ""
        may_be_elsewhere = shown.in_volume and offer.request.verb != "carry"  # what is carried always is
        if may_be_elsewhere and self._viewer.dims.ndisplay == 2:
            with suppress(ValueError):  # the viewer shows a place outside the image
                plane = plane_on_view(self._viewer, markers)
                if plane is not None and self.passing.is_empty(*plane):
                    return nothing_on_view(self.current)
        return shown.advice

    def holds(self, layer: Any) -> bool:
        """Return whether a layer is the passing one, or the uncertainty."""
        return self.passing.holds(layer) or self.uncertainty.holds(layer)
