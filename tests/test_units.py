"""Units and spacing of files: by any name, by axis, by resolution; what is not told is assumed aloud."""

import struct
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

import napari_probseg as ps
from napari_probseg.io.units import MM_PER, mm_of, unit_named

STACK = np.arange(6 * 20 * 30, dtype=np.uint16).reshape(6, 20, 30)


def read_quietly(path: Path) -> ps.io.Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ps.read(path)


@pytest.mark.parametrize(
    ("names", "mm"),
    [
        (("um", "µm", "μm", "micron", "Microns", "micrometer", "micrometres", "\\u00B5m"), 1e-3),
        (("nm", "nanometers", "Nanometer"), 1e-6),
        (("Å", "\N{ANGSTROM SIGN}", "angstrom", "Angstroms"), 1e-7),
        (("pm", "picometer"), 1e-9),
        (("mm", "millimetre", "Millimeters"), 1),
        (("in", "inch", "inches", '"'), 25.4),
        (("m", "meter"), 1e3),
        (("thou", "mil"), 0.0254),
    ],
)
def test_a_unit_has_many_names(names: tuple[str, ...], mm: float) -> None:
    for name in names:
        assert mm_of(unit_named(name)) == pytest.approx(mm), name
    assert unit_named("pixel") == unit_named("") == "pixel"
    assert unit_named("Mm") is None, "a megametre is no millimetre"
    assert unit_named("furlong") is None


@pytest.mark.parametrize(("unit", "mm"), [("Å", 1e-7), ("in", 25.4), ("pm", 1e-9), ("yd", 914.4), ("pixel", 1.0)])
def test_ome_lengths_in_any_unit(tmp_path: Path, unit: str, mm: float) -> None:
    sizes = {"PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0, "PhysicalSizeZ": 8.0}
    told = {"axes": "ZYX", **sizes, **{f"{name}Unit": unit for name in sizes}}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=told)
    picture = read_quietly(tmp_path / "a.ome.tif")
    assert picture.spacing == pytest.approx((8 * mm, 4 * mm, 4 * mm))
    ps.write(tmp_path / "labels.tif", STACK, like=picture)
    assert read_quietly(tmp_path / "labels.tif").spacing == pytest.approx(picture.spacing)
    ps.write(tmp_path / "labels.nii.gz", STACK, like=picture)
    assert read_quietly(tmp_path / "labels.nii.gz").spacing == pytest.approx(picture.spacing)


@pytest.mark.parametrize(("number", "mm"), [(2, 25.4), (3, 10.0), (4, 1.0), (5, 1e-3)])
def test_units_of_the_resolution(tmp_path: Path, number: int, mm: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], resolution=(4, 2), resolutionunit=number)
    assert read_quietly(tmp_path / "a.tif").spacing == pytest.approx((mm / 2, mm / 4))


def test_units_by_axis(tmp_path: Path) -> None:
    told = {f"PhysicalSize{axis}": 500.0 for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", "PhysicalSizeZUnit": "µm", **told})
    assert read_quietly(tmp_path / "a.ome.tif").spacing == pytest.approx((0.5, 5e-4, 5e-4))
    about = {"axes": "ZYX", "unit": "um", "yunit": "mm", "zunit": "nm", "spacing": 500.0}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(10, 10), metadata=about)
    assert read_quietly(tmp_path / "a.tif").spacing == pytest.approx((5e-4, 0.1, 1e-4))


@pytest.mark.parametrize(
    ("about", "spacing"),
    [
        ({"unit": "um"}, (1e-3, 1e-4, 1e-4)),  # where slices are 1 apart, ImageJ says nothing of it
        ({"unit": "um", "spacing": -2.0}, (2e-3, 1e-4, 1e-4)),  # counted from the other end
        ({"unit": "inch", "spacing": 2}, (50.8, 2.54, 2.54)),
        ({"unit": "micrometer", "spacing": 0.5}, (5e-4, 1e-4, 1e-4)),
        ({"spacing": 0.5}, (0.5, 0.1, 0.1)),  # in no unit: how the axes compare
        ({"unit": "pixel", "spacing": 0.5}, (0.5, 0.1, 0.1)),
    ],
)
def test_imagej_steps(tmp_path: Path, about: dict[str, object], spacing: tuple[float, ...]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(10, 10), metadata={"axes": "ZYX", **about})
    assert read_quietly(tmp_path / "a.tif").spacing == pytest.approx(spacing)


def test_what_a_file_does_not_tell_is_assumed_aloud(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "ZYX", **sizes})
    with pytest.warns(UserWarning, match=r"a\.ome\.tif does not say how far apart its slices .*0\.1 µm as along X"):
        assert ps.read(tmp_path / "a.ome.tif").spacing == pytest.approx((1e-4, 2e-4, 1e-4))
    tifffile.imwrite(tmp_path / "b.tif", STACK, resolution=(100, 100), resolutionunit="CENTIMETER")
    with pytest.warns(UserWarning, match="is assumed"):
        assert ps.read(tmp_path / "b.tif").spacing == pytest.approx((0.1, 0.1, 0.1))
    about = {"axes": "ZYX", "unit": "furlong", "spacing": 3.0}
    tifffile.imwrite(tmp_path / "c.tif", STACK, imagej=True, resolution=(1, 1), metadata=about)
    with pytest.warns(UserWarning, match=r"'furlong', which is no unit"):
        picture = ps.read(tmp_path / "c.tif")
    assert (picture.unit, picture.spacing) == ("pixel", (3.0, 1.0, 1.0))


@pytest.mark.parametrize(("pixdim", "says"), [((1, 1, 1), "affine counts"), ((2, 3, 0), ""), ((2, 3, np.nan), "")])
def test_spacing_is_that_of_the_affine(tmp_path: Path, pixdim: tuple[float, ...], says: str) -> None:
    image = nibabel.Nifti1Image(np.zeros((9, 10, 11), np.int16), np.diag([2.0, 3, 4, 1]))
    image.set_sform(np.diag([2.0, 3, 4, 1]), 1)
    image.header["qform_code"] = 0
    content = bytearray(image.to_bytes())
    content[80:92] = struct.pack("<3f", *pixdim)
    (tmp_path / "a.nii").write_bytes(content)
    if says:
        with pytest.warns(UserWarning, match=says):
            picture = ps.read(tmp_path / "a.nii")
    else:
        picture = read_quietly(tmp_path / "a.nii")
    assert picture.spacing == pytest.approx((4, 3, 2))
    ps.write(tmp_path / "b.nii.gz", np.zeros(picture.shape, np.uint8), like=picture)
    written = nibabel.load(tmp_path / "b.nii.gz")
    assert np.array_equal(written.affine, np.diag([2.0, 3, 4, 1]))
    assert np.isfinite(written.header.get_zooms()).all()


def with_pixdim(path: Path, pixdim: tuple[float, ...], *, qform: int = 0) -> ps.io.Picture:
    image = nibabel.Nifti1Image(np.zeros((9, 10, 11), np.int16), np.diag([2.0, 3, 4, 1]))
    content = bytearray(image.to_bytes())
    content[80:92] = struct.pack("<3f", *pixdim)
    content[252:256] = struct.pack("<2h", qform, 0)
    path.write_bytes(content)
    return ps.read(path)


@pytest.mark.parametrize("qform", [0, 1])
@pytest.mark.parametrize(("pixdim", "unknown"), [((0, 0, 0), "x, y, z"), ((2, 3, 0), "z"), ((2, np.inf, 4), "y")])
def test_a_distance_that_is_not_told_is_assumed_aloud(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], pixdim: tuple[float, ...], unknown: str, qform: int
) -> None:
    with pytest.warns(UserWarning, match="how far apart") as told:
        picture = with_pixdim(tmp_path / "a.nii", pixdim, qform=qform)
    assert [str(one.message) for one in told] == [
        f"a.nii does not say how far apart its voxels are along {unknown}: 1 is assumed"
    ]
    assert picture.spacing == tuple(mm if 0 < mm < np.inf else 1.0 for mm in reversed(pixdim))
    assert capfd.readouterr().err == "", "what nibabel says of it is not said beside it"
    with_pixdim(tmp_path / "b.nii", (-2, 3, 4))  # warnings are errors


def test_an_image_of_two_axes_has_no_distance_along_a_third(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 10), np.int16), np.diag([2.0, 3, 4, 1])), tmp_path / "a.nii.gz")
    assert read_quietly(tmp_path / "a.nii.gz").spacing == (3.0, 2.0)


@pytest.mark.parametrize("wrong", ["nan", "abc", "-inf", ""])
def test_a_distance_that_is_no_number_is_none_that_is_told(tmp_path: Path, wrong: str) -> None:
    about = {"axes": "ZYX", "unit": "um", "spacing": wrong}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(2, 2), metadata=about)
    xml = tifffile.OmeXml()
    xml.addimage("uint16", STACK.shape, (6, 1, 1, 20, 30, 1), axes="ZYX", PhysicalSizeX=0.5, PhysicalSizeY=0.5)
    text = xml.tostring().replace('PhysicalSizeX="0.5"', f'PhysicalSizeX="0.5" PhysicalSizeZ="{wrong}"')
    tifffile.imwrite(tmp_path / "b.ome.tif", STACK, description=text, metadata=None)
    for name in ("a.tif", "b.ome.tif"):
        with pytest.warns(UserWarning, match=r"how far apart its slices are along Z: 0\.5 µm as along X is assumed"):
            assert ps.read(tmp_path / name).spacing == pytest.approx((0.0005,) * 3)


def test_units_of_pictures_are_those_that_are_known() -> None:
    assert all(unit_named(unit) == unit for unit in MM_PER)
