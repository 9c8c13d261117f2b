"""Layers lie in files where napari shows them: one over the other, moved, turned, cropped."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.napari_io import layer_data

OBLIQUE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 4.0, 7], [0, 0, 0, 1]])
TURN = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
LABELS = np.random.default_rng(1).integers(0, 9, (6, 7, 8)).astype(np.uint32)


@pytest.fixture
def opened(tmp_path: Path) -> dict[str, Any]:
    """What napari knows of a layer that was opened from a file."""
    image = nibabel.Nifti1Image(np.zeros((8, 7, 6), np.float32), OBLIQUE)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "image.nii.gz")
    ((_, attributes, _),) = layer_data.read_layers(str(tmp_path / "image.nii.gz"))
    return attributes


def saved(path: Path, labels: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    layer_data.write_labels(str(path), labels, attributes)
    assert np.array_equal(np.asarray(nibabel.load(path).dataobj).T, labels)
    return nibabel.load(path).affine


def test_a_layer_over_a_file_lies_where_that_does(tmp_path: Path, opened: dict[str, Any]) -> None:
    assert np.allclose(saved(tmp_path / "a.nii", LABELS, opened), OBLIQUE)
    z, y, x = opened["scale"]
    cropped = saved(tmp_path / "a.nii", LABELS[1:, 2:, 3:], {**opened, "translate": (z, 2 * y, 3 * x)})
    assert np.allclose(cropped @ [0, 0, 0, 1], OBLIQUE @ [3, 2, 1, 1]) and np.allclose(cropped[:3, :3], OBLIQUE[:3, :3])
    flipped = saved(tmp_path / "a.nii", LABELS, {**opened, "scale": (-z, y, x)})
    assert np.allclose(flipped @ [1, 2, 3, 1], OBLIQUE @ [1, 2, -3, 1])
    coarse = saved(tmp_path / "a.nii", LABELS[::2, ::2, ::2], {**opened, "scale": (2 * z, 2 * y, 2 * x)})
    assert np.allclose(coarse @ [1, 1, 1, 1], OBLIQUE @ [2, 2, 2, 1])


@pytest.mark.parametrize("shear", [None, [0.1, 0.0, 0.2]], ids=["straight", "sheared"])
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("um", 1e-3), ("angstrom", 1e-7)])
def test_a_layer_without_a_file_lies_where_it_is_shown(tmp_path: Path, unit: str, mm: float, shear: Any) -> None:
    told = {"scale": (2, 1, 1), "translate": (20, 100, 50), "rotate": TURN, "units": (unit,) * 3, "shear": shear}
    told["affine"] = np.diag([1.0, 2, 3, 1])
    affine = saved(tmp_path / "a.nii", LABELS, told)
    upper = np.eye(3)
    upper[np.triu_indices(3, 1)] = shear or 0
    at = np.diag([1, 2, 3]) @ (TURN @ upper @ ([2, 1, 1] * np.array([2, 3, 4])) + [20, 100, 50])
    assert np.allclose((affine @ [4, 3, 2, 1])[:3], at[::-1] * mm, rtol=1e-5)


def test_units_by_axis_are_not_mixed(tmp_path: Path) -> None:
    layer_data.write_labels(str(tmp_path / "a.tif"), LABELS, {"scale": (1, 500, 500), "units": ("um", "nm", "nm")})
    assert ps.read(tmp_path / "a.tif").spacing == pytest.approx((1e-3, 5e-4, 5e-4))


def test_a_format_that_keeps_no_place_says_so(tmp_path: Path) -> None:
    told = {"scale": (2, 1, 1), "translate": (20, 100, 50), "units": ("mm",) * 3}
    with pytest.warns(
        UserWarning, match=r"a\.tif keeps how far apart voxels are, not where they lie: save as \.nii\.gz"
    ):
        layer_data.write_labels(str(tmp_path / "a.tif"), LABELS, told)
    assert ps.read(tmp_path / "a.tif").spacing == pytest.approx((2, 1, 1))


def test_a_closed_file_lends_its_place_to_none(tmp_path: Path, opened: dict[str, Any]) -> None:
    told = {"scale": opened["scale"], "units": opened["units"]}
    assert np.allclose(saved(tmp_path / "a.nii", LABELS, told), OBLIQUE), "of the file that is open, it has the voxels"
    in_pixels = saved(tmp_path / "a.nii", LABELS, {**told, "units": ("pixel",) * 3})
    assert not np.allclose(in_pixels, OBLIQUE)
    opened.clear()
    assert not np.allclose(saved(tmp_path / "a.nii", LABELS, told), OBLIQUE)
