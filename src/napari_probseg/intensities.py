"""Intensities in single precision: finite, and as far apart as they are in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDING_SHARE = 1e-4  # of what values differ by, up to which it may be lost to single precision
MAX_LISTED = 4  # values of channels, in a sentence
EPSILON, SMALLEST_NORMAL, LARGEST_FLOAT = (
    float(getattr(np.finfo(np.float32), name)) for name in ("eps", "smallest_normal", "max")
)


def unmasked(values: Any) -> NDArray[Any]:
    """Return values as an array; those that a masked array masks are no numbers."""
    values = computed(values)
    if np.ma.is_masked(values):
        return np.asarray(np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan))
    return np.asarray(values)


def computed(values: Any) -> Any:
    """Return the values of a lazy array, which are masked where its parts are; an array as it is."""
    return values.compute() if callable(getattr(values, "compute", None)) else values


def single(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return values in single precision, less their least where it could not tell them apart.

    What single precision cannot hold, or only as zero, is scaled by the largest of them.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.size:
        values = _less_their_least(values)
    if values.dtype.itemsize > 2 and values.dtype != np.float32 and values.size:
        good = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 0.0)
        largest = max(abs(low), abs(high))
        if largest * EPSILON > MAX_ROUNDING_SHARE * (high - low) > 0:
            values, largest = values - low, high - low
        if largest > LARGEST_FLOAT or 0 < largest < SMALLEST_NORMAL / MAX_ROUNDING_SHARE:
            values = values / largest
    return values.astype(np.float32)


def _less_their_least(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers of 64 bits, less their least where doubles could not tell them apart; exactly, whatever it is."""
    low, high = int(values.min()), int(values.max())
    if max(abs(low), abs(high)) <= 2**53:
        return values
    return values.astype(np.uint64) - np.uint64(low % 2**64)  # modulo 2**64, where differences are the same


def finite(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intensities, (C, ...), without NaN and infinity; see `Case.read`."""
    is_good = np.isfinite(image)
    if is_good.all():
        return image
    image = image.copy()
    for channel, good in zip(image, is_good, strict=True):
        low, high = (channel[good].min(), channel[good].max()) if good.any() else (0.0, 0.0)
        np.nan_to_num(channel, copy=False, nan=low, posinf=high, neginf=low)
    return image


def sameness(values: Any, place: str) -> str:
    """Return in words why intensities tell nothing apart once they are `finite`.

    Parameters
    ----------
    values : (C, ...) array
        As the image has them, masked where it is.
    place : str
        Where they lie: "everywhere".
    """
    mask, channels = np.ma.getmaskarray(values), np.ma.getdata(values)
    numbers = [channel[np.isfinite(channel) & ~hidden] for channel, hidden in zip(channels, mask, strict=True)]
    kinds = {
        "NaN": (np.isnan(channels) & ~mask).any(),
        "infinity": (np.isinf(channels) & ~mask).any(),
        "masked values": mask.any(),
    }
    others = listed([kind for kind, is_there in kinds.items() if is_there])
    told = listed(list(dict.fromkeys(f"{float(found[0]):g}" for found in numbers if found.size)))
    if not told:
        return f"the image holds no finite number ({others} {place})"
    return f"the image is constant ({told} {place}{others and f', but for {others}'})"


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them; those that are too many are left out."""
    if len(words) > MAX_LISTED:
        words = [*words[: MAX_LISTED - 1], "others"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
