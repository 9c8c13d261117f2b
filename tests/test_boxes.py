"""Boxes around the object of a session: what one draws, and what it takes the place of."""

from __future__ import annotations

import numpy as np
import pytest

from napari_probseg import Case, Session
from napari_probseg.case import Marker
from napari_probseg.session.boxes import framed


def session_of(*shape):
    return Session(Case(np.zeros(shape, np.float32)))


def frame_of(shape, *boxes):
    marked = np.zeros(shape, bool)
    for box in boxes:
        where, mask = framed(box, shape)
        marked[where] |= mask
    return marked


SMALL, LARGE, APART = np.s_[20:30, 20:30], np.s_[15:35, 12:40], np.s_[45:55, 45:55]


def outside(session):
    assert np.array_equal(session.case.partial, session.case.strokes)
    return session.case.strokes == Marker.BACKGROUND


def test_a_box_takes_the_place_of_the_one_that_it_meets_in_one_step():
    session = session_of(60, 60)
    for box in (SMALL, APART, LARGE, SMALL):
        session.box(box)
    assert np.array_equal(outside(session), frame_of((60, 60), SMALL, APART))
    session.undo()
    assert np.array_equal(outside(session), frame_of((60, 60), LARGE, APART))
    session.undo()
    assert np.array_equal(outside(session), frame_of((60, 60), SMALL, APART))
    session.redo()
    assert np.array_equal(outside(session), frame_of((60, 60), LARGE, APART))


def test_what_is_brushed_stays_where_a_box_is_drawn_anew():
    session = session_of(60, 60)
    session.box(SMALL)
    session.mark(inside=np.ones((12, 2), bool), where=np.s_[19:31, 24:26])  # over the frame
    session.mark(outside=np.ones((1, 3), bool), where=np.s_[25:26, 21:24])
    session.box(LARGE)
    strokes = session.case.strokes
    assert (strokes[19:31, 24:26] == Marker.OBJECT).all() and (strokes[25, 21:24] == Marker.BACKGROUND).all()
    strokes = strokes.copy()
    strokes[25, 21:24] = strokes[19:31, 24:26] = Marker.UNKNOWN
    assert np.array_equal(strokes == Marker.BACKGROUND, frame_of((60, 60), LARGE))


def test_boxes_on_other_slices_stand_side_by_side():
    session = session_of(9, 60, 60)
    boxes = [np.s_[3:4, 20:30, 20:30], np.s_[5:6, 20:30, 20:30], np.s_[2:8, 20:30, 25:26]]
    for box in boxes:
        session.box(box)
    assert np.array_equal(outside(session), frame_of((9, 60, 60), *boxes))
    session.box(np.s_[5:6, 15:35, 12:40])
    assert np.array_equal(outside(session)[3], frame_of((9, 60, 60), boxes[0], boxes[2])[3])
    assert not outside(session)[5, 18:20, 20].any()


def test_finished_objects_hold_against_a_box_and_their_boxes_are_done_with():
    session = session_of(60, 60)
    session.box(SMALL)
    session.mark(inside=np.ones((4, 4), bool), where=np.s_[24:28, 24:28])
    session.finish()
    session.mark(outside=np.ones((2, 14), bool), where=np.s_[18:20, 18:32])  # by hand, where the frame was
    session.box(np.s_[26:40, 15:40])
    session.box(LARGE)
    assert (session.case.strokes[18:20, 18:32] == Marker.BACKGROUND).all()
    assert (session.objects[24:28, 24:28] == 1).all() and (session.case.strokes[24:28, 24:28] == Marker.UNKNOWN).all()
    assert (session.case.partial[24:28, 24:28] == Marker.BACKGROUND).all()


def test_a_box_goes_around_what_is_decided_by_an_answer_too():
    case = Case(np.zeros((60, 60), np.float32))
    session = Session(case.decide(np.s_[0:60, 0:60], np.full((60, 60), Marker.BACKGROUND, np.uint8)))
    session.box(SMALL)
    assert np.array_equal(session.case.strokes == Marker.BACKGROUND, frame_of((60, 60), SMALL))


def test_boxes_are_kept_in_files_and_written_in_scripts(tmp_path):
    session = session_of(60, 60)
    session.box(SMALL)
    session.save(tmp_path / "work.npz")
    again = Session.load(tmp_path / "work.npz", np.zeros((60, 60), np.float32))
    again.box(LARGE)
    assert np.array_equal(outside(again), frame_of((60, 60), LARGE))
    assert again.script().count("session.mark(") == 2


def test_a_box_around_the_whole_image_is_refused():
    session = session_of(60, 60)
    with pytest.raises(ValueError, match="whole image"):
        session.box(np.s_[0:60, 0:60])
    assert not session.steps
