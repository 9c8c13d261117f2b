"""How long an answer in a volume of 128x128x128 takes, stroke by stroke, by the clock and as time of the processor.

    python benchmarks/answers.py --data FOLDER [--sets FetalBrainMRI Hippocampus] [--strokes 14]

Of each set an object of a training part is completed after each dab of the annotator of ``napari-probseg evaluate``,
in a cube around it; a smaller image is interpolated to that size. To compare two versions let them take turns.
"""

from __future__ import annotations

import time

import numpy as np
import torch

import napari_probseg as ps
from cubes import cube
from napari_probseg.dataset.raw import datasets_at
from napari_probseg.simulate.annotator import dab
from options import parser_of


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sets", nargs="*", default=["FetalBrainMRI", "Hippocampus"], help="their names")
    parser.add_argument("--strokes", type=int, default=14)
    arguments = parser.parse_args()
    completer = ps.load_completer(device="cpu")
    print(f"| {torch.get_num_threads()} threads | strokes | median, ms | of the processor, ms | Dice at the end |")
    print("|---|--:|--:|--:|--:|", flush=True)
    for dataset in datasets_at(arguments.data, arguments.sets):
        case, truth = cube(dataset.load(dataset.split("training")[0]))
        result, times, shown = np.zeros_like(truth), [], None
        for _ in range(arguments.strokes):
            marks = dab(result, truth, spacing=case.spacing)
            if marks is None:
                break
            case = case.mark(*marks)
            if shown is not None:
                case = case.with_shown(*shown)
            begun = time.perf_counter(), time.process_time()
            found = completer.propose(case, everywhere=False)
            times.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
            shown = found.where, found.patches[0] == ps.Marker.OBJECT, float(found.score[0])
            result = np.zeros_like(truth)
            result[shown[0]] = shown[1]
        clock, busy = 1000 * np.median(times[1:], axis=0)  # not the first one, which loads the network
        dice = ps.metrics.dice(result, truth)
        print(f"| {dataset.folder.name} | {len(times)} | {clock:.0f} | {busy:.0f} | {dice:.2f} |", flush=True)


if __name__ == "__main__":
    main()
