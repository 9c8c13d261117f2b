"""What more like this is made of: frames, seeds, forms, facts, and what decisions make of an offer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.region import grown
from napari_probseg.similar import Part, Query, Similar, SimilarObject, border
from napari_probseg.similar.completion import Answer
from napari_probseg.similar.examples import form_of
from napari_probseg.similar.features import View
from napari_probseg.similar.frame import Frame
from napari_probseg.similar.likeness import facts_of
from napari_probseg.similar.offer import FACT_NAMES, Decisions, score_of
from napari_probseg.similar.seeds import Seed, radii_of, seeds_of
from napari_probseg.strokes import corrects_untold
from test_similar import NO_NETWORK, disks, finished


def test_a_frame_comes_back_to_the_voxels() -> None:
    _, labels = disks()
    case = ps.Case(labels > 0)
    for mm in (0.5, 1.0, 2.7):
        frame = Frame.over(case, mm)
        seen = frame.image(case)
        assert seen.shape[1:] == frame.shape
        whole = (slice(0, 160), slice(0, 160))
        back = frame.on_voxels(seen[0], whole) > 0.5
        assert (back == (labels > 0)).mean() > 0.97
        assert np.abs(frame.mask(whole, labels > 0) - seen[0].numpy()).max() < 0.6
    tiles = Frame.over(case, 1.0).tiles(50)
    seen_by = np.zeros((160, 160), dtype=int)
    for tile in tiles:
        seen_by[tile] += 1
    assert (seen_by == 1).all()


def test_seeds_lie_in_the_middle_of_what_stands_out() -> None:
    _, labels = disks()
    seeds = seeds_of((labels > 0).astype(np.float32), radii_of([14.0], 1.0))
    assert len({int(labels[seed.place]) for seed in seeds} - {0}) == labels.max()
    assert not seeds_of(np.zeros((50, 50), np.float32), [5.0])


def test_forms() -> None:
    disk = np.hypot(*np.mgrid[-20:21, -20:21]) <= 15
    bar = np.zeros((41, 41), dtype=bool)
    bar[18:23] = True
    assert form_of(disk, (1, 1)).diameter == pytest.approx(30, rel=0.05)
    assert form_of(disk, (1, 1)).solidity > 0.95
    assert form_of(bar, (1, 1)).elongation > form_of(disk, (1, 1)).elongation + 1
    assert form_of(bar[18:19], (1, 1)).solidity == 1.0  # a line has no hull
    assert form_of(bar[18:19, :1], (1, 1)).elongation == pytest.approx(0)


def test_a_query_keeps_examples_of_a_fit_size_alone() -> None:
    image, labels = disks()
    tiny = Part((slice(0, 1), slice(0, 2)), np.ones((1, 2), bool), 2)
    good = Part((slice(0, 160), slice(0, 160)), labels == 3, 1)
    assert [p.label for p in Query(ps.Case(image), (good, tiny)).checked().examples] == [1]


def test_what_was_decided_of_earlier_offers_counts_for_the_next() -> None:
    image, labels = disks()
    session = finished(image, labels)
    first = session.propose_similar(20)
    wrong = first.objects[:5]
    for _ in wrong:
        session.skip_similar(0)
    moved = [o.score for o in session.similar.objects]
    assert all(score < o.score for score, o in zip(moved, first.objects[5:], strict=True))
    again = session.offer_similar(replace(first, objects=first.objects[5:]))  # the next offer: without what was skipped
    assert [o.score for o in again.objects] == pytest.approx(moved)
    for _ in wrong:
        session.undo()
    assert [o.score for o in session.similar.objects] == pytest.approx([o.score for o in first.objects[5:]])


@pytest.mark.parametrize(("brings", "pays_at"), [(False, {2, 4, 8}), (True, {2, 3, 4, 5, 6, 7, 8})])
def test_another_look_pays_once_enough_was_finished_since_the_last(brings: bool, pays_at: set[int]) -> None:
    image, labels = disks()
    session = ps.Session(ps.Case(image), completer=NO_NETWORK)
    assert not session.may_find_more
    paid, facts = set(), (0.0,) * len(FACT_NAMES)
    for n in range(1, 9):
        session.mark(labels == n)
        session.finish()
        if session.may_find_more:
            paid.add(n)
            mask = labels == (n + 1 if brings else 16)
            session.offer_similar(Similar((SimilarObject(np.s_[0:160, 0:160], mask, facts, 0.9),)))
            assert not session.may_find_more
    assert paid == {1, *pays_at}


def test_a_stroke_elsewhere_than_on_what_is_on_show_corrects_nothing() -> None:
    image, labels = disks()
    session = finished(image, labels)
    o = session.propose_similar(20).objects[0]
    session.look_at_similar(0)
    far = next(i for i in range(1, labels.max() + 1) if not (labels[grown(o.where, [20, 20], labels.shape)] == i).any())
    session.mark(labels == far)
    assert session._shown.evidence is None
    session.undo()
    session.mark(labels == labels[o.where].max())
    assert session._shown.evidence is not None
    assert corrects_untold(session.question()), "no strokes tell it but this one: it changes near that alone"


def test_a_look_pays_where_the_likeliest_is_likely_enough() -> None:
    mask, facts = np.ones((3, 3), dtype=bool), (0.0,) * len(FACT_NAMES)
    likely, unlikely = (SimilarObject(np.s_[0:3, 0:3], mask, facts, score) for score in (0.31, 0.29))
    assert Similar((likely, unlikely)).pays and not Similar((likely, unlikely)).above()
    assert not Similar((unlikely,)).pays and not Similar(()).pays


def test_where_the_windows_agree_it_is_likelier() -> None:
    image, labels = disks()
    session = finished(image, labels)
    view = View.of(session.case, None, 14.0)
    whole, where = labels == 7, tuple(slice(0, n) for n in labels.shape)
    part, odds = whole & (np.arange(labels.shape[1]) < np.argwhere(whole)[:, 1].mean()), np.where(whole, 3.0, -3.0)
    scores = []
    for readings in ((whole, whole), (whole, part)):
        answer = Answer(where, odds.astype(np.float32), 0.8, readings)
        facts = facts_of(view, Seed((0, 0), 7.0, 1.0), answer, answer.log_odds, where, whole, [form_of(whole, (1, 1))])
        scores.append(score_of(facts))
    assert scores[0] > scores[1]


def test_what_was_offered_and_drawn_otherwise_was_wrong() -> None:
    image, labels = disks()
    session = finished(image, labels)
    offer = session.propose_similar(20)
    o = offer.objects[0]
    assert Decisions(session.objects, ()).about(o) is None
    objects = np.array(session.objects)
    objects[o.where][o.mask] = 9
    assert Decisions(objects, ()).about(o) == 1
    much_more = np.zeros_like(objects)
    much_more[grown(o.where, [12, 12], objects.shape)] = 9
    assert Decisions(much_more, ()).about(o) == 0
    assert Decisions(session.objects, (Part(o.where, o.mask),)).about(o) == 0


def ramp(offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds that fall by 1 a voxel away from a middle, 0 at 9 voxels from there, and the disk of radius 9."""
    away = np.hypot(*np.ogrid[-24:25, -24:25])
    return (9.0 - away + offset).astype(np.float32), away <= 9.0


def seen(log_odds: np.ndarray, truth: np.ndarray, by_look: np.ndarray | None = None) -> border.Foretold:
    answer = Answer((slice(0, 49), slice(0, 49)), log_odds, 0.8)
    nothing = np.zeros(truth.shape, dtype=bool)
    return border.Foretold(answer, np.zeros_like(log_odds) if by_look is None else by_look, (24, 24), truth, nothing)


def test_others_end_where_examples_do() -> None:
    """An image whose borders lie farther out, or in, than the network has them: one example tells, more tell more."""
    for off in (-1.5, 1.5):
        log_odds, truth = ramp(off)  # the network sees the border so many voxels too far out
        one, four = (border.learnt_border(2, [seen(log_odds, truth)] * n, by_look=False) for n in (1, 4))
        assert 0 < -one.offset * np.sign(off) < -four.offset * np.sign(off) <= 1.5
        again = four.log_odds(log_odds, np.zeros_like(log_odds)) > 0
        assert np.count_nonzero(again ^ truth) < 0.6 * np.count_nonzero((log_odds > 0) ^ truth)
    log_odds, truth = ramp()
    assert abs(border.learnt_border(2, [seen(log_odds, truth)] * 4, by_look=False).offset) < 0.5


def test_an_example_of_which_something_else_is_seen_tells_nothing_of_the_border() -> None:
    log_odds, truth = ramp(-6.0)  # the network sees its middle alone
    assert border.learnt_border(2, [seen(log_odds, truth)], by_look=False) == border.FIRST_BORDER[2]
    assert border.learnt_border(3, [], by_look=True) == border.FIRST_BORDER[3]
    sure, _ = ramp(3.0)
    far = border.learnt_border(2, [seen(20 * sure, truth)] * 4, by_look=False)
    assert -border.MAX_OFFSET <= far.offset < 0, "a sure network is not moved without end"


def test_the_classifier_counts_where_it_foretells_examples_better() -> None:
    wrong, truth = ramp(-5.0)
    right, _ = ramp()
    assert border.learnt_border(2, [seen(wrong, truth, right)] * 2, by_look=True).look > 0
    assert border.learnt_border(2, [seen(right, truth, wrong)] * 2, by_look=True).network > 0
    assert border.learnt_border(2, [seen(wrong, truth, right)], by_look=False).look == 0
