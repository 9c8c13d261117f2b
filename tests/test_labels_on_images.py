"""Labels and masks lie on their image, whatever the order of voxels in their file, or are refused."""

import warnings
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff
from PIL import Image
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.dataset.transfer import take_in
from napari_probseg.io.labels import laid_on, look_like_labels, read_labels, read_mask, whole_numbers
from napari_probseg.progress import Fate

SHAPE = (5, 6, 7)  # x, y, z
TURNED = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([-0.5, 1.25, 3.0]), [-90, 126, 72]
)
ORIENTATIONS = [
    np.array(list(zip(axes, flips, strict=True)))
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


def numbers(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)


def saved(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("size", [1.0, 1e-6], ids=["mm", "nm"])
def test_every_orientation_of_the_same_voxels_is_put_in_order(tmp_path: Path, size: float) -> None:
    affine = np.diag([size, size, size, 1]) @ TURNED
    image = ps.read(saved(tmp_path / "image.nii", numbers().astype(np.int16), affine))
    for turn in ORIENTATIONS:
        turned = apply_orientation(numbers(), turn)
        path = saved(tmp_path / "labels.nii", turned, affine @ inv_ornt_aff(turn, SHAPE))
        assert np.array_equal(read_labels(path, image, of="image.nii"), numbers().T)


@pytest.mark.parametrize("size", [1.0, 1e-6], ids=["mm", "nm"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (nibabel.affines.from_matvec(np.eye(3), [0.5, 0, 0]), r"its corners lie up to .* mm from the image's"),
        (nibabel.affines.from_matvec(np.diag([1, 1, 1.2])), "its spacing is .* mm, the image's"),
        (nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.3)), "its corners lie up to"),
    ],
    ids=["moved", "spacing", "turned"],
)
def test_other_voxels_are_refused_and_both_named(tmp_path: Path, change: np.ndarray, says: str, size: float) -> None:
    affine = np.diag([2.0, 2, 2, 1 / size]) * size
    image = ps.read(saved(tmp_path / "image.nii", numbers().astype(np.int16), affine))
    path = saved(tmp_path / "labels.nii", numbers(), affine @ change)
    with pytest.raises(ValueError, match=rf"labels\.nii does not lie on image\.nii: {says}.*; resample it") as caught:
        read_labels(path, image, of="image.nii")
    assert "\n" not in str(caught.value)
    assert read_labels(path, image, of="image.nii", resample=True).shape == image.shape


def test_rounded_affines_are_the_same(tmp_path: Path) -> None:
    image = ps.read(saved(tmp_path / "image.nii", numbers().astype(np.int16), TURNED))
    near = TURNED.astype(np.float16).astype(float)
    near[:3, 3] = TURNED[:3, 3] + 0.001
    assert not np.array_equal(near, TURNED), "test invalid"
    assert np.array_equal(read_labels(saved(tmp_path / "labels.nii", numbers(), near), image, of="i"), numbers().T)


def test_resampled_labels_lie_where_they_lay(tmp_path: Path) -> None:
    image = ps.read(saved(tmp_path / "image.nii", numbers((10, 12, 14)).astype(np.int16), np.diag([1.0, 1, 1, 1])))
    coarse = np.zeros((5, 6, 7), np.uint8)
    coarse[2, 3, 4] = 3
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = 0.5  # the middle of two voxels
    path = saved(tmp_path / "labels.nii", coarse, affine)
    expected = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2).T
    assert np.array_equal(read_labels(path, image, of="image.nii", resample=True), expected)


@pytest.mark.parametrize(
    ("name", "spacing", "fits"),
    [("a.tif", (3.0, 2.0, 1.0), True), ("a.tif", None, True), ("a.tif", (3.0, 2.0, 2.0), False)],
)
def test_files_without_a_place_are_compared_by_what_they_tell(
    tmp_path: Path, name: str, spacing: tuple[float, ...] | None, fits: bool
) -> None:
    image = ps.read(saved(tmp_path / "image.nii", numbers().astype(np.int16), np.diag([-1.0, 2, 3, 1])))
    ps.write(tmp_path / name, numbers().T, spacing=spacing)
    if fits:
        assert np.array_equal(read_labels(tmp_path / name, image, of="image.nii"), numbers().T)
    else:
        with pytest.raises(ValueError, match="its spacing is 3 x 2 x 2 mm, the image's 3 x 2 x 1 mm"):
            read_labels(tmp_path / name, image, of="image.nii")


def test_a_nifti_file_without_codes_says_nothing_of_its_place(tmp_path: Path) -> None:
    image = ps.read(saved(tmp_path / "image.nii", numbers().astype(np.int16), TURNED))
    labels = nibabel.Nifti1Image(numbers(), None)
    labels.header.set_zooms((0.5, 1.25, 3.0))
    nibabel.save(labels, tmp_path / "labels.nii")
    assert ps.read(tmp_path / "labels.nii").affine_in_mm is None, "test invalid"
    assert np.array_equal(read_labels(tmp_path / "labels.nii", image, of="image.nii"), numbers().T)


def test_a_slice_lies_on_a_slice(tmp_path: Path) -> None:
    image = ps.read(saved(tmp_path / "image.nii", numbers((5, 6, 1)).astype(np.int16), np.diag([1.0, 2, 3, 1])))
    mirrored = np.diag([-1.0, 2, 5, 1])  # how thick a single slice is does not matter
    mirrored[0, 3] = 4
    path = saved(tmp_path / "labels.nii", numbers((5, 6, 1))[::-1], mirrored)
    assert np.array_equal(read_labels(path, image, of="image.nii"), numbers((5, 6, 1))[..., 0].T)
    with pytest.raises(ValueError, match=r"its shape is \(7, 6, 5\), the image's \(6, 5\)"):
        read_labels(saved(tmp_path / "volume.nii", numbers(), np.eye(4)), image, of="image.nii")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
def test_whole_numbers_are_labels_in_any_type(dtype: type) -> None:
    labels = whole_numbers((numbers() > 2).astype(dtype) if dtype is bool else numbers().astype(dtype))
    assert labels.dtype.kind in "iub"
    assert np.array_equal(labels, numbers() > 2 if dtype is bool else numbers())


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf, 1e300])
def test_other_numbers_are_no_labels(wrong: float) -> None:
    values = numbers().astype(float)
    values[0, 0, 0] = wrong
    with pytest.raises(ValueError, match=r"a\.nii must be whole numbers from 0, got float64"):
        whole_numbers(values, name="a.nii")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_numbers_below_0_are_no_labels(dtype: type) -> None:
    with pytest.raises(
        ValueError, match=r"a\.tif must be whole numbers from 0, got int\d\d from -3: give what is below"
    ):
        whole_numbers(-numbers().astype(dtype), name="a.tif")


@pytest.mark.parametrize(
    ("wrong", "sentence"), [(0.01, "not probabilities"), (np.nan, "such as nan"), (-1.0, "below 0")]
)
def test_a_mask_of_strokes_is_of_whole_numbers(tmp_path: Path, wrong: float, sentence: str) -> None:
    place = ps.io.Picture(np.zeros((16, 16)), "YX", (1, 1))
    values = np.eye(16, dtype=np.float32)
    ps.write(tmp_path / "a.tif", values, labels=False)
    assert np.array_equal(read_mask(tmp_path / "a.tif", place, of="b"), values > 0), "test invalid"
    values[0, 5] = wrong
    ps.write(tmp_path / "a.tif", values, labels=False)
    with pytest.raises(ValueError, match=rf"a\.tif must be whole numbers from 0, .*{sentence}"):
        read_mask(tmp_path / "a.tif", place, of="b")


def test_what_a_jpeg_has_blurred_is_no_labels(tmp_path: Path) -> None:
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(tmp_path / "a.png", "JPEG")
    place = ps.io.Picture(np.zeros((16, 16)), "YX", (1, 1))
    for read in (read_labels, read_mask):
        with pytest.raises(ValueError, match=r"a\.png is a JPEG, which blurs the numbers"):
            read(tmp_path / "a.png", place, of="b")


def test_colours_are_no_labels(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.png", np.zeros((6, 7, 3), np.uint8), like=ps.io.Picture(np.zeros((6, 7, 3)), "YXC", (1, 1)),
             labels=False)  # fmt: skip
    with pytest.raises(ValueError, match=r"a\.png has colours or channels, \(6, 7, 3\)"):
        laid_on(ps.read(tmp_path / "a.png"), ps.io.Picture(np.zeros((6, 7)), "YX", (1, 1)), name="a.png", of="b")


def test_an_image_that_is_taken_for_labels_is_told_of(tmp_path: Path) -> None:
    place = ps.io.Picture(np.zeros((64, 64)), "YX", (1, 1))
    cells = np.kron(np.arange(256).reshape(16, 16), np.ones((4, 4), int)).astype(np.uint16)
    dots = np.zeros((64, 64), np.uint16)
    dots[::8, ::8] = np.arange(64).reshape(8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for labels in (cells, dots, cells > 3):
            ps.write(tmp_path / "a.tif", labels)
            read_labels(tmp_path / "a.tif", place, of="b")
    noise = np.random.default_rng(0).integers(0, 200, (64, 64)).astype(np.uint8)
    ps.write(tmp_path / "noise.tif", noise, labels=False)
    for taken in (read_labels, read_mask):
        with pytest.warns(
            UserWarning, match=r"noise\.tif seems to hold intensities, not labels: 199 numbers, and only"
        ):
            taken(tmp_path / "noise.tif", place, of="b")


# All ways in ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An image, its labels, the same on mirrored voxels, and such as lie elsewhere."""
    affine, mirrored = np.diag([-1.0, 1, 2, 1]), np.diag([1.0, 1, 2, 1])
    mirrored[0, 3] = -4
    shifted = affine.copy()
    shifted[:3, 3] = 1
    labels = (numbers() > 2).astype(np.uint8)
    return {
        "image": saved(
            tmp_path / "image.nii.gz", np.random.default_rng(1).normal(size=SHAPE).astype(np.float32), affine
        ),
        "same": saved(tmp_path / "same.nii.gz", labels, affine),
        "mirrored": saved(tmp_path / "mirrored.nii.gz", labels[::-1], mirrored),
        "floats": saved(tmp_path / "floats.nii.gz", labels.astype(np.float64), affine),
        "elsewhere": saved(tmp_path / "elsewhere.nii.gz", labels, shifted),
        "outside": saved(
            tmp_path / "outside.nii.gz", np.eye(*SHAPE[:2])[..., None].repeat(7, 2) * (labels == 0), affine
        ),
    }


@pytest.mark.parametrize("name", ["same", "mirrored", "floats"])
def test_the_data_set_gets_labels_where_they_lie(tmp_path: Path, files: dict[str, Path], name: str) -> None:
    ran = CliRunner().invoke(app, ["dataset", "add", str(tmp_path / "set"), str(files["image"]), str(files[name])])
    assert ran.exit_code == 0, ran
    assert np.array_equal(ps.read(tmp_path / "set" / "labelsTr" / "image.nii.gz").data, (numbers() > 2).T)


def test_the_data_set_refuses_labels_from_elsewhere(tmp_path: Path, files: dict[str, Path]) -> None:
    given = ["dataset", "add", str(tmp_path / "set"), str(files["image"]), str(files["elsewhere"])]
    ran = CliRunner().invoke(app, given)
    assert isinstance(ran.exception, ValueError)
    assert "elsewhere.nii.gz does not lie on" in str(ran.exception)
    assert CliRunner().invoke(app, [*given, "--resample"]).exit_code == 0


def test_masks_of_strokes_lie_where_they_lay(tmp_path: Path, files: dict[str, Path]) -> None:
    image = ps.read(files["image"])
    masks = [read_mask(files[name], image, of=files["image"]) for name in ("same", "mirrored", "floats")]
    assert all(np.array_equal(mask, (numbers() > 2).T) for mask in masks)
    found = {}
    for name in ("same", "mirrored"):
        given = [files["image"], tmp_path / f"{name}.nii", "--inside", files[name], "--outside", files["outside"]]
        ran = CliRunner().invoke(app, ["complete", *map(str, given), "--weights", "intensities"])
        assert ran.exit_code == 0, ran
        found[name] = np.asarray(ps.read(tmp_path / f"{name}.nii").data)
    assert np.array_equal(found["same"], found["mirrored"])
    given = [files["image"], tmp_path / "a.nii", "--inside", files["elsewhere"]]
    for command in ("complete", "propose"):
        assert "does not lie on" in str(CliRunner().invoke(app, [command, *map(str, given)]).exception)


def raw(folder: Path, files: dict[str, Path], label: str) -> Path:
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    (folder / "imagesTr" / "c_0000.nii.gz").write_bytes(files["image"].read_bytes())
    (folder / "labelsTr" / "c.nii.gz").write_bytes(files[label].read_bytes())
    about = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}'
    (folder / "dataset.json").write_text(about)
    return folder


@pytest.mark.parametrize("label", ["same", "mirrored", "floats", "elsewhere"])
def test_what_is_trained_on_and_taken_in_lies_where_it_lay(tmp_path: Path, files: dict[str, Path], label: str) -> None:
    source = Collection(raw(tmp_path / "source", files, label))
    collection = Collection.create(tmp_path / "set", ["a"])
    (outcome,) = take_in(collection, source)
    if label == "elsewhere":
        assert outcome.fate is Fate.FAILED and "does not lie on" in outcome.message
        with pytest.raises(ValueError, match="does not lie on"):
            RawDataset(source.folder).load("c")
        return
    assert outcome.fate is Fate.DONE
    assert np.array_equal(RawDataset(source.folder).load("c").label, (numbers() > 2).T)
    assert np.array_equal(collection.load("c").label, (numbers() > 2).T)


def test_channels_lie_where_the_first_one_does(tmp_path: Path, files: dict[str, Path]) -> None:
    folder = raw(tmp_path / "source", files, "same")
    mirrored = np.diag([1.0, 1, 2, 1])
    mirrored[0, 3] = -4
    first = np.asarray(nibabel.load(files["image"]).dataobj)
    saved(folder / "imagesTr" / "c_0001.nii.gz", first[::-1] * 2, mirrored)
    assert np.array_equal(RawDataset(folder).load("c").image, np.stack([first.T, first.T * 2]))


def test_new_labels_of_an_image_lie_where_it_lies(tmp_path: Path, files: dict[str, Path]) -> None:
    collection = Collection(raw(tmp_path / "source", files, "same"))
    image, labels = ps.read(files["image"]), (numbers() > 2).astype(np.uint8).T
    collection.add("c", image.data, labels, like=image)
    moved = nibabel.load(files["image"])
    moved = ps.read(saved(tmp_path / "moved.nii.gz", np.asarray(moved.dataobj), moved.affine @ np.diag([-1, 1, 1, 1])))
    with pytest.raises(ValueError, match=r"does not lie where .* does: .*; correct the one or the other"):
        collection.add("c", moved.data, labels, like=moved)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, bool])
def test_labels_that_were_taken_for_an_image_are_known(dtype: type) -> None:
    rng = np.random.default_rng(0)
    grown = np.kron(rng.integers(0, 3, (8, 9, 10)), np.ones((4, 5, 6))).astype(dtype)
    assert look_like_labels(grown) and look_like_labels(grown[0]) and look_like_labels(grown.T)


@pytest.mark.parametrize("n_photons", [0.02, 0.3, 2, 50])
def test_an_image_is_not_taken_for_labels(n_photons: float) -> None:
    counts = np.random.default_rng(0).poisson(n_photons, (3, 60, 70))
    assert not look_like_labels(counts) and not look_like_labels(counts / 2), "photons"
    assert not look_like_labels(np.full((5, 5), int(n_photons)))
