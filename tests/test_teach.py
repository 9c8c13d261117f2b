"""Learning from finished objects: the next one takes fewer strokes, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.engine.models import Model, Resources
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.proposers.fine_tuned import packed
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.region import Part
from napari_probseg.training.teach import Examples, TeachConfig

QUICK = TeachConfig(n_steps=2, n_batch=(2, 2), n_windows=2, n_examined=0)
MIDDLES = [(y, x) for y in (30, 80, 130) for x in (30, 80, 130)]
ONE = np.ones(2)


@pytest.fixture(scope="module")
def completer() -> UNetCut:
    return ps.load_completer(device="cpu")


def thing(at: tuple[int, int]) -> np.ndarray:
    return ball((160, 160), at, 18, ONE)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Bright disks with a dark halo, which is meant, too; a network takes the disk alone."""
    image = np.full((160, 160), 0.5)
    for at in MIDDLES:
        image[thing(at)] = 0.3
        image[ball((160, 160), at, 10, ONE)] = 0.8
    return (image + np.random.default_rng(0).normal(0, 0.03, image.shape)).astype(np.float32)


def finished(n: int) -> list[Part]:
    everywhere = (slice(0, 160), slice(0, 160))
    return [Part(everywhere, thing(at), label) for label, at in enumerate(MIDDLES[:n], 1)]


def after_a_dab(completer: UNetCut, image: np.ndarray, at: tuple[int, int]) -> float:
    case = ps.Case(image).mark(ball(image.shape, at, 3, ONE))
    return dice(completer.propose(case, 1).partial[0] == ps.Marker.OBJECT, thing(at))


def test_the_next_object_takes_fewer_strokes(completer: UNetCut, image: np.ndarray) -> None:
    learnt = completer.learn(
        ps.Case(image), finished(3), replace(TeachConfig(), n_steps=24, learning_rate=(2e-3, 0), share=1.0)
    )
    before, after = (np.mean([after_a_dab(one, image, at) for at in MIDDLES[5:8]]) for one in (completer, learnt))
    assert before < 0.7, "test invalid"
    assert after > before + 0.15


def test_what_is_known_and_what_learning_makes_worse_leave_the_completer_as_it_was(
    completer: UNetCut, image: np.ndarray
) -> None:
    everywhere = (slice(0, 160), slice(0, 160))
    disks = [Part(everywhere, ball((160, 160), at, 10, ONE), 1) for at in MIDDLES[:2]]
    steps = completer.learning(ps.Case(image), disks)
    with pytest.raises(StopIteration) as told:
        next(steps)
    assert told.value.value is completer, "known: not a step is taken"
    harmful = replace(TeachConfig(), n_steps=2, n_batch=(2, 2), learning_rate=(5.0, 0), share=1.0)
    assert completer.learn(ps.Case(image), finished(1), harmful) is completer


@pytest.mark.parametrize(
    ("nothing", "says"),
    [(np.nan, r"no finite number \(NaN where it was looked at\)"), (3, r"constant \(3 where it was looked at\)")],
)
def test_where_nothing_is_to_be_seen_it_says_why(completer: UNetCut, nothing: float, says: str) -> None:
    with pytest.raises(ValueError, match=f"{says}: there is nothing to learn from"):
        completer.learn(ps.Case(np.full((160, 160), nothing)), finished(2), QUICK)


def test_an_object_that_was_painted_where_nothing_is_to_be_seen_stands_in_the_way_of_no_other(
    completer: UNetCut, image: np.ndarray
) -> None:
    beside = np.pad(image, ((0, 0), (0, 160)), constant_values=np.nan)
    painted = Part((slice(20, 40), slice(260, 280)), np.ones((20, 20), bool), 2)
    harmful = replace(QUICK, n_examined=2, learning_rate=(5.0, 0), share=1.0)
    assert completer.learn(ps.Case(beside), [*finished(1), painted], harmful) is completer, (
        "it is examined on the other"
    )


def test_the_old_one_stays_and_the_encoder_and_the_other_network_are_shared(
    completer: UNetCut, image: np.ndarray
) -> None:
    before = {name: t.clone() for name, t in completer.networks[2].state_dict().items()}
    learnt = completer.learn(ps.Case(image), finished(1), QUICK)
    assert all(torch.equal(t, before[name]) for name, t in completer.networks[2].state_dict().items())
    changed = {n.split(".")[0] for n, t in learnt.networks[2].state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"up", "guide", "control", "estimate"}
    assert learnt.networks[3] is completer.networks[3]


def test_it_learns_from_the_untuned_network_each_time_and_the_same_of_the_same(
    completer: UNetCut, image: np.ndarray
) -> None:
    case = ps.Case(image)
    first = completer.learn(case, finished(2), QUICK)
    again = completer.learn(case, finished(1), QUICK).learn(case, finished(2), QUICK)
    states = [one.networks[2].state_dict() for one in (first, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_latest_objects_are_looked_at_in_windows_that_hold_them(completer: UNetCut, image: np.ndarray) -> None:
    config = TeachConfig()
    seen = Examples.of([(ps.Case(image), part) for part in finished(2)], completer.networks[2], config)
    assert len(seen.image) == len(seen.target) == 2 * config.n_windows
    share = seen.target.flatten(1).float().mean(1)
    assert share.min() > 0.01 and share.max() > 0.3, "from far and from close"
    where = [float(im[0][t].mean() < im[0][~t].mean()) for im, t in zip(seen.image, seen.target, strict=True)]
    assert np.isfinite(seen.image).all() and 0 < np.mean(where) <= 1


def test_progress_and_giving_up(completer: UNetCut, image: np.ndarray) -> None:
    steps = completer.learning(ps.Case(image), finished(1), QUICK)
    assert [(told.step, told.n_steps) for told in (next(steps), next(steps))] == [(1, 2), (2, 2)]
    steps.close()


@pytest.mark.parametrize("plane", [None, (0, 10), (2, 16)])
def test_in_a_volume_cubes_are_learnt_from_or_the_planes_that_show_most(
    completer: UNetCut, plane: tuple[int, int] | None
) -> None:
    truth = ball((24, 40, 40), (8, 20, 18), 7, np.ones(3))
    image = truth + np.random.default_rng(0).normal(0, 0.3, truth.shape)
    part = Part((slice(0, 20), slice(0, 40), slice(0, 40)), truth[:20], 1)
    learnt = completer.learn(ps.Case(image), [part], QUICK, plane=plane)
    other = 3 if plane else 2
    assert learnt.networks[other] is completer.networks[other]
    assert learnt.networks[5 - other] is not completer.networks[5 - other]


def test_in_a_time_series_each_object_is_seen_at_its_time(completer: UNetCut, image: np.ndarray) -> None:
    films = np.stack([np.zeros_like(image), image, np.zeros_like(image)])
    parts = [Part((slice(1, 2), *part.where), part.mask[None], part.label) for part in finished(1)]
    case = ps.Case(films, in_time=True)
    learnt = completer.learn(case, parts, QUICK, plane=(0, 2))
    alone = completer.learn(ps.Case(image), finished(1), QUICK)
    states = [one.networks[2].state_dict() for one in (learnt, alone)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(ValueError, match="image by image"):
        completer.learn(case, parts, QUICK)


def test_what_cannot_be_learnt_from_is_told(completer: UNetCut, image: np.ndarray) -> None:
    speck = Part((slice(5, 6), slice(5, 6)), np.ones((1, 1), bool), 1)
    with pytest.raises(ValueError, match="no finished object"):
        completer.learn(ps.Case(image), [], QUICK)
    flat = UNetCut({3: completer.networks[3]}, device="cpu")
    with pytest.raises(ValueError, match="3-D images, not 2-D"):
        flat.learn(ps.Case(image), finished(1), QUICK)
    one_pixel = completer.learn(ps.Case(image), [speck], QUICK)
    assert after_a_dab(one_pixel, image, MIDDLES[4]) > 0


def test_a_session_learns_from_what_is_finished_with_no_stroke_in_work(
    completer: UNetCut, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_probseg.proposers.unet_cut.TeachConfig", lambda: QUICK)
    session = ps.Session(ps.Case(image), completer=completer)
    labels = sum(label * thing(at) for label, at in enumerate(MIDDLES[:2], 1)).astype(np.uint32)
    session.take(labels, {1: "cell", 2: "spot"})
    assert [part.label for part in session.ask("adapt").finished] == [2], "of the class of the latest one"
    session.adapt()
    assert session.completer is not completer and session.learnt is session.completer
    assert "session.adapt()" in session.script()
    session.undo()
    assert session.completer is completer
    assert not session.ask("complete").finished, "nothing travels where nothing is learnt"


def test_what_was_learnt_proposes_too_here_and_where_it_is_sent(completer: UNetCut, image: np.ndarray) -> None:
    own = ps.load_proposer(device="cpu")
    session = ps.Session(ps.Case(image), own, completer)
    learnt = completer.learn(ps.Case(image), finished(1), QUICK)
    session.adapt(learnt)
    assert session.proposer.networks[2] is learnt.networks[2]
    sent = Model.learnt("general", packed(learnt))
    there = Resources().proposer(sent, "cpu").networks[2].state_dict()
    assert all(torch.equal(t, there[name]) for name, t in learnt.networks[2].state_dict().items())
    session.undo()
    assert session.proposer is own
    session.redo()
    session.proposer = other = ps.load_proposer("wong2022", device="cpu")
    assert session.proposer is other, "of other weights"
