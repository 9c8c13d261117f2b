"""What a TIFF file tells of distances: in OME and ImageJ metadata, and in the resolution tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np

from napari_probseg.io.notice import tell
from napari_probseg.io.units import MM_PER, PIXEL, mm_of, unit_named

_SCREEN_DPI = (1.0, 72.0, 96.0)  # what programs write that know no resolution
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "µm"}


@dataclass(frozen=True)
class Facts:
    """What a file tells of distances, and whether it holds labels.

    Parameters
    ----------
    lengths : mapping from str to (float, str)
        By axis, how far apart its pixels are, above 0, and the unit of that as the file has it.
    is_label : bool
    """

    lengths: Mapping[str, tuple[float, str]]
    is_label: bool = False

    def spacing(self, path: Path, axes: list[str]) -> tuple[tuple[float, ...], str]:
        """Return the distances along some axes, and the unit that they were in; what had to be assumed is facts."""
        units = {axis: unit_named(unit) for axis, (_, unit) in self.lengths.items() if axis in axes}
        mm = {a: self.lengths[a][0] * mm_of(unit) for a, unit in units.items() if unit not in (None, PIXEL)}
        if mm:
            first = next(units[axis] for axis in "XYZ" if axis in mm)
            unit = first if first in MM_PER else "mm"
            length = f" {unit}"
            factor = MM_PER[str(unit)]
        else:
            unknown = sorted({self.lengths[axis][1] for axis, unit in units.items() if unit is None})
            if unknown:
                tell(
                    f"{path.name} gives lengths in {unknown[0]!r}, which is no unit that is known here: only how its "
                    f"axes compare is kept"
                )
            mm, unit, length, factor = {axis: self.lengths[axis][0] for axis in units}, PIXEL, " pixels", 1.0
        if not mm:
            return (1.0,) * len(axes), PIXEL
        for axis in [axis for axis in "XYZ" if axis in axes and axis not in mm]:
            like = next(other for other in ("YX" if axis == "X" else "XY") + "Z" if other in mm)
            mm[axis] = mm[like]
            what = "slices" if axis == "Z" else "pixels"
            as_there = f"{mm[like] / factor:.4g}{length} as along {like}"
            tell(f"{path.name} does not say how far apart its {what} are along {axis}: {as_there} is assumed")
        return tuple(mm[axis] for axis in axes), str(unit)


def facts_of(file: Any) -> Facts:
    """Return what a file of tifffile tells of distances and labels."""
    if file.is_ome:
        facts = _facts_of_ome(file.ome_metadata)
        if facts.lengths or facts.is_label:
            return facts
    tags = file.pages[0].tags
    a_unit = {}
    for axis, name in (("X", "XResolution"), ("Y", "YResolution")):
        count, per = tags[name].value if name in tags else (0, 1)
        if count > 0 and per > 0:
            a_unit[axis] = per / count
    if file.is_imagej:
        return _facts_of_imagej(file.imagej_metadata or {}, a_unit)
    unit = _RESOLUTION_UNITS.get(int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 1)
    if unit is None:  # the two compare, and no more
        compared = len(a_unit) == 2 and a_unit["X"] != a_unit["Y"]
        return Facts({axis: (step / a_unit["X"], PIXEL) for axis, step in a_unit.items()} if compared else {})
    is_screen = unit == "inch" and all(1 / step in _SCREEN_DPI for step in a_unit.values())
    return Facts({} if is_screen else {axis: (step, unit) for axis, step in a_unit.items()})


def _facts_of_imagej(about: Mapping[str, Any], a_unit: Mapping[str, float]) -> Facts:
    """Return what ImageJ tells: ``spacing`` is left out where slices are 1 apart, other units than of X have names."""
    unit = str(about.get("unit", ""))
    spacing = about.get("spacing")
    if unit_named(unit) == PIXEL and spacing is None and len(set(a_unit.values())) < 2:
        return Facts({})
    z = 1.0 if spacing in (None, 0) else _length(spacing, is_signed=True)  # as ImageJ reads it
    steps = {"X": a_unit.get("X", 1.0), "Y": a_unit.get("Y", 1.0), **({} if z is None else {"Z": z})}
    return Facts({axis: (step, str(about.get(f"{axis.lower()}unit", unit))) for axis, step in steps.items()})


def _facts_of_ome(text: str) -> Facts:
    import tifffile

    try:
        image: Any = tifffile.xml2dict(text)["OME"]["Image"]
        image = image[0] if isinstance(image, list) else image
        pixels = image["Pixels"]
        lengths = {}
        for axis in "XYZ":
            size = _length(pixels.get(f"PhysicalSize{axis}"))
            if size is not None:
                lengths[axis] = size, str(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        return Facts(lengths, image.get("Name") == "labels")
    except (ParseError, KeyError, TypeError, ValueError, AttributeError):
        return Facts({})


def _length(value: Any, *, is_signed: bool = False) -> float | None:
    """Return a distance between pixels that a file tells; None if it is no number, or none above 0."""
    try:
        length = abs(float(value)) if is_signed else float(value)
    except (TypeError, ValueError):
        return None
    return length if np.isfinite(length) and length > 0 else None
