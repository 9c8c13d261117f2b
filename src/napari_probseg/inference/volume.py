"""The answer in a volume: the network of volumes, and that of images from slice to slice, judged on a fine grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_probseg.case import Case, Evidence, Marker
from napari_probseg.inference.carried import Carried
from napari_probseg.inference.fusion import likely
from napari_probseg.inference.grid import Grid, grid_input, near, strokes_on
from napari_probseg.inference.inputs import window_inputs
from napari_probseg.inference.remembered import Remembered
from napari_probseg.inference.scale_selection import beliefs
from napari_probseg.inference.threshold import by_threshold
from napari_probseg.inference.through_slices import SeedLooks, across_slices, look_at_seeds, through_slices
from napari_probseg.inference.untold import Untold
from napari_probseg.inference.windows import Window, cut_off, window_on, windows_around
from napari_probseg.morphology import numbered_parts
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.advisers import ADVISER_NAMES
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.volume import MAX_LOG_ODDS, VolumeCVAE, advised, facts_of, refiner_maps
from napari_probseg.region import Region, absolute, bounding_box, grown, hull, n_voxels
from napari_probseg.strokes import n_strokes, told, without_evidence

N_WINDOWS = 4
CLOSEST_RATIO = 4.0  # see `windows_around`
TRUST_IN_FARTHER = 0.9  # how much less each farther window is believed: little is seen of small things in few places
MARGIN_AGAIN = 1.7  # of the window in which what was found is looked at again
MIN_TRUST_RATIO = 0.9  # over what the network of images expects, from which one stroke's scale is left to volumes'
WEIGHT_POWER = 4.0  # power of the weights of the windows of the network of volumes
MAX_WINDOW_VOXELS = 2**26
REGION_MARGIN_RATIO = 0.3  # of the region around what was found, over its largest side
LEAST_SIDE = 28  # of the region, in sides of its finest voxel
ADVISERS_SHARE = 0.7  # share of the advisers, beside the network of volumes, in what is expected of a slice
N_ROUNDS = 4  # at most, while what is found reaches out of its region
MAX_RIM_SHARE = 0.02  # of the rim of a window, that the object may lie on where it is looked at again
CONSENSUS_WEIGHT = 0.5  # weight of the mean of all ways beside what the refiner says, from the second stroke on
WAY_MAPS = (0, 1, 3, 4, 5)  # of `refiner_maps`: both networks, geodesic distance, watershed, random walker
FIRST_STROKE_MAP = 3 + len(ADVISER_NAMES)  # of `refiner_maps`: those inside, then those outside
HELD_LOG_ODDS = 1.5  # log-odds that the answer on show keeps where no stroke contradicts it
FREE_RADIUS_PLACES = 6.0  # places around strokes that contradict it, within which it fades
LEAST_PROBABILITY = 1e-4  # of object, and of the rest, where accepted slices are heard
MIN_EVENNESS = 0.855  # evenness of an image, from which greys decide; around real objects it was at most 0.81
MAX_SIDE_SHARE = 0.004  # of a side of the region, that the object may lie on without reaching out of it


@dataclass(frozen=True)
class Ways:
    """What each way to look at a volume says of the places of a grid.

    Parameters
    ----------
    maps : (N_MAPS, Z, Y, X) tensor
    facts : (N_FACTS,) tensor
        What the refiner sees.
    """

    maps: Tensor
    facts: Tensor


@dataclass(frozen=True)
class VolumeAnswer:
    """What the networks make of a volume.

    Parameters
    ----------
    grid : Grid
        The places that it is for.
    logit : (Z, Y, X) tensor
        Of object.
    look : callable
        Returns the ways; where a threshold decides they have not been asked.
    carried : Carried, optional
        What accepted slices say.
    untold : Untold, optional
        An object that strokes do not tell, but correct.
    stays : (Z, Y, X) bool tensor, optional
        The places where that is left as it was.
    """

    grid: Grid
    logit: Tensor
    look: Callable[[], Ways]
    carried: Carried | None = None
    untold: Untold | None = None
    stays: Tensor | None = None

    @cached_property
    def ways(self) -> Ways:
        """What each way says."""
        return self.look()

    @property
    def window(self) -> Window:
        """The region that it is for."""
        return Window(tuple(s.start for s in self.grid.region), self.grid.n_voxels)

    @property
    def confidence(self) -> float:
        """How sure it is of what it takes as object, in [0, 1]."""
        if self.untold is not None:
            return self.untold.expected_dice
        p = self.logit.sigmoid()
        inside = p > 0.5
        return told(float((2 * p[inside] - 1).mean())) if bool(inside.any()) else 0.0

    def probability(self) -> NDArray[np.float32]:
        """Return the probability of object in the voxels of the grid's region."""
        p = self.grid.in_voxels(self.logit.sigmoid())
        return p if self.untold is None or self.stays is None else self.untold.kept(p, self.grid, self.stays)


@dataclass(frozen=True)
class VolumeLooks:
    """What the network of volumes says in windows around the marks."""

    windows: list[Window]
    logit: Tensor  # (W, S, S, S)
    trust: NDArray[np.float64]  # (W,) in [0, 1]

    def on(self, grid: Grid) -> Tensor:
        """Return the log-odds in places, the windows fused."""
        weight = np.maximum(self.trust, 1e-2) ** WEIGHT_POWER
        total = torch.zeros(grid.shape)
        for w, window, logit in zip(weight / weight.sum(), self.windows, self.logit, strict=True):
            total += float(w) * grid.sampled(logit.sigmoid(), window, beyond=0.0)
        return total.clamp(1e-3, 1 - 1e-3).logit()

    def box(self, shape: tuple[int, ...]) -> Region | None:
        """Return the voxels that hold the object of the window that is believed."""
        i = int(np.argmax(self.trust))
        return self.windows[i].region_of(self.logit[i] > 0, shape)


@torch.inference_mode()
def answer_in_volume(
    network: VolumeCVAE,
    of_images: AdvisedCVAE,
    case: Case,
    device: torch.device,
    remembered: Remembered | None = None,
) -> VolumeAnswer:
    """Look at a volume with a stroke inside.

    From the second stroke on the networks do not see the answer that was on show (`Case.evidence`); it holds where no
    stroke contradicts it. They do see what strokes do not tell, and it changes near those that correct it alone, unless
    the answer is nearly the same, see `Untold`.

    Parameters
    ----------
    network : VolumeCVAE
    of_images : AdvisedCVAE
    case : Case
    device : torch.device
    remembered : Remembered, optional
        What the network of images said of slices with strokes when it was asked before.

    Raises
    ------
    ValueError
        If nothing is marked, the image is constant or not finite around the marks, or these lie too far apart.
    """
    untold, shown = Untold.of(case), None
    if untold is None and numbered_parts(case.strokes[case.drawn] != Marker.UNKNOWN)[1] > 1:
        shown = case.evidence
    if shown is not None:
        case = without_evidence(case)
    carried = Carried.of(case)
    far = look_around(network, case, device)
    seeds = look_at_seeds(of_images, case, device, remembered)
    known = [found.box for found in (carried, untold) if found is not None]
    expected = [box for box in (_box_of_strokes(case), far.box(case.shape), *known) if box is not None]
    region = with_room(case, hull(*expected, seeds.box(case)))
    is_surer = len(seeds.planes) == 1 and far.trust.max() > MIN_TRUST_RATIO * seeds.confidence
    if is_surer or n_voxels(region) > MAX_WINDOW_VOXELS:
        region = with_room(case, hull(*expected))
    region = _with_near_strokes(case, region)
    for _ in range(N_ROUNDS):
        grid = Grid.over(case, region)
        look = partial(look_at_all, network, of_images, case, grid, far, seeds, device)
        answer = _judged(network, case, grid, look, shown, untold, carried, device)
        wider = _reached_out(case, answer)
        if wider == region or n_voxels(wider) > MAX_WINDOW_VOXELS:
            break
        region = wider
    return answer


@torch.inference_mode()
def look_around(network: VolumeCVAE, case: Case, device: torch.device) -> VolumeLooks:
    """Return what the network of volumes says in windows around the marks, and of what it has found there."""
    around = windows_around(case, N_WINDOWS, close=CLOSEST_RATIO)
    n_least = around[0].n_voxels(case.shape)
    if n_least > MAX_WINDOW_VOXELS:
        raise ValueError(
            f"the marks lie too far apart to complete all between them at once ({n_least:.1e} voxels, "
            f"{MAX_WINDOW_VOXELS:.1e} are possible): complete a part of the volume, or accept some slices and carry "
            f"them on"
        )
    chosen = [window for window in around if window.n_voxels(case.shape) <= MAX_WINDOW_VOXELS]
    windows, logit = _said(network, case, chosen, device)
    trust = np.array(beliefs(case, windows, logit)) * TRUST_IN_FARTHER ** np.arange(len(windows))
    trust *= likely(case, windows, logit > 0).numpy()
    far = VolumeLooks(windows, logit, trust)
    box, believed = far.box(case.shape), windows[int(np.argmax(trust))]
    again = None if box is None else window_on(case, box, margin=MARGIN_AGAIN)
    if again is None or 0.8 < max(again.size) / max(believed.size) < 1.25:
        return far
    [again], closer = _said(network, case, [again], device)
    if float(cut_off(closer[0] > 0, again, case.shape)) > MAX_RIM_SHARE:
        return far
    return VolumeLooks([*windows, again], torch.cat([logit, closer]), np.append(trust, trust.max() + 1e-3))


def _said(network: VolumeCVAE, case: Case, windows: list[Window], device: torch.device) -> tuple[list[Window], Tensor]:
    """Return the windows that there is something to see in, and the log-odds of object in each, (W, S, S, S)."""
    windows, x = window_inputs(case, windows, WINDOW_SIDE[3], n_channels=network.config.n_image_channels)
    said = network.decode_control(network.features(x.to(device)), torch.ones(len(x), device=device))
    return windows, said.object.float().cpu()


def _judged(
    network: VolumeCVAE,
    case: Case,
    grid: Grid,
    look: Callable[[], Ways],
    shown: Evidence | None,
    untold: Untold | None,
    carried: Carried | None,
    device: torch.device,
) -> VolumeAnswer:
    """Return the answer in places: a threshold's where it decides, else the refiner's."""
    says, evenness = by_threshold(case, grid)
    if evenness > MIN_EVENNESS:
        ways, logit = None, MAX_LOG_ODDS * says
    else:
        ways = look()
        refined = network.refiner(ways.maps[None].to(device), ways.facts[None].to(device))[0].float().cpu()
        refined = refined.clamp(-2 * MAX_LOG_ODDS, 2 * MAX_LOG_ODDS)
        logit = fused(refined, ways.maps, grid, shown, n_strokes=sum(n_strokes(case.strokes[grid.region])))
        if carried is not None:
            logit = carried.beside(logit.sigmoid(), grid, *strokes_in(ways.maps)).logit(eps=LEAST_PROBABILITY)
    stays = None
    if untold is not None:
        logit, stays = untold.corrected(logit, grid, *strokes_on(case, grid))
    return VolumeAnswer(grid, logit, look if ways is None else lambda: ways, carried, untold, stays)


@torch.inference_mode()
def look_at_all(
    network: VolumeCVAE,
    of_images: AdvisedCVAE,
    case: Case,
    grid: Grid,
    far: VolumeLooks,
    seeds: SeedLooks,
    device: torch.device,
) -> Ways:
    """Return what both networks, the advisers and the strokes say of the places of a grid."""
    x = grid_input(case, grid, n_channels=network.config.n_image_channels)[None].to(device)
    logit = far.on(grid)[None].to(device)
    says = advised(x, logit)
    prior = torch.lerp(logit.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS), MAX_LOG_ODDS * says.mean(1), ADVISERS_SHARE)[0].cpu()
    slices = through_slices(of_images, case, seeds, grid, prior, device)
    by_slices, quality = (t[None].to(device) for t in slices.on(grid))
    so_far = (by_slices + logit.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS))[0].cpu() / 2
    crossing = across_slices(of_images, case, slices, grid, so_far, device)
    by_slices = torch.stack([by_slices[0], *(seen.on(grid)[0].to(device) for seen in crossing)]).mean(0)[None]
    n_inside, n_outside = n_strokes(case.strokes[grid.region])
    facts = facts_of(
        n_inside,
        n_outside,
        fineness=max(1.0, grid.fineness),
        thickness=max(case.spacing or (1,)) / min(case.spacing or (1,)),
        trust=float(far.trust.max()),
        confidence=slices.confidence,
    )
    return Ways(refiner_maps(x, logit, by_slices, quality, says)[0].cpu(), facts)


def fused(refined: Tensor, maps: Tensor, grid: Grid, shown: Evidence | None, *, n_strokes: int) -> Tensor:
    """Return log-odds by what the refiner says, by the mean of all ways, and by the answer that was on show."""
    if n_strokes < 2:
        return refined
    logit = refined + CONSENSUS_WEIGHT * MAX_LOG_ODDS * maps[list(WAY_MAPS)].mean(0)
    if shown is None:
        return logit
    held, (inside, outside) = grid.of_markers(*shown), strokes_in(maps)
    contradicts = (inside & (held < 0)) | (outside & (held > 0))
    return logit + HELD_LOG_ODDS * held * (1 - near(contradicts, FREE_RADIUS_PLACES))


def strokes_in(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of strokes inside, and of those outside, by what the refiner sees."""
    return maps[FIRST_STROKE_MAP] > 0, maps[FIRST_STROKE_MAP + 1] > 0


def _box_of_strokes(case: Case) -> Region:
    """Return the box that holds the strokes inside."""
    box = bounding_box(case.strokes[case.marked] == Marker.OBJECT)
    assert box is not None
    return absolute(box, case.marked)


def with_room(case: Case, box: Region) -> Region:
    """Return a box grown by a margin, the same in mm along each axis."""
    spacing = np.asarray(case.spacing, dtype=float)
    extent = np.array([s.stop - s.start for s in box]) * spacing
    margin = np.maximum(REGION_MARGIN_RATIO * extent.max(), (LEAST_SIDE * spacing.min() - extent) / 2)
    return grown(box, [int(np.ceil(m / mm)) for m, mm in zip(margin, spacing, strict=True)], case.shape)


def _with_near_strokes(case: Case, region: Region) -> Region:
    """Return a region that holds the strokes outside, too, that lie no farther from it than half of its side."""
    near = grown(region, [(s.stop - s.start) // 2 + 1 for s in region], case.shape)
    box = bounding_box(case.strokes[near] == Marker.BACKGROUND)
    if box is None:
        return region
    return hull(region, grown(absolute(box, near), [1] * 3, case.shape))


def _reached_out(case: Case, answer: VolumeAnswer) -> Region:
    """Return the region, grown on the sides that the object lies on where the image goes on there."""
    on, region, sides = answer.logit > 0, answer.grid.region, []
    for axis, s in enumerate(region):
        along = on.movedim(axis, 0).flatten(1).float().mean(1)
        more = max(1, (s.stop - s.start) // 2)
        low = s.start - more if float(along[0]) > MAX_SIDE_SHARE else s.start
        high = s.stop + more if float(along[-1]) > MAX_SIDE_SHARE else s.stop
        sides.append(slice(max(0, low), min(case.shape[axis], high)))
    return tuple(sides)
