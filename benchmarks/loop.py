"""Does the loop teach? Dice on fixed images after training on 1, 2, 4 and 8 others.

    python benchmarks/loop.py --data FOLDER [--out runs/loop] [--steps 80] [--markdown FILE]

In turn on data sets that the first network has never seen (they are left out of its training, see
`napari_probseg.reproduce.unseen`): trainings from that network beside trainings from random weights, as many steps
each, on the same images; and on images that the network of the stage before is most uncertain of beside images at
random. The validation images are the first of each test part; all training images come from the training part. Goes on
where it was broken off.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from napari_probseg.active_learning.acquisition import uncertainty_of
from napari_probseg.active_learning.registry import models_of
from napari_probseg.active_learning.train import train
from napari_probseg.active_learning.validate import completed, load_models, objects_of
from napari_probseg.case import Case
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.raw import RawDataset, all_but, datasets_below
from napari_probseg.io.atomic import write_whole
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import GeneralCVAE
from napari_probseg.reproduce.unseen import GROUPS, train_small
from options import parser_of

SIZES = (1, 2, 4, 8)
N_DABS = (1, 3)
WAYS = ("from general weights", "from scratch", "from general weights, by uncertainty")


class AllForTraining(Collection):
    """A collection that holds out nothing: the validation images here are others."""

    def split(self, part: str) -> list[str]:
        return list(self.cases) if part == "training" else []


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/loop"))
    parser.add_argument("--sets", nargs="+", default=["Dataset002_BreastUltrasound", "Dataset003_FetalHead"])
    parser.add_argument("--steps", type=int, default=80, help="of each training")
    parser.add_argument("--images", type=int, default=10, help="validation images of each set")
    parser.add_argument("--candidates", type=int, default=20, help="images that are chosen from")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    datasets = datasets_below(arguments.data)
    seen = all_but(GROUPS[2].left_out, datasets)
    for progress in train_small(GROUPS[2], arguments.out / "general", seen):
        if progress.step % 100 == 0:
            print(f"general network: step {progress.step} of {progress.n_steps}", flush=True)
    general, scratch = arguments.out / "general" / "weights.safetensors", arguments.out / "scratch.safetensors"
    torch.manual_seed(0)
    config = GROUPS[2].network
    write_weights(scratch, GeneralCVAE(config).state_dict(), preset="general", config=asdict(config))
    lines: list[str] = []
    for dataset in datasets:
        name = dataset.folder.name
        if name not in arguments.sets:
            continue
        if not name.endswith(GROUPS[2].left_out):
            parser.error(f"the general network has seen {name}: choose of those left out, {GROUPS[2].left_out}")
        stages = Stages(dataset, arguments.out / name, arguments.images, arguments.candidates, arguments.steps)
        lines += table(name, stages, general, scratch)
        print("\n".join(lines), flush=True)
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def table(name: str, stages: Stages, general: Path, scratch: Path) -> Iterator[str]:
    """Yield the rows of one data set: Dice after 1 and 3 dabs, for each way and number of images."""
    yield f"\n{name}: Dice after {' / '.join(map(str, N_DABS))} dabs\n"
    yield f"| training images | 0 | {' | '.join(map(str, SIZES))} |"
    yield f"|---|{'---|' * (1 + len(SIZES))}"
    for way, start in zip(WAYS, (general, scratch, general), strict=True):
        cells = [stages.dice(way, start, 0), *(stages.dice(way, start, n) for n in SIZES)]
        yield f"| {way} | {' | '.join(' / '.join(f'{v:.3f}' for v in cell) for cell in cells)} |"


class Stages:
    """The trainings on one data set, each done once and remembered."""

    def __init__(self, dataset: RawDataset, out: Path, n_images: int, n_candidates: int, n_steps: int) -> None:
        self.dataset, self.out, self.n_steps = dataset, out, n_steps
        self.validation = dataset.split("test")[:n_images]
        names = dataset.split("training")
        self.candidates = [names[i] for i in np.random.default_rng(0).permutation(len(names))[:n_candidates]]
        self._path = out / "dice.json"
        self._known: dict[str, list[float]] = json.loads(self._path.read_text()) if self._path.is_file() else {}

    def dice(self, way: str, start: Path, n: int) -> list[float]:
        """Return the mean Dice on the validation images after training on ``n`` images."""
        key = f"{way}, {n}"
        if key not in self._known:
            weights = self.weights(way, start, n)
            self._known[key] = self._validated(weights)
            write_whole(self._path, json.dumps(self._known, indent=1).encode())
            print(self.dataset.folder.name, key, [f"{v:.3f}" for v in self._known[key]], flush=True)
        return self._known[key]

    def weights(self, way: str, start: Path, n: int) -> Path:
        """Return the weights after training on ``n`` images, trained now if they are not there."""
        if n == 0:
            return start
        folder = self.out / way.replace(", ", "_").replace(" ", "_") / f"Dataset{700 + n}_{n}"
        is_there = (folder / "dataset.json").is_file()
        collection: Collection | None = AllForTraining(folder) if is_there else None
        if collection is None or len(collection.cases) < n:
            shutil.rmtree(folder, ignore_errors=True)
            collection = self._filled(folder, self._chosen(way, start, n))
        if not models_of(collection):
            for _ in train(collection, steps=self.n_steps, start=start, device="cpu"):
                pass
        return models_of(collection)[0].weights

    def _chosen(self, way: str, start: Path, n: int) -> list[str]:
        """Return the images to train on: each stage's are among the next one's."""
        if way != WAYS[2]:
            return self.candidates[:n]
        before = max((size for size in SIZES if size < n), default=0)
        kept = self._chosen(way, start, before) if before else []
        known = self.out / f"chosen_{n}.json"
        if not known.is_file():
            _, asked = load_models(self.weights(way, start, before), device="cpu")
            unsure = {name: uncertainty_of(self._case(name), asked) for name in self.candidates if name not in kept}
            most = sorted(unsure, key=lambda name: -unsure[name])[: n - before]
            write_whole(known, json.dumps([*kept, *most]).encode())
        return [str(name) for name in json.loads(known.read_text())]

    def _case(self, name: str) -> Case:
        labelled = self.dataset.load(name)
        return Case(labelled.image, spacing=labelled.spacing, channel_axis=0)

    def _filled(self, folder: Path, names: list[str]) -> Collection:
        """Return a data set of these images alone."""
        images = [self.dataset.load(name) for name in names]
        labels = [name for name, number in self.dataset.labels.items() if number != 0]
        channels = [f"channel {i}" for i in range(len(images[0].image))]
        collection = AllForTraining.create(folder, labels, channels=channels, ending=".tif")
        for one in images:
            collection.add(one.name, one.image, one.label, spacing=one.spacing, channel_axis=0)
        return collection

    def _validated(self, weights: Path) -> list[float]:
        _, completer = load_models(weights, device="cpu")
        scores = []
        for labelled in map(self.dataset.load, self.validation):
            scores += [completed(completer, labelled, truth, N_DABS) for truth in objects_of(labelled)]
        return [float(v) for v in np.mean(scores, axis=0)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
