"""Scenes, strokes and tasks: what must hold for every batch."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_probseg.simulate.annotator import dab, first_dabs
from napari_probseg.simulate.noise import Chance, depth
from napari_probseg.simulate.scenes import synthetic_scene
from napari_probseg.simulate.strokes import correction, drawn_line, random_point, stroke
from napari_probseg.simulate.tasks import make_task


def chance(seed: int = 0) -> Chance:
    return Chance(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
def test_scene_is_finite_labelled_and_repeatable(seed: int) -> None:
    scene = synthetic_scene(8, 48, chance(seed))
    again = synthetic_scene(8, 48, chance(seed))
    assert scene.image.shape == (8, 3, 48, 48)
    assert torch.isfinite(scene.image).all()
    assert scene.instance.max() < scene.kind.shape[1]
    assert torch.equal(scene.image, again.image)
    assert torch.equal(scene.instance, again.instance)


@pytest.mark.parametrize("seed", range(5))
def test_task_marks_agree_with_the_target(seed: int) -> None:
    task = make_task(synthetic_scene(16, 48, chance(seed)), chance(seed + 100))
    assert not (task.inside & ~task.target).any()
    assert not (task.outside & task.target).any()
    assert not ((task.inside | task.outside) & ~task.decided).any(), "what is decided stays decided"
    assert ((task.reach > 0) & (task.reach <= 1)).all()
    assert torch.allclose(task.reach, task.decided.float().mean((1, 2)))
    has_target = task.target.flatten(1).any(1)
    assert task.inside.flatten(1).any(1)[has_target].float().mean() > 0.9


def test_random_point_lies_where_the_weight_is() -> None:
    weight = torch.zeros(6, 9, 9)
    weight[:, 4, 2] = 1
    assert random_point(weight, chance()).tolist() == [[4, 2]] * 6


def test_line_is_what_lies_within_its_radius() -> None:
    line = drawn_line(torch.tensor([[5, 2]]), torch.tensor([[5, 7]]), torch.tensor([1.0]), 11)[0]
    y, x = np.mgrid[:11, :11]
    distance = np.hypot(y - 5, x - np.clip(x, 2, 7))
    assert np.array_equal(line.numpy(), distance <= 1)


def test_stroke_stays_in_its_mask() -> None:
    mask = synthetic_scene(8, 48, chance()).instance > 0
    drawn = stroke(mask, chance(1))
    assert not (drawn & ~mask).any()
    assert not stroke(torch.zeros(3, 20, 20, dtype=torch.bool), chance()).any()


def test_depth_is_close_to_the_distance_to_the_border() -> None:
    disk = np.hypot(*np.mgrid[-20:21, -20:21]) < 15
    exact = ndimage.distance_transform_edt(disk)
    found = depth(torch.from_numpy(disk)[None], 30)[0].numpy()
    assert np.abs(found - exact)[disk].max() <= 3
    assert not found[~disk].any()


def test_correction_hits_what_is_wrong_and_tells_the_truth() -> None:
    truth = torch.zeros(2, 32, 32, dtype=torch.bool)
    truth[:, 8:24, 8:24] = True
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
