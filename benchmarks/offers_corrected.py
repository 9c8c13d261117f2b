"""Correcting what More like this offers: Dice of nearly right objects before and after each dab that corrects them.

    python benchmarks/offers_corrected.py --data FOLDER --sets Nuclei NerveAxonsSEM [--part test] [--images 2]

Two true objects of an image are finished, others are looked for, and each of the offers with an IoU of 0.45 to 0.98 is
corrected by dabs where it is most wrong; beside it the same object is drawn anew.
"""

from __future__ import annotations

import numpy as np

import napari_probseg as ps
from corrections import completed
from napari_probseg.dataset.raw import datasets_at
from napari_probseg.evaluate.many_objects import Scene, scene_of
from napari_probseg.metrics import dice
from napari_probseg.region import placed
from napari_probseg.simulate.annotator import dab
from options import parser_of_sets

N_DABS, N_EXAMPLES, N_OFFERED, MAX_OBJECTS = 4, 2, 40, 32
FAIR, GOOD, RIGHT = 0.45, 0.7, 0.98  # IoU


def main() -> None:
    parser = parser_of_sets(__doc__)
    parser.add_argument("--images", type=int, default=2, help="of each set")
    arguments = parser.parse_args()
    completer = ps.load_completer(arguments.weights, device="cpu")
    rows: list[tuple[str, str, list[float]]] = []
    for dataset in datasets_at(arguments.data, arguments.sets):
        for name in dataset.split(arguments.part)[: arguments.images]:
            if (scene := scene_of(dataset.load(name), max_objects=MAX_OBJECTS)) is not None:
                rows += corrected(completer, scene)
    print("| offered with IoU | objects | | before |", *(f"{n + 1} |" for n in range(N_DABS)))
    print("|---|--:|---|" + "---|" * (N_DABS + 1))
    for kind in dict.fromkeys(kind for kind, _, _ in rows):
        for way in ("corrected", "drawn anew"):
            scores = [row for k, w, row in rows if (k, w) == (kind, way)]
            means = [f"{d:.3f} |" for d in np.mean(scores, axis=0)]
            print(f"| {kind} | {len(scores)} | {way} |", *(means if way == "corrected" else ["|", *means[1:]]))


def corrected(completer: ps.Proposer, scene: Scene) -> list[tuple[str, str, list[float]]]:
    """Return how good each offer was, the way, and the Dice before and after each dab."""
    session = ps.Session(scene.case, completer=completer)
    examples = np.random.default_rng(0).permutation(sorted(scene.boxes))[:N_EXAMPLES]
    for i in examples:
        session.mark(scene.truth == i)
        session.finish()
    rows = []
    for k, o in enumerate(session.propose_similar(N_OFFERED).objects):
        i, iou = scene.iou(o.mask, o.where)
        if i in (0, *examples) or not FAIR < iou < RIGHT:
            continue
        truth, everywhere = scene.truth == i, tuple(slice(0, n) for n in scene.truth.shape)
        kind = f"{FAIR} to {GOOD}" if iou <= GOOD else f"{GOOD} to {RIGHT}"
        for way, result in (("corrected", placed(everywhere, o.where, o.mask)), ("drawn anew", truth & False)):
            n_steps = len(session.steps)
            session.look_at_similar(k if way == "corrected" else None)
            scores = [dice(result, truth)]
            for _ in range(N_DABS):
                if (drawn := dab(result, truth, spacing=scene.case.spacing)) is not None:
                    session.mark(*drawn)
                    result = completed(session) & (session.objects == 0)
                scores.append(dice(result, truth))
            while len(session.steps) > n_steps:
                session.undo()
            rows.append((kind, way, scores))
    return rows


if __name__ == "__main__":
    main()
