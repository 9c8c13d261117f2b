"""What learning from finished objects brings the next one: Dice after each dab of `complete`, before and after it.

    python benchmarks/finished_objects.py --data FOLDER --sets Nuclei NerveAxonsSEM [--part test] [--images 6]

Of each image some objects are completed dab by dab, as in ``napari-probseg evaluate``, as if one, three or eight others
of the image had been finished, whose sizes are known; and again after the network has learnt from those.
"""

from __future__ import annotations

import time
from itertools import groupby

import numpy as np

import napari_probseg as ps
from finished_sizes import after_dabs, parser_of, sizes_of, targets
from napari_probseg.dataset.raw import datasets_at
from napari_probseg.proposers.unet_cut import UNetCut

N_FINISHED = 1, 3, 8


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--finished", type=int, nargs="*", default=N_FINISHED, help="how many others")
    arguments = parser.parse_args()
    completer = ps.load_completer(arguments.weights, device="cpu")
    assert isinstance(completer, UNetCut)
    print("| data set | objects | finished | before | after | seconds |\n|---|--:|--:|---|---|--:|", flush=True)
    for dataset in datasets_at(arguments.data, arguments.sets):
        rows: dict[int, list[list[list[float]]]] = {n: [] for n in arguments.finished}
        seconds = []
        found = targets(dataset, arguments.part, arguments.images, arguments.objects)
        for _, of_image in groupby(found, lambda one: one[0].name):
            objects = list(of_image)
            chosen = {int(target.label[target.truth][0]) for target, _ in objects}
            others = [part for part in objects[0][1] if part.label not in chosen]
            for n, so_far in rows.items():
                start = time.perf_counter()
                learnt = completer.learn(objects[0][0].case(), others[:n])
                seconds.append(time.perf_counter() - start)
                for target, _ in objects:
                    sizes = sizes_of(others[:n], target)
                    so_far.append([after_dabs(one, target, sizes) for one in (completer, learnt)])
        for n, dice in rows.items():
            told = [" / ".join(f"{d:.2f}" for d in row) for row in np.mean(dice, axis=0)]
            print(f"| {dataset.folder.name} | {len(dice)} | {n} |", *(f"{row} |" for row in told), end=" ")
            print(f"{np.mean(seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
