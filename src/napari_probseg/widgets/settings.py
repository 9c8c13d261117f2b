"""Settings from napari's Preferences, read when a widget opens; what is switched in the window may be kept there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

logger = logging.getLogger(__name__)

# Free on every common layer type and on the viewer. G H J K lie side by side: grow, back, forth, keep.
KEYS: Mapping[str, str] = MappingProxyType(
    {
        "inside": "8",
        "outside": "9",
        "erase": "0",
        "box": "",
        "propose": "G",
        "complete": "W",
        "tune": "Shift+W",
        "previous": "H",
        "next": "J",
        "accept": "K",
        "none": "N",
        "more": ".",
        "take_all": "Shift+G",
        "undo": "U",
        "redo": "Shift+U",
        "finish": "Q",
        "next_object": "Shift+J",
        "previous_object": "Shift+H",
        "reopen": "Shift+K",
        "finish_image": "Shift+Q",
        "image_before": "Alt+Q",
        "cancel": "Escape",
        "hide": ",",
    }
)


LIVE_AUTO, LIVE_ON, LIVE_OFF = "where it is fast", "always", "never"
BESIDE_SETTINGS, BESIDE_IMAGE = "beside napari's settings", "beside the image"


@dataclass(frozen=True)
class Settings:
    """The settings of the Segment widget.

    Parameters
    ----------
    n_candidates : int
        How many candidates to ask for, 3 to 8.
    brush_size : int
        Diameter of the brush, in voxels; 0 fits it to the screen until another is chosen.
    device : str
        Where networks run: "auto", "cpu", "cuda", "mps".
    keys : mapping of str to str
        The key of each verb; an empty one binds nothing.
    journal : str
        Where the journals of the work are: `BESIDE_SETTINGS` or `BESIDE_IMAGE`.
    live : str
        Whether the answer comes by itself after each stroke: `LIVE_AUTO` (where it takes less than a second),
        `LIVE_ON`, `LIVE_OFF`.
    fill : bool
        Whether candidates are filled on the canvas, not outlined.
    class_colours : bool
        Whether finished objects are coloured by class, not by number.
    compute_on : str
        Address of the scheduler of a dask.distributed cluster, where networks can run; empty for none.
    """

    n_candidates: int = 6
    brush_size: int = 0
    device: str = "auto"
    keys: Mapping[str, str] = field(default_factory=lambda: KEYS)
    journal: str = BESIDE_SETTINGS
    live: str = LIVE_AUTO
    fill: bool = False
    class_colours: bool = False
    compute_on: str = ""


def read_settings() -> Settings:
    """Return the user's settings; the defaults where this napari has no page for plugins."""
    try:
        from napari.settings import get_plugin_settings

        stored: Any = get_plugin_settings("napari-probseg")
        return Settings(
            n_candidates=stored.segment.n_candidates,
            brush_size=stored.segment.brush_size,
            device=stored.segment.device,
            journal=stored.segment.journal,
            live=stored.segment.live,
            fill=stored.segment.fill,
            class_colours=stored.segment.class_colours,
            compute_on=stored.segment.compute_on,
            keys=MappingProxyType({verb: getattr(stored.keys, verb) for verb in KEYS}),
        )
    except (ImportError, KeyError, AttributeError):
        logger.info("no settings page for plugins in this napari: using the defaults", exc_info=True)
        return Settings()


def keep_setting(name: str, value: object) -> None:
    """Keep what a user has switched in the window, for the next time; not where this napari has no page for plugins."""
    try:
        from napari.settings import get_plugin_settings

        stored: Any = get_plugin_settings("napari-probseg")
        setattr(stored.segment, name, value)
    except (ImportError, KeyError, AttributeError, OSError):
        logger.info("the setting %s was not kept", name, exc_info=True)
