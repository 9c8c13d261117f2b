"""A case is a value: what it takes, what it refuses, and what marking does."""

import pickle
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest

from napari_probseg import Case, Marker
from napari_probseg.intensities import sameness


def ones_at(shape: tuple[int, ...], *places: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize(
    ("shape", "options", "spatial", "n_channels"),
    [
        ((6, 7), {}, (6, 7), 1),
        ((5, 6, 7), {}, (5, 6, 7), 1),
        ((6, 7, 3), {"channel_axis": -1}, (6, 7), 3),
        ((2, 6, 7), {"channel_axis": 0}, (6, 7), 2),
        ((5, 2, 6, 7), {"channel_axis": 1}, (5, 6, 7), 2),
        ((1, 6, 7), {}, (1, 6, 7), 1),
    ],
)
def test_shapes(shape: tuple[int, ...], options: dict[str, int], spatial: tuple[int, ...], n_channels: int) -> None:
    image = np.random.default_rng(0).random(shape)
    case = Case(image, **options)
    assert case.shape == spatial
    assert case.n_channels == n_channels
    assert case.partial.shape == spatial
    assert case.partial.dtype == np.uint8
    assert case.read().shape == (n_channels, *spatial)


@pytest.mark.parametrize("channel_axis", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_is_the_plane(axis: int, channel_axis: int | None) -> None:
    volume = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    image = volume if channel_axis is None else np.stack([volume, -volume], channel_axis)
    case = Case(image, spacing=(3, 2, 1), channel_axis=channel_axis).mark(ones_at((4, 5, 6), (2, 2, 2)))
    plane = case.plane(axis, 2)
    assert plane.spacing == tuple(mm for a, mm in enumerate((3, 2, 1)) if a != axis)
    assert np.array_equal(plane.read()[0], volume.take(2, axis))
    assert plane.n_channels == case.n_channels
    assert plane.partial.sum() == plane.strokes.sum() == 1


def test_marking_makes_a_new_case_and_overrides() -> None:
    case = Case(np.random.default_rng(0).random((6, 7)))
    inside = ones_at(case.shape, (1, 1), (1, 2))
    first = case.mark(inside, ones_at(case.shape, (4, 4)))
    assert not case.partial.any()
    assert first.partial[1, 1] == Marker.OBJECT
    assert first.partial[4, 4] == Marker.BACKGROUND
    second = first.mark(outside=ones_at(case.shape, (1, 2)), erase=ones_at(case.shape, (4, 4)))
    assert second.partial[1, 2] == second.strokes[1, 2] == Marker.BACKGROUND
    assert second.partial[4, 4] == second.strokes[4, 4] == Marker.UNKNOWN
    assert first.partial[1, 2] == Marker.OBJECT


def test_marking_a_region() -> None:
    case = Case(np.random.default_rng(0).random((5, 6, 7)))
    where = (slice(2, 3), slice(1, 3), slice(0, 7))
    marked = case.mark(np.ones((1, 2, 7), dtype=bool), where=where)
    assert marked.partial.sum() == 14
    assert (marked.partial[where] == Marker.OBJECT).all()


def test_deciding_leaves_what_is_decided() -> None:
    case = Case(np.random.default_rng(0).random((4, 4))).mark(ones_at((4, 4), (0, 0)))
    decided = case.decide((slice(0, 2), slice(0, 2)), np.full((2, 2), Marker.BACKGROUND, dtype=np.uint8))
    assert decided.partial[0, 0] == Marker.OBJECT
    assert decided.partial[1, 1] == Marker.BACKGROUND
    assert decided.strokes[1, 1] == Marker.UNKNOWN


def test_large_volumes_are_read_by_region(tmp_path: object) -> None:
    read = []

    def block(block_info: object = None) -> np.ndarray:
        read.append(1)
        return np.ones((1, 64, 64), dtype=np.float32)

    image = dask.array.map_blocks(
        block, chunks=((1,) * 500, (64,), (64,)), dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
    )
    case = Case(image).mark(ones_at((1, 64, 64), (0, 3, 3)), where=(slice(7, 8), slice(None), slice(None)))
    case.plane(0, 7).read()
    assert len(read) == 1


@pytest.mark.parametrize(
    ("shape", "spacing", "channel_axis"),
    [
        ((3, 20, 30), (1, 1), 0),
        ((20, 30, 3), (1, 1), 2),
        ((2, 8, 20, 30), (5, 1, 1), 0),
        ((3, 4, 20, 30), (5, 1, 1), 0),
        ((3, 20, 30), (5, 1, 1), None),
        ((3, 20, 30), None, None),
    ],
)
def test_the_axis_without_a_spacing_counts_channels(
    shape: tuple[int, ...], spacing: tuple[float, ...] | None, channel_axis: int | None
) -> None:
    case = Case(np.random.default_rng(0).random(shape), spacing)
    assert case.channel_axis == channel_axis
    assert case.shape == tuple(n for axis, n in enumerate(shape) if axis != channel_axis)


@pytest.mark.parametrize(
    ("image", "options", "says"),
    [
        (np.zeros((2, 3, 4, 5)), {}, r"got shape \(2, 3, 4, 5\)"),
        (np.zeros(5), {}, r"got shape \(5,\)"),
        (np.zeros((1, 1)), {}, "nothing to segment"),
        (np.zeros((1, 1, 9)), {}, "nothing to segment"),
        (np.zeros((0, 5, 5)), {}, r"image of \(0, 5, 5\): it has no voxel"),
        (np.zeros((0, 5, 5)), {"channel_axis": 0}, "it has no voxel"),
        (np.zeros((4, 4), dtype=complex), {}, "complex128.*numpy.abs"),
        (np.array([["a", "b"]]), {}, "real numbers"),
        ([np.zeros((8, 8)), np.zeros((4, 4))], {}, "multiscale"),
        ("image.tif", {}, "must be an array, got str"),
        (np.zeros((4, 4)), {"spacing": (1,)}, "one distance for each of 2 axes"),
        (np.zeros((4, 4)), {"spacing": 2.0}, r"one distance for each of 2 axes, got 2\.0"),
        (np.zeros((4, 4)), {"spacing": "ab"}, "one distance for each of 2 axes, got 'ab'"),
        (np.zeros((4, 4, 3)), {"channel_axis": 1.5}, "not an axis"),
        (np.zeros((9, 20, 30)), {"spacing": (1, 1)}, r"each of the 3 axes .* channel_axis=0 or channel_axis=-1"),
        (np.zeros((3, 20, 4)), {"spacing": (1, 1)}, r"each of the 3 axes .* channel_axis=0 or channel_axis=-1"),
        (np.zeros((4, 4)), {"spacing": (1, 0)}, "positive distances"),
        (np.zeros((4, 4)), {"spacing": (1, -2)}, "positive distances"),
        (np.zeros((4, 4)), {"spacing": (1, np.nan)}, "positive distances"),
        (np.zeros((4, 4, 3)), {"channel_axis": 5}, "not an axis"),
        (np.zeros((4, 4, 3)), {"channel_axis": "C"}, "channel_axis=C is not an axis"),
        (np.zeros((4, 4, 3)), {"in_time": "no"}, "in_time must be True or False, got 'no'"),
        (
            SimpleNamespace(shape=(4, 4), dtype="bfloat"),
            {},
            r"NumPy array, got a types.SimpleNamespace of bfloat.*asarray",
        ),
        (np.zeros((4, 4)), {"partial": np.zeros((4, 5), np.uint8)}, r"\(4, 4\), got \(4, 5\)"),
        (np.zeros((4, 4)), {"strokes": np.zeros((4, 4))}, "must be uint8"),
        (np.zeros((4, 4)), {"partial": np.full((4, 4), 3, np.uint8)}, "values 0 unknown, 1 object, 2 background"),
    ],
)
def test_bad_input_gets_one_sentence(image: object, options: dict[str, object], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says) as caught:
        Case(image, **options)
    assert "\n" not in str(caught.value)


def test_bad_strokes() -> None:
    case = Case(np.random.default_rng(0).random((6, 7)))
    with pytest.raises(ValueError, match=r"inside must have the shape \(6, 7\) of the image, got \(7, 6\)"):
        case.mark(np.zeros((7, 6), dtype=bool))
    for wrong in (0.01, np.nan):
        with pytest.raises(
            ValueError, match="outside must be a mask of True and False, got float64 with other numbers"
        ):
            case.mark(outside=np.full((6, 7), wrong))
    assert case.mark(np.eye(6, 7)).strokes.sum() == 6  # numbers, but those of a mask
    both = ones_at(case.shape, (1, 1), (2, 2))
    with pytest.raises(ValueError, match="2 voxels are both inside and outside"):
        case.mark(both, both)


@pytest.mark.parametrize(("bad", "becomes"), [(np.nan, "min"), (-np.inf, "min"), (np.inf, "max")])
def test_values_that_are_not_finite_lie_outside_of_the_image(bad: float, becomes: str) -> None:
    image = np.random.default_rng(0).normal(5, 1, (2, 6, 7))
    image[0, 2:4, 3] = bad
    good = getattr(np, becomes)(image[0][np.isfinite(image[0])])
    read = Case(image, channel_axis=0).read()
    assert np.array_equal(read, np.where(np.isfinite(image), image, good).astype(np.float32))
    assert not np.isfinite(image).all(), "the image itself is not changed"
    part = Case(image, channel_axis=0).read((slice(2, 4), slice(3, 4)))
    assert np.isfinite(part).all() and not part[0].any(), "a region of nothing but NaN is dark"


def test_bool_is_an_image() -> None:
    image = np.zeros((6, 7), dtype=bool)
    image[2:4, 3:5] = True
    assert np.array_equal(Case(image).read()[0], image.astype(np.float32))


def test_no_such_plane() -> None:
    with pytest.raises(ValueError, match="only a volume has planes"):
        Case(np.zeros((4, 4))).plane(0, 0)
    with pytest.raises(ValueError, match="index 4 of axis 0"):
        Case(np.zeros((4, 4, 4))).plane(0, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_an_offset_costs_no_contrast(dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(dtype)
    read = Case(image + dtype(10**9)).read()[0]
    assert np.array_equal(read - read.min(), image), "less the least where single precision would blur it"
    assert np.array_equal(Case(image).read()[0], image), "as it is where it would not"


@pytest.mark.parametrize("scale", [1e-42, 1e-9, 1e300])
def test_what_single_precision_cannot_hold_is_scaled(scale: float) -> None:
    image = np.random.default_rng(0).integers(0, 3, (20, 30)) * scale
    read = Case(image).read()[0]
    assert np.allclose(read / read.max(), image / image.max(), rtol=1e-5)


def test_markers_are_numbers_of_the_kind_that_their_arrays_hold() -> None:
    strokes = np.array([0, 1, 2], dtype=np.uint8)
    assert np.result_type(strokes, Marker.OBJECT) == np.uint8, "else each comparison makes a copy eight times as large"
    assert np.where(strokes > 0, Marker.OBJECT, Marker.BACKGROUND).dtype == np.uint8
    assert (strokes == Marker.BACKGROUND).tolist() == [False, False, True]
    assert Marker(strokes[1]) is Marker.OBJECT
    assert pickle.loads(pickle.dumps(Marker.OBJECT)) is Marker.OBJECT
    assert {Marker.OBJECT: "red"}[1] == "red" and Marker.OBJECT == 1 and sorted(Marker)[-1] == 2


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ([[7, 7]], "the image is constant (7 everywhere)"),
        ([[7, np.nan]], "the image is constant (7 everywhere, but for NaN)"),
        ([[7, np.inf], [9, -np.inf]], "the image is constant (7 and 9 everywhere, but for infinity)"),
        ([[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]], "the image is constant (1, 2, 3 and others everywhere)"),
        ([[np.nan, np.inf]], "the image holds no finite number (NaN and infinity everywhere)"),
        (np.ma.masked_array([[7, 7, 8]], [[0, 0, 1]]), "the image is constant (7 everywhere, but for masked values)"),
        (np.ma.masked_array([[7, 8]], True), "the image holds no finite number (masked values everywhere)"),
    ],
)
def test_why_nothing_is_told_apart_is_said_of_the_image_as_it_is(channels: Any, says: str) -> None:
    assert sameness(np.ma.asanyarray(channels), "everywhere") == says


def test_what_is_masked_in_a_lazy_array_is_no_number() -> None:
    lazy = dask.array.from_array(np.ma.masked_greater(np.arange(12).reshape(3, 4), 5))
    assert Case(lazy).read().max() == 5


def test_what_is_masked_is_no_number() -> None:
    values = np.arange(48).reshape(6, 8)
    masked = np.ma.masked_where(values > 40, values)
    with_nan = np.where(values > 40, np.nan, values)
    assert np.array_equal(Case(masked).read(), Case(with_nan).read())
    assert Case(np.ma.masked_array(values)).read().max() == 47


@pytest.mark.parametrize(
    ("plane", "says"),
    [
        (3, r"must be \(axis, index\), such as \(0, 12\), got 3"),
        ("ab", r"must be \(axis, index\), such as \(0, 12\), got 'ab'"),
        ((0, 1, 2), r"must be \(axis, index\)"),
        ((0.0, 1), "the axis of a plane must be a whole number"),
        ((0, 1.5), "the index of a plane must be a whole number"),
        ((0, -1), "cannot be index -1 of axis 0"),
    ],
)
def test_what_is_no_plane_is_said(plane: object, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        Case(np.eye(5)[None].repeat(4, 0)).at(plane)  # type: ignore[arg-type]


def test_the_box_of_strokes_holds_them_alone_and_not_what_finished_objects_made_background() -> None:
    case = Case(np.zeros((60, 70)))
    assert not case.strokes[case.drawn].size
    far = np.zeros((4, 4), np.uint8) + int(Marker.BACKGROUND)
    case = case.with_parts([("partial", (slice(50, 54), slice(60, 64)), far)])
    inside = np.ones((2, 3), bool)
    marked = case.mark(inside, where=(slice(5, 7), slice(8, 11)))
    assert marked.drawn == (slice(5, 7), slice(8, 11)) and marked.marked[0].stop == 54
    erased = marked.mark(erase=inside, where=(slice(5, 7), slice(8, 11)))
    assert not erased.strokes[erased.drawn].size


def test_sizes_are_kept_by_strokes_planes_and_answers() -> None:
    case = Case(np.zeros((4, 8, 8)) + np.arange(8), sizes=[3, 4.5])
    assert case.sizes == (3.0, 4.5) and Case(case.image).sizes == ()
    inside = np.zeros(case.shape, dtype=bool)
    inside[1, 2:4, 2:4] = True
    marked = case.mark(inside)
    assert marked.sizes == marked.plane(0, 1).sizes == (3.0, 4.5)
    assert marked.with_shown((slice(0, 4),) * 3, inside[:, :4, :4]).sizes == (3.0, 4.5)
    assert marked.with_sizes([]).sizes == () and marked.sizes == (3.0, 4.5)


@pytest.mark.parametrize("sizes", [[0.0], [-1], [float("nan")], [float("inf")], ["large"], 5.0, None])
def test_sizes_that_are_none_are_refused(sizes: object) -> None:
    with pytest.raises(ValueError, match="sizes must be"):
        Case(np.zeros((8, 8)), sizes=sizes)  # type: ignore[arg-type]
