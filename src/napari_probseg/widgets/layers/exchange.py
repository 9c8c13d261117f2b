"""Exchange: an image layer takes the next image of its kind, as napari takes half a second for a new layer."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image

from napari_probseg.widgets.layers.image import placement
from napari_probseg.widgets.layers.overlay import lay_over, will_do


def may_take(layers: Sequence[Image], images: Sequence[Image]) -> bool:
    """Return whether layers can each take one of some images: of as many axes, the same numbers, and the same units."""
    return len(layers) == len(images) and all(map(_may_take, layers, images))


def _may_take(layer: Image, image: Image) -> bool:
    is_alike = layer.rgb == image.rgb and not (layer.multiscale or image.multiscale)
    return is_alike and layer.dtype == image.dtype and will_do(layer, image.ndim, placement(image, image.ndim))


def take(layer: Image, image: Image) -> None:
    """Let a layer hold an image instead of its own, with all that its file tells; it is drawn as before.

    Parameters
    ----------
    layer : Image
    image : Image
        A layer of no viewer; see `may_take`.
    """
    layer.data = image.data
    lay_over(layer, placement(image, image.ndim))
    layer.name, layer.metadata = image.name, dict(image.metadata)
    layer._source = image.source  # as napari itself does; it has no public way
    if not image.rgb:
        layer.contrast_limits_range = image.contrast_limits_range
        layer.contrast_limits = image.contrast_limits
