"""Volumes as they come: thin, flat, badly measured, turned, or larger than what a network sees."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

import napari_probseg as ps
from drawn import noisy
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.proposers.slice_propagation import SlicePropagator


@pytest.fixture(scope="module")
def completer():
    return ps.load_completer(device="cpu")


@pytest.fixture(scope="module")
def proposer():
    return ps.load_proposer(device="cpu")


def marked(truth: np.ndarray, **options: object) -> ps.Case:
    """A dab in the middle of the object, and a corner of that slice, are marked."""
    places = np.argwhere(truth)
    middle = tuple(places[np.abs(places - places.mean(0)).sum(1).argmin()])
    inside, outside = np.zeros(truth.shape, dtype=bool), np.zeros(truth.shape, dtype=bool)
    inside[middle[0]] = ball(truth.shape[1:], middle[1:], 3, np.ones(2)) & truth[middle[0]]
    corner = tuple(np.argwhere(~truth[middle[0]])[0])
    outside[(middle[0], *corner)] = True
    return ps.Case(noisy(truth), **options).mark(inside, outside)


def answered(case: ps.Case, completer, proposer) -> np.ndarray:
    """Complete the volume and propose on its slice; return the completed object after what must always be true."""
    drawn = case.strokes != ps.Marker.UNKNOWN
    index = int(np.argwhere(case.strokes == ps.Marker.OBJECT)[0, 0])
    partial = completer.propose(case).partial[0]
    assert partial.shape == case.shape
    assert (partial[drawn] == case.strokes[drawn]).all()
    if min(case.shape[1:]) > 1:
        candidates = proposer.propose(case, 3, plane=(0, index))
        assert all((p[drawn] == case.strokes[drawn]).all() for p in candidates.partial)
    return partial == ps.Marker.OBJECT


def block(shape: tuple[int, int, int]) -> np.ndarray:
    """An object in the middle half of each axis that is longer than 1."""
    truth = np.zeros(shape, dtype=bool)
    truth[tuple(slice(n // 4, max(n // 4 + 1, 3 * n // 4)) for n in shape)] = True
    return truth


@pytest.mark.parametrize("shape", [(1, 40, 44), (24, 1, 44), (24, 40, 1), (2, 2, 1), (3, 4, 5)])
def test_one_voxel_in_an_axis_and_volumes_smaller_than_the_window(shape, completer, proposer) -> None:
    truth = block(shape)
    found = answered(marked(truth), completer, proposer)
    assert found.any()


def test_a_volume_of_one_voxel_width_in_two_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="two axes need at least 2 voxels"):
        ps.Case(np.zeros((1, 1, 30)))


def test_unknown_spacing_counts_as_1_and_the_file_says_so(tmp_path: Path) -> None:
    ps.write(tmp_path / "a.tif", noisy(block((8, 20, 22))))
    picture = ps.read(tmp_path / "a.tif")
    assert (picture.unit, picture.spacing) == ("pixel", (1.0, 1.0, 1.0))
    assert picture.case().spacing == ps.Case(picture.data).spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "spacing", [(1e-6,) * 3, (1e6,) * 3, (1000.0, 1.0, 1.0), (1.0, 1000.0, 1.0), (0.001, 1.0, 1.0)]
)
def test_absurd_spacing(spacing, completer, proposer) -> None:
    truth = block((16, 40, 44))
    found = answered(marked(truth, spacing=spacing), completer, proposer)
    assert found.any()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_impossible_spacing_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="spacing must be positive distances"):
        ps.Case(np.zeros((4, 5, 6)), spacing=(1, 1, bad))


OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.3, -0.2, 0.5) @ np.diag([1.0, 1.5, 3.0]), [9.0, -7, 5]
)
AFFINES = {"flipped": np.array([[-1.0, 0, 0, 5], [0, -1, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]]), "oblique": OBLIQUE}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_left_stays_left(affine: np.ndarray, tmp_path: Path, completer) -> None:
    truth = block((12, 40, 44))
    truth[:, :, 22:] = False  # on one side alone
    nibabel.save(nibabel.Nifti1Image(noisy(truth).T, affine), tmp_path / "image.nii.gz")
    picture = ps.read(tmp_path / "image.nii.gz")
    assert np.allclose(picture.spacing, np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    case = picture.case().mark(inside=ball(truth.shape, (6, 20, 16), 3, np.ones(3)))
    found = completer.propose(case).partial[0] == ps.Marker.OBJECT
    ps.write(tmp_path / "object.nii.gz", found.astype(np.uint8), like=picture)
    written = nibabel.load(tmp_path / "object.nii.gz")
    assert np.allclose(written.affine, affine, atol=1e-5)
    place, wanted = (
        nibabel.affines.apply_affine(written.affine, np.argwhere(mask).mean(0))
        for mask in (written.get_fdata() > 0, truth.T)
    )
    assert np.linalg.norm(place - wanted) < 6, "mm in the scanner's space"


def test_an_object_that_touches_the_border(completer, proposer) -> None:
    truth = np.zeros((20, 40, 44), dtype=bool)
    truth[:12, :20, :22] = True
    case = marked(truth)
    assert answered(case, completer, proposer).any()
    decided = ps.Case(case.image, partial=np.where(np.arange(20)[:, None, None] == 5, 2 - truth, 0).astype(np.uint8))
    carried = SlicePropagator().propose(decided, plane=(0, 5)).partial[0] == ps.Marker.OBJECT
    assert dice(carried, truth) > 0.95


def test_thick_slices(completer, proposer) -> None:
    truth = ball((12, 64, 64), (6, 32, 32), 24.0, np.array([8.0, 1, 1]))
    found = answered(marked(truth, spacing=(8.0, 1.0, 1.0)), completer, proposer)
    assert found.any((1, 2)).sum() > 1


def test_marks_far_apart_in_a_volume_on_disk(tmp_path: Path, completer, proposer) -> None:
    image = np.memmap(tmp_path / "long.dat", dtype=np.uint8, mode="w+", shape=(1000, 64, 64))
    image[:, :32, :32] = 200
    inside = np.zeros(image.shape, dtype=bool)
    inside[[0, 900], 12, 12] = True
    case = ps.Case(image).mark(inside=inside)
    assert answered(case, completer, proposer)[[0, 900], 12, 12].all()


def test_marks_too_far_apart_are_refused(completer) -> None:
    case = ps.Case(np.broadcast_to(np.arange(512, dtype=np.uint8), (1000, 512, 512)))
    for k in (0, 900):
        case = case.mark(inside=np.ones((1, 2, 2)), where=np.s_[k : k + 1, 250:252, 250:252])
    with pytest.raises(ValueError, match="the marks lie too far apart to complete all between them"):
        completer.propose(case)


def test_what_is_carried_touches_the_border_and_takes_no_large_volume_into_memory() -> None:
    dask_array = pytest.importorskip("dask.array")
    image = dask_array.zeros((1000, 512, 512), dtype=np.uint8, chunks=(1, 512, 512))
    image[490:, :30, :30] = 200
    object_, other = np.zeros((2, 1, 60, 60), dtype=bool)
    object_[:, :30, :30], other[:] = True, True
    case = ps.Case(image).mark(object_, other & ~object_, where=np.s_[500:501, :60, :60])
    assert case.marked == np.s_[500:501, 0:60, 0:60]
    found = SlicePropagator().propose(case, plane=(0, 500))
    assert found.patches.size < 2**18
    assert found.where[0].start == 490
