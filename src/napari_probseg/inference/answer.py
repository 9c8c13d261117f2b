"""The answer of an advised network: windows of several scales are looked at, fused, and refined on a finer grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.inference.fusion import Looks
from napari_probseg.inference.inputs import enlarged, marks_on, window_input, window_inputs
from napari_probseg.inference.windows import (
    Window,
    is_scale_known,
    window_on,
    windows_around,
    windows_on_parts,
)
from napari_probseg.morphology import numbered_parts, parts_at
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.appearance import foresight, seen_in
from napari_probseg.nn.general import WINDOW_SIDE, Features
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.refiner import FINE_ADVISERS, facts_of, refiner_input
from napari_probseg.region import absolute, bounding_box, hull
from napari_probseg.strokes import n_strokes, without_evidence

N_WINDOWS = 5
N_PART_WINDOWS = 3  # on each part of an object that has several
CLOSEST_RATIO = 4.0  # the closest window over the marks inside, at most: a stroke outside can lie far from them
LAST_WINDOW_RATIO = 1.6  # of the last window over the object
MIN_SIDE_RATIO = 1.4  # ratio of the sides of windows, below which one need not be looked at beside the other
MAX_SHIFT = 0.2  # of their middles, in sides, up to which they are alike
MAX_WINDOW_VOXELS = 2**25
MAX_REFINED_SIDE = 320  # places of the fine grid along a side
MIN_EXPECTED = 0.7  # Dice, below which what was on show is doubted ...
MAX_EARLY = 3  # ... while there are so few strokes
MIN_FORETOLD = 4  # strokes on both sides together, from which the network is asked to foretell half of them
MIN_EACH = 2  # strokes on each side, from which the refiner hears of that


@dataclass(frozen=True)
class Answer:
    """What a network makes of a case.

    Parameters
    ----------
    looks : Looks
        What it said in each window.
    window : Window
        The one that the answer is for: it holds object and strokes.
    logit : (size, size) tensor
        Of object, on the fine grid of that window.
    confidence : float
        The Dice that it expects, in [0, 1].
    features : list of Features
        Of the batches of windows that were looked at.
    foretold : float, optional
        How well it foretells half of the strokes from the others, in [0, 1]; None where there are too few.
    """

    looks: Looks
    window: Window
    logit: Tensor
    confidence: float
    features: list[Features]
    foretold: float | None = None

    def is_on(self, device: torch.device) -> bool:
        """Return whether the features are where a network is."""
        return all(features.coarse.device.type == device.type for features in self.features)

    def probability(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the probability of object in the part of the window that lies in an image of ``shape``."""
        full = enlarged(self.logit[None], self.window.size, self.window.visible(shape))[0]
        return np.asarray(full.sigmoid_())


@torch.inference_mode()
def answer(network: AdvisedCVAE, case: Case, device: torch.device) -> Answer:
    """Look at a case, and after few strokes, where little is expected of that, also without what was on show.

    Raises
    ------
    ValueError
        If nothing is marked, the image is constant or not finite around the marks, or these lie too far apart.
    """
    around = windows_around(case, N_WINDOWS, close=CLOSEST_RATIO, whole_too=True)
    least = around[0].n_voxels(case.shape)
    if least > MAX_WINDOW_VOXELS:
        raise ValueError(
            f"the marks lie too far apart to complete all between them at once ({least:.1e} pixels, "
            f"{MAX_WINDOW_VOXELS:.1e} are possible): mark and complete one part after the other"
        )
    around = [w for w in around if w.n_voxels(case.shape) <= MAX_WINDOW_VOXELS]
    looks, found, window = _looks(network, case, around, device)
    is_doubted = case.evidence is not None and looks.confidence < MIN_EXPECTED
    if is_doubted and sum(n_strokes(case.strokes[case.drawn])) <= MAX_EARLY:
        more, features, _ = _looks(network, without_evidence(case), around, device)
        looks, found = looks + more, found + features
        window = _last_window(case, looks)
    foretold = _foresight(network, case, window, device)
    seen = refinable(case, window, looks, foretold, device)
    return Answer(looks, window, network.refiner(seen)[0].float().cpu(), looks.confidence, found, foretold)


def _looks(
    network: AdvisedCVAE, case: Case, around: list[Window], device: torch.device
) -> tuple[Looks, list[Features], Window]:
    """Return what a network says in windows around all strokes, on parts, and on what it found, and the last window."""
    looks, features = look(network, case, around, device)
    looks, found = replace(looks, is_scale_known=is_scale_known(case)), [features]
    if parts := windows_on_parts(case, N_PART_WINDOWS, close=CLOSEST_RATIO):
        closer, features = look(network, case, parts, device, parts=True)
        looks, found = looks + closer, [*found, features]
    window = _last_window(case, looks)
    if not any(_is_like(window, other) for other in looks.whole.windows):
        closer, features = look(network, case, [window], device)
        looks, found = looks + closer, [*found, features]
        window = _last_window(case, looks)
    return looks, found, window


def look(
    network: AdvisedCVAE, case: Case, windows: list[Window], device: torch.device, *, parts: bool = False
) -> tuple[Looks, Features]:
    """Return what a network says in some windows, or in wider ones where there is nothing to see; see `Looks.of`."""
    windows, x = window_inputs(case, windows, WINDOW_SIDE[2], n_channels=network.config.n_image_channels)
    features = network.features(x.to(device))
    said = network.decode_control(features, torch.ones(len(x), device=device))
    return Looks.of(case, windows, said.object.float().cpu(), said.quality.float().cpu(), parts=parts), features


def refinable(case: Case, window: Window, looks: Looks, foretold: float | None, device: torch.device) -> Tensor:
    """Return what the refiner sees of a window, (1, N_SEEN, size, size); the rest as in `Answer`."""
    size = fine_size(window)
    x = window_input(case, window, size).to(device)
    probability = looks.probability(window, size).to(device)
    n_inside, n_outside = n_strokes(case.strokes[window.within(case.shape)])
    both, seen = (0.0, 0.0), None
    if foretold is not None and min(n_inside, n_outside) >= MIN_EACH:
        image, inside, outside = x[None, :-N_MARKS], x[-N_MARKS] > 0, x[1 - N_MARKS] > 0
        seen = seen_in(image, FINE_ADVISERS)
        both = (foretold, float(foresight(seen, torch.stack([inside, outside])[None], FINE_ADVISERS)))
    facts = facts_of(n_inside, n_outside, size / WINDOW_SIDE[2], looks.confidence, both)
    return refiner_input(x[None], probability[None], facts[None].to(device), seen)


@torch.inference_mode()
def _foresight(network: AdvisedCVAE, case: Case, window: Window, device: torch.device) -> float | None:
    """Return how well the network foretells half of the strokes in a window from the others; see `Answer`."""
    n_inside, n_outside = n_strokes(case.strokes[window.within(case.shape)])
    if n_inside < MIN_EACH or not n_outside or n_inside + n_outside < MIN_FORETOLD:
        return None
    x = window_input(case, window, WINDOW_SIDE[2])
    inside, outside, on_show = range(-N_MARKS, 0)
    numbers = {side: torch.from_numpy(numbered_parts((x[side] > 0).numpy())[0]) for side in (inside, outside)}
    shown = torch.stack([x, x])
    shown[:, on_show] = 0  # it was made of all strokes
    for item, half in zip(shown, (0, 1), strict=True):
        for side, number in numbers.items():
            item[side, number % 2 == half] = 0
    said = network.decode_control(network.features(shown.to(device)), torch.ones(2, device=device)).object.cpu() > 0
    shares = []
    for side, is_right in ((inside, said), (outside, ~said)):
        hidden = torch.stack([(numbers[side] > 0) & (numbers[side] % 2 == half) for half in (0, 1)])
        shares.append(float((is_right & hidden).sum() / hidden.sum().clamp(min=1)))
    return max(0.0, sum(shares) - 1)


def fine_size(window: Window) -> int:
    """Return the places along a side of the fine grid: one a pixel, as far as that is affordable."""
    return 16 * min(MAX_REFINED_SIDE // 16, max(WINDOW_SIDE[2] // 16, round(max(window.size) / 16)))


def _last_window(case: Case, looks: Looks) -> Window:
    """Return the window that fits what was found, and the strokes."""
    far = looks.windows[int(np.argmax([max(w.size) for w in looks.windows]))]
    size = 2 * WINDOW_SIDE[2]
    found = looks.probability(far, size).numpy() > 0.5
    if case.sizes and not looks.is_scale_known:  # it is one object, and others like it are no parts of it
        found = parts_at(found, marks_on(case, Marker.OBJECT, far, size), over_corners=True)
    box = bounding_box(found)
    boxes = [_box_of_strokes(case)]
    if box is not None:
        scale = [n / size for n in far.size]
        edges = zip(far.low, box, scale, case.shape, strict=True)
        boxes.append(
            tuple(slice(max(0, low + int(s.start * f)), min(n, low + round(s.stop * f) + 1)) for low, s, f, n in edges)
        )
    return window_on(case, hull(*boxes), margin=LAST_WINDOW_RATIO)


def _box_of_strokes(case: Case) -> tuple[slice, ...]:
    """Return the box that holds all strokes inside; those outside may lie anywhere."""
    looked_for = (
        (case.strokes, case.drawn, Marker.OBJECT),
        (case.partial, case.marked, Marker.OBJECT),
        (case.strokes, case.drawn, Marker.BACKGROUND),
    )
    boxes = (absolute(box, at) for array, at, one in looked_for if (box := bounding_box(array[at] == one)))
    return next(boxes, case.marked)


def _is_like(window: Window, other: Window) -> bool:
    ratio = max(window.size) / max(other.size)
    shift = max(
        abs((a + n / 2) - (b + m / 2)) / n
        for a, n, b, m in zip(window.low, window.size, other.low, other.size, strict=True)
    )
    return 1 / MIN_SIDE_RATIO < ratio < MIN_SIDE_RATIO and shift < MAX_SHIFT
