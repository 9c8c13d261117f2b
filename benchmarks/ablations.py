"""What each choice of the general recipe brings: networks trained equally long, each with one choice taken back.

    python benchmarks/ablations.py --data FOLDER [--out runs/ablations] [--minutes 20] [--seeds 2] [--markdown FILE]

All see the same crops of the same data sets for the same time of the processor, whatever else the machine does, and
complete objects of the data sets in `UNSEEN`, which none of them sees, for a simulated annotator, without a refiner.
Rows are appended to ``rows.csv`` in the folder ``--out``, so that a run that was broken off goes on.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from napari_probseg.case import Case
from napari_probseg.dataset.raw import RawDataset, all_but, datasets_below, named
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.evaluate.interaction import interact
from napari_probseg.evaluate.methods import Answering, completed
from napari_probseg.evaluate.rows import Row, append_rows, read_rows
from napari_probseg.evaluate.tables import interactions_to
from napari_probseg.inference.fusion import Looks
from napari_probseg.inference.windows import Window
from napari_probseg.nn.advised import AdvisedConfig, AdvisedCVAE
from napari_probseg.nn.advisers import ADVISER_NAMES
from napari_probseg.nn.presets import load_network
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.training import fit, general
from napari_probseg.training.general import POOL, train_general
from napari_probseg.training.pool import kept_pool
from napari_probseg.training.recipe import RECIPES, GeneralTraining
from options import parser_of

UNSEEN = ("VocalFolds", "CarotidUltrasound", "ColonGlands", "HeartCT", "Pets", "RetinalVessels")
TRAINING = replace(RECIPES[2].training, n_batch=12)
NETWORK = cast("AdvisedConfig", RECIPES[2].network)
N_OBJECTS = 4  # of each unseen data set
N_INTERACTIONS = 10
GOAL = 0.85
FIGURES = {f"dice_{n}": f"Dice after {n}" for n in (1, 3, 5, 10)} | {"noc": f"NoC@{GOAL} (of {N_INTERACTIONS})"}


@dataclass(frozen=True)
class Arm:
    """A recipe; ``network_of`` names the arm whose network it uses, where it is only asked in another way."""

    name: str
    training: GeneralTraining = TRAINING
    network: AdvisedConfig = NETWORK
    pretrained: bool = True
    is_weighed: bool = True
    network_of: str = ""


BASE = Arm("base")
ARMS = (
    BASE,
    *(
        Arm(
            f"without the {name} adviser",
            network=replace(NETWORK, advisers=tuple(n for n in ADVISER_NAMES if n != name)),
        )
        for name in ADVISER_NAMES
    ),
    Arm("without any adviser", network=replace(NETWORK, advisers=())),
    Arm("without pretraining", pretrained=False),
    Arm("what was accepted counts as marked", network=replace(NETWORK, accepted=False)),
    Arm("without the scale estimate: windows count alike", is_weighed=False, network_of="base"),
    Arm("at most one dab after each look", replace(TRAINING, n_dabs=1)),
    Arm("synthetic scenes alone", replace(TRAINING, share_real=0)),
    Arm("real images alone", replace(TRAINING, share_real=1)),
)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--minutes", type=float, default=20, help="of the processor, for each training")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    datasets = datasets_below(arguments.data)
    seen, targets = all_but(UNSEEN, datasets), unseen(named(UNSEEN, datasets))
    kept_pool(arguments.out / POOL, seen, n_per_dataset=TRAINING.n_crops, seed=0)
    rows = arguments.out / "rows.csv"
    for arm in ARMS:
        for seed in range(arguments.seeds):
            if any((row["method"], row["seed"]) == (arm.name, seed) for row in read_rows(rows)):
                continue
            start = time.monotonic()
            network = trained(arm, arguments.out, minutes=arguments.minutes, seed=seed)
            append_rows(rows, [{"method": arm.name, "seed": seed, **measured(network, arm, targets)}])
            print(f"{arm.name}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    lines = list(table(read_rows(rows)))
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def unseen(datasets: Sequence[RawDataset]) -> list[Target]:
    return [target for dataset in datasets for target in targets_of(dataset, N_OBJECTS)]


def trained(arm: Arm, out: Path, *, minutes: float, seed: int) -> AdvisedCVAE:
    """Return the network of an arm, going on where its training was broken off."""
    folder = out / f"{re.sub('[^a-z0-9]+', '_', (arm.network_of or arm.name).lower())}_{seed}"
    folder.mkdir(exist_ok=True)
    if not (folder / POOL).exists():
        (folder / POOL).symlink_to((out / POOL).resolve())
    weights = folder / "general.safetensors"
    if not weights.is_file():
        fit_config = replace(RECIPES[2].fit, minutes=minutes, seed=seed)
        training = train_general(folder, fit_config=fit_config, config=arm.training, network_config=arm.network)
        with ExitStack() as taken_back:
            taken_back.enter_context(patch.object(fit, "time", SimpleNamespace(monotonic=time.process_time)))
            if not arm.pretrained:
                taken_back.enter_context(patch.object(general, "imagenet_weights", lambda: None))
            deque(training, maxlen=0)
    network = load_network(weights)
    assert isinstance(network, AdvisedCVAE)
    return network


def measured(network: AdvisedCVAE, arm: Arm, targets: Sequence[Target]) -> dict[str, float]:
    """Return what the annotator reaches with a network, the mean over all objects."""
    alike = patch.object(Looks, "of", classmethod(weighed_alike))
    answers = partial(completed, UNetCut({2: network}, device="cpu"))

    def reached() -> np.ndarray:
        runs = [interact(Answering(t.case(), answers), t, n=N_INTERACTIONS) for t in targets]
        return np.array([[interaction.dice for interaction in run] for run in runs])

    if arm.is_weighed:
        dice = reached()
    else:
        with alike:
            dice = reached()
    needed, _ = interactions_to(dice, GOAL)
    found = {name: float(dice[:, int(name.removeprefix("dice_")) - 1].mean()) for name in FIGURES if name != "noc"}
    return found | {"noc": float(needed.mean())}


def weighed_alike(
    cls: type[Looks], case: Case, windows: list[Window], logit: Tensor, quality: Tensor, *, parts: bool = False
) -> Looks:
    """Do what `Looks.of` does, each window counting the same."""
    alike = torch.ones(len(windows))
    return cls(windows, logit, alike, torch.full((len(windows),), parts), alike)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the mean over the seeds of each arm, what it differs by from base, and how far seeds of base differ."""
    yield f"| | seeds | {' | '.join(FIGURES.values())} |"
    yield f"|---|---|{'---|' * len(FIGURES)}"
    base = values(rows, BASE.name)
    for arm in ARMS:
        found = values(rows, arm.name)
        if not len(found):
            continue
        cells = [f"{mean:.3f}" for mean in found.mean(0)]
        if arm != BASE:
            same = base[: len(found)].mean(0)
            cells = [f"{cell} ({mean - b:+.3f})" for cell, mean, b in zip(cells, found.mean(0), same, strict=True)]
        yield f"| {arm.name} | {len(found)} | {' | '.join(cells)} |"
    if len(base) > 1:
        yield f"| *base: largest less smallest of its seeds* | | {' | '.join(f'{v:.3f}' for v in np.ptp(base, 0))} |"


def values(rows: Sequence[Row], name: str) -> np.ndarray:
    """Return the figures of an arm, (seeds, figures)."""
    return np.array([[row[figure] for figure in FIGURES] for row in rows if row["method"] == name])


if __name__ == "__main__":
    main()
