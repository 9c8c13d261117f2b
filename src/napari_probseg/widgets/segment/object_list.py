"""List of the finished objects: number, class and size of each, to go to, to reopen and to classify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QItemSelectionModel, QModelIndex, QObject, QSize, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QLabel, QMenu, QTreeView, QVBoxLayout, QWidget

from napari_probseg.session.finished import FinishedObject
from napari_probseg.widgets.layers.colours import Colour
from napari_probseg.widgets.segment.class_field import ClassField
from napari_probseg.widgets.style import dot, row, use_no_more_height

_N_ROWS, _FRAME = 3, 4  # rows that are seen at least, and the pixels around them
_MOVES = (
    Qt.Key.Key_Up,
    Qt.Key.Key_Down,
    Qt.Key.Key_Home,
    Qt.Key.Key_End,
    Qt.Key.Key_PageUp,
    Qt.Key.Key_PageDown,
)
_OPENS = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
_REMOVES = (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
NO_CLASS = "no class"


class ObjectList(QWidget):
    """The finished objects in rows, and above them the class of the one that is selected, or of the next."""

    visited = Signal(int)
    opened = Signal(int)
    removed = Signal(int)
    classified = Signal(int, str)  # 0: the objects that are finished from now on
    renaming = Signal(str)  # of a class, all objects of which are to have another

    def __init__(self, *beside: QWidget) -> None:
        super().__init__()
        self._model = _Rows()
        self.rows = _Table(self._model)
        self.of = QLabel(objectName="faint")
        self.kind = ClassField("The class of the object that is selected, or of the next ones", NO_CLASS)
        self.kind.setMinimumContentsLength(5)
        self.kind.setMinimumWidth(72)
        self.kind.installEventFilter(self)
        self.kind.lineEdit().editingFinished.connect(self._classify)
        self.kind.activated.connect(self._classify)
        self._kinds: dict[str, Colour | None] = {}  # to choose from
        self._kind = ""  # of the objects that are finished from now on
        self.rows.selectionModel().currentRowChanged.connect(self._visit)
        self.rows.opened.connect(self.opened)
        self.rows.removed.connect(self.removed)
        self.rows.renaming.connect(self.renaming)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addLayout(row(self.of, self.kind, *beside, stretch=(0, 1)))
        layout.addWidget(self.rows)
        use_no_more_height(self.rows)
        use_no_more_height(self)

    @property
    def selected(self) -> int:
        """The number of the object that is selected; 0 if none is."""
        index = self.rows.currentIndex()
        return self._model.label(index.row()) if index.isValid() else 0

    def show_objects(
        self,
        objects: Sequence[FinishedObject],
        *,
        colours: Sequence[Colour],
        kinds: Mapping[str, Colour | None],
        kind: str,
        size: Callable[[int], str],
    ) -> None:
        """Show these objects.

        Parameters
        ----------
        objects : sequence of FinishedObject
        colours : sequence of (float, float, float)
            One for each.
        kinds : mapping from str to (float, float, float) or None
            The classes to choose from, with their colours where objects have these.
        kind : str
            The class of the next ones.
        size : function
            Returns how large so many voxels are, in words.
        """
        selected, self._kind = self.selected, kind
        self._model.show(tuple(objects), tuple(colours), size)
        self.rows.fit()
        if self.selected != selected:
            self.select(selected)
        if self._kinds != (kinds := dict(kinds)):
            self._kinds = kinds
            self.kind.clear()
            self.kind.addItem("")
            for name, colour in kinds.items():
                self.kind.addItem(QIcon() if colour is None else dot(colour), name)
        self._show_kind()

    def select(self, label: int) -> None:
        """Select an object without going to it; 0 selects none."""
        index = self._model.index_of(label)
        self.rows.selectionModel().blockSignals(True)
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag
            self.rows.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.rows.scrollTo(index)
        else:
            self.rows.selectionModel().clear()
        self.rows.selectionModel().blockSignals(False)
        self.rows.viewport().update()
        self._show_kind()

    def beside(self, label: int) -> int:
        """Return the number of the object in the row below, or above the last; 0 if there is no other."""
        row = self._model.index_of(label).row()
        return self._model.label(row + 1) or self._model.label(row - 1)

    def move(self, step: int) -> None:
        """Go to the object so many rows below the one that is selected, round and round."""
        n, index = self._model.rowCount(), self.rows.currentIndex()
        if n:
            at = (index.row() + step) % n if index.isValid() else (0 if step > 0 else n - 1)
            self.rows.setCurrentIndex(self._model.index(at, 0))

    def _visit(self, index: QModelIndex) -> None:
        self._show_kind()
        if index.isValid():
            self.visited.emit(self._model.label(index.row()))

    def _show_kind(self) -> None:
        if self.kind.hasFocus() or self.kind.lineEdit().hasFocus():
            return  # it is being typed
        self.of.setText(f"№ {self.selected}" if self.selected else "Class")
        self.kind.setCurrentText(self._given)

    @property
    def _given(self) -> str:
        """The class of the object that is selected, or of the next ones."""
        return self._model.kind(self.selected) if self.selected else self._kind

    def _classify(self, _: int = 0) -> None:
        """Take what was chosen or typed, and give the keys back to the canvas."""
        label, kind = self.selected, self.kind.kind
        if self.kind.lineEdit().hasFocus() or self.kind.hasFocus():
            self.kind.lineEdit().clearFocus()
            self.kind.clearFocus()
        if kind != self._given:
            self.classified.emit(label, kind)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let Esc give up what was typed, and the keys back to the canvas."""
        if event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Escape:
            self.kind.setCurrentText(self._given)
            self.kind.clearFocus()
            return True
        return super().eventFilter(watched, event)


class _Rows(QAbstractTableModel):
    """The objects as a table: number, class, size."""

    def __init__(self) -> None:
        super().__init__()
        self._objects: tuple[FinishedObject, ...] = ()
        self._colours: tuple[Colour, ...] = ()
        self._size: Callable[[int], str] = str

    def show(
        self, objects: tuple[FinishedObject, ...], colours: tuple[Colour, ...], size: Callable[[int], str]
    ) -> None:
        self._size = size
        if (objects, colours) == (self._objects, self._colours):
            return
        self._colours = colours
        if [one.label for one in objects] == [one.label for one in self._objects]:
            self._objects = objects
            self.dataChanged.emit(self.index(0, 0), self.index(len(objects) - 1, 2))
            return
        self.beginResetModel()
        self._objects = objects
        self.endResetModel()

    def label(self, i: int) -> int:
        return self._objects[i].label if 0 <= i < len(self._objects) else 0

    def kind(self, label: int) -> str:
        return next((one.kind for one in self._objects if one.label == label), "")

    def index_of(self, label: int) -> QModelIndex:
        i = next((i for i, one in enumerate(self._objects) if one.label == label), -1)
        return self.index(i, 0) if i >= 0 else QModelIndex()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._objects)

    def columnCount(self, _: QModelIndex | None = None) -> int:
        return 3

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        one = self._objects[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return (str(one.label), one.kind, self._size(one.n_voxels))[index.column()]
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 0:
            return dot(self._colours[index.row()])
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() == 2:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "Click to go there; double-click or Enter to reopen it, Delete to remove it"
        return None


class _Table(QTreeView):
    """A table that keeps the keys it moves by, and hands all others on to the canvas."""

    opened = Signal(int)
    removed = Signal(int)
    renaming = Signal(str)

    def __init__(self, model: _Rows) -> None:
        super().__init__()
        self._rows = model
        self.setModel(model)
        self.setRootIsDecorated(False)
        self.setHeaderHidden(True)
        self.setUniformRowHeights(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setIconSize(QSize(12, 12))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.hide()
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(20)
        header.setResizeContentsPrecision(0)  # by the rows that are seen: else Qt asks about a thousand each time
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self._fit_columns()
        self.verticalScrollBar().valueChanged.connect(self._fit_columns)
        self.doubleClicked.connect(self._open)

    def fit(self) -> None:
        """Take the height of the rows there are; none, while there are none."""
        self.setVisible(self._rows.rowCount() > 0)
        self.updateGeometry()

    def _fit_columns(self) -> None:
        """Let numbers and sizes have the width that those on view need, which may be longer than those before."""
        for column in (0, 2):
            self.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self._height_of(self._rows.rowCount()))

    def minimumSizeHint(self) -> QSize:
        return QSize(super().minimumSizeHint().width(), self._height_of(min(_N_ROWS, self._rows.rowCount())))

    def _height_of(self, n_rows: int) -> int:
        return n_rows * max(0, self.sizeHintForRow(0)) + _FRAME

    def keyPressEvent(self, event: Any) -> None:
        if event.key() in _OPENS:
            self._open(self.currentIndex())
        elif event.key() in _REMOVES:
            self._remove(self.currentIndex())
        elif event.key() in _MOVES and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
        else:
            event.ignore()  # the dock hands it to the canvas

    def contextMenuEvent(self, event: Any) -> None:
        """Offer by the right button what keys do to the object under it."""
        index = self.indexAt(event.pos())
        if index.isValid():
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.addAction("Reopen", partial(self._open, index))
            menu.addAction("Remove", partial(self._remove, index))
            if kind := self._rows.kind(self._rows.label(index.row())):
                menu.addAction(f"Rename class “{kind}”…", partial(self.renaming.emit, kind))
            menu.popup(event.globalPos())

    def _remove(self, index: QModelIndex) -> None:
        if index.isValid():
            self.removed.emit(self._rows.label(index.row()))

    def _open(self, index: QModelIndex) -> None:
        if index.isValid():
            self.opened.emit(self._rows.label(index.row()))
