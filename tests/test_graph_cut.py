import itertools

import maxflow
import numpy as np
import pytest
from scipy import ndimage

from napari_probseg.case import Case, Marker
from napari_probseg.graph_cut import Cutter, band, cut, energy, noise_of

CONNECTIVITIES = {2: (4, 8), 3: (6, 26)}


def offsets(ndim, connectivity):
    half = [o for o in itertools.product((-1, 0, 1), repeat=ndim) if o > (0,) * ndim]
    return [o for o in half if connectivity in (8, 26) or np.count_nonzero(o) == 1]


def links(case, sigma, connectivity):
    """Yield flat indices and B of every pair of neighbours: the definition, written once more."""
    values = case.read().reshape(case.n_channels, -1).astype(float)
    voxels = np.arange(values.shape[1]).reshape(case.shape)
    for offset in offsets(case.ndim, connectivity):
        here = voxels[tuple(slice(max(0, -o), -o if o > 0 else None) for o in offset)].ravel()
        there = voxels[tuple(slice(max(0, o), o if o < 0 else None) for o in offset)].ravel()
        distance = np.linalg.norm(np.multiply(offset, case.spacing)) / min(case.spacing)
        difference = ((values[:, here] - values[:, there]) ** 2).mean(axis=0)
        yield here, there, np.exp(-difference / (2 * sigma**2)) / distance


def definition(mask, probability, case, *, smoothness, sigma, connectivity):
    """Return the energy from its definition; infinite where a marker is contradicted."""
    if (mask[case.partial == 1] == 0).any() or (mask[case.partial == 2] == 1).any():
        return np.inf
    p = probability.astype(float)
    likelihood = np.where(mask, p, 1 - p)[case.partial == 0]
    flat = mask.ravel()
    pairs = sum(float(cost[flat[i] != flat[j]].sum()) for i, j, cost in links(case, sigma, connectivity))
    return -np.log(np.clip(likelihood, 1e-6, 1 - 1e-6)).sum() + smoothness * pairs


def whole_grid(probability, case, *, smoothness, sigma, connectivity):
    """Return the least-energy mask with a node for every voxel, built anew."""
    graph = maxflow.GraphFloat(probability.size, 13 * probability.size)
    nodes = graph.add_grid_nodes(probability.shape)
    for i, j, cost in links(case, sigma, connectivity):
        if len(i):
            graph.add_edges(i, j, smoothness * cost, smoothness * cost)
    p = np.clip(probability.astype(float), 1e-6, 1 - 1e-6)
    inside, outside = -np.log(p), -np.log(1 - p)
    inside[case.partial == 2] = outside[case.partial == 1] = 1e5
    inside[case.partial == 1] = outside[case.partial == 2] = 0
    graph.add_grid_tedges(nodes, inside, outside)
    graph.maxflow()
    return graph.get_grid_segments(nodes)


def network_like(shape, rng):
    """Return a noisy image of an object and a smooth probability of it, sure away from the border."""

    def smooth_noise(width):
        noise = ndimage.gaussian_filter(rng.normal(size=shape), width)
        return noise / max(noise.std(), 1e-9)

    away = np.sqrt(sum(np.meshgrid(*[np.linspace(-1, 1, n) ** 2 for n in shape], indexing="ij")))
    field = (0.5 + 0.1 * smooth_noise(4) - away) * max(shape) / 2
    image = (field > 0) + 0.3 * rng.normal(size=shape)
    logits = np.clip(2 * field + smooth_noise(1.5), -8, 8)
    return image, (1 / (1 + np.exp(-logits))).astype(np.float32)


def scribbles(shape, rng, n=4):
    markers = np.zeros(shape, dtype=np.uint8)
    for _ in range(n):
        corner = [rng.integers(0, size) for size in shape]
        markers[tuple(slice(c, c + rng.integers(1, 5)) for c in corner)] = rng.integers(0, 3)
    return markers


@pytest.fixture
def blob():
    rng = np.random.default_rng(0)
    image, probability = network_like((40, 44), rng)
    return Case(image), probability


@pytest.mark.parametrize("connectivity", [6, 26])
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_best_of_all_256_masks(seed, connectivity):
    rng = np.random.default_rng(seed)
    markers = rng.choice([0, 0, 0, 1, 2], size=(2, 2, 2)).astype(np.uint8)
    case = Case(rng.normal(size=(2, 2, 2)), spacing=(2.0, 1.0, 0.5), partial=markers)
    probability = rng.random((2, 2, 2))
    terms = {"smoothness": rng.uniform(0.1, 3), "sigma": rng.uniform(0.3, 3), "connectivity": connectivity}
    masks = [np.array(bits, dtype=bool).reshape(2, 2, 2) for bits in itertools.product([0, 1], repeat=8)]
    every = [definition(mask, probability, case, **terms) for mask in masks]
    np.testing.assert_allclose([energy(mask, probability, case, **terms) for mask in masks], every, rtol=1e-9)
    found = cut(probability, case, **terms)
    assert definition(found, probability, case, **terms) == pytest.approx(min(every), rel=1e-9)


@pytest.mark.parametrize("connectivity", [0, 1])
@pytest.mark.parametrize("smoothness", [0.3, 2.0, 20.0])
@pytest.mark.parametrize(
    ("shape", "spacing", "channel_axis"),
    [
        ((60, 70), None, None),
        ((48, 40), (3.0, 0.7), 0),
        ((14, 24, 20), (1.0, 1.0, 1.0), None),
        ((6, 30, 24), (5.0, 0.7, 0.7), 3),
        ((1, 40, 40), (5.0, 0.7, 0.7), None),
        ((20, 1, 30), None, None),
    ],
)
@pytest.mark.parametrize("kind", ["network", "noise"])
def test_has_the_energy_of_the_whole_grid(shape, spacing, channel_axis, smoothness, connectivity, kind, monkeypatch):
    monkeypatch.setattr(band, "_MAX_BAND_SHARE", 1.0)
    rng = np.random.default_rng(len(shape))
    image, probability = network_like(shape, rng)
    if kind == "noise":
        probability = rng.uniform(0.2, 0.8, size=shape)
    if channel_axis is not None:
        image = np.stack([image, rng.normal(size=shape)], axis=channel_axis)
    case = Case(image, spacing=spacing, channel_axis=channel_axis, partial=scribbles(shape, rng))
    terms = {"smoothness": smoothness, "sigma": 0.6, "connectivity": CONNECTIVITIES[case.ndim][connectivity]}
    ours, theirs = cut(probability, case, **terms), whole_grid(probability, case, **terms)
    assert ours.shape == shape and ours.dtype == bool
    assert definition(ours, probability, case, **terms) == pytest.approx(
        definition(theirs, probability, case, **terms), rel=1e-10
    )


@pytest.mark.parametrize("shape", [(48, 56), (10, 26, 24)])
@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_changes_ends_where_a_new_graph_would(shape, seed, monkeypatch):
    # Narrow or wide, and never the whole grid at once, so that small images are a test of large ones.
    monkeypatch.setattr(band, "_RADIUS_VOXELS", seed // 2)
    monkeypatch.setattr(band, "_MAX_BAND_SHARE", 1.0)
    rng = np.random.default_rng(seed)
    image, probability = network_like(shape, rng)
    case = Case(image, spacing=(3.0, 1.0, 1.0)[-len(shape) :])
    connectivity = CONNECTIVITIES[len(shape)][seed % 2]
    cutter = Cutter(case, sigma=0.5, connectivity=connectivity)
    markers, smoothness, n_in_band = case.partial, 1.0, []
    for _ in range(12):
        change = rng.choice(["stroke", "erase", "smoothness", "noise", "other", "local"])
        if change == "stroke":
            markers = np.where(markers, markers, scribbles(shape, rng))
        elif change == "erase":
            markers = np.where(rng.random(shape) < 0.5, markers, 0).astype(np.uint8)
        elif change == "smoothness":
            smoothness = float(np.exp(rng.uniform(-4, 4)))
        elif change == "noise":
            probability = np.clip(probability + rng.normal(scale=0.05, size=shape), 0, 1)
        elif change == "other":
            _, probability = network_like(shape, rng)
        else:
            probability = probability.copy()
            probability[..., 5:10, 5:10] = rng.random()
        mask = cutter.cut(probability, markers, smoothness=smoothness)
        marked = case.with_markers(markers, markers)
        terms = {"smoothness": smoothness, "sigma": 0.5, "connectivity": connectivity}
        best = definition(whole_grid(probability, marked, **terms), probability, marked, **terms)
        assert definition(mask, probability, marked, **terms) == pytest.approx(best, rel=1e-9), change
        assert cutter.energy(mask, probability, markers, smoothness=smoothness) == pytest.approx(best, rel=1e-9)
        n_in_band.append(len(cutter._band._voxels) / mask.size)
    assert 0 < min(n_in_band) < 0.8, "test invalid: the band was never a part of the grid"


def test_a_cut_that_asks_for_little_has_a_small_graph():
    image, probability = network_like((200, 220), np.random.default_rng(1))
    cutter = Cutter(Case(image))
    cutter.cut(probability)
    assert 0 < len(cutter._band._voxels) < 0.1 * image.size


def test_a_cut_that_asks_for_much_takes_the_whole_grid_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    case, noise = Case(rng.normal(size=(50, 50))), rng.uniform(0.3, 0.7, size=(50, 50))
    cutter = Cutter(case, sigma=1.0)
    grown = []
    monkeypatch.setattr(cutter._band, "_grow", lambda *_, **__: grown.append(1))
    mask = cutter.cut(noise)
    assert len(cutter._band._voxels) == mask.size and not grown, "no band is tried first"
    terms = {"smoothness": 2.0, "sigma": 1.0, "connectivity": 8}
    best = definition(whole_grid(noise, case, **terms), noise, case, **terms)
    assert definition(mask, noise, case, **terms) == pytest.approx(best, rel=1e-10)


def test_a_band_that_has_followed_many_probabilities_is_made_anew():
    image, probability = network_like((200, 220), np.random.default_rng(1))
    cutter, sizes = Cutter(Case(image)), []
    for shift in range(0, 120, 10):
        moved = np.roll(probability, shift, axis=0)
        mask = cutter.cut(moved)
        np.testing.assert_array_equal(mask, cut(moved, Case(image)))
        sizes.append(len(cutter._band._voxels))
    assert max(sizes) < 4 * min(sizes)


def test_a_band_that_is_too_narrow_grows_until_it_is_right(monkeypatch):
    monkeypatch.setattr(band, "_RADIUS_VOXELS", 0)
    rng = np.random.default_rng(2)
    # Sure of the background on one side, of nothing on the other: the object must spread far from its stroke.
    probability = np.where(np.arange(60) < 30, 1e-4, 0.49)
    case = Case(np.where(np.arange(60) < 30, 0.0, 1.0) * np.ones((60, 1)) + 1e-3 * rng.normal(size=(60, 60)))
    stroke = np.zeros((60, 60), dtype=bool)
    stroke[20:40, 55] = True
    case = case.mark(inside=stroke)
    probability = np.broadcast_to(probability, (60, 60))
    terms = {"smoothness": 10.0, "sigma": 0.1, "connectivity": 8}
    mask = cut(probability, case, **terms)
    assert mask[:, 30:].mean() > 0.9 and not mask[:, :30].any()
    best = definition(whole_grid(probability, case, **terms), probability, case, **terms)
    assert definition(mask, probability, case, **terms) == pytest.approx(best, rel=1e-9)


def test_of_a_sure_background_nothing_is_cut(blob):
    case, _ = blob
    sure_of_background = np.full(case.shape, 0.01, dtype=np.float32)
    assert not cut(sure_of_background, case).any()
    assert not cut(np.full(case.shape, 0.5), case).any()
    cutter = Cutter(case)
    assert cutter.cut(1 - sure_of_background).all()
    assert not len(cutter._band._voxels), "no boundary, no graph: the image's own border is none"


def test_no_smoothness_is_a_threshold_that_obeys_the_markers(blob):
    case, probability = blob
    case = case.mark(inside=probability < 0.01, outside=probability > 0.99)
    mask = cut(probability, case, smoothness=0)
    np.testing.assert_array_equal(mask[case.partial == 0], (probability > 0.5)[case.partial == 0])
    assert mask[probability < 0.01].all() and not mask[probability > 0.99].any()


@pytest.mark.parametrize("smoothness", [0.0, 1e-9, 1.0, 1e9])
def test_markers_are_obeyed_at_any_smoothness(blob, smoothness):
    case, probability = blob
    markers = scribbles(case.shape, np.random.default_rng(5), n=30)
    mask = Cutter(case).cut(probability, markers, smoothness=smoothness)
    assert mask[markers == Marker.OBJECT].all() and not mask[markers == Marker.BACKGROUND].any()


def test_a_mask_against_a_marker_costs_infinitely_much(blob):
    case, _ = blob
    markers = np.zeros(case.shape, dtype=np.uint8)
    markers[20, 20] = Marker.OBJECT
    background = np.full(case.shape, 0.02)
    cutter = Cutter(case, sigma=10.0)
    assert cutter.cut(background, markers, smoothness=5.0)[20, 20]
    nothing, one = np.zeros(case.shape, dtype=bool), markers == Marker.OBJECT
    assert cutter.energy(one, background, markers) < cutter.energy(nothing, background, markers) == np.inf


def test_a_region_is_cut_like_an_image_of_its_own():
    rng = np.random.default_rng(3)
    image, probability = network_like((60, 60), rng)
    where = (slice(10, 50), slice(5, 45))
    region = Case(image[where])
    np.testing.assert_array_equal(cut(probability[where], region), cut(probability[where].copy(), region))


def test_inputs_are_left_alone(blob):
    case, probability = blob
    before = probability.copy(), case.partial.copy(), case.image.copy()
    cut(probability, case)
    for now, then in zip((probability, case.partial, case.image), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_an_answer_is_not_changed_by_the_next(blob):
    case, probability = blob
    cutter = Cutter(case)
    first = cutter.cut(probability)
    kept = first.copy()
    cutter.cut(1 - probability)
    np.testing.assert_array_equal(first, kept)


def test_after_an_interruption_the_next_cut_is_right(blob, monkeypatch):
    case, probability = blob
    cutter = Cutter(case)
    right = cutter.cut(probability)
    moved = np.roll(probability, 15, axis=1)
    with monkeypatch.context() as patch:
        patch.setattr(cutter._band, "_add", lambda voxels: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            cutter.cut(moved)
    np.testing.assert_array_equal(cutter.cut(probability), right)


@pytest.mark.parametrize("shape", [(80, 90), (12, 40, 40)])
def test_noise_is_the_difference_that_noise_makes(shape):
    rng = np.random.default_rng(4)
    edges = np.where(np.arange(shape[-1]) < shape[-1] // 2, 0.0, 100.0)
    image = edges + rng.normal(scale=2.0, size=shape)
    assert noise_of(image) == pytest.approx(2.0 * np.sqrt(2), rel=0.05)
    assert noise_of(np.stack([image, image], axis=-1), channel_axis=-1) == pytest.approx(noise_of(image))
    assert noise_of(np.zeros(shape)) == 0
    assert 0 < noise_of(np.broadcast_to(edges, shape)) < 50
    assert Cutter(Case(image)).sigma == pytest.approx(noise_of(image), rel=1e-3)


def test_millimetres_count_relative_to_the_finest():
    rng = np.random.default_rng(6)
    image, probability = network_like((10, 20, 20), rng)
    masks = [cut(probability, Case(image, spacing=[scale * mm for mm in (5, 1, 1)])) for scale in (1, 0.001)]
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sigma": 0}, "sigma must be a positive"),
        ({"sigma": -1.0}, "sigma must be a positive"),
        ({"sigma": np.nan}, "sigma must be a positive"),
        ({"smoothness": -1}, "smoothness must be a number that is not negative, got -1"),
        ({"smoothness": np.inf}, "smoothness must be"),
        ({"connectivity": 0}, "connectivity in 2-D must be"),
        ({"connectivity": 6}, r"connectivity in 2-D must be one of \[4, 8\], got 6"),
        ({"probability": np.full((40, 44), np.nan)}, "probability must lie in .* sigmoid"),
        ({"probability": np.full((40, 44), np.inf)}, "probability must lie in"),
        ({"probability": np.full((40, 44), 1.5)}, "got values from 1.5 to 1.5"),
        ({"probability": np.full((40, 43), 0.5)}, r"shape \(40, 44\), got \(40, 43\)"),
    ],
)
def test_bad_input_is_one_sentence(blob, arguments, says):
    case, probability = blob
    with pytest.raises(ValueError, match=says):
        cut(arguments.pop("probability", probability), case, **arguments)


def test_probabilities_may_leave_their_range_by_rounding(blob):
    case, probability = blob
    probability = probability.astype(np.float32)
    probability[:4], probability[-4:] = np.float32(1 + 2e-7), np.float32(-2e-7)
    expected = cut(probability.clip(0, 1), case)
    np.testing.assert_array_equal(cut(probability, case), expected)


def test_bad_markers_masks_and_strengths_are_one_sentence(blob):
    case, probability = blob
    with pytest.raises(ValueError, match="markers must be uint8"):
        Cutter(case).cut(probability, np.zeros((3, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="markers must be uint8"):
        Cutter(case).cut(probability, np.full(case.shape, 3, dtype=np.uint8))
    with pytest.raises(ValueError, match="mask must have the image's shape"):
        energy(np.zeros((3, 3), dtype=bool), probability, case)
