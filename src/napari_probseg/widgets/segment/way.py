"""Way: how an image was opened and shown, for the next one of a series to be, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari.layers import Image

from napari_probseg.io.folder import Channels
from napari_probseg.widgets.layers.appearance import Appearance, Limits
from napari_probseg.widgets.layers.image import finest, has_channels_first
from napari_probseg.widgets.layers.source import reader_of, source_of


@dataclass(frozen=True, eq=False)
class Way:
    """How an image was opened and shown, for the next one to be, too.

    Parameters
    ----------
    reader : str
        What read it, as napari calls it; empty for this plugin in a thread.
    names : Channels
        How the files of its channels are called.
    index, channels : int, tuple of int
        Which of the layers that its file gives it is, and which are its further channels.
    is_joined : bool
        Whether its channels are the first axis of its layer.
    looks : tuple of Appearance
        Of the image, and of its channels.
    has_brush : bool
        Whether a brush is in hand: the next one is brushed inside first.
    shape : tuple of int
        How many voxels it has: another one of as many is shown on the same slice.
    """

    reader: str
    names: Channels
    index: int
    channels: tuple[int, ...]
    is_joined: bool
    looks: tuple[Appearance, ...]
    has_brush: bool
    shape: tuple[int, ...]

    def chosen(self, layers: Sequence[Image]) -> list[Image]:
        """Return those of the layers of the next one that are worked on."""
        return [layers[i] for i in (self.index, *self.channels) if i < len(layers)]


def way_of(layers: Sequence[Image], opened: Sequence[Image], limits: Limits, *, has_brush: bool) -> Way:
    """Return how an image was opened and is shown.

    Parameters
    ----------
    layers : sequence of Image
        Of the image, and of its further channels.
    opened : sequence of Image
        All that are open.
    limits : Limits
        What tells which contrast a person has set.
    has_brush : bool
    """
    image, path = layers[0], source_of(layers[0])
    others = [file for layer in layers[1:] if (file := source_of(layer)) not in (None, path)]
    files = list(dict.fromkeys(others))
    siblings = [one for file in (path, *files) for one in opened if source_of(one) == file] if path else [image]
    return Way(
        reader=reader_of(image),
        names=Channels() if path is None else Channels.of(path, files),
        index=siblings.index(image),
        channels=tuple(siblings.index(layer) for layer in layers[1:] if layer in siblings),
        is_joined=has_channels_first(image),
        looks=tuple(limits.appearance_of(layer) for layer in layers),
        has_brush=has_brush,
        shape=tuple(finest(image).shape),
    )
