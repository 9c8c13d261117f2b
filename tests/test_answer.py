"""Answers at several scales, fused and refined, and the distinct readings beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

import napari_probseg as ps
from napari_probseg.inference import readings
from napari_probseg.inference.answer import answer, fine_size
from napari_probseg.inference.fusion import Looks, in_region, resampled
from napari_probseg.inference.grid import Grid
from napari_probseg.inference.hint import with_hint
from napari_probseg.inference.readings import candidates_of
from napari_probseg.inference.volume_readings import in_voxels_of
from napari_probseg.inference.windows import Window, is_scale_known, windows_on_parts
from napari_probseg.metrics import dice
from napari_probseg.nn.advised import AdvisedCVAE, AdvisedFeatures
from napari_probseg.nn.general import Features, Sample
from napari_probseg.region import Region, n_voxels

SHAPE = (120, 150)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> AdvisedCVAE:
    torch.manual_seed(0)
    network = AdvisedCVAE().eval()
    with torch.no_grad():
        for head in (network.head, network.control):
            head.out.weight.mul_(30)  # an untrained network has no opinion
    return network


def dab(y: int, x: int, r: int = 2) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[y - r : y + r + 1, x - r : x + r + 1] = True
    return mask


@pytest.fixture
def case() -> ps.Case:
    image = np.random.default_rng(0).normal(size=SHAPE)
    image[40:80, 50:100] += 3
    return ps.Case(image).mark(dab(60, 75), dab(20, 20))


class NearMarks(AdvisedCVAE):
    """It takes as object what lies close to a mark inside, and hears nothing else."""

    def decode_control(self, features: Features, reach: torch.Tensor) -> Sample:
        said = super().decode_control(features, reach)
        near = F.max_pool2d(self.marks, 9, 1, padding=4)[: len(reach)]
        return Sample(said.mask, 8 * near - 4, said.quality)

    def features(self, x: torch.Tensor) -> AdvisedFeatures:
        self.marks = x[:, -3]
        return super().features(x)


def test_the_ends_of_a_stroke_do_not_foretell_its_middle() -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).normal(size=SHAPE)
    lines = np.zeros((4, *SHAPE), dtype=bool)
    for line, row in zip(lines, (20, 50, 80, 110), strict=True):
        line[row, 10:140] = True
    case = ps.Case(image).mark(lines[0] | lines[3], lines[1] | lines[2])
    told = case.with_shown((slice(0, 120), slice(0, 150)), lines[0] | lines[3])
    for one in (case, told):
        assert answer(NearMarks().eval(), one, CPU).foretold == 0
    crossed = np.zeros(SHAPE, dtype=bool)
    crossed[24, 10:140] = True
    twice = ps.Case(image).mark(lines[0] | crossed, lines[1] | lines[2])
    assert answer(NearMarks().eval(), twice, CPU).foretold == pytest.approx(1, abs=0.05)


def test_a_map_is_the_same_on_its_own_grid_and_nothing_outside() -> None:
    values = torch.rand(24, 24)
    here, wider = Window((10, 20), (24, 24)), Window((-2, 8), (48, 48))
    torch.testing.assert_close(resampled(values, here, here, 24), values)
    seen = resampled(values, here, wider, 48)
    torch.testing.assert_close(seen[12:36, 12:36], values)
    seen[12:36, 12:36] = 0
    assert not seen.any()


def test_what_is_made_much_smaller_is_averaged() -> None:
    stripes = torch.arange(64).remainder(2).float().expand(64, 64)
    seen = resampled(stripes, Window((0, 0), (64, 64)), Window((0, 0), (64, 64)), 16)
    assert (seen - 0.5).abs().max() < 0.1


def looks(case: ps.Case, qualities: list[float], *, cut_off: bool = False) -> Looks:
    windows = [Window((0, 0), (40, 40)), Window((0, 0), (80, 80))]
    logit = torch.full((2, 16, 16), -5.0)
    logit[0, 4:12, 2 : 16 if cut_off else 6] = 5.0
    logit[1, 1:4, 1:12] = 5.0
    return Looks.of(case, windows, logit, torch.tensor(qualities).logit())


def test_windows_count_by_how_good_they_are_and_what_they_cut_off(case: ps.Case) -> None:
    trusted = looks(case, [0.9, 0.3])
    assert trusted.weight[0] > 20 * trusted.weight[1]
    over = trusted.windows[0]
    assert trusted.probability(over, 40)[25, 8] > 0.9, "object to the first, background to the second"
    assert trusted.probability(over, 40)[6, 30] < 0.1, "background to the first, object to the second"
    assert looks(case, [0.9, 0.3], cut_off=True).weight[0] < trusted.weight[0]
    both = trusted + looks(case, [0.1, 0.1])
    assert len(both.windows) == len(both.weight) == len(both.logit) == 4


def test_an_answer_is_for_a_window_that_holds_the_strokes(network: AdvisedCVAE, case: ps.Case) -> None:
    found = answer(network, case, CPU)
    where = found.window.within(SHAPE)
    assert all(s.start <= a and b <= s.stop for s, a, b in zip(where, (58, 73), (63, 78), strict=True))
    probability = found.probability(SHAPE)
    assert probability.shape == case.partial[where].shape
    assert 0 <= probability.min() <= probability.max() <= 1
    assert found.logit.shape == (fine_size(found.window),) * 2
    assert 0 < found.confidence <= 1
    again = answer(network, case, CPU)
    assert torch.equal(found.logit, again.logit), "the same every time"


@pytest.mark.parametrize("change", ["x 1e-9", "+ 1e6", "negative", "12 bits in 16"])
def test_the_intensities_scale_does_not_matter(network: AdvisedCVAE, case: ps.Case, change: str) -> None:
    image = np.asarray(case.image) * 100 + 1000
    changed = {
        "x 1e-9": image * 1e-9,
        "+ 1e6": image + 1e6,
        "negative": image - 5000,
        "12 bits in 16": image.astype(np.uint16),
    }[change]
    before, after = (
        answer(network, ps.Case(i, partial=case.partial, strokes=case.strokes), CPU)
        for i in (image.astype(np.uint16) * 1.0 if change.startswith("12") else image, changed)
    )
    assert before.window == after.window
    torch.testing.assert_close(before.logit, after.logit, atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("n", [20, 41, 96, 150])
def test_what_is_certain_stays_a_probability_at_any_size(n: int) -> None:
    where = (slice(0, n), slice(0, n))
    seen = in_region(torch.ones(96, 96), Window((0, 0), (n, n)), where)
    assert seen.min() > 0.999 and seen.max() <= 1, "interpolation rounds"
    grid = Grid(where[:1] * 3, (32, 32, 32))
    seen = in_voxels_of(grid.region, grid, torch.ones(32, 32, 32))
    assert seen.min() > 0.999 and seen.max() <= 1


def test_candidates_are_distinct_and_obey_what_is_decided(network: AdvisedCVAE, case: ps.Case) -> None:
    candidates = candidates_of(network, case, 6, seed=3, reach=1.0, device=CPU)
    assert 1 <= len(candidates) <= 6
    objects = [partial == ps.Marker.OBJECT for partial in candidates.partial]
    assert all(not np.array_equal(a, b) for i, a in enumerate(objects) for b in objects[:i])
    for partial in candidates.partial:
        decided = case.partial != ps.Marker.UNKNOWN
        assert (partial[decided] == case.partial[decided]).all()
    again = candidates_of(network, case, 6, seed=3, reach=1.0, device=CPU)
    assert np.array_equal(candidates.patches, again.patches), "the same seed gives the same"
    assert (np.diff(candidates.score) <= 0).all()
    assert (candidates.share.sum() <= 1 + 1e-6) and candidates.share.min() >= 0


def test_what_was_on_show_is_among_the_candidates_with_the_correction_alone(
    network: AdvisedCVAE, case: ps.Case
) -> None:
    shown = np.zeros(SHAPE, dtype=bool)
    shown[10:110, 40:140] = True  # no network says that
    every = tuple(slice(0, n) for n in SHAPE)
    asked = case.mark(outside=dab(20, 130)).with_shown(every, shown, 0.3)
    candidates = candidates_of(network, asked, 6, seed=3, reach=1.0, device=CPU)
    assert candidates.kept == 1, "right after the answer"
    kept = objects(candidates)[1]
    assert dice(kept, shown) > 0.9 and not kept[dab(20, 130)].any()
    assert candidates_of(network, case, 6, seed=3, reach=1.0, device=CPU).kept is None, "nothing was on show"
    first = objects(candidates)[0]
    agreed = case.mark(outside=dab(20, 130)).with_shown(every, first, 0.3)
    again = candidates_of(network, agreed, 6, seed=3, reach=1.0, device=CPU)
    assert again.kept is None or dice(objects(again)[again.kept], objects(again)[0]) < 0.99, "it is said once"


@pytest.mark.parametrize("goes_on", [True, False])
def test_where_a_likeness_goes_on_nothing_is_kept_beside_it(
    network: AdvisedCVAE, case: ps.Case, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    shown = np.zeros(SHAPE, dtype=bool)
    shown[10:110, 40:140] = True
    likeness = shown if goes_on else ~shown
    logit = torch.from_numpy(np.where(likeness, 3.0, -3.0).astype(np.float32))
    monkeypatch.setattr(
        readings, "given", lambda _, found: replace(found, window=Window((0, 0), SHAPE), logit=logit, confidence=0.5)
    )
    asked = case.mark(outside=dab(20, 130)).with_shown(tuple(slice(0, n) for n in SHAPE), shown, 0.3)
    assert (candidates_of(network, asked, 6, seed=3, reach=1.0, device=CPU).kept is None) == goes_on


@pytest.fixture(scope="module")
def quiet_in_noise() -> ps.Case:
    rng = np.random.default_rng(0)
    noise = np.full((300, 300), 40.0)  # far away; around the object it is quiet
    noise[100:170, 100:170] = 1.0
    image = rng.normal(size=noise.shape) * noise
    y, x = np.mgrid[:300, :300]
    image += 6.0 * ((y - 135) ** 2 + (x - 135) ** 2 < 14**2)
    return ps.Case(image).mark(*(np.hypot(y - at, x - at) < 3 for at in (135, 112)))


def objects(candidates: ps.Candidates) -> list[np.ndarray]:
    return [partial == ps.Marker.OBJECT for partial in candidates.partial]


def test_the_first_candidate_is_the_completion_wherever_the_others_reach(quiet_in_noise: ps.Case) -> None:
    candidates = ps.load_proposer(device="cpu").propose(quiet_in_noise, 8)
    alone = objects(ps.load_completer(device="cpu").propose(quiet_in_noise, 1))[0]
    assert n_voxels(candidates.where) > 150**2, "some others reach far"
    assert np.array_equal(objects(candidates)[0], alone)


def test_candidates_stay_near_the_strokes_of_a_large_image(
    quiet_in_noise: ps.Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = ps.load_proposer(device="cpu").propose(quiet_in_noise, 8)
    monkeypatch.setattr(readings, "MAX_CUT_PIXELS", 100**2)
    near = ps.load_proposer(device="cpu").propose(quiet_in_noise, 8)
    assert len(near) > 1 and n_voxels(near.where) <= 100**2 < n_voxels(far.where)
    assert np.array_equal(objects(near)[0], objects(far)[0])


def test_an_object_that_lies_under_its_stroke_is_answered_with_itself() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :240]
    blob = np.hypot(y - 90, x - 100) < 4
    case = ps.Case(rng.normal(size=blob.shape) + 8 * blob).mark(blob, np.hypot(y - 90, x - 125) < 4)
    candidates = ps.load_proposer(device="cpu").propose(case, 8)
    alone = objects(ps.load_completer(device="cpu").propose(case, 1))[0]
    assert np.array_equal(alone, blob)
    assert len(candidates) == 0 or np.array_equal(objects(candidates)[0], blob), "no larger one is on show for it"


def test_what_is_decided_everywhere_leaves_nothing_to_offer(network: AdvisedCVAE, case: ps.Case) -> None:
    whole = np.ones(SHAPE, dtype=bool)
    full = case.mark(inside=whole & (case.partial != ps.Marker.BACKGROUND))
    candidates = candidates_of(network, full, 6, seed=0, reach=1.0, device=CPU)
    assert len(candidates) == 0
    assert str(candidates) == "nothing is left to add near the strokes: brush further out, complete or finish"


def test_a_network_sees_a_mark_where_nobody_has_drawn_one_inside(case: ps.Case) -> None:
    assert with_hint(case) is case
    accepted = np.where(dab(60, 75, 15), np.uint8(ps.Marker.OBJECT), np.uint8(0))
    hinted = with_hint(ps.Case(case.image, partial=accepted))
    inside = np.argwhere(hinted.strokes == ps.Marker.OBJECT)
    assert np.abs(inside.mean(0) - (60, 75)).max() <= 1, "in the middle of what was accepted"
    where = (slice(0, 120), slice(0, 150))
    hinted = with_hint(ps.Case(case.image).mark(outside=dab(5, 5)).with_evidence(where, accepted))
    assert (hinted.strokes == ps.Marker.OBJECT).any(), "evidence is as good"
    assert hinted.evidence is not None
    with pytest.raises(ValueError, match="neither a stroke inside nor a box"):
        with_hint(ps.Case(case.image).mark(outside=dab(5, 5)))


def framed(where: Region, shape: tuple[int, int] = (120, 150)) -> np.ndarray:
    """Return the frame of a box as marks, two pixels wide."""
    frame = np.zeros(shape, bool)
    frame[where] = True
    return frame & ~ndimage.binary_erosion(frame, iterations=2)


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        ([], (35, 110)),
        ([(slice(80, 110), slice(5, 30)), (slice(5, 15), slice(130, 145))], (35, 110)),  # elsewhere
        ([(slice(15, 25), slice(85, 100))], (35, 110)),  # over a corner of the box
        ([(slice(28, 42), slice(103, 117))], None),  # in the midst of it
    ],
)
def test_a_box_is_that_of_the_strokes_whatever_was_finished_before(case: ps.Case, finished, expected) -> None:
    box, locked = (slice(20, 51), slice(90, 131)), np.zeros((120, 150), bool)
    for where in finished:
        locked[where] = True
    others = np.where(locked, np.uint8(ps.Marker.BACKGROUND), np.uint8(0))
    outside = framed(box) & ~locked
    hinted = with_hint(ps.Case(case.image, partial=others).mark(outside=outside))
    inside = np.argwhere(hinted.strokes == ps.Marker.OBJECT)
    assert len(inside) and not locked[tuple(inside.T)].any()
    assert (inside.min(0) > (20, 90)).all() and (inside.max(0) < (50, 130)).all(), "in the box"
    if expected is not None:
        assert np.abs(inside.mean(0) - expected).max() <= 1


def test_finished_objects_alone_are_no_box(case: ps.Case) -> None:
    others = np.zeros((120, 150), np.uint8)
    others[10:20, 10:20] = others[80:90, 100:120] = ps.Marker.BACKGROUND
    with pytest.raises(ValueError, match="no stroke yet"):
        with_hint(ps.Case(case.image, partial=others))


def test_parts_far_apart_are_looked_at_one_by_one() -> None:
    image = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    inside = np.zeros(image.shape, dtype=bool)
    inside[40:46, 50:56] = inside[44:50, 70:76] = inside[250:256, 340:346] = True
    case = ps.Case(image).mark(inside=inside)
    windows = windows_on_parts(case, 2, close=4.0)
    middles = {tuple(round((low + n / 2) / 20) for low, n in zip(w.low, w.size, strict=True)) for w in windows}
    assert len(windows) == 4
    assert all(abs(y - 2.5) <= 0.5 or y == 13 for y, _ in middles), middles
    assert max(w.size[0] for w in windows) < 200
    one = inside.copy()
    one[200:] = False
    assert windows_on_parts(ps.Case(image).mark(inside=one), 2, close=4.0) != windows
    one[44:50, 70:76] = False
    assert windows_on_parts(ps.Case(image).mark(inside=one), 2, close=4.0) == []


class Misled(NearMarks):
    """What was on show makes it see nothing, and it knows."""

    n_looks = 0

    def features(self, x: torch.Tensor) -> AdvisedFeatures:
        self.is_misled = x[:, -1].flatten(1).any(1)
        self.n_looks += 1
        return super().features(x)

    def decode_control(self, features: Features, reach: torch.Tensor) -> Sample:
        said = super().decode_control(features, reach)
        object_ = torch.where(self.is_misled[:, None, None], -4.0, said.object)
        return Sample(said.mask, object_, torch.where(self.is_misled, -1.0, 2.0))


def test_what_was_on_show_is_doubted_where_little_is_expected_after_it() -> None:
    network = Misled().eval()
    wrong = ((slice(63, 80), slice(70, 90)), np.ones((17, 20), dtype=bool), 0.6)
    few = ps.Case(np.random.default_rng(0).normal(size=SHAPE)).mark(dab(60, 75), dab(20, 20)).with_shown(*wrong)
    found = answer(network, few, CPU)
    assert found.looks.confidence > 0.8
    assert found.looks.probability(found.window, fine_size(found.window)).max() > 0.5
    assert sum(len(features.coarse) for features in found.features) == len(found.looks.windows)
    many = few.mark(dab(60, 85), dab(20, 30)).with_shown(*wrong)
    assert answer(network, many, CPU).looks.confidence < 0.5
    network.n_looks = 0
    answer(network, ps.Case(few.image).mark(dab(60, 75), dab(20, 20)), CPU)
    assert network.n_looks <= 2


def test_a_single_stroke_does_not_tell_the_scale(case: ps.Case, network: AdvisedCVAE) -> None:
    one = ps.Case(case.image).mark(dab(60, 75))
    everywhere = tuple(slice(0, n) for n in SHAPE)
    assert not is_scale_known(one) and not answer(network, one, CPU).looks.is_scale_known
    finished = np.where(dab(20, 20, r=9), ps.Marker.BACKGROUND, ps.Marker.UNKNOWN).astype(np.uint8)
    assert not is_scale_known(one.with_parts([("partial", everywhere, np.maximum(one.partial, finished))]))
    assert is_scale_known(case) and answer(network, case, CPU).looks.is_scale_known
    assert is_scale_known(one.mark(dab(90, 75)))
    assert is_scale_known(one.with_shown(everywhere, np.ones(SHAPE, dtype=bool)))
    accepted = np.where(dab(60, 75, r=20), ps.Marker.OBJECT, ps.Marker.UNKNOWN).astype(np.uint8)
    assert is_scale_known(one.with_parts([("partial", everywhere, accepted)]))
