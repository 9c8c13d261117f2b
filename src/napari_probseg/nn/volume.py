"""The network of volumes with a last word: a light refiner judges it, the slices' answer and the advisers, finely."""

from __future__ import annotations

from dataclasses import replace

import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.nn.adviser_config import AdviserConfig
from napari_probseg.nn.advisers import ADVISER_NAMES, advice, framed
from napari_probseg.nn.appearance import likeness, seen_in
from napari_probseg.nn.filters import edge_strength, smoothed, without_copies
from napari_probseg.nn.general import LAYOUT, GeneralConfig, GeneralCVAE
from napari_probseg.nn.inputs import N_MARKS

N_MAPS = 3 + len(ADVISER_NAMES) + N_MARKS + 3  # see `refiner_maps`
N_FACTS = 6  # see `facts_of`
MAX_LOG_ODDS = 6.0  # that answers are clipped to
GRID_ADVISERS = AdviserConfig(full_scan=False, n_levels=3, ridge=0.1, n_marked=256)
LIKENESS_ADVISERS = replace(GRID_ADVISERS, ridge=0.02)
MAX_ALIKE = 0.5  # share of the rim of the grid that may look like the object
NEAR_PLACES = 8.0  # places from a stroke, over which it is said to be near


class VolumeRefiner(nn.Module):
    """Log-odds of object on the fine grid of a volume; untrained it adds those of the two answers.

    Parameters
    ----------
    n : int
        Channels.
    """

    def __init__(self, n: int = 10) -> None:
        super().__init__()
        self.enter = nn.Conv3d(N_MAPS, n, 1)
        self.facts = nn.Linear(N_FACTS, n)
        self.body = nn.ModuleList(nn.Conv3d(n, n, 3, padding=d, dilation=d) for d in (1, 2, 1))
        self.out = nn.Conv3d(n, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        self.body.to(memory_format=LAYOUT[3])  # type: ignore[call-overload]

    def forward(self, maps: Tensor, facts: Tensor) -> Tensor:
        """Return log-odds, (B, Z, Y, X), of maps (B, N_MAPS, Z, Y, X) and facts (B, N_FACTS)."""
        h = F.silu(self.enter(maps) + self.facts(facts)[:, :, None, None, None]).contiguous(memory_format=LAYOUT[3])
        for layer in self.body:
            h = h + F.silu(layer(h))
        both = MAX_LOG_ODDS * (maps[:, 0] + maps[:, 1])
        return both + MAX_LOG_ODDS * self.out(h)[:, 0]  # type: ignore[no-any-return]


class VolumeCVAE(GeneralCVAE):
    """The general network of volumes, with a refiner."""

    def __init__(self, config: GeneralConfig | None = None) -> None:
        super().__init__(config or GeneralConfig(n_image_channels=2, ndim=3))
        self.refiner = VolumeRefiner()


def refined(network: GeneralCVAE) -> VolumeCVAE:
    """Return a network of volumes with the weights of another, and its refiner or an untrained one."""
    found = VolumeCVAE(network.config)
    found.load_state_dict(network.state_dict(), strict=False)
    return found.eval()


@torch.no_grad()
def advised(x: Tensor, logit: Tensor) -> Tensor:
    """Return what the advisers say, (B, 4, Z, Y, X) in [-1, 1]; see `napari_probseg.nn.advisers.advice`.

    The rim of the grid counts as outside, too, where the network of volumes thinks so and it looks like that. Where
    there are strokes on both sides, what is said of the appearance is the likeness to those inside, with what the
    network takes for object as the guess: a few strokes outside tell little of all that lies around.

    Parameters
    ----------
    x : (B, C + 3, Z, Y, X) tensor
        Image, strokes, and what was accepted, on the fine grid.
    logit : (B, Z, Y, X) tensor
        Of object, of the network of volumes.
    """
    image, marks = x[:, :-N_MARKS], x[:, -N_MARKS : -N_MARKS + 2] > 0
    inside, outside = marks.unbind(1)
    knows, rim = marks.flatten(2).any(2).all(1)[:, None, None, None], framed(inside)
    doubted = rim & (logit < 0)
    if not bool(knows.any()):
        return advice(image, inside, outside | doubted, GRID_ADVISERS)
    seen = seen_in(image, LIKENESS_ADVISERS)
    looks = likeness(seen, marks, (logit / 2).sigmoid(), LIKENESS_ADVISERS)
    alike = knows & rim & (looks[:, 0] > 0)
    told = alike.flatten(1).sum(1) < MAX_ALIKE * rim.flatten(1).sum(1)  # else a few strokes tell nothing apart
    outside = outside | (doubted & ~(alike & told[:, None, None, None]))
    if bool(knows.all()):
        return advice(image, inside, outside, GRID_ADVISERS, looks=looks)
    says = advice(image, inside, outside, GRID_ADVISERS, seen=seen)
    says[:, -1:] = torch.where(knows[:, None], looks, says[:, -1:])
    return says


@torch.no_grad()
def refiner_maps(x: Tensor, logit: Tensor, by_slices: Tensor, quality: Tensor, says: Tensor) -> Tensor:
    """Return what a `VolumeRefiner` looks at in each place, (B, N_MAPS, Z, Y, X).

    Parameters
    ----------
    x, logit
        As for `advised`.
    by_slices : (B, Z, Y, X) tensor
        Log-odds of object from slice to slice.
    quality : (B, Z, Y, X) tensor
        The Dice that is expected of a slice's answer, in [0, 1]; 0 where no slice was looked at.
    says : (B, 4, Z, Y, X) tensor
        See `advised`.
    """
    image, marks = x[:, :-N_MARKS], x[:, -N_MARKS:]
    said = torch.stack([logit, by_slices], 1).clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS) / MAX_LOG_ODDS
    edges = edge_strength(smoothed(without_copies(image)[0])).clamp(max=2)
    return torch.cat([said, quality[:, None], says, marks, edges, nearness(marks[:, 0] > 0, marks[:, 1] > 0)], 1)


def facts_of(
    n_inside: int, n_outside: int, *, fineness: float, thickness: float, trust: float, confidence: float
) -> Tensor:
    """Return what is the same in each place, (N_FACTS,).

    Parameters
    ----------
    n_inside, n_outside : int
        Strokes.
    fineness : float
        Voxels to a place, along the finest axis.
    thickness : float
        The coarsest spacing over the finest.
    trust : float
        In the window of the network of volumes that is believed, in [0, 1].
    confidence : float
        The Dice that the network of images expects on the slices with strokes, in [0, 1].
    """
    facts = torch.tensor([n_inside + 1, n_outside + 1, fineness, thickness], dtype=torch.float32).log2() / 4
    return torch.cat([facts, torch.tensor([trust, confidence], dtype=torch.float32)])


def nearness(inside: Tensor, outside: Tensor) -> Tensor:
    """Return how much nearer strokes inside are than those outside, and how near any is, (B, 2, Z, Y, X)."""
    found = []
    for pair in zip(inside, outside, strict=True):
        marked = [F.max_pool3d(marks[None, None].float(), 2)[0, 0] > 0 for marks in pair]
        far = float(2 * max(inside.shape[1:]))
        near, off = (
            torch.from_numpy(ndimage.distance_transform_edt(~m.cpu().numpy())).float()
            if bool(m.any())
            else torch.full(m.shape, far)
            for m in marked
        )
        found.append(
            torch.stack([(off - near) / (off + near).clamp(min=1), (torch.minimum(near, off) / -NEAR_PLACES).exp()])
        )
    return F.interpolate(torch.stack(found).to(inside.device), inside.shape[1:], mode="trilinear", align_corners=False)
