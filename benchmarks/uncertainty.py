"""Is the model worst where it is most uncertain? Rank correlation over the images of each test part.

    python benchmarks/uncertainty.py --data FOLDER [--images 12] [--sets NAME ...]

Spearman's rho between `napari_probseg.active_learning.acquisition.uncertainty_of` an untouched image and the shipped
completer's error there (1 - Dice, the mean over the image's largest objects) after 1 and after 3 simulated dabs.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr

import napari_probseg as ps
from napari_probseg.active_learning.acquisition import uncertainty_of
from napari_probseg.active_learning.registry import GENERAL
from napari_probseg.active_learning.validate import completed, load_models, objects_of
from napari_probseg.dataset.raw import RawDataset, datasets_at
from options import parser_of

N_DABS = (1, 3)
SETS = ["Nuclei", "BreastUltrasound", "FetalHead", "BrainHaemorrhageCT", "VocalFolds"]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=12, help="of each test part")
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of sets of images")
    arguments = parser.parse_args()
    print("| data set | images | rho after 1 dab | after 3 |\n|---|---|---|---|", flush=True)
    for dataset in datasets_at(arguments.data, arguments.sets):
        found = measured(dataset, arguments.images)
        rho = [spearmanr(found[:, 0], found[:, i]).statistic for i in (1, 2)]
        print(f"| {dataset.folder.name} | {len(found)} | {rho[0]:.2f} | {rho[1]:.2f} |", flush=True)


def measured(dataset: RawDataset, n_images: int) -> np.ndarray:
    """Return uncertainty, error after one dab and after three of each image, (images, 3)."""
    _, completer = load_models(GENERAL, device="cpu")
    rows: list[list[float]] = []
    for labelled in map(dataset.load, dataset.split("test")):
        objects = objects_of(labelled)
        if objects and len(rows) < n_images:
            case = ps.Case(labelled.image, spacing=labelled.spacing, channel_axis=0)
            scores = [completed(completer, labelled, truth, N_DABS) for truth in objects]
            rows.append([uncertainty_of(case, completer), *(1 - np.mean(scores, axis=0))])
    return np.array(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
