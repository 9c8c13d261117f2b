"""Geodesic distance: time and error beside scikit-image's minimal paths and, where it is installed, FastGeodis.

    python benchmarks/geodesic.py [--repeat 3]

All on one thread. scikit-image's ``MCP_Geometric`` measures another length (the mean intensity along a path, not the
differences), so that only its time can be compared. "Error" is the 99th percentile of the relative one of the rounds
given, against the same computation until nothing changes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from skimage.graph import MCP_Geometric

from napari_probseg.geodesic import geodesic_distance

SHAPES = [(256, 256), (512, 512), (64, 64, 64), (128, 128, 128)]
EDGE_WEIGHT = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    torch.set_num_threads(1)
    print(
        "| shape | two rounds / MCP | error of two rounds | exact / MCP | two rounds / FastGeodis | ms of two rounds |"
    )
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        print(row(shape, repeat, _fastgeodis()), flush=True)


def row(shape: tuple[int, ...], repeat: int, fast: Callable[[np.ndarray, np.ndarray], object] | None) -> str:
    """Return a row of the table."""
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 3).astype(np.float32)
    image /= image.std()
    seeds = np.zeros(shape, dtype=bool)
    seeds[tuple(n // 2 for n in shape)] = seeds[tuple(n // 4 for n in shape)] = True
    exact = geodesic_distance(image, seeds, edge_weight=EDGE_WEIGHT)
    rough = geodesic_distance(image, seeds, edge_weight=EDGE_WEIGHT, n_rounds=2)
    error = float(np.quantile((rough - exact) / np.maximum(exact, 1), 0.99))
    two = best(lambda: geodesic_distance(image, seeds, edge_weight=EDGE_WEIGHT, n_rounds=2), repeat)
    whole = best(lambda: geodesic_distance(image, seeds, edge_weight=EDGE_WEIGHT), repeat)
    mcp = best(lambda: MCP_Geometric(1 + np.abs(image)).find_costs(np.argwhere(seeds)), repeat)
    beside = f"{two / best(lambda: fast(image, seeds), repeat):.2f}" if fast else "not installed"
    size = "x".join(str(n) for n in shape)
    return f"| {size} | {two / mcp:.2f} | {error:.4f} | {whole / mcp:.2f} | {beside} | {1e3 * two:.0f} |"


def best(function: Callable[[], object], repeat: int) -> float:
    """Return the least of some times, in seconds: the one that was least disturbed."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def _fastgeodis() -> Callable[[np.ndarray, np.ndarray], object] | None:
    """Return FastGeodis's raster scan with two rounds, None where it is not installed."""
    try:
        import FastGeodis
    except ImportError:
        return None

    def distance(image: np.ndarray, seeds: np.ndarray) -> object:
        volume, mask = (torch.from_numpy(a.astype(np.float32))[None, None] for a in (image, ~seeds))
        if image.ndim == 2:
            return FastGeodis.generalised_geodesic2d(volume, mask, 1e10, 0.5, 2)
        return FastGeodis.generalised_geodesic3d(volume, mask, [1.0, 1.0, 1.0], 1e10, 0.5, 2)

    return distance


if __name__ == "__main__":
    main()
