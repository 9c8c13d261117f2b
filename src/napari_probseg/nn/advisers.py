"""Classical interactive segmentation in torch, whole batches at once: input channels for a network that judges them.

Four methods that need no training say on which side of the border each voxel lies, from -1 (outside) to 1 (inside):
geodesic distance, watershed, random walker, and a classifier of the strokes' appearance. For images and volumes alike:
where a shape says (B, 1, Y, X), it may be (B, 1, Z, Y, X).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.ways import way_costs
from napari_probseg.replay import replayed

ADVISER_NAMES = ("geodesic", "watershed", "walker", "appearance")

_AVERAGED = {2: F.avg_pool2d, 3: F.avg_pool3d}
_LARGEST = {2: F.max_pool2d, 3: F.max_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}
N_GUIDES = N_MARKS + len(ADVISER_NAMES)  # channels of `guide`
N_BLOCKS = 8  # along each side of a window, where half of the marks foretell the other half


@dataclass(frozen=True)
class AdviserConfig:
    """What the advisers reckon with; intensities are in standard deviations of the window, lengths in its voxels.

    Parameters
    ----------
    step, edge : float
        Geodesic cost of a voxel, and of an edge of one standard deviation.
    geodesic_scale, watershed_scale : float
        Difference of the two sides' costs, of the watershed that of their logarithms, at which an adviser is rather
        sure (tanh 1).
    watershed_step, watershed_power : float
        Height of flat ground, and the power whose sum stands for the largest height of a way.
    n_rounds : int
        Raster scans along every axis, forwards and backwards, on half of the resolution.
    full_scan : bool
        Whether one more is made on the full resolution.
    walker_edge : float
        beta of Grady (2006) for intensities in standard deviations.
    n_walker_steps : int
        Steps of conjugate gradients, on half of the resolution.
    appearance_stride : int
        Voxels to a place on the grid that appearance is looked at.
    n_levels : int
        Scales of the appearance: averages over 1, 2, 4, ... of these places.
    place : float
        How much the place counts among the features; the rest have a standard deviation of about 1.
    curvatures : bool
        Whether the Hessian is looked at, too.
    squares : bool
        Whether the squares of these features are features, too: for what is neither bright nor dark.
    ridge : float
        Penalty of the appearance's logistic regression.
    n_newton_steps : int
    n_marked : int
        Marked voxels on each side that the appearance is learnt from, at most.
    rest_side, rest_weight : int, float
        Unmarked places along each side of the window that are learnt from as outside, too, where the object is
        guessed, and how much they count beside the marks outside.
    n_rest_rounds : int
        How often those that look like the object are believed less, and it is learnt anew.
    """

    step: float = 0.05
    edge: float = 8.0
    geodesic_scale: float = 4.0
    watershed_scale: float = 0.15
    watershed_step: float = 0.01
    watershed_power: float = 6.0
    n_rounds: int = 1
    full_scan: bool = True
    walker_edge: float = 100.0
    n_walker_steps: int = 30
    appearance_stride: int = 2
    n_levels: int = 4
    place: float = 0.5
    curvatures: bool = True
    squares: bool = False
    ridge: float = 0.3
    n_newton_steps: int = 5
    n_marked: int = 96
    rest_side: int = 32
    rest_weight: float = 0.8
    n_rest_rounds: int = 1


def guide(x: Tensor) -> Tensor:
    """Return strokes, what was accepted, and what the advisers say, (B, 7, Y, X), of x (B, C + 3, Y, X).

    Whatever the precision around it, the advisers reckon in single precision.
    """
    image, marks = x[:, :-N_MARKS], x[:, -N_MARKS:]
    inside, outside = marks[:, 0] > 0, marks[:, 1] > 0
    with torch.autocast(x.device.type, enabled=False):
        says = advice(image.float(), inside, outside)
    return torch.cat([torch.stack([inside, outside], 1).to(x), marks[:, 2:], says.to(x)], 1)


@torch.no_grad()
def advice(image: Tensor, inside: Tensor, outside: Tensor, config: AdviserConfig | None = None) -> Tensor:
    """Return what each of `ADVISER_NAMES` says, (B, 4, Y, X) in [-1, 1].

    Where nothing is marked on one side the frame of the window stands for the outside; without any mark inside, nothing
    is said (0).

    Parameters
    ----------
    image : (B, C, Y, X) tensor
        Each channel with mean 0 and standard deviation 1.
    inside, outside : (B, Y, X) bool tensors
        The marks.
    """
    config = config or AdviserConfig()
    outside = with_outside(inside, outside)
    marks = torch.stack([inside, outside], 1)  # (B, 2, Y, X)
    smooth = smoothed(image)
    says = torch.cat(
        [
            by_ways(edge_strength(smooth), marks, config),
            walker(smooth, marks, config),
            appearance(image if config.appearance_stride == 1 else smooth, marks, config),
        ],
        1,
    )
    says = torch.where(inside[:, None], 1.0, torch.where(outside[:, None], -1.0, says))
    return says * inside.flatten(1).any(1).view(-1, *[1] * inside.ndim)


def with_outside(inside: Tensor, outside: Tensor) -> Tensor:
    """Return the marks outside, (B, Y, X) bool; where there are none the frame of the window stands for them."""
    return outside | (framed(inside) & ~outside.flatten(1).any(1).view(-1, *[1] * (outside.ndim - 1)))


def framed(inside: Tensor) -> Tensor:
    """Return the outermost voxels of each window that are not marked inside, (B, Y, X) bool."""
    frame = torch.zeros_like(inside)
    for axis in range(1, inside.ndim):
        frame.narrow(axis, 0, 1).fill_(True)
        frame.narrow(axis, inside.shape[axis] - 1, 1).fill_(True)
    return frame & ~inside


def smoothed(image: Tensor) -> Tensor:
    """Return (B, C, Y, X), each voxel the mean of it and its neighbours."""
    for axis in range(2, image.ndim):
        n = image.shape[axis]
        ends = image.narrow(axis, 0, 1), image, image.narrow(axis, n - 1, 1)
        padded = torch.cat(ends, axis)
        image = (padded.narrow(axis, 0, n) + padded.narrow(axis, 1, n) + padded.narrow(axis, 2, n)) / 3
    return image


def edge_strength(smooth: Tensor) -> Tensor:
    """Return the gradient's magnitude of the strongest channel, (B, 1, Y, X)."""
    squared = torch.zeros_like(smooth)
    for axis in range(2, smooth.ndim):
        squared += torch.gradient(smooth, dim=axis)[0].square()
    return squared.amax(1, keepdim=True).sqrt()


@replayed
def by_ways(edges: Tensor, marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return the side that is nearer by geodesic distance, and the one that floods a voxel first, (B, 2, Y, X).

    The distance of Bai & Sapiro (2007) sums the edges on the way; the watershed (Meyer 1994) looks at the largest, to
    which a sum of high powers comes near, and which side is ahead then also shows behind an edge that both must cross
    (Couprie et al. 2011).
    """
    power = config.watershed_power
    cost = torch.cat([config.edge * edges + config.step, (edges + config.watershed_step) ** power], 1)
    inside, outside = way_costs(cost, marks, n_rounds=config.n_rounds, full_scan=config.full_scan)  # (B, 2, ...) each
    distance = (outside[:, :1] - inside[:, :1]) / config.geodesic_scale
    height = (outside[:, 1:].log() - inside[:, 1:].log()) / (power * config.watershed_scale)
    return torch.cat([distance, height.nan_to_num(0.0)], 1).tanh()


@replayed
def walker(smooth: Tensor, marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return how much likelier a random walker meets the marks inside first (Grady 2006), (B, 1, Y, X).

    Solved by conjugate gradients, on half of the resolution.
    """
    ndim = smooth.ndim - 2
    coarse = _AVERAGED[ndim](smooth, 2)
    inside, outside = (_LARGEST[ndim](marks.float(), 2) > 0).chunk(2, 1)
    links = []
    for axis in range(2, coarse.ndim):
        n = coarse.shape[axis]
        squared = (coarse.narrow(axis, 1, n - 1) - coarse.narrow(axis, 0, n - 1)).square().amax(1, keepdim=True)
        links.append((-config.walker_edge * squared).exp() + 1e-4)
    fixed = inside | outside
    value = outside.float().neg().masked_fill(inside, 1.0)
    free = (~fixed).float()
    degree = _degree(links, value).clamp(min=1e-6)
    x = value.clone()
    residual = -_laplacian(x, links) * free
    scaled = residual / degree
    direction = scaled.clone()
    energy = _dot(residual, scaled)
    for _ in range(config.n_walker_steps):
        applied = _laplacian(direction, links) * free
        step = energy / _dot(direction, applied).clamp(min=1e-20)
        x = x + step * direction
        residual = residual - step * applied
        scaled = residual / degree
        before, energy = energy, _dot(residual, scaled)
        direction = scaled + energy / before.clamp(min=1e-20) * direction
    return F.interpolate(x.clamp(-1, 1), smooth.shape[2:], mode=_LINEAR[ndim], align_corners=False)


def _laplacian(x: Tensor, links: list[Tensor]) -> Tensor:
    total = torch.zeros_like(x)
    for axis, link in enumerate(links, 2):
        n = x.shape[axis]
        flow = link * (x.narrow(axis, 1, n - 1) - x.narrow(axis, 0, n - 1))
        total.narrow(axis, 0, n - 1).sub_(flow)
        total.narrow(axis, 1, n - 1).add_(flow)
    return total


def _degree(links: list[Tensor], like: Tensor) -> Tensor:
    total = torch.zeros_like(like)
    for axis, link in enumerate(links, 2):
        n = like.shape[axis]
        total.narrow(axis, 0, n - 1).add_(link)
        total.narrow(axis, 1, n - 1).add_(link)
    return total


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))


def appearance(smooth: Tensor, marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return what a ridge logistic regression on the marked voxels' appearance says, (B, 1, Y, X).

    Features are the channels, smoothed at several scales, their edges there, and the place.
    """
    features, marks = _looked_at(smooth, marks, config)
    slope = _logistic(*_lesson(features.flatten(2), marks, config), config)
    return _said(features, slope, smooth.shape[2:])


def likeness(image: Tensor, marks: Tensor, guess: Tensor, config: AdviserConfig) -> Tensor:
    """Return what looks like the marks inside and unlike all that surrounds the object, (B, 1, Y, X).

    As `appearance`, but unmarked voxels count as outside, too, the less the likelier they are object by a guess, the
    probability of object, (B, Y, X). A few marks outside show little of what surrounds an object; where it is rare,
    nearly all that is unmarked does. It learns from positive and unlabelled data (Elkan & Noto 2008), in rounds in
    which what looks like object is believed less.
    """
    features, marks = _looked_at(image, marks, config)
    lesson = _lesson(features.flatten(2), marks, config)
    return _said(features, _against_rest(features, marks, lesson, guess, config), image.shape[2:])


def _said(features: Tensor, slope: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what slopes and offset (B, F + 1) make of features (B, F, ...), (B, 1, *shape) in [-1, 1]."""
    odds = torch.baddbmm(slope[:, None, -1:], slope[:, None, :-1], features.flatten(2))  # (B, 1, places)
    says = (odds / 2).tanh().view(len(features), 1, *features.shape[2:])
    return F.interpolate(says, tuple(shape), mode=_LINEAR[len(shape)], align_corners=False)


def _against_rest(
    features: Tensor, marks: Tensor, lesson: tuple[Tensor, Tensor, Tensor], guess: Tensor, config: AdviserConfig
) -> Tensor:
    """Return slopes and offset (B, F + 1) of a regression that learns from unmarked places as outside, too."""
    x, y, weight = lesson
    guess = F.interpolate(guess[:, None].to(features), features.shape[2:], mode=_LINEAR[features.ndim - 2])[:, 0]
    spread = tuple(slice(k // 2, None, k) for k in (-(-n // config.rest_side) for n in features.shape[2:]))
    everyone = slice(None)
    rest = features[(everyone, everyone, *spread)].flatten(2).transpose(1, 2)  # (B, places, F)
    free = (marks.amax(1) == 0)[(everyone, *spread)].flatten(1)
    doubt = free * (1 - guess[(everyone, *spread)].flatten(1)) + 1e-4
    marked = torch.where(y > 0, weight, weight * (1 - config.rest_weight))
    x, y = torch.cat([x, rest], 1), F.pad(y, (0, rest.shape[1]))
    trust = doubt
    for round_ in range(config.n_rest_rounds + 1):
        share = config.rest_weight * trust / trust.sum(1, keepdim=True)
        slope = _logistic(x, y, torch.cat([marked, share], 1), config)
        if round_ < config.n_rest_rounds:
            odds = torch.einsum("bnf,bf->bn", rest, slope[:, :-1]) + slope[:, -1:]
            trust = doubt * (-odds).sigmoid()
    return slope


def _seen_at(level: Tensor, config: AdviserConfig) -> Tensor:
    """Return the features of one scale: intensities, edges, and curvatures."""
    found = [level, edge_strength(level)]
    if config.curvatures:
        found += curvatures(level)
    return torch.cat(found, 1)


def curvatures(level: Tensor) -> tuple[Tensor, Tensor]:
    """Return trace and anisotropy of the Hessian, (B, C, Y, X) each: blobs and ridges, and ridges alone.

    In a volume the anisotropy is the norm of what the Hessian has beside its trace, too.
    """
    slopes = torch.gradient(level, dim=list(range(2, level.ndim)))
    second = [torch.gradient(slope, dim=list(range(2, level.ndim))) for slope in slopes]
    n = len(second)
    trace = torch.stack([second[i][i] for i in range(n)]).sum(0)
    norm = torch.stack([second[i][j].square() for i in range(n) for j in range(n)]).sum(0)
    return trace, (norm - trace.square() / n).clamp(min=0).sqrt()


@torch.no_grad()
def foresight(image: Tensor, marks: Tensor, config: AdviserConfig) -> Tensor:
    """Return how well the appearance of some marks tells the side of others, (B,): 1 always, 0 no better than chance.

    The window is parted into blocks, half of which are learnt from and the other half foretold, and the other way
    round; each side counts alike.
    """
    features, marks = _looked_at(image, marks, config)
    flat = features.flatten(2)
    half = _checkered(features.shape[2:]).to(image.device)
    right = torch.zeros(len(image), 2, device=image.device)
    count = torch.zeros_like(right)
    for learnt in (half, ~half):
        slope = _logistic(*_lesson(flat, marks & learnt, config), config)
        x, y, weight = _lesson(flat, marks & ~learnt, config)
        odds = torch.einsum("bnf,bf->bn", x, slope[:, :-1]) + slope[:, -1:]
        for side in (0, 1):
            chosen = (weight > 0) & (y == 1 - side)
            right[:, side] += (((odds > 0) == (y > 0)) & chosen).sum(1)
            count[:, side] += chosen.sum(1)
    return (2 * (right / count.clamp(min=1)).mean(1) - 1).clamp(min=0)


def _checkered(shape: Sequence[int]) -> Tensor:
    """Return every second of the blocks, eight along each side, that a window is parted into, (Y, X) bool."""
    blocks = [torch.arange(n) // max(1, -(-n // N_BLOCKS)) for n in shape]
    return torch.stack(torch.meshgrid(*blocks, indexing="ij")).sum(0).remainder(2).bool()


def _looked_at(smooth: Tensor, marks: Tensor, config: AdviserConfig) -> tuple[Tensor, Tensor]:
    """Return features (B, F, ...) and marks (B, 2, ...) on the grid that appearance is looked at."""
    ndim, stride = smooth.ndim - 2, config.appearance_stride
    features = _features(_AVERAGED[ndim](smooth, stride), config)
    return features, _LARGEST[ndim](marks.float(), stride) > 0


def _lesson(flat: Tensor, marks: Tensor, config: AdviserConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return features (B, 2 n, F), the side (1 inside) and the weight (B, 2 n) of some marked voxels."""
    sides = [_sampled(flat, mark.flatten(1), config.n_marked) for mark in marks.unbind(1)]
    x = torch.cat([side[0] for side in sides], 1)
    y = torch.cat([torch.ones_like(sides[0][1]), torch.zeros_like(sides[1][1])], 1)
    return x, y, torch.cat([side[1] for side in sides], 1)


def _features(level: Tensor, config: AdviserConfig) -> Tensor:
    ndim, shape = level.ndim - 2, level.shape[2:]
    found = [_seen_at(level, config)]
    for _ in range(1, config.n_levels):
        level = _AVERAGED[ndim](level, 2)
        both = _seen_at(level, config)
        found.append(F.interpolate(both, shape, mode=_LINEAR[ndim], align_corners=False))
    lines = [torch.linspace(-1, 1, n, device=level.device) for n in shape]
    place = torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(len(level), -1, *shape)
    features = torch.cat([*found, config.place * place], 1)
    return torch.cat([features, features.square() - 1], 1) if config.squares else features


def _sampled(flat: Tensor, mark: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return features (B, n, F) of evenly chosen marked voxels, and their weights, which sum to one (or zero)."""
    count = mark.sum(1, keepdim=True)
    n = max(1, min(n, int(count.max())))
    order = mark.cumsum(1)
    wanted = (torch.arange(n, device=flat.device) * (count / n).clamp(min=1)).floor().long() + 1  # (B, n)
    index = torch.searchsorted(order, wanted.clamp(max=flat.shape[2]))
    index = index.clamp(max=flat.shape[2] - 1)
    weight = (wanted <= count).float()
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2), weight


def _logistic(x: Tensor, y: Tensor, weight: Tensor, config: AdviserConfig) -> Tensor:
    """Return slopes and offset (B, F + 1) by Newton's method."""
    x = F.pad(x, (0, 1), value=1.0)
    n = x.shape[2]
    penalty = torch.full((n,), config.ridge / math.sqrt(n), device=x.device)
    penalty[-1] = 1e-3
    slope = x.new_zeros(len(x), n)
    for _ in range(config.n_newton_steps):
        p = torch.einsum("bnf,bf->bn", x, slope).sigmoid()
        gradient = torch.einsum("bnf,bn->bf", x, weight * (p - y)) + penalty * slope
        curvature = torch.einsum("bnf,bn,bng->bfg", x, weight * (p * (1 - p)).clamp(min=1e-3), x) + penalty.diag()
        slope = slope - torch.linalg.solve(curvature, gradient)
    return slope
