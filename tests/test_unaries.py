"""P(object) from strokes alone: histograms, the pixel classifier, and the watershed on top of a network."""

from __future__ import annotations

import numpy as np
import pytest

from napari_probseg.case import Marker
from napari_probseg.unaries.histogram import Codes
from napari_probseg.unaries.pixel_classifier import features_of, probability
from napari_probseg.unaries.watershed import with_flood

rng = np.random.default_rng(0)


def halves(shape: tuple[int, ...] = (40, 50)) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, channels first, whose right half is brighter, and that half."""
    right = np.indices(shape)[-1] >= shape[-1] // 2
    return (right + rng.normal(0, 0.1, shape)).astype(np.float32)[None], right


def dabs(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    inside, outside = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    inside[(slice(8, 12),) * (len(shape) - 1) + (slice(-8, -4),)] = True
    outside[(slice(8, 12),) * (len(shape) - 1) + (slice(4, 8),)] = True
    return inside, outside


@pytest.mark.parametrize("shape", [(40, 50), (14, 20, 24)])
def test_histograms_tell_what_looks_like_the_strokes(shape: tuple[int, ...]) -> None:
    image, right = halves(shape)
    p = Codes.of(image).probability(*dabs(shape))
    assert p.shape == shape and p.dtype == np.float32 and ((p > 0) & (p < 1)).all()
    assert p[right].mean() > 0.8 and p[~right].mean() < 0.2
    swapped = Codes.of(image).probability(*dabs(shape)[::-1])
    np.testing.assert_allclose(p + swapped, 1, atol=1e-5)


def test_histograms_of_several_channels_see_what_none_sees_alone() -> None:
    first, second = rng.integers(0, 2, (2, 60, 60))
    image = np.stack([first, second]).astype(np.float32) + rng.normal(0, 0.05, (2, 60, 60)).astype(np.float32)
    truth = first != second
    inside, outside = truth & (rng.random((60, 60)) < 0.1), ~truth & (rng.random((60, 60)) < 0.1)
    p = Codes.of(image).probability(inside, outside)
    assert ((p > 0.5) == truth).mean() > 0.95
    alone = Codes.of(image[:1]).probability(inside, outside)
    assert ((alone > 0.5) == truth).mean() < 0.7, "test invalid"


def test_histograms_do_not_depend_on_scale_and_offset() -> None:
    image, _ = halves()
    p, moved = (Codes.of(values).probability(*dabs((40, 50))) for values in (image, 1000 + 50 * image))
    np.testing.assert_allclose(p, moved, atol=0.05)


@pytest.mark.parametrize("n_colours", [2, 5, 64])
def test_each_of_a_few_colours_has_a_code_of_its_own(n_colours: int) -> None:
    palette = rng.integers(0, 256, (n_colours, 3))
    index = rng.permutation(np.arange(40 * 50) % n_colours).reshape(40, 50)
    codes = Codes.of(np.moveaxis(palette[index], -1, 0).astype(np.float32))
    assert len(np.unique(codes.code)) == len(codes.kernel) == n_colours
    assert (codes.kernel.argmax(1) == np.arange(n_colours)).all(), "no other colour counts for as much"


def test_each_row_of_the_smoothing_sums_to_one() -> None:
    np.testing.assert_allclose(Codes.of(halves()[0]).kernel.sum(1), 1)


@pytest.mark.parametrize("function", [Codes.of, features_of])
def test_a_constant_image_is_told(function) -> None:
    with pytest.raises(ValueError, match=r"the image is constant \(3 everywhere\)"):
        function(np.full((1, 20, 20), 3, np.float32))


@pytest.mark.parametrize("shape", [(40, 50), (14, 20, 24), (1, 30, 30)])
def test_features_are_of_mean_0_and_coarse_ones_count_for_less(shape: tuple[int, ...]) -> None:
    image, _ = halves(shape)
    features = features_of(image)
    assert features.shape[1:] == shape and features.dtype == np.float32
    plain = features[: len(features) // 2].reshape(len(features) // 2, -1)
    assert np.abs(plain.mean(1)).max() < 0.2
    by_scale = plain.std(1).reshape(4, -1)  # of one channel: from the finest to the coarsest
    assert 0.8 < np.square(by_scale).mean() < 1.1
    falls = by_scale.mean(1)[:-1] > 1.2 * by_scale.mean(1)[1:]
    assert not falls.any() if len(shape) == 3 and shape[0] > 1 else falls.all(), "in images alone"
    squares = features[len(plain) :].reshape(plain.shape)
    for seen, square in zip(plain, squares, strict=True):
        assert np.corrcoef(seen**2, square)[0, 1] > 0.999


def test_the_classifier_tells_a_texture_that_no_intensity_tells() -> None:
    smooth = rng.normal(0, 1, (60, 60))
    stripes = np.where(np.indices((60, 60))[1] % 4 < 2, 1.0, -1.0)
    right = np.indices((60, 60))[1] >= 30
    image = np.where(right, stripes, smooth / smooth.std()).astype(np.float32)[None]
    inside, outside = (np.zeros((60, 60), dtype=bool) for _ in range(2))
    inside[10:20, 40:50] = outside[10:20, 10:20] = True
    p = probability(features_of(image), inside, outside)
    assert p.shape == (60, 60) and ((p >= 0) & (p <= 1)).all()
    assert ((p > 0.5) == right).mean() > 0.85


def test_the_classifier_is_the_surer_the_more_strokes_there_are() -> None:
    image, _ = halves()
    features, (inside, outside) = features_of(image), dabs((40, 50))
    more_in, more_out = inside | np.roll(inside, 15, 0), outside | np.roll(outside, 15, 0)
    few, many = probability(features, inside, outside), probability(features, more_in, more_out)
    assert np.abs(many - 0.5).mean() > np.abs(few - 0.5).mean()


def test_strokes_of_both_sides_move_what_the_network_is_unsure_of() -> None:
    image, right = halves()
    inside, outside = dabs((40, 50))
    markers = np.where(inside, Marker.OBJECT, np.where(outside, Marker.BACKGROUND, 0)).astype(np.uint8)
    unsure, sure = np.full((40, 50), 0.5, np.float32), np.full((40, 50), 0.999, np.float32)
    assert with_flood(unsure, image, markers) is unsure, "two strokes flood at random"
    markers[30:33, 40:43] = Marker.OBJECT
    moved = with_flood(unsure, image, markers)
    assert moved[right].mean() > 0.8 and moved[~right].mean() < 0.2
    assert (with_flood(sure, image, markers) > 0.9).all()
    markers[markers == Marker.BACKGROUND] = 0
    assert with_flood(unsure, image, markers) is unsure, "strokes on one side alone"


@pytest.mark.parametrize("exponent", [-100, -40, 60])
def test_what_voxels_look_like_does_not_depend_on_the_unit_of_the_intensities(exponent: int) -> None:
    image = np.random.default_rng(0).normal(3, 1, (1, 30, 40)).astype(np.float32)
    assert np.array_equal(features_of(np.ldexp(image, exponent)), features_of(image))
