"""Scales of the sliders of the cut: what each of their steps means."""

from __future__ import annotations

from collections.abc import Callable


def smoothness_at(step: int) -> float:
    """Return lambda at a step of the slider: 0, then a factor of the square root of 2 for each."""
    return 0.0 if step == 0 else round(0.125 * 2 ** ((step - 1) / 2), 3)


def edges_at(step: int) -> float:
    """Return sigma over the noise at a step of the slider: the farther to the right, the fainter the edges."""
    return round(0.5 * 2 ** ((20 - step) / 4), 3)


def nearest_step(scale: Callable[[int], float], value: float) -> int:
    """Return the step of a slider at which a scale is nearest to a value."""
    return min(range(21), key=lambda step: abs(scale(step) - value))
