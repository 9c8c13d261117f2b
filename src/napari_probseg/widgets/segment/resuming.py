"""Resuming: the offer to go on with the latest work before its image is opened, made once, as a window begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_probseg.napari_io.layer_data import get_reader, read_layers
from napari_probseg.session.journal import Kept, journals_in
from napari_probseg.widgets.layers.image import bare
from napari_probseg.widgets.layers.source import add_read
from napari_probseg.widgets.readers import NAPARI, OWN_READER
from napari_probseg.widgets.tasks.background import Background
from napari_probseg.widgets.tasks.recover import latest_work

if TYPE_CHECKING:
    from napari.viewer import Viewer

logger = logging.getLogger(__name__)


class Resuming(QObject):
    """Finds the latest work whose image can be opened."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.latest: Kept | None = None
        self._background = Background()
        self._background.done.connect(self._take)
        self._background.failed.connect(self._fail)

    @property
    def is_looking(self) -> bool:
        """Whether it is not known yet whether there is any."""
        return self._background.is_busy

    def look(self, folders: Sequence[Path]) -> None:
        """Look for it in some folders, in a thread."""
        if any(journals_in(folder) for folder in folders):
            self._background.start(lambda: latest_work(folders))

    def forget(self) -> None:
        """Offer nothing any more: an image was opened, or it is not wanted."""
        self._background.cancel()
        if self.latest is not None:
            self.latest = None
            self.changed.emit()

    def _take(self, kept: Kept | None) -> None:
        self.latest = kept
        self.changed.emit()

    def _fail(self, error: Exception) -> None:
        logger.info("could not look for the latest work", exc_info=error)


def open_image_of(kept: Kept, viewer: Viewer) -> Image:
    """Open the image of earlier work, as it was opened then.

    Raises
    ------
    ValueError
        If there is no image in its file any more.
    Exception
        Whatever the reader raises.
    """
    subject = kept.subject
    path = subject.source
    if subject.reader == OWN_READER or (not subject.reader and get_reader(path) is not None):
        opened = add_read(viewer, Path(path), read_layers(path))  # napari lets no plugin open what it does not claim
    else:
        opened = [bare(layer) for layer in viewer.open(path, plugin=subject.reader or NAPARI)]
    images = [layer for layer in opened if isinstance(layer, Image)]
    if not images:
        raise ValueError(f"there is no image in {subject.source} any more: open it yourself to go on")
    return next((image for image in images if image.name == subject.name), images[-1])
