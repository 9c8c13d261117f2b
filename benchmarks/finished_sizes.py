"""What the sizes of finished objects bring the next one: Dice after each dab of `complete`, without and with them.

    python benchmarks/finished_sizes.py --data FOLDER --sets Nuclei NerveAxonsSEM [--part test] [--images 6]

Of each image some objects are completed dab by dab, as in ``napari-probseg evaluate``, each as if none, one, three or
eight others of the image had been finished before. Of a volume it is the plane, along its first axis, with the most
objects. Where ids do not tell objects apart, they are the connected parts of the first label.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

import napari_probseg as ps
import options
from napari_probseg.dataset.raw import LabelledImage, RawDataset, datasets_at
from napari_probseg.dataset.targets import Target
from napari_probseg.evaluate.interaction import interact
from napari_probseg.evaluate.many_objects import scene_of
from napari_probseg.evaluate.methods import Completing
from napari_probseg.region import Part

N_FINISHED = 0, 1, 3, 8
N_DABS = 4
MIN_OBJECTS = 4


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Return what reads which objects are looked at, for this and other benchmarks of what finished objects bring."""
    parser = options.parser_of_sets(about)
    parser.add_argument("--images", type=int, default=6, help="of each set")
    parser.add_argument("--objects", type=int, default=3, help="of each image")
    return parser


def main() -> None:
    parser = parser_of(__doc__)
    arguments = parser.parse_args()
    completer = ps.load_completer(arguments.weights, device="cpu")
    print("| data set | objects |", *(f"{n} finished |" for n in N_FINISHED))
    print("|---|--:|" + "---|" * len(N_FINISHED), flush=True)
    for dataset in datasets_at(arguments.data, arguments.sets):
        found = [
            [after_dabs(completer, target, sizes_of(others[:n], target)) for n in N_FINISHED]
            for target, others in targets(dataset, arguments.part, arguments.images, arguments.objects)
        ]
        if found:
            rows = [" / ".join(f"{dice:.2f}" for dice in row) for row in np.mean(found, axis=0)]
            print(f"| {dataset.folder.name} | {len(found)} |", *(f"{row} |" for row in rows), flush=True)


def targets(dataset: RawDataset, part: str, n_images: int, n_objects: int) -> Iterator[tuple[Target, list[Part]]]:
    """Yield objects, each with the others of its image in the order in which they were finished."""
    scenes = filter(None, (scene_of(flat(dataset.load(name))) for name in dataset.split(part)))
    for scene in [scene for _, scene in zip(range(n_images), scenes, strict=False)]:
        spacing = tuple(scene.case.spacing or ())
        parts = {i: Part(box, scene.truth[box] == i, i) for i, box in scene.boxes.items()}
        order = np.random.default_rng(zlib.crc32(scene.name.encode())).permutation(sorted(parts)).tolist()
        for i in order[:n_objects] if len(order) >= MIN_OBJECTS else ():
            target = Target(scene.name, scene.case.read(), scene.truth == i, spacing, scene.truth)
            yield target, [parts[other] for other in reversed(order) if other != i]


def sizes_of(parts: Sequence[Part], target: Target) -> tuple[float, ...]:
    """Return the sizes of objects in mm, as a case has them."""
    voxel = float(np.prod(target.spacing))
    return tuple((np.count_nonzero(part.mask) * voxel) ** (1 / part.mask.ndim) for part in parts)


def flat(case: LabelledImage) -> LabelledImage:
    """Return an image, or the plane of a volume with the most objects."""
    if case.label.ndim == 2:
        return case
    plane = int(np.argmax([len(np.unique(label)) for label in case.label]))
    return LabelledImage(case.name, case.image[:, plane], case.label[plane], case.spacing[1:], case.instances)


def after_dabs(completer: ps.Completer, target: Target, sizes: tuple[float, ...]) -> list[float]:
    """Return the Dice after each dab."""
    play = Completing(target.case().with_sizes(sizes), completer)
    return [step.dice for step in interact(play, target, n=N_DABS)]


if __name__ == "__main__":
    main()
