"""Plots of Dice over interactions, the mean over data sets and each of them; drawn by the extra ``plots``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = 3
LARGE_INCHES, SMALL_INCHES = (8.6, 4.4), (2.9, 2.1)  # width and height of the mean, and of each data set
DOTS_PER_INCH = 150
MANY = 10  # methods, as many as there are colours; what is beyond is dashed

Curve = NDArray[np.float64]


def can_plot() -> bool:
    """Return whether what draws is installed."""
    return find_spec("matplotlib") is not None


def picture(curves: Mapping[str, Mapping[str, Curve]]) -> bytes:
    """Return a PNG file.

    Parameters
    ----------
    curves : mapping from data set to mapping from method to (interactions,) array
        Mean Dice after each interaction.

    Raises
    ------
    ModuleNotFoundError
        If the extra ``plots`` is not installed.
    """
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(m for by_method in curves.values() for m in by_method))
    styles: dict[str, dict[str, Any]] = {
        m: {"color": f"C{i % MANY}", "ls": "-" if i < MANY else "--"} for i, m in enumerate(methods)
    }
    common = [by_method for by_method in curves.values() if len(by_method) == len(methods)]
    mean = {m: np.mean([by_method[m] for by_method in common], axis=0) for m in methods} if common else {}
    n_rows = -(-len(curves) // COLUMNS)
    height = LARGE_INCHES[1] + n_rows * SMALL_INCHES[1]
    figure = Figure((LARGE_INCHES[0], height), layout="constrained")
    grid = figure.add_gridspec(n_rows + 1, COLUMNS, height_ratios=[LARGE_INCHES[1], *[SMALL_INCHES[1]] * n_rows])
    large = figure.add_subplot(grid[0, :])
    _draw(large, f"mean over {len(common)} data sets", mean, styles, fontsize=11)
    large.set_xlabel("interactions (dabs, and choices of a candidate)")
    large.set_ylabel("Dice")
    lines = [large.plot([], label=m, **styles[m])[0] for m in methods]  # also those without a mean
    order = sorted(range(len(methods)), key=lambda i: -float(mean[methods[i]][-1]) if methods[i] in mean else 0.0)
    large.legend(handles=[lines[i] for i in order], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for i, (dataset, by_method) in enumerate(curves.items()):
        panel = figure.add_subplot(grid[1 + i // COLUMNS, i % COLUMNS])
        _draw(panel, dataset, by_method, styles, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


def _draw(
    axes: Any, title: str, curves: Mapping[str, Curve], styles: Mapping[str, Mapping[str, Any]], *, fontsize: int
) -> None:
    """Draw Dice from 0 to 1 over interactions from 1 on."""
    for method in reversed(list(curves)):  # ours on top
        curve = curves[method]
        axes.plot(range(1, len(curve) + 1), curve, **styles[method])
    axes.set_title(title, loc="left", fontsize=fontsize)
    axes.tick_params(labelsize=fontsize - 1)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.locator_params(axis="x", integer=True)
