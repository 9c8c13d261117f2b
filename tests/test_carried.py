"""What accepted slices say of the rest of a volume: it is heard beside the networks, and is among the candidates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference import carried
from napari_probseg.inference.carried import MAX_WEIGHT, Carried
from napari_probseg.inference.grid import Grid
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball, with_rim
from napari_probseg.region import bounding_box


def tube(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    """A tube that leans, with an end in the volume on both sides."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.hypot(y - shape[1] / 2, x - shape[2] / 2 - 0.3 * (z - shape[0] / 2)) < radius
    return inside & (z >= 5) & (z < shape[0] - 5)


def spot(truth: np.ndarray, middle: tuple[int, int, int], radius: float) -> np.ndarray:
    return ball(truth.shape, middle, radius, np.ones(3))


def with_accepted(truth: np.ndarray, *slices: int, axis: int = 0, contrast: float = 0.6) -> ps.Case:
    """A volume with a stroke on some slices, on which the object was accepted as a person accepts it."""
    image = contrast * truth + np.random.default_rng(0).normal(0.2, 0.1, truth.shape)
    case = ps.Case(image, spacing=tuple(2.0 if a == axis else 1.0 for a in range(3)))
    for k in slices:
        mask = np.take(truth, k, axis)
        where = (*(slice(None),) * axis, slice(k, k + 1))
        where += (slice(None),) * (3 - len(where))
        patch = np.where(mask, ps.Marker.OBJECT, np.where(with_rim(mask), ps.Marker.BACKGROUND, ps.Marker.UNKNOWN))
        middle = [int(i.mean()) for i in np.nonzero(mask)]
        case = case.mark(np.expand_dims(ball(mask.shape, tuple(middle), 2.0, np.ones(2)), axis), where=where)
        case = case.decide(where, np.expand_dims(patch, axis).astype(np.uint8))
    return case


def found_in(case: ps.Case, of: Carried) -> np.ndarray:
    grid = Grid.over(case, tuple(slice(0, n) for n in case.shape))
    return np.asarray(grid.in_voxels(of.on(grid)) > 0.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_object_is_carried_from_the_accepted_slices_of_any_axis(axis: int) -> None:
    truth = np.ascontiguousarray(np.moveaxis(tube((24, 40, 44), 8), 0, axis))
    case = with_accepted(truth, 9, 15, axis=axis)
    said = Carried.of(case)
    assert said is not None and said.weight == MAX_WEIGHT
    assert dice(found_in(case, said), truth) > 0.85
    box = bounding_box(truth)
    assert box is not None
    assert all(abs(a.start - b.start) <= 3 and abs(a.stop - b.stop) <= 3 for a, b in zip(said.box, box, strict=True))


@pytest.mark.parametrize("slices", [(30,), (29, 30, 44)])
def test_a_large_object_is_carried_on_fewer_places(slices: tuple[int, ...], monkeypatch) -> None:
    monkeypatch.setattr(carried, "MAX_SIDE", 16)
    truth = tube((60, 120, 124), 30)
    case = with_accepted(truth, *slices)
    said = Carried.of(case)
    assert said is not None
    assert said.every[1] == said.every[2] == 4 and said.every[0] > 1
    assert said.mask.size < truth.size / 20
    assert dice(found_in(case, said), truth) > 0.85


@pytest.mark.parametrize("shape", [(7, 3, 300), (7, 300, 2), (7, 1, 40)])
def test_a_thin_slice_is_carried_as_it_is_or_not_at_all(shape: tuple[int, int, int]) -> None:
    truth = np.zeros(shape, dtype=bool)
    truth[1:6, :, shape[2] // 4 : -shape[2] // 4] = True
    case = with_accepted(truth, 3)
    said = Carried.of(case)
    assert (said is None) == (1 in shape)
    assert said is None or dice(found_in(case, said), truth) > 0.8


def test_strokes_elsewhere_count_beside_it_and_those_on_accepted_slices_do_not() -> None:
    truth = tube((24, 40, 44), 8)
    case = with_accepted(truth, 12)
    elsewhere = case.mark(spot(truth, (6, 20, 20), 1.0)).mark(outside=spot(truth, (18, 4, 4), 1.0))
    here = case.mark(outside=spot(truth, (12, 4, 4), 1.0))
    weights = [Carried.of(c).weight for c in (case, here, elsewhere)]  # type: ignore[union-attr]
    assert weights[0] == weights[1] == MAX_WEIGHT
    assert weights[2] == pytest.approx(0.8 * MAX_WEIGHT)


def test_a_stroke_on_another_part_that_reaches_into_an_accepted_slice_leaves_it_accepted() -> None:
    truth = tube((24, 40, 44), 5)
    case = with_accepted(truth, 12)
    beside = case.mark(spot(truth, (11, 35, 38), 2.0))
    assert (beside.strokes[12] != case.strokes[12]).any(), "test invalid"
    before, said = Carried.of(case), Carried.of(beside)
    assert before is not None and said is not None
    assert dice(found_in(beside, said)[:, :30], found_in(case, before)[:, :30]) > 0.9


def test_strokes_alone_and_an_object_that_is_decided_all_around_carry_nothing() -> None:
    truth = tube((24, 40, 44), 8)
    case = with_accepted(truth)
    assert Carried.of(case) is None
    assert Carried.of(case.mark(truth & spot(truth, (12, 20, 22), 4.0))) is None
    whole = np.where(with_rim(truth), ps.Marker.BACKGROUND, ps.Marker.UNKNOWN).astype(np.uint8)
    whole[truth] = ps.Marker.OBJECT
    accepted = case.decide(tuple(slice(0, n) for n in truth.shape), whole)
    assert Carried.of(accepted) is None, "it was accepted in the volume: there is no slice to go on from"


def test_the_answer_in_a_volume_hears_it_and_it_is_among_the_candidates(monkeypatch) -> None:
    completer = ps.load_completer(device="cpu")
    truth = tube((24, 40, 44), 8)
    case = with_accepted(truth, 8, 16, contrast=0.15)
    with_it = completer.propose(case).partial[0] == ps.Marker.OBJECT
    said = Carried.of(case)
    assert said is not None
    offered = [p == ps.Marker.OBJECT for p in completer.proposer.propose(case, 8, ndim=3).partial]
    assert max(dice(mask, found_in(case, said)) for mask in offered) > 0.9
    monkeypatch.setattr(Carried, "of", classmethod(lambda cls, case: None))
    without = completer.propose(case).partial[0] == ps.Marker.OBJECT
    assert dice(with_it, truth) > dice(without, truth)


def test_networks_count_as_far_as_they_find_the_accepted_slices_and_near_strokes_in_full() -> None:
    truth = tube((24, 40, 44), 8)
    case = with_accepted(truth, 8, 16)
    said = Carried.of(case)
    assert said is not None
    grid = Grid.over(case, tuple(slice(0, n) for n in truth.shape))
    right, everything, nothing, dab = (
        grid.of_markers(grid.region, mask.astype(np.uint8)).clamp(min=0.0)
        for mask in (truth, np.ones_like(truth), np.zeros_like(truth), spot(truth, (12, 4, 4), 1.5))
    )
    none = torch.zeros(grid.shape, dtype=torch.bool)
    away = (said.on(grid) == 0) & (right == 0)
    heard = [said.beside(p, grid, none, none)[away].mean().item() for p in (right, everything, nothing)]
    assert heard[0] == heard[2] == 0
    assert heard[1] < 0.25, "who takes all for the object on the accepted slices is hardly heard elsewhere"
    too_long = right.clone()
    too_long[:2] = 1.0
    elsewhere = said.beside(too_long, grid, none, none)[away]
    assert elsewhere.max() > 0.45, "who finds them counts as much as what is carried"
    assert torch.equal(said.beside(nothing, grid, none, none), said.on(grid))
    corrected = said.beside(everything, grid, dab > 0, none)
    assert bool((corrected[dab > 0] >= 0.5).all()) and corrected[away].mean() < 0.3


@pytest.mark.parametrize("axis", [0, 2])
def test_a_small_stroke_ends_a_large_object_too(axis: int, monkeypatch) -> None:
    monkeypatch.setattr(carried, "MAX_SIDE", 16)
    truth = np.ascontiguousarray(np.moveaxis(tube((60, 120, 124), 30), 0, axis))
    case = with_accepted(truth, 20, 30, axis=axis)
    outside = np.zeros_like(truth)
    np.moveaxis(outside, axis, 0)[42, 59:61, 61:63] = True
    ended = case.mark(outside=outside)
    before, after = (np.moveaxis(found_in(c, Carried.of(c)), axis, 0) for c in (case, ended))
    assert before[48].any() and not after[48].any()
    assert dice(before[:38], after[:38]) > 0.95
