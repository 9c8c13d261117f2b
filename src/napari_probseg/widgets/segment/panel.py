"""Layout of the Segment widget; what its parts do is wired in widget.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFrame,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledSlider

from napari_probseg.rendering import BLUE, RED
from napari_probseg.widgets.busy_bar import BusyBar
from napari_probseg.widgets.own_focus import OwnFocus
from napari_probseg.widgets.segment.gallery import Gallery
from napari_probseg.widgets.segment.object_list import ObjectList
from napari_probseg.widgets.status import Paragraph, StatusLine
from napari_probseg.widgets.style import KeyButton, dot, line, row

if TYPE_CHECKING:
    from napari.viewer import Viewer

_SCROLL_BAR = 16  # pixels: napari's style makes it wider than it says
MIN_SIZE = (308, 300)  # of what scrolls, in pixels; wider where large letters need it


class Panel(OwnFocus):
    """Every part of the Segment widget, from the top down."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.images = QComboBox(toolTip="The image to segment: 2-D or 3-D, grey, RGB, or with a first axis named “c”.")
        self.images.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.images.setMinimumContentsLength(8)
        self.images.setPlaceholderText("No image yet")
        self.channels = QToolButton(objectName="menu")
        self.channels.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.channels_menu = QMenu(self.channels)
        self.channels.setMenu(self.channels_menu)
        self.channels.hide()
        self.menu_button = QToolButton(text="•••", objectName="menu", toolTip="Sessions, other objects, the script")
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.menu_button)
        self.menu_button.setMenu(self.menu)

        self.inside = _brush("Inside", RED, "Brush voxels that belong to the object")
        self.outside = _brush("Outside", BLUE, "Brush voxels that do not belong to the object")
        self.erase = _brush("Erase", None, "Make voxels unknown again")
        self.box = KeyButton(
            "Box", tip="Draw a box around the object, or take the rectangle of a selected Shapes layer"
        )
        self.box.setCheckable(True)
        for one_of_four in (self.inside, self.outside, self.erase, self.box):
            one_of_four.setObjectName("narrow")
        self.brush_size = QLabeledSlider(Qt.Orientation.Horizontal)
        self.brush_size.setRange(1, 60)
        self.brush_size.setToolTip("Diameter of the brush, in voxels; [ and ] change it too")
        for part in (self.brush_size, self.brush_size.findChild(QSlider)):
            part.setFocusPolicy(Qt.FocusPolicy.TabFocus)

        self.reach = _slider(1, 10, "")
        self.slice = KeyButton("Slice on view", tip="Propose, complete and fine-tune on the slice on view")
        self.volume = KeyButton("Volume", tip="Propose, complete and fine-tune in 3-D, in the whole volume")
        self.extent = QWidget()
        self.propose = KeyButton("Propose", tip="Draw several ways to go on from the strokes; how many: ••• menu")
        self.propose.setObjectName("primary")

        self.live = QCheckBox("Live", toolTip="After each stroke the answer appears by itself")
        self.fill = QCheckBox("Fill", toolTip="Fill candidates on the canvas, where they are outlined otherwise")
        for switch in (self.live, self.fill):
            switch.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.bare = KeyButton("Hide", tip="As long as you hold it, or its key, nothing lies over the image")
        self.bare.setObjectName("narrow")

        self.complete = KeyButton("Complete", tip="Segment the whole object from the strokes or the box, in one go")
        self.tune = KeyButton(
            "Fine-tune",
            tip="Let the network learn from the finished objects; where there are none, from your strokes and its own "
            "answer (some seconds). Undo takes it back",
        )
        self.tune.setObjectName("narrow")
        self.smoothness = _slider(0, 20, "How smooth the border is; 0 takes what is likelier, voxel by voxel")
        self.edges = _slider(1, 20, "How strongly the border clings to edges: to the right, to faint ones too")

        self.gallery = Gallery(viewer, "")
        self.previous = KeyButton("‹", tip="Show the previous candidate", least=40)
        self.next = KeyButton("›", tip="Show the next candidate", least=40)
        self.accept = KeyButton("Accept", tip="Accept the candidate on show; a click on any of them does the same")
        self.none = KeyButton("None of these", tip="Draw other candidates")

        self.more = KeyButton("More like this", tip="Look for other objects like the finished ones, and offer them")
        self.take_all = KeyButton("Take all", tip="Take all objects on offer that are above the line, in one step")
        self.line = _slider(0, 100, "The line: how likely an object must be to be taken with all others, in percent")
        self.undo = KeyButton("Undo", tip="Take back the latest step, a stroke or the model's (also Ctrl+Z)")
        self.redo = KeyButton("Redo", tip="Do the step again that was taken back last (also Ctrl+Shift+Z)")
        self.finish = KeyButton("Finish object", tip="Move the object to the finished ones, lock it, begin the next")
        self.save = KeyButton("Save objects…", tip="Write the finished objects to a file (NIfTI, TIFF, …)")
        self.finish_image = KeyButton(
            "Finish image", tip="Save the objects, beside the image or into the open data set, and open the next image"
        )
        self.image_before = KeyButton("‹", tip="Open the image again that was finished before this one", least=64)
        self.progress_text = QLabel(objectName="faint", toolTip="Since this series of images began")
        self.progress_text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.reopen = KeyButton("Reopen", tip="Make the selected object, else the latest, the one in work again")
        self.pick = KeyButton("Pick", tip="Click a finished object on the canvas to reopen it")
        self.pick.setCheckable(True)
        self.objects = ObjectList(self.reopen, self.pick)
        self.uncertainty = QCheckBox("Uncertainty", toolTip="Show where the latest samples disagree, as a layer")
        self.uncertainty.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.most_uncertain = KeyButton("Go to the most uncertain", tip="Go to where a stroke would tell the most")

        self.status = StatusLine(viewer)
        self.progress = BusyBar(viewer)
        self.cancel = KeyButton("Cancel", tip="Give it up; nothing will have changed")
        self._lay_out()

    def sizeHint(self) -> QSize:
        return QSize(max(320, self.minimumSizeHint().width()), super().sizeHint().height())

    def show_work(self, on: bool, question: str = "") -> None:
        """Show what works on an image, a question about it, or what is there while there is none.

        Never two of them, or the window would grow.
        """
        shown = self.question if question else self.work if on else self.empty
        for page in (self.work, self.empty, self.question):
            if page is not shown:
                page.hide()
        self.question.text.setText(question)
        shown.show()

    def show_channels(self, used: Sequence[str], others: Sequence[str]) -> None:
        """Tell which channels are used, where there are others to choose from."""
        self.channels.setVisible(bool(others) or len(used) > 1)
        self.channels.setText(f"{len(used)} of {len(used) + len(others)} ch")
        self.channels.setToolTip(f"Channels that answers see: {', '.join(used)}. Click to choose others.")

    def show_extent(self, on: bool) -> None:
        """Show the choice of slice or volume, for volumes."""
        self.extent.setVisible(on)

    def _lay_out(self) -> None:
        self._lay_out_extent()
        work = QWidget()
        rows = QVBoxLayout(work)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(2)
        rows.addLayout(row(self.inside, self.outside, self.erase, self.box))
        rows.addLayout(row(QLabel("Brush, px"), self.brush_size, QLabel("Reach"), self.reach))
        rows.addWidget(self.extent)
        rows.addLayout(switches := row(self.live, self.fill, self.bare, self.cancel))
        switches.insertStretch(2, 1)
        rows.addLayout(row(self.propose, self.complete, self.tune, stretch=(1, 1, 1)))
        rows.addLayout(row(QLabel("Smooth"), self.smoothness, QLabel("Edges"), self.edges))
        rows.addWidget(self.progress)
        rows.addWidget(self.gallery)
        rows.addLayout(row(self.previous, self.accept, self.next, self.none, stretch=(0, 2, 0, 3)))
        rows.addLayout(row(self.more, self.take_all, self.line, stretch=(2, 2, 1)))
        rows.addWidget(line())
        rows.addLayout(row(self.undo, self.redo, self.save, stretch=(2, 2, 3)))
        rows.addLayout(row(self.finish, self.image_before, self.finish_image, stretch=(1, 0, 1)))
        rows.addWidget(self.progress_text)
        rows.addWidget(self.objects)
        rows.addLayout(row(self.uncertainty, self.most_uncertain))
        rows.addStretch(1)
        self.work = _Scrolling(work)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(8, 4, 8, 4)
        whole.setSpacing(3)
        whole.addLayout(row(self.images, self.channels, self.menu_button))
        whole.addWidget(self.work, 1)
        self.empty = _EmptyState()
        whole.addWidget(self.empty, 1)
        self.question = _Question()
        self.question.hide()
        whole.addWidget(self.question, 1)
        whole.addWidget(self.status)
        for stretchy in (self.images, self.propose, self.brush_size, self.reach):
            stretchy.setSizePolicy(QSizePolicy.Policy.Expanding, stretchy.sizePolicy().verticalPolicy())
        for small in (self.previous, self.next, self.image_before):
            small.setSizePolicy(QSizePolicy.Policy.Fixed, small.sizePolicy().verticalPolicy())
        steady = self.progress.sizePolicy()
        steady.setRetainSizeWhenHidden(True)  # nothing below it moves when work begins or ends
        self.progress.setSizePolicy(steady)

    def _lay_out_extent(self) -> None:
        """Lay out the two as one switch, of which one half is always down."""
        self.extent.setLayout(switch := row(self.slice, self.volume, stretch=(1, 1)))
        switch.setSpacing(1)
        either = QButtonGroup(self.extent)
        for half in (self.slice, self.volume):
            half.setCheckable(True)
            half.setObjectName("half")
            either.addButton(half)
        self.slice.setChecked(True)


class _Scrolling(QScrollArea):
    """Scrolls its content up and down where the screen is too small for it."""

    def __init__(self, content: QWidget) -> None:
        super().__init__(widgetResizable=True, frameShape=QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(content)
        self.setMinimumSize(*MIN_SIZE)
        self.verticalScrollBar().rangeChanged.connect(self._make_room)

    def _make_room(self, low: int, high: int) -> None:
        """Leave room for the bar beside the content, so that nothing is cut."""
        bar = self.verticalScrollBar()
        room = max(_SCROLL_BAR, bar.sizeHint().width()) if high > low else 0
        needed = self.widget().minimumSizeHint().width() if self.isVisible() else 0  # before, Qt knows no letters
        self.setMinimumWidth(max(MIN_SIZE[0], needed) + room + self._frame.width())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask for more room, or less, as the content does."""
        if event.type() == QEvent.Type.LayoutRequest:
            bar = self.verticalScrollBar()
            self._make_room(bar.minimum(), bar.maximum())
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def sizeHint(self) -> QSize:
        content = self.widget()  # as high as it must be: a long list of objects takes what room there is
        return QSize(content.sizeHint().width(), content.minimumSizeHint().height()) + self._frame

    @property
    def _frame(self) -> QSize:
        """What lies around the content: napari's style draws a frame where Qt was told of none."""
        margins = self.contentsMargins()
        return QSize(margins.left() + margins.right(), margins.top() + margins.bottom())


class _EmptyState(QWidget):
    """What is shown while there is no image."""

    def __init__(self) -> None:
        super().__init__()
        self.sample = QPushButton("Open a sample", objectName="primary")
        text = QLabel(
            "Open an image to begin:\ndrag a file into the window,\nor try it on a sample.", objectName="faint"
        )
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 80, 24, 24)
        layout.setSpacing(16)
        layout.addWidget(text)
        layout.addWidget(self.sample)
        self.earlier = QWidget()
        self.go_on = QPushButton()
        self.not_now = QPushButton("✕", toolTip="Not now: the work is offered again when its image is opened")
        self.not_now.setFixedWidth(28)
        self.earlier.setLayout(row(self.go_on, self.not_now, stretch=(1, 0)))
        self.earlier.hide()
        layout.addWidget(self.earlier)
        layout.addStretch(1)

    def offer(self, work: str) -> None:
        """Offer the latest work to go on with, which is told in two lines; nothing if it is empty."""
        title, _, what = work.partition("\n")
        self.go_on.setText(title)
        self.go_on.setToolTip(what)
        self.earlier.setVisible(bool(work))


class _Question(QWidget):
    """Asks whether to go on with earlier work."""

    def __init__(self) -> None:
        super().__init__()
        self.text = Paragraph()
        self.text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.go_on = KeyButton("Go on", tip="Take up strokes, choices, finished objects and Undo as they were")
        self.go_on.setObjectName("primary")
        self.anew = KeyButton("Start anew", tip="Begin with nothing; the earlier work stays in a file")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 80, 16, 24)
        layout.setSpacing(16)
        layout.addWidget(self.text)
        layout.addLayout(row(self.go_on, self.anew, stretch=(1, 1)))
        layout.addStretch(1)


def _brush(text: str, colour: tuple[float, float, float] | None, tip: str) -> KeyButton:
    button = KeyButton(text, tip=tip)
    button.setIcon(dot(colour))
    button.setCheckable(True)
    return button


def _slider(low: int, high: int, tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal, minimum=low, maximum=high, toolTip=tip)
    slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return slider
