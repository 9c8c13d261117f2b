"""Dialog for the class of each finished object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_probseg.widgets.layers.colours import Colour
from napari_probseg.widgets.segment.class_field import ClassField

if TYPE_CHECKING:
    from napari_probseg.session.session import Session
    from napari_probseg.widgets.segment.controller import Workspace

TITLE = "What are these objects?"
_MIN_WIDTH = 320  # pixels, for the title


class KindsDialog(QDialog):
    """Objects with a choice of label each; the first row sets all of them, and new labels can be typed.

    Parameters
    ----------
    objects : mapping from int to (float, float, float)
        Their numbers, and in which colours they are shown.
    labels : sequence of str
        The labels of the data set.
    parent : QWidget
        What the dialog lies over.
    given : mapping from int to str
        The classes that objects have already.
    """

    def __init__(
        self, objects: Mapping[int, Colour], labels: Sequence[str], parent: QWidget, given: Mapping[int, str]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(TITLE)
        self.setMinimumWidth(_MIN_WIDTH)
        inner = QWidget()
        form = QFormLayout(inner)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.all = _field(labels, "all the same")
        self.each = {number: _field(labels, "choose or type") for number in objects}
        for number, kind in given.items():
            self.each[number].setCurrentText(kind)
        self.all.currentTextChanged.connect(self._set_all)
        if len(objects) > 1:
            form.addRow("All objects", self.all)
        for number, field in self.each.items():
            form.addRow(_named(number, objects[number]), field)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inner)
        self.lacking = QLabel(objectName="faint")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll)
        layout.addWidget(self.lacking)
        layout.addWidget(buttons)
        self._begin(self.all if len(objects) > 1 and not given else self.each[self._first_lacking() or min(objects)])

    @property
    def kinds(self) -> dict[int, str]:
        """What each object is."""
        return {number: field.kind for number, field in self.each.items()}

    def accept(self) -> None:
        """Close, once each object has a class; before, go to the first that has none."""
        if (number := self._first_lacking()) is None:
            super().accept()
        else:
            self.lacking.setText(f"Object {number} has no class yet.")
            self._begin(self.each[number])

    def _first_lacking(self) -> int | None:
        return next((number for number, kind in self.kinds.items() if not kind), None)

    def _begin(self, field: ClassField) -> None:
        field.setFocus()
        field.lineEdit().selectAll()

    def _set_all(self, label: str) -> None:
        for field in self.each.values():
            field.setCurrentText(label)


def known_kinds(session: Session, labels: Sequence[str]) -> dict[int, str] | None:
    """Return what each finished object is, where that need not be asked: all have a class, or there is one label."""
    numbers, given = [one.label for one in session.finished], session.kinds
    if len(labels) == 1 or len(given) == len(numbers):
        return {**dict.fromkeys(numbers, labels[0] if labels else ""), **given}
    return None


def kinds_of(work: Workspace, labels: Sequence[str], parent: QWidget) -> dict[int, str] | None:
    """Return what each finished object is; None if the user was asked, and turned away.

    The user is asked where objects have no class, and there are several labels; the objects have what was chosen.

    Parameters
    ----------
    work : Workspace
        Of the image at work.
    labels : sequence of str
        Of the data set.
    parent : QWidget
        What the dialog lies over.
    """
    if (session := work.session) is None:
        return None
    if (known := known_kinds(session, labels)) is not None:
        return known
    given = session.kinds
    colours = {one.label: work.images.colours.of(one.label, one.kind) for one in session.finished}
    dialog = KindsDialog(colours, labels, parent, given)
    accepted = dialog.exec_()
    chosen = dialog.kinds
    dialog.deleteLater()
    if not (accepted and all(chosen.values())):
        return None
    work.classify_all(chosen)
    return chosen


def _field(labels: Sequence[str], placeholder: str) -> ClassField:
    field = ClassField("A label of the data set, or a new one", placeholder)
    field.addItems(list(labels))
    field.setCurrentIndex(-1)
    return field


def _named(number: int, colour: Colour) -> QLabel:
    """Return the name of an object, and how it is found on the canvas."""
    return QLabel(f'<span style="color: {QColor.fromRgbF(*colour).name()}">●</span> Object {number}')
