"""The answer on show: the next stroke corrects it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.session import shown
from napari_probseg.strokes import corrects_untold, told


def dab(y: int, x: int) -> np.ndarray:
    mask = np.zeros((40, 50), dtype=bool)
    mask[y - 1 : y + 2, x - 1 : x + 2] = True
    return mask


@pytest.fixture
def session() -> ps.Session:
    session = ps.Session(ps.Case(np.random.default_rng(0).normal(size=(40, 50))), GrowingProposer())
    session.mark(inside=dab(20, 10), outside=dab(2, 40))
    return session


class TestWhatIsOnShow:
    """The next stroke corrects what is on show: that answer is evidence beside the strokes."""

    def test_it_is_evidence_of_the_next_question(self, session: ps.Session) -> None:
        on_show = session.propose().partial[0] == ps.Marker.OBJECT
        session.mark(outside=dab(30, 40))
        where, patch = session.question().evidence
        shown = np.zeros((40, 50), dtype=np.uint8)
        shown[where] = patch
        assert np.array_equal(shown == ps.Marker.OBJECT, on_show)
        assert (shown > 0).all()

    def test_another_one_can_be_looked_at(self, session: ps.Session) -> None:
        on_show = session.propose().partial[1] == ps.Marker.OBJECT
        session.look_at(1)
        session.mark(outside=dab(5, 5))
        where, patch = session.question().evidence
        assert np.array_equal(patch == ps.Marker.OBJECT, on_show[where])
        with pytest.raises(IndexError, match="there is no candidate 7 on offer"):
            session.look_at(7)

    def test_a_stroke_without_an_answer_in_between_corrects_the_same(self, session: ps.Session) -> None:
        session.propose()
        session.mark(outside=dab(30, 40))
        before = session.question().evidence
        session.mark(outside=dab(35, 45))
        assert np.array_equal(session.question().evidence[1], before[1])

    def test_a_choice_ends_it_and_undo_brings_it_back(self, session: ps.Session) -> None:
        session.propose()
        session.mark(outside=dab(30, 40))
        session.propose()
        session.accept(0)
        assert session.question().evidence is None
        session.undo()
        assert session.question().evidence is not None
        session.undo()
        assert session.question().evidence is None

    def test_it_is_saved_and_in_the_script(self, session: ps.Session, tmp_path: Path) -> None:
        session.propose()
        session.mark(outside=dab(30, 40))
        session.save(tmp_path / "session.npz")
        again = ps.Session.load(tmp_path / "session.npz", session.case.image)
        assert np.array_equal(again.question().evidence[1], session.question().evidence[1])
        tifffile.imwrite(tmp_path / "image.tif", session.case.image.astype(np.float32))
        names: dict[str, Any] = {}
        exec(session.script(str(tmp_path / "image.tif")), names)
        replayed = names["session"].question().evidence
        assert replayed[0] == session.question().evidence[0]
        assert np.array_equal(replayed[1], session.question().evidence[1])


def on_slice(z: int, mask: np.ndarray) -> np.ndarray:
    volume = np.zeros((30, 40, 50), dtype=bool)
    volume[z] = mask
    return volume


@pytest.fixture
def volume() -> ps.Session:
    session = ps.Session(ps.Case(np.random.default_rng(0).normal(size=(30, 40, 50))), GrowingProposer())
    session.mark(inside=on_slice(3, dab(20, 10)))
    return session


class TestInAVolume:
    """On a slice, at a time, and in the whole volume the next stroke corrects what is on show, too."""

    def test_it_is_evidence_on_its_slice_alone(self, volume: ps.Session) -> None:
        on_show = volume.propose(plane=(0, 3)).partial[0] == ps.Marker.OBJECT
        volume.mark(outside=on_slice(3, dab(30, 40)))
        asked = volume.question((0, 3)).at((0, 3))
        assert np.array_equal(asked.evidence[1] == ps.Marker.OBJECT, on_show[3])
        assert asked.expected_dice == pytest.approx(0.9)
        for plane in ((0, 4), (1, 20), (2, 10)):
            other = volume.question(plane)
            assert other.evidence is None and other.expected_dice == 0, "a slice across tells of a line at most"
        assert volume.question().evidence is not None

    def test_another_candidate_stays_on_show(self, volume: ps.Session) -> None:
        volume.propose(plane=(0, 3))
        volume.look_at(5)
        volume.mark(outside=on_slice(3, dab(38, 48)))
        volume.propose(plane=(0, 3), seed=0)
        assert volume.looked_at == 5 and volume.is_chosen

    def test_of_slices_far_apart_no_more_is_kept_than_of_two(self, volume: ps.Session) -> None:
        volume.propose(plane=(0, 3))
        volume.mark(inside=on_slice(3, dab(10, 10)))
        before = volume.question((0, 3)).evidence
        volume.mark(inside=on_slice(27, dab(20, 10)))
        volume.propose(plane=(0, 27))
        step = volume.mark(inside=on_slice(27, dab(10, 10)))
        kept = [change for change in step.changes if change.name == "shown"]
        assert sum(change.after.size for change in kept) == 2 * 40 * 50
        assert volume.question((0, 3)).evidence is None and volume.question((0, 27)).evidence is not None
        for _ in range(2):
            volume.undo()
        assert np.array_equal(volume.question((0, 3)).evidence[1], before[1])

    def test_of_a_large_answer_what_lies_near_the_object_is_kept(
        self, volume: ps.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        everywhere, mask = (slice(0, 30), slice(0, 40), slice(0, 50)), np.zeros((30, 40, 50), dtype=bool)
        mask[10:14, 10:30, 10:30] = True
        for most, where in ((60000, everywhere), (12000, np.s_[7:17, 3:37, 3:37]), (5000, None)):
            monkeypatch.setattr(shown, "MAX_VOXELS", most)
            volume.mark(outside=on_slice(12, dab(20, 20)), shown=(everywhere, mask, 0.8))
            evidence = volume.question().evidence
            assert (evidence and evidence[0]) == where
            volume.undo()

    def test_a_slice_of_it_lies_over_what_was_taken(self) -> None:
        session = ps.Session(ps.Case(np.random.default_rng(0).normal(size=(30, 40, 50))), GrowingProposer())
        taken = np.zeros((30, 40, 50), dtype=bool)
        taken[2:8, 10:30, 10:30] = True
        session.take(taken * 1)
        session.reopen(1)
        session.mark(outside=on_slice(3, dab(20, 28)))
        session.propose(plane=(0, 3))
        on_show = session.candidates.partial[0][3] == ps.Marker.OBJECT
        session.mark(outside=on_slice(5, dab(20, 28)))
        asked = session.question()
        assert corrects_untold(asked)
        where, markers = asked.evidence
        found = np.zeros(asked.shape, dtype=np.uint8)
        found[where] = markers
        is_object, opened = found == ps.Marker.OBJECT, found > 0
        assert np.array_equal(is_object[3] & opened[3], on_show & opened[3])
        assert np.array_equal(is_object[6], taken[6] & opened[6]) and is_object[6].any()
        assert np.array_equal(session.question((0, 5)).evidence[1][0] == ps.Marker.OBJECT, taken[5])


class TestWhatNoStrokesTell:
    """What was carried, followed or found alike changes near the correction alone."""

    def test_what_is_carried_was_taken_for_the_object(self, volume: ps.Session) -> None:
        for z in (3, 4):
            volume.mark(inside=on_slice(z, dab(20, 10)))
        volume.carry(plane=(0, 3))
        volume.mark(outside=on_slice(5, dab(30, 40)))
        assert corrects_untold(volume.question())

    def test_what_was_chosen_in_a_volume_stays_but_for_corrections(self, volume: ps.Session) -> None:
        for looked_at in (0, 2):
            volume.offer(GrowingProposer().propose(volume.question(), plane=(0, 3)))
            volume.look_at(looked_at)
            volume.mark(outside=on_slice(3, dab(30, 40)))
            assert corrects_untold(volume.question()) == (looked_at > 0)
            volume.undo()

    def test_what_strokes_tell_was_not_however_sure_it_is(self, session: ps.Session) -> None:
        candidates = replace(
            GrowingProposer().propose(session.question()), score=np.ones(8, dtype=np.float32) * told(1.0)
        )
        session.offer(candidates)
        session.mark(outside=dab(30, 40))
        assert not corrects_untold(session.question()) and session.question().expected_dice == pytest.approx(told(1.0))


class TestWhatWasChosen:
    """A person turned to another candidate than the first: that stays on show where the first departs from it."""

    def test_it_is_held_by_the_candidate_that_is_most_like_it(self, session: ps.Session) -> None:
        session.propose()
        assert session.looked_at == 0 and not session.is_chosen
        session.look_at(5)
        chosen = session.candidates.partial[5] == ps.Marker.OBJECT
        session.mark(outside=dab(38, 48))
        candidates = session.propose(seed=0)
        assert session.looked_at == 5 and session.is_chosen
        assert np.array_equal((candidates.partial[5] == ps.Marker.OBJECT)[:, :40], chosen[:, :40])
        session.mark(outside=dab(38, 44))
        session.propose(seed=0)
        assert session.looked_at == 5, "as long as nobody turns to another one"
        session.look_at(0)
        session.mark(outside=dab(38, 40))
        session.propose(seed=0)
        assert session.looked_at == 0

    def test_the_first_is_on_show_where_it_is_like_what_was_chosen(self, session: ps.Session) -> None:
        session.propose(2)
        session.look_at(1)
        session.mark(outside=dab(38, 48))
        first = session.propose(8, seed=2).partial[0] == ps.Marker.OBJECT
        assert first.any() and session.looked_at == 0 and not session.is_chosen

    @pytest.mark.parametrize(("n_strokes", "looked_at", "on_show"), [(2, 1, 0), (2, 7, 2), (3, 1, 2)])
    def test_it_stays_corrected_from_the_third_stroke_on_or_where_it_would_be_lost(
        self, n_strokes: int, looked_at: int, on_show: int
    ) -> None:
        session = ps.Session(ps.Case(np.random.default_rng(0).normal(size=(40, 50))), GrowingProposer())
        for i in range(n_strokes - 1):
            session.mark(inside=dab(20, 10 + 6 * i))
        session.propose()
        session.look_at(looked_at)
        session.mark(outside=dab(38, 48))
        session.offer(replace(GrowingProposer().propose(session.question()), kept=2))
        assert session.looked_at == on_show and session.is_chosen == (on_show > 0)

    def test_it_ends_with_a_choice(self, session: ps.Session) -> None:
        session.propose()
        session.look_at(5)
        session.mark(outside=dab(38, 48))
        session.propose()
        session.accept(5)
        session.mark(inside=dab(38, 20))
        session.propose()
        assert session.looked_at == 0 and not session.is_chosen


class TestWhatIsExpectedOfIt:
    """How good the answer on show is expected to be goes with it: what is nearly right is not overthrown."""

    def test_it_goes_with_the_question(self, session: ps.Session, tmp_path: Path) -> None:
        candidates = session.propose()
        session.look_at(1)
        session.mark(outside=dab(30, 40))
        expected = pytest.approx(candidates.score[1], abs=1e-4)
        assert session.question().expected_dice == expected
        session.mark(outside=dab(35, 45))
        assert session.question().expected_dice == expected, "a stroke without an answer in between corrects the same"
        session.save(tmp_path / "session.npz")
        again = ps.Session.load(tmp_path / "session.npz", session.case.image)
        assert again.question().expected_dice == expected
        tifffile.imwrite(tmp_path / "image.tif", session.case.image.astype(np.float32))
        names: dict[str, Any] = {}
        exec(session.script(str(tmp_path / "image.tif")), names)
        assert names["session"].question().expected_dice == expected

    def test_undo_takes_it_back(self, session: ps.Session) -> None:
        session.propose()
        session.mark(outside=dab(30, 40))
        assert session.question().expected_dice > 0
        session.undo()
        assert session.question().expected_dice == 0

    def test_a_person_who_tells_what_was_on_show_may_tell_that_too(self, session: ps.Session) -> None:
        where, mask = (slice(0, 20), slice(0, 20)), np.ones((20, 20), dtype=bool)
        session.mark(outside=dab(30, 40), shown=(where, mask))
        assert session.question().expected_dice == 0
        session.mark(outside=dab(35, 40), shown=(where, mask, 0.8))
        assert session.question().expected_dice == 0.8

    def test_it_lasts_as_long_as_the_evidence(self, session: ps.Session) -> None:
        session.propose()
        session.mark(outside=dab(30, 40))
        question = session.question()
        assert question.mark(inside=dab(10, 10)).expected_dice == 0
        assert question.with_evidence(*question.evidence).expected_dice == 0
