"""The advised conditional VAE: a pretrained encoder that also sees what classical methods make of the marks.

Image, marks, what was accepted and the advisers go once through the encoder and a light decoder; samples are drawn
late, as in `napari_probseg.nn.general`, whose heads it shares. It says how good its answer in a window is, so that
windows of different scales can be weighed against one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.nn import efficientnet
from napari_probseg.nn.advisers import ADVISER_NAMES, N_GUIDES, guide
from napari_probseg.nn.general import Features, GeneralConfig, Head, Posterior, Sample
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.refiner import Refiner


@dataclass(frozen=True)
class AdvisedConfig:
    """The size of the network, which is for images; they have three channels.

    Parameters
    ----------
    widths : tuple of int
        Channels of the decoder at 1/2, 1/4, 1/8 and 1/16 of the resolution.
    n_head, n_latent : int
        See `GeneralConfig`.
    advisers : tuple of str
        Which of `napari_probseg.nn.advisers.ADVISER_NAMES` are heard.
    accepted : bool
        Whether what was accepted is an input of its own; else it counts as marked.

    Raises
    ------
    ValueError
        If there is no such adviser.
    """

    widths: tuple[int, ...] = (32, 48, 64, 96)
    n_head: int = 32
    n_latent: int = 8
    advisers: tuple[str, ...] = ADVISER_NAMES
    accepted: bool = True

    @property
    def ndim(self) -> int:
        """2: images."""
        return 2

    @property
    def n_image_channels(self) -> int:
        """3: the encoder's."""
        return 3

    def __post_init__(self) -> None:
        unknown = sorted(set(self.advisers) - set(ADVISER_NAMES))
        if unknown:
            raise ValueError(f"there is no adviser {unknown[0]!r}: choose among {', '.join(ADVISER_NAMES)}")


@dataclass(frozen=True)
class AdvisedFeatures(Features):
    """What is known of image and marks; the samples share it."""

    deep: Tensor  # (B, 320) the mean of the encoder's coarsest features


class AdvisedCVAE(nn.Module):
    """Image, marks, accepted -> larger partial segmentations; sizes must be divisible by 32."""

    def __init__(self, config: AdvisedConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AdvisedConfig()
        widths = tuple(config.widths)
        heads = GeneralConfig(n_head=config.n_head, n_latent=config.n_latent)
        self.encoder = efficientnet.Encoder()
        self.guide = nn.Sequential(
            nn.Conv2d(N_GUIDES, 32, 3, 2, padding=1), nn.SiLU(), nn.Conv2d(32, efficientnet.N_STEM, 3, padding=1)
        )
        nn.init.zeros_(self.guide[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.guide[-1].bias)  # type: ignore[arg-type]
        coming = [*widths[1:], efficientnet.WIDTHS[-1]]
        self.up = nn.ModuleList(
            _block(below + skip + N_GUIDES, width)
            for below, skip, width in zip(coming, efficientnet.WIDTHS, widths, strict=False)
        )
        self.posterior = Posterior(widths[1], config.n_latent, ndim=2)
        self.head = Head(widths[1], widths[0], heads)
        self.control = Head(widths[1], widths[0], heads)
        self.estimate = Estimate(efficientnet.WIDTHS[-1], widths[1])
        self.refiner = Refiner()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def n_latent(self) -> int:
        """Dimensions of z."""
        return self.config.n_latent

    def guided(self, x: Tensor) -> Tensor:
        """Return marks, accepted and what the advisers say, (B, 7, Y, X), of x (B, 6, Y, X)."""
        if not self.config.accepted:
            image, inside, outside, accepted = x[:, :-N_MARKS], x[:, -3] > 0, x[:, -2] > 0, x[:, -1]
            marks = [inside | (accepted > 0), outside | (accepted < 0), torch.zeros_like(inside)]
            x = torch.cat([image, torch.stack(marks, 1).to(x)], 1)
        heard = [True] * N_MARKS + [name in self.config.advisers for name in ADVISER_NAMES]
        return guide(x) * torch.tensor(heard, device=x.device)[:, None, None]

    def features(self, x: Tensor) -> AdvisedFeatures:
        """Return the features of x, (B, 6, Y, X): image (RGB), inside, outside, accepted (1 object, -1 background)."""
        guide = self.guided(x).contiguous(memory_format=torch.channels_last)
        image = x[:, :-N_MARKS].contiguous(memory_format=torch.channels_last)
        maps = self.encoder(image, self.guide(guide))
        up = maps.pop()
        deep = up.mean((2, 3))
        guides = [_halved(guide)]
        while len(guides) < len(self.up):
            guides.append(_halved(guides[-1]))
        coarse = up
        for block, skip, hint in zip(reversed(self.up), reversed(maps), reversed(guides), strict=True):
            coarse = up
            up = block(torch.cat([F.interpolate(up, skip.shape[2:], mode="nearest"), skip, hint], 1))
        return AdvisedFeatures(coarse, up, deep)

    def encode(self, features: Features, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | y, x), see `GeneralCVAE.encode`."""
        return self.posterior(features, y)  # type: ignore[no-any-return]

    def decode(self, features: Features, z: Tensor, reach: Tensor) -> Sample:
        """Return K samples of each item, see `GeneralCVAE.decode`."""
        return self.head(features, z, reach)  # type: ignore[no-any-return]

    def decode_control(self, features: Features, reach: Tensor) -> Sample:
        """Return the answer of the deterministic head, one for each item, with the Dice that is expected of it."""
        z = features.coarse.new_zeros(len(reach), self.n_latent)
        sample: Sample = self.control(features, z, reach)
        assert isinstance(features, AdvisedFeatures)
        return Sample(sample.mask, sample.object, self.estimate(features, sample.object))


class Estimate(nn.Module):
    """How good an answer in a window is: the logit of the Dice that is expected of it, (B,)."""

    def __init__(self, n_deep: int, n_coarse: int) -> None:
        super().__init__()
        self.deep = nn.Linear(n_deep, 32)
        self.coarse = nn.Linear(2 * n_coarse, 32)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(64 + 4, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, features: AdvisedFeatures, logit: Tensor) -> Tensor:
        p = F.avg_pool2d(logit.detach().sigmoid()[:, None], 4)  # (B, 1, Y/4, X/4)
        inside = _weighted_mean(features.coarse, p)
        border = _weighted_mean(features.coarse, p * (1 - p))
        rim = (p[:, 0, 0].mean(1) + p[:, 0, -1].mean(1) + p[:, 0, :, 0].mean(1) + p[:, 0, :, -1].mean(1)) / 4
        size = p.mean((1, 2, 3))
        unsure = (p * (1 - p)).mean((1, 2, 3)) / size.clamp(min=1e-3)
        summary = torch.stack([size, size.clamp(min=1e-4).log() / 4, unsure, rim], 1)
        known = torch.cat([self.deep(features.deep), self.coarse(torch.cat([inside, border], 1)), summary], 1)
        return self.out(known)[:, 0]  # type: ignore[no-any-return]


def pretrained(config: AdvisedConfig | None = None, published: Mapping[str, Tensor] | None = None) -> AdvisedCVAE:
    """Return an untrained network whose encoder has learnt from ImageNet, see `efficientnet.folded`."""
    network = AdvisedCVAE(config)
    if published is not None:
        network.encoder.load_state_dict(efficientnet.folded(published))
    return network


def _block(n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise((n_in, n_out, n_out)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(8, b), nn.SiLU()]
    return nn.Sequential(*layers)


def _halved(guide: Tensor) -> Tensor:
    """Return the guide on half of its resolution; a mark survives however small it is."""
    return torch.cat([F.max_pool2d(guide[:, :2], 2), F.avg_pool2d(guide[:, 2:], 2)], 1)


def _weighted_mean(h: Tensor, weight: Tensor) -> Tensor:
    return (h * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-2)
