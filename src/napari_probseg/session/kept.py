"""Keeping a session: its journal, and its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_probseg.io import READABLE
from napari_probseg.session.encoding import Stored, start_of
from napari_probseg.session.identity import Identity
from napari_probseg.session.work import Work

if TYPE_CHECKING:
    from napari_probseg.session.journal import Journal


class Kept(Work):
    """The part of a `Session` that writes what was done to files."""

    def keep(self, path: str | Path, **options: Any) -> Journal:
        """Write every step to a journal as soon as it is done: after a crash, `load` opens that like a saved session.

        Parameters
        ----------
        path : path
            Of a new file; what was done already is written first.
        **options
            See `Journal`.

        Returns
        -------
        Journal
            It writes in a thread: `Journal.flush` waits for it.

        Raises
        ------
        FileExistsError
            If there is such a file, and it is not to be gone on with.
        OSError
            If there can be no file at that path.
        """
        from napari_probseg.session.journal import Journal

        self.journal = Journal(path, self.start, self.steps, self.undone, n_asked=self._n_asked, **options)
        return self.journal

    def stored(self) -> Stored:
        """Return what there is to keep of it: all but the image and the models."""
        case, about = self.start, Identity.of(self.start)
        history = self.steps, self.undone
        return Stored(
            about.shape, about.spacing, case.channel_axis, start_of(case), *history, self._n_asked, about, case.in_time
        )

    def save(self, path: str | Path) -> None:
        """Write everything but the image to one ``.npz`` file; the old file stays whole until the end.

        Parameters
        ----------
        path : path
            Of the file, which `load` opens.

        Raises
        ------
        ValueError
            If it is the journal of this session, or the name of an image.
        OSError
            If the disk is full or the place cannot be written to.
        """
        from napari_probseg.session.storage import write_session

        if str(path).lower().endswith(READABLE):
            raise ValueError(f"{path} is the name of an image: save the session as .npz")
        if self.journal is not None and os.path.realpath(path) == os.path.realpath(self.journal.path):
            raise ValueError(
                f"{path} is the journal of this session, and keeps every step already: choose another name"
            )
        write_session(path, self.stored())
