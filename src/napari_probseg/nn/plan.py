"""Planner of U-Nets: depth and patch size from the data (Isensee et al. 2018, section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from napari_probseg.nn.unet import NNUNET2018, Sizes, UNetConfig

MIN_COARSE_VOXELS = 8  # along each axis of the coarsest level: an axis is halved while this many are left
MAX_HALVINGS = {2: 6, 3: 5}  # of an axis
MAX_CHANNELS = {2: 480, 3: 320}  # as in the authors' code
GIB = 2**30


@dataclass(frozen=True)
class Plan:
    """A network's configuration and the patch that it is trained on.

    Parameters
    ----------
    config : UNetConfig
    patch : tuple of int
        Voxels along each axis, which the network's strides divide.
    """

    config: UNetConfig
    patch: Sizes


def plan(
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    memory: float = 2 * GIB,
    n_batch: int = 2,
    base: UNetConfig = NNUNET2018,
) -> Plan:
    """Return the deepest network and the largest patch, of the images' proportions, that can be trained in ``memory``.

    Parameters
    ----------
    shape : sequence of int
        Voxels of the median image, (Y, X) or (Z, Y, X).
    spacing : sequence of float
        Of the median image, in mm. An axis with more than twice the finest spacing is not halved, and has kernels of
        1, until the others have caught up.
    memory : float
        Bytes for a training step.
    n_batch : int
        Patches in a step.
    base : UNetConfig
        Channels, labels and the rest; its first width doubles from level to level.

    Raises
    ------
    ValueError
        If shape or spacing is not above 0, they differ in length, or the memory does not hold the smallest patch.
    """
    if len(shape) != len(spacing) or len(shape) not in MAX_HALVINGS or min(*shape, *spacing) <= 0:
        raise ValueError(
            f"shape and spacing need 2 or 3 numbers above 0 each, got {tuple(shape)} and {tuple(spacing)} mm"
        )
    patch = tuple(shape)
    while True:
        kernels, strides = levels(patch, spacing)
        step = [prod(along) for along in zip(*strides, strict=True)]
        patch = tuple(-(-n // s) * s for n, s in zip(patch, step, strict=True))
        widths = tuple(min(base.widths[0] * 2**i, MAX_CHANNELS[len(shape)]) for i in range(len(kernels)))
        config = replace(
            base,
            ndim=len(shape),
            widths=widths,
            kernels=kernels,
            strides=strides,
            n_maps=min(base.n_maps, len(widths)),
        )
        if memory_needed(config, patch, n_batch=n_batch) <= memory:
            return Plan(config, patch)
        if all(n <= 2 * s for n, s in zip(patch, step, strict=True)):
            raise ValueError(f"{memory / GIB:.2g} GiB do not hold a batch of {n_batch} patches: give more memory")
        # The axis that shows the largest part of the image loses a little of it: the proportions stay.
        axis = max(range(len(patch)), key=lambda a: (patch[a] > 2 * step[a], patch[a] / shape[a]))
        patch = tuple(n - s * (a == axis) for a, (n, s) in enumerate(zip(patch, step, strict=True)))


def levels(shape: Sequence[int], spacing: Sequence[float]) -> tuple[tuple[Sizes, ...], tuple[Sizes, ...]]:
    """Return the kernel of each level and the stride to the next for patches of ``shape`` voxels, ``spacing`` mm apart.

    There are two levels at least.
    """
    sizes, mm = [float(n) for n in shape], list(spacing)
    kernels, strides = [_kernel(mm, (1,) * len(mm))], list[Sizes]()
    while len(strides) < MAX_HALVINGS[len(sizes)]:
        large = [size / 2 >= MIN_COARSE_VOXELS for size in sizes]
        finest = min((distance for distance, can in zip(mm, large, strict=True) if can), default=0.0)
        stride = tuple(1 + (can and distance <= 2 * finest) for distance, can in zip(mm, large, strict=True))
        if max(stride) == 1:
            break
        sizes = [size / s for size, s in zip(sizes, stride, strict=True)]
        mm = [distance * s for distance, s in zip(mm, stride, strict=True)]
        strides.append(stride)
        kernels.append(_kernel(mm, kernels[-1]))
    if not strides:
        return (kernels[0],) * 2, (tuple(2 if size >= 2 else 1 for size in sizes),)
    return tuple(kernels), tuple(strides)


def _kernel(spacing: Sequence[float], finer: Sizes) -> Sizes:
    """Return 1 along an axis that is still coarse, 3 along others; an axis that had 3 keeps it."""
    return tuple(1 if distance > 2 * min(spacing) and k == 1 else 3 for distance, k in zip(spacing, finer, strict=True))


def memory_needed(config: UNetConfig, patch: Sequence[int], *, n_batch: int) -> float:
    """Return about how many bytes a step of training needs.

    Of each convolution the answer, its norm and its activation are kept for the gradient; of each weight also the
    gradient, the average and Adam's two moments.
    """
    voxels = float(prod(patch))
    n_kept = n_weights = 0.0
    for width, kernel, stride in zip(
        config.widths, config.kernel_of, ((1,) * config.ndim, *config.stride_of), strict=True
    ):
        voxels /= prod(stride)
        n_kept += voxels * width * (3 * 2 * config.n_convolutions + 3)  # both ways, and the joined input of one
        n_weights += prod(kernel) * width**2 * (2 * config.n_convolutions + 1)
    n_weights += sum(prod(s) * a * b for (a, b), s in zip(pairwise(config.widths), config.stride_of, strict=True))
    n_logits = 4 * config.n_labels * prod(patch)
    return 4 * (n_batch * (n_kept + n_logits) + 5 * n_weights)
