"""NIfTI: affine, orientation, codes and units are kept as they are."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.io.limits import MAX_DEFLATE_RATIO, refuse_to_unpack
from napari_probseg.io.mapped import MAX_BYTES_IN_MEMORY, OnDisk
from napari_probseg.io.notice import heard, tell
from napari_probseg.io.picture import NotReadHereError, Picture, drop_axes, in_order
from napari_probseg.io.units import MM_PER, PIXEL
from napari_probseg.io.whole_numbers import in_whole_numbers

_UNITS = {"meter": "m", "mm": "mm", "micron": "µm"}
_MAX_SCALED_BYTES = MAX_BYTES_IN_MEMORY  # of float32: above, scaled intensities are made where they are asked for
_AXES = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "CTZYX"}


def read_nifti(path: Path, axes: str | None) -> Picture:
    """Read a NIfTI file; see `napari_probseg.io.read`."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        with heard("nibabel.global") as said, np.errstate(invalid="ignore"):
            image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise NotReadHereError(f"it holds a {type(image).__name__}, not a volume")
        try:
            length, duration = image.header.get_xyzt_units()
        except KeyError:  # a code that there is not
            length, duration = "unknown", "unknown"
        is_packed = path.name.lower().endswith(".gz")
        refuse_to_unpack(
            image.shape,
            image.get_data_dtype().itemsize,
            path.stat().st_size,
            most=MAX_DEFLATE_RATIO if is_packed else 1,
            advice="unpack it to .nii, which is read piece by piece" if is_packed else "use a part of it",
            in_memory=is_packed,
        )
        stored = _voxels(image).get_unscaled().T
    except (ImageFileError, HeaderDataError) as error:
        raise ValueError(str(error)) from error
    while stored.ndim > max(_AXES) and len(stored) == 1:  # axes of length 1 beyond those that mean anything
        stored = stored[0]
    given = _AXES.get(stored.ndim)
    if given is None:
        raise NotReadHereError(f"it has {stored.ndim} axes, {stored.shape[::-1]}: save two to five")
    if stored.ndim == 4 and duration != "unknown":
        given = "TZYX"
    for sentence in (record.getMessage().splitlines()[0] for record in said):
        if "setting" in sentence and not sentence.startswith("pixdim"):  # of which `_steps` tells
            tell(f"{path.name}: {sentence[:200]}")
    steps = dict(zip("XYZ", _steps(path, image), strict=True))
    if stored.dtype.names:  # colour: R, G, B of uint8
        stored, given = np.stack([stored[name] for name in stored.dtype.names[:3]], axis=-1), given + "C"
    stored, given = drop_axes(stored, given, "ZTC")
    stored, given = in_order(stored, axes or given)
    data = _scaled(stored, float(image.dataobj.slope), float(image.dataobj.inter))
    unit = _UNITS.get(length, "mm")
    if length == "unknown" and not _is_placed(image) and set(steps.values()) == {1.0}:
        unit = PIXEL
    spacing = tuple(steps[axis] * MM_PER.get(unit, 1.0) for axis in given if axis in "ZYX")
    is_label = str(image.header.get_intent()[0]) == "label"
    if is_label:
        data = in_whole_numbers(data)
        is_label = data.dtype.kind in "iu"
    affine = np.asarray(image.affine, dtype=np.float64)
    return Picture(data, given, spacing, unit, affine, image.header.copy(), is_label)


def nifti_bytes(path: Path, array: NDArray[Any], *, axes: str, like: Picture, labels: bool) -> bytes:
    """Return the content of a NIfTI file; see `napari_probseg.io.write`."""
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    if not axes.endswith("YX"):
        raise ValueError(f"NIfTI keeps no colour, and the array has axes {axes}: use .tif")
    header = None if like.header is None else like.header.as_byteswapped("<")
    is_flat = "T" in axes or (header is not None and len(header.get_data_shape()) > 2)
    if is_flat and "Z" not in axes:
        array = np.expand_dims(array, -3)  # one slice, which was given as 2-D
    steps = (*like.spacing[::-1], 1.0, 1.0)[:3]
    affine = like.affine if header is not None else like.affine_in_mm  # without a header, the unit is mm
    is_unknown = header is None and affine is None and like.unit == PIXEL  # where it lies, and how large it is
    if affine is None and not is_unknown:
        affine = np.diag([*steps, 1.0])
    kind: Any = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    try:
        image = kind(array.astype(array.dtype.newbyteorder("<"), copy=False).T, affine, header, dtype=array.dtype)
    except HeaderDataError as error:
        raise ValueError(f"NIfTI cannot hold {array.dtype}: convert it, for example with astype('float32')") from error
    image.header.set_slope_inter(1, 0)
    zooms = image.header["pixdim"][1:4]
    if not (np.isfinite(zooms).all() and (zooms > 0).all()):  # of a file whose affine alone is sound
        image.header["pixdim"][1:4] = np.divide(steps, MM_PER.get(like.unit, 1.0))
    image.header["cal_min"] = image.header["cal_max"] = 0  # the display range of another image
    image.header.set_intent("label" if labels else "none")
    if is_unknown:
        image.header.set_zooms(steps[: array.ndim])
    if header is None:
        image.header.set_xyzt_units(None if is_unknown else "mm", "sec" if "T" in axes else None)
    content: bytes = image.to_bytes()
    return gzip.compress(content, 6, mtime=0) if path.name.lower().endswith(".gz") else content


def _scaled(stored: NDArray[Any], slope: float, intercept: float) -> Any:
    if (slope, intercept) == (1.0, 0.0):
        return stored
    scaled = OnDisk(stored, slope, intercept)
    is_large = isinstance(stored, np.memmap) and 4 * stored.size > _MAX_SCALED_BYTES
    return scaled if is_large else np.asarray(scaled)


def _steps(path: Path, image: Any) -> list[float]:
    """Return the distances between voxels along x, y and z in the file's unit: the affine's, where it is sound."""
    n_axes = min(3, len(image.shape))
    zooms = [abs(float(zoom)) for zoom in _pixdim(image)[1 : n_axes + 1]]
    sound = [bool(np.isfinite(zoom)) and zoom > 0 for zoom in zooms]
    placed, has_own = _is_placed(image), bool(image.header["sform_code"] > 0)  # that of a qform has the pixdim's
    columns = np.linalg.norm(np.asarray(image.affine, dtype=np.float64)[:3, :3], axis=0).tolist()[:n_axes]
    given = [
        bool(placed and np.isfinite(column)) and column > 0 and (has_own or s)
        for column, s in zip(columns, sound, strict=True)
    ]
    if any(s and t and abs(c / z - 1) > 0.01 for s, t, c, z in zip(sound, given, columns, zooms, strict=True)):
        along = ", ".join("xyz"[:n_axes])
        twice = f"its affine says {_listed(columns)} along {along}, its pixdim {_listed(zooms)}"
        tell(f"{path.name}: {twice}: the affine counts")
    if unknown := [axis for axis, s, t in zip("xyz", sound, given, strict=False) if not (s or t)]:
        tell(f"{path.name} does not say how far apart its voxels are along {', '.join(unknown)}: 1 is assumed")
    steps = [c if t else z if s else 1.0 for c, t, z, s in zip(columns, given, zooms, sound, strict=True)]
    return steps + [1.0] * (3 - n_axes)


def _pixdim(image: Any) -> list[float]:
    """Return the ``pixdim`` of a file as it is there; nibabel puts 1 in the place of 0."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        return image.header_class.from_fileobj(file, check=False)["pixdim"].tolist()  # type: ignore[no-any-return]


def _voxels(image: Any) -> Any:
    """Return where nibabel reads the voxels of a file: behind its header, also if it does not say where they begin."""
    from nibabel.arrayproxy import ArrayProxy

    there = image.dataobj
    if there.offset:
        return there
    behind = image.header.single_vox_offset
    return ArrayProxy(there.file_like, (there.shape, there.dtype, behind, there.slope, there.inter))


def _is_placed(image: Any) -> bool:
    return bool(image.header["qform_code"] > 0 or image.header["sform_code"] > 0)


def _listed(steps: list[float]) -> str:
    return " x ".join(f"{step:.4g}" for step in steps)
