"""The objects that the simulated annotator is after."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

from napari_probseg.case import Case
from napari_probseg.dataset.raw import LabelledImage, RawDataset
from napari_probseg.morphology import numbered_parts

MIN_LABEL_VOXELS = 30  # of a label in a case
MIN_FILLED_SHARE = 0.5  # of an image, from which the borders between its objects are a thing of their own
MAX_GAP_VOXELS = 2  # between things that touch

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Target:
    """One object to segment.

    Parameters
    ----------
    name : str
        Of the case.
    image : (C, Y, X) or (C, Z, Y, X) float32 array
    truth : bool array of the spatial shape
        Never empty.
    spacing : tuple of float
        In mm.
    label : int array of the spatial shape
        All labels of the case, of which ``truth`` is one.
    """

    name: str
    image: NDArray[np.float32]
    truth: Mask
    spacing: tuple[float, ...]
    label: NDArray[np.int32]

    def case(self) -> Case:
        """Return the image with nothing marked."""
        return Case(self.image, spacing=self.spacing, channel_axis=0)

    def readings(self, inside: Mask, outside: Mask) -> list[Mask]:
        """Return what strokes may mean, the truth first: it, the part of it with the stroke, or it with others.

        The others are the labels that it touches, or all labels together; where ids tell objects apart, these are its
        cluster and all of its kind. A reading that the strokes contradict is none.
        """
        parts, _ = numbered_parts(self.truth)
        touching = np.unique(self.label[ndimage.binary_dilation(self.truth, iterations=MAX_GAP_VOXELS)])
        here = np.unique(parts[inside & self.truth])
        possible = [self.truth, np.isin(parts, here[here > 0]), np.isin(self.label, touching[touching > 0])]
        found: list[Mask] = []
        for reading in (*possible, self.label > 0):
            agrees = bool(reading[inside].all() and not reading[outside].any() and reading.any())
            if agrees and not any(np.array_equal(reading, other) for other in found):
                found.append(reading)
        return found


def targets_of(
    dataset: RawDataset,
    n_cases: int | None = None,
    *,
    ndim: int = 2,
    seed: int = 0,
    part: str = "test",
    only: Collection[str] | None = None,
) -> Iterator[Target]:
    """Yield an object of each case: a random instance where ids tell them apart, else a random label.

    Parameters
    ----------
    dataset : RawDataset
    n_cases : int, optional
        Of its first cases; all if absent.
    ndim : int
        2 takes of a volume the plane, along the first axis, where the object is largest; 3 leaves out images.
    seed : int
    part : str
        ``"test"`` or ``"training"``, on which a method may be tuned.
    only : collection of str, optional
        Names of cases; all if absent.
    """
    for name in dataset.split(part)[:n_cases]:
        if only is not None and name not in only:
            continue
        case = dataset.load(name)
        if case.label.ndim < ndim:
            continue
        target = one_target(case, np.random.default_rng(zlib.crc32(name.encode()) + seed), ndim=ndim)
        if target is not None:
            yield target


def one_target(case: LabelledImage, rng: np.random.Generator, *, ndim: int) -> Target | None:
    """Return one label of a case; None if it has none that is large enough."""
    ids, sizes = np.unique(case.label[case.label > 0], return_counts=True)
    ids = ids[sizes >= MIN_LABEL_VOXELS]
    if not len(ids):
        return None
    truth = case.label == rng.choice(ids)
    if truth.ndim == ndim:
        return Target(case.name, case.image, truth, case.spacing, case.label)
    plane = int(truth.sum((1, 2)).argmax())
    return Target(case.name, case.image[:, plane], truth[plane], case.spacing[1:], case.label[plane])


def whole_targets(case: LabelledImage) -> Iterator[Target]:
    """Yield what all objects of a case are together, and the borders between them where they fill most of it.

    Of a volume it is the plane, along the first axis, where most of them is.
    """
    image, label, spacing = case.image, case.label, case.spacing
    if label.ndim == 3:
        plane = int((label > 0).sum((1, 2)).argmax())
        image, label, spacing = image[:, plane], label[plane], spacing[1:]
    together = label > 0
    truths = [together]
    if together.mean() >= MIN_FILLED_SHARE:
        truths.append(find_boundaries(label, mode="thick"))
    for truth in truths:
        if MIN_LABEL_VOXELS <= np.count_nonzero(truth) < truth.size:
            yield Target(case.name, image, truth, spacing, label)
