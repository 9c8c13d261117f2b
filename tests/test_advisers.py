"""The classical methods that a network is advised by, beside their counterparts in scikit-image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.graph import MCP_Geometric
from skimage.segmentation import random_walker
from skimage.segmentation import watershed as flooded

from napari_probseg.nn import advisers
from napari_probseg.nn.adviser_config import AdviserConfig
from napari_probseg.nn.advisers import ADVISER_NAMES, advice
from napari_probseg.nn.appearance import appearance, likeness, seen_in
from napari_probseg.nn.filters import edge_strength, smoothed
from napari_probseg.nn.ways import way_costs

SIDE = {2: 64, 3: 32}
CONFIG = AdviserConfig()


def a_ball(ndim: int, *, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bright ball with a mark in it and one beside it: image (1, 1, ...), inside, outside, truth (1, ...)."""
    n = SIDE[ndim]
    place = np.indices((n,) * ndim) - n / 2
    truth = np.sqrt((place**2).sum(0)) < n / 4
    image = ndimage.gaussian_filter(truth + np.random.default_rng(0).normal(0, noise, truth.shape), 0.7)
    image = (image - image.mean()) / image.std()
    inside, outside = np.zeros((2, *truth.shape), dtype=bool)
    inside[(slice(n // 2 - 2, n // 2 + 2),) * ndim] = True
    outside[(slice(2, 5),) * ndim] = True
    return tuple(torch.from_numpy(a)[None] for a in (image[None].astype(np.float32), inside, outside, truth))


def parts(image: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return edge_strength(smoothed(image)), torch.stack([inside, outside], 1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_adviser_finds_a_ball(ndim: int) -> None:
    image, inside, outside, truth = a_ball(ndim)
    says = advice(image, inside, outside, replace(CONFIG, place=0.2, n_walker_steps=200))
    assert says.shape == (1, len(ADVISER_NAMES), *truth.shape[1:])
    assert says.abs().max() <= 1
    for name, said in zip(ADVISER_NAMES, says[0], strict=True):
        assert ((said > 0) == truth[0]).float().mean() > 0.9, name


@pytest.mark.parametrize("ndim", [2, 3])
def test_ways_are_those_of_shortest_path_search_but_for_the_coarse_grid(ndim: int) -> None:
    image, inside, outside, _ = a_ball(ndim)
    edges, marks = parts(image, inside, outside)
    cost = CONFIG.edge * edges + CONFIG.step
    found = way_costs(cost, marks, n_rounds=2)[:, 0, 0].numpy()
    for side, mark in zip(found, (inside, outside), strict=True):
        exact = MCP_Geometric(cost[0, 0].numpy()).find_costs(np.argwhere(mark[0].numpy()))[0]
        off = np.abs(side - exact)[exact > 1] / exact[exact > 1]
        assert np.median(off) < 0.1
        assert np.quantile(off, 0.95) < 0.3, "a mark is up to a place larger on the coarse grid"


def test_the_geodesic_side_is_that_of_shortest_path_search() -> None:
    image, inside, outside, _ = a_ball(2)
    edges, marks = parts(image, inside, outside)
    cost = (CONFIG.edge * edges + CONFIG.step)[0, 0].numpy()
    inner, outer = (MCP_Geometric(cost).find_costs(np.argwhere(m[0].numpy()))[0] for m in (inside, outside))
    said = advisers.by_ways(edges, marks, CONFIG)[0, 0].numpy()
    assert ((said > 0) == (inner < outer)).mean() > 0.98


def test_the_watershed_side_is_that_of_scikit_image() -> None:
    image, inside, outside, _ = a_ball(2, noise=0.05)
    edges, marks = parts(image, inside, outside)
    markers = inside[0].numpy() * 1 + outside[0].numpy() * 2
    said = advisers.by_ways(edges, marks, CONFIG)[0, 1].numpy()
    assert ((said > 0) == (flooded(edges[0, 0].numpy(), markers) == 1)).mean() > 0.97


def test_the_walker_is_that_of_scikit_image() -> None:
    image, inside, outside, _ = a_ball(2)
    smooth = smoothed(image)
    said = advisers.walker(smooth, torch.stack([inside, outside], 1), replace(CONFIG, n_walker_steps=200))[0, 0]
    markers = inside[0].numpy() * 1 + outside[0].numpy() * 2
    exact = random_walker(smooth[0, 0].numpy(), markers, beta=130, mode="cg_j") == 1
    assert ((said > 0).numpy() == exact).mean() > 0.97


def test_appearance_tells_textures_apart_wherever_they_are() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((64, 64), dtype=bool)
    truth[8:24, 8:24] = truth[40:56, 36:60] = True
    image = np.where(truth, 1.0, -1.0) + rng.normal(0, 0.7, truth.shape)
    inside, outside = np.zeros((2, 64, 64), dtype=bool)
    inside[12:20, 12:20], outside[28:36, 28:36] = True, True
    marks = torch.from_numpy(np.stack([inside, outside]))[None]
    said = appearance(seen_in(torch.from_numpy(image).float()[None, None], CONFIG), marks, CONFIG)
    found = ndimage.binary_opening(said[0, 0].numpy() > 0)
    assert found[44:52, 44:52].mean() > 0.9, "the other one is found, too"
    assert found[~truth].mean() < 0.2


def striped() -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """An image of thin bright stripes on dark ground beside a disk that is brighter still, the stripes, and marks.

    One mark lies on a stripe, and the only one outside on the disk: they say that what is darker is meant.
    """
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:96, :96]
    truth = np.broadcast_to(rows % 12 < 2, (96, 96)) & (columns < 60)
    disk = (rows - 48) ** 2 + (columns - 78) ** 2 < 14**2
    image = np.where(truth, 1.5, np.where(disk, 3.0, 0.0)) + rng.normal(0, 0.2, truth.shape)
    inside, outside = np.zeros((2, 96, 96), dtype=bool)
    inside[36:38, 20:30], outside[44:52, 74:82] = True, True
    return (image - image.mean()) / image.std(), truth, torch.from_numpy(np.stack([inside, outside]))[None]


def test_likeness_is_against_all_that_is_not_marked() -> None:
    image, truth, marks = striped()
    config = replace(CONFIG, appearance_stride=1)
    seen = seen_in(smoothed(torch.from_numpy(image).float()[None, None]), config)
    by_marks = appearance(seen, marks, config)[0, 0].numpy() > 0
    like = likeness(seen, marks, torch.full((1, *truth.shape), 0.1), config)[0, 0].numpy() > 0
    assert by_marks[~truth].mean() > 0.5, "the marks alone tell the stripes from the disk"
    assert like[truth].mean() > 0.9
    assert like[~truth].mean() < 0.15


def test_what_is_guessed_to_be_object_is_not_learnt_from_as_outside() -> None:
    image, inside, outside, truth = a_ball(2, noise=0.3)
    marks, seen = torch.stack([inside, outside], 1), seen_in(image, CONFIG)
    nothing, all_of_it = (likeness(seen, marks, g, CONFIG)[0, 0] for g in (truth * 0.0, truth * 0.95))
    assert all_of_it[truth[0]].mean() > nothing[truth[0]].mean()


@pytest.mark.parametrize("ndim", [2, 3])
def test_marks_hold_and_the_frame_stands_for_the_outside(ndim: int) -> None:
    image, inside, outside, truth = a_ball(ndim)
    says = advice(image, inside, outside)[0]
    assert (says[:, inside[0]] == 1).all()
    assert (says[:, outside[0]] == -1).all()
    without = advice(image, inside, torch.zeros_like(outside))[0]
    assert (without[:, advisers.framed(inside)[0]] == -1).all()
    assert ((without[0] > 0) == truth[0]).float().mean() > 0.94
    assert not advice(image, torch.zeros_like(inside), outside).any(), "without a mark inside nothing is said"


def test_a_batch_is_advised_item_by_item() -> None:
    image, inside, outside, _ = a_ball(2)
    images = torch.cat([image, image.flip(2), -image])
    insides, outsides = (torch.cat([m, m.flip(1), m]) for m in (inside, outside))
    together = advice(images, insides, outsides)
    for i in range(3):
        alone = advice(images[i : i + 1], insides[i : i + 1], outsides[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_constant_image_and_a_full_window_are_no_error(ndim: int) -> None:
    _, inside, outside, _ = a_ball(ndim)
    nothing = torch.zeros(1, 1, *inside.shape[1:])
    assert advice(nothing, inside, outside).isfinite().all()
    assert advice(nothing, torch.ones_like(inside), torch.zeros_like(outside)).isfinite().all()
    for sure in (0.0, 1.0):
        guess = torch.full(inside.shape, sure)
        for marks in (torch.stack([inside, outside], 1), torch.stack([~outside, outside], 1)):
            said = likeness(seen_in(nothing, CONFIG), marks, guess, CONFIG)
            assert said.shape[1] == 1
            assert said.isfinite().all()
