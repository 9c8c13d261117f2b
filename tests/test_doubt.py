"""What was on show is doubted where the latest correction lies far from it, or deep in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference.doubt import is_another
from napari_probseg.morphology import ball
from napari_probseg.nn.advised import AdvisedCVAE, AdvisedFeatures
from napari_probseg.proposers.unet_cut import UNetCut


def disk(y: float, x: float, radius: float, n: int) -> np.ndarray:
    return ball((120 * n, 160 * n), (y * n, x * n), radius * n, np.ones(2))


def corrected(*inside: tuple[int, int], outside: tuple[int, int] | None = None, n: int = 1) -> ps.Case:
    """An image where a disk of radius 20 around (60, 50) was on show, and some dabs; of ``n`` times as many pixels."""
    case = ps.Case(np.zeros((120 * n, 160 * n), dtype=np.float32)).mark(disk(60, 50, 1, n))
    for place in inside:
        case = case.mark(disk(*place, 1, n))
    if outside is not None:
        case = case.mark(outside=disk(*outside, 1, n))
    return case.with_shown(tuple(slice(0, side) for side in case.shape), disk(60, 50, 20, n))


@pytest.mark.parametrize("n", [1, 8])  # pixels, and places of a coarser grid
@pytest.mark.parametrize(
    ("case", "is_other"),
    [
        ({"inside": [(60, 85)]}, False),
        ({"inside": [(60, 100)]}, True),
        ({"inside": [(60, 85), (60, 130)]}, True),
        ({"inside": [(60, 60)]}, False),
        ({"outside": (60, 65)}, False),
        ({"outside": (60, 55)}, True),
        ({"outside": (60, 120)}, False),
    ],
)
def test_a_far_or_deep_correction_says_that_it_was_another_thing(case: dict, is_other: bool, n: int) -> None:
    assert is_another(corrected(*case.get("inside", ()), outside=case.get("outside"), n=n)) == is_other


def test_nothing_was_on_show_to_be_doubted() -> None:
    case = corrected((60, 130))
    everywhere = tuple(slice(0, side) for side in case.shape)
    assert not is_another(ps.Case(case.image).mark(disk(60, 130, 1, 1)))
    assert not is_another(case.with_shown(everywhere, np.zeros(case.shape, dtype=bool)))


def test_it_does_not_matter_in_which_region_it_was_on_show() -> None:
    far, shown = corrected((60, 130)), disk(60, 50, 20, 1)
    where = (slice(40, 81), slice(30, 71))
    assert is_another(far.with_shown(where, shown[where]))
    assert not is_another(corrected((60, 85)).with_shown(where, shown[where]))


def test_late_strokes_tell_the_object_themselves() -> None:
    few = corrected((52, 50), (68, 50), (60, 130), outside=(110, 20))
    assert is_another(few)
    many = corrected((52, 50), (68, 50), (60, 40), (60, 130), outside=(110, 20))
    assert not is_another(many)


class Watched(AdvisedCVAE):
    """Notes whether it sees what was on show."""

    has_seen = False

    def features(self, x: torch.Tensor) -> AdvisedFeatures:
        self.has_seen |= bool(x[:, -1].any())
        return super().features(x)


@pytest.mark.parametrize(("correction", "is_seen"), [((60, 85), True), ((60, 130), False)])
def test_a_completer_does_not_see_what_was_another_thing(correction: tuple[int, int], is_seen: bool) -> None:
    torch.manual_seed(0)
    network = Watched().eval()
    case = corrected(correction)
    image = np.random.default_rng(0).normal(size=case.shape).astype(np.float32)
    seen = ps.Case(image).with_markers(case.partial, case.strokes)
    UNetCut({2: network}, device="cpu").complete(seen.with_evidence(*case.evidence))
    assert network.has_seen == is_seen
