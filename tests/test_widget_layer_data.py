"""napari opens and saves through us without losing where things lie."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.layers import Image, Labels

from napari_probseg.io import read
from napari_probseg.napari_io import layer_data, layer_place
from napari_probseg.widgets.layers.image import voxels_of

ANATOMICAL = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 4.0, 7], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def _nothing_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_place, "_opened", {})


@pytest.fixture
def nifti(tmp_path: Path) -> str:
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((8, 7, 6)).astype(np.float32), AFFINE)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "image.nii.gz")
    return str(tmp_path / "image.nii.gz")


def test_reader_claims_what_napari_would_read_worse(tmp_path: Path, nifti: str) -> None:
    plain, told = str(tmp_path / "plain.tif"), str(tmp_path / "told.tif")
    tifffile.imwrite(plain, np.zeros((6, 7), np.uint8))
    tifffile.imwrite(told, np.zeros((6, 7), np.uint8), resolution=(100, 100), resolutionunit="CENTIMETER")
    assert layer_data.get_reader(nifti) is not None
    assert layer_data.get_reader(told) is not None
    assert layer_data.get_reader(plain) is None
    assert layer_data.get_reader([nifti, plain]) is None
    ((_, attributes, kind),) = layer_data.read_layers(told)
    assert kind == "image"
    assert attributes["name"] == "told"
    assert attributes["scale"] == pytest.approx([0.01, 0.01])
    assert attributes["units"] == ["cm", "cm"]


def test_labels_drawn_on_an_image_are_saved_onto_it(tmp_path: Path, nifti: str) -> None:
    ((data, attributes, _),) = layer_data.read_layers(nifti)
    assert data.shape == (6, 7, 8)
    assert attributes["scale"] == pytest.approx([4, 2, 1.5])
    labels = np.random.default_rng(1).integers(0, 9, data.shape).astype(np.uint32)
    path = str(tmp_path / "labels.nii.gz")
    assert layer_data.write_labels(path, labels, {"metadata": attributes["metadata"]}) == [path]
    written = nibabel.load(path)
    assert np.array_equal(written.affine, nibabel.load(nifti).affine)
    ((again, _, kind),) = layer_data.read_layers(path)
    assert kind == "labels"
    assert np.array_equal(again, labels)


def test_layers_from_elsewhere_are_saved_with_their_scale(tmp_path: Path) -> None:
    path = str(tmp_path / "labels.tif")
    layer_data.write_labels(path, np.ones((5, 6, 7), np.uint16), {"scale": np.array([3.0, 2, 1]), "units": ("um",) * 3})
    assert layer_data.get_reader(path) is not None
    ((_, attributes, kind),) = layer_data.read_layers(path)
    assert kind == "labels"
    assert attributes["scale"] == pytest.approx([3, 2, 1])
    assert attributes["units"] == ["um"] * 3


def test_an_image_of_an_open_time_series_is_no_time_series(tmp_path: Path) -> None:
    options = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "TYX", "finterval": 5, "unit": "um"}}
    tifffile.imwrite(tmp_path / "series.tif", np.zeros((4, 6, 7), np.uint8), **options)
    ((_, attributes, _),) = layer_data.read_layers(str(tmp_path / "series.tif"))
    assert layer_place.picture_of((4, 6, 7), attributes).axes == "TYX", "test invalid"
    one = {"scale": attributes["scale"][1:], "units": attributes["units"][1:]}
    for told in (one, one | {"metadata": attributes["metadata"]}):  # of napari's Split Stack, and of another layer
        place = layer_place.picture_of((6, 7), told)
        assert (place.axes, place.unit, place.spacing) == ("YX", "µm", pytest.approx((0.0005, 0.0005)))


def test_samples() -> None:
    for sample, ndim in ((layer_data.disks, 2), (layer_data.body_slice, 2), (layer_data.body, 3)):
        ((data, attributes, kind),) = sample()
        assert kind == "image"
        assert data.ndim == ndim
        assert np.isfinite(data).all()
        assert np.ptp(data) > 0
        assert attributes["name"]
        assert np.array_equal(data, sample()[0][0]), "the same every time"


@pytest.fixture
def viewer(request: pytest.FixtureRequest) -> Iterator[Any]:
    components = import_module("napari.components")
    manifests = request.getfixturevalue("npe2pm")
    with manifests.tmp_plugin(manifest=Path(layer_data.__file__).parents[1] / "napari.yaml"):
        yield components.ViewerModel()


def test_napari_opens_and_saves_through_the_manifest(tmp_path: Path, nifti: str, viewer: Any) -> None:
    viewer.open(nifti, plugin="napari-probseg")
    image = viewer.layers["image"]
    assert tuple(image.scale) == pytest.approx((4, 2, 1.5))
    assert image.data.shape == (6, 7, 8)
    labels = viewer.add_labels(np.ones((6, 7, 8), np.uint16), scale=image.scale, metadata=dict(image.metadata))
    (saved,) = labels.save(str(tmp_path / "saved.nii.gz"), plugin="napari-probseg")
    assert np.array_equal(nibabel.load(saved).affine, nibabel.load(nifti).affine)
    (saved,) = image.save(str(tmp_path / "image.nii.gz"), plugin="napari-probseg")
    assert np.array_equal(nibabel.load(saved).affine, nibabel.load(nifti).affine)
    assert np.array_equal(nibabel.load(saved).dataobj, nibabel.load(nifti).dataobj)


@pytest.mark.parametrize("key", ["disks", "body_slice", "body"])
def test_napari_opens_the_samples(viewer: Any, key: str) -> None:
    (layer,) = viewer.open_sample("napari-probseg", key)
    assert layer.ndim == (3 if key == "body" else 2)


def test_new_labels_of_napari_are_saved_where_the_image_lies(tmp_path: Path, nifti: str, viewer: Any) -> None:
    viewer.open(nifti, plugin="napari-probseg")
    labels = viewer.add_labels(np.ones((6, 7, 8), np.uint16), scale=(4, 2, 1.5), units=("mm",) * 3)
    (saved,) = labels.save(str(tmp_path / "saved.nii.gz"), plugin="napari-probseg")
    assert np.array_equal(nibabel.load(saved).affine, nibabel.load(nifti).affine)
    moved = nibabel.Nifti1Image(np.zeros((8, 7, 6), np.uint8), AFFINE + np.eye(4, k=3))
    nibabel.save(moved, tmp_path / "moved.nii")
    viewer.open(tmp_path / "moved.nii", plugin="napari-probseg")
    with pytest.warns(UserWarning, match="lie in different places"):
        (saved,) = labels.save(str(tmp_path / "saved.nii.gz"), plugin="napari-probseg")
    assert np.allclose(nibabel.load(saved).affine, np.diag([1.5, 2, 4, 1]))


def test_channels_time_and_large_scaled_files_open_in_napari(
    tmp_path: Path, viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_probseg.io.nifti._MAX_SCALED_BYTES", 0)
    image = nibabel.Nifti1Image(np.arange(672, dtype=np.int16).reshape(8, 7, 6, 2), AFFINE)
    image.header.set_slope_inter(0.5, -3)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "channels.nii")
    expected = nibabel.load(tmp_path / "channels.nii").get_fdata()
    first, second = viewer.open(tmp_path / "channels.nii", plugin="napari-probseg")
    assert first.data.shape == second.data.shape == (6, 7, 8)
    assert np.array_equal(np.asarray(second.data), expected[..., 1].T)
    assert tuple(first.scale) == pytest.approx((4, 2, 1.5))
    (saved,) = second.save(str(tmp_path / "second.nii.gz"), plugin="napari-probseg")
    assert np.array_equal(nibabel.load(saved).affine, image.affine)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "time.nii")
    (series,) = viewer.open(tmp_path / "time.nii", plugin="napari-probseg")
    assert series.data.shape == (2, 6, 7, 8)
    assert tuple(series.scale) == pytest.approx((1, 4, 2, 1.5))
    (saved,) = series.save(str(tmp_path / "again.nii.gz"), plugin="napari-probseg")
    assert np.array_equal(nibabel.load(saved).get_fdata(), expected)


def test_colour_is_saved_as_colour(tmp_path: Path, viewer: Any) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (9, 8, 3), dtype=np.uint8)
    layer = viewer.add_image(colour, rgb=True, scale=(0.5, 0.25), units=("um", "um"))
    (saved,) = layer.save(str(tmp_path / "colour.tif"), plugin="napari-probseg")
    ((data, attributes, _),) = layer_data.read_layers(saved)
    assert attributes["rgb"]
    assert np.array_equal(data, colour)
    assert attributes["scale"] == pytest.approx((0.5, 0.25))


def test_byte_orders_that_are_not_the_machines_are_shown(viewer: Any) -> None:
    assert not read(ANATOMICAL).data.dtype.isnative, "test invalid"
    (layer,) = viewer.open(ANATOMICAL, plugin="napari-probseg")
    assert np.isfinite(layer.contrast_limits).all()
    assert layer._data_view is not None


@pytest.mark.parametrize(("napari", "is_native"), [("0.7.1", True), ("0.8.0", True), ("0.9.2", False)])
def test_the_machines_byte_order_where_napari_draws_no_other(monkeypatch, napari: str, is_native: bool) -> None:
    monkeypatch.setattr("napari_probseg.napari_io.version.version", lambda _: napari)
    ((data, _, _),) = layer_data.read_layers(str(ANATOMICAL))
    assert data.dtype.isnative is is_native
    assert np.array_equal(data, read(ANATOMICAL).data)


def test_labels_of_four_axes_are_saved_as_a_series_of_volumes(tmp_path: Path) -> None:
    labels = np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5)
    layer_data.write_labels(str(tmp_path / "a.tif"), labels, {})
    back = read(tmp_path / "a.tif")
    assert back.axes == "TZYX" and back.is_label and np.array_equal(back.data, labels)


def test_what_cannot_be_saved_leaves_no_file(tmp_path: Path, nifti: str) -> None:
    with pytest.raises(ValueError, match="layers of two to four axes can be saved"):
        layer_data.write_labels(str(tmp_path / "a.tif"), np.ones((2, 2, 3, 4, 5), np.uint8), {})
    with pytest.raises(ValueError, match="layers of two to four axes can be saved"):
        layer_data.write_image(str(tmp_path / "a.tif"), np.ones((2, 2, 3, 4, 5)), {})
    assert [path.name for path in tmp_path.iterdir()] == [Path(nifti).name]


def test_labels_with_the_shape_of_an_image_and_not_its_scale_are_told_what_to_do():
    image = Image(np.zeros((5, 20, 30)), scale=(3, 0.5, 0.5), name="scan", units=("mm",) * 3)
    labels = Labels(np.ones((5, 20, 30), np.uint8), name="mine")
    with pytest.raises(ValueError, match=r"“mine” has the shape of “scan”.*give it the image's scale and translate"):
        voxels_of(labels, image)
    labels.scale = image.scale
    assert voxels_of(labels, image).all()
    with pytest.raises(ValueError, match=r"its shape is \(5, 20, 31\)"):
        voxels_of(Labels(np.ones((5, 20, 31), np.uint8), name="mine"), image)


@pytest.mark.parametrize("unit", [None, "um", "mm"])
@pytest.mark.parametrize("is_told", [False, True], ids=["labels without a unit", "labels with it"])
def test_lengths_are_told_in_the_unit_of_the_image(unit: str | None, is_told: bool):
    """Labels whose layer has no unit are meant in the image's: with its scale they lie on it."""
    units = {} if unit is None else {"units": (unit,) * 2}
    image = Image(np.zeros((20, 30)), scale=(0.5, 0.5), name="scan", **units)
    labels = Labels(np.ones((20, 30), np.uint8), scale=(0.5, 0.5), name="mine", **(units if is_told else {}))
    assert voxels_of(labels, image).all()
    turned = Labels(np.ones((30, 20), np.uint8), scale=(0.5, 0.5), name="mine", **(units if is_told else {}))
    turned.translate = (3, 0)
    told = {None: "pixels", "um": "µm", "mm": "mm"}[unit]
    with pytest.raises(ValueError, match=rf"its corners lie up to 3 {told} from the image's"):
        voxels_of(turned, image)
