"""Scenes, strokes and tasks: what must hold for every batch."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_probseg.simulate.annotator import dab, first_dabs
from napari_probseg.simulate.noise import Chance, blurred, depth
from napari_probseg.simulate.phantoms import phantom_3d
from napari_probseg.simulate.scenes import degraded, synthetic_scene
from napari_probseg.simulate.strokes import correction, drawn_line, first_strokes, looked_at, random_point, stroke
from napari_probseg.simulate.tasks import make_task


def chance(seed: int = 0) -> Chance:
    return Chance(torch.Generator().manual_seed(seed))


SHAPES = [(48, 48), (24, 24, 24)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=["2-D", "3-D"])


@each_shape
@pytest.mark.parametrize("seed", range(3))
def test_scene_is_finite_labelled_and_repeatable(seed: int, shape: tuple[int, ...]) -> None:
    scene = synthetic_scene(5, shape, chance(seed), n_channels=2)
    again = synthetic_scene(5, shape, chance(seed), n_channels=2)
    assert scene.image.shape == (5, 2, *shape)
    assert scene.instance.shape == (5, *shape)
    assert torch.isfinite(scene.image).all()
    assert scene.instance.max() < scene.kind.shape[1]
    assert (scene.kind.gather(1, scene.instance.flatten(1)) > 0).any(1).all(), "there is something in each"
    assert torch.equal(scene.image, again.image)
    assert torch.equal(scene.instance, again.instance)


@each_shape
def test_all_makers_of_scenes_get_their_share_of_small_batches(shape: tuple[int, ...]) -> None:
    kinds = [synthetic_scene(2, shape, chance(seed)).kind for seed in range(8)]
    has_tubes = torch.cat(kinds)[:, -1] > 0
    assert 0 < has_tubes.sum() < len(has_tubes)


@each_shape
@pytest.mark.parametrize("seed", range(3))
def test_task_marks_agree_with_the_target(seed: int, shape: tuple[int, ...]) -> None:
    task = make_task(synthetic_scene(8, shape, chance(seed)), chance(seed + 100))
    assert task.decided.shape == (8, *shape)
    assert not (task.inside & ~task.target).any()
    assert not (task.outside & task.target).any()
    assert not ((task.inside | task.outside) & ~task.decided).any(), "what is decided stays decided"
    assert ((task.reach > 0) & (task.reach <= 1)).all()
    assert torch.allclose(task.reach, task.decided.flatten(1).float().mean(1))
    has_target = task.target.flatten(1).any(1)
    assert task.inside.flatten(1).any(1)[has_target].float().mean() > 0.8


def test_random_point_lies_where_the_weight_is() -> None:
    weight = torch.zeros(6, 9, 9)
    weight[:, 4, 2] = 1
    assert random_point(weight, chance()).tolist() == [[4, 2]] * 6
    weight = torch.zeros(2, 5, 6, 7)
    weight[:, 4, 2, 6] = 1
    assert random_point(weight, chance()).tolist() == [[4, 2, 6]] * 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_line_is_what_lies_within_its_radius(ndim: int) -> None:
    start, end = [5, 5, 2][-ndim:], [5, 5, 7][-ndim:]
    line = drawn_line(torch.tensor([start]), torch.tensor([end]), torch.tensor([1.5]), (11,) * ndim)[0]
    *others, x = np.mgrid[(slice(11),) * ndim]
    squared = sum((other - 5) ** 2 for other in others) + (x - np.clip(x, 2, 7)) ** 2
    assert np.array_equal(line.numpy(), squared <= 1.5**2)


@each_shape
def test_stroke_stays_in_its_mask(shape: tuple[int, ...]) -> None:
    mask = synthetic_scene(6, shape, chance()).instance > 0
    drawn = stroke(mask, chance(1))
    assert drawn.any()
    assert not (drawn & ~mask).any()
    assert not stroke(torch.zeros(3, *shape, dtype=torch.bool), chance()).any()


def test_person_draws_on_slices_of_every_axis_of_a_volume() -> None:
    target = torch.ones(60, 16, 16, 16, dtype=torch.bool)
    seen = looked_at(target, chance())
    thickness = torch.stack([seen.flatten(1).sum(1) == k * 16 * 16 for k in (1, 2, 3)])
    assert 0.5 < thickness.any(0).float().mean() < 1, "mostly a slice of one to three voxels, else all"
    for axis in (1, 2, 3):
        along = seen.movedim(axis, 1).flatten(2).all(2).sum(1)
        assert ((along >= 1) & (along < 16)).any(), f"some slices lie across axis {axis}"
    inside, _ = first_strokes(target, target, chance())
    extent = torch.stack([inside.movedim(a, 1).flatten(2).any(2).sum(1) for a in (1, 2, 3)])
    assert (extent.min(0).values <= 3).float().mean() > 0.4
    assert looked_at(target[:, 0], chance()).all(), "all of an image is seen"


def test_blur_keeps_the_mean_of_what_is_constant_and_takes_noise_off() -> None:
    image = torch.full((2, 1, 12, 12, 12), 0.3)
    assert torch.allclose(blurred(image, torch.tensor([0.5, 2.0])), image)
    noise = chance().normal(2, 1, 16, 16, 16)
    after = blurred(noise, torch.tensor([0.01, 2.0])).flatten(1).std(1)
    assert after[0] == pytest.approx(noise[0].std().item(), rel=1e-4)
    assert after[1] < 0.2


def test_volumes_are_degraded_to_thick_slices_of_some_axis() -> None:
    noise = chance().uniform(40, 1, 16, 16, 16)
    after = degraded(noise, chance(1), strength=0)
    rough = torch.stack([after.diff(dim=axis).abs().flatten(1).mean(1) for axis in (2, 3, 4)])
    is_thick = rough.min(0).values < 0.6 * rough.max(0).values
    assert 0.2 < is_thick.float().mean() < 0.8
    assert set(rough[:, is_thick].argmin(0).tolist()) == {0, 1, 2}


@pytest.mark.parametrize(("ndim", "off"), [(2, 3), (3, 4)])
def test_depth_is_close_to_the_distance_to_the_border(ndim: int, off: int) -> None:
    grid = np.mgrid[(slice(-20, 21),) * ndim]
    ball = np.sqrt((grid**2).sum(0)) < 15
    exact = ndimage.distance_transform_edt(ball)
    found = depth(torch.from_numpy(ball)[None], 30)[0].numpy()
    assert np.abs(found - exact)[ball].max() <= off
    assert not found[~ball].any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_correction_hits_what_is_wrong_and_tells_the_truth(ndim: int) -> None:
    truth = torch.zeros(2, *(20,) * ndim, dtype=torch.bool)
    truth[(slice(None), *[slice(6, 14)] * ndim)] = True
    missing, extra = correction(torch.stack([truth[0] & False, truth[0] | True]), truth, chance())
    assert missing[0].any()
    assert not (missing & ~truth).any()
    assert extra[1].any()
    assert not (extra & truth).any()
    assert not torch.cat(correction(truth, truth, chance())).any(), "nothing wrong, nothing drawn"


def test_dab_lies_in_the_middle_of_the_largest_error() -> None:
    truth = np.zeros((64, 64), dtype=bool)
    truth[10:31, 10:31] = True
    inside, outside = dab(np.zeros_like(truth), truth)  # type: ignore[misc]
    assert not outside.any()
    assert np.allclose(np.argwhere(inside).mean(0), 20)
    assert dab(truth, truth) is None


def test_first_dabs_are_on_their_sides() -> None:
    truth = np.hypot(*np.mgrid[-40:40, -40:40]) < 12
    inside, outside = first_dabs(truth, seed=3)
    assert inside.any()
    assert outside.any()
    assert not (inside & ~truth).any()
    assert not (outside & truth).any()
    with pytest.raises(ValueError, match="the label is empty"):
        first_dabs(np.zeros((8, 8), dtype=bool), seed=0)


def test_phantoms_hold_nested_and_repeated_objects() -> None:
    image, labels = phantom_3d(size=64, n_slices=24)
    assert image.shape == labels.shape == (24, 64, 64)
    assert set(np.unique(labels)) == set(range(7))
    liver = ndimage.binary_fill_holes(np.isin(labels, (1, 2)))
    assert liver[labels == 2].all()
    assert ndimage.label(np.isin(labels, (3, 4)))[1] == 2
    assert abs(image[labels == 1].mean() - image[labels == 2].mean()) > 100
    assert not np.array_equal(image, phantom_3d(1, size=64, n_slices=24)[0])
