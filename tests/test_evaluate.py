"""The protocol for interaction: the annotator, the methods, the tables."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import drawn
import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.dataset.raw import LabelledImage
from napari_probseg.dataset.targets import Target, whole_targets
from napari_probseg.evaluate import methods as methods_module
from napari_probseg.evaluate.interaction import interact, strokes_on
from napari_probseg.evaluate.methods import OTHERS, OURS, Answering, Proposing, methods_of
from napari_probseg.evaluate.samples import diversity, score_samples
from napari_probseg.evaluate.tables import calibration_error
from napari_probseg.simulate.annotator import box, scribble

SHAPE = (48, 56)
NOTHING = np.zeros(SHAPE, dtype=bool)
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def disk(y: int = 24, x: int = 24, radius: float = 12, shape: tuple[int, ...] = SHAPE) -> Mask:
    return drawn.disk(shape, (y, x), radius)


def target_of(label: np.ndarray[Any, Any], value: int = 1, spacing: tuple[float, ...] | None = None) -> Target:
    noise = np.random.default_rng(0).normal(0, 4, label.shape)
    image = (60 + 60 * label + noise).astype(np.float32)[None]
    return Target("a", image, label == value, spacing or (1.0,) * label.ndim, label.astype(np.int32))


ONE = target_of(disk().astype(np.int32))


class Always:
    """A play that answers the same whatever is drawn, and keeps what was drawn."""

    def __init__(self, answer: Mask, offers: Sequence[Mask] = ()) -> None:
        self.answer, self.offers, self.drawn = answer, list(offers), list[tuple[Mask, Mask]]()

    def mark(self, inside: Mask, outside: Mask) -> Mask:
        self.drawn.append((inside, outside))
        return self.answer

    def offered(self) -> Sequence[Mask]:
        return self.offers if self.drawn else []

    def choose(self, i: int) -> Mask:
        return self.offers[i]


# The annotator --------------------------------------------------------------------------------------------------------


def test_a_perfect_oracle_gets_1_and_an_idle_method_gets_0() -> None:
    perfect, idle = (interact(Always(answer), ONE, n=5) for answer in (ONE.truth, NOTHING))
    assert [i.dice for i in perfect] == [1.0] * 5 and [i.verb for i in perfect] == ["mark"] + ["rest"] * 4
    assert [i.dice for i in idle] == [0.0] * 5 and {i.verb for i in idle} == {"mark"}


def test_strokes_alone_are_obeyed_by_every_method() -> None:
    found = interact(Answering(ONE.case(), lambda case: np.zeros(case.shape, dtype=bool)), ONE, n=4)
    assert 0 < found[0].dice < found[1].dice < found[2].dice < found[3].dice < 1
    never = Answering(ONE.case(), lambda case: np.ones(case.shape, dtype=bool))
    interact(never, ONE, n=3)
    assert (never.case.strokes[ONE.truth] != ps.Marker.BACKGROUND).all()
    assert (never.case.strokes[~ONE.truth] != ps.Marker.OBJECT).all()


def test_the_first_mark_is_the_same_for_all_and_each_has_its_own_afterwards() -> None:
    half = ONE.truth & (np.arange(SHAPE[1]) < 24)
    plays = [Always(NOTHING), Always(half), Always(~ONE.truth), Always(ONE.truth)]
    for play in plays:
        interact(play, ONE, n=2)
    first = [play.drawn[0] for play in plays]
    assert all(np.array_equal(inside, first[0][0]) and not outside.any() for inside, outside in first)
    assert first[0][0][24, 24]
    assert len(plays[3].drawn) == 1, "nothing to correct"
    assert plays[1].drawn[1][0].any() and not (plays[1].drawn[1][0] & half).any()
    assert plays[2].drawn[1][1].any(), "the largest error lies outside"


def test_of_equal_errors_the_first_is_marked_and_always_the_same() -> None:
    two = target_of((disk(24, 12, 8) | disk(24, 40, 8)).astype(np.int32))
    marks = [strokes_on(NOTHING, two, marks="dabs", is_first=True) for _ in range(2)]
    assert marks[0] is not None and marks[1] is not None and marks[0][0][24, 12] and not marks[0][0][:, 28:].any()
    np.testing.assert_array_equal(marks[0][0], marks[1][0])


def test_a_candidate_is_chosen_only_where_it_is_worth_an_interaction() -> None:
    half, most = disk(radius=8), disk(radius=11)
    play = Always(half, offers=[NOTHING, most, half])
    found = interact(play, ONE, n=4)
    assert [i.verb for i in found] == ["mark", "choose", "mark", "choose"]
    assert found[1].dice == ps.metrics.dice(most, ONE.truth) > found[0].dice
    hardly = interact(Always(most, offers=[most | (disk(radius=11.4) & (np.arange(56) < 13))]), ONE, n=3)
    assert [i.verb for i in hardly] == ["mark"] * 3


def test_scribbles_run_through_the_middle_and_stay_on_their_side() -> None:
    bar = NOTHING.copy()
    bar[20:27, 6:50] = True
    drawn = scribble(NOTHING, bar)
    assert drawn is not None and not drawn[1].any() and not (drawn[0] & ~bar).any()
    assert drawn[0].any(0).sum() > 20, "most of its length"
    assert drawn[0][23].sum() == drawn[0].any(0).sum() and not drawn[0][:, :10].any() and not drawn[0][:, 46:].any()
    outside = scribble(np.ones_like(bar), bar)
    assert outside is not None and outside[1].any() and not (outside[1] & bar).any()
    assert scribble(bar, bar) is None
    volume = np.zeros((9, 20, 20), dtype=bool)
    volume[4, 4:16, 10] = True
    assert scribble(np.zeros_like(volume), volume, spacing=(2, 1, 1))[0].any()  # type: ignore[index]


def test_a_box_lies_around_the_object() -> None:
    outline = box(disk(radius=6))
    rows, columns = np.nonzero(outline)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 32, 16, 32)
    assert not (outline & disk(radius=6)).any() and not outline[18:31, 18:31].any()
    at_the_border = box(disk(2, 24, 6))
    assert not at_the_border[0].all() and at_the_border[0].any(), "the sides go on to the border of the image"
    play = Always(NOTHING)
    interact(play, ONE, n=2, marks="box")
    assert not play.drawn[0][0].any() and play.drawn[0][1].any() and play.drawn[1][0].any()
    with pytest.raises(ValueError, match="marks are dabs, scribbles, box, got 'lasso'"):
        interact(play, ONE, marks="lasso")


def test_volumes_have_dabs_in_mm_and_surface_distances() -> None:
    label = np.zeros((9, 40, 40), dtype=np.int32)
    label[2:7, 10:30, 10:30] = 1
    target = target_of(label, spacing=(4.0, 1.0, 1.0))
    play = Always(label * 0 > 0)
    found = interact(play, target, n=1)
    inside = play.drawn[0][0]
    assert inside.any((1, 2)).sum() == 1 and inside[4, 19:21, 19:21].any(), (
        "a ball of less than 4 mm is within one slice"
    )
    assert found[0].hd95 == np.inf and np.isnan(interact(Always(ONE.truth), ONE, n=1)[0].hd95)
    shifted = interact(Always(np.roll(label, 1, 0) > 0), target, n=1)
    assert shifted[0].hd95 == 4.0


# The methods ----------------------------------------------------------------------------------------------------------


without_peers = pytest.mark.skipif(not (find_spec("cv2") and find_spec("sklearn")), reason="no extra 'peers'")
PEERS = [pytest.param(n, marks=without_peers if n in ("GrabCut", "random forest") else ()) for n in OTHERS]


@pytest.mark.parametrize("name", ["graphcut", *PEERS])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_method_without_network_gets_a_plain_disk(name: str, n_channels: int) -> None:
    target = Target("a", np.repeat(ONE.image, n_channels, 0), ONE.truth, ONE.spacing, ONE.label)
    found = interact(methods_of([name])[name](target), target, n=5)
    assert found[-1].dice > 0.9


@pytest.mark.parametrize("name", PEERS)
def test_peers_take_strokes_of_one_kind(name: str) -> None:
    for side in (0, 1):
        play = methods_of([name])[name](ONE)
        marks = [disk(radius=3) & ONE.truth, disk(5, 50, 3) & ~ONE.truth]
        result = play.mark(*(mask if i == side else NOTHING for i, mask in enumerate(marks)))
        assert result.shape == SHAPE and result.dtype == bool
        assert result[24, 24] == (side == 0) or side == 1
        assert not result[5, 50] or side == 0


def test_choices_go_through_a_session_and_strokes_correct_them() -> None:
    found = interact(Proposing(ONE.case(), GrowingProposer()), ONE, n=12)
    assert found[0].verb == "mark" and found[1].verb == "choose"
    assert found[1].dice > 0.85 and {i.verb for i in found} >= {"mark", "choose"}
    assert found[0].best == found[1].dice > found[0].dice, "the first is on show, the best on offer"


def test_what_was_chosen_is_on_show_and_corrected_by_the_next_stroke() -> None:
    play = Proposing(ONE.case(), GrowingProposer())
    play.mark(disk(radius=3) & ONE.truth, NOTHING)
    offered = list(play.offered())
    chosen = play.choose(len(offered) - 1)
    assert (chosen == offered[-1]).all() and len(play.offered()) == len(offered), "the others stay on offer"
    play.mark(NOTHING, disk(5, 50, 3) & ~ONE.truth)
    evidence = play.session.question().evidence
    assert evidence is not None and (evidence[1] == ps.Marker.OBJECT).sum() == chosen.sum()


class Learning:
    """A completer that takes everything for the object, and counts how often it has learnt."""

    def __init__(self, n: int = 0) -> None:
        self.n = n

    def propose(self, case: ps.Case, n: int = 1, **_: Any) -> ps.Candidates:
        patch = np.where(case.partial == ps.Marker.UNKNOWN, np.uint8(ps.Marker.OBJECT), case.partial)[None]
        whole, one = tuple(slice(0, m) for m in case.shape), np.ones(1, dtype=np.float32)
        return ps.Candidates(case, whole, patch, one, one, np.ones(case.shape, dtype=np.float32))

    def adapt(self, case: ps.Case) -> "Learning":
        assert len(np.unique(case.strokes)) == 3
        return Learning(self.n + 1)


def test_a_completer_learns_every_few_marks() -> None:
    play = methods_module.Adapting(ONE.case(), Learning())
    before = play.completer
    interact(play, ONE, n=11)
    assert play.completer.n == 2 and before.n == 0


def test_slice_by_slice_one_mark_completes_the_slice_that_it_is_on() -> None:
    truth = np.stack([disk()] * 5)
    target = Target("a", truth[None].astype(np.float32), truth, (1.0, 1.0, 1.0), truth.astype(np.int32))
    play = methods_module.Slicewise(target.case(), OfIntensity())
    first = play.mark(*(strokes_on(np.zeros_like(truth), target, marks="dabs", is_first=True) or ()))
    assert np.array_equal(first[2], truth[2]) and not first[[0, 1, 3, 4]].any() and play.case.strokes[[0, 4]].max() == 0
    found = interact(methods_module.Slicewise(target.case(), OfIntensity()), target, n=6)
    assert [i.verb for i in found] == ["mark"] * 5 + ["rest"]


class OfIntensity:
    """A completer of things that are brighter than one half."""

    def propose(self, case: ps.Case, n: int = 1, *, seed: int = 0, plane: Any = None) -> ps.Candidates:
        bright = np.where(case.read()[0] > 0.5, np.uint8(ps.Marker.OBJECT), np.uint8(ps.Marker.BACKGROUND))
        patch = np.where(case.partial == ps.Marker.UNKNOWN, bright, case.partial)[None]
        whole, one = tuple(slice(0, m) for m in case.shape), np.ones(1, dtype=np.float32)
        return ps.Candidates(case, whole, patch, one, one, np.ones(case.shape, dtype=np.float32))


def test_methods_are_chosen_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods_module, "find_spec", lambda name: True)
    assert tuple(methods_of()) == (*OURS, *OTHERS) and "GrabCut" not in methods_of(ndim=3)
    with pytest.raises(ValueError, match="no method 'magic' in 2-D: name some of propose, complete"):
        methods_of(["magic"])
    monkeypatch.setattr(methods_module, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'napari-probseg\[peers\]'"):
        methods_of()
    assert list(methods_of(["complete", "watershed"])) == ["complete", "watershed"]


# The objects ----------------------------------------------------------------------------------------------------------


def test_what_strokes_may_mean() -> None:
    label = np.zeros(SHAPE, dtype=np.int32)
    label[10:20, 10:20], label[10:20, 20:30], label[40:46, 40:46] = 1, 2, 1  # touching another label, and a second part
    inside = NOTHING.copy()
    inside[15, 15] = True
    sizes = [int(r.sum()) for r in target_of(label).readings(inside, NOTHING)]
    assert sizes == [136, 100, 236]  # the label, its part, all; with what it touches is all
    outside = NOTHING.copy()
    outside[15, 25] = True
    assert [int(r.sum()) for r in target_of(label).readings(inside, outside)] == [136, 100]
    instances = target_of((np.arange(1, 4)[:, None] * np.eye(3, dtype=int)).repeat(8, 0).repeat(8, 1), 2)
    spot = np.zeros_like(instances.truth)
    spot[12, 12] = True
    assert [int(r.sum()) for r in instances.readings(spot, spot & False)] == [64, 192]


def test_objects_together_and_the_borders_between_them_are_targets() -> None:
    label = np.kron(np.arange(1, 10).reshape(3, 3), np.ones((8, 8), dtype=int)).astype(np.int32)
    label[:, :4] = 0
    case = LabelledImage("c", np.zeros((1, 24, 24), np.float32), label, (1.0, 1.0), True)
    together, borders = whole_targets(case)
    assert (together.truth == (label > 0)).all()
    assert borders.truth[:, 3:5].all() and borders.truth[7:9, 4:].all() and not borders.truth[2:6, 10:14].any()
    alone = LabelledImage("c", case.image, disk(12, 12, 5, (24, 24)).astype(np.int32), (1.0, 1.0), True)
    assert [int(t.truth.sum()) for t in whole_targets(alone)] == [int((alone.label > 0).sum())]
    volume = LabelledImage(
        "v", np.zeros((1, 3, 24, 24), np.float32), np.stack([label * 0, label, label * 0]), (3.0, 1.0, 1.0), True
    )
    assert [t.truth.shape for t in whole_targets(volume)] == [(24, 24), (24, 24)]
    assert not list(whole_targets(LabelledImage("e", case.image, label * 0, (1.0, 1.0), True)))


# The candidates -------------------------------------------------------------------------------------------------------


def test_candidates_are_scored_by_the_best_and_by_what_they_cover() -> None:
    label = disk(radius=12).astype(np.int32)
    label[(label == 0) & disk(radius=16)] = 2  # nested
    score, promises = score_samples(GrowingProposer(), target_of(label))
    assert score.n_candidates == 8 and score.best >= score.first and score.best > 0.9
    assert score.mean <= score.best and 0 < score.diversity < 1 and np.isnan(score.control)
    assert score.n_readings == 1 or (np.isfinite(score.energy_distance) and 0 <= score.coverage <= 1)
    assert sum(p.n for p in promises if p.of == "candidate") == 8
    assert all(0 <= p.n_true <= p.n and 0 <= p.bin < 10 for p in promises)


def test_the_calibration_error_is_how_far_shares_are_from_what_is_true() -> None:
    rows = [
        {"of": "voxel", "bin": 0, "n": 100, "n_true": 5},
        {"of": "voxel", "bin": 9, "n": 60, "n_true": 57},
        {"of": "voxel", "bin": 9, "n": 40, "n_true": 38},
        {"of": "candidate", "bin": 4, "n": 8, "n_true": 0},
    ]
    assert calibration_error(rows, "voxel") == pytest.approx(0)
    assert calibration_error([*rows, {"of": "voxel", "bin": 5, "n": 200, "n_true": 200}], "voxel") == pytest.approx(
        0.225
    )
    assert calibration_error(rows, "candidate") == pytest.approx(0.45)
    assert np.isnan(calibration_error([], "voxel"))
    assert diversity([ONE.truth]) == 0 and diversity([ONE.truth, NOTHING]) == 1
