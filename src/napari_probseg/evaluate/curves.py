"""Plots of Dice over interactions, the mean over data sets and each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, GREY, GRID, PAPER = (40, 44, 52), (130, 136, 148), (226, 228, 232), (250, 250, 250)
COLOURS = (  # ours first, in the order that they come
    (214, 39, 40),
    (31, 90, 200),
    (148, 60, 190),
    (230, 140, 20),
    (44, 140, 60),
    (20, 160, 170),
    (140, 86, 75),
    (200, 110, 170),
    (110, 110, 110),
    (160, 160, 30),
    (90, 120, 160),
)
FINE = 2  # drawn so many times larger, so that lines are smooth
LARGE, SMALL, LEGEND = (640 * FINE, 420 * FINE), (300 * FINE, 200 * FINE), 220 * FINE
COLUMNS = 3

Curve = NDArray[np.float64]


def picture(curves: Mapping[str, Mapping[str, Curve]]) -> Any:
    """Return an RGB picture.

    Parameters
    ----------
    curves : mapping from data set to mapping from method to (interactions,) array
        Mean Dice after each interaction.
    """
    methods = list(dict.fromkeys(m for by_method in curves.values() for m in by_method))
    colours = {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(methods)}
    common = [by_method for by_method in curves.values() if len(by_method) == len(methods)]
    mean = {m: np.mean([by_method[m] for by_method in common], axis=0) for m in methods} if common else {}
    rows = -(-len(curves) // COLUMNS)
    size = max(LARGE[0] + LEGEND, COLUMNS * SMALL[0]), LARGE[1] + rows * SMALL[1] + 10 * FINE
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    _panel(draw, (0, 0), LARGE, f"mean over {len(common)} data sets", mean, colours)
    order = sorted(methods, key=lambda m: -float(mean[m][-1]) if m in mean else 0.0)
    for i, method in enumerate(order):
        x, y = LARGE[0] + 10 * FINE, (40 + 24 * i) * FINE
        draw.line([(x, y), (x + 30 * FINE, y)], fill=colours[method], width=3 * FINE)
        draw.text((x + 38 * FINE, y), method, fill=INK, font=_font(14), anchor="lm")
    for i, (dataset, by_method) in enumerate(curves.items()):
        corner = ((i % COLUMNS) * SMALL[0], LARGE[1] + (i // COLUMNS) * SMALL[1])
        _panel(draw, corner, SMALL, dataset, by_method, colours)
    return image.resize((size[0] // FINE, size[1] // FINE), Image.Resampling.LANCZOS)


def _panel(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    size: tuple[int, int],
    title: str,
    curves: Mapping[str, Curve],
    colours: Mapping[str, tuple[int, int, int]],
) -> None:
    """Draw Dice from 0 to 1 over interactions from 1 on."""
    is_large = size == LARGE
    left, top = corner[0] + 40 * FINE, corner[1] + 30 * FINE
    right, bottom = corner[0] + size[0] - 14 * FINE, corner[1] + size[1] - (40 if is_large else 22) * FINE
    last = max((len(curve) for curve in curves.values()), default=1)

    def place(n: float, value: float) -> tuple[float, float]:
        return left + (right - left) * (n - 1) / max(1, last - 1), bottom - (bottom - top) * value

    draw.text((left, top - 8 * FINE), title, fill=INK, font=_font(15 if is_large else 12), anchor="ls")
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = place(1, value)[1]
        draw.line([(left, y), (right, y)], fill=GRID, width=FINE)
        draw.text((left - 6 * FINE, y), f"{value:g}", fill=GREY, font=_font(11), anchor="rm")
    for n in sorted({1, *range(5, last + 1, 5), last}):
        draw.text((place(n, 0)[0], bottom + 5 * FINE), f"{n}", fill=GREY, font=_font(11), anchor="mt")
    if is_large:
        label = "Dice over interactions (dabs, and choices of a candidate)"
        draw.text(((left + right) / 2, bottom + 22 * FINE), label, fill=GREY, font=_font(12), anchor="mt")
    for method in reversed(list(curves)):  # ours on top
        points = [place(n, float(value)) for n, value in enumerate(curves[method], 1)]
        draw.line(points, fill=colours[method], width=(2 if is_large else 1) * FINE, joint="curve")


def _font(size: int) -> Any:
    return ImageFont.load_default(size * FINE)
