"""From slice to volume: what is carried is the object, it stops where that ends, and what is decided stays."""

from __future__ import annotations

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.metrics import dice
from napari_probseg.proposers.slice_propagation import PropagationConfig, SlicePropagator


def cone(shape: tuple[int, int, int] = (24, 48, 52)) -> np.ndarray:
    """A cone that leans: on slices 4 to 19, with a radius of 5 to 10 pixels."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    inside = np.hypot(y - 22, x - 20 - 0.5 * z) < 5 + z / 4
    return inside & (z >= 4) & (z < 20)


def accepted(truth: np.ndarray, *slices: int, axis: int = 0, noise: float = 0.05) -> ps.Case:
    """A volume of which some slices are decided."""
    image = 0.6 * truth + np.random.default_rng(0).normal(0.2, noise, truth.shape)
    partial = np.zeros(truth.shape, dtype=np.uint8)
    for k in slices:
        where = (slice(None),) * axis + (k,)
        partial[where] = np.where(truth[where], ps.Marker.OBJECT, ps.Marker.BACKGROUND)
    return ps.Case(image, spacing=(2.0, 1.0, 1.0), partial=partial)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_is_carried_to_the_ends_of_the_object_and_no_further(axis: int) -> None:
    truth = np.ascontiguousarray(np.moveaxis(cone(), 0, axis))
    case = accepted(truth, 12, axis=axis)
    candidates = SlicePropagator(PropagationConfig(reach=3)).propose(case, plane=(axis, 12))
    assert len(candidates) == 1
    found = candidates.partial[0] == ps.Marker.OBJECT
    assert dice(case.partial == ps.Marker.OBJECT, truth) < 0.3, "test invalid"
    assert dice(found, truth) > 0.9
    around = np.moveaxis(candidates.partial[0], axis, 0)[10]
    assert (around[:2] == ps.Marker.UNKNOWN).all(), "far from the object nothing is decided"


def test_between_two_slices_the_form_goes_over_where_the_intensities_tell_nothing() -> None:
    truth = cone()
    case = accepted(truth, 6, 16, noise=50.0)
    found = (
        SlicePropagator(PropagationConfig(intensities=0.0, bias=0.0)).propose(case, plane=(0, 6)).partial[0]
        == ps.Marker.OBJECT
    )
    assert dice(found[6:17], truth[6:17]) > 0.9


def test_it_goes_as_far_as_it_is_told_to() -> None:
    case = accepted(cone(), 12)
    near, told = (
        SlicePropagator(PropagationConfig(reach=0.3)).propose(case, plane=(0, 12), slices=s).partial[0]
        for s in (None, (5, 15))
    )
    n_near, n_told = ((p == ps.Marker.OBJECT).any((1, 2)).sum() for p in (near, told))
    assert n_near < n_told == 11
    with pytest.raises(ValueError, match=r"slices must be \(first, last\) around slice 12"):
        SlicePropagator().propose(case, plane=(0, 12), slices=(13, 20))


def test_what_is_decided_stays() -> None:
    truth = cone()
    against = np.zeros(truth.shape, dtype=bool)
    against[10, 20:24, 24:27] = True
    case = accepted(truth, 12).mark(outside=against)
    partial = SlicePropagator().propose(case, plane=(0, 12)).partial[0]
    decided = case.partial != ps.Marker.UNKNOWN
    assert (partial[decided] == case.partial[decided]).all()
    assert (partial[11] == ps.Marker.OBJECT).any()


@pytest.mark.parametrize(("y", "ends"), [(22, True), (15, False)])
def test_beyond_the_accepted_slices_a_stroke_outside_amid_the_object_ends_it(y: int, ends: bool) -> None:
    truth = cone()
    outside = np.zeros(truth.shape, dtype=bool)
    outside[16, y - 1 : y + 2, 27:30] = True  # in its middle, or near its border
    case = accepted(truth, 8, 12).mark(outside=outside)
    candidates = SlicePropagator().propose(case, plane=(0, 12))
    there = np.flatnonzero((candidates.partial[0] == ps.Marker.OBJECT).any((1, 2)))
    assert (there[-1] == 15) == ends and there[-1] >= 15
    told = SlicePropagator().propose(case, plane=(0, 12), slices=(5, 18)).partial[0]
    assert (told[17] == ps.Marker.OBJECT).any(), "where the ends are told, they hold"
    inside = truth & np.isin(np.arange(24), 16)[:, None, None] & ~outside
    beside = case.mark(inside & (np.arange(52) < 26))
    assert (SlicePropagator().propose(beside, plane=(0, 12)).partial[0][16] == ps.Marker.OBJECT).sum() > 0


def test_it_can_be_given_up_and_says_what_it_does() -> None:
    steps = SlicePropagator().propagating(accepted(cone(), 12), (0, 12))
    assert next(steps).startswith("slice 11: ")
    steps.close()


def test_a_slice_without_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="slice 3 of axis 0 holds no object: accept a candidate"):
        SlicePropagator().propose(accepted(cone(), 12), plane=(0, 3))
    with pytest.raises(ValueError, match="only a volume has slices"):
        SlicePropagator().propose(ps.Case(np.eye(9)), plane=(0, 3))


def test_in_a_session_it_is_accepted_undone_and_written_down() -> None:
    case = accepted(cone(), 12)
    session = ps.Session(case)
    session.carry(plane=(0, 12), slices=(5, 15))
    session.accept()
    n = int((session.case.partial == ps.Marker.OBJECT).sum())
    assert n > 5 * int((case.partial == ps.Marker.OBJECT).sum())
    assert "session.carry(plane=(0, 12), slices=(5, 15))" in session.script()
    session.undo()
    assert np.array_equal(session.case.partial, case.partial)
