"""Likeness of an object that was found to the examples: size, form, intensity, look, and the network's own estimate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.region import Region, overlap, relative
from napari_probseg.similar.completion import Answer
from napari_probseg.similar.examples import Form, form_of
from napari_probseg.similar.features import View
from napari_probseg.similar.frame import Frame
from napari_probseg.similar.seeds import Seed

MEAN_AGREEMENT = 0.6  # of objects that are right and of those that are not


def facts_of(
    view: View,
    seed: Seed,
    answer: Answer,
    by_look: NDArray[np.float32],
    where: Region,
    mask: NDArray[np.bool_],
    forms: Sequence[Form],
) -> tuple[float, ...]:
    """Return what is known of an object, in the order of `napari_probseg.similar.offer.FACT_NAMES`.

    Parameters
    ----------
    view : View
    seed : Seed
    answer : Answer
        What the network made of it, the classifier heard.
    by_look : float32 array of the answer's region
        The classifier's log-odds.
    where, mask : region and bool array
        Of the object.
    forms : sequence of Form
        Of the examples.
    """
    case = view.case
    image = view.intensities(Frame(tuple(float(s.start) for s in where), (1.0,) * case.ndim, mask.shape)).numpy()
    form = form_of(mask, case.spacing or (), image)
    sizes = np.log([f.diameter for f in forms])
    size = float((np.log(form.diameter) - sizes.mean()) / np.sqrt(sizes.var() + 0.2**2))
    whole = np.zeros(by_look.shape, dtype=bool)
    inner = overlap(where, answer.where)
    if inner is not None:
        whole[relative(inner, answer.where)] = mask[relative(inner, where)]
    rim = _rim(whole)
    at_edge = any(s.start == 0 or s.stop == n for s, n in zip(where, case.shape, strict=True))
    q = float(np.clip(answer.estimate, 0.02, 0.98))
    sure = np.abs(np.tanh(answer.log_odds[whole | rim] / 2))
    readings = answer.readings if case.ndim == 2 else ()  # in volumes it told nothing
    agreement = min((_iou_at(whole, reading) for reading in readings), default=MEAN_AGREEMENT)
    return (
        float(np.log(q / (1 - q))),
        4 * seed.response - 2,
        float(np.clip(by_look[whole].mean() / 3, -2, 2)) if whole.any() else 0.0,
        float(np.clip(by_look[rim].mean() / 3, -2, 2)) if rim.any() else 0.0,
        min(abs(size), 3.0),
        float(np.clip(size, -3, 3)),
        10 * (form.solidity - float(np.mean([f.solidity for f in forms]))),
        2 * abs(form.elongation - float(np.mean([f.elongation for f in forms]))),
        _other_intensity(form, forms),
        6 * float(sure.mean()) - 4 if sure.size else 0.0,
        float(at_edge),
        4 * (agreement - MEAN_AGREEMENT),
    )


def _iou_at(mask: NDArray[np.bool_], reading: NDArray[np.bool_]) -> float:
    """Return the IoU of a mask that is not empty with the connected part of another that most of it lies in."""
    labels, _ = ndimage.label(reading)
    counts = np.bincount(labels[mask])
    counts[0] = 0
    if not counts.any():
        return 0.0
    found = labels == counts.argmax()
    return float(np.count_nonzero(found & mask) / np.count_nonzero(found | mask))


def _other_intensity(form: Form, forms: Sequence[Form]) -> float:
    others = np.array([f.intensity for f in forms if len(f.intensity) == len(form.intensity)])
    if not len(others):
        return 1.0
    apart = np.abs(np.asarray(form.intensity) - others.mean(0)) / np.sqrt(others.var(0) + 0.3**2)
    return float(min(3.0, apart.mean()))


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    n = np.count_nonzero(mask)
    reach = max(1, round(0.2 * (np.sqrt(n) if mask.ndim == 2 else np.cbrt(n))))
    return np.asarray(ndimage.binary_dilation(mask, iterations=reach) & ~mask)
