"""Rendering of partial segmentations over their image, as pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.proposers.plane import plane_with_most_strokes

# Interior red, exterior blue, as in Wong et al. 2022: in a window, and of a sheet.
RED, BLUE = (0.93, 0.27, 0.22), (0.22, 0.47, 0.94)
INSIDE_COLOUR = (235, 64, 52)
OUTSIDE_COLOUR = (52, 120, 235)
TILE_PIXELS = 260
MARGIN_PIXELS = 14
INK, PAPER = (40, 44, 52), (250, 250, 250)


def picture(name: str, candidates: Candidates) -> Image.Image:
    """Return a sheet: the strokes on the image, then each candidate with what it adds and its share of the samples.

    Of a volume it shows one plane: that of the candidates, or the one with the most strokes.
    """
    case, plane = candidates.case, _plane_of(candidates)
    flat = case if plane is None else case.plane(*plane)
    background = as_rgb(flat)
    tiles = [(overlaid(background, flat.partial), f"{name}: your strokes", "red inside, blue outside")]
    for i in range(len(candidates)):
        partial = _partial_of(candidates, i, flat, plane)
        n_object, n_background = candidates.added(i)
        tiles.append(
            (
                overlaid(background, partial),
                f"candidate {i + 1}: {round(100 * float(candidates.share[i]))} % of samples",
                f"+{n_object:,} object, +{n_background:,} background",
            )
        )
    return _sheet(tiles)


def _partial_of(candidates: Candidates, i: int, flat: Case, plane: Plane | None) -> NDArray[np.uint8]:
    """Return what candidate ``i`` leads to on the plane on show."""
    where, patch, partial = candidates.where, candidates.patches[i], flat.partial.copy()
    if plane is not None:
        axis, index = plane
        if not where[axis].start <= index < where[axis].stop:
            return partial
        patch = np.asarray(patch.take(index - where[axis].start, axis))
        where = tuple(s for a, s in enumerate(where) if a != axis)
    partial[where] = patch
    return partial


def _plane_of(candidates: Candidates) -> Plane | None:
    if candidates.case.ndim == 2:
        return None
    thin = [axis for axis, s in enumerate(candidates.where) if s.stop - s.start == 1]
    return (thin[0], candidates.where[thin[0]].start) if thin else plane_with_most_strokes(candidates.case)


def as_rgb(case: Case) -> NDArray[np.uint8]:
    """Return a 2-D case's image as (Y, X, 3) uint8, stretched between its 0.5th and 99.5th percentile."""
    image = case.read()
    low, high = np.percentile(image, (0.5, 99.5))
    image = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    channels = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return np.asarray(np.moveaxis(channels, 0, -1) * 255, dtype=np.uint8)


def overlaid(rgb: NDArray[np.uint8], partial: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image with the object in red and the background in blue on it."""
    shown = rgb.astype(np.float32)
    for marker, colour, opacity in ((Marker.OBJECT, INSIDE_COLOUR, 0.45), (Marker.BACKGROUND, OUTSIDE_COLOUR, 0.25)):
        here = partial == marker
        shown[here] = (1 - opacity) * shown[here] + opacity * np.asarray(colour, dtype=np.float32)
    return shown.astype(np.uint8)


def _sheet(tiles: list[tuple[NDArray[np.uint8], str, str]]) -> Image.Image:
    columns = min(len(tiles), 5)
    rows = -(-len(tiles) // columns)
    height, width = tiles[0][0].shape[:2]
    scale = TILE_PIXELS / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    title, small = ImageFont.load_default(14), ImageFont.load_default(12)
    cell = (TILE_PIXELS + MARGIN_PIXELS, size[1] + 44 + MARGIN_PIXELS)
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN_PIXELS, rows * cell[1] + MARGIN_PIXELS), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (rgb, first, second) in enumerate(tiles):
        x, y = MARGIN_PIXELS + (i % columns) * cell[0], MARGIN_PIXELS + (i // columns) * cell[1]
        sheet.paste(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR), (x, y))
        draw.text((x, y + size[1] + 5), first, fill=INK, font=title)
        draw.text((x, y + size[1] + 24), second, fill=(110, 116, 128), font=small)
    return sheet
