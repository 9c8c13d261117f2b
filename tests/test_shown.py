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

    def test_a_volume_has_none(self) -> None:
        session = ps.Session(ps.Case(np.random.default_rng(0).normal(size=(6, 40, 50))), GrowingProposer())
        inside = np.zeros((6, 40, 50), dtype=bool)
        inside[3, 20, 10] = True
        session.mark(inside=inside)
        session.propose()
        session.mark(inside=np.roll(inside, 5, 2))
        assert session.question().evidence is None


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
