"""The general conditional VAE: image and marks once through a trunk, then cheap samples from a light head.

It keeps the model of Wong, Guttag & Dalca (2022), ``p(z) = N(0, I)``, ``q(z | y, x)``, ``g(z, x) -> y``, and puts the
latent late, so that what depends on image and marks alone is computed once for any number of samples.

One network for images and one for volumes, from the same lines: where a shape says (B, C, Y, X), it is (B, C, Z, Y, X)
for ``ndim=3``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.torch_version import TorchVersion

from napari_probseg.nn.advisers import N_GUIDES, guide
from napari_probseg.nn.inputs import N_MARKS, as_marks

# Voxels along each side of the crops that it is trained on, and so of the windows that it is asked about: how large a
# thing looks counts, at twice the size it is another one.
WINDOW_SIDE = {2: 96, 3: 32}

_CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_CONVOLVED = {2: F.conv2d, 3: F.conv3d}
_AVERAGED = {2: F.avg_pool2d, 3: F.avg_pool3d}
# A CPU is a tenth faster with channels last, twice as fast where they are few; before 2.3, torch did not learn through
# such a volume of one voxel.
LAYOUT = {
    2: torch.channels_last,
    3: torch.channels_last_3d if TorchVersion(torch.__version__) >= "2.3" else torch.contiguous_format,
}
_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class GeneralConfig:
    """The size of the network.

    Parameters
    ----------
    n_image_channels : int
        Channels of the image; grey is repeated.
    widths : tuple of int
        Channels at 1/2, 1/4, 1/8, ... of the resolution.
    n_head : int
        Channels of the head at 1/4 of the resolution; half of it at 1/2.
    n_latent : int
        Dimensions of z.
    ndim : int
        2 for images, 3 for volumes.
    advised : bool
        Whether it hears the advisers (`napari_probseg.nn.advisers`), and what was accepted is an input of its own;
        else that counts as marked.

    Raises
    ------
    ValueError
        If ``ndim`` is neither.
    """

    n_image_channels: int = 3
    widths: tuple[int, ...] = (40, 80, 128, 160)
    n_head: int = 32
    n_latent: int = 8
    ndim: int = 2
    advised: bool = False

    def __post_init__(self) -> None:
        if self.ndim not in _CONVOLUTION:
            raise ValueError(f"ndim must be 2 or 3, got {self.ndim}")


@dataclass(frozen=True)
class Features:
    """What the trunk knows of image and marks; the samples share it."""

    coarse: Tensor  # (B, C, Y/4, X/4)
    fine: Tensor  # (B, C, Y/2, X/2)


@dataclass(frozen=True)
class Sample:
    """What a head says: logits of the partialness mask and the segmentation, and how good it thinks it is."""

    mask: Tensor  # (B * K, Y, X) logit of y_m; the K samples of an item follow one another
    object: Tensor  # (B * K, Y, X) logit of y_s
    quality: Tensor  # (B * K,) logit of the Dice that it expects


class GeneralCVAE(nn.Module):
    """Image, inside and outside marks -> larger partial segmentations.

    Sizes must be divisible by 16. ``control`` is a head of the same size without a latent.
    """

    def __init__(self, config: GeneralConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GeneralConfig()
        widths, ndim = tuple(config.widths), config.ndim
        n_in = config.n_image_channels + (N_GUIDES if config.advised else 2)
        self.stem = nn.Sequential(Unshuffle(), _block(2**ndim * n_in, widths[0], ndim=ndim))
        self.down = nn.ModuleList(_block(a, b, ndim=ndim, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_block(a + b, a, ndim=ndim) for a, b in pairwise(widths))
        self.posterior = Posterior(widths[1], config.n_latent, ndim=ndim)
        self.head = Head(widths[1], widths[0], config)
        self.control = Head(widths[1], widths[0], config)
        self.to(memory_format=LAYOUT[ndim])  # type: ignore[call-overload]

    @property
    def n_latent(self) -> int:
        """Dimensions of z."""
        return self.config.n_latent

    def features(self, x: Tensor) -> Features:
        """Return the features of x, (B, image channels + 3, Y, X): image, inside, outside, accepted."""
        seen = torch.cat([x[:, :-N_MARKS], guide(x)], 1) if self.config.advised else as_marks(x)
        maps = [self.stem(seen.contiguous(memory_format=LAYOUT[x.ndim - 2]))]
        for down in self.down:
            maps.append(down(maps[-1]))
        up = maps.pop()
        fine = up
        coarse = up
        for block, skip in zip(reversed(self.up), reversed(maps), strict=True):
            coarse = fine
            fine = block(torch.cat([skip, _twice(fine)], 1))
        return Features(coarse, fine)

    def encode(self, features: Features, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | y, x), (B, n_latent) each, for y of (B, 2, Y, X)."""
        return self.posterior(features, y)  # type: ignore[no-any-return]

    def decode(self, features: Features, z: Tensor, reach: Tensor) -> Sample:
        """Return K samples of each item, at little more cost than one.

        Parameters
        ----------
        features : Features
            Of B items.
        z : (B * K, n_latent) tensor
            The latents, K of the first item before those of the second.
        reach : (B * K,) tensor in (0, 1]
            Share of the region that each sample decides.
        """
        return self.head(features, z, reach)  # type: ignore[no-any-return]

    def decode_control(self, features: Features, reach: Tensor) -> Sample:
        """Return the answer of the deterministic head, one for each item."""
        z = features.coarse.new_zeros(len(reach), self.n_latent)
        return self.control(features, z, reach)  # type: ignore[no-any-return]


def inflated(network: GeneralCVAE, n_image_channels: int = 2) -> GeneralCVAE:
    """Return a network for volumes that sees each slice (Y, X) as a network for images does; a start for training.

    Each kernel is the middle one of three (Carreira & Zisserman 2017 share it among all): what the slices on both sides
    tell is left to be learnt.

    Parameters
    ----------
    network : GeneralCVAE
        Of images.
    n_image_channels : int
        Of the new one; they share what the network has learnt of grey.
    """
    config = replace(network.config, ndim=3, n_image_channels=n_image_channels)
    volumes = GeneralCVAE(config)
    state = {name: _inflated(tensor) for name, tensor in network.state_dict().items()}
    stem = network.stem[1][0][0].weight  # type: ignore[index, union-attr]
    grey, marks = stem.unflatten(1, (-1, 4)).split([network.config.n_image_channels, 2], 1)  # (O, C, 4, 3, 3)
    grey = grey.mean(1, keepdim=True).repeat_interleave(n_image_channels, 1)
    grey = grey * network.config.n_image_channels / n_image_channels
    of_both = torch.cat([grey, marks], 1).repeat(1, 1, 2, 1, 1) / 2  # the two slices that Unshuffle takes together
    state["stem.1.0.0.weight"] = _inflated(of_both.flatten(1, 2))
    for head in ("head", "control"):
        for part in ("weight", "bias"):
            out = network.state_dict()[f"{head}.out.{part}"].unflatten(0, (2, 4))
            state[f"{head}.out.{part}"] = _inflated(out.repeat_interleave(2, 0).flatten(0, 1))
    volumes.load_state_dict(state)
    return volumes


def with_advisers(network: GeneralCVAE) -> GeneralCVAE:
    """Return a network that hears the advisers, with the weights of one that does not; a start for training.

    What they say counts nothing yet, and what was accepted half as much as strokes of the same kind, and their absence.
    """
    found = type(network)(replace(network.config, advised=True))
    state = network.state_dict()
    name, n_image = "stem.1.0.0.weight", network.config.n_image_channels
    image, inside, outside = state[name].unflatten(1, (-1, 2**network.config.ndim)).split([n_image, 1, 1], 1)
    advisers = torch.zeros_like(inside).repeat_interleave(N_GUIDES - N_MARKS, 1)
    state[name] = torch.cat([image, inside, outside, (inside - outside) / 2, advisers], 1).flatten(1, 2)
    found.load_state_dict(state)
    return found


def _inflated(tensor: Tensor) -> Tensor:
    """Return a kernel (..., K, K) as (..., K, K, K), zero but in the middle; what is no kernel as it is."""
    if tensor.ndim != 4:
        return tensor
    k = tensor.shape[-1]
    volume = tensor.new_zeros(*tensor.shape[:2], k, k, k)
    volume[:, :, k // 2] = tensor
    return volume


class Head(nn.Module):
    """Features and a latent -> a sample; the latent scales and shifts the channels (FiLM, Perez et al. 2018)."""

    def __init__(self, n_coarse: int, n_fine: int, config: GeneralConfig) -> None:
        super().__init__()
        n_head, n_latent, ndim = config.n_head, config.n_latent, config.ndim
        half = n_head // 2
        convolution = _CONVOLUTION[ndim]
        self.coarse = convolution(n_coarse, n_head, 1)
        self.fine = convolution(n_fine, half, 1)
        self.near = _normed(n_head, n_head, ndim=ndim, dilation=2)
        self.far = _normed(n_head, n_head, ndim=ndim, dilation=4)
        self.join = _normed(n_head + half, half, ndim=ndim)
        self.out = convolution(half, 2 * 2**ndim, 3, padding=1)
        self.film = nn.Sequential(nn.Linear(n_latent + 1, 64), nn.SiLU(), nn.Linear(64, 4 * n_head + 2 * half))
        self.quality = nn.Sequential(nn.Linear(2 * half + n_latent + 2, 32), nn.SiLU(), nn.Linear(32, 1))
        self.widths = (n_head, n_head, half)

    def forward(self, features: Features, z: Tensor, reach: Tensor) -> Sample:
        condition = torch.cat([z, reach.log()[:, None]], 1)  # (B * K, n_latent + 1)
        first, second, third = self.film(condition).split([2 * w for w in self.widths], 1)
        coarse, fine = self._shared(features)
        h = _modulate(coarse, first)
        h = h + self.near(h)
        h = _modulate(h, second)
        h = h + self.far(h)
        _, norm, silu = self.join
        h = _convolved(_twice(h), self._join_weight[:, : h.shape[1]])
        h = _modulate(silu(norm(_plus(h, fine))), third)
        mask, inside = shuffled(self.out(F.silu(h))).unbind(1)
        return Sample(mask, inside, self._expected(h.detach(), inside.detach(), condition.detach()))

    @property
    def _join_weight(self) -> Tensor:
        return self.join[0].weight  # type: ignore[return-value]

    def _shared(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return what does not depend on the latent: the convolution over ``cat(h, fine)`` is split in two."""
        coarse = self.coarse(features.coarse)
        fine = _convolved(self.fine(features.fine), self._join_weight[:, coarse.shape[1] :])
        return coarse, fine

    def _expected(self, h: Tensor, inside: Tensor, condition: Tensor) -> Tensor:
        weight = _AVERAGED[h.ndim - 2](inside.sigmoid()[:, None], 2)  # (B * K, 1, Y/2, X/2)
        total = weight.sum(_space(h))
        over_object = (weight.flatten(2) @ h.flatten(2).transpose(1, 2))[:, 0] / (total + 1)  # (B * K, C)
        size = (total / weight[0].numel()).clamp(min=1e-4).log()
        return self.quality(torch.cat([over_object, h.mean(_space(h)), size, condition], 1))[:, 0]  # type: ignore[no-any-return]


class Posterior(nn.Module):
    """q(z | y, x) from the trunk's coarse features and the partial segmentation."""

    def __init__(self, n_coarse: int, n_latent: int, *, ndim: int) -> None:
        super().__init__()
        self.coarse = _CONVOLUTION[ndim](n_coarse, 32, 1)
        self.body = nn.Sequential(
            _normed(34, 32, ndim=ndim, stride=2), _normed(32, 48, ndim=ndim, stride=2), _normed(48, 64, ndim=ndim)
        )
        self.out = nn.Linear(128, 2 * n_latent)

    def forward(self, features: Features, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(torch.cat([self.coarse(features.coarse), _AVERAGED[y.ndim - 2](y, 4)], 1))
        mean, log_variance = self.out(torch.cat([h.mean(_space(h)), h.amax(_space(h))], 1)).chunk(2, 1)
        return mean, log_variance.clamp(-6, 2)


class Unshuffle(nn.Module):
    """(B, C, Y, X) -> (B, 4 C, Y/2, X/2): each 2 x 2 becomes channels (8 C of each 2 x 2 x 2), and nothing is lost."""

    def forward(self, x: Tensor) -> Tensor:
        ndim = x.ndim - 2
        halves = [m for n in x.shape[2:] for m in (n // 2, 2)]
        x = x.reshape(*x.shape[:2], *halves)  # (B, C, Y/2, 2, X/2, 2)
        order = (0, 1, *range(3, 3 + 2 * ndim, 2), *range(2, 2 + 2 * ndim, 2))
        return x.permute(order).flatten(1, 1 + ndim)


def shuffled(x: Tensor) -> Tensor:
    """(B, 4 C, Y, X) -> (B, C, 2 Y, 2 X): the inverse of `Unshuffle`."""
    ndim = x.ndim - 2
    parts = x.reshape(len(x), -1, *[2] * ndim, *x.shape[2:])  # (B, C, 2, 2, Y, X)
    order = [axis for i in range(ndim) for axis in (2 + ndim + i, 2 + i)]
    return parts.permute(0, 1, *order).reshape(len(x), -1, *(2 * n for n in x.shape[2:]))


def _normed(n_in: int, n_out: int, *, ndim: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = _CONVOLUTION[ndim](n_in, n_out, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, n_out), nn.SiLU())


def _block(n_in: int, n_out: int, *, ndim: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_normed(n_in, n_out, ndim=ndim, stride=stride), _normed(n_out, n_out, ndim=ndim))


def _convolved(h: Tensor, weight: Tensor) -> Tensor:
    return _CONVOLVED[h.ndim - 2](h, weight, padding=1)


def _modulate(h: Tensor, film: Tensor) -> Tensor:
    """Scale and shift the channels of h, (B, C, Y, X), by film, (B * K, 2 C); return (B * K, C, Y, X)."""
    k = len(film) // len(h)
    each = (len(h), *([k] if k > 1 else []), h.shape[1], *[1] * (h.ndim - 2))
    scale, shift = (part.reshape(each) for part in film.chunk(2, 1))
    if k == 1:
        return torch.addcmul(shift + h, h, scale)
    h = h[:, None]
    return torch.addcmul(shift + h, h, scale).flatten(0, 1)


def _plus(h: Tensor, shared: Tensor) -> Tensor:
    """Add (B, C, Y, X) to each of its K samples in (B * K, C, Y, X)."""
    return (h.reshape(len(shared), -1, *h.shape[1:]) + shared[:, None]).flatten(0, 1)


def _twice(h: Tensor) -> Tensor:
    return F.interpolate(h, scale_factor=2, mode=_LINEAR[h.ndim - 2], align_corners=False)


def _space(h: Tensor) -> tuple[int, ...]:
    """Return the axes of h behind batch and channels."""
    return tuple(range(2, h.ndim))
