"""What a proposal costs, as ratios within one run; and what importing the package costs.

    python benchmarks/cost.py [--weights FILE] [--markdown docs/cost.md]

Each ratio is of medians over interleaved repetitions, so that other work on the machine touches both sides alike.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import torch

import napari_probseg as ps
from napari_probseg.inference.readings import N_WINDOWS
from napari_probseg.morphology import ball
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.presets import General
from napari_probseg.proposers.cvae import CVAEProposer


def marked(image: np.ndarray) -> ps.Case:
    """Return a case with a dab inside and one outside in the plane 15, or in the only one."""
    plane = (15,) if image.ndim == 3 else ()
    one = np.ones(2)
    inside, outside = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    inside[plane] = ball(image.shape[-2:], (256, 256), 6, one)
    outside[plane] = ball(image.shape[-2:], (256, 330), 6, one)
    return ps.Case(image).mark(inside, outside)


def seconds(first: Callable[[], object], second: Callable[[], object], n: int = 9) -> tuple[float, float]:
    """Return the median seconds of both, run in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for action in (first, second):
        action()
    for _ in range(n):
        for action, found in zip((first, second), times, strict=True):
            start = time.perf_counter()
            action()
            found.append(time.perf_counter() - start)
    return median(times[0]), median(times[1])


@torch.inference_mode()
def samples(network: General, n: int) -> torch.Tensor:
    """Return what a network answers in each window: one answer, and ``n`` samples."""
    x = torch.zeros(N_WINDOWS, network.config.n_image_channels + N_MARKS, WINDOW_SIDE[2], WINDOW_SIDE[2])
    x[:, -N_MARKS, 40:50, 40:50] = x[:, 1 - N_MARKS, :5, :5] = 1
    features = network.features(x)
    network.decode_control(features, torch.ones(N_WINDOWS))
    return network.decode(features, torch.zeros(N_WINDOWS * n, network.n_latent), torch.ones(N_WINDOWS * n)).object


def volume(shape: tuple[int, ...], folder: str) -> np.ndarray:
    """Return a memory-mapped volume on disk whose plane 15 is a textured picture."""
    path = Path(folder) / f"{shape[0]}.dat"
    array = np.memmap(path, dtype=np.uint8, mode="w+", shape=shape)
    y, x = np.mgrid[: shape[1], : shape[2]]
    noise = np.random.default_rng(0).normal(0, 12, shape[1:])
    array[15] = np.clip(90 + 80 * (np.hypot(y - 256, x - 256) < 60) + noise, 0, 255).astype(np.uint8)
    return array


def imports() -> tuple[float, str]:
    """Return the seconds that importing the package takes in a fresh interpreter, and heavy modules it pulled in."""
    code = (
        "import time, sys; t = time.perf_counter(); import napari_probseg; t = time.perf_counter() - t; "
        "heavy = [m for m in ('torch', 'napari', 'qtpy', 'scipy', 'skimage', 'numpy') if m in sys.modules]; "
        "print(t, ' '.join(heavy) or 'none')"
    )
    out = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    found = [o.stdout.split(maxsplit=1) for o in out]
    return median(float(t) for t, _ in found), found[0][1].strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="general")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    proposer = cast(CVAEProposer, ps.load_proposer(arguments.weights, device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        thin, thick = volume((30, 512, 512), folder), volume((1000, 512, 512), folder)
        plane, case_30, case_1000 = marked(np.asarray(thin[15])), marked(thin), marked(thick)
        network = proposer.networks[2]
        one, eight = seconds(lambda: samples(network, 1), lambda: samples(network, 8))
        ask_one, ask_eight = seconds(lambda: proposer.propose(plane, 1), lambda: proposer.propose(plane, 8))
        in_plane, in_thin = seconds(
            lambda: proposer.propose(plane, 8), lambda: proposer.propose(case_30, 8, plane=(0, 15))
        )
        in_thin_again, in_thick = seconds(
            lambda: proposer.propose(case_30, 8, plane=(0, 15)),
            lambda: proposer.propose(case_1000, 8, plane=(0, 15)),
        )
        box = (slice(0, 128), slice(192, 320), slice(208, 336))
        cube = ps.Case(np.asarray(thick[box]), partial=case_1000.partial[box], strokes=case_1000.strokes[box])
        cube_one, cube_eight = seconds(
            lambda: proposer.propose(cube, 1, ndim=3), lambda: proposer.propose(cube, 8, ndim=3)
        )
        in_cube, in_space = seconds(
            lambda: proposer.propose(cube, 8, ndim=3), lambda: proposer.propose(case_1000, 8, ndim=3)
        )
    import_seconds, heavy = imports()
    rows = [
        (
            "the network with 8 samples / 1 sample in each window",
            eight / one,
            1.5,
            f"{1e3 * eight:.0f} / {1e3 * one:.0f} ms",
        ),
        ("propose(n=8) / propose(n=1)", ask_eight / ask_one, 2.0, f"{1e3 * ask_eight:.0f} / {1e3 * ask_one:.0f} ms"),
        (
            "a plane of 512x512x30 / the plane alone",
            in_thin / in_plane,
            1.2,
            f"{1e3 * in_thin:.0f} / {1e3 * in_plane:.0f} ms",
        ),
        ("a plane of 512x512x1000 / of 512x512x30", in_thick / in_thin_again, 1.2, f"{1e3 * in_thick:.0f} ms"),
        (
            "in 3-D, propose(n=8) / propose(n=1), 128x128x128",
            cube_eight / cube_one,
            2.0,
            f"{1e3 * cube_eight:.0f} / {1e3 * cube_one:.0f} ms",
        ),
        ("in 3-D, 512x512x1000 / its crop of 128^3", in_space / in_cube, 1.2, f"{1e3 * in_space:.0f} ms"),
    ]
    lines = ["| what | ratio | goal | times |", "|---|---|---|---|"]
    lines += [f"| {name} | {ratio:.2f} | <= {goal} | {times} |" for name, ratio, goal, times in rows]
    lines += [
        "",
        f"`import napari_probseg`: {1e3 * import_seconds:.0f} ms (goal < 100 ms); heavy modules imported: {heavy}.",
    ]
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
