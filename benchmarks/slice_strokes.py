"""Strokes on one slice of a volume: Dice of the object there after each dab, answered slice by slice in a session.

    python benchmarks/slice_strokes.py --data FOLDER --sets Hippocampus HeadNeckCT [--part test] [--cases 6]

The slice is the one that shows most of the object; dabs lie where the answer is most wrong.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import napari_probseg as ps
from corrections import completed
from napari_probseg.dataset.raw import datasets_at
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.metrics import dice
from napari_probseg.simulate.annotator import dab
from options import parser_of_sets

N_DABS = 10


def main() -> None:
    parser = parser_of_sets(__doc__)
    parser.add_argument("--cases", type=int, default=6, help="of each set")
    arguments = parser.parse_args()
    completer = ps.load_completer(arguments.weights, device="cpu")
    print("| data set | objects |", *(f"{n + 1} |" for n in range(N_DABS)), "dabs that take 0.05 or more |")
    print("|---|--:|" + "---|" * (N_DABS + 1))
    for dataset in datasets_at(arguments.data, arguments.sets):
        targets = targets_of(dataset, arguments.cases, ndim=3, part=arguments.part, seed=0)
        scores = [scores_of(completer, target) for target in targets]
        worse = sum(b < a - 0.05 for row in scores for a, b in pairwise(row))
        means = (f"{d:.3f} |" for d in np.mean(scores, axis=0))
        print(f"| {dataset.folder.name} | {len(scores)} |", *means, f"{worse} |", flush=True)


def scores_of(completer: ps.Proposer, target: Target) -> list[float]:
    """Return the Dice on the slice after each dab."""
    z = int(np.count_nonzero(target.truth, axis=(1, 2)).argmax())
    truth, session = target.truth[z], ps.Session(target.case(), completer=completer)
    result, scores = np.zeros_like(truth), []
    for _ in range(N_DABS):
        if (drawn := dab(result, truth, spacing=target.spacing[1:])) is not None:
            inside, outside = (mask[None] for mask in drawn)
            session.mark(inside, outside, where=np.s_[z : z + 1, :, :])
            result = completed(session, plane=(0, z))[z]
        scores.append(dice(result, truth))
    return scores


if __name__ == "__main__":
    main()
