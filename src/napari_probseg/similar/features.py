"""Features of an image at the scale of an object: multi-scale filters, and in images the network's encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.case import Case
from napari_probseg.inference.inputs import evenness, with_channels
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.efficientnet import N_STEM
from napari_probseg.similar.frame import Frame

FEATURES_VERSION = 1  # of what the features are; it changes with them
DIAMETER_SAMPLES = {2: 14.0, 3: 8.0}  # of an object on the grid, in samples
FILTER_SIGMAS = (0.7, 1.5, 3.0, 6.0)  # of the filters, in samples
TILE_MARGIN_SAMPLES = {2: 24, 3: 8}  # samples around a tile that its features look at
N_LEVELS = 2  # of the encoder: at 1 and 1/2 of the grid; deeper ones know less of borders (measured)
MAX_OVERVIEW = {2: 512, 3: 128}  # samples along an axis from which the scale of the intensities is taken
MAX_FINENESS = 4.0  # samples a voxel: a smaller object is not looked at from closer

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """An image as it is looked at for objects of one size.

    Parameters
    ----------
    case : Case
    network : Module, optional
        Whose encoder looks at images.
    diameter : float
        Of the objects, in mm.
    frame : Frame
        The grid over the whole image.
    mean, deviation : (C, 1, ...) tensor
        Of the intensities.
    """

    case: Case
    network: nn.Module | None
    diameter: float
    frame: Frame
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, case: Case, network: nn.Module | None, diameter: float) -> View:
        """Return the view of an image.

        Raises
        ------
        ValueError
            If the image is constant.
        """
        finest = min(float(mm) for mm in case.spacing or ()) / MAX_FINENESS
        mm = max(diameter / DIAMETER_SAMPLES[case.ndim], finest)
        overview = _overview(case)
        deviation, mean = torch.std_mean(overview.flatten(1), 1)
        if not bool((deviation > 0).any()):
            whole = tuple(slice(0, n) for n in case.shape)
            raise ValueError(f"{evenness(case, whole)}: nothing is like anything there")
        ones = (-1, *[1] * case.ndim)
        return cls(case, network, diameter, Frame.over(case, mm), mean.view(ones), deviation.view(ones))

    def intensities(self, frame: Frame) -> Tensor:
        """Return the intensities in a frame, (C, ...), in standard deviations of the whole image."""
        floor = 1e-6 * float(self.deviation.max())
        return (frame.image(self.case) - self.mean) / self.deviation.clamp(min=floor)

    def image(self, frame: Frame) -> Tensor:
        """Return them as features are made of them: what is far from the rest is no farther than 4 deviations."""
        return self.intensities(frame).clamp(-4, 4)

    def features(self, frame: Frame) -> Features:
        """Return the features of a part of the grid, (F, ...), not normalised."""
        ndim, margin = self.case.ndim, TILE_MARGIN_SAMPLES[self.case.ndim]
        shape = [n + 2 * margin for n in frame.shape]
        around = frame.part(tuple(slice(0, n) for n in frame.shape), margin)
        if ndim == 2:  # what the encoder takes is divisible by 32, at two samples a place
            around = Frame(around.origin, around.step, tuple(-(-n // 16) * 16 for n in shape))
        found = [_filtered(self.image(around).numpy())]
        if ndim == 2 and isinstance(self.network, AdvisedCVAE):
            found.append(self._encoded(around))
        inner = tuple(slice(margin, margin + n) for n in frame.shape)
        return np.concatenate([values[:, *inner] for values in found])

    @torch.inference_mode()
    def _encoded(self, frame: Frame) -> Features:
        assert isinstance(self.network, AdvisedCVAE)
        device = next(self.network.parameters()).device
        seen = torch.from_numpy(with_channels(self.image(frame.finer()).numpy(), 3))[None].to(device)
        nothing = torch.zeros(1, N_STEM, *frame.shape, device=device)
        maps = self.network.encoder(seen.contiguous(memory_format=torch.channels_last), nothing)[:N_LEVELS]
        same = [m if i == 0 else F.interpolate(m, frame.shape, mode="bilinear") for i, m in enumerate(maps)]
        return np.asarray(torch.cat(same, 1)[0].float().cpu())


def _overview(case: Case) -> Tensor:
    """Return the image on few samples, (C, ...)."""
    most = MAX_OVERVIEW[case.ndim]
    return torch.from_numpy(case.read(tuple(slice(0, n, max(1, n // most)) for n in case.shape)))


def _filtered(image: NDArray[np.float32]) -> Features:
    """Return of each channel at each scale: intensity, strength of edges, eigenvalues of the Hessian, (F, ...)."""
    found: list[NDArray[np.float32]] = []
    for channel in image:
        for sigma in FILTER_SIGMAS:
            smooth = ndimage.gaussian_filter(channel, sigma, truncate=3.0)
            slopes = [np.gradient(smooth, axis=a) if n > 1 else 0 * smooth for a, n in enumerate(smooth.shape)]
            strength = np.sqrt(np.sum(np.square(slopes), 0))
            found += [smooth, np.float32(sigma) * strength]
            found += [np.float32(sigma**2) * v for v in _curvatures(slopes)]
    return np.stack(found)


def _curvatures(slopes: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the eigenvalues of the Hessian in images; in volumes its trace, and its norm: they cost a tenth."""
    second: dict[tuple[int, int], Any] = {}
    for a, slope in enumerate(slopes):
        for b in range(a + 1):
            second[b, a] = np.gradient(slope, axis=b) if slope.shape[b] > 1 else 0 * slope
    ndim = len(slopes)
    if ndim == 2:
        middle, half = (second[0, 0] + second[1, 1]) / 2, (second[0, 0] - second[1, 1]) / 2
        away = np.asarray(np.sqrt(half**2 + second[0, 1] ** 2), dtype=np.float32)
        return [middle + away, middle - away]
    trace = sum(second[a, a] for a in range(ndim))
    norm = np.sqrt(sum((1 if a == b else 2) * v * v for (b, a), v in second.items()))
    return [np.asarray(trace, dtype=np.float32), np.asarray(norm, dtype=np.float32)]
