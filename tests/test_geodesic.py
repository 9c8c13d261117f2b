"""Geodesic distance against Dijkstra's shortest paths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from napari_probseg.geodesic import geodesic_distance


def shortest_paths(image: np.ndarray, seeds: np.ndarray, spacing: tuple[float, ...], weight: float) -> np.ndarray:
    """The oracle: a graph of all neighbours, and SciPy's Dijkstra."""
    index = np.arange(seeds.size).reshape(seeds.shape)
    rows, columns, lengths = [], [], []
    for offset in product((-1, 0, 1), repeat=seeds.ndim):
        if not any(offset):
            continue
        here = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, seeds.shape, strict=True))
        there = tuple(slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, seeds.shape, strict=True))
        way = sum((o * mm) ** 2 for o, mm in zip(offset, spacing, strict=True))
        step = np.sqrt(way + weight**2 * ((image[:, *here] - image[:, *there]) ** 2).sum(0))
        rows.append(index[here].ravel())
        columns.append(index[there].ravel())
        lengths.append(step.ravel())
    graph = coo_matrix((np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns)))).tocsr()
    return dijkstra(graph, indices=index[seeds], min_only=True).reshape(seeds.shape)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("shape", "spacing", "n_channels"),
    [
        ((23, 31), (1.0, 1.0), 1),
        ((17, 20), (0.3, 2.0), 3),
        ((7, 11, 9), (4.0, 1.0, 1.0), 1),
        ((1, 9, 12), (1.0, 1.0, 2.0), 2),
    ],
)
def test_equals_dijkstra(seed, shape, spacing, n_channels):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n_channels, *shape)).astype(np.float32)
    seeds = rng.random(shape) < 0.02
    seeds[tuple(n // 2 for n in shape)] = True
    weight = 10 ** rng.uniform(-1, 1)
    distance = geodesic_distance(image, seeds, spacing=spacing, edge_weight=weight)
    assert distance.dtype == np.float32
    assert distance.shape == shape
    np.testing.assert_allclose(distance, shortest_paths(image, seeds, spacing, weight), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("shape", "bound"), [((41, 41), 1.083), ((21, 21, 21), 1.129)])
def test_straight_lines_are_met_within_the_stated_bound(shape, bound):
    seeds = np.zeros(shape, dtype=bool)
    seeds[tuple(n // 2 for n in shape)] = True
    distance = geodesic_distance(np.zeros(shape), seeds)
    straight = np.sqrt(sum((axis - n // 2) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True)))
    assert (distance >= straight * 0.9999).all()
    assert (distance <= straight * bound + 1e-4).all()


def test_an_edge_is_far():
    image = np.zeros((20, 20))
    image[:, 10:] = 1
    seeds = np.zeros((20, 20), dtype=bool)
    seeds[10, 2] = True
    flat, edged = (geodesic_distance(image, seeds, edge_weight=w) for w in (0, 50))
    assert edged[10, 9] == pytest.approx(flat[10, 9])
    assert edged[10, 12] > flat[10, 12] + 40


def test_few_rounds_are_never_too_short():
    rng = np.random.default_rng(0)
    image, seeds = rng.normal(size=(40, 40)), np.zeros((40, 40), dtype=bool)
    seeds[3, 3] = True
    exact = geodesic_distance(image, seeds, edge_weight=20)
    rough = geodesic_distance(image, seeds, edge_weight=20, n_rounds=1)
    assert (rough >= exact).all()
    assert (rough > exact).any(), "test invalid: one round is enough here"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seeds": np.zeros((8, 8), bool)}, "no seed"),
        ({"image": np.zeros((3, 9))}, "like the seeds"),
        ({"image": np.full((8, 8), np.nan)}, "NaN"),
        ({"image": np.ma.masked_less(np.eye(8), 1)}, "masked"),
        ({"spacing": (1.0, 0.0)}, "positive"),
        ({"spacing": (1.0,)}, "each of 2 axes"),
        ({"edge_weight": -1.0}, "edge_weight"),
        ({"n_rounds": 0}, "n_rounds"),
    ],
)
def test_bad_input_is_told(change, sentence):
    arguments = {"image": np.zeros((8, 8)), "seeds": np.eye(8, dtype=bool), **change}
    with pytest.raises(ValueError, match=sentence):
        geodesic_distance(arguments.pop("image"), arguments.pop("seeds"), **arguments)
