"""Candidates keep what is decided, whatever made them."""

import numpy as np
import pytest

from fakes import GrowingProposer
from napari_probseg import Candidates, Case, Marker
from napari_probseg.candidates import checked_request


def case_with_a_dab() -> Case:
    case = Case(np.random.default_rng(0).random((30, 30)))
    inside = np.zeros(case.shape, dtype=bool)
    inside[14:17, 14:17] = True
    outside = np.zeros(case.shape, dtype=bool)
    outside[14:17, 20] = True
    return case.mark(inside, outside)


def test_accepting_gives_the_candidates_partial() -> None:
    case = case_with_a_dab()
    candidates = GrowingProposer().propose(case, 4)
    assert len(candidates) == len(candidates.partial) == 4
    for i in range(4):
        after = candidates.accept(i)
        assert np.array_equal(after.partial, candidates.partial[i])
        assert np.array_equal(after.strokes, case.strokes)
        n_object, n_background = candidates.added(i)
        assert n_object == (after.partial == Marker.OBJECT).sum() - 9
        assert n_background == (after.partial == Marker.BACKGROUND).sum() - 3
    assert np.array_equal(candidates.partial[-1], candidates.partial[3])
    assert len(candidates.partial[1:3]) == 2
    with pytest.raises(IndexError, match="no candidate 4: choose one of 0 to 3"):
        candidates.accept(4)
    for wrong in ("0", None, 1.5, True + 0.5):
        with pytest.raises(IndexError, match="choose one of 0 to 3"):
            candidates.accept(wrong)
    with pytest.raises(IndexError, match="no candidate 7"):
        candidates.partial[7]


def test_uncertainty_is_where_samples_disagree_and_nothing_is_decided() -> None:
    candidates = GrowingProposer().propose(case_with_a_dab(), 4)
    uncertainty = candidates.uncertainty()
    assert uncertainty.shape == (30, 30)
    assert not uncertainty[candidates.case.partial != Marker.UNKNOWN].any()
    assert uncertainty.max() == pytest.approx(1)
    assert uncertainty[0, 0] == 0


def test_what_does_not_fit_is_refused() -> None:
    good = GrowingProposer().propose(case_with_a_dab(), 2)
    parts = {"case": good.case, "where": good.where, "score": good.score, "share": good.share}
    patches, probability = good.patches, good.probability
    changed = patches.copy()
    changed[0, 15, 15] = Marker.BACKGROUND
    with pytest.raises(ValueError, match="changes a decided voxel"):
        Candidates(patches=changed, probability=probability, **parts)
    with pytest.raises(ValueError, match="do not fit a region"):
        Candidates(patches=patches[:, 1:], probability=probability, **parts)
    with pytest.raises(ValueError, match="best first"):
        Candidates(patches=patches, probability=probability, **{**parts, "score": good.score[::-1]})
    for kept in (-1, 2):
        with pytest.raises(ValueError, match=f"no candidate {kept} that could be kept, of 2"):
            Candidates(patches=patches, probability=probability, kept=kept, **parts)


@pytest.mark.parametrize(
    ("n", "seed", "says"),
    [
        (0, 0, "at least one candidate"),
        (1.5, 0, "n must be a whole number, got 1.5"),
        ("8", 0, "n must be a whole number, got '8'"),
        (1, "x", "seed must be a whole number, got 'x'"),
        (1, 2**70, "a seed must fit into 64 bits"),
    ],
)
def test_what_cannot_be_asked_for_is_said(n: object, seed: object, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        checked_request(n, seed)
    assert checked_request(np.int64(3), True) == (3, 1)
