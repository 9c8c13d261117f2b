"""Dice of the best of 8 candidates after one dab inside and one outside, beside a decoder without a latent.

    python benchmarks/best_of_8.py --data FOLDER [--weights FILE] [--cases 20] [--markdown docs/best_of_8.md]

The data sets' test parts (the last third of their cases) are used. The control is a head of the same size on the same
trunk, trained on the same batches with z = 0; of its answers in the three windows the best counts, too.
"""

from __future__ import annotations

import argparse
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import napari_probseg as ps
from napari_probseg.metrics import dice
from napari_probseg.nn.general import GeneralCVAE
from napari_probseg.proposers.cvae import CVAEProposer, Draw
from napari_probseg.proposers.window import Window
from napari_probseg.simulate.annotator import first_dabs
from napari_probseg.training.dataset import LabelledImage, RawDataset, datasets_below


class Control(CVAEProposer):
    """The deterministic decoder: one answer in each window."""

    @torch.inference_mode()
    def _drawn(self, windows: list[Window], x: torch.Tensor, z: torch.Tensor, reach: float) -> Draw:
        assert isinstance(self.network, GeneralCVAE)
        answer = self.network.decode_control(self.network.features(x), torch.full((len(windows),), reach))
        return Draw(windows, answer.mask[:, None], answer.object[:, None], answer.quality.sigmoid()[:, None])


@dataclass(frozen=True)
class Target:
    """One object to segment, on one plane."""

    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    spacing: tuple[float, ...]


def targets(dataset: RawDataset, n_cases: int) -> Iterator[Target]:
    """Yield one object of each test case: a random instance where ids tell them apart, else a random label."""
    for name in dataset.split("test")[:n_cases]:
        case = dataset.load(name)
        target = one_target(case, np.random.default_rng(zlib.crc32(name.encode())))
        if target is not None:
            yield target


def one_target(case: LabelledImage, rng: np.random.Generator) -> Target | None:
    """Return one label of a case, in volumes on the plane where it is largest."""
    ids, sizes = np.unique(case.label[case.label > 0], return_counts=True)
    ids = ids[sizes >= 30]
    if not len(ids):
        return None
    truth = case.label == rng.choice(ids)
    if truth.ndim == 2:
        return Target(case.image, truth, case.spacing)
    plane = int(truth.sum((1, 2)).argmax())
    return Target(case.image[:, plane], truth[plane], case.spacing[1:])


def score(proposer: CVAEProposer, target: Target, seed: int) -> tuple[list[float], list[float]]:
    """Return the Dice and the score of each candidate."""
    inside, outside = first_dabs(target.truth, seed=seed, spacing=target.spacing)
    case = ps.Case(target.image, spacing=target.spacing, channel_axis=0).mark(inside, outside)
    candidates = proposer.propose(case, 8, seed=seed)
    return (
        [dice(candidates.partial[i] == ps.Marker.OBJECT, target.truth) for i in range(len(candidates))],
        list(candidates.score),
    )


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
    control = Control(proposer.network, device="cpu")
    lines = [
        "| data set | objects | candidates | best of 8 | first | control, best of its windows |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    rows = []
    for dataset in datasets_below(arguments.data):
        found = [(score(proposer, t, i), score(control, t, i)) for i, t in enumerate(targets(dataset, arguments.cases))]
        ours = [d for (d, _), _ in found]
        row = [
            np.mean([len(d) for d in ours]),
            np.mean([max(d, default=0.0) for d in ours]),
            np.mean([d[0] if d else 0.0 for d in ours]),
            np.mean([max(d, default=0.0) for _, (d, _) in found]),
        ]
        rows.append(row)
        lines.append(line(dataset.folder.name, len(found), row))
        print(lines[-1], flush=True)
    lines.append(line("**mean**", sum(1 for _ in rows), np.mean(rows, axis=0)))
    print(lines[-1])
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def line(name: str, n: int, row: list[float] | NDArray[np.float64]) -> str:
    """Return a row of the table."""
    return f"| {name} | {n} | {row[0]:.1f} | {row[1]:.3f} | {row[2]:.3f} | {row[3]:.3f} |"


if __name__ == "__main__":
    main()
