"""How many dabs slice-by-slice work takes for what completion in 3-D reaches with a few, on the data sets' test parts.

    python benchmarks/slices.py --data FOLDER [--sets Hippocampus] [--cases 4] [--weights FILE] [--most 120]

Both use our weights, and the annotator of ``napari-probseg evaluate``. In 3-D a dab is a ball, and the volume is
completed after each; slice by slice it is a disk on one slice, and that slice is completed. Where slice-by-slice work
does not reach the Dice with the most dabs allowed, those count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_probseg.dataset.raw import datasets_at
from napari_probseg.dataset.targets import targets_of
from napari_probseg.evaluate.interaction import interact
from napari_probseg.evaluate.methods import SLICES, methods_of
from options import parser_of

AFTER = (1, 2, 3, 5, 10)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sets", nargs="*", default=["Hippocampus", "HeadNeckCT"], help="their names")
    parser.add_argument("--weights", default="general")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--most", type=int, default=120, help="dabs, slice by slice")
    arguments = parser.parse_args()
    methods = methods_of(("complete", SLICES), weights=arguments.weights, ndim=3)
    print("| data set | objects | dabs in 3-D | Dice | dabs slice by slice | as many times | not reached |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for dataset in datasets_at(arguments.data, arguments.sets):
        in_space: list[list[float]] = []
        by_slices: list[list[float]] = []
        for target in targets_of(dataset, arguments.cases, ndim=3):
            for name, n, found in (("complete", max(AFTER), in_space), (SLICES, arguments.most, by_slices)):
                found.append([i.dice for i in interact(methods[name](target), target, n=n)])
        for line in lines(dataset.folder.name, np.array(in_space), np.array(by_slices)):
            print(line, flush=True)


def lines(name: str, in_space: np.ndarray, by_slices: np.ndarray) -> Sequence[str]:
    """Return rows of the table from the Dice after each dab, (objects, dabs)."""
    found = []
    for n in AFTER:
        goal = in_space[:, n - 1]
        reached = by_slices >= goal[:, None]
        missed = ~reached.any(1)
        needed = np.where(missed, by_slices.shape[1], reached.argmax(1) + 1)
        found.append(
            f"| {name} | {len(goal)} | {n} | {goal.mean():.3f} | {needed.mean():.0f} | {needed.mean() / n:.1f} "
            f"| {missed.sum()} |"
        )
    return found


if __name__ == "__main__":
    main()
