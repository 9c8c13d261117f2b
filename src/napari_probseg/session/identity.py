"""Identity of an image: shape, data type, spacing and a fingerprint of its intensities."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from napari_probseg.case import Case
from napari_probseg.images import fingerprint

_SPACING_TOLERANCE = 1e-3  # relative; formats round
logger = logging.getLogger(__name__)


class OtherImageError(ValueError):
    """Work belongs to another image than the one at hand, which has the same shape."""


@dataclass(frozen=True)
class Identity:
    """What tells an image from others.

    Parameters
    ----------
    shape : tuple of int
        The spatial shape, with time first if it has any.
    n_channels : int
    dtype : str
        NumPy's name of the data type, whatever the byte order.
    spacing : tuple of float
        Of the axes of space, in mm.
    fingerprint : str
        See `napari_probseg.images.fingerprint`; empty where a part that it is of could not be read.
    """

    shape: tuple[int, ...]
    n_channels: int
    dtype: str
    spacing: tuple[float, ...]
    fingerprint: str

    @classmethod
    def of(cls, case: Case) -> Identity:
        """Return the identity of a case's image; a small part of a large image is read, if it can be."""
        image = case.image
        dtype = np.dtype(image.dtype).name
        try:
            intensities = fingerprint(image)
        except Exception:  # what reads an image that is no file of ours may raise anything
            logger.info("no fingerprint of the image", exc_info=True)
            intensities = ""
        return cls(case.shape, case.n_channels, dtype, tuple(case.spacing or ()), intensities)

    @classmethod
    def restored(cls, told: Mapping[str, Any]) -> Identity:
        """Return the identity that `told` says.

        Raises
        ------
        KeyError, TypeError, ValueError
            If that is none.
        """
        shape, spacing = tuple(map(int, told["shape"])), tuple(map(float, told["spacing"]))
        return cls(shape, int(told["n_channels"]), str(told["dtype"]), spacing, str(told["fingerprint"]))

    def told(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    def difference(self, other: Identity) -> str:
        """Return in words how the image of another identity differs from this one; nothing if it does not.

        Returns
        -------
        str
            Such as "its intensities are others" or "its spacing is (1, 1), not (2, 1)".
        """
        if self.shape != other.shape:
            return f"its shape is {other.shape}, not {self.shape}"
        if self.n_channels != other.n_channels:
            return f"its channels are {other.n_channels}, not {self.n_channels}"
        if self.fingerprint and other.fingerprint and self.fingerprint != other.fingerprint:
            if self.dtype != other.dtype:
                return f"it holds {other.dtype} values, not {self.dtype}"
            return "its intensities are others"
        if self.dtype != other.dtype:
            return f"it holds {other.dtype} values, not {self.dtype}"
        mine, theirs = self.spacing, other.spacing
        if len(mine) != len(theirs) or not np.allclose(mine, theirs, rtol=_SPACING_TOLERANCE, atol=0):
            return f"its spacing is {_short(other.spacing)}, not {_short(self.spacing)}"
        return ""


def _short(spacing: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{mm:.4g}" for mm in spacing) + ")"
