"""Correcting an object that is nearly right: Dice before and after each dab on a finished object that was reopened.

    python benchmarks/corrections.py --data FOLDER --sets VocalFolds Pets [--volumes] [--part test] [--cases 6]

The true object is given an error, taken as a finished one, reopened, and corrected by dabs where the answer is most
wrong: a piece is missing at its border, a piece is too much there, or (images) all of its border is warped. "Accepted"
is an object that was completed dab by dab until it had a Dice of 0.8, by six at most, and then accepted.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import napari_probseg as ps
from napari_probseg.dataset.raw import datasets_at
from napari_probseg.dataset.targets import Target, targets_of
from napari_probseg.metrics import dice
from napari_probseg.region import bounding_box, grown
from napari_probseg.simulate.annotator import dab
from options import parser_of_sets

KINDS = ("a piece missing", "a piece too much", "warped", "accepted")
N_DABS = 6
NEARLY_RIGHT = (0.6, 0.98)  # Dice of an object with an error
ACCEPTABLE, MAX_DABS_BEFORE = 0.8, 6
WARP_RATIO = 0.35  # of the radius of a disk of the object's area, that its border is moved by

Mask = NDArray[np.bool_]


def main() -> None:
    parser = parser_of_sets(__doc__)
    parser.add_argument("--volumes", action="store_true", help="objects in 3-D")
    parser.add_argument("--cases", type=int, default=6, help="of each set")
    arguments = parser.parse_args()
    completer = ps.load_completer(arguments.weights, device="cpu")
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for dataset in datasets_at(arguments.data, arguments.sets):
        ndim = 3 if arguments.volumes else 2
        for target in targets_of(dataset, arguments.cases, ndim=ndim, part=arguments.part, seed=0):
            for seed, kind in enumerate(KINDS):
                if (scores := corrected(completer, target, kind, seed)) is not None:
                    found[kind].append(scores)
    print("| object | objects | before |", *(f"{n + 1} |" for n in range(N_DABS)), "dabs that take 0.03 or more |")
    print("|---|--:|" + "---|" * (N_DABS + 2))
    for kind, rows in found.items():
        if rows:
            worse = sum(b < a - 0.03 for row in rows for a, b in pairwise(row))
            print(f"| {kind} | {len(rows)} |", *(f"{d:.3f} |" for d in np.mean(rows, axis=0)), f"{worse} |")


def corrected(completer: ps.Proposer, target: Target, kind: str, seed: int) -> list[float] | None:
    """Return the Dice before and after each dab; None where the object is not nearly right, or cannot be so wrong."""
    session = ps.Session(target.case(), completer=completer)
    if kind == "accepted":
        result = np.zeros_like(target.truth)
        for _ in range(MAX_DABS_BEFORE):
            result = after_dab(session, result, target)
            if dice(result, target.truth) >= ACCEPTABLE:
                break
        session.accept()
    elif kind == "warped" and target.truth.ndim == 3:
        return None
    else:
        result = with_error(target, kind, np.random.default_rng(seed))
        if not NEARLY_RIGHT[0] < dice(result, target.truth) < NEARLY_RIGHT[1]:
            return None
        session.take(result.astype(np.uint32))
        session.reopen(1)
    scores = [dice(result, target.truth)]
    for _ in range(N_DABS):
        result = after_dab(session, result, target)
        scores.append(dice(result, target.truth))
    return scores


def after_dab(session: ps.Session, result: Mask, target: Target) -> Mask:
    """Return what is completed after a dab where a result is most wrong; the result itself where it is right."""
    drawn = dab(result, target.truth, spacing=target.spacing)
    if drawn is None:
        return result
    session.mark(*drawn)
    return completed(session)


def completed(session: ps.Session, plane: tuple[int, int] | None = None) -> Mask:
    """Return the object as it is completed, on a plane or whole."""
    candidates = session.complete(plane=plane)
    return np.asarray((candidates.partial[0] if len(candidates) else session.case.partial) == ps.Marker.OBJECT)


def with_error(target: Target, kind: str, rng: np.random.Generator) -> Mask:
    """Return the true object with an error."""
    found, box = target.truth.copy(), bounding_box(target.truth)
    assert box is not None
    where = grown(box, [max(s.stop - s.start for s in box)] * len(box), found.shape)
    true, mm = target.truth[where], np.asarray(target.spacing, dtype=float)
    measure = np.count_nonzero(true) * np.prod(mm)
    radius = float(np.sqrt(measure / np.pi) if true.ndim == 2 else np.cbrt(0.75 * measure / np.pi))
    places = np.indices(true.shape)
    if kind == "warped":
        moves = [ndimage.gaussian_filter(rng.normal(size=true.shape), 0.7 * radius / m) for m in mm]
        moves = [WARP_RATIO * radius / m * a / np.abs(a[true]).max() for a, m in zip(moves, mm, strict=True)]
        found[where] = ndimage.map_coordinates(true.astype(float), places + np.array(moves), order=1) > 0.5
        return found
    border = np.argwhere(true & ~ndimage.binary_erosion(true))
    middle = border[rng.integers(len(border))]
    far = np.sqrt(sum(((a - m) * side) ** 2 for a, m, side in zip(places, middle, mm, strict=True)))
    piece = far < radius * rng.uniform(0.4, 0.7)
    found[where] = true & ~piece if kind == "a piece missing" else true | piece
    return found


if __name__ == "__main__":
    main()
