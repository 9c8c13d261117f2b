"""Dice of the best of 8 candidates after one dab inside and one outside, beside a decoder without a latent.

    python benchmarks/best_of_8.py --data FOLDER [--weights FILE] [--cases 20] [--markdown docs/best_of_8.md]

The data sets' test parts (the last third of their cases) are used. The control is a head of the same size on the same
trunk, trained on the same batches with z = 0; of its answers in the three windows the best counts, too. More of it, and
tables by interaction: ``napari-probseg evaluate``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import napari_probseg as ps
from napari_probseg.dataset.raw import datasets_below
from napari_probseg.dataset.targets import targets_of
from napari_probseg.evaluate.samples import SampleScore, score_samples

COLUMNS = ("n_candidates", "best", "first", "control")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("PROBSEG_DATA"), help="folder of nnU-Net v2 raw data sets")
    parser.add_argument("--weights", default="general")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("name a folder of data sets with --data or PROBSEG_DATA")
    proposer = ps.load_proposer(arguments.weights, device="cpu")
    lines = [
        "| data set | objects | candidates | best of 8 | first | control, best of its windows |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    rows = []
    for dataset in datasets_below(arguments.data):
        found = [score_samples(proposer, t, seed=i)[0] for i, t in enumerate(targets_of(dataset, arguments.cases))]
        if found:
            rows.append(means(found))
            lines.append(line(dataset.folder.name, len(found), rows[-1]))
            print(lines[-1], flush=True)
    lines.append(line("**mean**", len(rows), np.mean(rows, axis=0).tolist()))
    print(lines[-1])
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def means(scores: list[SampleScore]) -> list[float]:
    return [float(np.mean([getattr(score, column) for score in scores])) for column in COLUMNS]


def line(name: str, n: int, row: Sequence[float]) -> str:
    """Return a row of the table."""
    return f"| {name} | {n} | {row[0]:.1f} | {row[1]:.3f} | {row[2]:.3f} | {row[3]:.3f} |"


if __name__ == "__main__":
    main()
