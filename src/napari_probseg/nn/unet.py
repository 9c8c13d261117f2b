"""U-Net with a configuration, and the published ones as values of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Sizes = tuple[int, ...]

KNOWN = {
    "norm": ("batch", "instance", "group", "none"),
    "activation": ("relu", "leaky_relu", "prelu", "silu"),
    "skip": ("concatenate", "sum", "none"),
    "down": ("stride", "pool"),
    "up": ("transpose", "nearest"),
}


@dataclass(frozen=True)
class UNetConfig:
    """What a U-Net is made of.

    Parameters
    ----------
    ndim : int
        2 or 3.
    n_channels, n_labels : int
        Of the input and the logits; background is a label, one label alone is a binary logit.
    widths : tuple of int
        Channels of each level, the finest first.
    kernels, strides : tuple of tuple of int
        Size of the kernel at each level, and step from each level to the next, of every axis; 3 and 2 if empty.
    n_convolutions : int
        In a block.
    norm : {"batch", "instance", "group", "none"}
        Groups are eight.
    activation : {"relu", "leaky_relu", "prelu", "silu"}
        The slope of the leaky one is 0.01.
    skip : {"concatenate", "sum", "none"}
        What becomes of the encoder's features in the decoder.
    down : {"stride", "pool"}
        A convolution with a stride, or the maximum.
    up : {"transpose", "nearest"}
        A transposed convolution, or repeated voxels and a convolution.
    residual : bool
        Whether the encoder's blocks add to their input, the norm before the convolution (He et al. 2016).
    factorised : bool
        Whether a convolution is replaced by ones with a flat kernel, one for each axis.
    dropout : float
        Probability that a channel is dropped after an activation (in a residual block: between its convolutions).
    n_maps : int
        Segmentation maps, from the decoder's finest levels.
    sum_maps : bool
        Whether the logits are the sum of the maps; if not, the coarser ones serve for deep supervision alone.
    """

    ndim: int = 2
    n_channels: int = 1
    n_labels: int = 2
    widths: Sizes = (32, 64, 128, 256)
    kernels: tuple[Sizes, ...] = ()
    strides: tuple[Sizes, ...] = ()
    n_convolutions: int = 2
    norm: Literal["batch", "instance", "group", "none"] = "instance"
    activation: Literal["relu", "leaky_relu", "prelu", "silu"] = "leaky_relu"
    skip: Literal["concatenate", "sum", "none"] = "concatenate"
    down: Literal["stride", "pool"] = "stride"
    up: Literal["transpose", "nearest"] = "transpose"
    residual: bool = False
    factorised: bool = False
    dropout: float = 0.0
    n_maps: int = 1
    sum_maps: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "kernels", "strides"):  # lists, when they come from a weights file
            object.__setattr__(self, name, _as_tuples(getattr(self, name)))
        for name, known in KNOWN.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        levels = len(self.widths)
        if self.ndim not in (2, 3) or levels < 2:
            raise ValueError(f"a U-Net has 2 or 3 dimensions and 2 levels or more, got {self.ndim} and {levels}")
        if len(self.kernels) not in (0, levels) or len(self.strides) not in (0, levels - 1):
            raise ValueError(f"{levels} widths need as many kernels and one stride less, or none of them")
        if not 1 <= self.n_maps <= levels:
            raise ValueError(f"n_maps must be 1 to {levels}, the number of levels, got {self.n_maps}")

    @property
    def kernel_of(self) -> tuple[Sizes, ...]:
        """Size of the kernel at each level."""
        return self.kernels or ((3,) * self.ndim,) * len(self.widths)

    @property
    def stride_of(self) -> tuple[Sizes, ...]:
        """Step from each level to the next."""
        return self.strides or ((2,) * self.ndim,) * (len(self.widths) - 1)

    @property
    def step(self) -> Sizes:
        """Voxels of the image that one of the coarsest level stands for, along each axis."""
        return tuple(prod(along) for along in zip(*self.stride_of, strict=True))


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


# Isensee et al., BraTS 2017 (arXiv 1802.10508): context blocks with dropout of 0.3, three maps summed.
ISENSEE2017 = UNetConfig(
    ndim=3,
    widths=(16, 32, 64, 128, 256),
    residual=True,
    dropout=0.3,
    up="nearest",
    n_maps=3,
    sum_maps=True,
)
# Kayalibay, Jensen & van der Smagt 2017 (arXiv 1701.03056).
KAYALIBAY2017 = UNetConfig(ndim=3, widths=(16, 32, 64, 128), norm="batch", activation="prelu", n_maps=3, sum_maps=True)
# Isensee et al. 2018 (arXiv 1809.10486): `napari_probseg.nn.plan` chooses levels, kernels and strides.
NNUNET2018 = UNetConfig(ndim=3, widths=(30, 60, 120, 240), down="pool")
# Avetisian 2018; how the paper joins its flat convolutions is not known to us: here each gives a third of the channels.
AVETISIAN2018 = UNetConfig(
    ndim=3, widths=(24, 48, 96, 192), norm="none", activation="relu", factorised=True, dropout=0.1
)
UNETS = {
    "isensee2017": ISENSEE2017,
    "kayalibay2017": KAYALIBAY2017,
    "nnunet2018": NNUNET2018,
    "avetisian2018": AVETISIAN2018,
}


class UNet(nn.Module):
    """Image -> logits of every voxel (Ronneberger et al. 2015; Çiçek et al. 2016), for images of any size."""

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or UNetConfig()
        widths, kernels, strides = c.widths, c.kernel_of, c.stride_of
        arriving = widths[:-1] if c.down == "pool" else widths[1:]  # a strided convolution widens on the way down
        self.encoder = nn.ModuleList(
            _residual(c, a, b, k) if c.residual else _block(c, a, b, k)
            for a, b, k in zip((c.n_channels, *arriving), widths, kernels, strict=True)
        )
        self.down = nn.ModuleList(
            _down(c, a, b, k, s) for (a, b), k, s in zip(pairwise(widths), kernels[1:], strides, strict=True)
        )
        self.up = nn.ModuleList(
            _up(c, b, a, k, s) for (a, b), k, s in zip(pairwise(widths), kernels[:-1], strides, strict=True)
        )
        n_joined = 2 if c.skip == "concatenate" else 1
        self.decoder = nn.ModuleList(
            _block(c, n_joined * a, a, k) for a, k in zip(widths[:-1], kernels[:-1], strict=True)
        )
        self.segment = nn.ModuleList(_of("Conv", c.ndim)(w, c.n_labels, 1) for w in widths[: c.n_maps])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (B, n_labels, Z, Y, X), of x, (B, n_channels, Z, Y, X); without Z in 2-D."""
        return self.maps(x)[0]

    def maps(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, and the coarser maps down to 1 / 2, 1 / 4, ... of the resolution.

        Raises
        ------
        ValueError
            If x has other axes or channels than the configuration says.
        """
        c = self.config
        if x.ndim != c.ndim + 2 or x.shape[1] != c.n_channels:
            raise ValueError(f"the network takes (batch, {c.n_channels}) and {c.ndim} axes, got {tuple(x.shape)}")
        size, x = x.shape[2:], _padded(x, c.step)
        h = self.encoder[0](x)
        skips = []
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            skips.append(h)
            h = block(down(h))
        features = [h]
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            h = block(self._joined(up(h), skips.pop()))
            features.insert(0, h)
        maps = [segment(h) for segment, h in zip(self.segment, features[: c.n_maps], strict=True)]
        if c.sum_maps:
            for i in reversed(range(len(maps) - 1)):
                maps[i] = maps[i] + _resized(maps[i + 1], maps[i].shape[2:])
        return tuple(_cropped(m, size, x.shape[2:]) for m in maps)

    def _joined(self, h: Tensor, skip: Tensor) -> Tensor:
        if self.config.skip == "concatenate":
            return torch.cat([skip, h], 1)
        return h + skip if self.config.skip == "sum" else h


def _block(c: UNetConfig, n_in: int, n_out: int, kernel: Sizes) -> nn.Sequential:
    """Return convolution, norm, activation and dropout, several times."""
    drop = [] if c.residual else _dropout(c)  # Isensee et al. drop in their residual blocks alone
    widths = [n_in, *[n_out] * c.n_convolutions]
    return nn.Sequential(*(part for a, b in pairwise(widths) for part in (_layer(c, a, b, kernel), *drop)))


def _residual(c: UNetConfig, n_in: int, n_out: int, kernel: Sizes) -> nn.Sequential:
    """Return a residual block of two convolutions, after one that brings the channels to ``n_out``."""
    parts = [_norm(c, n_out), _activation(c, n_out), _any_convolution(c, n_out, n_out, kernel), *_dropout(c)]
    parts += [_norm(c, n_out), _activation(c, n_out), _any_convolution(c, n_out, n_out, kernel)]
    first = nn.Identity() if n_in == n_out else _any_convolution(c, n_in, n_out, kernel)
    return nn.Sequential(first, Residual(*parts))


class Residual(nn.Sequential):
    """Its parts' answer, added to their input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


def _down(c: UNetConfig, n_in: int, n_out: int, kernel: Sizes, stride: Sizes) -> nn.Module:
    if c.down == "pool":
        return _of("MaxPool", c.ndim)(stride)  # type: ignore[no-any-return]
    return _layer(c, n_in, n_out, kernel, stride=stride)


def _up(c: UNetConfig, n_in: int, n_out: int, kernel: Sizes, stride: Sizes) -> nn.Module:
    if c.up == "transpose":
        return _initialised(_of("ConvTranspose", c.ndim)(n_in, n_out, stride, stride))
    return nn.Sequential(nn.Upsample(scale_factor=tuple(map(float, stride))), _layer(c, n_in, n_out, kernel))


def _layer(c: UNetConfig, n_in: int, n_out: int, kernel: Sizes, *, stride: Sizes | None = None) -> nn.Sequential:
    return nn.Sequential(
        _any_convolution(c, n_in, n_out, kernel, stride=stride), _norm(c, n_out), _activation(c, n_out)
    )


def _any_convolution(c: UNetConfig, n_in: int, n_out: int, kernel: Sizes, *, stride: Sizes | None = None) -> nn.Module:
    stride = stride or (1,) * c.ndim
    if c.factorised and max(kernel) > 1:
        return Factorised(n_in, n_out, kernel, stride)
    return _padded_convolution(n_in, n_out, kernel, stride)


class Factorised(nn.Module):
    """A convolution with a flat kernel across each axis, which share the output's channels (Avetisian 2018).

    Three of 1x3x3 have a third of the weights of one of 3x3x3.
    """

    def __init__(self, n_in: int, n_out: int, kernel: Sizes, stride: Sizes) -> None:
        super().__init__()
        ndim = len(kernel)
        self.across = nn.ModuleList(
            _padded_convolution(
                n_in, (n_out + axis) // ndim, tuple(1 if a == axis else k for a, k in enumerate(kernel)), stride
            )
            for axis in range(ndim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([convolution(x) for convolution in self.across], 1)


def _of(name: str, ndim: int) -> Any:
    """Return PyTorch's module of that name for 2 or 3 dimensions."""
    return getattr(nn, f"{name}{ndim}d")


def _padded_convolution(n_in: int, n_out: int, kernel: Sizes, stride: Sizes) -> nn.Module:
    padding = tuple(k // 2 for k in kernel)
    return _initialised(_of("Conv", len(kernel))(n_in, n_out, kernel, stride, padding))


def _initialised(convolution: nn.Module) -> nn.Module:
    """Start as He et al. (2015), so that networks without a norm train, too."""
    nn.init.kaiming_normal_(convolution.weight, a=0.01)  # type: ignore[arg-type]
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def _norm(c: UNetConfig, n: int) -> nn.Module:
    if c.norm in ("batch", "instance"):
        return _of(f"{c.norm.title()}Norm", c.ndim)(n, affine=True)  # type: ignore[no-any-return]
    return nn.GroupNorm(8, n) if c.norm == "group" else nn.Identity()


def _activation(c: UNetConfig, n: int) -> nn.Module:
    if c.activation == "prelu":
        return nn.PReLU(n)
    if c.activation == "leaky_relu":
        return nn.LeakyReLU(0.01)
    return nn.ReLU() if c.activation == "relu" else nn.SiLU()


def _dropout(c: UNetConfig) -> list[nn.Module]:
    return [_of("Dropout", c.ndim)(c.dropout)] if c.dropout else []


def _padded(x: Tensor, step: Sizes) -> Tensor:
    """Repeat the last voxels until every level has a whole number, and the coarsest two: a norm needs as many."""
    size = [-(-n // s) * s for n, s in zip(x.shape[2:], step, strict=True)]
    if size == list(step):
        size[-1] *= 2
    missing = [n - old for n, old in zip(size, x.shape[2:], strict=True)]
    pads = [p for n in reversed(missing) for p in (0, n)]
    return F.pad(x, pads, mode="replicate") if any(pads) else x


def _cropped(m: Tensor, size: Sequence[int], padded: Sequence[int]) -> Tensor:
    """Return the part of a map that stands for the image before it was padded."""
    for axis, (n, whole) in enumerate(zip(size, padded, strict=True), start=2):
        step = whole // m.shape[axis]
        m = m.narrow(axis, 0, -(-n // step))
    return m


def _resized(m: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(m, list(size), mode="bilinear" if m.ndim == 4 else "trilinear", align_corners=False)
