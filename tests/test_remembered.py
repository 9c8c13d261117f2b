"""What is reckoned once, or otherwise, changes no answer: slices that were seen before, alike channels, matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

import napari_probseg as ps
from napari_probseg import morphology
from napari_probseg.inference.remembered import Remembered
from napari_probseg.inference.resampling import interpolating, resizing, transformed
from napari_probseg.nn import advisers, appearance
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.simulate.annotator import dab
from napari_probseg.simulate.solids import solid


class Asked:
    """A network that counts the rows that it is asked about."""

    def __init__(self) -> None:
        self.network, self.n_rows = nn.Identity(), 0

    def say(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.n_rows += len(x)
        return 2 * x, x.sum(1)


def test_what_was_seen_before_is_not_asked_again() -> None:
    asked, remembered = Asked(), Remembered(n_kept=3)
    x = torch.arange(12.0).view(3, 4)
    for rows in (x, x.flip(0), x[1:2], torch.cat([x[:2], x[:2]])):
        doubled, summed = remembered.said(asked.network, rows, asked.say)
        assert torch.equal(doubled, 2 * rows)
        assert torch.equal(summed, rows.sum(1))
    assert asked.n_rows == 3
    remembered.said(asked.network, x + 100, asked.say)
    assert asked.n_rows == 6
    remembered.said(asked.network, x, asked.say)
    assert asked.n_rows == 9, "the latest three are kept"
    remembered.said(nn.Identity(), x, asked.say)
    assert asked.n_rows == 12, "another network says something else"


def test_strokes_in_volumes_are_answered_alike_by_who_remembers_and_who_begins_anew() -> None:
    completer = ps.load_completer(device="cpu")
    drawn = solid("ball", n_slices=24, thickness=2.0)
    rng = np.random.default_rng(0)
    other = drawn.image[::-1] + rng.normal(0, 0.3 * float(drawn.image.std()), drawn.image.shape)
    for image, truth in ((drawn.image, drawn.truth), (other.astype(np.float32), drawn.truth[::-1])):
        case, result = ps.Case(image, spacing=drawn.spacing), np.zeros_like(truth)
        for _ in range(4):
            marks = dab(result, truth, spacing=drawn.spacing)
            if marks is None:
                break
            case = case.mark(*marks)
            anew = UNetCut(completer.networks, device="cpu").complete(case)
            found = completer.complete(case)
            assert found.where == anew.where
            assert (found.probability > 0.5).sum() > 0
            assert ((found.probability > 0.5) != (anew.probability > 0.5)).mean() < 1e-3
            result = np.zeros_like(truth)
            result[found.where] = found.probability > 0.5


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_channels_that_are_alike_say_what_they_say_each_for_itself(ndim, stride, monkeypatch) -> None:
    config = advisers.AdviserConfig(appearance_stride=stride)
    image = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(32,) * ndim), 1.5))
    image = (image / image.std()).float()[None, None].expand(1, 3, *[-1] * ndim)
    inside, outside = torch.zeros(2, 1, *image.shape[2:], dtype=torch.bool)
    inside[0, 10:14, 10:14], outside[0, 20:26, 20:24] = True, True
    says = advisers.advice(image, inside, outside, config)
    marks, guess = torch.stack([inside, outside], 1), torch.full((1, *image.shape[2:]), 0.2)
    like = appearance.likeness(appearance.seen_in(image, config), marks, guess, config)
    assert len(appearance.seen_in(image, config).counts) == 4 * config.n_levels + ndim
    for module in (advisers, appearance):
        monkeypatch.setattr(module, "without_copies", lambda image: (image, 1))
    assert len(appearance.seen_in(image, config).counts) == 10 * config.n_levels + ndim
    torch.testing.assert_close(says, advisers.advice(image, inside, outside, config), atol=1e-3, rtol=1e-3)
    each = appearance.likeness(appearance.seen_in(image, config), marks, guess, config)
    torch.testing.assert_close(like, each, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 16, 31), (40, 7, 33)])
def test_matrices_resize_as_torch_does(shape: tuple[int, int, int]) -> None:
    values, pads = torch.rand(2, 12, 20, 16), [(0, 3), (2, 0), (1, 1)]
    for padding in (pads, [(0, 0)] * 3):
        padded = F.pad(values, [n for pair in reversed(padding) for n in pair], mode="replicate")
        smaller = tuple(min(a, b) for a, b in zip(padded.shape[1:], shape, strict=True))
        expected = F.interpolate(F.interpolate(padded[None], smaller, mode="area"), shape, mode="trilinear")[0]
        sides = zip(values.shape[1:], shape, padding, strict=True)
        torch.testing.assert_close(transformed(values, [resizing(*side) for side in sides]), expected)
    beyond = transformed(values[0, 0], [interpolating(20, torch.tensor([-3.0, 25.0])), torch.eye(16)])
    torch.testing.assert_close(beyond, values[0, 0, [0, -1]])


@pytest.mark.parametrize("shape", [(60, 70), (300, 5), (1, 40), (24, 40, 30), (3, 50, 50)])
def test_what_is_near_an_object_is_found_exactly_by_shifts(shape, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    for part in (0.6, 0.9, 0.99):
        smooth = ndimage.gaussian_filter(rng.random(shape), 2)
        inside = smooth > np.quantile(smooth, part)
        with monkeypatch.context() as patch:
            by_shifts = morphology.with_rim(inside)
            patch.setattr(morphology, "MAX_SHIFTS", 0)
            assert np.array_equal(by_shifts, morphology.with_rim(inside))
