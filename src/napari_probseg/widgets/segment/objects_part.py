"""Objects part of the Segment widget: the list of finished objects, picking one on the canvas, reopening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QInputDialog

from napari_probseg.session.finished import FinishedObject
from napari_probseg.widgets import commands
from napari_probseg.widgets.messages import GIVEN_UP
from napari_probseg.widgets.segment.controller import Workspace
from napari_probseg.widgets.segment.gallery import sized
from napari_probseg.widgets.segment.label_picker import Picker
from napari_probseg.widgets.segment.panel import Panel

if TYPE_CHECKING:
    from napari.viewer import Viewer


class ObjectsPart(QObject):
    """Lets a person go to finished objects, give them classes, and reopen them.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where they are clicked.
    work : Workspace
        Whose objects they are.
    panel : Panel
        Where they are listed.
    """

    def __init__(self, viewer: Viewer, work: Workspace, panel: Panel) -> None:
        super().__init__(panel)
        self._viewer, self._work, self._panel = viewer, work, panel
        self._picker = Picker(viewer, self._picked)
        self._steps: object = None  # that the list was drawn for
        panel.pick.toggled.connect(self._pick)
        work.put_down.connect(self._give_up)
        panel.objects.visited.connect(work.go_to_object)
        panel.objects.opened.connect(work.reopen)
        panel.objects.removed.connect(self._remove)
        panel.objects.classified.connect(work.classify)
        panel.objects.renaming.connect(self._rename)

    def draw(self, objects: tuple[FinishedObject, ...]) -> None:
        """Show the objects; what was selected is not any more once there is another step of work."""
        work, panel = self._work, self._panel
        size, unit = 1.0, "px"
        if (session := work.session) is not None and work.image is not None:
            size, unit = work.measure_of(range(session.case.ndim))
            latest = session.steps[-1] if session.steps else None
            if latest is not self._steps and (latest is None or latest.verb != "classify"):
                panel.objects.select(0)
            self._steps = latest
        kinds, colours = self._kinds(), work.images.colours
        colours.know(kinds)
        panel.objects.show_objects(
            objects,
            colours=[colours.of(one.label, one.kind) for one in objects],
            kinds={kind: colours.of_class(kind) if colours.by_class else None for kind in kinds},
            kind=work.tools.kind,
            size=lambda n: sized(n, size=size, unit=unit),
        )
        for part in (panel.reopen, panel.pick, panel.save):
            part.setEnabled(bool(objects))

    def next(self) -> None:
        """Go to the next finished object."""
        self._work.act(lambda: self._move(1))

    def previous(self) -> None:
        """Go to the finished object before."""
        self._work.act(lambda: self._move(-1))

    def reopen(self) -> None:
        """Reopen the object that is selected, else the latest one."""
        self._work.act(self._reopen)

    def _move(self, step: int) -> None:
        self._latest()
        self._panel.objects.move(step)

    def _reopen(self) -> None:
        self._work.reopen(self._panel.objects.selected or self._latest())

    def _latest(self) -> int:
        """Return the number of the latest finished object.

        Raises
        ------
        ValueError
            If there is none.
        """
        session = self._work.session
        if session is None or not session.max_label:
            raise ValueError("no object is finished yet: finish one first")
        return session.max_label

    def _remove(self, label: int) -> None:
        """Remove an object, and select the one beside it: several can be removed one after the other."""
        following = self._panel.objects.beside(label)
        self._work.remove_object(label)
        self._panel.objects.select(following)

    def _rename(self, kind: str) -> None:
        """Ask for the new name of a class."""
        asked = f"The class of all objects that are “{kind}” (empty: none):"
        new, is_given = QInputDialog.getText(self._panel, "Rename class", asked, text=kind)
        if is_given and (new := new.strip()) != kind:
            self._work.rename_class(kind, new)

    def stop(self) -> None:
        """Wait for no click any longer."""
        self._picker.stop()

    def _kinds(self) -> tuple[str, ...]:
        """Return the classes to choose from: those of the data set, and all that were given in this window."""
        teaching = commands.teaching_of(self._viewer)
        labels = () if teaching is None else teaching.state.labels
        return tuple(dict.fromkeys((*labels, *self._work.kinds())))

    @property
    def is_picking(self) -> bool:
        """Whether a click on an object is awaited."""
        return self._picker.is_waiting

    def _pick(self, on: bool) -> None:
        if on and self._work.layers is not None:
            self._work.put_down.emit(self)
            self._work.say("Click a finished object on the canvas; Esc gives it up.")
            self._picker.start(self._work.layers.objects)
        else:
            self._picker.stop()
        self._work.changed.emit()

    def _give_up(self, instead: object) -> None:
        if self.is_picking and instead is not self:
            self._panel.pick.setChecked(False)
            self._work.say("" if instead is not None else GIVEN_UP)

    def _picked(self, label: int) -> None:
        self._panel.pick.setChecked(False)
        if label:
            self._work.reopen(label)
        else:
            self._work.say("There is no finished object at that place.")
