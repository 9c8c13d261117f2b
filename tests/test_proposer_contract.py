"""What every proposer there is promises; a new one is one entry in `PROPOSERS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import napari_probseg as ps
import untrained
from extras import NEEDS_MONAI
from napari_probseg.candidates import Candidates
from napari_probseg.case import Marker
from napari_probseg.morphology import ball
from napari_probseg.proposers.pixel_classifier_cut import PixelClassifierCut
from napari_probseg.proposers.slice_propagation import SlicePropagator
from napari_probseg.proposers.wong2022 import Wong2022Config, Wong2022Proposer


def wong2022() -> Wong2022Proposer:
    """Return the paper's proposer, asked for fewer samples than it is made for: each costs time."""
    whole = ps.load_proposer("wong2022", device="cpu")
    return Wong2022Proposer(whole.network, device="cpu", config=Wong2022Config(n_samples=8))


FLAT, DEEP = (64, 72), (14, 40, 44)


def image(shape: tuple[int, ...]) -> np.ndarray:
    middle, radius = tuple(n // 2 for n in shape), min(shape) / 3
    truth = ball(shape, middle, radius, np.ones(len(shape)))
    return (0.2 + 0.6 * truth + np.random.default_rng(0).normal(0, 0.05, shape)).astype(np.float32)


def strokes(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a dab in the middle, and one beside it; in a volume both lie on its middle slice."""
    middle = tuple(n // 2 for n in shape)
    beside = (*middle[:-1], shape[-1] - 5)
    on = np.ones(shape, dtype=bool) if len(shape) == 2 else np.indices(shape)[0] == middle[0]
    inside, outside = (ball(shape, at, 2, np.ones(len(shape))) & on for at in (middle, beside))
    return inside, outside


def with_dabs(shape: tuple[int, ...], values: np.ndarray | None = None) -> ps.Case:
    return ps.Case(image(shape) if values is None else values).mark(*strokes(shape))


def with_a_slice(shape: tuple[int, ...], values: np.ndarray | None = None) -> ps.Case:
    """Return a volume with its middle slice accepted."""
    case, middle = ps.Case(image(shape) if values is None else values), shape[0] // 2
    truth = image(shape)[middle] > 0.5
    where = (slice(middle, middle + 1), slice(0, shape[1]), slice(0, shape[2]))
    accepted = np.where(truth, Marker.OBJECT, Marker.BACKGROUND).astype(np.uint8)
    return case.decide(where, accepted[None])


@dataclass(frozen=True)
class Entry:
    """A proposer, what it is tried on, and what it can do.

    Parameters
    ----------
    make : callable
    case : callable
        From a shape, and an image of it, to what is decided.
    shapes : tuple of shapes
        What it is tried on.
    options : mapping
        What else it is asked for.
    on_planes : bool
        Whether it can be asked for a plane of a volume alone.
    needs_strokes, needs_contrast : bool
        Whether it refuses a case without strokes, and a constant image.
    """

    make: Callable[[], ps.Proposer]
    case: Callable[..., ps.Case] = with_dabs
    shapes: tuple[tuple[int, ...], ...] = (FLAT, DEEP)
    on_planes: bool = True
    needs_strokes: bool = True
    needs_contrast: bool = True


PROPOSERS = {
    "general": Entry(untrained.cvae_proposer),
    "wong2022": Entry(wong2022),
    "completer": Entry(untrained.unet_cut),
    "trained U-Net": Entry(untrained.trained_unet, shapes=(FLAT,), needs_strokes=False, needs_contrast=False),
    "graph cut": Entry(ps.GraphCut),
    "pixel classifier": Entry(PixelClassifierCut),
    "slice propagation": Entry(SlicePropagator, with_a_slice, (DEEP,), on_planes=False, needs_contrast=False),
}
TRIED = [
    pytest.param(name, shape, id=f"{name} {len(shape)}-D", marks=[NEEDS_MONAI] if name == "trained U-Net" else [])
    for name, entry in PROPOSERS.items()
    for shape in entry.shapes
]
each = pytest.mark.parametrize(("name", "shape"), TRIED)
_made: dict[str, Any] = {}


def asked(name: str, case: ps.Case, n: int = 3, **options: Any) -> Candidates:
    """Return what a proposer answers; it is made once."""
    if name not in _made:
        _made[name] = PROPOSERS[name].make()
    return _made[name].propose(case, n, **options)


@each
def test_shapes_order_and_shares(name: str, shape: tuple[int, ...]) -> None:
    case = PROPOSERS[name].case(shape)
    candidates = asked(name, case)
    assert 0 < len(candidates) <= 3 and candidates.case is case
    assert (np.diff(candidates.score) <= 0).all(), "best first"
    for values in (candidates.score, candidates.share, candidates.probability):
        assert values.dtype == np.float32 and ((values >= 0) & (values <= 1)).all()
    assert candidates.uncertainty().shape == shape
    for partial in candidates.partial:
        assert partial.shape == shape and partial.dtype == np.uint8 and partial.max() <= max(Marker)


@each
def test_strokes_and_what_is_decided_hold(name: str, shape: tuple[int, ...]) -> None:
    case = PROPOSERS[name].case(shape)
    inside, outside = strokes(shape)
    against = case.mark(inside=outside, outside=inside)  # the wrong way round: also against the image
    for asked_about in (case, against):
        decided = asked_about.partial != Marker.UNKNOWN
        assert decided.any()
        candidates = asked(name, asked_about)
        for i, partial in enumerate(candidates.partial):
            assert (partial[decided] == asked_about.partial[decided]).all()
            assert np.array_equal(candidates.accept(i).strokes, asked_about.strokes)


@each
def test_the_case_is_left_as_it_was(name: str, shape: tuple[int, ...]) -> None:
    case = PROPOSERS[name].case(shape)
    before = case.image.copy(), case.partial.copy(), case.strokes.copy()
    asked(name, case)
    assert all(np.array_equal(a, b) for a, b in zip(before, (case.image, case.partial, case.strokes), strict=True))


@each
def test_the_same_seed_gives_the_same_answer(name: str, shape: tuple[int, ...]) -> None:
    case = PROPOSERS[name].case(shape)
    first, second = (asked(name, case, seed=3) for _ in range(2))
    assert first.where == second.where
    assert np.array_equal(first.patches, second.patches) and np.array_equal(first.score, second.score)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[NEEDS_MONAI] if name == "trained U-Net" else [])
        for name, entry in PROPOSERS.items()
        if entry.on_planes
    ],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_is_answered_like_the_plane_alone(name: str, axis: int) -> None:
    flat, index = with_dabs(FLAT), 3
    stack = np.random.default_rng(1).random((6, *FLAT)).astype(np.float32)
    drawn = np.zeros(stack.shape, dtype=np.uint8)
    stack[index], drawn[index] = flat.image, flat.strokes
    stack, drawn = (np.ascontiguousarray(np.moveaxis(values, 0, axis)) for values in (stack, drawn))
    case = ps.Case(stack, partial=drawn, strokes=drawn)
    candidates, alone = asked(name, case, plane=(axis, index)), asked(name, flat)
    others = np.delete(np.arange(6), index)
    for i, partial in enumerate(candidates.partial):
        assert np.array_equal(partial.take(index, axis), alone.partial[i])
        assert not partial.take(others, axis).any(), "the rest of the volume is untouched"


def sentence(name: str, case: ps.Case) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        asked(name, case)
    said = str(caught.value)
    assert said and "\n" not in said and not said.endswith("."), said
    return said


@each
def test_without_strokes_it_says_what_to_do(name: str, shape: tuple[int, ...]) -> None:
    case = ps.Case(image(shape))
    if PROPOSERS[name].needs_strokes:
        assert any(word in sentence(name, case) for word in ("brush", "accept"))
    else:
        assert len(asked(name, case)) > 0


@each
def test_a_constant_image_is_told(name: str, shape: tuple[int, ...]) -> None:
    case = PROPOSERS[name].case(shape, np.full(shape, 3, np.float32))
    if PROPOSERS[name].needs_contrast:
        assert "constant (3 everywhere)" in sentence(name, case)
    else:
        asked(name, case)


@each
def test_an_image_in_which_nothing_differs_is_told_why(name: str, shape: tuple[int, ...]) -> None:
    if PROPOSERS[name].needs_contrast:
        values, mask = image(shape), np.ones(shape, dtype=bool)
        mask[..., : shape[-1] // 2], values[..., : shape[-1] // 2] = False, 3
        for alike, says in (
            (np.full(shape, np.nan, np.float32), "the image holds no finite number (NaN everywhere)"),
            (np.ma.masked_array(values, mask), "the image is constant (3 everywhere, but for masked values)"),
        ):
            assert says in sentence(name, PROPOSERS[name].case(shape, alike))


@each
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_lie_outside_of_the_image(name: str, shape: tuple[int, ...], bad: float) -> None:
    values = image(shape)
    replaced = values.copy()
    place = (*(n // 2 for n in shape[:-1]), shape[-1] // 2 + 4)
    values[place], replaced[place] = bad, values.min() if np.isnan(bad) else values.max()
    found, expected = (asked(name, PROPOSERS[name].case(shape, v)) for v in (values, replaced))
    assert np.isfinite(found.probability).all()
    if len(shape) == 2:  # of a volume the darkest voxel of what is looked at counts, be it a plane
        assert np.array_equal(found.patches, expected.patches)
