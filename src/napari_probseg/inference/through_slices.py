"""From slice to slice by the network of images: each slice's answer is the evidence of the next one's, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.case import Case, Marker
from napari_probseg.inference.fusion import Looks
from napari_probseg.inference.grid import Grid
from napari_probseg.inference.hint import with_hint
from napari_probseg.inference.inputs import NothingToSeeError, window_input, window_inputs
from napari_probseg.inference.remembered import Remembered
from napari_probseg.inference.resampling import interpolating, transformed
from napari_probseg.inference.windows import Window, window_on, windows_around
from napari_probseg.morphology import numbered_parts
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.region import Region, bounding_box, hull

MAX_SEEDS = 4  # slices with strokes, and accepted ones, that are looked at for themselves
MAX_SLICES = 12  # looked at in all, about
N_WINDOWS = 4  # on a slice with strokes
CLOSEST_RATIO = 4.0  # see `windows_around`
MAX_LOG_ODDS = 6.0  # that answers are clipped to
HINT_RADIUS_RATIO = 0.3  # radius of the mark that a slice without one is given, over the depth of what it stands for
MIN_QUALITY = 0.3  # Dice that is expected, below which the next slice is not gone to
MIN_AREA_RATIO = 0.1  # to less than this of the slice before, too
MIN_OBJECT_PLACES = 4  # places of an object
N_CROSSING = 6  # slices along each other axis, at most
MAX_PIXEL_ASPECT = 3.0  # sides of a pixel of those
MIN_LINES = 8  # of a slice of those
MIN_PRIOR = -1.0  # log-odds of object, in the mean over what is found on a slice


@dataclass(frozen=True)
class SliceLooks:
    """What the network of images says of some slices.

    Parameters
    ----------
    axis : int
        Along which the slices lie.
    window : Window
        The one that all of them were looked at in, of two axes.
    index : list of int
        The slices, in order.
    logit : (N, S, S) tensor
        Of object.
    quality : (N,) tensor
        The Dice that is expected of each, in [0, 1].
    confidence : float
        The mean of it over the slices with strokes.
    """

    axis: int
    window: Window
    index: list[int]
    logit: Tensor
    quality: Tensor
    confidence: float

    def on(self, grid: Grid) -> tuple[Tensor, Tensor]:
        """Return log-odds and expected Dice in the places of a grid; beyond the last slices nothing is object."""
        step = _widest(self.index)
        index = torch.tensor([self.index[0] - step, *self.index, self.index[-1] + step], dtype=torch.float32)
        logit = F.pad(self.logit[None], (0, 0, 0, 0, 1, 1), value=-MAX_LOG_ODDS)[0]
        quality = F.pad(self.quality, (1, 1))
        lines = grid.lines()
        along = lines.pop(self.axis) - 0.5
        after = torch.searchsorted(index, along).clamp(1, len(index) - 1)
        share = ((along - index[after - 1]) / (index[after] - index[after - 1])).clamp(0, 1)
        between = interpolating(len(index), after - 1 + share)
        shares = [(line - low) / n for line, low, n in zip(lines, self.window.low, self.window.size, strict=True)]
        sides = zip(logit.shape[1:], shares, strict=True)
        found = transformed(logit, [between, *(interpolating(n, part * n - 0.5) for n, part in sides)])
        for axis, part in enumerate(shares, 1):
            found = found.index_fill(axis, ((part < 0) | (part > 1)).nonzero()[:, 0], -MAX_LOG_ODDS)
        trust = (between @ quality)[:, None, None].expand_as(found)
        return found.movedim(0, self.axis), trust.movedim(0, self.axis)


@dataclass(frozen=True)
class SeedLooks:
    """What the network of images says of the slices with strokes, each seen from close and far.

    Parameters
    ----------
    axis : int
        Along which the slices lie.
    planes : dict of int to Case
        The slices.
    looks : dict of int to Looks
    """

    axis: int
    planes: dict[int, Case]
    looks: dict[int, Looks]

    @property
    def confidence(self) -> float:
        """The mean of the Dice that is expected on each, in [0, 1]."""
        return float(np.mean([looks.confidence for looks in self.looks.values()]))

    def box(self, case: Case) -> Region:
        """Return the voxels that hold what was found on these slices, and as far beyond them as that is wide."""
        boxes = []
        for k, seen in self.looks.items():
            far = seen.windows[-1]
            box = far.region_of(seen.probability(far, WINDOW_SIDE[2]) > 0.5, self.planes[k].shape)
            if box is not None:
                boxes.append(box)
        across = list(hull(*boxes)) if boxes else [slice(0, 0)] * 2
        spacing = np.asarray(case.spacing, dtype=float)
        sides = [(s.stop - s.start) * mm for s, mm in zip(across, np.delete(spacing, self.axis), strict=True)]
        reach = int(min(sides) / 2 / spacing[self.axis])
        n = case.shape[self.axis]
        across.insert(self.axis, slice(max(0, min(self.planes) - reach), min(n, max(self.planes) + reach + 1)))
        return tuple(across)


@dataclass
class _Found:
    """What was found so far, by slice."""

    logit: dict[int, Tensor] = field(default_factory=dict)
    quality: dict[int, float] = field(default_factory=dict)


@torch.inference_mode()
def look_at_seeds(
    network: AdvisedCVAE, case: Case, device: torch.device, remembered: Remembered | None = None
) -> SeedLooks:
    """Look at the slices with strokes inside or an accepted object, a few of either."""
    axis = _axis_of_slices(case)
    chosen = (_spread(known(case, axis), MAX_SEEDS) for known in (_with_strokes, _with_accepted))
    planes = {k: with_hint(case.plane(axis, k)) for k in sorted(set().union(*chosen))}
    windows, x = [], []
    for k, plane in tuple(planes.items()):
        around = windows_around(plane, N_WINDOWS, close=CLOSEST_RATIO)
        try:
            seen, inputs = window_inputs(plane, around, WINDOW_SIDE[2])
        except NothingToSeeError:
            if len(planes) == 1:
                raise
            del planes[k]  # a stroke on a slice beyond what was scanned, say
            continue
        windows.append(seen)
        x.append(inputs)
    remembered = remembered or Remembered()
    logit, quality = remembered.said(network, torch.cat(x), lambda new: _said(network, new, device))
    counts = [len(seen) for seen in windows]
    parts = zip(planes.items(), windows, torch.split(logit, counts), torch.split(quality, counts), strict=True)
    return SeedLooks(axis, planes, {k: Looks.of(p, seen, here, good) for (k, p), seen, here, good in parts})


@torch.inference_mode()
def through_slices(
    network: AdvisedCVAE, case: Case, seeds: SeedLooks, grid: Grid, prior: Tensor, device: torch.device
) -> SliceLooks:
    """Go from the slices with strokes to their neighbours, both ways, within the region of a grid.

    Strokes on any slice are heard there. It stops where the network's own estimate falls, where nothing is left, or
    where the prior speaks against what is found.

    Parameters
    ----------
    network : AdvisedCVAE
    case : Case
        (Z, Y, X), with a stroke inside.
    seeds : SeedLooks
    grid : Grid
    prior : (Z, Y, X) tensor
        Log-odds of object in its places, by what else is known.
    device : torch.device
    """
    axis, region = seeds.axis, grid.region
    first = next(iter(seeds.planes.values()))
    window = window_on(first, tuple(s for a, s in enumerate(region) if a != axis), margin=1.0)
    found = _Found()
    for k, looks in seeds.looks.items():
        p = looks.probability(window, WINDOW_SIDE[2])
        found.logit[k] = p.clamp(1e-3, 1 - 1e-3).logit().clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS)
        found.quality[k] = looks.confidence
    step = max(1, -(-(region[axis].stop - region[axis].start) // MAX_SLICES))
    fronts = _fronts(sorted(seeds.planes), region[axis])
    for _ in range(2 * MAX_SLICES):
        goals = [(k, k + way * min(step, abs(last - k)), way, last) for k, way, last in fronts if k != last]
        if not goals:
            break
        expected = [grid.on_slice(prior, axis, goal, window, WINDOW_SIDE[2]) for _, goal, _, _ in goals]
        before = [found.logit[k] for k, *_ in goals]
        x = [_evident(case.plane(axis, g[1]), window, a + e) for g, a, e in zip(goals, before, expected, strict=True)]
        fronts = []
        for (k, goal, way, last), e, logit, good in zip(
            goals, expected, *_said(network, torch.stack(x), device), strict=True
        ):
            n_before, n_now = (int((seen > 0).sum()) for seen in (found.logit[k], logit))
            expected_dice = float(good.sigmoid())
            for_it = n_now > 0 and float(e[logit > 0].mean()) > MIN_PRIOR
            if n_now >= max(MIN_OBJECT_PLACES, MIN_AREA_RATIO * n_before) and expected_dice >= MIN_QUALITY and for_it:
                found.logit[goal], found.quality[goal] = logit.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS), expected_dice
                fronts.append((goal, way, last))
    index = sorted(found.logit)
    quality = torch.tensor([found.quality[k] for k in index])
    return SliceLooks(axis, window, index, torch.stack([found.logit[k] for k in index]), quality, seeds.confidence)


@torch.inference_mode()
def across_slices(
    network: AdvisedCVAE, case: Case, slices: SliceLooks, grid: Grid, found: Tensor, device: torch.device
) -> list[SliceLooks]:
    """Look at a few slices along each of the other two axes, all at once: what was found is the evidence there.

    An axis is left out whose slices have pixels that are no squares by far, and one along which nothing was found.

    Parameters
    ----------
    network : AdvisedCVAE
    case : Case
        (Z, Y, X).
    slices : SliceLooks
        What was said of the slices along the first axis.
    grid : Grid
    found : (Z, Y, X) tensor
        Log-odds of object in its places, so far.
    device : torch.device
    """
    chosen = {a: _on_object(grid, found, a) for a in range(3) if a != slices.axis and _is_square(case, a)}
    chosen = {axis: index for axis, index in chosen.items() if index}
    if not chosen:
        return []
    windows, x = {}, []
    for axis, index in chosen.items():
        planes = [case.plane(axis, k) for k in index]
        windows[axis] = window_on(planes[0], tuple(s for a, s in enumerate(grid.region) if a != axis), margin=1.0)
        expected = [grid.on_slice(found, axis, k, windows[axis], WINDOW_SIDE[2]) for k in index]
        x += [_evident(plane, windows[axis], e) for plane, e in zip(planes, expected, strict=True)]
    logit, quality = _said(network, torch.stack(x), device)
    counts = [len(index) for index in chosen.values()]
    parts = zip(chosen.items(), torch.split(logit, counts), torch.split(quality.sigmoid(), counts), strict=True)
    return [
        SliceLooks(axis, windows[axis], index, seen.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS), good, float(good.mean()))
        for (axis, index), seen, good in parts
    ]


def _is_square(case: Case, axis: int) -> bool:
    """Return whether the pixels of the slices along an axis are about squares, and these more than a few lines."""
    spacing = np.delete(np.asarray(case.spacing, dtype=float), axis)
    has_lines = min(np.delete(case.shape, axis)) >= MIN_LINES
    return has_lines and bool(spacing.max() <= MAX_PIXEL_ASPECT * spacing.min())


def _on_object(grid: Grid, found: Tensor, axis: int) -> list[int]:
    """Return a few slices along an axis, from end to end of what was found."""
    sizes = (found > 0).movedim(axis, 0).flatten(1).sum(1)
    where = grid.lines()[axis][sizes >= MIN_OBJECT_PLACES]
    if not len(where):
        return []
    low, high = int(where[0]), int(where[-1])
    return _spread(range(low, high + 1), N_CROSSING)


def _axis_of_slices(case: Case) -> int:
    """Return the axis along which the slices lie: the coarsest one, of those whose slices are more than a line."""
    possible = [axis for axis in range(3) if min(np.delete(case.shape, axis)) > 1]
    spacing = np.asarray(case.spacing, dtype=float)
    return max(possible, key=lambda axis: float(spacing[axis]))


def _with_strokes(case: Case, axis: int) -> list[int]:
    """Return the slices through the strokes inside, one for each: where it is largest."""
    inside = case.strokes[case.marked] == Marker.OBJECT
    where = bounding_box(inside)
    if where is None:
        return []
    strokes, _ = numbered_parts(np.moveaxis(inside[where], axis, 0))
    first = case.marked[axis].start + where[axis].start
    parts = enumerate(ndimage.find_objects(strokes), 1)
    return sorted({first + box[0].start + int((strokes[box] == i).sum((1, 2)).argmax()) for i, box in parts})


def _with_accepted(case: Case, axis: int) -> list[int]:
    """Return the slices on which an object was accepted."""
    marked = case.marked
    accepted = (case.partial[marked] == Marker.OBJECT) & (case.strokes[marked] != Marker.OBJECT)
    counts = np.count_nonzero(accepted, axis=tuple(a for a in range(3) if a != axis))
    return [marked[axis].start + int(k) for k in np.flatnonzero(counts >= MIN_OBJECT_PLACES)]


def _spread(index: Sequence[int], n: int) -> list[int]:
    """Return at most so many of some slices, evenly chosen, the first and the last among them."""
    if not index:
        return []
    return [index[i] for i in sorted({int(i) for i in np.linspace(0, len(index) - 1, min(n, len(index))).round()})]


def _said(network: AdvisedCVAE, x: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    said = network.decode_control(network.features(x.to(device)), torch.ones(len(x), device=device))
    return said.object.float().cpu(), said.quality.float().cpu()


def _fronts(seeds: Sequence[int], within: slice) -> list[tuple[int, int, int]]:
    """Return ways from slices with strokes: where from, which way, and the last slice."""
    found = []
    for before, k, after in zip([None, *seeds[:-1]], seeds, [*seeds[1:], None], strict=True):
        found.append((k, -1, min(k, within.start) if before is None else (before + k) // 2 + 1))
        found.append((k, 1, max(k, within.stop - 1) if after is None else (k + after) // 2))
    return found


def _evident(plane: Case, window: Window, before: Tensor) -> Tensor:
    """Return x of a slice, (6, S, S), for which the slice before it is what was accepted.

    Where it has no stroke inside, it gets one in the deepest place of that.
    """
    x = window_input(plane, window, WINDOW_SIDE[2])
    inside, outside = x[-N_MARKS] > 0, x[1 - N_MARKS] > 0
    object_ = before > 0
    if not inside.any() and object_.any():
        depth = ndimage.distance_transform_edt(np.pad(object_.numpy(), 1))[1:-1, 1:-1] * ~outside.numpy()
        y, x_ = np.unravel_index(int(depth.argmax()), depth.shape)
        rows, columns = np.ogrid[: depth.shape[0], : depth.shape[1]]
        near = (rows - y) ** 2 + (columns - x_) ** 2 <= max(1.0, HINT_RADIUS_RATIO * float(depth.max())) ** 2
        inside = torch.from_numpy(near) & object_ & ~outside
        x[-N_MARKS] = inside.to(x)
    accepted = torch.where(x[-1] == 0, torch.where(object_, 1.0, -1.0), x[-1])
    x[-1] = accepted * ~(inside | outside)
    return x


def _widest(index: Sequence[int]) -> int:
    """Return the widest gap between slices."""
    return int(max(np.diff(index), default=1))
