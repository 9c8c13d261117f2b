"""Graph cut: time, memory and energy beside PyMaxflow on the whole grid, rebuilt with its sizes given.

    python benchmarks/graph_cut.py [--smoothness 2] [--repeat 2] [--connectivity N] [--noisy]
        [--shape 512x512 30x512x512 ...]

Synthetic images with a noisy object, and probabilities as a network gives them: smooth, sure away from the border,
wrong here and there; with ``--noisy`` as each voxel's own intensity gives them. Each method runs in processes of its
own on one thread. Times are those of the processor, of the whole call; the changes are new strokes, a smoothness 1.5
times as large and a wholly new probability, each against a rebuild with the same values. Memory is the peak above what
was in use before the first cut (Linux). "Excess energy" is the largest relative difference between both energies over
all cuts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import maxflow
import numpy as np
from scipy import ndimage
from scipy.special import expit

from napari_probseg.case import Case, Marker
from napari_probseg.graph_cut import Cutter, noise_of

SHAPES = {"512x512": (0.7, 0.7), "30x512x512": (5.0, 0.7, 0.7), "155x240x240": (1.0, 1.0, 1.0)}
CHANGES = ("first cut", "stroke", "smoothness", "probability")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--smoothness", type=float, default=2.0)
    parser.add_argument("--connectivity", type=int, default=None)
    parser.add_argument(
        "--noisy", action="store_true", help="probabilities as a histogram gives them: of each voxel alone"
    )
    parser.add_argument("--repeat", type=int, default=2, help="take the least of so many times")
    parser.add_argument("--measure", choices=["kept", "whole"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    print("| shape | " + " | ".join(f"{c}: x faster (ms)" for c in CHANGES) + " | memory (MiB) | excess energy |")
    print("|---" * (len(CHANGES) + 3) + "|")
    for shape in options.shape:
        print(row(shape, options), flush=True)


def row(shape: str, options: argparse.Namespace) -> str:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as name:
        # Made here, so that a method's own process holds nothing but its inputs before it starts.
        arrays: dict[str, Any] = problem(shape, noisy=options.noisy)
        np.savez(Path(name) / "problem.npz", **arrays)
        kept, whole = (run(method, shape, options, Path(name)) for method in ("kept", "whole"))
        excess = excess_energy(shape, options, Path(name))
    cells = [f"{whole['s'][c] / kept['s'][c]:.1f} ({1e3 * kept['s'][c]:.0f})" for c in CHANGES]
    memory = f"{kept['mib'] / whole['mib']:.2f} ({kept['mib']:.0f})"
    return f"| {shape} | " + " | ".join(cells) + f" | {memory} | {excess:.1e} |"


def run(method: str, shape: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure a method in processes of its own, and return the least that it took."""
    command = [sys.executable, __file__, "--measure", method, "--shape", shape, "--folder", str(folder)]
    command += ["--smoothness", str(options.smoothness)]
    command += ["--connectivity", str(options.connectivity)] if options.connectivity else []
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(options.repeat)
    ]
    return {"s": {c: min(r["s"][c] for r in runs) for c in CHANGES}, "mib": min(r["mib"] for r in runs)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Cut a sequence of changes; return seconds and MiB, and save the masks."""
    (shape,) = options.shape
    case, steps = load(shape, options.folder, options.smoothness)
    # Forget the peak so far: it would count what the parent process held, and reading the inputs.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    solve = kept(case, options.connectivity) if options.measure == "kept" else whole(case, options.connectivity)
    seconds, masks = {}, []
    for name, (probability, markers, smoothness) in zip(CHANGES, steps, strict=True):
        start = time.process_time()
        masks.append(solve(probability, markers, smoothness))
        seconds[name] = time.process_time() - start
    peak = peak_kib()
    np.save(options.folder / f"{options.measure}.npy", np.stack(masks))
    return {"s": seconds, "mib": (peak - before) / 1024}


def peak_kib() -> int:
    """Return the most memory that this process has held, in KiB (Linux)."""
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1])


def load(shape: str, folder: Path, smoothness: float) -> tuple[Case, list[tuple[np.ndarray, np.ndarray, float]]]:
    """Return a case, and probabilities, markers and smoothness after each change."""
    saved = np.load(folder / "problem.npz")
    first, second, stroke = (saved[name] for name in ("first", "second", "stroke"))
    none = np.zeros_like(stroke)
    return Case(saved["image"], spacing=SHAPES[shape]), [
        (first, none, smoothness),
        (first, stroke, smoothness),
        (first, stroke, 1.5 * smoothness),
        (second, stroke, 1.5 * smoothness),
    ]


def problem(shape: str, *, noisy: bool = False) -> dict[str, np.ndarray]:
    """Return an image, two probabilities of the object in it, and strokes."""
    size, rng = tuple(int(n) for n in shape.split("x")), np.random.default_rng(0)
    thick = np.array(SHAPES[shape]) / min(SHAPES[shape])

    def smooth_noise(width: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.standard_normal(size, dtype=np.float32), width / thick)
        return np.asarray(noise / noise.std())

    centre = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) ** 2 for n in size), indexing="ij")
    shape_of = 0.4 * smooth_noise(16) - 3 * sum(centre)
    inside = shape_of > np.quantile(shape_of, 0.9)
    image = inside + 0.3 * smooth_noise(0.5)
    depth = [ndimage.distance_transform_edt(side, sampling=thick) for side in (inside, ~inside)]
    logits = [np.clip(depth[0] - depth[1] + 1.5 * smooth_noise(4), -8, 8) for _ in range(2)]
    if noisy:
        logits = [3 * (inside - 0.5) + 2 * rng.standard_normal(size, dtype=np.float32) for _ in range(2)]
    first, second = (expit(logit).astype(np.float32) for logit in logits)
    stroke = np.zeros(size, dtype=np.uint8)
    border = np.argwhere(np.abs(logits[0]) < 0.5)[::1000][:5]
    stroke[square(tuple(n // 2 for n in size), 3)] = Marker.BACKGROUND
    for voxel in border:
        stroke[square(voxel.tolist(), 2)] = Marker.OBJECT
    return {"image": image.astype(np.float32), "first": first, "second": second, "stroke": stroke}


def square(middle: Sequence[int], reach: int) -> tuple[slice, ...]:
    """Return a square around a place, on its plane."""
    reaches = [reach if axis >= len(middle) - 2 else 0 for axis in range(len(middle))]
    return tuple(slice(max(0, n - r), n + r + 1) for n, r in zip(middle, reaches, strict=True))


def kept(case: Case, connectivity: int | None) -> Callable[..., np.ndarray]:
    """Return our cut; the first call pays for the graph."""
    cutters: list[Cutter] = []

    def solve(probability: np.ndarray, markers: np.ndarray, smoothness: float) -> np.ndarray:
        if not cutters:
            cutters.append(Cutter(case, connectivity=connectivity))
        return cutters[0].cut(probability, markers, smoothness=smoothness)

    return solve


def whole(case: Case, connectivity: int | None) -> Callable[..., np.ndarray]:
    """Return PyMaxflow's cut of the whole grid, built anew with the sizes given."""
    connectivity = connectivity or {2: 8, 3: 6}[case.ndim]
    image = case.image
    # Known in advance, so that what depends on sigma alone is not counted.
    sigma = noise_of(image)
    spacing = np.array(case.spacing) / np.min(case.spacing or ())

    def solve(probability: np.ndarray, markers: np.ndarray, smoothness: float) -> np.ndarray:
        graph = maxflow.GraphFloat(image.size, image.size * connectivity // 2)
        nodes = graph.add_grid_nodes(image.shape)
        for offset in offsets(image.ndim, connectivity):
            here = tuple(slice(max(0, -o), -o if o > 0 else None) for o in offset)
            there = tuple(slice(max(0, o), o if o < 0 else None) for o in offset)
            cost = np.zeros(image.shape)
            cost[here] = np.exp(-((image[here] - image[there]) ** 2) / (2 * sigma**2))
            cost *= smoothness / np.linalg.norm(offset * spacing)
            structure = np.zeros((3,) * image.ndim)
            structure[tuple(o + 1 for o in offset)] = 1
            graph.add_grid_edges(nodes, cost, structure=structure, symmetric=True)
        p = np.clip(probability.astype(float), 1e-6, 1 - 1e-6)
        source, sink = -np.log(p), -np.log(1 - p)
        source[markers == Marker.BACKGROUND] = sink[markers == Marker.OBJECT] = 1e4
        sink[markers == Marker.BACKGROUND] = source[markers == Marker.OBJECT] = 0
        graph.add_grid_tedges(nodes, source, sink)
        graph.maxflow()
        return np.asarray(graph.get_grid_segments(nodes))

    return solve


def offsets(ndim: int, connectivity: int) -> Iterator[tuple[int, ...]]:
    for offset in product((-1, 0, 1), repeat=ndim):
        if offset > (0,) * ndim and (connectivity in (8, 26) or np.count_nonzero(offset) == 1):
            yield offset


def excess_energy(shape: str, options: argparse.Namespace, folder: Path) -> float:
    """Return the largest relative difference of energies over a sequence of cuts."""
    case, steps = load(shape, folder, options.smoothness)
    ours, theirs = (np.load(folder / f"{method}.npy") for method in ("kept", "whole"))
    cutter = Cutter(case, connectivity=options.connectivity)
    excess = []
    for (probability, markers, smoothness), *masks in zip(steps, ours, theirs, strict=True):
        a, b = (cutter.energy(m, probability, markers, smoothness=smoothness) for m in masks)
        excess.append(abs(a - b) / b)
    return max(excess)


if __name__ == "__main__":
    main()
