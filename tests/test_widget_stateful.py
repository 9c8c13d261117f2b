"""Any sequence of acts on two images keeps what is on show, what can be accepted and what is drawn on together."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

pytest.importorskip("napari")

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from fakes import GrowingProposer
from napari_probseg.widgets.segment import asking, recovery
from napari_probseg.widgets.segment.widget import SegmentWidget
from napari_probseg.widgets.settings import LIVE_OFF, Settings

SHAPE = (16, 16)
names = st.sampled_from("AB")
places = st.tuples(st.integers(1, 14), st.integers(1, 14))


class Later(QObject):
    """Stands for a thread: what it is given is done when the test says so."""

    said, progressed, came, done, failed, busy = (
        Signal(str),
        Signal(int, int),
        Signal(object),
        Signal(object),
        Signal(Exception),
        Signal(bool),
    )

    def __init__(self) -> None:
        super().__init__()
        self.task = None

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    def start(self, task) -> None:
        self.task = task
        self.busy.emit(True)

    def cancel(self) -> None:
        if self.task is not None:
            self.task = None
            self.busy.emit(False)

    forget = cancel

    def arrive(self) -> None:
        steps, self.task = self.task(), None
        self.busy.emit(False)
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            self.done.emit(stop.value)
        except ValueError as error:
            self.failed.emit(error)


class Window(RuleBasedStateMachine):
    """The widget on a viewer without a canvas; a model of each image's strokes beside it."""

    @initialize()
    def open(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(asking, "Background", Later)
        self.patch.setattr(asking, "Latest", Later)
        settings = Settings(live=LIVE_OFF, fill=True)  # what is asked is asked by a rule; what is shown is all
        self.patch.setattr("napari_probseg.widgets.segment.widget.read_settings", lambda: settings)
        self.journals = TemporaryDirectory(ignore_cleanup_errors=True)  # the work before this one is not asked about
        self.patch.setattr(recovery, "settings_folder", lambda: Path(self.journals.name))
        self.viewer = ViewerModel()
        self.widget = SegmentWidget(self.viewer, GrowingProposer())
        self.work, self.panel = self.widget.work, self.widget.panel
        rng = np.random.default_rng(0)
        self.images = {name: self.viewer.add_image(rng.random(SHAPE), name=name) for name in "AB"}
        for name in "AB":
            self.stroke(name, (4, 4), False)

    def teardown(self) -> None:
        self.work.release()
        self.widget.deleteLater()
        self.settle()
        self.patch.undo()
        for layers in self.work.images:
            layers.session.journal.close()
        self.journals.cleanup()
        gc.collect(0)

    @staticmethod
    def settle() -> None:
        for _ in range(3):
            QApplication.processEvents()

    def at_work(self) -> str:
        return self.work.image.name

    def states(self) -> dict[str, tuple]:
        """Return the state of each image's session, by value."""
        found = {}
        for name in self.images:
            if (layers := self.layers_of(name)) is not None:
                session = layers.session
                found[name] = (session.case.partial.tobytes(), session.objects.tobytes(), len(session.steps))
        return found

    def layers_of(self, name: str):
        image = self.images[name]
        return next((own for own in self.work.images if self.work.images.image_of(own) is image), None)

    @rule(name=names)
    def choose(self, name: str) -> None:
        self.panel.images.setCurrentText(name)
        self.settle()
        assert self.at_work() == name

    @rule(name=names, at=places, outside=st.sampled_from([False, False, False, True]))
    def stroke(self, name: str, at: tuple[int, int], outside: bool) -> None:
        """Brush on the markers of an image, be it at work or not."""
        layers = self.layers_of(name)
        if layers is None:
            self.choose(name)
            self.panel.inside.click()
            layers = self.layers_of(name)
        before, strokes = self.states(), layers.session.case.strokes.copy()
        if layers.markers.data[at] == 1 + outside:
            return  # napari does not tell of a brush that paints nothing
        layers.markers.brush_size = 1
        layers.markers.paint(at, 1 + outside)
        self.settle()
        after = self.states()
        locked = layers.session.objects[at] > 0
        assert self.at_work() == name, "the work turns to the image that is painted on"
        expected = strokes[at] if locked else 1 + outside
        assert layers.session.case.strokes[at] == expected
        assert {n: s for n, s in before.items() if n != name} == {n: s for n, s in after.items() if n != name}

    # Conditions are methods: the oldest hypothesis parses the source of a lambda whenever it asks one.

    def is_busy(self) -> bool:
        return self.work.asking.is_busy

    def has_offer(self) -> bool:
        return self.work.on_offer is not None

    def ready(self) -> bool:
        return self.work.session is not None and bool((self.work.session.case.partial == 1).any())

    @precondition(ready)
    @rule(answered=st.sampled_from([True, True, False]))
    def propose(self, answered: bool) -> None:
        self.work.propose()
        if answered:
            self.arrive()

    @precondition(is_busy)
    @rule()
    def arrive(self) -> None:
        self.work.asking.background.arrive()

    @precondition(is_busy)
    @rule()
    def cancel(self) -> None:
        self.panel.cancel.click()

    @precondition(has_offer)
    @rule(answered=st.booleans())
    def reject(self, answered: bool) -> None:
        self.panel.none.click()
        if answered:
            self.arrive()

    @precondition(has_offer)
    @rule(key=st.sampled_from(["next", "previous"]))
    def turn(self, key: str) -> None:
        self.widget.verbs[key]()

    @precondition(ready)
    @rule()
    def accept(self) -> None:
        """Press the key, whatever there is on show."""
        before, cells, offer = self.states(), len(self.panel.gallery.cells), self.work.on_offer
        current = self.work.view.current
        self.widget.verbs["accept"]()
        if cells == 0:
            assert self.states() == before, "what is not on show cannot be accepted"
        else:
            assert np.array_equal(self.work.session.case.partial, offer.candidates.accept(current).partial)
            assert not self.panel.gallery.cells

    @precondition(ready)
    @rule(key=st.sampled_from(["undo", "redo", "finish"]))
    def step(self, key: str) -> None:
        name, before = self.work.image.name, self.states()
        self.widget.verbs[key]()
        others = {n: s for n, s in self.states().items() if n != name}
        assert others == {n: s for n, s in before.items() if n != name and n in others}

    @precondition(ready)
    @rule(name=names)
    def undo_on_the_layer(self, name: str) -> None:
        layers = self.layers_of(name)
        if layers is not None:
            layers._tell.undo(None)
            assert self.at_work() == name

    @precondition(ready)
    @rule(name=st.sampled_from(["markers of image", "objects of image", "preview"]))
    def remove_a_layer(self, name: str) -> None:
        if name in self.viewer.layers:
            self.viewer.layers.remove(name)
            self.settle()

    @invariant()
    def list_and_work_agree(self) -> None:
        box = self.panel.images
        assert box.itemData(box.currentIndex()) is self.work.image

    @invariant()
    def what_is_on_offer_is_on_show(self) -> None:
        offer = self.work.on_offer
        assert self.work.view.offer is offer
        assert len(self.panel.gallery.cells) == (0 if offer is None else len(offer.candidates))
        assert self.panel.accept.isEnabled() == (offer is not None)
        if offer is not None:
            assert not self.work.asking.is_busy
            assert offer.candidates.case.image is self.work.session.case.image

    @invariant()
    def the_canvas_shows_the_candidate_that_a_key_accepts(self) -> None:
        view = self.work.view
        layer = view.passing._layer
        shown = None if layer is None or layer not in self.viewer.layers or not layer.visible else layer.data
        if view.offer is None:
            assert shown is None or not shown.any()
        elif shown is not None:
            before, after = self.work.session.case.partial, view.offer.candidates.accept(view.current).partial
            assert np.array_equal(shown > 0, after != before)

    @invariant()
    def layers_show_their_session(self) -> None:
        for layers in self.work.images:
            assert np.array_equal(layers.objects.data, layers.session.objects)


@pytest.fixture(scope="module", autouse=True)
def _application(qapp):
    """Have an application for the widgets."""
    return qapp


TestWindow = Window.TestCase
TestWindow.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
