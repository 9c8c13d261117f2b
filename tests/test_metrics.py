"""Metrics on masks small enough to do by hand."""

import numpy as np
import pytest

from napari_probseg.metrics import dice, generalized_energy_distance, iou, mode_coverage, surface_distance


def mask(*ones: int, n: int = 8) -> np.ndarray:
    values = np.zeros(n, dtype=bool)
    values[list(ones)] = True
    return values


def test_overlaps() -> None:
    assert dice(mask(0, 1), mask(1, 2)) == 0.5
    assert iou(mask(0, 1), mask(1, 2)) == pytest.approx(1 / 3)
    assert dice(mask(), mask()) == iou(mask(), mask()) == 1
    assert dice(mask(), mask(1)) == iou(mask(), mask(1)) == 0
    labels = np.arange(8) // 4
    assert dice(labels, 2 * labels) == iou(labels, 255.0 * labels) == 1  # all but 0 are in a mask
    for measure in (dice, iou, surface_distance):
        with pytest.raises(ValueError, match="must be a mask of True and False, got float64"):
            measure(labels / 3, labels)
    with pytest.raises(ValueError, match=r"one shape, got \(8,\) and \(9,\)"):
        dice(mask(), mask(n=9))


def test_surface_distance_is_in_mm() -> None:
    a, b = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    a[2, 2] = b[2, 6] = True
    assert surface_distance(a, b) == 4
    assert surface_distance(a, b, spacing=(1, 0.5)) == 2
    assert surface_distance(a, a) == 0
    assert surface_distance(a, a & False) == np.inf
    assert surface_distance(a & False, a & False) == 0


def test_energy_distance_is_zero_for_the_same_readings_and_grows_with_what_is_missed() -> None:
    readings = [mask(0, 1), mask(4, 5)]
    assert generalized_energy_distance(readings, readings) == pytest.approx(0)
    assert generalized_energy_distance([mask(0, 1)] * 2, readings) == pytest.approx(2 * 0.5 - 0 - 0.5)
    assert generalized_energy_distance([mask()], [mask()]) == 0
    assert generalized_energy_distance([mask()], [mask(1)]) == 2
    assert mode_coverage([mask(0, 1)] * 2, readings) == 0.5
    assert mode_coverage(readings, readings) == 1
    with pytest.raises(ValueError, match="at least one"):
        generalized_energy_distance([], readings)
