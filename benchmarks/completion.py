"""Dice after 1, 3 and 5 dabs: our completers beside classical methods, on the test parts of data sets.

    python benchmarks/completion.py --data FOLDER [--cases 12] [--volumes] [--markdown FILE]

All methods get the same dabs: the first in the deepest place of the object, each next one where watershed is most
wrong.
The peers need the extra ``peers``. Seconds are of one answer, the median over all. In volumes the dabs are balls, and
of the peers watershed and the random walker take part.
"""

from __future__ import annotations

import argparse
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from skimage.filters import sobel
from skimage.segmentation import random_walker, watershed

import napari_probseg as ps
from best_of_8 import Target, targets
from napari_probseg.metrics import dice
from napari_probseg.simulate.annotator import dab
from napari_probseg.training.dataset import RawDataset, datasets_below

DABS = (1, 3, 5)
Mask = NDArray[np.bool_]
Method = Callable[[ps.Case], Mask]


def grey(case: ps.Case) -> NDArray[np.float32]:
    """Return the mean of the channels, from 0 to 1."""
    image = case.read().mean(0)
    return (image - image.min()) / max(float(np.ptp(image)), 1e-6)


def strokes_alone(case: ps.Case) -> Mask:
    return np.asarray(case.partial == ps.Marker.OBJECT)


def on_both_sides(method: Method) -> Method:
    """Return a method that gives the strokes where there are none of one kind: it needs both."""

    def careful(case: ps.Case) -> Mask:
        return method(case) if (case.partial == ps.Marker.BACKGROUND).any() else strokes_alone(case)

    return careful


def by_watershed(case: ps.Case) -> Mask:
    return np.asarray(watershed(sobel(ndimage.gaussian_filter(grey(case), 1)), case.partial) == 1)


def by_random_walker(case: ps.Case) -> Mask:
    return np.asarray(random_walker(grey(case), case.partial, beta=130, mode="cg_j") == 1)


def by_grabcut(case: ps.Case) -> Mask:
    import cv2

    image = np.repeat((255 * grey(case)).astype(np.uint8)[..., None], 3, axis=-1)
    guess = np.where(case.partial == 1, cv2.GC_FGD, np.where(case.partial == 2, cv2.GC_BGD, cv2.GC_PR_BGD))
    guess = guess.astype(np.uint8)
    near = ndimage.distance_transform_edt(case.partial != 1) < 0.1 * max(case.shape)
    guess[near & (case.partial == 0)] = cv2.GC_PR_FGD
    cv2.grabCut(image, guess, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD))


def by_random_forest(case: ps.Case) -> Mask:
    from sklearn.ensemble import RandomForestClassifier

    features = multiscale_basic_features(grey(case), sigma_min=1, sigma_max=8)
    known = case.partial > 0
    forest = RandomForestClassifier(50, max_depth=10, max_samples=0.5, random_state=0, n_jobs=1)
    forest.fit(features[known], case.partial[known])
    answer = forest.predict(features.reshape(-1, features.shape[-1])).reshape(case.shape)
    return np.where(known, case.partial, answer) == 1


def methods(ndim: int) -> dict[str, Method]:
    """Return every method by its name."""
    network, intensities = ps.load_completer(device="cpu"), ps.GraphCut()
    every: dict[str, Method] = {
        "network + cut": lambda case: network.propose(case).partial[0] == 1,
        "network alone": lambda case: network.propose(case, smoothness=0).partial[0] == 1,
        "intensities + cut": lambda case: intensities.propose(case).partial[0] == 1,
        "watershed": on_both_sides(by_watershed),
        "random walker": on_both_sides(by_random_walker),
    }
    planar = {"GrabCut": on_both_sides(by_grabcut), "random forest": on_both_sides(by_random_forest)}
    return every | planar if ndim == 2 else every


def volumes(dataset: RawDataset, n_cases: int) -> Iterator[Target]:
    """Yield one label of each test volume."""
    for name in dataset.split("test")[:n_cases]:
        case = dataset.load(name)
        ids, sizes = np.unique(case.label[case.label > 0], return_counts=True)
        if case.label.ndim == 3 and (sizes >= 30).any():
            chosen = np.random.default_rng(zlib.crc32(name.encode())).choice(ids[sizes >= 30])
            yield Target(case.image, case.label == chosen, case.spacing)


def cases_of(target: Target) -> list[ps.Case]:
    """Return the case after each number of dabs in `DABS`."""
    case = ps.Case(target.image, spacing=target.spacing, channel_axis=0)
    cases = []
    for n in range(1, max(DABS) + 1):
        result = by_watershed(case) if n > 1 else np.zeros(case.shape, dtype=bool)  # from one side it floods all
        drawn = dab(result, target.truth, spacing=target.spacing)
        if drawn is not None:
            case = case.mark(*drawn)
        if n in DABS:
            cases.append(case)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("PROBSEG_DATA"), help="folder of nnU-Net v2 raw data sets")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--volumes", action="store_true", help="in 3-D, on the sets of volumes")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("name a folder of data sets with --data or PROBSEG_DATA")
    every = methods(3 if arguments.volumes else 2)
    lines = [f"| data set | dabs | {' | '.join(every)} |", f"|---|---|{'---|' * len(every)}"]
    print("\n".join(lines), flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in every}
    tables = []
    for dataset in datasets_below(arguments.data):
        scores = np.zeros((0, len(DABS), len(every)))
        for target in (volumes if arguments.volumes else targets)(dataset, arguments.cases):
            row = [[scored(m, case, target, seconds[name]) for name, m in every.items()] for case in cases_of(target)]
            scores = np.concatenate([scores, [row]])
        if not len(scores):
            continue
        tables.append(scores.mean(0))
        lines += rows(dataset.folder.name, tables[-1])
        print("\n".join(lines[-len(DABS) :]), flush=True)
    lines += rows("**mean**", np.mean(tables, axis=0))
    lines.append(f"| seconds | | {' | '.join(f'{np.median(s):.2f}' for s in seconds.values())} |")
    print("\n".join(lines[-len(DABS) - 1 :]))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def scored(method: Method, case: ps.Case, target: Target, seconds: list[float]) -> float:
    """Return the Dice of a method's answer, and note how long it took."""
    start = time.perf_counter()
    answer = method(case)
    seconds.append(time.perf_counter() - start)
    return dice(answer, target.truth)


def rows(name: str, table: NDArray[np.float64]) -> list[str]:
    """Return the rows of one data set: one for each number of dabs."""
    return [f"| {name} | {n} | {' | '.join(f'{v:.3f}' for v in row)} |" for n, row in zip(DABS, table, strict=True)]


if __name__ == "__main__":
    main()
