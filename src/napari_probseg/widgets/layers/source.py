"""Source of an image layer: the file it came from, also where this plugin read it in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from napari.layers.utils.stack_utils import split_channels

from napari_probseg.widgets.layers.image import bare

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.napari_io.layer_data import LayerData

KEY, READER = "napari_probseg_file", "napari_probseg_reader"  # of a layer's metadata


def source_of(image: Image) -> Path | None:
    """Return the file that an image came from; None if there is none, or it is gone."""
    told = image.metadata.get(KEY) or image.source.path
    path = None if not told else Path(str(told))
    return path.absolute() if path is not None and path.is_file() else None


def siblings_of(layers: Sequence[Image], among: Iterable[Image]) -> list[Image]:
    """Return the other layers that come from the files of some: their channels that nobody asked for."""
    files = {source_of(layer) for layer in layers} - {None}
    return [one for one in among if one not in layers and source_of(one) in files]


def reader_of(image: Image) -> str:
    """Return what read the file of an image, as napari calls it; empty for this plugin in a thread."""
    return image.source.reader_plugin or str(image.metadata.get(READER, ""))


def add_read(viewer: Viewer, path: Path, read: Iterable[LayerData], reader: str = "") -> list[Layer]:
    """Add what was read of a file to a viewer, as layers that tell of it; return them."""
    found: list[Layer] = []
    for data, attributes, kind in read:
        added = getattr(viewer, f"add_{kind}")(data, **with_source(attributes, path, reader))
        found += [bare(layer) for layer in (added if isinstance(added, list) else [added])]
    return found


def images_read(path: Path, read: Iterable[LayerData], reader: str = "") -> list[Image]:
    """Return the images of what was read of a file, as layers of no viewer that tell of it."""
    found: list[Image] = []
    for data, attributes, kind in read:
        if kind == "image":
            told = with_source(attributes, path, reader)
            if (axis := told.pop("channel_axis", None)) is None:
                found.append(Image(data, **{"blending": "translucent_no_depth", "colormap": "gray", **told}))
            else:
                found += [Image(one, **given) for one, given, *_ in split_channels(data, axis, **told)]
    return found


def with_source(attributes: dict[str, Any], path: Path, reader: str = "") -> dict[str, Any]:
    """Return the attributes of a layer that tell of its file, and of what read it; see `reader_of`."""
    return {**attributes, "metadata": {**attributes.get("metadata", {}), KEY: str(path), READER: reader}}
