"""What each input becomes, by every way in: a script, the command line, our reader in napari, and napari's own."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Layer
from napari_builtins.io import napari_get_reader

import napari_probseg as ps
from napari_probseg.batch import BatchConfig, Job, complete_file
from napari_probseg.napari_io.layer_data import get_reader, read_layers
from napari_probseg.widgets.layers.image import case_of

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
RGB = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 2**16, (5, 40, 50), dtype=np.uint16)
LABELS = np.repeat(np.arange(5, dtype=np.uint8)[:, None], 6, axis=1)


def png(depth: int, colour_type: int, row_bytes: int) -> bytes:
    """Return a PNG file of 40 x 50 of a kind that Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + np.random.default_rng(i).bytes(row_bytes) for i in range(40))
    header = struct.pack(">IIBBBBB", 50, 40, depth, colour_type, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def pillow(image: np.ndarray, kind: str, *, palette: bool = False, more: int = 0) -> bytes:
    one, buffer = Pillow.fromarray(image), io.BytesIO()
    if palette:
        one = one.convert("P")
        one.putpalette([i * 40 % 256 for i in range(768)])
    further = (
        {"save_all": True, "append_images": [Pillow.fromarray(np.roll(image, i + 1)) for i in range(more)]}
        if more
        else {}
    )
    one.save(buffer, kind, **further)
    return buffer.getvalue()


def tiff(image: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def nifti(image: np.ndarray) -> bytes:
    made = nibabel.Nifti1Image(image, np.diag([1.0, 2.0, 3.0, 1.0]))
    made.header.set_xyzt_units("mm", "sec")
    return bytes(made.to_bytes())


PALETTE = (np.arange(768).reshape(3, 256) * 80).astype(np.uint16)


@dataclass(frozen=True)
class Input:
    """A file, and what becomes of it: shape and channels of the case, or what is said where it is refused."""

    name: str
    content: Callable[[], bytes]
    becomes: tuple[tuple[int, ...], int] | str
    spacing: tuple[float, ...] = (1.0, 1.0)
    is_label: bool = False
    shown: tuple[tuple[int, ...], int] | None = None  # what napari's layer becomes, where a script has to choose
    is_ours: bool = False  # whether our reader claims it, as napari's makes something else of it


# The table of docs/inputs.md, in its order.
INPUTS = [
    Input("grey.png", lambda: pillow(GREY, "PNG"), ((40, 50), 1)),
    Input("GREY.PNG", lambda: pillow(GREY, "PNG"), ((40, 50), 1)),
    Input("deep.png", lambda: pillow(DEEP[0], "PNG"), ((40, 50), 1)),
    Input("bits.png", lambda: png(1, 0, 7), ((40, 50), 1)),
    Input("two_bits.png", lambda: png(2, 0, 13), ((40, 50), 1), is_ours=True),
    Input("rgb.png", lambda: pillow(RGB, "PNG"), ((40, 50), 3)),
    Input("rgba.png", lambda: pillow(np.dstack([RGB, GREY]), "PNG"), ((40, 50), 3)),
    Input("grey_opacity.png", lambda: pillow(np.dstack([GREY, GREY]), "PNG"), ((40, 50), 1), is_ours=True),
    Input("palette.png", lambda: pillow(GREY % 5, "PNG", palette=True), ((40, 50), 3)),
    Input("deep_rgb.png", lambda: png(16, 2, 300), "of 16 bits, of which only 8 can be read", is_ours=True),
    Input("moving.png", lambda: pillow(GREY, "PNG", more=2), "holds 3 pictures", is_ours=True),
    Input("grey.gif", lambda: pillow(GREY // 40 * 40, "GIF"), ((40, 50), 1), is_ours=True),
    Input("moving.gif", lambda: pillow(GREY, "GIF", more=2), "holds 3 pictures", is_ours=True),
    Input("rgb.JPG", lambda: pillow(RGB, "JPEG"), ((40, 50), 3)),
    Input("grey.bmp", lambda: pillow(GREY, "BMP"), ((40, 50), 1)),
    Input("grey.tif", lambda: tiff(GREY), ((40, 50), 1)),
    Input("DEEP.TIFF", lambda: tiff(DEEP[0]), ((40, 50), 1)),
    Input("bool.tif", lambda: tiff(GREY > 99), ((40, 50), 1), is_ours=True),
    Input("float.tif", lambda: tiff(GREY.astype(np.float32)), ((40, 50), 1)),
    Input("rgb.tif", lambda: tiff(RGB, photometric="rgb"), ((40, 50), 3)),
    Input(
        "rgba.tif",
        lambda: tiff(np.dstack([RGB, GREY]), photometric="rgb", extrasamples=["unassalpha"]),
        ((40, 50), 3),
        is_ours=True,
    ),
    Input("palette.tif", lambda: tiff(GREY % 5, photometric="palette", colormap=PALETTE), ((40, 50), 3), is_ours=True),
    Input("stack.tif", lambda: tiff(DEEP, photometric="minisblack"), ((5, 40, 50), 1), spacing=(1.0, 1.0, 1.0)),
    Input(
        "apart.tif",
        lambda: tiff(DEEP, imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "mm", "spacing": 3}),
        ((5, 40, 50), 1),
        spacing=(3.0, 0.5, 0.5),
        is_ours=True,
    ),
    Input(
        "time.tif",
        lambda: tiff(DEEP, imagej=True, metadata={"axes": "TYX"}),
        "time series",
        is_ours=True,
        shown=((5, 40, 50), 1),
    ),
    Input(
        "channels.tif",
        lambda: tiff(DEEP[:3], photometric="minisblack", metadata={"axes": "CYX"}),
        ((40, 50), 3),
        is_ours=True,
    ),
    Input("volume.nii", lambda: nifti(DEEP.T), ((5, 40, 50), 1), spacing=(3.0, 2.0, 1.0), is_ours=True),
    Input("VOLUME.NII", lambda: nifti(DEEP.T), ((5, 40, 50), 1), spacing=(3.0, 2.0, 1.0), is_ours=True),
    Input(
        "time.nii",
        lambda: nifti(np.zeros((9, 8, 7, 4), np.int16)),
        "time series",
        is_ours=True,
        shown=((4, 7, 8, 9), 1),
    ),
]


def of_case(case: ps.Case) -> tuple[tuple[int, ...], int]:
    return case.shape, case.n_channels


def outcome(make: Callable[[], ps.Case]) -> tuple[tuple[tuple[int, ...], int] | str, ps.Case | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case = make()
    except (ValueError, TypeError) as error:
        return str(error), None
    return of_case(case), case


def by_script(path: Path) -> ps.Case:
    return ps.read(path).case()


def by_reader(path: Path) -> ps.Case:
    ((data, attributes, kind),) = read_layers(str(path))
    attributes = dict(attributes)
    axis = attributes.pop("channel_axis", None)
    if axis is None:
        return case_of(Layer.create(data, attributes, kind))
    parts = [
        Layer.create(np.take(data, i, axis), {**attributes, "name": f"{i}"}, kind) for i in range(data.shape[axis])
    ]
    return case_of(parts[0], parts[1:])


@pytest.mark.parametrize("one", INPUTS, ids=lambda one: one.name)
def test_an_input_becomes_the_same_by_every_way_in(one: Input, tmp_path: Path) -> None:
    path = tmp_path / one.name
    path.write_bytes(one.content())
    assert (get_reader(str(path)) is not None) == one.is_ours
    script, case = outcome(lambda: by_script(path))
    reader, layer = outcome(lambda: by_reader(path))
    if isinstance(one.becomes, str):
        assert one.becomes in script
        assert reader == one.shown if one.shown else one.becomes in reader
        with pytest.raises(ValueError, match=re.escape(one.becomes)):
            complete_file(Job(path, None, None, tmp_path / "out.tif"), BatchConfig("intensities"))
        return
    assert script == reader == one.becomes
    assert case.spacing == pytest.approx(one.spacing) and layer.spacing == pytest.approx(one.spacing)
    assert np.array_equal(case.read(), layer.read())
    if not one.is_ours:
        ((data, *_),) = napari_get_reader(str(path))(str(path))
        theirs = case_of(ViewerModel().add_image(np.asarray(data)))
        assert of_case(theirs) == one.becomes and np.array_equal(theirs.read(), case.read())


@pytest.mark.parametrize("name", ["grey.png", "rgba.png", "palette.tif", "apart.tif", "channels.tif", "VOLUME.NII"])
def test_the_command_line_answers_in_the_shape_of_the_input(name: str, tmp_path: Path) -> None:
    one = next(one for one in INPUTS if one.name == name)
    (tmp_path / name).write_bytes(one.content())
    shape, _ = one.becomes
    strokes = np.zeros(shape, np.uint8)
    strokes[..., 5:8, 5:8] = 1
    ps.write(tmp_path / "inside.nii.gz", strokes, like=ps.read(tmp_path / name), labels=True)
    ps.write(tmp_path / "outside.nii.gz", np.roll(strokes, 12, axis=-1), like=ps.read(tmp_path / name), labels=True)
    job = Job(tmp_path / name, tmp_path / "inside.nii.gz", tmp_path / "outside.nii.gz", tmp_path / "out.nii.gz")
    assert complete_file(job, BatchConfig("intensities")) >= strokes.sum()
    assert ps.read(tmp_path / "out.nii.gz").shape == shape


def test_labels_of_any_kind_of_number_are_labels(tmp_path: Path) -> None:
    from napari_probseg.io.labels import read_labels

    ps.write(tmp_path / "grey.tif", GREY[:5, :6], labels=False)
    image = ps.read(tmp_path / "grey.tif")
    for name, content in (
        ("u8.png", pillow(LABELS, "PNG")),
        ("palette.png", pillow(LABELS, "PNG", palette=True)),
        ("palette.tif", tiff(LABELS, photometric="palette", colormap=PALETTE)),
        ("u16.tif", tiff(LABELS.astype(np.uint16))),
        ("float.tif", tiff(LABELS.astype(np.float32))),
        ("float.nii", nifti(LABELS.T[..., None].astype(np.float64))),
        ("FLOAT.TIF", tiff(LABELS.astype(np.float64))),
    ):
        (tmp_path / name).write_bytes(content)
        found = read_labels(tmp_path / name, image, of="grey.tif")
        assert found.dtype.kind in "iu" and np.array_equal(found, LABELS), name
    (tmp_path / "half.tif").write_bytes(tiff(LABELS / 2))
    with pytest.raises(ValueError, match="half"):
        read_labels(tmp_path / "half.tif", image, of="grey.tif")


def test_the_documented_table_is_the_one_that_is_tested() -> None:
    text = (Path(__file__).parents[1] / "docs" / "inputs.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)
    assert told == [one.name for one in INPUTS]
