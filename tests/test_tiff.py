"""TIFF files, written and read back: type, spacing, axes, colours, compression."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from imageio.v3 import imwrite
from PIL import Image

import napari_probseg as ps
from drawn import volume
from napari_probseg.io import Picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize("shape", [(7, 8), (6, 7, 8)])
def test_tiff_keeps_dtype_and_spacing(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array, spacing = volume(dtype)[0] if len(shape) == 2 else volume(dtype), (3.0, 0.5, 0.25)[-len(shape) :]
    ps.write(tmp_path / "a.tif", array, spacing=spacing)
    again = ps.read(tmp_path / "a.tif")
    assert again.data.dtype == dtype
    assert again.spacing == pytest.approx(spacing)
    assert np.array_equal(again.data, array)


def test_tiff_labels_are_labels(tmp_path: Path) -> None:
    ps.write(tmp_path / "labels.tif", volume(np.int64))
    again = ps.read(tmp_path / "labels.tif")
    assert again.is_label
    assert np.array_equal(again.data, volume())
    ps.write(tmp_path / "image.tif", volume(), labels=False)
    assert not ps.read(tmp_path / "image.tif").is_label
    with pytest.raises(ValueError, match="renumber them"):
        ps.write(tmp_path / "labels.tif", volume(np.int64) << 40)


@pytest.mark.parametrize(
    ("count", "unit", "mm"), [(72, "INCH", 1), (96, "INCH", 1), (254, "INCH", 0.1), (50, "NONE", 1)]
)
def test_resolution_tags(tmp_path: Path, count: int, unit: str, mm: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume(np.uint8)[0], resolution=(count, count), resolutionunit=unit)
    picture = ps.read(tmp_path / "a.tif")
    assert picture.spacing == pytest.approx((mm, mm))
    assert (picture.unit == "pixel") == (mm == 1)


def test_colour_tiff_is_written_back(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (9, 8, 3), dtype=np.uint8)
    picture = Picture(colour, "YXC", (0.5, 0.25), "mm")
    ps.write(tmp_path / "a.tif", colour, like=picture, labels=False)
    again = ps.read(tmp_path / "a.tif")
    assert (again.axes, again.spacing) == ("YXC", pytest.approx((0.5, 0.25)))
    assert np.array_equal(again.data, colour)


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


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_is_read_without_further_packages(tmp_path: Path, compression: str) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    pages = [Image.fromarray(smooth + 20 * i) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", compression=compression, save_all=True, append_images=pages[1:])
    picture = ps.read(tmp_path / "a.tif")
    assert (picture.axes, picture.data.dtype) == ("ZYX", np.uint8)
    assert np.abs(picture.data[2].astype(int) - (smooth + 40)).max() <= (4 if compression == "jpeg" else 0)


def test_an_unknown_compression_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((32, 48), np.uint8)).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert ps.read(tmp_path / "a.tif").shape == (32, 48), "test invalid"

    def lacks(*args: object, **options: object) -> None:
        raise ImportError("imagecodecs")

    def opens_nothing(*args: object, **options: object) -> None:
        raise OSError("no decoder")

    monkeypatch.setattr("tifffile.TiffPageSeries.asarray", lacks)
    monkeypatch.setattr("PIL.Image.open", opens_nothing)
    with pytest.raises(ValueError, match=r"cannot be opened: its compression \(LZW\) needs .* install imagecodecs"):
        ps.read(tmp_path / "a.tif")
