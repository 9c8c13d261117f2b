"""What each kind of file becomes: read as it is meant, or refused in a sentence that is true of it."""

import gzip
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

import napari_probseg as ps
from napari_probseg.io.mapped import OnDisk

STACK = np.arange(6 * 20 * 30, dtype=np.uint16).reshape(6, 20, 30)


def read_quietly(path: Path, **options: str) -> ps.io.Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ps.read(path, **options)


def lzw(plane: np.ndarray) -> bytes:
    """Encode bytes by TIFF's LZW; a clear code before every byte keeps all codes nine bits wide."""
    bits = "".join(f"{256:09b}{byte:09b}" for byte in plane.tobytes()) + f"{257:09b}"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def planar_lzw(path: Path, planes: np.ndarray) -> None:
    n, height, width = planes.shape
    packed = [lzw(plane) for plane in planes]
    at = np.cumsum([8, *map(len, packed)]).tolist()
    body = at[-1] + at[-1] % 2
    extra = body + 2 + 10 * 12 + 4
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, n, extra), (259, 3, 1, 5), (262, 3, 1, 2)]
    tags += [(273, 4, n, extra + 6), (277, 3, 1, n), (278, 3, 1, height), (279, 4, n, extra + 18), (284, 3, 1, 2)]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    tail = struct.pack("<H", len(tags)) + table + bytes(4) + struct.pack("<3H", 8, 8, 8)
    tail += struct.pack("<3I", *at[:-1]) + struct.pack("<3I", *map(len, packed))
    head = b"II*\0" + struct.pack("<I", body) + b"".join(packed)
    path.write_bytes(head + bytes(body - len(head)) + tail)


def test_colour_planes_stay_apart(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 255, (3, 20, 30), dtype=np.uint8)
    planar_lzw(tmp_path / "a.tif", planes)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.tif")), np.moveaxis(planes, 0, -1)), "test invalid"
    picture = read_quietly(tmp_path / "a.tif")
    assert np.array_equal(np.moveaxis(picture.data, picture.channel_axis, 0), planes)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_as_stored_however_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    planes = np.random.default_rng(0).integers(0, 255, (2, 20, 30), dtype=np.uint8)
    first, second = (Image.fromarray(plane) for plane in planes)
    options = {"compression": "tiff_lzw", "tiffinfo": {274: orientation}}
    first.save(tmp_path / "a.tif", **options)
    assert np.array_equal(np.asarray(ps.read(tmp_path / "a.tif").data), planes[0])
    first.save(tmp_path / "b.tif", save_all=True, append_images=[second], **options)
    assert np.array_equal(np.asarray(ps.read(tmp_path / "b.tif").data), planes)


@pytest.mark.parametrize("compression", [None, "group4", "tiff_lzw", "packbits"])
def test_one_bit_is_0_or_1(tmp_path: Path, compression: str | None) -> None:
    drawn = STACK[0] % 3 == 0
    Image.fromarray(drawn).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(np.asarray(ps.read(tmp_path / "a.tif").data), drawn.astype(np.uint8))


def test_a_palette_gives_numbers_as_labels_and_colours_as_an_image(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 3, (40, 50), dtype=np.uint8)
    image = Image.fromarray(numbers).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.putdata(numbers.ravel().tolist())
    for name in ("a.png", "a.bmp", "a.tif"):
        image.save(tmp_path / name)
        picture = read_quietly(tmp_path / name)
        assert picture.axes == "YX"
        assert np.array_equal(picture.data, numbers), name
        assert picture.case().n_channels == 3
        assert np.array_equal(np.moveaxis(picture.case().read(), 0, -1), np.asarray(image.convert("RGB"))), name
    image.save(tmp_path / "a.gif")
    assert ps.read(tmp_path / "a.gif").axes == "YXC", "a GIF has no other way to be a picture"


def test_a_colour_table_of_imagej_shows_intensities(tmp_path: Path) -> None:
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tifffile.imwrite(tmp_path / "a.tif", grey, imagej=True, photometric="palette", colormap=table)
    assert np.array_equal(read_quietly(tmp_path / "a.tif").case().read()[0], grey)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_grey_are_not_stretched(tmp_path: Path, bits: int) -> None:
    numbers = np.arange(2**bits, dtype=np.uint8)[None].repeat(8, 0).repeat(8, 1)
    packed = np.packbits(np.unpackbits(numbers[..., None], axis=-1)[..., -bits:].reshape(8, -1), axis=-1)

    header = struct.pack(">IIBBBBB", numbers.shape[1], 8, bits, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    assert np.array_equal(read_quietly(tmp_path / "a.png").data, numbers)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_pictures_of_every_mode(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 8, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    assert read_quietly(path).axes == ("YX" if mode in ("L", "LA") else "YXC")
    assert read_quietly(path).case().n_channels == (1 if mode in ("L", "LA") else 3)


def test_opacity_of_tiff_is_left_out(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 255, (9, 8, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read_quietly(tmp_path / "a.tif").data, samples[..., :3])
    tifffile.imwrite(tmp_path / "b.tif", samples, photometric="rgb", extrasamples=["unspecified"])
    assert np.array_equal(read_quietly(tmp_path / "b.tif").data, samples), "near infrared is no opacity"
    tifffile.imwrite(tmp_path / "c.tif", samples[..., :2], photometric="minisblack", planarconfig="contig",
                     extrasamples=["unassalpha"])  # fmt: skip
    assert np.array_equal(np.squeeze(read_quietly(tmp_path / "c.tif").data), samples[..., 0])


@pytest.mark.parametrize("axes", ["YXZ", "XYZ", "YZX", "XY", "CXY", "ZXYC"])
def test_axes_of_space_are_put_in_order(tmp_path: Path, axes: str) -> None:
    data = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 8)[: len(axes)], dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": axes}, photometric="minisblack")
    picture = read_quietly(tmp_path / "a.tif")
    assert picture.spatial_axes == "".join(axis for axis in "ZYX" if axis in axes)
    assert np.array_equal(picture.data, np.einsum(f"{axes}->{picture.axes}", data))
    ps.write(tmp_path / "labels.tif", np.zeros(picture.shape, np.uint16), like=picture)
    tifffile.imwrite(tmp_path / "b.tif", data)
    renamed = ps.read(tmp_path / "b.tif", axes=axes)
    assert np.array_equal(renamed.data, picture.data)
    assert len(renamed.spacing) == len(renamed.shape)


def test_a_time_axis_that_is_another_axis(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, imagej=True, resolution=(10, 10), metadata={"axes": "TYX", "unit": "um"}
    )
    assert ps.read(tmp_path / "a.tif", axes="ZYX").case().spacing == pytest.approx((1e-3, 1e-4, 1e-4))
    assert ps.read(tmp_path / "a.tif", axes="CYX").case().n_channels == 6


@pytest.mark.parametrize("axes", ["TYX", "TZYX", "TCYX", "TZCYX", "CTYX"])
def test_advice_on_a_time_series_helps(tmp_path: Path, axes: str) -> None:
    shape = tuple({"T": 4, "C": 3, "Z": 5, "Y": 20, "X": 30}[axis] for axis in axes)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros(shape, np.uint8), metadata={"axes": axes}, photometric="minisblack"
    )
    picture = ps.read(tmp_path / "a.ome.tif")
    with pytest.raises(
        ValueError, match="more than one image: put each point in time into a file of its own"
    ) as caught:
        picture.case()
    told = {"picture": picture, "read": ps.read, "path": tmp_path / "a.ome.tif"}
    advice = [eval(code, told) for code in re.findall(r"picture\.cases\(\)|read\(.*?\)", str(caught.value))]
    assert [case.shape for case in advice[0]] == [picture.shape] * 4
    assert [channels.case().n_channels for channels in advice[1:]] == ([] if "C" in axes else [4])


def several_sizes(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(STACK[0, ::4, ::4], contiguous=False)
        writer.write(STACK[0], contiguous=False)


def a_set_without_its_second_file(path: Path) -> None:
    channels = "".join(f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1"/>' for i in range(2))
    files = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate((path.name, "gone.ome.tif"))
    )
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0"><Image ID="Image:0"><Pixels '
        f'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="1" SizeC="2" SizeT="1">'
        f"{channels}{files}</Pixels></Image></OME>"
    )
    tifffile.imwrite(path, STACK[0], description=xml, metadata=None)


def several_frames(path: Path) -> None:
    first, *others = [Image.fromarray((STACK[i] % 251).astype(np.uint8)) for i in range(3)]
    first.save(path, save_all=True, append_images=others)


def many_bits_of_colour(path: Path) -> None:
    rows = zlib.compress(b"".join(b"\0" + bytes(30 * 6) for _ in range(20)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def packed_14_bits(path: Path) -> None:
    rows = bytes(20 * 53)
    tags = [(256, 3, 30), (257, 3, 20), (258, 3, 14), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 20)]
    tags.append((279, 4, len(rows)))
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + struct.pack("<H", 9) + table + bytes(4))


def volume_of_bytes(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(STACK.T.copy(), np.eye(4)), path.with_name("whole.nii"))
    path.write_bytes(path.with_name("whole.nii").read_bytes())


def compressed_volume(path: Path) -> None:
    volume_of_bytes(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("sizes.tif", several_sizes, r"holds 2 images, \(5, 8\), \(20, 30\): save the one"),
        ("set.ome.tif", a_set_without_its_second_file, "parts of its image are missing"),
        ("frames.gif", several_frames, "holds 3 pictures"),
        ("deep.png", many_bits_of_colour, "colours or opacity of 16 bits.*save it as .tif"),
        ("fourteen.tif", packed_14_bits, "numbers of 14 bits.*pip install imagecodecs"),
        ("plain.nii.gz", volume_of_bytes, r"holds an uncompressed NIfTI file.*rename it to plain\.nii$"),
        ("packed.nii", compressed_volume, r"holds a compressed file .*rename it to packed\.nii\.gz$"),
        ("picture.tif", lambda path: Image.fromarray(STACK[0]).save(path, "PNG"), r"rename it to picture\.png$"),
        (
            "twice.nii.gz",
            lambda path: [compressed_volume(path), path.write_bytes(gzip.compress(path.read_bytes()))],
            r"what is compressed in it is a compressed file \(gzip\), no NIfTI file: unpack it",
        ),
        (
            "stack.nii.gz",
            lambda path: path.write_bytes(gzip.compress(b"II*\0" + bytes(99))),
            "in it is a TIFF file, no",
        ),
        (
            "folder.nii.gz",
            lambda path: path.write_bytes(gzip.compress(bytes(257) + b"ustar" + bytes(99))),
            "a tar archive",
        ),
        ("page.nii.gz", lambda path: path.write_text("<!DOCTYPE html><html>"), "holds a web page"),
        ("message.tif", lambda path: path.write_text('<?xml version="1.0"?><Error>'), "holds a message.*: get it anew"),
        ("packed.tif", lambda path: path.write_bytes(b"BZh91AY" + bytes(99)), r"compressed file \(bzip2\): unpack it"),
        ("slide.tif", lambda path: path.write_bytes(b"ZISRAWFILE" + bytes(99)), "a CZI file of Zeiss: convert it"),
        ("inks.tif", lambda path: Image.new("CMYK", (8, 5)).save(path), "of the kind SEPARATED: convert them to RGB"),
        ("lab.tif", lambda path: Image.new("LAB", (8, 5)).save(path), "of the kind CIELAB: convert them to RGB"),
        (
            "scan.nii",
            lambda path: path.write_bytes(bytes(128) + b"DICM" + bytes(900)),
            "holds a DICOM file: convert it",
        ),
        ("empty.png", lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_what_is_not_read_is_told_by_its_cause(
    tmp_path: Path, name: str, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(ValueError, match=says) as caught:
        ps.read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "damaged" not in str(caught.value) or name == "empty.png"


@pytest.mark.parametrize("name", ["huge.nii", "huge.nii.gz", "huge.tif"])
def test_a_small_file_that_says_it_is_huge(tmp_path: Path, name: str) -> None:
    if name == "huge.tif":
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint8), compression="zlib", metadata=None)
        with tifffile.TiffFile(tmp_path / name, mode="r+b") as file:
            for tag in ("ImageLength", "ImageWidth", "RowsPerStrip"):
                file.pages[0].tags[tag].overwrite(2**15 - 1)
    else:
        header = nibabel.Nifti1Header()
        header.set_data_shape((32767, 32767, 32767))
        content = header.binaryblock + bytes(1000)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(ValueError, match=r"says that it holds .* voxels, which .* bytes cannot"):
        ps.read(tmp_path / name)


def test_what_does_not_fit_into_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ps.write(tmp_path / "a.nii.gz", STACK)
    monkeypatch.setattr("napari_probseg.io.limits._bytes_of_memory", lambda: 100.0)
    with pytest.raises(ValueError, match=r"cannot be opened: unpacked, .* GB of memory: unpack it to \.nii"):
        ps.read(tmp_path / "a.nii.gz")
    ps.write(tmp_path / "a.nii", STACK)
    assert ps.read(tmp_path / "a.nii").shape == STACK.shape, "following the advice must help"


def test_a_mapped_file_that_shrinks_is_told_of(tmp_path: Path) -> None:
    for name in ("a.nii", "a.tif"):
        large = np.zeros((64, 64, 64), np.uint16)
        ps.write(tmp_path / name, large) if name == "a.nii" else tifffile.imwrite(tmp_path / name, large)
        case = ps.read(tmp_path / name).case()
        assert case.read((slice(60, 64),) * 3).shape == (1, 4, 4, 4), "test invalid"
        os.truncate(tmp_path / name, 1000)
        with pytest.raises(OSError, match=rf"{name} became shorter since it was opened"):
            case.read((slice(60, 64),) * 3)
        with pytest.raises(OSError, match="became shorter"):
            case.plane(0, 63).read()


def test_a_file_on_disk_is_sliced_as_an_array(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.nii", STACK)
    for slope in (1.0, 0.5):
        on_disk, array = OnDisk(ps.read(tmp_path / "a.nii").data, slope, 0.0), STACK * slope
        assert (on_disk.shape, len(on_disk), on_disk.ndim) == (STACK.shape, 6, 3)
        for where in (2, (slice(1, 3), 4), (slice(None), slice(2, 9, 3), -1), ..., (1, 2, 3), np.array([0, 5])):
            assert np.array_equal(np.asarray(on_disk[where]), array[where]), where
        copy = np.asarray(on_disk)
        copy[:] = 0
        assert np.array_equal(np.asarray(on_disk), array)


def test_a_nifti_file_of_seven_axes_of_which_four_say_nothing_is_its_volume(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(values.reshape(3, 4, 5, 1, 1, 1, 1), np.eye(4)), tmp_path / "seven.nii")
    assert np.array_equal(read_quietly(tmp_path / "seven.nii").data, values.T)
    nibabel.save(nibabel.Nifti1Image(values.reshape(3, 4, 1, 1, 1, 5), np.eye(4)), tmp_path / "six.nii")
    with pytest.raises(ValueError, match="it has 6 axes"):
        ps.read(tmp_path / "six.nii")


def test_a_nifti_file_with_a_code_of_a_unit_that_there_is_not_is_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([2.0, 2, 2, 1])), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[123] = 63
    (tmp_path / "a.nii").write_bytes(content)
    picture = ps.read(tmp_path / "a.nii")
    assert picture.shape == (5, 4, 3) and picture.spacing == (2, 2, 2)


def test_a_gif_of_greys_holds_them_whatever_its_palette_numbers_them(tmp_path: Path) -> None:
    labels = np.repeat(np.array([0, 255, 7, 30], np.uint8), 12).reshape(6, 8)
    Image.fromarray(labels).save(tmp_path / "a.gif")
    assert np.array_equal(ps.read(tmp_path / "a.gif").data, labels)
    colours = np.dstack([labels, labels[::-1], labels])
    Image.fromarray(colours).save(tmp_path / "b.gif")
    assert ps.read(tmp_path / "b.gif").axes == "YXC"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_of_which_a_nifti_file_does_not_say_where_they_begin_are_behind_its_header(
    tmp_path: Path, name: str
) -> None:
    volume_of_bytes(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[108:112] = struct.pack("<f", 0)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert np.array_equal(ps.read(tmp_path / name).data, STACK)
