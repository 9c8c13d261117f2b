"""What is written reads back identical, and lies where it lay."""

import errno
import os
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from imageio.v3 import imwrite

import napari_probseg as ps
from drawn import volume
from napari_probseg.io import tells_more_than_pixels

TESTS = Path(nibabel.__file__).parent / "tests" / "data"
OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.1, 0.2, 0.3) @ np.diag([-0.5, 1.25, 3.0]), [10, -20, 30]
)
AFFINES = {"plain": np.diag([0.5, 1.25, 3.0, 1]), "flipped": np.diag([-0.5, -1.25, 3.0, 1]), "oblique": OBLIQUE}


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
    with pytest.raises(ValueError, match=r"more than one image: .*axes='CZYX'"):
        four.case()
    ps.write(tmp_path / "labels.nii.gz", np.zeros(four.shape, np.uint8), like=four)
    assert np.array_equal(nibabel.load(tmp_path / "labels.nii.gz").affine, four.affine)
    assert ps.read(TESTS / "example4d.nii.gz", axes="CZYX").case().n_channels == 2


@pytest.mark.parametrize("name", ["anatomical.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_labels_on_a_real_image_of_any_byte_order(tmp_path: Path, name: str) -> None:
    source = nibabel.load(TESTS / name)
    picture = ps.read(TESTS / name)
    labels = np.random.default_rng(0).integers(0, 900, picture.shape).astype(np.uint16)
    ps.write(tmp_path / "labels.nii.gz", labels, like=picture)
    written = nibabel.load(tmp_path / "labels.nii.gz")
    assert type(written) is type(source)
    assert np.array_equal(written.affine, source.affine)
    for key in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "xyzt_units", "descrip"):
        assert np.array_equal(written.header[key], source.header[key]), key
    assert np.array_equal(written.header["pixdim"][:4], source.header["pixdim"][:4])
    assert (written.dataobj.slope, written.dataobj.inter) == (1, 0)
    assert np.array_equal(np.asarray(written.dataobj).T, labels)
    assert ps.read(tmp_path / "labels.nii.gz").data.dtype == np.uint16


def test_an_image_is_written_back_as_it_was(tmp_path: Path) -> None:
    source = nibabel.load(TESTS / "example4d.nii.gz")
    picture = ps.read(TESTS / "example4d.nii.gz")
    ps.write(tmp_path / "image.nii.gz", picture.data, like=picture, labels=False)
    again = nibabel.load(tmp_path / "image.nii.gz")
    assert np.array_equal(again.dataobj, source.dataobj)
    assert np.array_equal(again.affine, source.affine)
    assert again.header.get_zooms() == source.header.get_zooms()
    assert not ps.read(tmp_path / "image.nii.gz").is_label


def test_nifti_channels_and_planes(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 7, 6, 2), np.float32), np.eye(4)), tmp_path / "channels.nii")
    case = ps.read(tmp_path / "channels.nii").case()
    assert (case.n_channels, case.shape) == (2, (6, 7, 8))
    ps.write(tmp_path / "plane.nii.gz", volume()[0], spacing=(2.0, 0.5))
    plane = ps.read(tmp_path / "plane.nii.gz")
    assert plane.spacing == (2.0, 0.5)
    assert np.array_equal(plane.data, volume()[0])


def test_one_slice_is_two_dimensional_and_stays_where_it_lies(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(volume()[:1].T, OBLIQUE), tmp_path / "slice.nii.gz")
    picture = ps.read(tmp_path / "slice.nii.gz")
    assert picture.case().shape == (7, 8)
    assert picture.spacing == pytest.approx((1.25, 0.5))
    ps.write(tmp_path / "labels.nii.gz", volume(np.uint8)[0], like=picture)
    written = nibabel.load(tmp_path / "labels.nii.gz")
    assert written.shape == (8, 7, 1)
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "slice.nii.gz").affine)
    assert np.array_equal(ps.read(tmp_path / "labels.nii.gz").data, volume(np.uint8)[0])


def test_an_affine_without_a_file(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.nii.gz", volume(), affine=OBLIQUE)
    assert np.allclose(nibabel.load(tmp_path / "a.nii.gz").affine, OBLIQUE, atol=1e-5)
    assert ps.read(tmp_path / "a.nii.gz").spacing == pytest.approx((3.0, 1.25, 0.5))


def test_colour_nifti(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (8, 7, 6, 3), dtype=np.uint8)
    rgb = colour.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), tmp_path / "a.nii")
    picture = ps.read(tmp_path / "a.nii")
    assert picture.axes == "ZYXC"
    assert np.array_equal(picture.data, colour.transpose(2, 1, 0, 3))
    with pytest.raises(ValueError, match="NIfTI keeps no colour"):
        ps.write(tmp_path / "b.nii", picture.data, like=picture, labels=False)


@pytest.mark.parametrize(("name", "slope"), [("a.nii", 1.0), ("a.nii", 0.5), ("a.tif", 1.0)])
def test_a_large_volume_is_not_loaded(tmp_path: Path, name: str, slope: float) -> None:
    path, shape = tmp_path / name, (2000, 1000, 1000)  # 4 GB, of which the disk holds a few blocks
    if name == "a.nii":
        header = nibabel.Nifti1Header()
        header.set_data_shape(shape[::-1])
        header.set_data_dtype(np.int16)
        header.set_slope_inter(slope, -1024)
        path.write_bytes(header.binaryblock + bytes(4))
        os.truncate(path, 352 + 2 * int(np.prod(shape)))
    else:
        tifffile.memmap(path, shape=shape, dtype=np.int16, photometric="minisblack")
    tracemalloc.start()
    picture = ps.read(path)
    plane = np.asarray(picture.data[7])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e8
    assert picture.shape == shape
    assert (plane == (-1024 if name == "a.nii" else 0)).all()


def test_scaled_numbers_are_those_of_nibabel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = nibabel.Nifti1Image(volume().T, np.eye(4))
    image.header.set_slope_inter(0.37, -1024)
    nibabel.save(image, tmp_path / "a.nii")
    expected = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).T.astype(np.float32)
    small = ps.read(tmp_path / "a.nii").data
    monkeypatch.setattr("napari_probseg.io.nifti._MAX_SCALED_BYTES", 0)
    large = ps.read(tmp_path / "a.nii").data
    assert not isinstance(large, np.ndarray), "test invalid"
    assert np.array_equal(small, expected)
    assert np.array_equal(np.asarray(large), expected)
    assert np.array_equal(large[2:4, 1, ::2], expected[2:4, 1, ::2])
    assert len(large) == len(expected)


def test_uncompressed_files_are_mapped(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(volume().T, np.eye(4)), tmp_path / "image.nii")
    tifffile.imwrite(tmp_path / "image.tif", volume(np.uint16))
    for name in ("image.nii", "image.tif"):
        base = ps.read(tmp_path / name).data
        while not isinstance(base, np.memmap) and base.base is not None:
            base = base.base
        assert isinstance(base, np.memmap)
        data, before = ps.read(tmp_path / name).data, (tmp_path / name).read_bytes()
        data[0, 0, 0] += 1  # as painting on it in napari does
        assert (tmp_path / name).read_bytes() == before


def test_nifti_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be opened: it holds a Cifti2Image"):
        ps.read(TESTS / "row_major.dconn.nii")


@pytest.mark.parametrize(("dtype", "largest", "bits"), [(np.uint32, 7, 8), (np.int64, 60_000, 16)])
def test_png_labels_have_the_bits_that_they_need(tmp_path: Path, dtype: type, largest: int, bits: int) -> None:
    labels = np.zeros((6, 7), dtype)
    labels[2, 3] = largest
    ps.write(tmp_path / "a.png", labels)
    assert np.array_equal(np.asarray(ps.read(tmp_path / "a.png").data), labels)
    assert (tmp_path / "a.png").read_bytes()[24] == bits, "of the header"
    labels[2, 3] = 70_000
    with pytest.raises(ValueError, match=r"numbers up to 70000: use \.tif"):
        ps.write(tmp_path / "a.png", labels)


@pytest.mark.parametrize("ending", [".png", ".tif", ".nii"])
@pytest.mark.parametrize("is_label", [True, False])
def test_any_order_of_bytes_is_written(tmp_path: Path, ending: str, is_label: bool) -> None:
    values = np.arange(300, 420, dtype=">u2").reshape(10, 12)
    ps.write(tmp_path / f"a{ending}", values, labels=is_label)
    assert np.array_equal(ps.read(tmp_path / f"a{ending}").data, values)


def test_png_labels(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.png", volume(np.uint16)[0])
    assert np.array_equal(ps.read(tmp_path / "a.png").data, volume(np.uint16)[0])
    with pytest.raises(ValueError, match=r"use \.tif"):
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


def test_wrong_bytes_are_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    random, said = np.random.default_rng(0), []
    for name in ("a.nii", "a.tif"):
        ps.write(tmp_path / name, volume(np.uint8), spacing=(1, 1, 1))
        content = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(100):
            wrong = content.copy()
            wrong[random.integers(0, min(800, len(wrong)), 3)] = random.integers(0, 256, 3)
            (tmp_path / f"wrong_{name}").write_bytes(wrong.tobytes())
            try:
                np.asarray(ps.read(tmp_path / f"wrong_{name}").data).sum()
            except ValueError as error:
                said.append(str(error))
            tells_more_than_pixels(tmp_path / f"wrong_{name}")
    assert len(said) > 10, "test invalid"
    assert not any("\n" in sentence for sentence in said)


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ps.read(tmp_path / "a.tif")
    (tmp_path / "a.xyz").write_bytes(b"of another kind")
    with pytest.raises(ValueError, match=r"a\.xyz has an ending that is not known here: use one of \.nii"):
        ps.read(tmp_path / "a.xyz")
    with pytest.raises(ValueError, match=r"^a has no ending: use one of \.nii\.gz, \.nii, \.tif, \.tiff, \.png$"):
        ps.write(tmp_path / "a", volume())
    with pytest.raises(ValueError, match="ending that is not known"):
        ps.write(tmp_path / "a.jpg", volume())
    with pytest.raises(ValueError, match=r"labels must be .* got shape \(2, 6, 7, 8\)"):
        ps.write(tmp_path / "a.tif", np.stack([volume()] * 2))
    with pytest.raises(ValueError, match=r"got shape \(2, 6, 7, 8\)"):
        ps.write(tmp_path / "a.tif", np.stack([volume(np.float32)] * 2))
    with pytest.raises(ValueError, match="labels must be integers, got float32"):
        ps.write(tmp_path / "a.tif", volume(np.float32), labels=True)
    with pytest.raises(ValueError, match="TIFF cannot hold float16"):
        ps.write(tmp_path / "a.tif", volume(np.float16))
    with pytest.raises(ValueError, match=r"an affine must be \(4, 4\)"):
        ps.write(tmp_path / "a.nii", volume(), affine=np.eye(3))
    tifffile.imwrite(tmp_path / "odd.tif", np.zeros((2, 3, 4, 5, 6), np.uint8))
    with pytest.raises(ValueError, match=r"odd\.tif cannot be opened: axes must be of T, C, Z, Y, X"):
        ps.read(tmp_path / "odd.tif")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ps.read(tmp_path / "folder.tif")
    ps.write(tmp_path / "a.tif", volume())
    with pytest.raises(ValueError, match=r"is \(6, 7, 8\), the array \(7, 8\)"):
        ps.write(tmp_path / "b.tif", volume()[0], like=ps.read(tmp_path / "a.tif"))
    with pytest.raises(ValueError, match="NIfTI cannot hold float16"):
        ps.write(tmp_path / "a.nii", volume(np.float16))
    with pytest.raises(ValueError, match="an array of numbers can be written, got one of object"):
        ps.write(tmp_path / "a.tif", volume().astype(object))
    with pytest.raises(ValueError, match="one distance for each of 3 axes"):
        ps.write(tmp_path / "a.nii", volume(), spacing=(1, 1))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"a\.nii could not be written: .*file is no folder, choose another"):
        ps.write(tmp_path / "file" / "a.nii", volume())


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
    with pytest.raises(OSError, match=r"No space left on device.*free space"):
        ps.write(tmp_path / name, volume(np.uint8) + 1)
    assert (tmp_path / name).read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif("PROBSEG_DATA" not in os.environ, reason="PROBSEG_DATA names no folder of data sets")
def test_development_data_is_read() -> None:
    from napari_probseg.dataset.raw import datasets_below

    datasets = datasets_below(os.environ["PROBSEG_DATA"])
    assert datasets, "test invalid"
    for dataset in datasets:
        case = dataset.load(dataset.split("test")[0])
        assert case.image.shape[1:] == case.label.shape
        assert len(case.spacing) == case.label.ndim
