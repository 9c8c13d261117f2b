"""Dice of a volume of which one or three slices are accepted: what carrying them brings, beside simpler ways.

    python benchmarks/slice_propagation.py --data FOLDER [--cases 8] [--part test] [--no-network] [--markdown FILE]

Every label of every case along its first axis. The slices are the true ones, at 50 %, or at 25, 50 and 75 %, of where
the object lies, with a dab on each. Copying (the nearest slice) and interpolation (of signed distances between the
slices, copies beyond) are told where the object begins and ends, which nobody tells the completer of volumes; carrying
is measured both ways. Seconds are of one answer, the median over all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

import napari_probseg as ps
from napari_probseg.dataset.raw import RawDataset, datasets_below
from napari_probseg.dataset.targets import MIN_LABEL_VOXELS
from napari_probseg.inference.volume import answer_in_volume
from napari_probseg.inference.volume_readings import in_voxels_of
from napari_probseg.metrics import dice
from napari_probseg.morphology import with_rim
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.proposers.slice_propagation import SlicePropagator
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.simulate.annotator import first_dabs
from options import parser_of

SHARES = ((0.5,), (0.25, 0.5, 0.75))
Mask = NDArray[np.bool_]
Method = Callable[[ps.Case, Mask, list[int]], Mask]


def with_accepted(case: ps.Case, truth: Mask, k: int) -> ps.Case:
    """Return the case with a dab on a slice, whose true object was then accepted: it and its rim are decided."""
    at, mask = np.s_[k : k + 1, :, :], truth[k]
    inside, _ = first_dabs(mask, seed=0, spacing=(case.spacing or ())[1:])
    patch = np.where(mask, ps.Marker.OBJECT, np.where(with_rim(mask), ps.Marker.BACKGROUND, ps.Marker.UNKNOWN))
    return case.mark(inside[None], where=at).decide(at, patch[None].astype(np.uint8))


def copied(case: ps.Case, truth: Mask, slices: list[int]) -> Mask:
    """Return the nearest accepted slice on each slice of the object."""
    found = np.zeros_like(truth)
    for k in np.flatnonzero(truth.any((1, 2))):
        found[k] = truth[min(slices, key=lambda j: abs(j - k))]
    return found


def interpolated(case: ps.Case, truth: Mask, slices: list[int]) -> Mask:
    """Return the form that goes over from one accepted slice to the next; copies beyond the outermost."""
    found = copied(case, truth, slices)
    for low, high in pairwise(slices):
        below, above = (signed_distance(truth[k], (case.spacing or ())[1:]) for k in (low, high))
        for k in range(low + 1, high):
            found[k] = (high - k) * below + (k - low) * above > 0
    return found


def signed_distance(mask: Mask, mm: Sequence[float]) -> NDArray[np.float64]:
    """Return the distance to a mask's border, mm; negative outside of it."""
    inside, outside = (ndimage.distance_transform_edt(m, sampling=mm) for m in (mask, ~mask))
    return np.asarray(inside - outside)


def carried(case: ps.Case, truth: Mask, slices: list[int]) -> Mask:
    """Return what is carried until it stops by itself."""
    return objects_of(SlicePropagator().propose(case, plane=(0, slices[0])), case)


def carried_to_the_ends(case: ps.Case, truth: Mask, slices: list[int]) -> Mask:
    """Return what is carried to where the object is known to begin and end."""
    ends = np.flatnonzero(truth.any((1, 2)))[[0, -1]]
    return objects_of(SlicePropagator().propose(case, plane=(0, slices[0]), slices=(int(ends[0]), int(ends[1]))), case)


def walked(completer: UNetCut, case: ps.Case, truth: Mask, slices: list[int]) -> Mask:
    """Return what the network of images alone says from slice to slice, with the true slices."""
    of_volumes, of_images = completer.networks[3], completer.networks[2]
    assert isinstance(of_volumes, VolumeCVAE)
    assert isinstance(of_images, AdvisedCVAE)
    found = answer_in_volume(of_volumes, of_images, case, torch.device("cpu"))
    mask = in_voxels_of(tuple(slice(0, n) for n in truth.shape), found.grid, (found.ways.maps[1] > 0).float()) > 0.5
    mask[slices] = truth[slices]
    return mask


def objects_of(candidates: ps.Candidates, case: ps.Case) -> Mask:
    """Return the object after the first candidate, or before if there is none."""
    return np.asarray((candidates.partial[0] if len(candidates) else case.partial) == ps.Marker.OBJECT)


def objects(dataset: RawDataset, part: str, n_cases: int) -> Iterator[tuple[ps.Case, Mask]]:
    """Yield each label of each volume that has at least three slices of it."""
    for name in dataset.split(part)[:n_cases]:
        case = dataset.load(name)
        for label in np.unique(case.label[case.label > 0]) if case.label.ndim == 3 else ():
            truth = case.label == label
            if truth.sum() >= MIN_LABEL_VOXELS and truth.any((1, 2)).sum() >= 3:
                yield ps.Case(case.image, spacing=case.spacing, channel_axis=0), truth


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--part", choices=("test", "training"), default="test")
    parser.add_argument("--no-network", action="store_true", help="leave out the completer of volumes")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    methods: dict[str, Method] = {
        "carry": carried,
        "copy, ends told": copied,
        "interpolation, ends told": interpolated,
        "carry, ends told": carried_to_the_ends,
    }
    if not arguments.no_network:
        completer = ps.load_completer(device="cpu")
        assert isinstance(completer, UNetCut)
        methods["slice to slice"] = partial(walked, completer)
        methods["completer of volumes"] = lambda case, truth, slices: objects_of(completer.propose(case), case)
    lines = [f"| data set | objects | slices | {' | '.join(methods)} |", f"|---|---|---|{'---|' * len(methods)}"]
    print("\n".join(lines), flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for dataset in datasets_below(arguments.data):
        scores = [scored(methods, *found, seconds) for found in objects(dataset, arguments.part, arguments.cases)]
        for shares, row in zip(SHARES, np.mean(scores, axis=0) if scores else (), strict=False):
            cells = " | ".join(f"{value:.3f}" for value in row)
            lines.append(f"| {dataset.folder.name} | {len(scores)} | {len(shares)} | {cells} |")
            print(lines[-1], flush=True)
    lines.append(f"| seconds | | | {' | '.join(f'{np.median(s):.2f}' for s in seconds.values())} |")
    print(lines[-1])
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def scored(
    methods: dict[str, Method], case: ps.Case, truth: Mask, seconds: dict[str, list[float]]
) -> list[list[float]]:
    """Return the Dice of each method with each number of slices, and note how long each took."""
    there, table = np.flatnonzero(truth.any((1, 2))), []
    for shares in SHARES:
        slices = sorted({int(there[round(share * (len(there) - 1))]) for share in shares})
        marked, row = case, []
        for k in slices:
            marked = with_accepted(marked, truth, k)
        for name, method in methods.items():
            begun = time.perf_counter()
            row.append(dice(method(marked, truth, slices), truth))
            seconds[name].append(time.perf_counter() - begun)
        table.append(row)
    return table


if __name__ == "__main__":
    main()
