"""NIfTI: affine, orientation, codes and units are kept as they are."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.picture import MM_PER, NotReadHereError, Picture, drop_axes

_UNITS = {"meter": "m", "mm": "mm", "micron": "µm"}
_AXES = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "CTZYX"}
_LARGE = 2**28  # bytes of float32 above which scaled intensities are made where they are asked for


def read_nifti(path: Path, axes: str | None) -> Picture:
    """Read a NIfTI file; see `napari_probseg.io.read`."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise NotReadHereError(f"it holds a {type(image).__name__}, not a volume")
        length, duration = image.header.get_xyzt_units()
        stored = image.dataobj.get_unscaled().T
    except (ImageFileError, HeaderDataError) as error:
        raise ValueError(str(error)) from error
    given = _AXES.get(stored.ndim)
    if given is None:
        raise NotReadHereError(f"it has {stored.ndim} axes, {stored.shape[::-1]}: save two to five")
    if stored.ndim == 4 and duration != "unknown":
        given = "TZYX"
    if stored.dtype.names:  # colour: R, G, B of uint8
        stored, given = np.stack([stored[name] for name in stored.dtype.names[:3]], axis=-1), given + "C"
    stored, given = drop_axes(stored, given, "ZTC")
    data = _scaled(stored, float(image.dataobj.slope), float(image.dataobj.inter))
    unit = _UNITS.get(length, "mm")
    zooms = [float(zoom) or 1.0 for zoom in image.header.get_zooms()]
    spacing = tuple(zooms["XYZ".index(axis)] * MM_PER[unit] for axis in given if axis in "ZYX")
    is_label = str(image.header.get_intent()[0]) == "label" and data.dtype.kind in "iu"
    affine = np.asarray(image.affine, dtype=np.float64)
    return Picture(data, axes or given, spacing, unit, affine, image.header.copy(), is_label)


def nifti_bytes(path: Path, array: NDArray[Any], *, axes: str, like: Picture, labels: bool) -> bytes:
    """Return the content of a NIfTI file; see `napari_probseg.io.write`."""
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    if not axes.endswith("YX"):
        raise ValueError(f"NIfTI keeps no colour, and the array has axes {axes}: use .tif")
    header = None if like.header is None else like.header.as_byteswapped("<")
    if header is not None and "Z" not in axes and len(header.get_data_shape()) > 2:
        array = np.expand_dims(array, -3)  # one slice, which was given as 2-D
    steps = (*like.spacing[::-1], 1.0, 1.0)[:3]
    affine = like.affine if like.affine is not None else np.diag([*steps, 1.0])
    kind: Any = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    try:
        image = kind(array.astype(array.dtype.newbyteorder("<"), copy=False).T, affine, header, dtype=array.dtype)
    except HeaderDataError as error:
        raise ValueError(f"NIfTI cannot hold {array.dtype}: convert it, for example with astype('float32')") from error
    image.header.set_slope_inter(1, 0)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the display range of another image
    image.header.set_intent("label" if labels else "none")
    if header is None:
        image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content


class Scaled:
    """Numbers of a memory map that become intensities, float32, where they are read."""

    dtype = np.dtype(np.float32)

    def __init__(self, stored: NDArray[Any], slope: float, intercept: float) -> None:
        self._stored, self._slope, self._intercept = stored, slope, intercept
        self.shape, self.ndim, self.size = stored.shape, stored.ndim, stored.size

    def __getitem__(self, where: Any) -> NDArray[np.float32]:
        scaled = np.multiply(self._stored[where], self._slope, dtype=np.float64) + self._intercept
        return np.asarray(scaled, dtype=np.float32)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


def _scaled(stored: NDArray[Any], slope: float, intercept: float) -> Any:
    if (slope, intercept) == (1.0, 0.0):
        return stored
    scaled = Scaled(stored, slope, intercept)
    return scaled if isinstance(stored, np.memmap) and 4 * stored.size > _LARGE else np.asarray(scaled)
