"""Dialog for the class of each finished object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QFormLayout, QScrollArea, QVBoxLayout, QWidget


class KindsDialog(QDialog):
    """Objects with a choice of label each; the first row sets all of them, and new labels can be typed.

    Parameters
    ----------
    objects : sequence of int
        Their numbers.
    labels : sequence of str
        The labels of the data set.
    parent : QWidget
        What the dialog lies over.
    given : mapping from int to str
        The classes that objects have already.
    """

    def __init__(
        self, objects: Sequence[int], labels: Sequence[str], parent: QWidget, given: Mapping[int, str] | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("What are these objects?")
        inner = QWidget()
        form = QFormLayout(inner)
        self.all = _choice(labels)
        self.each = {number: _choice(labels) for number in objects}
        for number, kind in (given or {}).items():
            self.each[number].setCurrentText(kind)
        self.all.currentTextChanged.connect(self._set_all)
        if len(objects) > 1:
            form.addRow("All objects", self.all)
        for number, choice in self.each.items():
            form.addRow(f"Object {number}", choice)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setWidget(inner)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll)
        layout.addWidget(buttons)

    @property
    def kinds(self) -> dict[int, str]:
        """What each object is."""
        return {number: choice.currentText().strip() for number, choice in self.each.items()}

    def _set_all(self, label: str) -> None:
        for choice in self.each.values():
            choice.setCurrentText(label)


def kinds_of(
    objects: Sequence[int], labels: Sequence[str], parent: QWidget, *, given: Mapping[int, str]
) -> dict[int, str] | None:
    """Return what each object is; None if the user was asked, and turned away.

    The user is asked where objects have no class, and there are several labels.
    """
    given = {number: given[number] for number in objects if number in given}
    if len(labels) == 1 or len(given) == len(objects):
        return {**dict.fromkeys(objects, labels[0] if labels else ""), **given}
    dialog = KindsDialog(objects, labels, parent, given)
    accepted = dialog.exec_()
    chosen = dialog.kinds
    dialog.deleteLater()
    return chosen if accepted and all(chosen.values()) else None


def _choice(labels: Sequence[str]) -> QComboBox:
    box = QComboBox(editable=True, toolTip="A label of the data set, or a new one")
    box.addItems(list(labels))
    return box
