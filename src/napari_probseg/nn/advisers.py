"""Classical interactive segmentation in torch, whole batches at once: input channels for a network that judges them.

Four methods that need no training say on which side of the border each voxel lies, from -1 (outside) to 1 (inside):
geodesic distance, watershed, random walker, and a classifier of the strokes' appearance. For images and volumes alike:
where a shape says (B, 1, Y, X), it may be (B, 1, Z, Y, X).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.nn.adviser_config import AdviserConfig
from napari_probseg.nn.appearance import Seen, appearance, seen_in
from napari_probseg.nn.filters import edge_strength, smoothed, without_copies
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.ways import way_costs
from napari_probseg.replay import replayed

ADVISER_NAMES = ("geodesic", "watershed", "walker", "appearance")

_AVERAGED = {2: F.avg_pool2d, 3: F.avg_pool3d}
_LARGEST = {2: F.max_pool2d, 3: F.max_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}
N_GUIDES = N_MARKS + len(ADVISER_NAMES)  # channels of `guide`


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
def advice(
    image: Tensor,
    inside: Tensor,
    outside: Tensor,
    config: AdviserConfig | None = None,
    *,
    seen: Seen | None = None,
    looks: Tensor | None = None,
) -> Tensor:
    """Return what each of `ADVISER_NAMES` says, (B, 4, Y, X) in [-1, 1].

    Where nothing is marked on one side the frame of the window stands for the outside; without any mark inside, nothing
    is said (0).

    Parameters
    ----------
    image : (B, C, Y, X) tensor
        Each channel with mean 0 and standard deviation 1.
    inside, outside : (B, Y, X) bool tensors
        The marks.
    config : AdviserConfig, optional
    seen : Seen, optional
        What `seen_in` returns of the image, where that is at hand.
    looks : (B, 1, Y, X) tensor, optional
        What is said of the appearance in place of `appearance`.
    """
    config = config or AdviserConfig()
    outside = with_outside(inside, outside)
    marks = torch.stack([inside, outside], 1)  # (B, 2, Y, X)
    smooth = smoothed(without_copies(image)[0])
    if looks is None:
        looks = appearance(seen or seen_in(image, config), marks, config)
    says = torch.cat(
        [
            by_ways(edge_strength(smooth), marks, config),
            walker(smooth, marks, config),
            looks,
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
