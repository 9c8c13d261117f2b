"""Time series: an object is followed from image to image, in both directions, and time is never a length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_probseg as ps
from napari_probseg.io import Picture
from napari_probseg.metrics import dice
from napari_probseg.proposers.time_series import follow, following

N, SIDE = 7, 64


@pytest.fixture(scope="module")
def completer() -> ps.Proposer:
    return ps.load_completer(device="cpu")


def moving(ndim: int, *, present: range = range(N)) -> tuple[np.ndarray, np.ndarray]:
    """Return a time series of a disk or ball that moves to the right and grows, and where it is."""
    shape = (12,) * (ndim - 2) + (SIDE, SIDE)
    rng = np.random.default_rng(4)
    truth = np.zeros((N, *shape), dtype=bool)
    places = np.indices(shape, sparse=True)
    for t in present:
        middle = (*(n / 2 for n in shape[:-1]), 20 + 3 * t)
        far = sum(
            ((a - m) * (2 if len(shape) == 3 and i == 0 else 1)) ** 2
            for i, (a, m) in enumerate(zip(places, middle, strict=True))
        )
        truth[t] = far <= (8 + 0.5 * t) ** 2
    return (5 * truth + rng.normal(size=truth.shape)).astype(np.float32), truth


def marked(case: ps.Case, truth: np.ndarray) -> ps.Case:
    """Return an image with a stroke in the middle of the object, and one outside."""
    inside, outside = np.zeros((2, *truth.shape), dtype=bool)
    middle = tuple(int(a) for a in np.argwhere(truth).mean(0))
    inside[tuple(slice(a - 1, a + 2) for a in middle)] = True
    outside[(*(slice(a - 1, a + 2) for a in middle[:-1]), slice(50, 54))] = True
    return case.mark(inside & truth, outside & ~truth)


@pytest.mark.parametrize("ndim", [2, 3])
def test_an_object_is_followed_both_ways(ndim, completer) -> None:
    image, truth = moving(ndim)
    spacing = (3.0, 1.0, 1.0)[-ndim:]
    cases = [ps.Case(one, spacing) for one in image]
    cases[3] = marked(cases[3], truth[3])
    found = follow(completer, cases)
    assert found.shape == truth.shape
    assert all(dice(a, b) > 0.9 for a, b in zip(found, truth, strict=True))


def test_it_ends_where_the_object_does_and_says_so(completer) -> None:
    image, truth = moving(2, present=range(5))
    cases = [ps.Case(one) for one in image]
    cases[0] = marked(cases[0], truth[0])
    said = list(following(completer, cases))
    found = follow(completer, cases)
    assert said[-1] == "image 5: the object ends" and len(said) == 6
    assert not found[5:].any() and all(dice(a, b) > 0.9 for a, b in zip(found[:5], truth, strict=False))


def test_strokes_on_any_image_hold(completer) -> None:
    image, truth = moving(2)
    cases = [ps.Case(one) for one in image]
    outside = np.zeros(truth[0].shape, dtype=bool)
    outside[29:35, 30:34] = True
    cases[0], cases[2] = marked(cases[0], truth[0]), cases[2].mark(outside=outside)
    found = follow(completer, cases)
    assert not found[2][outside].any()
    assert dice(found[1], truth[1]) > 0.9


@pytest.mark.parametrize("axes", ["TYX", "TZYX", "ZTYX", "TCYX"])
def test_each_image_of_a_file_is_a_case_and_time_is_no_length(tmp_path: Path, axes: str) -> None:
    shape = tuple({"T": 4, "C": 3, "Z": 5, "Y": 20, "X": 30}[axis] for axis in axes)
    data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    if axes == "ZTYX":
        picture = Picture(data, axes, (2.0, 0.5, 0.5), unit="mm")
    else:
        about = {"axes": axes, "TimeIncrement": 90.0, "TimeIncrementUnit": "s"}
        about |= {f"PhysicalSize{axis}": 0.5 for axis in "XYZ"}
        tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=about, photometric="minisblack")
        picture = ps.read(tmp_path / "a.ome.tif")
    cases = picture.cases()
    assert len(cases) == 4
    for t, case in enumerate(cases):
        assert case.shape == picture.shape and case.spacing == tuple(picture.spacing)
        assert len(case.spacing) == len(picture.shape), "time has no spacing"
        assert np.array_equal(case.read().squeeze(), data.take(t, axes.index("T")))


def test_an_image_without_time_is_one_case() -> None:
    picture = Picture(np.zeros((5, 6), np.uint8), "YX", (1.0, 1.0))
    assert [case.shape for case in picture.cases()] == [(5, 6)]


def test_nothing_marked_and_other_shapes_are_told(completer) -> None:
    cases = [ps.Case(np.eye(20)), ps.Case(np.eye(20))]
    with pytest.raises(ValueError, match="nothing is marked at any time: brush"):
        follow(completer, cases)
    with pytest.raises(ValueError, match="all of the same shape; got"):
        follow(completer, [*cases, ps.Case(np.eye(30))])
    with pytest.raises(ValueError, match="one or more images"):
        follow(completer, [])
