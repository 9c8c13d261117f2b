"""Encircling: napari's stroke that a click with the right button begins, and that goes on without a button.

It ends where it is back at its beginning, and is filled then; napari tells of it only then. Esc gives it up.
"""

from __future__ import annotations

from typing import Any

from napari.components import overlays
from napari.layers import Labels

IS_KNOWN = hasattr(overlays, "LabelsBrushStrokeOverlay")  # since napari 0.9.2
RIGHT_BUTTON = 2


def begins(layer: Labels, event: Any) -> bool:
    """Return whether a press of a button on a layer begins to encircle something."""
    if not IS_KNOWN or event.button != RIGHT_BUTTON or layer.mode != "paint" or layer.n_edit_dimensions != 2:
        return False
    at = layer.world_to_data(event.position)
    is_within = all(-0.5 <= x < n - 0.5 for x, n in zip(at, layer.data.shape, strict=True))
    return len(event.dims_displayed) == 2 and is_within


def give_up(layer: Labels) -> None:
    """Let napari take off what was drawn of it, as it does where another tool is taken up."""
    mode = layer.mode
    layer.mode = "pan_zoom"
    layer.mode = mode
