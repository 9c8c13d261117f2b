"""What every completer promises: all is decided, strokes and what is decided stay, and a new cut asks no network."""

from __future__ import annotations

import numpy as np
import pytest

import napari_probseg as ps
from drawn import disk, noisy
from napari_probseg.inference.windows import Window
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.pixel_classifier_cut import PixelClassifierCut
from napari_probseg.unaries.watershed import with_flood

SHAPE = (90, 110)
COMPLETERS = {
    "general": lambda: ps.load_completer(device="cpu"),
    "intensities": ps.GraphCut,
    "appearance": PixelClassifierCut,
}


@pytest.fixture(params=COMPLETERS, scope="module")
def completer(request: pytest.FixtureRequest):
    return COMPLETERS[request.param]()


def marked(truth: np.ndarray, image: np.ndarray | None = None, **options: object) -> ps.Case:
    """A dab in the middle of the object, and one beside it."""
    middle = tuple(n // 2 for n in truth.shape)
    beside = (*middle[:-1], truth.shape[-1] - 6)
    one = np.ones(truth.ndim)
    case = ps.Case(noisy(truth) if image is None else image, **options)
    return case.mark(ball(truth.shape, middle, 3, one), ball(truth.shape, beside, 3, one))


def test_one_candidate_decides_every_voxel(completer) -> None:
    case = marked(disk(SHAPE, radius=22))
    candidates = completer.propose(case)
    assert len(candidates) == 1
    assert (candidates.partial[0] != ps.Marker.UNKNOWN).all()
    assert dice(candidates.partial[0] == ps.Marker.OBJECT, disk(SHAPE, radius=22)) > 0.9


def test_what_is_decided_stays(completer) -> None:
    truth = disk(SHAPE, radius=22)
    case = marked(truth).mark(
        inside=ball(truth.shape, (10, 10), 3, np.ones(2)), outside=ball(truth.shape, (45, 66), 4, np.ones(2))
    )
    decided = case.partial != ps.Marker.UNKNOWN
    for smoothness in (0, 1, 30):
        partial = completer.propose(case, smoothness=smoothness).partial[0]
        assert (partial[decided] == case.partial[decided]).all()


def test_a_volume_and_its_plane(completer) -> None:
    truth = disk((24, 40, 44), radius=9)
    case = marked(truth, spacing=(1.0, 1.0, 1.0))
    whole = completer.propose(case)
    least = (
        0.6 if isinstance(completer, PixelClassifierCut) else 0.7
    )  # two dabs tell little of what a border looks like
    assert dice(whole.partial[0] == ps.Marker.OBJECT, truth) > least
    flat = completer.propose(case, plane=(0, 12))
    assert dice((flat.partial[0] == ps.Marker.OBJECT)[12], truth[12]) > least
    others = np.arange(24) != 12
    assert (flat.partial[0][others] == case.partial[others]).all()


def test_a_volume_of_one_slice(completer) -> None:
    truth = disk(SHAPE, radius=22)
    flat = marked(truth)
    case = ps.Case(flat.image[None], spacing=(5.0, 1.0, 1.0), partial=flat.partial[None], strokes=flat.strokes[None])
    partial = completer.propose(case).partial[0]
    assert partial.shape == case.shape
    assert (partial != ps.Marker.UNKNOWN).all()


def test_several_channels(completer) -> None:
    truth = disk(SHAPE, radius=22)
    image = np.stack([noisy(truth), noisy(~truth, 1), noisy(truth, 2)])
    candidates = completer.propose(marked(truth, image, channel_axis=0))
    assert dice(candidates.partial[0] == ps.Marker.OBJECT, truth) > 0.9


def test_a_new_cut_asks_no_network(completer, monkeypatch: pytest.MonkeyPatch) -> None:
    completion = completer.complete(marked(disk(SHAPE, radius=22), noisy(disk(SHAPE, radius=22), noise=0.3)))
    for verb in ("_look", "complete"):
        monkeypatch.setattr(type(completer), verb, None, raising=False)
    rough, smooth = (completion.candidates(CutConfig(smoothness=s)).partial[0] for s in (0, 20))
    assert border(rough == ps.Marker.OBJECT) > border(smooth == ps.Marker.OBJECT)
    again = completion.candidates(CutConfig(smoothness=0)).partial[0]
    assert np.array_equal(rough, again)


def border(mask: np.ndarray) -> int:
    return sum(int(np.count_nonzero(np.diff(mask.astype(int), axis=axis))) for axis in range(mask.ndim))


def test_a_box_alone_is_enough(completer) -> None:
    truth = disk(SHAPE, radius=22)
    outside = np.ones(truth.shape, dtype=bool)
    outside[18:72, 28:82] = False
    frame = outside.copy()
    frame[:16], frame[74:], frame[:, :26], frame[:, 84:] = False, False, False, False
    candidates = completer.propose(ps.Case(noisy(truth)).mark(outside=frame))
    assert dice(candidates.partial[0] == ps.Marker.OBJECT, truth) > 0.85


def test_one_side_only(completer) -> None:
    truth = disk(SHAPE, radius=22)
    case = ps.Case(noisy(truth)).mark(inside=ball(truth.shape, (45, 55), 3, np.ones(2)))
    assert (completer.propose(case).partial[0] != ps.Marker.UNKNOWN).all()


def test_the_network_needs_something_inside() -> None:
    truth = disk(SHAPE, radius=22)
    case = ps.Case(noisy(truth)).mark(outside=ball(truth.shape, (8, 8), 3, np.ones(2)))
    with pytest.raises(ValueError, match="neither a stroke inside nor a box"):
        ps.load_completer(device="cpu").propose(case)


@pytest.mark.parametrize(
    ("case", "options", "sentence"),
    [
        (ps.Case(noisy(disk(SHAPE, radius=22))), {}, "no stroke"),
        (marked(disk(SHAPE, radius=22), np.full(SHAPE, 3.0)), {}, "constant"),
        (marked(disk(SHAPE, radius=22), np.full(SHAPE, np.nan)), {}, "no finite number"),
        (marked(disk(SHAPE, radius=22)), {"smoothness": -1}, "smoothness"),
        (marked(disk(SHAPE, radius=22)), {"edges": 0}, "edges"),
        (marked(disk(SHAPE, radius=22)), {"plane": (0, 3)}, "volume"),
    ],
)
def test_bad_input_is_told(completer, case, options, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        completer.propose(case, **options)


def test_probabilities_must_fit() -> None:
    case = marked(disk(SHAPE, radius=22))
    with pytest.raises(ValueError, match=r"finite|NaN"):
        Completion(case, Window((0, 0), SHAPE), np.full(SHAPE, np.nan, np.float32)).candidates(CutConfig())


def test_a_large_volume_is_completed_by_region() -> None:
    """A volume that is never read whole: only the region around the marks."""

    class Lazy:
        shape, dtype = (80, 500, 500), np.dtype(np.float32)
        largest = 0

        def __getitem__(self, key):
            truth = self.truth(key)
            type(self).largest = max(type(self).largest, truth.size)
            return 0.2 + 0.6 * truth.astype(np.float32) + 0.01 * np.random.default_rng(0).random(truth.shape)

        def truth(self, key):
            z, y, x = (np.arange(n)[k] for n, k in zip(self.shape, key, strict=True))
            return (np.square(z[:, None, None] - 40) + np.square(y[:, None] - 250) + np.square(x - 250)) < 400

    lazy = Lazy()
    case = ps.Case(lazy)
    small = (slice(35, 46), slice(245, 256), slice(245, 256))
    case = case.mark(inside=ball((11, 11, 11), (5, 5, 5), 3, np.ones(3)), where=small)
    beside = (slice(35, 46), slice(245, 256), slice(275, 286))
    case = case.mark(outside=ball((11, 11, 11), (5, 5, 5), 3, np.ones(3)), where=beside)
    candidates = ps.GraphCut().propose(case)
    assert Lazy.largest < 2**24
    truth = lazy.truth(candidates.where)
    assert dice(candidates.patches[0] == ps.Marker.OBJECT, truth) > 0.95


def test_appearance_tells_textures_apart_and_finds_thin_branches_far_from_the_strokes() -> None:
    y, x = np.mgrid[:120, :140]
    noise = np.random.default_rng(0).normal(0, 0.1, y.shape)
    textured = ball(y.shape, (60, 40), 25, np.ones(2))
    striped = np.where(textured, np.sin(x * 1.5), np.sin(y / 4.0)) + noise  # the same intensities everywhere
    one = np.ones(2)
    case = ps.Case(striped).mark(ball(y.shape, (60, 40), 6, one), ball(y.shape, (60, 110), 6, one))
    found = [
        dice(c.propose(case).partial[0] == ps.Marker.OBJECT, textured) for c in (PixelClassifierCut(), ps.GraphCut())
    ]
    assert found[0] > 0.85 > 0.6 > found[1]
    branches = (np.abs(y - 60 - 20 * np.sin(x / 15)) < 1.5) | (np.abs(x - 90 - y / 8) < 1.5)
    case = ps.Case(branches * 0.5 + 0.3 * np.sin(y / 40) + noise)
    case = case.mark(branches & (x < 12), ~branches & (np.hypot(y - 20, x - 30) < 6))
    assert dice(PixelClassifierCut().propose(case).partial[0] == ps.Marker.OBJECT, branches) > 0.75


def test_appearance_looks_at_an_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_probseg.unaries import pixel_classifier

    looked: list[object] = []
    features_of = pixel_classifier.features_of
    monkeypatch.setattr(pixel_classifier, "features_of", lambda image: looked.append(image) or features_of(image))
    pixel_classifier._seen.clear()
    completer, case = PixelClassifierCut(), marked(disk(SHAPE, radius=22))
    first = completer.propose(case)
    completer.propose(case.mark(ball(disk(SHAPE, radius=22).shape, (10, 10), 2, np.ones(2))))
    assert len(looked) == 1
    completer.propose(marked(disk(SHAPE, radius=22), noisy(disk(SHAPE, radius=22), seed=1)))
    assert len(looked) == 2 and np.array_equal(completer.propose(case).patches, first.patches)


def test_strokes_flood_what_the_network_is_not_sure_of() -> None:
    truth = disk((60, 80), radius=18)
    image, one = noisy(truth)[None], np.ones(2)
    unsure, sure = np.full(truth.shape, 0.5, np.float32), np.where(truth, 0.02, 0.98).astype(np.float32)
    markers = np.zeros(truth.shape, np.uint8)
    markers[ball(truth.shape, (30, 40), 3, one)] = ps.Marker.OBJECT
    assert with_flood(unsure, image, markers) is unsure, "strokes on one side"
    markers[ball(truth.shape, (30, 75), 3, one)] = ps.Marker.BACKGROUND
    assert with_flood(unsure, image, markers) is unsure, "two strokes"
    markers[ball(truth.shape, (5, 5), 3, one)] = ps.Marker.BACKGROUND
    assert dice(with_flood(unsure, image, markers) > 0.5, truth) > 0.9
    assert np.array_equal(with_flood(sure, image, markers) > 0.5, sure > 0.5)
