"""Graph cut: from probabilities and markers to the mask of least energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from napari_probseg.case import Case, Marker
from napari_probseg.graph_cut.band import Band
from napari_probseg.graph_cut.links import Links
from napari_probseg.images import checked_number

Mask = NDArray[np.bool_]

DEFAULT_SMOOTHNESS = 2.0
MIN_PROBABILITY = 1e-6
MAX_ROUNDING = 1e-5  # by which probabilities may leave [0, 1]: what interpolates or sums them rounds


def cut(
    probability: NDArray[np.floating],
    case: Case,
    *,
    smoothness: float = DEFAULT_SMOOTHNESS,
    sigma: float | None = None,
    connectivity: int | None = None,
) -> Mask:
    """Return the mask of least energy that agrees with the markers (Boykov & Jolly 2001, Eq. 1).

    For more than one cut of an image a `Cutter` is much faster; for a region of a large one, give a case of the region.

    Parameters
    ----------
    probability : (Y, X) or (Z, Y, X) float array of the case's shape
        Probability of object, in [0, 1].
    case : Case
        The image, its spacing, and the markers, all of which are obeyed.
    smoothness : float
        Weight lambda of the boundary term: what it costs, in log-odds, to label two nearest neighbours of a flat image
        differently. 0 thresholds the probability at 0.5; with 2, a pair that differs weighs as much as P = 0.88.
    sigma : float, optional
        The difference of intensity that counts as an edge, in the units of the image; its `noise_of` if absent.
    connectivity : int, optional
        Neighbours of a voxel: 4 or 8 (the default) in 2-D, 6 (the default) or 26 in 3-D.

    Returns
    -------
    bool array of the case's shape

    Raises
    ------
    ValueError
        If a number is out of its range, or the probability's shape or values are wrong.
    """
    return Cutter(case, sigma=sigma, connectivity=connectivity).cut(probability, smoothness=smoothness)


def energy(
    mask: Mask,
    probability: NDArray[np.floating],
    case: Case,
    *,
    smoothness: float = DEFAULT_SMOOTHNESS,
    sigma: float | None = None,
    connectivity: int | None = None,
) -> float:
    """Return the energy of a mask, which `cut` makes as small as it can be.

    Parameters
    ----------
    mask : (Y, X) or (Z, Y, X) bool array of the case's shape
        The object.
    probability, case, smoothness, sigma, connectivity
        As for `cut`.

    Returns
    -------
    float
        Log-odds summed over voxels and links; infinite if the mask contradicts the markers.

    Raises
    ------
    ValueError
        As `cut` raises it, and if the mask's shape is wrong.
    """
    return Cutter(case, sigma=sigma, connectivity=connectivity).energy(mask, probability, smoothness=smoothness)


class Cutter:
    """Cuts one image again and again, as strokes, probabilities and the smoothness change.

    The answer is the optimum over all voxels, but the graph holds only a band around the object's boundary, and is
    kept. The other voxels take the label that their own term prefers. That answer is certified: dropping the links
    that are not in the graph bounds the energy from below, because none is negative; and where none of them joins two
    different labels, the bound is reached. Where one does, the band grows around it and is solved again.

    Only terms of single voxels change after the first cut, their log-odds being divided by the smoothness instead of
    the links multiplied by it; the maximum flow continues from the last one (Kohli & Torr 2005).

    Parameters
    ----------
    case : Case
        The image, its spacing, and the markers unless `cut` gets others.
    sigma, connectivity : optional
        As for `napari_probseg.graph_cut.cut`.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    def __init__(
        self,
        case: Case,
        *,
        sigma: float | None = None,
        connectivity: int | None = None,
    ) -> None:
        self._case = case = case.at(None)
        self._links = Links.of(case, sigma=sigma, connectivity=connectivity)
        self._band = Band(self._links)

    @property
    def sigma(self) -> float:
        """The difference of intensity that counts as an edge, in the units of the image."""
        return self._links.sigma

    def cut(
        self,
        probability: NDArray[np.floating],
        markers: NDArray[np.uint8] | None = None,
        *,
        smoothness: float = DEFAULT_SMOOTHNESS,
    ) -> Mask:
        """Return the mask of least energy; see `napari_probseg.graph_cut.cut`.

        Parameters
        ----------
        probability : float array of the case's shape
            Probability of object, in [0, 1].
        markers : uint8 array of the case's shape, optional
            A `Marker` for every voxel; the case's own if absent.
        smoothness : float
            Weight lambda of the boundary term.

        Returns
        -------
        bool array of the case's shape

        Raises
        ------
        ValueError
            If a number is out of its range, or a shape or values are wrong.
        """
        probability, markers = self._checked(probability, markers, smoothness)
        preferred = _preferred(probability, markers)
        if smoothness == 0:
            return preferred

        def unary(voxels: NDArray[np.intp]) -> NDArray[np.float64]:
            favour = _log_odds(probability.reshape(-1)[voxels])
            marked = markers.reshape(-1)[voxels]
            favour[marked == Marker.OBJECT] = np.inf
            favour[marked == Marker.BACKGROUND] = -np.inf
            favour /= smoothness
            # A voxel that outweighs all its links is decided; to cut it off there keeps the flow's rounding small.
            return np.clip(favour, -self._links.most - 1, self._links.most + 1)

        return self._band.minimum(preferred, unary)

    def energy(
        self,
        mask: Mask,
        probability: NDArray[np.floating],
        markers: NDArray[np.uint8] | None = None,
        *,
        smoothness: float = DEFAULT_SMOOTHNESS,
    ) -> float:
        """Return the energy of a mask; see `napari_probseg.graph_cut.energy`.

        Parameters
        ----------
        mask : bool array of the case's shape
            The object.
        probability, markers, smoothness
            As for `cut`.

        Returns
        -------
        float
            Log-odds summed over voxels and links; infinite if the mask contradicts the markers.

        Raises
        ------
        ValueError
            If a number is out of its range, or a shape or values are wrong.
        """
        probability, markers = self._checked(probability, markers, smoothness)
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != self._case.shape:
            raise ValueError(f"the mask must have the image's shape {self._case.shape}, got {mask.shape}")
        decided = markers != Marker.UNKNOWN
        n_contradicted = np.count_nonzero(mask[decided] != (markers[decided] == Marker.OBJECT))
        strokes = np.inf if n_contradicted else 0.0
        log_odds = _log_odds(probability[~decided])
        # -log P of either label, from the log-odds: the rounding of 1 - P is the cut's own.
        regions = np.logaddexp(0, np.where(mask[~decided], -log_odds, log_odds)).sum()
        return float(strokes + regions + smoothness * self._links.cost_of_boundary(mask))

    def _checked(
        self, probability: NDArray[np.floating], markers: NDArray[np.uint8] | None, smoothness: float
    ) -> tuple[NDArray[np.floating], NDArray[np.uint8]]:
        if not (np.isfinite(checked_number(smoothness, "smoothness")) and smoothness >= 0):
            raise ValueError(f"smoothness must be a number that is not negative, got {smoothness}; 0 only thresholds")
        probability = np.asarray(probability)
        if probability.dtype.kind not in "biuf":
            raise TypeError(f"probability must be of real numbers in [0, 1], got {probability.dtype}")
        if probability.shape != self._case.shape:
            raise ValueError(f"probability must have the image's shape {self._case.shape}, got {probability.shape}")
        least, most = probability.min(), probability.max()
        if not (least >= -MAX_ROUNDING and most <= 1 + MAX_ROUNDING):
            raise ValueError(
                f"probability must lie in [0, 1] everywhere, got values from {least} to {most}: "
                f"pass the network's output through a sigmoid, and check it for NaN"
            )
        if least < 0 or most > 1:
            probability = probability.clip(0, 1)
        markers = self._case.partial if markers is None else np.asarray(markers)
        if markers.shape != self._case.shape or markers.dtype != np.uint8 or markers.max() > max(Marker):
            raise ValueError(
                f"markers must be uint8 of the image's shape {self._case.shape} with 0 unknown, 1 object, "
                f"2 background; got {markers.dtype} of {markers.shape}"
            )
        return probability, markers


def _preferred(probability: NDArray[np.floating], markers: NDArray[np.uint8]) -> Mask:
    """Return the label that every voxel would have without neighbours."""
    preferred: Mask = probability > 0.5
    preferred[markers == Marker.OBJECT] = True
    preferred[markers == Marker.BACKGROUND] = False
    return preferred


def _log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log P / (1 - P) in double precision, finite also where a network says 0 or 1."""
    p = np.clip(probability.astype(np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return np.asarray(logit(p))
