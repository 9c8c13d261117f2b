"""Examples: finished objects, what they and their surroundings look like, how large they are, and of what form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Plane
from napari_probseg.progress import counted
from napari_probseg.region import Part

EXAMPLES_FILE = "examples.npz"  # in a folder of results, or of a data set: what is kept of its objects
MIN_VOXELS = 6  # of an object that is an example
MAX_SHARE = 0.5  # of the image, that an example may fill


@dataclass(frozen=True, eq=False)
class Query:
    """What is asked: objects like some finished ones.

    Parameters
    ----------
    case : Case
        The image.
    examples : tuple of Part
        The finished objects that others are to be like, the latest last.
    others : tuple of Part
        Finished objects that they are not to be like.
    skipped : tuple of Part
        What was offered before, and is not meant.
    known : tuple of Example
        Examples of other images of the data set.
    plane : (0, t), optional
        Of a time series, which image of it is meant.
    """

    case: Case
    examples: tuple[Part, ...]
    others: tuple[Part, ...] = ()
    skipped: tuple[Part, ...] = ()
    known: tuple[Example, ...] = ()
    plane: Plane | None = None

    def elsewhere(self) -> Query | None:
        """Return what is asked at the nearest time with the latest example; None if the image that is meant has one."""
        if self.plane is None or not self.examples or any(part.at(self.plane) for part in self.examples):
            return None
        times = self.examples[-1].where[0]
        return replace(self, plane=(0, min(max(self.plane[1], times.start), times.stop - 1)))

    def checked(self) -> Query:
        """Return it without examples that are too small to be like; of a time series, of the image that is meant.

        Raises
        ------
        ValueError
            If there is no example to go by.
        """
        if self.plane is not None:
            parts = {
                name: tuple(filter(None, (part.at(self.plane) for part in getattr(self, name))))
                for name in ("examples", "others", "skipped")
            }
            return replace(self, case=self.case.at(self.plane), plane=None, **parts).checked()
        if not self.examples and not self.known:
            raise ValueError("there is no finished object to be like: finish one first")
        size = float(np.prod(self.case.shape, dtype=float))
        n_voxels = [int(np.count_nonzero(part.mask)) for part in self.examples]
        kept = tuple(p for p, n in zip(self.examples, n_voxels, strict=True) if MIN_VOXELS <= n <= MAX_SHARE * size)
        if self.examples and not kept and not self.known:
            if min(n_voxels) > MAX_SHARE * size:
                raise ValueError("the finished object fills most of the image: there is no room for others like it")
            n = max(n for n in n_voxels if n < MIN_VOXELS)
            raise ValueError(
                f"the finished objects are too small to find others like them ({counted(n, 'voxel')}, "
                f"{MIN_VOXELS} are needed): finish a larger one"
            )
        return replace(self, examples=kept)


@dataclass(frozen=True, eq=False)
class Example:
    """What one example looks like, without its pixels: it can be kept for other images.

    Parameters
    ----------
    inside, outside : (N, F) float32 array
        Features of voxels in it and in its surroundings, see `napari_probseg.similar.features`.
    form : Form
    ndim : int
        Of its image.
    image : str
        The fingerprint of that; empty in files of earlier versions.
    """

    inside: NDArray[np.float32]
    outside: NDArray[np.float32]
    form: Form
    ndim: int = 2
    image: str = ""


@dataclass(frozen=True)
class Form:
    """Size, form and intensity of an object.

    Parameters
    ----------
    diameter : float
        Of the disk or ball of its size, in mm.
    solidity : float
        Its share of its convex hull, in (0, 1].
    elongation : float
        Log of the ratio of its longest to its shortest principal axis.
    intensity : tuple of float
        Mean of each channel of the network's, in standard deviations of the image.
    """

    diameter: float
    solidity: float
    elongation: float
    intensity: tuple[float, ...] = field(default=())


def diameter_of(mask: NDArray[Any], spacing: Sequence[float]) -> float:
    """Return the diameter of the disk or ball of a mask's size, in mm."""
    size = float(np.count_nonzero(mask)) * float(np.prod(spacing))
    return float(2 * np.sqrt(size / np.pi) if mask.ndim == 2 else 2 * (3 * size / (4 * np.pi)) ** (1 / 3))


def form_of(mask: NDArray[np.bool_], spacing: Sequence[float], image: NDArray[np.float32] | None = None) -> Form:
    """Return the form of a mask that is not empty.

    Parameters
    ----------
    image : (C, ...) float32 array, optional
        Over the mask, in standard deviations of the whole image.
    """
    places = np.argwhere(mask) * np.asarray(spacing, dtype=float)
    spread = np.cov(places.T) if len(places) > 1 else np.zeros((mask.ndim, mask.ndim))
    axes = np.linalg.eigvalsh(np.atleast_2d(spread) + np.diag(np.square(spacing)) / 12)
    intensity = () if image is None else tuple(float(v) for v in image[:, mask].mean(1))
    elongation = float(0.5 * np.log(axes[-1] / axes[0]))
    return Form(diameter_of(mask, spacing), _solidity(mask), elongation, intensity)


def _solidity(mask: NDArray[np.bool_]) -> float:
    """Return the share of a mask of its convex hull; in volumes, of its own closing by a quarter of its size."""
    if mask.ndim == 2:
        from skimage.morphology import convex_hull_image

        try:
            return int(np.count_nonzero(mask)) / max(1, int(np.count_nonzero(convex_hull_image(mask))))
        except (ValueError, RuntimeError):  # of a line of voxels there is no hull
            return 1.0
    n = max(1, round(0.25 * np.cbrt(np.count_nonzero(mask))))
    closed = ndimage.binary_closing(np.pad(mask, n + 1), ndimage.generate_binary_structure(mask.ndim, 1), iterations=n)
    return int(np.count_nonzero(mask)) / max(1, int(np.count_nonzero(closed)))
