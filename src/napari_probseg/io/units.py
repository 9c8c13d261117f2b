"""Units of length: how files spell them, and how many millimetres each is."""

from __future__ import annotations

from unicodedata import normalize

# The units that a `Picture` can be in; lengths in any other become mm.
MM_PER = {
    "km": 1e6,
    "m": 1e3,
    "dm": 100.0,
    "cm": 10.0,
    "mm": 1.0,
    "µm": 1e-3,
    "nm": 1e-6,
    "Å": 1e-7,
    "pm": 1e-9,
    "fm": 1e-12,
    "inch": 25.4,
    "ft": 304.8,
}
PIXEL = "pixel"  # where a file gives no length, or only how its axes compare
_RARE = {"thou": 0.0254, "li": 25.4 / 12, "yd": 914.4, "mi": 1_609_344.0, "pt": 25.4 / 72, "hm": 1e5, "dam": 1e4}
_SYMBOLS = {"um": "µm", "µ": "µm", "in": "inch", '"': "inch", "\\u00B5m": "µm", "A": "Å", "mil": "thou"}
_WORDS = {
    "micron": "µm",
    "angstrom": "Å",
    "ångström": "Å",
    "ångstrom": "Å",
    "inches": "inch",
    "foot": "ft",
    "feet": "ft",
    "yard": "yd",
    "mile": "mi",
    "point": "pt",
    "line": "li",
    "meter": "m",
    **{
        f"{prefix}meter": f"{short}m"
        for prefix, short in (
            ("kilo", "k"),
            ("hecto", "h"),
            ("deca", "da"),
            ("deci", "d"),
            ("centi", "c"),
            ("milli", "m"),
            ("micro", "µ"),
            ("nano", "n"),
            ("pico", "p"),
            ("femto", "f"),
        )
    },
}
_PIXELS = {"", "pixel", "pixels", "px", "voxel", "voxels", "dimensionless", "reference frame"}


def unit_named(text: str) -> str | None:
    """Return the unit that a file means: a key of `MM_PER`, a rarer one of `mm_of`, or `PIXEL`; None if unknown.

    Symbols are told apart by case (Mm is no mm), words are not: ``"Micron"``, ``"micrometers"`` and ``"um"`` are
    ``"µm"``.
    """
    text = normalize("NFKC", text.strip()).replace("\N{GREEK SMALL LETTER MU}", "µ")
    for name in (text, _SYMBOLS.get(text, "")):
        if name in MM_PER or name in _RARE:
            return name
    word = text.lower().replace("metre", "meter")
    if word in _PIXELS:
        return PIXEL
    return next((_WORDS[w] for w in (word, word.removesuffix("s")) if w in _WORDS), None)


def mm_of(unit: str) -> float:
    """Return how many mm a unit of `unit_named` is, `PIXEL` apart."""
    return MM_PER.get(unit) or _RARE[unit]
