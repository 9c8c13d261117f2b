"""Into the data set: the image at work is added to the one that is open, or gets its new labels there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_probseg.session.session import Session
from napari_probseg.widgets import commands
from napari_probseg.widgets.segment.class_dialog import kinds_of, known_kinds

if TYPE_CHECKING:
    from napari_probseg.widgets.segment.controller import Workspace


class IntoDataSet(QObject):
    """Hands the image at work to the data set that is open beside it, and tells what came of it.

    Parameters
    ----------
    work : Workspace
    parent : QWidget
        What dialogs lie over.
    """

    added = Signal(object)  # the folder
    refused = Signal()

    def __init__(self, work: Workspace, parent: Any) -> None:
        super().__init__(parent)
        self._work = work
        self._asked: Any = None

    @property
    def is_open(self) -> bool:
        """Whether there is a data set."""
        return self._teaching is not None

    def kinds(self, session: Session, *, may_ask: bool) -> dict[int, str] | None:
        """Return what each finished object is; None if that is not known, and the user turned away or is not asked."""
        if (teaching := self._teaching) is None:
            return None
        labels = teaching.state.labels
        return kinds_of(self._work, labels, self.parent()) if may_ask else known_kinds(session, labels)

    def add(self, kinds: Mapping[int, str]) -> None:
        """Add the image with its objects; `added` or `refused` follows."""
        self._asked = self._teaching
        self._asked.added.connect(self._take)
        self._asked.refused.connect(self._fail)
        self._asked.add(kinds)

    @property
    def _teaching(self) -> Any:
        return commands.teaching_of(self._work.viewer)

    def _take(self) -> None:
        self.added.emit(self._let_go().state.folder)

    def _fail(self) -> None:
        self._let_go()
        self.refused.emit()

    def _let_go(self) -> Any:
        teaching, self._asked = self._asked, None
        teaching.added.disconnect(self._take)
        teaching.refused.disconnect(self._fail)
        return teaching
