"""napari opens and saves through us without losing where things lie."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

from napari_probseg import layer_data

AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 4.0, 7], [0, 0, 0, 1]])


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
    assert layer_data.write_layer(path, labels, {"metadata": attributes["metadata"]}) == [path]
    written = nibabel.load(path)
    assert np.array_equal(written.affine, nibabel.load(nifti).affine)
    ((again, _, kind),) = layer_data.read_layers(path)
    assert kind == "labels"
    assert np.array_equal(again, labels)


def test_layers_from_elsewhere_are_saved_with_their_scale(tmp_path: Path) -> None:
    path = str(tmp_path / "labels.tif")
    layer_data.write_layer(path, np.ones((5, 6, 7), np.uint16), {"scale": np.array([3.0, 2, 1]), "units": ("um",) * 3})
    ((_, attributes, _),) = layer_data.read_layers(path)
    assert attributes["scale"] == pytest.approx([3, 2, 1])
    assert attributes["units"] == ["um"] * 3


def test_samples() -> None:
    for sample, ndim in ((layer_data.disks, 2), (layer_data.body_slice, 2), (layer_data.body, 3)):
        ((data, attributes, kind),) = sample()
        assert kind == "image"
        assert data.ndim == ndim
        assert np.isfinite(data).all()
        assert np.ptp(data) > 0
        assert attributes["name"]
        assert np.array_equal(data, sample()[0][0]), "the same every time"


def test_napari_opens_and_saves_through_the_manifest(
    tmp_path: Path, nifti: str, request: pytest.FixtureRequest
) -> None:
    components = pytest.importorskip("napari.components")
    manifests = request.getfixturevalue("npe2pm")
    with manifests.tmp_plugin(manifest=Path(layer_data.__file__).parent / "napari.yaml"):
        _open_and_save(components, tmp_path, nifti)


def _open_and_save(components: Any, tmp_path: Path, nifti: str) -> None:
    viewer = components.ViewerModel()
    viewer.open(nifti, plugin="napari-probseg")
    image = viewer.layers["image"]
    assert tuple(image.scale) == pytest.approx((4, 2, 1.5))
    assert image.data.shape == (6, 7, 8)
    labels = viewer.add_labels(np.ones((6, 7, 8), np.uint16), scale=image.scale, metadata=dict(image.metadata))
    (saved,) = labels.save(str(tmp_path / "saved.nii.gz"), plugin="napari-probseg")
    assert np.array_equal(nibabel.load(saved).affine, nibabel.load(nifti).affine)
    viewer.open_sample("napari-probseg", "body")
    assert viewer.layers["body"].ndim == 3
