"""Controller of the Dataset widget: a data set, its training, its models, and the next image."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_probseg.active_learning.comparison import Comparison
from napari_probseg.engine.teaching import Suggestion
from napari_probseg.io import NIFTI
from napari_probseg.widgets import commands, models
from napari_probseg.widgets.engines import another
from napari_probseg.widgets.layers.image import bare, place_of
from napari_probseg.widgets.layers.source import source_of, with_source
from napari_probseg.widgets.messages import sentence_of
from napari_probseg.widgets.segment.verbs import NotYetError
from napari_probseg.widgets.settings import read_settings
from napari_probseg.widgets.tasks import dataset as lessons
from napari_probseg.widgets.tasks import next_image
from napari_probseg.widgets.tasks.background import Background, Task
from napari_probseg.widgets.tasks.dataset import Done, Lesson, State

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_probseg.widgets.segment.controller import Workspace

logger = logging.getLogger(__name__)


class Teaching(QObject):
    """What the user does with a data set; the widget shows it and calls its verbs.

    Three things can run side by side: a training, a search for the next image, and short work on the data set.

    Parameters
    ----------
    viewer : napari.Viewer
        In whose Segment widget images are finished.
    """

    changed = Signal()
    found_more = Signal()
    learnt_more = Signal(int, int)
    said = Signal(str, bool)
    added, refused = Signal(), Signal()  # what became of an image that was to be added

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.state: State | None = None
        self.comparison: Comparison | None = None
        self.points: list[tuple[int, float]] = []
        self.found: list[Suggestion] = []
        self.work, self.training, self.searching = Background(), Background(), Background()
        for background in (self.work, self.training, self.searching):
            background.said.connect(self.say)
            background.failed.connect(self.refuse)
            background.busy.connect(self._note_busy)
        self.work.done.connect(self._take)
        self.training.done.connect(self._take)
        self.training.progressed.connect(self._learn)
        self.searching.done.connect(self._end_search)
        self.searching.said.connect(self._note_found)
        self._later: deque[Task] = deque()  # what waits for short work
        self._stop, self._stop_search = Event(), Event()
        self._device = read_settings().device
        self._teacher, self._searcher = another(), another()
        self._held: Workspace | None = None
        self._adding: Path | None = None
        commands.register_teaching(self)

    def say(self, sentence: str) -> None:
        """Tell the user something."""
        self.said.emit(sentence, False)

    def refuse(self, error: Exception) -> None:
        """Tell the user in one sentence why something was not done; the log gets all of it."""
        self._let_go()
        logger.warning("refused", exc_info=error)
        self.said.emit(sentence_of(error), True)
        self.refused.emit()

    # The data set -------------------------------------------------------------------------------------------------

    def open(self, folder: Path) -> None:
        """Turn to the data set in a folder."""
        if not self.training.is_busy:
            give = models.given(self.viewer).completer != models.Models().completer
            self._start(lambda: lessons.opening(folder, give=give))
        else:
            self.say("A training is running: stop it before you turn to another data set.")

    def make(self, folder: Path, labels: Sequence[str]) -> None:
        """Make a new data set, for images like the one in Segment."""
        segment = commands.found(self.viewer)
        session = None if segment is None else segment.work.session
        image = None if segment is None else segment.work.image
        geometry = None if image is None else place_of(image)
        is_nifti = geometry is not None and geometry.affine is not None
        is_volume = session is not None and "Z" in session.case.axes
        ending = NIFTI[0] if is_nifti or is_volume else ".tif"
        self._start(lambda: lessons.making(folder, labels, session, ending=ending))

    def finished_work(self) -> Workspace:
        """Return the work in Segment, of which objects are finished.

        Raises
        ------
        ValueError
            If there is no image, or no object is finished.
        """
        work: Workspace = commands.widget_of(self.viewer).work
        work.take_strokes()
        if work.image is None:
            raise ValueError("there is no image in Segment yet: open one, and finish its objects")
        if work.session is None or not work.session.max_label:
            raise ValueError("no object of this image is finished yet: finish one in Segment first")
        return work

    def add(self, kinds: Mapping[int, str]) -> None:
        """Add the image in Segment with its finished objects.

        Parameters
        ----------
        kinds : mapping from int to str
            What each object is.
        """
        work = commands.widget_of(self.viewer).work
        work.act(partial(self._add, work, work.image, kinds))

    def _add(self, work: Any, image: Image | None, kinds: Mapping[int, str]) -> None:
        if self.work.is_busy:
            raise NotYetError("the data set is being written: one moment")
        if self.state is None or work.session is None or image is None or work.image is not image:
            self.refuse(RuntimeError("the image was not added, as another is at work by now: turn to it, and add it"))
            return
        folder = self.state.folder
        lesson = Lesson(image.name, work.session, place_of(image), kinds, str(source_of(image) or ""))
        self._adding = source_of(image)
        self._held = work
        work.hold()  # nothing is drawn on it while it is written
        self._start(lambda: lessons.adding(folder, lesson))

    # Training and models ------------------------------------------------------------------------------------------

    def train(self, *, anew: bool = False) -> None:
        """Train on what is there, or go on with a training that was stopped."""
        if self.state is None or self.training.is_busy:
            return
        self._stop, self.points, self.comparison = Event(), [], None
        folder, points, stop = self.state.folder, self.points, self._stop
        self.training.start(lambda: lessons.training(self._teacher, folder, points, stop, self._device, anew=anew))

    def stop(self) -> None:
        """Stop the training, or the comparison, at its next step."""
        self._stop.set()
        self.say("Stopping…")

    def compare(self) -> None:
        """Compare the newest model with the one in use."""
        if self.state is None or self.training.is_busy:
            return
        self._stop = Event()
        folder, newest, stop = self.state.folder, self.state.newest, self._stop
        self.training.start(lambda: lessons.comparing(self._teacher, folder, newest, stop, self._device))

    def adopt(self) -> None:
        """Use the model that was compared, if it is better."""
        if self.state is not None and self.comparison is not None:
            folder, comparison = self.state.folder, self.comparison
            self._start(lambda: lessons.adopting(folder, comparison))

    def go_back(self) -> None:
        """Use the model again that was in use before."""
        if self.state is not None:
            folder = self.state.folder
            self._start(lambda: lessons.going_back(folder))

    # The next image -----------------------------------------------------------------------------------------------

    def search(self, images: Path) -> None:
        """Rank the images of a folder by the uncertainty of the model in use."""
        self._stop_search.set()
        self._stop_search, self.found = Event(), []
        folder = None if self.state is None else self.state.folder
        found, stop = self.found, self._stop_search
        self.found_more.emit()
        self.searching.start(lambda: next_image.ranking(self._searcher, folder, images, found, stop, self._device))

    def stop_search(self) -> None:
        """Stop ranking; what was found stays."""
        self._stop_search.set()

    def show(self, path: Path) -> None:
        """Open an image that was found and select it in Segment."""
        for layer in map(bare, self.viewer.layers):
            if isinstance(layer, Image) and source_of(layer) == path.absolute():
                self._select(layer)
                return
        self._start(lambda: next_image.reading(path))

    # Behind the verbs ---------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Let go of the viewer; a training that runs can be gone on with."""
        commands.unregister_teaching(self)
        self._stop.set()
        self._stop_search.set()
        for background in (self.work, self.training, self.searching):
            background.cancel()
        for engine in (self._teacher, self._searcher):
            engine.close()
        self._let_go()
        self.refused.emit()

    def _start(self, task: Task) -> None:
        if self.work.is_busy:
            self._later.append(task)
        else:
            self.work.start(task)

    def _take(self, got: Any) -> None:
        """Take in what came of a task."""
        self._let_go()
        if not isinstance(got, Done):
            self._add_image(*got)
            return
        if self.state is None or got.state.folder != self.state.folder or got.models is not None:
            self.comparison = None
        if self.state is None or got.state.folder != self.state.folder:
            self.points = []
        self.state = got.state
        self.comparison = got.comparison or self.comparison
        if got.models is not None:
            self._give(got.models)
        if got.added and self._adding is not None:
            self.found = [one for one in self.found if one.path.absolute() != self._adding]
            self.found_more.emit()
        self.changed.emit()
        self.say(got.sentence)
        if got.added:
            self.added.emit()

    def _give(self, taught: models.Models) -> None:
        """Let Segment work with these models."""
        models.give(self.viewer, taught)
        if (segment := commands.found(self.viewer)) is not None:
            segment.work.use(taught)

    def _add_image(self, path: Path, data: Any, attributes: dict[str, Any]) -> None:
        self._select(bare(self.viewer.add_image(data, **with_source(attributes, path))))
        self.say(f"{path.name} is open in Segment.")

    def _select(self, layer: Image) -> None:
        images = commands.widget_of(self.viewer).panel.images
        index = next((i for i in range(images.count()) if bare(images.itemData(i)) is layer), -1)
        if index >= 0:
            images.setCurrentIndex(index)

    def _learn(self, step: int, n_steps: int) -> None:
        self.learnt_more.emit(step, n_steps)

    def _note_busy(self, is_busy: bool) -> None:
        self.changed.emit()
        if not is_busy:
            QTimer.singleShot(0, self._start_next)

    def _start_next(self) -> None:
        """Do what was asked for while something else was done."""
        if self._later and not self.work.is_busy:
            self.work.start(self._later.popleft())

    def _note_found(self, _: str) -> None:
        self.found_more.emit()

    def _end_search(self, sentence: str) -> None:
        self.found_more.emit()
        self.say(sentence)

    def _let_go(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            held.release_hold()
