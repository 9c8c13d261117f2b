"""What is no number, no case, no candidate, is told as that, in one sentence that says what was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import napari_probseg as ps
from fakes import GrowingProposer

IMAGE = np.random.default_rng(0).random((20, 24))
INSIDE = np.zeros(IMAGE.shape, bool)
INSIDE[8:11, 8:11] = True
CASE = ps.Case(IMAGE).mark(INSIDE, np.roll(INSIDE, 10, 1))
DISTANCE = ps.geodesic.geodesic_distance


def of(do: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: do(*args, **options)


def taken() -> ps.Session:
    session = ps.Session(CASE)
    session.take(INSIDE)
    return session


def of_unknown_size() -> Any:
    """Return an image of which nobody has counted the rows, as dask makes them."""
    return SimpleNamespace(shape=(np.nan, 24), dtype=IMAGE.dtype, ndim=2)


CANDIDATES = GrowingProposer().propose(CASE, 3)
COMPLETE = ps.GraphCut().propose


@pytest.mark.parametrize(
    ("do", "error", "says"),
    [
        *(
            (of(use, i), IndexError, "there is no candidate .*choose one of 0 to 2")
            for use in (CANDIDATES.added, CANDIDATES.accept)
            for i in (-1, 3, 1.0, "0", None, True)
        ),
        *((of(CANDIDATES.partial.__getitem__, i), IndexError, "there is no candidate") for i in (-4, 3, 0.0, "a")),
        (of(COMPLETE, IMAGE), TypeError, r"got ndarray: make one of the image, Case\(image\)"),
        (of(COMPLETE, None), TypeError, "a case is asked about, got NoneType"),
        (of(COMPLETE, CASE, plane=(0, 1)), ValueError, "only a volume has planes"),
        (of(COMPLETE, CASE, plane=0), ValueError, "only a volume has planes|a plane must be"),
        (of(COMPLETE, CASE, smoothness="much"), TypeError, "smoothness must be a number, got 'much'"),
        (of(COMPLETE, CASE, edges=None), TypeError, "edges must be a number, got None"),
        (of(ps.Session, IMAGE), TypeError, r"a session is of a case, got ndarray: make one.*Case\(image\)"),
        (of(ps.Case, IMAGE, channel_axis=np.nan), ValueError, "channel_axis=nan is not an axis"),
        (of(ps.Case, [[1, 2], [3]]), TypeError, "rows of different lengths: make them as long"),
        (of(ps.Case, "a.tif"), TypeError, r"got str: read it, napari_probseg\.read\(path\)\.case\(\)"),
        (of(ps.Case, ps.io.Picture(IMAGE, "YX", (1, 1))), TypeError, r"got Picture: take its case, picture\.case\(\)"),
        (of(ps.Case, CASE), TypeError, r"got Case: take its image, case\.image"),
        (of(ps.Case, IMAGE, spacing="12"), ValueError, "spacing must give one distance.*got '12'"),
        (of(ps.Case, IMAGE, sizes="12"), ValueError, "sizes must be numbers, in mm, got '12'"),
        (of(ps.Case, of_unknown_size()), ValueError, r"does not know its size: call image\.compute_chunk_sizes\(\)"),
        (of(ps.Session(CASE).take, np.where(INSIDE, np.nan, 0)), ValueError, "such as nan: put 0 in its place"),
        (of(CASE.mark, np.full(IMAGE.shape, "a")), ValueError, "got an array of <U1"),
        (of(ps.graph_cut.cut, IMAGE + 1j, CASE), TypeError, "of real numbers in .*got complex128"),
        (of(ps.graph_cut.cut, IMAGE, CASE, smoothness="a"), TypeError, "smoothness must be a number"),
        (of(DISTANCE, IMAGE.tolist(), INSIDE[1:]), ValueError, r"the image must be \(19, 24\).*got \(20, 24\)"),
        (of(DISTANCE, IMAGE, INSIDE * 0.3), ValueError, "seeds must be a mask"),
        (of(DISTANCE, IMAGE + 1j, INSIDE), TypeError, "must hold real numbers"),
        (of(DISTANCE, "a", INSIDE), TypeError, "an image must be an array, got str"),
        (of(DISTANCE, IMAGE, INSIDE, n_rounds=2.5), TypeError, "n_rounds must be a whole number"),
        (of(DISTANCE, IMAGE, INSIDE, edge_weight="a"), TypeError, "edge_weight must be a number"),
        *((of(DISTANCE, IMAGE, INSIDE, spacing=mm), ValueError, "spacing must give one distance") for mm in (1, "ab")),
        *((of(ps.write, "x.tif", IMAGE, spacing=mm), ValueError, "spacing must give one distance") for mm in (1, "ab")),
        *(
            (of(ps.write, "x.nii", IMAGE, affine=affine), ValueError, "an affine must be")
            for affine in (
                "abc",
                np.eye(3),
                np.zeros((4, 4)),
                np.ones((4, 4)),
                np.diag([1, 1, 1, np.nan]),
                np.eye(4) * 2,
            )
        ),
        (of(ps.write, "x.tif", IMAGE, like=IMAGE), TypeError, "like must be a picture"),
        *(
            (of(ps.write, f"x{end}", np.zeros((0, 5))), ValueError, "nothing to write")
            for end in (".tif", ".nii", ".png")
        ),
        (lambda: taken().classify(1, None), TypeError, "a class is a name, got None"),
        (lambda: taken().take(IMAGE), ValueError, "labels must be whole numbers from 0, got float64, such as"),
    ],
)
def test_what_is_none_is_told(
    do: Callable[[], Any], error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says):
        do()
    assert not list(tmp_path.iterdir())


def test_axes_that_are_no_letters_are_not_called_damage(tmp_path: Path) -> None:
    ps.write(tmp_path / "x.tif", IMAGE.astype(np.float32))
    with pytest.raises(TypeError, match="axes must be letters"):
        ps.read(tmp_path / "x.tif", axes=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.int64, ">u2"])
def test_a_mask_and_whole_floats_are_taken_as_objects(dtype: Any) -> None:
    session = ps.Session(ps.Case(IMAGE))
    session.take(INSIDE.astype(dtype))
    assert np.array_equal(session.objects, INSIDE.astype(np.uint32))


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64, np.uint64])
def test_an_offset_of_the_intensities_changes_no_distance(dtype: Any) -> None:
    image = np.round(IMAGE * 100).astype(dtype)
    expected = DISTANCE(image, INSIDE)
    assert np.array_equal(DISTANCE(image + dtype(10**9), INSIDE), expected)


@pytest.mark.parametrize("least", [np.uint64(2**63), np.uint64(2**60), np.int64(-(2**62)), np.int64(2**53)])
def test_integers_that_doubles_cannot_tell_apart_are_told_apart(least: Any) -> None:
    small = np.arange(6, dtype=least.dtype).reshape(2, 3)
    assert np.array_equal(ps.Case(small + least).read()[0], small)
    ends = np.array([[np.iinfo(least.dtype).min, np.iinfo(least.dtype).max]] * 2)
    assert np.array_equal(ps.Case(ends).read()[0] > 0, [[False, True]] * 2)
