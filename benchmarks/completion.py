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
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import napari_probseg as ps
from napari_probseg.dataset.raw import datasets_below
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.evaluate.methods import completed
from napari_probseg.evaluate.peers import PEERS, by_watershed
from napari_probseg.metrics import dice
from napari_probseg.simulate.annotator import dab

DABS = (1, 3, 5)
Mask = NDArray[np.bool_]
Method = Callable[[ps.Case], Mask]


def methods(ndim: int) -> dict[str, Method]:
    """Return every method by its name."""
    network = ps.load_completer(device="cpu")
    every: dict[str, Method] = {
        "network + cut": partial(completed, network),
        "network alone": lambda case: network.propose(case, smoothness=0).partial[0] == 1,
        "intensities + cut": partial(completed, ps.GraphCut()),
    }
    names = ["watershed", "random walker", *(["GrabCut", "random forest"] if ndim == 2 else [])]
    return every | {name: PEERS[name] for name in names}


def cases_of(target: Target) -> list[ps.Case]:
    """Return the case after each number of dabs in `DABS`."""
    case, cases = target.case(), []
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
        for target in targets_of(dataset, arguments.cases, ndim=3 if arguments.volumes else 2):
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
