"""More like this through the Segment widget: offered, looked at, taken, skipped, corrected, taken back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_probseg.proposers.histogram_cut import GraphCut
from napari_probseg.similar import offer
from napari_probseg.widgets import models as in_use
from napari_probseg.widgets.layers.colours import LIKELY, ON_SHOW
from napari_probseg.widgets.layers.image import bring_into_view
from napari_probseg.widgets.segment import alike
from test_similar import disks
from window import click, press, stroke, threads_ended, turned


@pytest.fixture
def at_work(open_widget, qtbot):
    """Return a function that opens disks of which one is finished by hand."""

    def opener(shape=(160, 160), **options):
        image, labels = disks(shape, **options)
        viewer, widget = open_widget(image, GraphCut())
        in_use.give(viewer, in_use.Models(GraphCut(), GraphCut()))
        widget.work.prepare()
        widget.work.session.mark(labels == 6 if len(shape) == 2 else labels == 1)
        click(qtbot, widget.panel.inside)
        widget.work.finish()
        return viewer, widget, labels

    return opener


def ask(qtbot, widget) -> None:
    click(qtbot, widget.panel.more)
    qtbot.waitUntil(lambda: bool(widget.work.alike), timeout=60_000)


def outlined(viewer) -> np.ndarray:
    return np.asarray(viewer.layers["preview"].data)


def test_a_button_offers_the_others_in_the_gallery_and_on_the_image(at_work, qtbot) -> None:
    viewer, widget, labels = at_work()
    ask(qtbot, widget)
    assert len(widget.panel.gallery.cells) == 6
    drawn = outlined(viewer)
    assert set(np.unique(drawn)) >= {0, ON_SHOW} and len(set(labels[drawn > 0]) - {0}) >= 12
    whole = widget.work.alike[0]  # is outlined all around, also where it ends with its box
    assert all((drawn[whole.where].take(side, axis) > 0).any() for axis in (0, 1) for side in (0, -1))
    assert "alike" in widget.panel.status.text()
    assert widget.panel.accept.text() == "Take" and widget.panel.none.text() == "Skip"
    n = sum(o.score >= offer.DEFAULT_LINE for o in widget.work.alike)
    assert widget.panel.take_all.text() == f"Take all {n}"
    assert widget.panel.take_all.isEnabled() and widget.panel.accept.isEnabled()
    assert [layer.name for layer in viewer.layers][-1] == "preview", "there is no other layer for them"


def test_the_window_is_cleared_while_they_are_on_show(at_work, qtbot) -> None:
    """What lies over the image came back as it was removed, and clearing, or closing the window, went on for ever."""
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    come = []

    def note(event) -> None:
        come.append(event.value)
        assert len(come) < 5

    viewer.layers.events.inserted.connect(note)
    viewer.layers.clear()
    turned(qtbot)
    viewer.layers.events.inserted.disconnect(note)
    assert not come and not viewer.layers and widget.work.image is None


def test_their_outlines_come_back_where_they_are_deleted(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    drawn = outlined(viewer).copy()
    viewer.layers.remove("preview")
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    assert np.array_equal(outlined(viewer), drawn)


def test_keys_take_and_skip_and_undo_takes_back(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    first = widget.work.alike[0]
    press(qtbot, widget, Qt.Key.Key_K)
    session = widget.work.session
    assert session.max_label == 2 and (session.objects[first.where] == 2).any()
    second = widget.work.alike[0]  # the next one is on show
    assert second.number != first.number and widget.work.alike_in_gallery[1] == 0
    press(qtbot, widget, Qt.Key.Key_N)
    assert len(session.skipped) == 1 and second.number not in {o.number for o in widget.work.alike}
    press(qtbot, widget, Qt.Key.Key_J)
    assert widget.work.alike_in_gallery[1] == 1
    press(qtbot, widget, Qt.Key.Key_U)
    press(qtbot, widget, Qt.Key.Key_U)
    assert session.max_label == 1 and widget.work.alike[0].number in {first.number, second.number}
    assert (outlined(viewer) > 0).any()


def test_one_key_takes_all_above_a_line_that_can_be_moved(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    scores = [o.score for o in widget.work.alike]
    widget.panel.line.setValue(100)
    assert max(scores) < 1 and not widget.panel.take_all.isEnabled(), "there is none to take"
    widget.panel.line.setValue(int(100 * scores[4]))
    n = sum(score >= widget.work.line for score in scores)
    assert 0 < n < len(scores)
    assert np.count_nonzero(outlined(viewer) == LIKELY)
    press(qtbot, widget, Qt.Key.Key_G, Qt.KeyboardModifier.ShiftModifier)
    assert widget.work.session.max_label == 1 + n
    click(qtbot, widget.panel.undo)
    assert widget.work.session.max_label == 1


def test_a_click_in_the_gallery_takes_that_one_and_hovering_shows_it(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    third = widget.work.alike[2]
    widget.panel.gallery.hovered.emit(2)
    assert (outlined(viewer)[third.where] == ON_SHOW).any()
    press(qtbot, widget, Qt.Key.Key_J)  # from there
    fourth = widget.work.alike[3]
    assert (outlined(viewer)[fourth.where] == ON_SHOW).any() and not (outlined(viewer)[third.where] == ON_SHOW).any()
    widget.panel.gallery.hovered.emit(1)
    second = widget.work.alike[1]
    press(qtbot, widget, Qt.Key.Key_N)  # the one on show
    assert second.number not in {o.number for o in widget.work.alike}
    widget.panel.gallery.left.emit()
    third = widget.work.alike[2]
    assert not (outlined(viewer)[third.where] == ON_SHOW).any()
    widget.panel.gallery.chosen.emit(2)
    assert (widget.work.session.objects[third.where] == 2).any()


def test_a_stroke_corrects_the_one_on_show(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    first = widget.work.alike[0]
    middle = [(s.start + s.stop) // 2 for s in first.where]
    widget.work.layers.markers.paint(middle, 1)
    session = widget.work.session
    qtbot.waitUntil(lambda: session.steps[-1].verb == "mark")
    where, shown = session._shown.evidence
    assert shown.shape == tuple(s.stop - s.start for s in where)
    assert (shown == 1).sum() == np.count_nonzero(first.mask)  # what was on show is evidence of the next answer
    assert not widget.work.alike and not (outlined(viewer) > 0).any()  # an object is in work
    threads_ended(qtbot)
    widget.work.finish()
    assert first.number not in {o.number for o in widget.work.alike} or session.max_label == 2
    assert widget.work.alike  # the others are back


def test_by_itself_after_each_finished_object(at_work, qtbot) -> None:
    _, widget, labels = at_work()
    widget.work.switch_more(True)
    widget.work.session.mark(labels == 7)
    widget.work.finish()
    stroke(qtbot, widget, (3, 3))
    assert "given up" not in widget.panel.status.text(), "nobody asked"
    widget.work.undo()
    widget.work.more()
    stroke(qtbot, widget, (3, 3))
    assert "“More like this” was given up" in widget.panel.status.text()
    widget.work.undo()
    widget.work.session.mark(labels == 8)
    widget.work.finish()
    qtbot.waitUntil(lambda: bool(widget.work.alike), timeout=60_000)


def test_by_itself_it_is_silent_while_nothing_is_likely_enough_and_tells_how_to_see_all(
    at_work, qtbot, monkeypatch
) -> None:
    monkeypatch.setattr(offer, "PAYS_FROM", 1.1)
    _, widget, labels = at_work()
    session, looks = widget.work.session, []
    widget.work.asking.alike.connect(looks.append)
    widget.work.switch_more(True)

    def finish(label: int) -> None:
        session.mark(labels == label)
        widget.work.finish()

    finish(7)
    qtbot.waitUntil(lambda: len(looks) == 1, timeout=60_000)
    assert len(session.similar) and not widget.work.alike
    told = widget.panel.status.text()
    assert "Nothing more is likely enough" in told and "press ." in told
    finish(8)  # as it was found: it is looked for anew
    qtbot.waitUntil(lambda: len(looks) == 2, timeout=60_000)
    press(qtbot, widget, Qt.Key.Key_Period)
    qtbot.waitUntil(lambda: bool(widget.work.alike), timeout=60_000)


def test_by_itself_it_falls_silent_as_what_is_likely_was_skipped(at_work, qtbot, monkeypatch) -> None:
    _, widget, labels = at_work()
    widget.work.switch_more(True)
    widget.work.session.mark(labels == 7)
    widget.work.finish()
    qtbot.waitUntil(lambda: bool(widget.work.alike), timeout=60_000)
    monkeypatch.setattr(offer, "PAYS_FROM", widget.work.alike[0].score)
    first = widget.work.alike[0]
    press(qtbot, widget, Qt.Key.Key_N)
    assert first not in widget.work.session.similar.objects
    assert not widget.work.alike and "Nothing more is likely enough" in widget.panel.status.text()
    widget.work.undo()
    assert widget.work.alike[0].number == first.number


def test_a_second_image_begins_with_proposals(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    ask(qtbot, widget)
    other, labels = disks(seed=3)
    viewer.add_image(other, name="the next")
    qtbot.waitUntil(lambda: widget.work.image.name == "the next")
    assert not widget.work.alike
    ask(qtbot, widget)  # though nothing is finished here
    assert len({int(labels[o.where][o.mask].max()) for o in widget.work.alike} - {0}) > 8
    widget.work.take_all()
    assert widget.work.session.max_label > 5


def test_what_was_finished_by_strokes_alone_is_looked_for_in_the_next_image(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    other, labels = disks(seed=3)
    viewer.add_image(other, name="the next")
    qtbot.waitUntil(lambda: widget.work.image.name == "the next")
    ask(qtbot, widget)  # for the first time
    assert len({int(labels[o.where][o.mask].max()) for o in widget.work.alike} - {0}) > 8
    assert widget.work.images.before is None, "the image is not kept any longer"
    widget.work.classify(0, "coin")
    press(qtbot, widget, Qt.Key.Key_K)
    assert [one.kind for one in widget.work.session.finished] == ["coin"], "the class of what is finished from now on"


def test_an_image_with_nothing_like_what_was_finished_before_says_so(at_work, qtbot) -> None:
    viewer, widget, _ = at_work()
    viewer.add_image(np.random.default_rng(0).random((60, 60)), name="noise")
    click(qtbot, widget.panel.more)
    qtbot.waitUntil(lambda: "finished on other images" in widget.panel.status.text(), timeout=60_000)


def test_a_volume_goes_to_the_slice_of_the_one_on_show(at_work, qtbot) -> None:
    viewer, widget, _ = at_work((40, 40, 40), n=2, radius=5, contrast=6)
    ask(qtbot, widget)
    on_show = widget.work.alike[0].where[0]
    assert on_show.start <= viewer.dims.current_step[0] < on_show.stop


def test_what_is_on_show_is_gone_to_also_where_there_are_no_slices(at_work, qtbot, monkeypatch) -> None:
    _, widget, _ = at_work()
    ask(qtbot, widget)
    gone_to: list[tuple[int, ...]] = []
    monkeypatch.setattr(alike, "bring_into_view", lambda viewer, layer, place: gone_to.append(place))
    press(qtbot, widget, Qt.Key.Key_J)
    where = widget.work.alike[1].where
    assert len(gone_to) == 1 and all(s.start <= at < s.stop for s, at in zip(where, gone_to[0], strict=True))


@pytest.mark.parametrize(("shape", "n_moves"), [((160, 160), 0), ((40, 40, 40), 1)])
def test_the_layers_are_drawn_anew_once_where_another_slice_is_gone_to_and_not_at_all_where_there_is_none(
    make_napari_viewer_proxy, shape, n_moves
) -> None:
    viewer, moves = make_napari_viewer_proxy(), []
    layer = viewer.add_labels(np.zeros(shape, np.uint8))
    viewer.dims.events.point.connect(moves.append)
    bring_into_view(viewer, layer, (5,) * len(shape))
    assert len(moves) == n_moves
    bring_into_view(viewer, layer, (5, 8, 9)[: len(shape)])
    assert len(moves) == n_moves, "it is there"


def test_with_an_object_in_work_what_would_be_found_is_not_seen_and_that_is_told(at_work, qtbot) -> None:
    _, widget, _ = at_work()
    stroke(qtbot, widget, (3, 3))
    click(qtbot, widget.panel.more)
    assert widget.panel.status.text().startswith("Finish or undo the object in work first")
    assert widget.work.session.asked != "similar", "the question about its strokes stays"


def test_nothing_to_be_like_and_giving_up_are_sentences(at_work, open_widget, qtbot) -> None:
    _, widget, _ = at_work()
    click(qtbot, widget.panel.more)
    widget.work.cancel()
    threads_ended(qtbot)
    assert not widget.work.alike and "Cancelled" in widget.panel.status.text()
    widget.work.undo()
    widget.work.undo()
    widget.work.more()
    qtbot.waitUntil(lambda: "finish one first" in widget.panel.status.text(), timeout=20_000)
    widget.work.take_all()
    assert "nothing to take" in widget.panel.status.text()


def test_while_others_are_looked_for_none_can_be_taken_and_that_is_told(at_work, qtbot, monkeypatch) -> None:
    _, widget, _ = at_work()
    monkeypatch.setattr(type(widget.work.asking), "is_busy", property(lambda asking: True))
    widget.work.asking.is_for_others = True
    widget.work.take_all()
    assert "still looked for" in widget.panel.status.text()
