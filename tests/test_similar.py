"""More like this: what is found, offered, taken, skipped and taken back; without a network, which is asked elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

import napari_probseg as ps
from napari_probseg.progress import Progress
from napari_probseg.session.encoding import BROKEN
from napari_probseg.session.storage import read_stored
from napari_probseg.similar import finder
from napari_probseg.similar.finder import Finder
from napari_probseg.similar.offer import (
    FACT_NAMES,
    PRIOR_WEIGHTS,
    Decisions,
    Similar,
    SimilarObject,
    learnt_weights,
    score_of,
)

NO_NETWORK = SimpleNamespace(networks={}, name="none")


def disks(
    shape: tuple[int, ...] = (160, 160), *, n: int = 4, radius: float = 7.0, seed: int = 0, contrast: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of bright disks (balls) in noise on a lattice of n places an axis, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.int32)
    axes = np.ogrid[tuple(slice(0, m) for m in shape)]
    for i, place in enumerate(np.ndindex((n,) * len(shape)), 1):
        middle = [(p + 0.5) * m / n + rng.uniform(-2, 2) for p, m in zip(place, shape, strict=True)]
        labels[sum((a - m) ** 2 for a, m in zip(axes, middle, strict=True)) <= radius**2] = i
    image = ndimage.gaussian_filter(contrast * (labels > 0), 0.7) + rng.normal(0, 0.5, shape)
    return image.astype(np.float32), labels


def finished(image: np.ndarray, labels: np.ndarray, *which: int, **case: object) -> ps.Session:
    """Return a session with some true objects finished by hand."""
    session = ps.Session(ps.Case(image, **case), completer=NO_NETWORK)
    for i in which or (6,):
        session.mark(labels == i)
        session.finish()
    return session


def right(session: ps.Session, labels: np.ndarray) -> np.ndarray:
    """Return for each object on offer whether it is a true one, not finished yet, by its IoU."""
    found = []
    for o in session.similar.objects:
        hit = labels[o.where][o.mask]
        i = int(np.bincount(hit).argmax())
        n_both = int((hit == i).sum())
        found.append(i > 0 and n_both >= 0.6 * (int((labels == i).sum()) + int(o.mask.sum()) - n_both))
    return np.array(found, dtype=bool)


def test_one_finished_object_finds_the_others() -> None:
    image, labels = disks()
    session = finished(image, labels)
    offer = session.propose_similar(None)
    is_right = right(session, labels)
    assert is_right.sum() == labels.max() - 1
    assert is_right[: labels.max() - 1].all()  # and they come first
    assert list(offer.objects) == sorted(offer.objects, key=lambda o: -o.score)
    claimed = np.zeros(labels.shape, dtype=int)
    for o in offer.objects:
        claimed[o.where] += o.mask
    assert claimed.max() == 1  # no voxel is offered twice
    assert not (claimed.astype(bool) & (session.objects > 0)).any()


def test_at_most_so_many_are_offered_as_asked_for() -> None:
    image, labels = disks()
    session = finished(image, labels)
    assert len(session.propose_similar(3)) == 3
    with pytest.raises(ValueError, match="at least one"):
        session.propose_similar(0)


def test_the_same_question_has_the_same_answer() -> None:
    image, labels = disks()
    first, second = (finished(image, labels).propose_similar() for _ in range(2))
    assert [(o.where, o.score) for o in first.objects] == [(o.where, o.score) for o in second.objects]


@pytest.mark.parametrize("shape", [(160, 160), (40, 40, 40)], ids=["image", "volume"])
def test_volumes_and_spacing(shape: tuple[int, ...]) -> None:
    n, radius = (4, 7.0) if len(shape) == 2 else (2, 5.0)
    image, labels = disks(shape, n=n, radius=radius, contrast=6)
    session = finished(image, labels, 1, spacing=(0.5,) * len(shape))
    session.propose_similar(None)
    assert right(session, labels).sum() >= labels.max() - 2


@pytest.mark.parametrize("n_channels", [2, 3, 5])
def test_channels(n_channels: int) -> None:
    image, labels = disks()
    noise = np.random.default_rng(1).normal(0, 1, (n_channels - 1, *image.shape)).astype(np.float32)
    session = finished(np.concatenate([image[None], noise]), labels, channel_axis=0)
    session.propose_similar(None)
    assert right(session, labels)[:10].mean() >= 0.9


def test_as_many_as_there_is_room_for_are_found() -> None:
    image, labels = disks((240, 240), n=15, radius=6.5)
    session = finished(image, labels, 100)
    session.propose_similar(None)
    assert right(session, labels).sum() >= 0.95 * labels.max()


def test_touching_objects_are_told_apart() -> None:
    image, labels = disks((160, 160), n=4, radius=7)
    touching = np.roll(labels > 0, 14, axis=1) & (labels == 0)  # beside each another one
    both = labels + np.where(touching, np.roll(labels, 14, axis=1) + labels.max(), 0)
    image = ndimage.gaussian_filter(4.0 * (both > 0), 0.7) + np.random.default_rng(0).normal(0, 0.4, both.shape)
    session = finished(image.astype(np.float32), both, 6, 7)
    session.propose_similar(None)
    sizes = [int(o.mask.sum()) for o in session.similar.above()]
    assert sizes and max(sizes) < 1.6 * int((labels == 6).sum())  # none is two


# Taking, skipping, going back ----------------------------------------------------------------------------------------


def test_what_ends_with_its_window_is_looked_at_in_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((200, 200), dtype=np.int32)
    for i in range(6):
        labels[12 + 32 * i : 22 + 32 * i, 30:120] = i + 1  # bars, longer than six radii of a disk of their size
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(4.0 * (labels > 0), 0.7) + rng.normal(0, 0.5, labels.shape)
    session = finished(image.astype(np.float32), labels, 3)
    whole = session.propose_similar(20).objects[:3]
    assert len({int(labels[o.where][o.mask].max()) for o in whole}) == 3
    assert all(np.count_nonzero(o.mask) == pytest.approx(900, rel=0.1) for o in whole)
    monkeypatch.setattr(finder, "LARGER_WINDOW", 1.0)
    assert not len(session.propose_similar(20)), "test invalid"


def test_what_is_taken_is_finished_and_locked_and_one_undo_takes_it_back() -> None:
    image, labels = disks()
    session = finished(image, labels)
    session.propose_similar()
    before, on_offer = session.objects.copy(), session.similar
    step = session.take_similar(0)
    assert step.verb == "take" and step.arguments == {"first": 1, "like": 1}
    assert session.max_label == 2 and len(session.similar) == len(on_offer) - 1
    first = on_offer.objects[0]
    assert (session.objects[first.where] == 2)[first.mask].all()
    assert (session.case.partial[first.where][first.mask] == ps.Marker.BACKGROUND).all()  # locked for the next one
    session.undo()
    assert np.array_equal(session.objects, before)
    assert [o.number for o in session.similar.objects] == [o.number for o in on_offer.objects]
    session.redo()
    assert session.max_label == 2


def test_all_above_the_line_are_one_step() -> None:
    image, labels = disks()
    session = finished(image, labels)
    offer = session.propose_similar(None)
    n, n_steps = len(offer.above(0.7)), len(session.steps)
    assert n > 5
    session.take_all_similar(above=0.7)
    assert session.max_label == 1 + n and len(session.steps) == n_steps + 1
    assert not session.similar.above(1.0)
    with pytest.raises(RuntimeError, match="lower it"):
        session.take_all_similar(above=1.0)
    session.undo()
    assert session.max_label == 1


def test_what_is_skipped_is_not_offered_again_and_ranks_the_rest_anew() -> None:
    image, labels = disks()
    session = finished(image, labels)
    before = session.propose_similar(None)
    step = session.skip_similar(0)
    assert step.verb == "skip" and len(session.similar) == len(before) - 1
    assert before.objects[0].number not in {o.number for o in session.similar.objects}
    assert session.similar.objects[0].score < before.objects[1].score  # the rest is alike, and less likely now
    again = session.propose_similar(None)
    assert all(o.share_of(session.skipped[0]) < 0.5 for o in again.objects)
    session.undo()
    assert not session.skipped


def test_one_skip_does_not_sink_all_that_look_the_same() -> None:
    image, labels = disks()
    session = finished(image, labels)
    n = len(session.propose_similar(None).above())
    session.skip_similar(3)
    assert len(session.similar.above()) >= 0.7 * n


def test_decisions_move_the_ranks_towards_what_was_taken() -> None:
    low, high = [0.0] * len(FACT_NAMES), [0.0] * len(FACT_NAMES)
    high[FACT_NAMES.index("other intensity")] = 2.0
    for ndim, weights in PRIOR_WEIGHTS.items():
        prior = learnt_weights([], [], ndim)
        assert np.allclose(prior, weights) and len(weights) == len(FACT_NAMES) + 1
        learnt = learnt_weights([low, high] * 3, [0.0, 1.0] * 3, ndim)  # contrary to what is believed at first
        assert learnt[FACT_NAMES.index("other intensity")] > prior[FACT_NAMES.index("other intensity")]


def test_volumes_are_ranked_by_what_counts_in_volumes() -> None:
    """Also after decisions; an image of a time series is an image."""
    facts = tuple(np.linspace(-1, 1, len(FACT_NAMES)))
    by_kind = {ndim: score_of(facts, ndim) for ndim in (2, 3)}
    assert by_kind[2] != by_kind[3], "test invalid"
    where = (slice(0, 2),) * 3
    found = SimilarObject(where, np.ones((2, 2, 2), bool), facts, 0.5)
    nothing = Decisions(np.zeros((4, 4, 4), np.uint32), ())
    for ndim in (2, 3):
        assert Similar((found,), ndim=ndim).decided(nothing).objects[0].score == pytest.approx(by_kind[ndim])
    for shape, case, ndim in (((160, 160), {}, 2), ((40, 44, 48), {}, 3), ((2, 160, 160), {"in_time": True}, 2)):
        image, labels = disks(shape[-3:] if ndim == 3 else shape[-2:], n=2 if ndim == 3 else 4)
        if case:
            image, labels = np.stack([image, image]), np.stack([labels, 0 * labels])
        session = finished(image, labels, **case)
        session.propose_similar(5)
        assert session.similar.ndim == ndim


def test_it_is_kept_in_files_and_in_the_script(tmp_path: Path) -> None:
    image, labels = disks()
    session = finished(image, labels)
    journal = session.keep(tmp_path / "work.journal")
    session.propose_similar()
    session.take_similar(0), session.skip_similar(0), session.take_all_similar(0.6)
    session.save(tmp_path / "work.npz")
    assert journal.close()
    for name in ("work.npz", "work.journal"):
        again = ps.Session.load(tmp_path / name, image)
        assert np.array_equal(again.objects, session.objects)
        assert len(again.skipped) == 1 and np.array_equal(again.skipped[0].mask, session.skipped[0].mask)
    np.save(tmp_path / "image.npy", image)
    script = session.script("image.tif").replace(
        "ps.read('image.tif').data", f"np.load({str(tmp_path / 'image.npy')!r})"
    )
    done: dict[str, object] = {}
    exec(script, done)
    assert np.array_equal(done["objects"], session.objects)
    assert len(done["session"].skipped) == 1  # type: ignore[attr-defined]


def test_a_damaged_skip_is_refused(tmp_path: Path) -> None:
    image, labels = disks()
    session = finished(image, labels)
    session.skip(labels == 2)
    told = dict(session.steps[-1].arguments)
    for broken in ({**told, "where": [[0, 999], [0, 4]]}, {**told, "mask": "b2x2:zzzz"}, {**told, "where": 3}):
        object.__setattr__(session.steps[-1], "arguments", broken)
        session.save(tmp_path / "work.npz")
        with pytest.raises(ValueError, match="damaged"):
            read_stored(tmp_path / "work.npz")
    assert ValueError in BROKEN


# Kinds, several of them -----------------------------------------------------------------------------------------------


def test_what_is_taken_has_the_class_of_its_examples() -> None:
    image, labels = disks()
    session = ps.Session(ps.Case(image), completer=NO_NETWORK)
    for i, kind in ((6, "dead"), (7, "alive"), (8, "alive")):
        session.mark(labels == i)
        session.finish(kind)
    query = session.query_similar()
    assert [p.label for p in query.examples] == [2, 3] and [p.label for p in query.others] == [1]
    session.propose_similar()
    session.take_all_similar(0.0)
    assert {session.kinds[o.label] for o in session.finished if o.label > 3} == {"alive"}
    assert session.max_label > 4


def test_objects_of_other_kinds_are_not_offered() -> None:
    image, labels = disks()
    large = np.zeros_like(labels)
    large[:40, :] = labels[:40, :]
    image = image + 6 * ndimage.gaussian_filter((large > 0).astype(float), 0.7)  # the first row is another kind
    session = finished(image.astype(np.float32), labels, 1, 6, 7)
    session.propose_similar(None, like=[2, 3])
    assert session.similar.like == 3
    likely = [int(np.bincount(labels[o.where][o.mask]).argmax()) for o in session.similar.above(0.5)]
    assert likely and np.mean([i > 4 for i in likely]) > 0.9
    with pytest.raises(ValueError, match="no finished object 9"):
        session.propose_similar(like=[9])


# Bad input ------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_an_example_is_said() -> None:
    image, labels = disks()
    session = ps.Session(ps.Case(image), completer=NO_NETWORK)
    with pytest.raises(ValueError, match="finish one first"):
        session.propose_similar()
    with pytest.raises(RuntimeError, match="propose_similar"):
        session.take_similar()
    dot = np.zeros(image.shape, dtype=bool)
    dot[3, 3] = True
    session.mark(dot), session.finish()
    with pytest.raises(ValueError, match="too small"):
        session.propose_similar()
    whole = ps.Session(ps.Case(image), completer=NO_NETWORK)
    whole.mark(np.ones(image.shape, dtype=bool)), whole.finish()
    with pytest.raises(ValueError, match="no room"):
        whole.propose_similar()
    both = ps.Session(ps.Case(image), completer=NO_NETWORK)
    both.mark(~dot), both.finish(), both.mark(dot), both.finish()  # one is too large, the other too small
    with pytest.raises(ValueError, match="too small"):
        both.propose_similar()
    flat = finished(np.zeros(image.shape, np.float32), labels)
    with pytest.raises(ValueError, match="constant"):
        flat.propose_similar()


def test_in_a_time_series_objects_at_another_time_are_what_is_looked_for_where_there_are_none_yet() -> None:
    image, labels = disks()
    series = np.stack([image, np.roll(image, 3, axis=1), np.zeros_like(image)])
    session = ps.Session(ps.Case(series, in_time=True), completer=NO_NETWORK)
    for label, kind in ((6, "cell"), (7, "cell")):
        session.mark(labels[None] == label, where=(slice(0, 1), slice(0, 160), slice(0, 160)))
        session.finish(kind=kind)
    session.propose_similar(None, plane=(0, 1))
    assert {(o.where[0].start, o.where[0].stop) for o in session.similar.objects} == {(1, 2)}
    moved = np.roll(labels, 3, axis=1)[None] * np.array([0, 1, 0])[:, None, None]
    assert right(session, moved).sum() == labels.max()
    step = session.take_similar()
    assert set(session.kinds.values()) == {"cell"} and step.arguments["first"] == 2
    assert session.query_similar(plane=(0, 1)).elsewhere() is None, "it has one of its own now"
    with pytest.raises(ValueError, match="constant"):
        session.propose_similar(plane=(0, 2))


def test_nothing_alike_is_an_empty_offer_that_says_so() -> None:
    image, labels = disks()
    alone = np.where(labels == 6, image, np.float32(0))
    session = finished(alone, labels)
    offer = session.propose_similar()
    assert not offer.above()
    if not len(offer):
        assert "one by one" in str(offer)
        with pytest.raises(RuntimeError, match="nothing else"):
            session.take_similar()


def test_objects_at_the_border_and_an_odd_example() -> None:
    image, labels = disks()
    image, labels = image[20:, 20:], labels[20:, 20:]  # the first row and column are cut off
    session = finished(image, labels, 1)  # a quarter of a disk, in the corner
    session.propose_similar(None)
    for o in session.similar.objects:
        assert all(0 <= s.start < s.stop <= n for s, n in zip(o.where, image.shape, strict=True))
        assert o.mask.shape == tuple(s.stop - s.start for s in o.where)


def test_a_large_image_goes_tile_by_tile_and_ends_when_enough_are_found() -> None:
    image, labels = disks((640, 640), n=16)
    session = finished(image, labels, 1)
    told: list[Progress] = []
    session.propose_similar(8, tell=told.append)
    n_tiles = told[0].n_steps
    assert n_tiles > 1 and len(told) < n_tiles
    middles = np.array([[(s.start + s.stop) / 2 for s in o.where] for o in session.similar.objects])
    assert (middles < 360).all()  # near to the example
    session.propose_similar(None)
    assert right(session, labels).sum() > 240


def test_giving_it_up_changes_nothing() -> None:
    image, labels = disks()
    session = finished(image, labels)
    work = Finder().finding(session.query_similar())
    next(work)
    work.close()
    assert len(session.steps) == 2 and not len(session.similar)
