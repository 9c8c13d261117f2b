"""What a correction opens again, and what it leaves alone."""

import numpy as np
import pytest

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.session import correction
from napari_probseg.strokes import corrects_untold

SHAPE = (40, 40)


def box(y: slice, x: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[y, x] = True
    return mask


def dab(y: int, x: int, r: int = 1) -> np.ndarray:
    return box(slice(y - r, y + r + 1), slice(x - r, x + r + 1))


@pytest.fixture
def leaked() -> ps.Session:
    """A dab inside and an accepted candidate that reaches from it to column 27."""
    session = ps.Session(ps.Case(np.random.default_rng(0).random(SHAPE)), GrowingProposer())
    session.mark(dab(20, 10))
    session.propose(8)
    session.accept(7)
    assert (session.case.partial[20, 10:28] == ps.Marker.OBJECT).all(), "test invalid"
    return session


def n_opened(session: ps.Session) -> int:
    return int(np.count_nonzero(session.question().partial != session.case.partial))


def test_without_a_contradiction_the_question_is_the_case(leaked: ps.Session) -> None:
    leaked.mark(inside=dab(20, 12), outside=dab(3, 37))
    assert leaked.question() is leaked.case


def test_a_contradiction_opens_all_that_was_accepted_and_keeps_it_as_evidence(leaked: ps.Session) -> None:
    wrong, before = dab(20, 24), leaked.case.partial.copy()
    leaked.mark(outside=wrong)
    asked = leaked.question()
    strokes = leaked.case.strokes > 0
    assert (asked.partial[~strokes] == ps.Marker.UNKNOWN).all()
    assert (asked.partial[strokes] == leaked.case.strokes[strokes]).all(), "strokes hold"
    everywhere = (slice(0, 40),) * 2
    assert np.array_equal(asked.accepted(everywhere)[~strokes], before[~strokes])
    assert not asked.accepted(everywhere)[strokes].any()
    assert leaked.case.evidence is None, "the case itself has decided as before until something is accepted"


def test_evidence_is_gone_once_something_is_accepted(leaked: ps.Session) -> None:
    leaked.mark(outside=dab(20, 24))
    leaked.propose(4)
    leaked.accept(0)
    assert leaked.case.evidence is None
    assert leaked.question() is leaked.case


def test_a_stroke_that_begins_outside_is_one_correction(leaked: ps.Session) -> None:
    assert leaked.case.partial[15, 20] == ps.Marker.OBJECT != leaked.case.partial[15, 27], "test invalid"
    leaked.mark(outside=box(slice(10, 21), slice(27, 28)))
    assert leaked.question().partial[15, 20] == ps.Marker.UNKNOWN, "what lies beside its outer part opens too"


def test_a_stroke_that_contradicts_nothing_opens_nothing(leaked: ps.Session) -> None:
    leaked.mark(outside=box(slice(2, 3), slice(0, 20)))
    assert leaked.question() is leaked.case


def test_a_correction_painted_over_again_counts_no_more(leaked: ps.Session) -> None:
    leaked.mark(outside=dab(20, 20))
    assert n_opened(leaked), "test invalid"
    leaked.mark(inside=dab(20, 20))
    assert not n_opened(leaked)


def test_taking_other_objects_keeps_the_correction(leaked: ps.Session) -> None:
    leaked.mark(outside=dab(20, 20))
    before = n_opened(leaked)
    leaked.take(dab(36, 36) * 1)
    assert n_opened(leaked) == before > 0


@pytest.mark.parametrize("marker", ["inside", "outside"])
def test_a_reopened_object_without_a_stroke_is_evidence_once_it_is_contradicted(marker: str) -> None:
    session = ps.Session(ps.Case(np.random.default_rng(0).random(SHAPE)), GrowingProposer())
    session.mark(dab(20, 20, 8))
    session.finish()
    session.reopen(1)
    session.mark(**{marker: dab(20, 26)})
    asked = session.question()
    assert corrects_untold(asked), "but for this correction it was taken for the object"
    if marker == "inside":
        assert asked.partial is session.case.partial
        return
    assert asked.partial[20, 13] == ps.Marker.UNKNOWN
    assert asked.accepted((slice(0, 40),) * 2)[20, 13] == ps.Marker.OBJECT


def test_finished_objects_are_never_opened(leaked: ps.Session) -> None:
    locked = dab(10, 20)
    leaked.take(locked * 1)
    leaked.mark(outside=dab(20, 20))
    assert (leaked.question().partial[locked] == ps.Marker.BACKGROUND).all()


@pytest.mark.parametrize("plane", [(0, 5), (3, 0), (0, -1)])
def test_there_is_no_such_plane(plane: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="has no plane"):
        ps.Session(ps.Case(np.zeros((5, 40, 40)))).question(plane)
    with pytest.raises(ValueError, match="has no plane"):
        ps.Session(ps.Case(np.zeros(SHAPE))).question((0, 0))


@pytest.mark.parametrize("is_vast", [False, True])
def test_a_volume_opens_whole_or_if_that_is_vast_around_the_object(
    is_vast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = np.full((60, 40, 40), ps.Marker.BACKGROUND, dtype=np.uint8)
    partial[25:35, 15:25, 5:30] = ps.Marker.OBJECT
    session = ps.Session(ps.Case(np.random.default_rng(0).random(partial.shape), partial=partial))
    outside = np.zeros(partial.shape, dtype=bool)
    outside[30, 19:22, 27] = True
    session.mark(outside=outside)
    if is_vast:
        monkeypatch.setattr(correction, "MAX_VOXELS", 1000)
    opened = session.question().partial != session.case.partial
    assert not opened[outside].any() and opened[25:35, 10:30, 2:35].mean() > 0.99
    assert opened[:15].any() == opened[45:].any() == (not is_vast)


def test_what_its_own_strokes_tell_is_made_anew_and_what_none_tell_was_taken_for_the_object() -> None:
    session = ps.Session(ps.Case(np.random.default_rng(0).random(SHAPE)), GrowingProposer())
    session.mark(dab(20, 20))
    session.propose()
    session.accept()
    accepted = session.case.partial == ps.Marker.OBJECT
    session.mark(outside=dab(20, 23))
    assert not corrects_untold(session.question())
    session.undo()
    session.finish()
    session.reopen(1)
    session.mark(outside=dab(20, 23))
    asked = session.question()
    where, markers = asked.evidence
    shown = np.zeros(SHAPE, dtype=bool)
    shown[where] = markers == ps.Marker.OBJECT
    assert accepted[20, 22:24].any() and (shown == accepted).all(), "under the stroke, too"
    assert corrects_untold(asked)


def test_a_slice_that_an_object_was_carried_to_was_taken_for_it() -> None:
    partial = np.zeros((3, *SHAPE), dtype=np.uint8)
    partial[:, 10:30, 10:30] = ps.Marker.OBJECT
    session = ps.Session(ps.Case(np.random.default_rng(0).random(partial.shape), partial=partial))
    stroke = np.zeros(partial.shape, dtype=bool)
    stroke[1, 19:21, 28:30] = True
    session.mark(outside=stroke)
    asked = session.question((0, 1))
    assert corrects_untold(asked) and (asked.evidence[1][0, 10:30, 10:30] == ps.Marker.OBJECT).all()
    assert asked.partial[1, 20, 20] == ps.Marker.UNKNOWN and asked.partial[0, 20, 29] == ps.Marker.OBJECT
