"""The last word: what the network says, the advisers and the edges, judged once more on a finer grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.nn.adviser_config import AdviserConfig
from napari_probseg.nn.advisers import ADVISER_NAMES, advice
from napari_probseg.nn.appearance import Seen
from napari_probseg.nn.filters import edge_strength, smoothed, without_copies
from napari_probseg.nn.inputs import N_MARKS

N_FACTS = 6  # about the whole window, the same in each voxel
N_SEEN = 1 + len(ADVISER_NAMES) + N_MARKS + 1 + N_FACTS
FINE_ADVISERS = AdviserConfig(
    full_scan=False, appearance_stride=1, n_levels=5, place=0.2, curvatures=True, ridge=0.1, n_marked=256
)
MAX_LOG_ODDS = 6.0  # that the network's answer is clipped to


class Refiner(nn.Module):
    """Log-odds of object, moved by a few convolutions on the fine grid; untrained it leaves them as they are.

    Parameters
    ----------
    n : int
        Channels.
    """

    def __init__(self, n: int = 12) -> None:
        super().__init__()
        self.enter = nn.Conv2d(N_SEEN, n, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(n, n, 3, padding=d, dilation=d) for d in (2, 4, 1))
        self.out = nn.Conv2d(n, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, seen: Tensor) -> Tensor:
        """Return log-odds, (B, Y, X), of what `refiner_input` returns."""
        h = F.silu(self.enter(seen))
        for layer in self.body:
            h = h + F.silu(layer(h))
        return MAX_LOG_ODDS * seen[:, 0] + MAX_LOG_ODDS * self.out(h)[:, 0]  # type: ignore[no-any-return]


@torch.no_grad()
def refiner_input(x: Tensor, probability: Tensor, facts: Tensor, seen: Seen | None = None) -> Tensor:
    """Return what a `Refiner` looks at, (B, N_SEEN, Y, X).

    Parameters
    ----------
    x : (B, 6, Y, X) tensor
        Image, strokes and what was accepted, or on show when the latest of them was drawn, on the fine grid.
    probability : (B, Y, X) tensor
        What the network says.
    facts : (B, N_FACTS) tensor
        See `facts_of`.
    seen : Seen, optional
        Of the image by `FINE_ADVISERS`, where that is at hand.
    """
    image, marks = x[:, :-N_MARKS], x[:, -N_MARKS:]
    logit = probability.clamp(1e-3, 1 - 1e-3).logit().clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS) / MAX_LOG_ODDS
    edges = edge_strength(smoothed(without_copies(image)[0])).clamp(max=2)
    everywhere = facts[:, :, None, None].expand(-1, -1, *x.shape[2:])
    says = advice(image, marks[:, 0] > 0, marks[:, 1] > 0, FINE_ADVISERS, seen=seen)
    return torch.cat([logit[:, None], says, marks, edges, everywhere], 1)


def facts_of(
    n_inside: int, n_outside: int, fineness: float, confidence: float, foretold: tuple[float, float]
) -> Tensor:
    """Return what is the same in each voxel, (N_FACTS,).

    Parameters
    ----------
    n_inside, n_outside : int
        Strokes.
    fineness : float
        Places of the fine grid to one of the network's.
    confidence : float
        The Dice that the network expects of its best answer.
    foretold : (float, float)
        How well it, and the strokes' appearance, foretell half of the strokes from the others, in [0, 1].
    """
    counts = torch.tensor([n_inside, n_outside], dtype=torch.float32).add(1).log2() / 4
    return torch.cat([counts, torch.tensor([fineness / 4, confidence, *foretold], dtype=torch.float32)])
