"""EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation) as an encoder with features at five scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: how many, their kernel, the stride of the first, the expansion, and the width."""

    n_blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


N_STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
WIDTHS = (16, 24, 40, 112, 320)  # of the features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution
_ENDS = (0, 1, 2, 4, 6)  # the stages that these come from


class Encoder(nn.Module):
    """(B, 3, Y, X) -> features of `WIDTHS` channels, from fine to coarse; Y and X are divisible by 32.

    There is no batch normalisation: that of pretrained weights is part of their convolutions, see `folded`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, N_STEM, 3, 2, padding=1)
        self.stages = nn.ModuleList()
        n = N_STEM
        for stage in STAGES:
            blocks = []
            for i in range(stage.n_blocks):
                blocks.append(Block(n, stage.width, stage.kernel, stage.stride if i == 0 else 1, stage.expansion))
                n = stage.width
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, image: Tensor, added: Tensor) -> list[Tensor]:
        """Return the features of an image; ``added`` (B, 32, Y/2, X/2) joins what the stem sees of it."""
        h = F.relu6(self.stem(image) + added)
        found = []
        for i, stage in enumerate(self.stages):
            h = stage(h)
            if i in _ENDS:
                found.append(h)
        return found


class Block(nn.Module):
    """An inverted residual (MobileNetV2, Sandler et al. 2018): widen, filter each channel, narrow, add."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        n = n_in * expansion
        self.expand = nn.Conv2d(n_in, n, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(n, n, kernel, stride, padding=kernel // 2, groups=n)
        self.project = nn.Conv2d(n, n_out, 1)
        self.is_residual = n_in == n_out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.expand is None else F.relu6(self.expand(x))
        h = self.project(F.relu6(self.depthwise(h)))
        return x + h if self.is_residual else h  # type: ignore[no-any-return]


def folded(published: Mapping[str, Tensor], *, epsilon: float = 1e-3) -> dict[str, Tensor]:
    """Return the published weights as a `state_dict` of `Encoder`, each batch norm folded into its convolution.

    Parameters
    ----------
    published : mapping of str to Tensor
        The weights of EfficientNet-Lite0 by the names that the PyTorch port gives them (``_conv_stem``, ``_blocks.0``).
    epsilon : float
        Of the batch norms that they were trained with.

    Raises
    ------
    KeyError
        If they are of another network.
    """
    state: dict[str, Tensor] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + epsilon).sqrt()
        state[f"{name}.weight"] = published[f"{convolution}.weight"] * scale[:, None, None, None]
        state[f"{name}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    number = 0
    for i, stage in enumerate(STAGES):
        for j in range(stage.n_blocks):
            theirs, ours = f"_blocks.{number}", f"stages.{i}.{j}"
            if stage.expansion > 1:
                fold(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            fold(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            fold(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    return state
