"""What is written reads back identical, and lies where it lay."""

import errno
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from imageio.v3 import imwrite

import napari_probseg as ps

TESTS = Path(nibabel.__file__).parent / "tests" / "data"
OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.1, 0.2, 0.3) @ np.diag([-0.5, 1.25, 3.0]), [10, -20, 30]
)
AFFINES = {"plain": np.diag([0.5, 1.25, 3.0, 1]), "flipped": np.diag([-0.5, -1.25, 3.0, 1]), "oblique": OBLIQUE}


def volume(dtype: object = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, (6, 7, 8)).astype(dtype)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
def test_nifti_labels_keep_the_geometry(tmp_path: Path, ending: str, affine: np.ndarray, dtype: type) -> None:
    source = nibabel.Nifti1Image(volume().T, affine)
    source.set_qform(affine, 1)
    source.set_sform(affine, 4)
    source.header.set_xyzt_units("mm")
    nibabel.save(source, tmp_path / f"image{ending}")
    picture = ps.read(tmp_path / f"image{ending}")
    assert picture.shape == (6, 7, 8)
    assert picture.spacing == pytest.approx((3.0, 1.25, 0.5))
    assert np.array_equal(picture.data, volume())
    labels = (volume() % 5).astype(dtype)
    ps.write(tmp_path / f"labels{ending}", labels, like=picture)
    written = nibabel.load(tmp_path / f"labels{ending}")
    assert np.array_equal(written.affine, nibabel.load(tmp_path / f"image{ending}").affine)
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (1, 4)
    assert np.array_equal(written.get_qform(), picture.header.get_qform())
    assert written.get_data_dtype() == dtype
    again = ps.read(tmp_path / f"labels{ending}")
    assert again.is_label
    assert again.data.dtype == dtype
    assert np.array_equal(again.data, labels)


def test_units_become_mm(tmp_path: Path) -> None:
    for unit, factor in (("mm", 1), ("micron", 1e-3), ("meter", 1e3)):
        image = nibabel.Nifti1Image(volume().T, np.diag([2.0, 3, 4, 1]))
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "image.nii")
        assert ps.read(tmp_path / "image.nii").spacing == pytest.approx((4 * factor, 3 * factor, 2 * factor))


def test_scaled_intensities_and_plain_labels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(volume().T, np.eye(4))
    image.header.set_slope_inter(2, -10)
    nibabel.save(image, tmp_path / "image.nii")
    picture = ps.read(tmp_path / "image.nii")
    assert picture.data.dtype == np.float32
    ps.write(tmp_path / "labels.nii", volume(np.uint8), like=picture)
    assert np.array_equal(ps.read(tmp_path / "labels.nii").data, volume(np.uint8))


def test_nibabels_own_images(tmp_path: Path) -> None:
    anatomical = ps.read(TESTS / "anatomical.nii")
    assert anatomical.case().shape == anatomical.shape == (25, 41, 33)
    assert anatomical.spacing == pytest.approx((2, 2, 2))
    four = ps.read(TESTS / "example4d.nii.gz")
    assert four.axes == "TZYX"
    with pytest.raises(ValueError, match="choose a time point first"):
        four.case()
    ps.write(tmp_path / "labels.nii.gz", np.zeros(four.shape, np.uint8), like=four)
    assert np.allclose(nibabel.load(tmp_path / "labels.nii.gz").affine, four.affine)


def test_nifti_channels_and_planes(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 7, 6, 2), np.float32), np.eye(4)), tmp_path / "channels.nii")
    case = ps.read(tmp_path / "channels.nii").case()
    assert (case.n_channels, case.shape) == (2, (6, 7, 8))
    ps.write(tmp_path / "plane.nii.gz", volume()[0], spacing=(2.0, 0.5))
    plane = ps.read(tmp_path / "plane.nii.gz")
    assert plane.spacing == (2.0, 0.5)
    assert np.array_equal(plane.data, volume()[0])


def test_uncompressed_files_are_mapped(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(volume().T, np.eye(4)), tmp_path / "image.nii")
    tifffile.imwrite(tmp_path / "image.tif", volume(np.uint16))
    for name in ("image.nii", "image.tif"):
        base = ps.read(tmp_path / name).data
        while not isinstance(base, np.memmap) and base.base is not None:
            base = base.base
        assert isinstance(base, np.memmap)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize("shape", [(7, 8), (6, 7, 8)])
def test_tiff_keeps_dtype_and_spacing(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array, spacing = volume(dtype)[0] if len(shape) == 2 else volume(dtype), (3.0, 0.5, 0.25)[-len(shape) :]
    ps.write(tmp_path / "a.tif", array, spacing=spacing)
    again = ps.read(tmp_path / "a.tif")
    assert again.data.dtype == dtype
    assert again.spacing == pytest.approx(spacing)
    assert np.array_equal(again.data, array)


def test_imagej_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        volume(np.uint16),
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "ZYX", "spacing": 1.5, "unit": "um"},
    )
    picture = ps.read(tmp_path / "a.tif")
    assert picture.axes == "ZYX"
    assert picture.unit == "µm"
    assert picture.spacing == pytest.approx((1.5e-3, 0.5e-3, 0.25e-3))
    ps.write(tmp_path / "labels.tif", volume(np.uint16), like=picture)
    again = ps.read(tmp_path / "labels.tif")
    assert again.unit == "µm"
    assert again.spacing == pytest.approx(picture.spacing)


@pytest.mark.parametrize(
    ("axes", "shape", "kept", "channels"),
    [("CZYX", (2, 5, 7, 8), (5, 7, 8), 2), ("ZCYX", (5, 2, 7, 8), (5, 7, 8), 2), ("TYX", (3, 7, 8), (7, 8), 1)],
)
def test_ome_axes(tmp_path: Path, axes: str, shape: tuple[int, ...], kept: tuple[int, ...], channels: int) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros(shape, np.uint8), metadata={"axes": axes}, photometric="minisblack"
    )
    picture = ps.read(tmp_path / "a.ome.tif")
    assert picture.axes == axes
    assert picture.shape == kept
    if "T" not in axes:
        assert picture.case().n_channels == channels


def test_colour(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (9, 8, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colour[..., :3], photometric="rgb")
    imwrite(tmp_path / "a.png", colour)
    for name in ("a.tif", "a.png"):
        picture = ps.read(tmp_path / name)
        assert picture.axes == "YXC"
        assert np.array_equal(picture.data, colour[..., :3])
        assert picture.case().n_channels == 3


def test_png_labels(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.png", volume(np.uint16)[0])
    assert np.array_equal(ps.read(tmp_path / "a.png").data, volume(np.uint16)[0])
    with pytest.raises(ValueError, match="use .tif"):
        ps.write(tmp_path / "b.png", volume())


def files(folder: Path) -> list[Path]:
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((30, 30, 30)), np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((30, 30, 30)), np.eye(4)), folder / "a.nii.gz")
    tifffile.imwrite(folder / "a.tif", np.random.default_rng(0).random((30, 30, 30)))
    tifffile.imwrite(folder / "b.tif", np.random.default_rng(0).random((30, 30, 30)), compression="zlib")
    imwrite(folder / "a.png", np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("keep", [0, 7, 0.3, 0.9])
def test_damaged_files_get_one_sentence(tmp_path: Path, keep: float) -> None:
    for path in files(tmp_path):
        content = path.read_bytes()
        path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
        with pytest.raises(ValueError, match=f"{path.name} is damaged or no .* file") as caught:
            np.asarray(ps.read(path).data).sum()
        assert "\n" not in str(caught.value)


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ps.read(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.xyz has an ending that is not known here: use one of \.nii"):
        ps.read(tmp_path / "a.xyz")
    with pytest.raises(ValueError, match="ending that is not known"):
        ps.write(tmp_path / "a.jpg", volume())
    with pytest.raises(ValueError, match=r"got shape \(2, 6, 7, 8\)"):
        ps.write(tmp_path / "a.tif", np.stack([volume()] * 2))
    ps.write(tmp_path / "a.tif", volume())
    with pytest.raises(ValueError, match=r"is \(6, 7, 8\), the array \(7, 8\)"):
        ps.write(tmp_path / "b.tif", volume()[0], like=ps.read(tmp_path / "a.tif"))
    with pytest.raises(ValueError, match="NIfTI cannot hold float16"):
        ps.write(tmp_path / "a.nii", volume(np.float16))
    with pytest.raises(ValueError, match="one distance for each of 3 axes"):
        ps.write(tmp_path / "a.nii", volume(), spacing=(1, 1))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.tif"])
def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ps.write(tmp_path / name, volume(np.uint8))
    old = (tmp_path / name).read_bytes()

    def full(self: Path, content: bytes) -> int:
        fd = os.open(self, os.O_CREAT | os.O_WRONLY)
        os.write(fd, content[:10])
        os.close(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device.*free space"):
        ps.write(tmp_path / name, volume(np.uint8) + 1)
    assert (tmp_path / name).read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif("PROBSEG_DATA" not in os.environ, reason="PROBSEG_DATA names no folder of data sets")
def test_development_data_is_read() -> None:
    from napari_probseg.training.dataset import datasets_below

    for dataset in datasets_below(os.environ["PROBSEG_DATA"]):
        case = dataset.load(dataset.split("test")[0])
        assert case.image.shape[1:] == case.label.shape
        assert len(case.spacing) == case.label.ndim
