"""Way: how an image was opened and shown, for the next one of a series to be, too."""

from __future__ import annotations

from dataclasses import dataclass

from napari_probseg.io.folder import Channels
from napari_probseg.widgets.layers.appearance import Appearance


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
