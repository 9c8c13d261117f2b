"""Seconds that fine-tuning to an image and to a volume takes, at the defaults.

python benchmarks/adapt.py
"""

from __future__ import annotations

import time

import numpy as np

import napari_probseg as ps
from napari_probseg.morphology import ball
from napari_probseg.proposers.unet_cut import UNetCut

SHAPES = ((300, 400), (60, 70, 80))


def case_of(shape: tuple[int, ...]) -> ps.Case:
    """Return a noisy ball with a dab inside and one outside."""
    one, middle = np.ones(len(shape)), tuple(n // 2 for n in shape)
    radius = min(shape) / 4
    truth = ball(shape, middle, radius, one)
    image = truth + np.random.default_rng(0).normal(0, 0.3, shape)
    beside = (*middle[:-1], round(middle[-1] + 1.5 * radius))
    return ps.Case(image.astype(np.float32)).mark(ball(shape, middle, 3, one), ball(shape, beside, 3, one))


def main() -> None:
    completer = ps.load_completer(device="cpu")
    assert isinstance(completer, UNetCut)
    for shape in SHAPES:
        case, start, cpu = case_of(shape), time.perf_counter(), time.process_time()
        completer.adapt(case)
        seconds, of_cores = time.perf_counter() - start, time.process_time() - cpu
        print(f"{'x'.join(map(str, shape))}: {seconds:.1f} s, {of_cores:.1f} s of a core")


if __name__ == "__main__":
    main()
