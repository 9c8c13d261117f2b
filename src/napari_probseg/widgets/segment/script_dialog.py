"""Dialog with the script of what was done."""

from __future__ import annotations

from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QApplication, QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QVBoxLayout, QWidget


class ScriptDialog(QDialog):
    """Shows a script, to be read and copied.

    Parameters
    ----------
    script : str
        The script.
    parent : QWidget, optional
        What the dialog lies over.
    """

    def __init__(self, script: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Script of this session")
        self.resize(640, 480)
        self._text = QPlainTextEdit(script)
        self._text.setReadOnly(True)
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.copy_button = buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        self.copy_button.clicked.connect(self.copy)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("This repeats in Python what was done here so far:"))
        layout.addWidget(self._text)
        layout.addWidget(buttons)

    def copy(self) -> None:
        """Put the script on the clipboard."""
        QApplication.clipboard().setText(self._text.toPlainText())
        self.copy_button.setText("Copied")
