"""Answers in volumes: solids of even grey are found from two dabs, in slices of any thickness, and strokes hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.dataset.targets import Target
from napari_probseg.evaluate.samples import score_samples
from napari_probseg.inference import volume
from napari_probseg.inference.fusion import in_region
from napari_probseg.inference.grid import MAX_PLACES, Grid, grid_input
from napari_probseg.inference.threshold import by_threshold
from napari_probseg.inference.through_slices import N_CROSSING, across_slices, look_at_seeds, through_slices
from napari_probseg.inference.volume import FIRST_STROKE_MAP, MIN_EVENNESS, fused, look_around
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.nn.advisers import ADVISER_NAMES
from napari_probseg.nn.general import GeneralCVAE
from napari_probseg.nn.inputs import network_input
from napari_probseg.nn.volume import N_FACTS, N_MAPS, VolumeCVAE, VolumeRefiner, advised, facts_of, refined
from napari_probseg.proposers.cvae import CVAEProposer
from napari_probseg.proposers.shipped import weights_path
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.simulate.annotator import dab, first_dabs
from napari_probseg.simulate.solids import KINDS, Solid, solid
from napari_probseg.training.refine_volumes import (
    FIT_CONFIG,
    VolumeView,
    fit_volume_refiner,
    synthetic_targets,
    train_volume_refiner,
    views_of,
)


@pytest.fixture(scope="module")
def completer() -> UNetCut:
    return ps.load_completer(device="cpu")


@pytest.fixture(scope="module")
def proposer() -> CVAEProposer:
    return ps.load_proposer(device="cpu")


def dabbed(drawn: Solid) -> ps.Case:
    """Return the solid with one dab inside and one outside."""
    case = ps.Case(drawn.image, spacing=drawn.spacing)
    return case.mark(*first_dabs(drawn.truth, seed=1, spacing=drawn.spacing))


def completed(completer: UNetCut, case: ps.Case) -> np.ndarray:
    return np.asarray(completer.propose(case).partial[0] == ps.Marker.OBJECT)


SLICES = [(9, 8.0), (30, 2.0), (90, 1.0)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_slices", "thickness"), SLICES, ids=[f"{n}x{t:g}" for n, t in SLICES])
def test_a_solid_of_even_grey_is_found_from_two_dabs(kind, n_slices, thickness, completer) -> None:
    drawn = solid(kind, n_slices=n_slices, thickness=thickness, side=64)
    assert dice(completed(completer, dabbed(drawn)), drawn.truth) >= 0.95


def test_no_way_is_asked_where_a_threshold_decides_until_it_is_looked_at(completer, monkeypatch) -> None:
    asked, look = [], volume.look_at_all
    monkeypatch.setattr(volume, "look_at_all", lambda *arguments: asked.append(1) or look(*arguments))
    case = dabbed(solid("ball", n_slices=30, thickness=2.0, side=64))
    found = volume.answer_in_volume(completer.networks[3], completer.networks[2], case, torch.device("cpu"))
    assert not asked and found.confidence > 0.9
    assert found.ways.maps.shape == (N_MAPS, *found.grid.shape)
    assert found.ways is found.ways and asked == [1]


def test_slices_with_a_stroke_each_are_not_looked_at_as_if_it_were_the_only_one(completer) -> None:
    image = np.random.default_rng(0).normal(size=(24, 48, 48)).astype(np.float32)
    marks = np.zeros((2, *image.shape), dtype=bool)
    marks[0, [6, 12, 18], 24, 24] = True
    seeds = look_at_seeds(completer.networks[2], ps.Case(image).mark(*marks), torch.device("cpu"))
    assert sorted(seeds.planes) == [6, 12, 18]
    assert all(looks.is_scale_known for looks in seeds.looks.values())


def threshold_of(image: np.ndarray, inside: tuple, outside: tuple) -> tuple[np.ndarray, float]:
    """Return what a threshold makes of a volume with a stroke on each side, and its evenness."""
    marks = np.zeros((2, *image.shape), dtype=bool)
    marks[0][inside] = marks[1][outside] = True
    case = ps.Case(image.astype(np.float32)).mark(*marks)
    grid = Grid.over(case, tuple(slice(0, n) for n in image.shape))
    says, evenness = by_threshold(case, grid)
    return grid.in_voxels(says) > 0, evenness


def test_a_threshold_parts_what_has_two_greys_and_keeps_what_hangs_together_with_the_stroke() -> None:
    image = np.zeros((24, 48, 48))
    image[6:18, 6:18, 6:18] = image[6:18, 30:42, 30:42] = 4
    noisy = image + 0.5 * np.random.default_rng(0).normal(size=image.shape)
    one = np.zeros(image.shape, dtype=bool)
    one[6:18, 6:18, 6:18] = True
    found, evenness = threshold_of(noisy, np.s_[11:13, 11:13, 11:13], np.s_[11:13, 22:26, 22:26])
    assert evenness > MIN_EVENNESS and dice(found, one) > 0.98


@pytest.mark.parametrize("why", ["three greys", "noise", "goes on everywhere", "one side alone", "strokes across"])
def test_greys_alone_do_not_decide_where_they_do_not_tell(why: str) -> None:
    image = 0.3 * np.random.default_rng(0).normal(size=(24, 48, 48))
    inside, outside = np.s_[11:13, 11:13, 11:13], np.s_[11:13, 22:26, 22:26]
    object_ = np.s_[6:18, 6:18, 6:18]
    image[object_] += 0.4 if why == "noise" else 4
    if why == "three greys":
        image[:, 30:] += 8
    elif why == "goes on everywhere":
        image[:, :, :20] += 4
        image[object_] -= 4
        image[:, 40:] = 4
    elif why == "one side alone":
        outside = np.s_[0:0, 0:0, 0:0]
    elif why == "strokes across":
        inside = np.s_[11:13, 16:30, 11:13]
    assert threshold_of(image, inside, outside)[1] <= MIN_EVENNESS


def test_what_was_on_show_holds_where_no_stroke_contradicts_it() -> None:
    grid = Grid((slice(0, 24),) * 3, (24, 24, 24))
    maps, refined = torch.zeros(N_MAPS, 24, 24, 24), torch.full((24, 24, 24), -1.0)
    markers = np.full((24, 24, 24), ps.Marker.BACKGROUND, dtype=np.uint8)
    markers[8:16] = ps.Marker.OBJECT
    maps[FIRST_STROKE_MAP + 1, 10, 4, 4] = 1  # a stroke outside, in what was object
    shown = (grid.region, markers)
    found = fused(refined, maps, grid, shown, n_strokes=2) > 0
    assert found[12, 20, 20] and not found[10, 4, 4] and not found[2].any()
    assert not (fused(refined, maps, grid, None, n_strokes=2) > 0).any(), "test invalid"
    assert torch.equal(fused(refined, maps, grid, shown, n_strokes=1), refined), "a first stroke corrects nothing"


def test_what_looks_like_neither_kind_of_stroke_is_not_taken_for_the_object() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.1, (32, 32, 32)).astype(np.float32)
    truth = ball(image.shape, (16, 16, 10), 6, np.ones(3))
    image[truth] += 1
    image[:, :, 20:] += 2  # what no stroke lies on, and which is farther from those outside than the object
    inside, outside = (ball(image.shape, at, 2, np.ones(3)) for at in ((16, 16, 10), (16, 3, 10)))
    marks = [torch.from_numpy(m)[None] for m in (inside, outside, np.zeros_like(image))]
    x = network_input(torch.from_numpy(np.stack([image, image]))[None], *marks)
    says = advised(x, torch.from_numpy(np.where(truth, 3.0, -3.0))[None].float())
    looks = says[0, ADVISER_NAMES.index("appearance")].numpy() > 0
    assert looks[truth].mean() > 0.5
    assert looks[:, :, 22:].mean() < 0.05


def test_what_markers_say_is_found_in_places_that_they_cover_in_part() -> None:
    grid = Grid((slice(4, 20), slice(0, 16), slice(0, 16)), (16, 16, 16))
    markers = np.full((4, 8, 8), ps.Marker.OBJECT, dtype=np.uint8)
    says = grid.of_markers((slice(2, 6), slice(12, 20), slice(0, 8)), markers)
    assert says.sum() == 2 * 4 * 8 and bool((says[:2, 12:16, :8] == 1).all())


@pytest.mark.parametrize(
    ("n_slices", "thickness", "axes"), [(48, 1.0, [1, 2]), (24, 2.0, [1, 2]), (9, 8.0, []), (5, 2.0, [])]
)
def test_what_was_found_is_looked_at_across_the_slices_where_these_are_not_thick(
    n_slices: int, thickness: float, axes: list[int], completer
) -> None:
    drawn = solid("ball", n_slices=n_slices, thickness=thickness)
    case, network, cpu = dabbed(drawn), completer.networks[2], torch.device("cpu")
    grid = Grid.over(case, tuple(slice(0, n) for n in case.shape))
    seeds = look_at_seeds(network, case, cpu)
    nothing = torch.full(grid.shape, -6.0)
    slices = through_slices(network, case, seeds, grid, nothing, cpu)
    assert slices.axis == 0
    true = grid.of_markers(grid.region, np.where(drawn.truth, ps.Marker.OBJECT, ps.Marker.BACKGROUND))
    found = across_slices(network, case, slices, grid, 3 * true, cpu)
    assert [seen.axis for seen in found] == axes
    for seen in found:
        assert 1 < len(seen.index) <= N_CROSSING
        assert all(drawn.truth.take(k, seen.axis).any() for k in seen.index)
        assert dice(np.asarray(seen.on(grid)[0] > 0), np.asarray(true > 0)) > 0.9
    assert across_slices(network, case, slices, grid, nothing, cpu) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_dabs_find_any_solid_in_thick_slices_and_hold(kind, completer) -> None:
    drawn = solid(kind, n_slices=12, thickness=4.0)
    case, result = ps.Case(drawn.image, spacing=drawn.spacing), np.zeros_like(drawn.truth)
    for _ in range(5):
        marks = dab(result, drawn.truth, spacing=drawn.spacing)
        case = case if marks is None else case.mark(*marks)
        result = completed(completer, case)
        assert (result[case.strokes == ps.Marker.OBJECT]).all() and not result[case.strokes == 2].any()
    assert dice(result, drawn.truth) >= 0.9


def test_an_outside_stroke_in_the_hollow_of_a_shell_does_not_open_what_lies_around_it(completer) -> None:
    drawn = solid("shell", n_slices=40)
    case, inside, outside = ps.Case(drawn.image), np.zeros_like(drawn.truth), np.zeros_like(drawn.truth)
    for z, y, x in ((20, 17, 32), (20, 46, 32), (20, 32, 17), (7, 32, 32)):
        inside[z, y - 1 : y + 2, x - 1 : x + 2] = drawn.truth[z, y - 1 : y + 2, x - 1 : x + 2]
    outside[20, 31:34, 31:34] = True
    assert dice(completed(completer, case.mark(inside, outside)), drawn.truth) > 0.85


def test_two_objects_that_are_marked_at_once_are_both_found(completer) -> None:
    one = solid("ball", n_slices=24, side=48, size=0.22, contrast=5.0)
    image = np.concatenate([one.image, one.image], axis=2)
    truth = np.concatenate([one.truth, one.truth], axis=2)
    inside, outside = np.zeros_like(truth), np.zeros_like(truth)
    inside[12, 22:26, 22:26] = inside[12, 22:26, 70:74] = outside[12, 22:26, 47:50] = True
    assert dice(completed(completer, ps.Case(image).mark(inside, outside)), truth) > 0.9


def test_an_object_that_the_border_cuts_is_found_up_to_there(completer) -> None:
    drawn = solid("ball", n_slices=32, side=64)
    half = Solid(drawn.image[:, 32:], drawn.truth[:, 32:], drawn.spacing)
    assert half.truth[:, 0].any(), "test invalid"
    assert dice(completed(completer, dabbed(half)), half.truth) > 0.85


def test_an_accepted_slice_is_evidence_of_its_neighbours_and_an_empty_one_stays_empty(completer) -> None:
    drawn = solid("tube", n_slices=20, thickness=3.0, contrast=5.0)
    partial = np.zeros(drawn.truth.shape, dtype=np.uint8)
    for k in (5, 14):
        partial[k] = np.where(drawn.truth[k], ps.Marker.OBJECT, ps.Marker.BACKGROUND)
    partial[10] = ps.Marker.BACKGROUND
    found = completed(completer, ps.Case(drawn.image, spacing=drawn.spacing, partial=partial))
    assert not found[10].any()
    assert dice(found[4:9], drawn.truth[4:9]) > 0.8 and dice(found[12:16], drawn.truth[12:16]) > 0.8


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_walk_from_slice_to_slice_follows_a_tube_along_any_axis_and_ends_with_a_ball(axis, completer) -> None:
    images = completer.networks[2]
    for kind, most in (("tube", 24), ("ball", 20)):
        drawn = solid(kind, n_slices=24, thickness=2.0, side=48, contrast=5.0)
        truth = np.moveaxis(drawn.truth, 0, axis)
        spacing = tuple(2.0 if a == axis else 1.0 for a in range(3))
        case = ps.Case(np.ascontiguousarray(np.moveaxis(drawn.image, 0, axis)), spacing=spacing)
        case = case.mark(*first_dabs(truth, seed=1, spacing=spacing))
        seeds = look_at_seeds(images, case, torch.device("cpu"))
        assert seeds.axis == axis
        grid = Grid.over(case, tuple(slice(0, n) for n in truth.shape))
        prior = torch.from_numpy(grid_input(case, grid, n_channels=1)[0].numpy()) * 3
        found = through_slices(images, case, seeds, grid, prior, torch.device("cpu"))
        on, quality = found.on(grid)
        assert on.shape == quality.shape == grid.shape
        assert dice(grid.in_voxels(on.sigmoid()) > 0.5, truth) > 0.8
        assert len(found.index) <= most


def test_places_are_nearly_cubic_and_few_and_hold_the_smallest_stroke() -> None:
    case = ps.Case(np.zeros((9, 512, 400), dtype=np.float32), spacing=(8.0, 1.0, 1.0))
    inside = np.zeros(case.shape, dtype=bool)
    inside[4, 333, 222] = True
    case = case.mark(inside)
    grid = Grid.over(case, (slice(0, 9), slice(100, 500), slice(50, 350)))
    sides = [n * mm / g for n, mm, g in zip(grid.n_voxels, case.spacing, grid.shape, strict=True)]
    assert max(sides) / min(sides) < 2.6
    assert np.prod(grid.shape) < 1.2 * MAX_PLACES
    x = grid_input(case, grid, n_channels=2)
    assert x.shape == (5, *grid.shape) and x[2].sum() >= 1 and x[3:].sum() == 0


def test_an_absurd_spacing_does_not_starve_a_slice() -> None:
    case = ps.Case(np.zeros((10, 60, 60), dtype=np.float32), spacing=(1e4, 1.0, 1.0))
    grid = Grid.over(case, (slice(0, 10), slice(0, 60), slice(0, 60)))
    assert grid.shape == (40, 60, 60)


def test_an_untrained_refiner_adds_the_log_odds_of_both_answers() -> None:
    maps, facts = torch.rand(1, N_MAPS, 8, 8, 8), torch.zeros(1, N_FACTS)
    assert torch.allclose(VolumeRefiner()(maps, facts), 6.0 * (maps[:, 0] + maps[:, 1]))
    assert facts_of(1, 1, fineness=1.0, thickness=8.0, trust=1.0, confidence=0.5).shape == (N_FACTS,)


def test_candidates_are_distinct_and_the_completion_comes_first(completer, proposer) -> None:
    case = dabbed(solid("ball", n_slices=16, thickness=3.0, contrast=2.0))
    candidates = proposer.propose(case, 6, ndim=3)
    objects = [partial == ps.Marker.OBJECT for partial in candidates.partial]
    assert dice(objects[0], completed(completer, case)) > 0.97
    assert len(objects) > 1
    assert all(dice(a, b) < 0.99 for i, a in enumerate(objects) for b in objects[:i])


def test_what_was_on_show_is_among_the_candidates_of_a_volume(proposer) -> None:
    drawn = solid("ball", n_slices=16, thickness=3.0, contrast=2.0)
    case = dabbed(drawn)
    shown = np.zeros(case.shape, dtype=bool)
    shown[2:14, 8:56, 8:56] = True  # a block, which nobody says
    outside = np.zeros(case.shape, dtype=bool)
    outside[8, 10:13, 10:13] = True
    asked = case.mark(outside=outside).with_shown(tuple(slice(0, n) for n in case.shape), shown, 0.5)
    candidates = proposer.propose(asked, 6, ndim=3)
    assert candidates.kept is not None
    kept = candidates.partial[candidates.kept] == ps.Marker.OBJECT
    assert dice(kept, shown) > 0.85 and not kept[outside].any()


def test_the_control_of_candidates_is_what_the_network_of_volumes_says_alone_in_its_best_window(proposer) -> None:
    drawn = solid("tube", n_slices=16, thickness=3.0, side=48, contrast=2.0)
    target = Target("tube", drawn.image[None], drawn.truth, drawn.spacing, drawn.truth.astype(np.int32))
    score, _ = score_samples(proposer, target, seed=1)
    looks = look_around(proposer.networks[3], dabbed(drawn), torch.device("cpu"))
    whole = tuple(slice(0, n) for n in drawn.truth.shape)
    seen = [in_region(p, w, whole) for p, w in zip(looks.logit.sigmoid(), looks.windows, strict=True)]
    assert score.control == pytest.approx(max(dice(p > 0.5, drawn.truth) for p in seen))


def test_weights_of_volumes_without_a_refiner_complete_as_before(completer) -> None:
    plain = GeneralCVAE(completer.networks[3].config)
    plain.load_state_dict({k: v for k, v in completer.networks[3].state_dict().items() if "refiner" not in k})
    drawn = solid("ball", n_slices=32, side=48)
    found = completed(UNetCut({2: completer.networks[2], 3: plain}, device="cpu"), dabbed(drawn))
    assert found.any() and not isinstance(plain, VolumeCVAE)
    assert isinstance(refined(plain), VolumeCVAE)


def test_a_refiner_learns_from_a_few_answers(completer) -> None:
    network = refined(completer.networks[3])
    network.refiner = VolumeRefiner()
    target = list(synthetic_targets(2, seed=5))[-1]
    views: list[VolumeView] = list(views_of(network, completer.networks[2], target))[:2]
    said = list(fit_volume_refiner(network, [views], config=replace(FIT_CONFIG, n_steps=40, n_warmup=5)))
    losses = [float(progress.losses["total"]) for progress in said if not isinstance(progress, str)]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])


def test_without_any_object_there_is_nothing_to_learn_from(completer) -> None:
    network = refined(completer.networks[3])
    with pytest.raises(ValueError, match="no data set holds a labelled volume"):
        list(train_volume_refiner(network, completer.networks[2], [], n_synthetic=0))


def test_the_command_writes_weights_in_half_precision_as_the_shipped_ones_are(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("napari_probseg.training.refine_volumes.train_volume_refiner", lambda *_, **__: iter(["done"]))
    start = weights_path("general3d")
    done = CliRunner().invoke(
        app, ["train", "refiner3d", str(tmp_path), "--data", str(tmp_path), "--start", str(start)]
    )
    assert done.exit_code == 0, done.output
    written, shipped = load_file(tmp_path / "general3d.safetensors"), load_file(start)
    assert written.keys() == shipped.keys()
    assert {t.dtype for t in written.values()} == {t.dtype for t in shipped.values()}
