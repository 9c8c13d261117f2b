"""An object of a volume that strokes do not tell changes near those that correct it, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference.grid import Grid
from napari_probseg.inference.untold import Untold
from napari_probseg.metrics import dice
from napari_probseg.morphology import ball
from napari_probseg.strokes import FOUND, TAKEN

SHAPE = (20, 72, 76)
MM = np.array([2.0, 1.0, 1.0])


def solid(z: float, y: float, x: float, radius: float) -> np.ndarray:
    return ball(SHAPE, (z, y, x), radius, MM)


TRUE = solid(10, 36, 34, 16)
BUMP = solid(10, 36, 52, 8) & ~TRUE


def volume(*, textured: bool = True) -> ps.Case:
    """A ball between others of its kind, hard to tell from what is around it."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=SHAPE) + (np.indices(SHAPE).sum(0) // 7 % 2 if textured else 0) + 0.4 * TRUE
    return ps.Case(image.astype(np.float32), spacing=tuple(MM))


def reopened(mask: np.ndarray, case: ps.Case | None = None) -> ps.Session:
    session = ps.Session(case or volume(), completer=ps.load_completer(device="cpu"))
    session.take(mask.astype(np.uint32))
    session.reopen(1)
    return session


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_a_finished_object_that_is_reopened_and_corrected_stays_as_it_was_elsewhere(side: str) -> None:
    before = TRUE & ~solid(10, 36, 48, 6) if side == "inside" else TRUE | BUMP
    session = reopened(before)
    y, x = (36, 47) if side == "inside" else (36, 55)
    for _ in range(2):
        session.mark(**{side: solid(10, y, x, 2)})
        session.complete()
        found = session.candidates.partial[0] == ps.Marker.OBJECT
        assert dice(found, TRUE) > dice(before, TRUE) - 0.005
        far = ~solid(10, y, x, 16)
        assert dice(found & far, before & far) > 0.97
        y += 2  # another stroke corrects what was shown then
    session.accept()
    session.finish()
    assert session.max_label == 1


def test_an_object_that_was_found_alike_is_corrected_by_a_stroke_outside_alone() -> None:
    """Nothing is brushed inside it: what was found is what the object is."""
    session = ps.Session(volume(), completer=ps.load_completer(device="cpu"))
    where, found = np.s_[0:20, 10:66, 10:70], TRUE | BUMP
    session.mark(outside=solid(10, 36, 55, 2), shown=(where, found[where], FOUND))
    candidates = session.complete()
    corrected = candidates.partial[0] == ps.Marker.OBJECT
    assert dice(corrected, TRUE) > dice(found, TRUE)
    assert not corrected[solid(10, 36, 55, 2)].any()
    assert float(candidates.score[0]) == pytest.approx(FOUND), "the next stroke corrects it, too"


def test_where_nobody_took_it_an_answer_takes_its_place_sooner() -> None:
    case, everywhere = volume(), tuple(slice(0, n) for n in SHAPE)
    new = solid(10, 36, 34, 18)  # of a Dice of 0.83
    for told, is_new in ((FOUND, True), (TAKEN, False)):
        of = case.mark(outside=solid(10, 62, 60, 2)).with_shown(everywhere, TRUE, told)
        grid = Grid.over(of, everywhere)
        on, dab = (grid.of_markers(everywhere, m.view(np.uint8)) > 0 for m in (new, solid(10, 62, 60, 2)))
        _, stays = Untold.of(of).corrected(8.0 * on - 4.0, grid, on & False, dab)
        assert (stays is None) == is_new


def test_an_answer_that_is_nearly_what_was_taken_takes_its_place_and_another_one_does_not() -> None:
    case = volume()
    everywhere = tuple(slice(0, n) for n in SHAPE)
    of = case.mark(outside=solid(10, 36, 54, 2)).with_shown(everywhere, TRUE | BUMP, TAKEN)
    untold = Untold.of(of)
    assert untold is not None and untold.box == tuple(slice(a.min(), a.max() + 1) for a in np.nonzero(TRUE | BUMP))
    grid = Grid.over(of, everywhere)
    places = [grid.of_markers(everywhere, m.view(np.uint8)) > 0 for m in (TRUE, solid(10, 20, 20, 9), TRUE & False)]
    true, other, none = places
    dab = grid.of_markers(everywhere, solid(10, 36, 54, 2).view(np.uint8)) > 0
    right, stays = untold.corrected(8.0 * true - 4.0, grid, none, dab)
    assert stays is None and torch.equal(right > 0, true)
    held, stays = untold.corrected(8.0 * other - 4.0, grid, none, dab)
    assert stays is not None and not bool((held > 0)[dab].any())
    p = untold.kept(grid.in_voxels(held.sigmoid()), grid, stays)
    far = ~solid(10, 36, 52, 18)
    assert ((p > 0.5) == TRUE)[far].all(), "voxel by voxel, however coarse the grid is"
    assert Untold.of(of.with_shown(everywhere, TRUE, 0.9)) is None


def test_a_stroke_on_a_slice_where_nothing_is_to_be_seen_does_not_refuse_the_volume() -> None:
    image = np.array(volume(textured=False).image)
    image[:3] = 0.0
    case = ps.Case(image, spacing=tuple(MM)).mark(solid(10, 36, 34, 3)).mark(outside=solid(0, 36, 34, 1))
    found = ps.load_completer(device="cpu").propose(case).partial[0] == ps.Marker.OBJECT
    assert found[10].any() and not found[0, 36, 34]
    with pytest.raises(ValueError, match="constant"):
        ps.load_completer(device="cpu").propose(ps.Case(np.zeros(SHAPE)).mark(solid(10, 36, 34, 3)))


def test_what_was_taken_stays_where_two_greys_would_decide_otherwise() -> None:
    """A bump of the same even grey was cut off by hand; a stroke elsewhere does not bring it back."""
    image = (TRUE | BUMP) + np.random.default_rng(0).normal(scale=0.05, size=SHAPE)
    surplus = solid(10, 36, 14, 6) & ~TRUE
    session = reopened(TRUE | surplus, ps.Case(image.astype(np.float32), spacing=tuple(MM)))
    session.mark(solid(10, 36, 34, 2), outside=solid(10, 36, 11, 2))
    found = session.complete().partial[0] == ps.Marker.OBJECT
    assert np.count_nonzero(found & BUMP) < 0.1 * np.count_nonzero(BUMP)
    assert np.count_nonzero(found & surplus) < 0.5 * np.count_nonzero(surplus) and dice(found, TRUE) > 0.95
