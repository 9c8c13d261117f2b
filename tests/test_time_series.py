"""Time series: an object is followed from image to image, in both directions, and time is never a length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_probseg as ps
from napari_probseg.io import Picture
from napari_probseg.metrics import dice
from napari_probseg.proposers.pixel_classifier_cut import PixelClassifierCut
from napari_probseg.proposers.time_series import follow, following
from napari_probseg.session.identity import Identity
from napari_probseg.session.refinement import Refinement
from test_similar import disks

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
@pytest.mark.parametrize("name", ["general", "intensities"])
def test_an_object_is_followed_both_ways(ndim, name, completer) -> None:
    completer = ps.GraphCut() if name == "intensities" else completer
    image, truth = moving(ndim)
    spacing = (3.0, 1.0, 1.0)[-ndim:]
    cases = [ps.Case(one, spacing) for one in image]
    cases[3] = marked(cases[3], truth[3])
    found = follow(completer, cases)
    assert found.shape == truth.shape
    assert all(dice(a, b) > 0.9 for a, b in zip(found, truth, strict=True))


def test_a_box_tells_what_to_follow_where_no_stroke_inside_is_needed(completer) -> None:
    image, truth = moving(2)
    session = ps.Session(ps.Case(image, (1.0, 1.0), in_time=True), completer=completer)
    middle = np.argwhere(truth[3]).mean(0).astype(int)
    session.box((slice(3, 4), *(slice(int(a) - 13, int(a) + 14) for a in middle)))
    session.carry()
    session.accept(0)
    assert all(dice(a, b) > 0.9 for a, b in zip(session.case.partial == 1, truth, strict=True))
    session.undo()
    session.completer = ps.GraphCut()
    with pytest.raises(ValueError, match="brush a little inside the object"):
        session.carry()


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


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_series_is_one_case_whose_time_has_no_length(ndim) -> None:
    image, _ = moving(ndim)
    spacing = (3.0, 0.5, 0.25)[-ndim:]
    case = ps.Case(image, spacing, in_time=True)
    assert case.axes == ("TYX" if ndim == 2 else "TZYX")
    assert case.shape == image.shape and case.spacing == spacing
    one = case.plane(0, 3)
    assert one.shape == image.shape[1:] and one.spacing == spacing and not one.in_time
    in_channels = ps.Case(np.stack([image, image]), spacing, channel_axis=0, in_time=True)
    assert in_channels.shape == image.shape and in_channels.plane(0, 2).n_channels == 2


@pytest.mark.parametrize(
    ("image", "options", "told"),
    [
        (np.zeros((4, 9, 9)), {"spacing": (1, 1, 1), "in_time": True}, "each of 2 axes of space"),
        (np.zeros((9, 9)), {"in_time": True}, r"must be \(T, Y, X\) or \(T, Z, Y, X\)"),
        (np.zeros((2, 3, 4, 5, 6)), {"in_time": True}, r"must be \(T, Y, X\) or \(T, Z, Y, X\)"),
        (np.zeros((2, 3, 9, 9)), {}, "in_time=True says that the first axis is time"),
    ],
)
def test_what_is_no_series_is_told_as_what_it_is(image, options, told) -> None:
    with pytest.raises(ValueError, match=told):
        ps.Case(image, **options)


@pytest.mark.parametrize("name", ["general", "intensities", "pixel classifier"])
def test_a_series_is_answered_image_by_image_as_each_is_alone(name, completer) -> None:
    image, truth = moving(2)
    completer = {"general": completer, "intensities": ps.GraphCut()}.get(name) or PixelClassifierCut()
    case = ps.Case(image, (0.5, 0.5), in_time=True)
    alone = marked(case.plane(0, 3), truth[3])
    case = case.with_parts([(part, np.s_[3:4, :, :], getattr(alone, part)[None]) for part in ("partial", "strokes")])
    found = completer.propose(case, 1, plane=(0, 3))
    assert found.where[0] == slice(3, 4)
    assert np.array_equal(found.partial[0][3], completer.propose(alone, 1).partial[0])
    for ask in (completer.propose, completer.complete):
        with pytest.raises(ValueError, match=r"image by image: say which, as plane=\(0, t\)"):
            ask(case)
    with pytest.raises(ValueError, match="cannot be index 3 of axis 1"):
        completer.propose(case, 1, plane=(1, 3))


@pytest.mark.parametrize("ndim", [2, 3])
def test_candidates_of_a_series_are_those_of_its_image(ndim) -> None:
    image, truth = moving(ndim)
    proposer = ps.load_proposer(device="cpu")
    case = ps.Case(image, in_time=True)
    alone = marked(case.plane(0, 3), truth[3])
    where = (slice(3, 4), *[slice(0, n) for n in truth[0].shape])
    case = case.with_parts([(part, where, getattr(alone, part)[None]) for part in ("partial", "strokes")])
    mine = proposer.propose(alone, 2, ndim=ndim)
    for plane in (None, (0, 3)):
        found = proposer.propose(case, 2, plane=plane, ndim=ndim)
        assert np.array_equal(found.patches[:, 0], mine.patches) and found.where[0] == slice(3, 4)


def follow_in_session(completer: ps.Proposer, ndim: int = 2) -> tuple[ps.Session, np.ndarray, np.ndarray]:
    """Return a session in which an object was followed through time and finished."""
    image, truth = moving(ndim)
    session = ps.Session(ps.Case(image, (3.0, 0.5, 0.5)[-ndim:], in_time=True), completer=completer)
    where = (slice(3, 4), *[slice(0, n) for n in truth[0].shape])
    session.mark(truth[3][None], where=where)
    session.carry(plane=(0, 3))
    session.accept()
    session.finish()
    return session, image, truth


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_session_follows_an_object_through_time(ndim) -> None:
    session, _, truth = follow_in_session(ps.GraphCut(), ndim)
    assert all(dice(a > 0, b) > 0.8 for a, b in zip(session.objects, truth, strict=True))
    with pytest.raises(ValueError, match="leave out slices"):
        session.carry(slices=(0, 2))


def test_a_session_of_a_series_is_kept_and_its_script_does_it_again(tmp_path: Path) -> None:
    session, image, _ = follow_in_session(ps.GraphCut())
    journal = session.keep(tmp_path / "a.journal")
    session.mark(np.eye(SIDE, dtype=bool)[None], where=np.s_[2:3, :, :])
    assert journal.flush(10)
    session.save(tmp_path / "a.npz")
    for path in (tmp_path / "a.npz", tmp_path / "a.journal"):
        again = ps.Session.load(path, image)
        assert again.case.in_time and np.array_equal(again.case.strokes, session.case.strokes)
    identities = [Identity.of(case) for case in (session.case, ps.Case(image))]
    assert identities[0].difference(identities[1]) == "its spacing is (1, 1, 1), not (0.5, 0.5)"
    tifffile.imwrite(tmp_path / "a.tif", image, metadata={"axes": "TYX"}, photometric="minisblack")
    program = session.script(str(tmp_path / "a.tif"))
    assert "in_time=True" in program and "session.carry(plane=(0, 3))" in program
    done: dict[str, np.ndarray] = {}
    exec(program, done)
    assert np.array_equal(done["objects"], session.objects) and np.array_equal(done["partial"], session.case.partial)


@pytest.mark.parametrize("how", ["smooth", "largest", "holes", "specks", "between"])
def test_finished_objects_are_refined_image_by_image(how) -> None:
    rng = np.random.default_rng(0)
    objects = np.zeros((4, 40, 40), dtype=np.uint32)
    for t in (0, 1, 3):  # what two images have in common says nothing of either
        objects[t, 8 + 3 * t : 28 + 3 * t, 8:28] = rng.random((20, 20)) > 0.1
        objects[t, 36, 36] = 1
    session = ps.Session(ps.Case(rng.random(objects.shape), (0.5, 2.0), in_time=True))
    session.take(objects)
    session.refine(Refinement(how, finished=True))
    if how == "between":
        assert np.array_equal(session.objects[[0, 1, 3]], objects[[0, 1, 3]]) and session.objects[2].any()
        return
    for t in (0, 1, 3):
        alone = ps.Session(ps.Case(rng.random((40, 40)), (0.5, 2.0)))
        alone.take(objects[t])
        alone.refine(Refinement(how, finished=True))
        assert np.array_equal(session.objects[t], alone.objects)
    assert not session.objects[2].any()


def test_others_like_it_are_found_in_one_image_of_a_series() -> None:
    image, labels = disks((160, 160))
    alone = ps.Session(ps.Case(image), completer=ps.GraphCut())
    alone.mark(labels == 6)
    alone.finish()
    mine = alone.propose_similar(20)
    series = ps.Session(ps.Case(np.stack([image[::-1], image, image]), in_time=True), completer=ps.GraphCut())
    series.mark((labels == 6)[None], where=np.s_[1:2, :, :])
    series.finish()
    found = series.propose_similar(20)
    assert len(found) == len(mine) and {o.where[0].start for o in found.objects} == {1}
    assert all(np.array_equal(a.mask[0], b.mask) for a, b in zip(found.objects, mine.objects, strict=True))
    series.skip_similar(len(found) - 1)
    series.take_all_similar()
    assert not series.objects[[0, 2]].any()
    elsewhere = series.propose_similar(20, plane=(0, 0))  # where none is finished yet, others at the nearest time tell
    assert len(elsewhere) and {o.where[0].start for o in elsewhere.objects} == {0}
    with pytest.raises(ValueError, match="no finished object to be like"):
        ps.Session(series.case, completer=ps.GraphCut()).propose_similar(20, plane=(0, 0))
    with pytest.raises(ValueError, match="leave out plane"):
        alone.query_similar(plane=(0, 0))


def test_a_cut_of_a_whole_series_is_told_to_name_an_image() -> None:
    with pytest.raises(ValueError, match="image by image"):
        ps.graph_cut.cut(
            np.full((3, 8, 8), 0.5, np.float32), ps.Case(np.random.default_rng(0).random((3, 8, 8)), in_time=True)
        )
