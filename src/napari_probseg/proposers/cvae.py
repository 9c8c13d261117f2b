"""The proposer: samples of a conditional VAE on windows around the marks, made distinct, in the image's own voxels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Marker, Plane, Region
from napari_probseg.nn.general import SIZE, Features, GeneralCVAE, Sample
from napari_probseg.proposers.belief import beliefs
from napari_probseg.proposers.device import chosen_device
from napari_probseg.proposers.distinct import choose_distinct, pairwise_iou
from napari_probseg.proposers.inputs import window_input
from napari_probseg.proposers.plane import in_volume, plane_with_most_strokes
from napari_probseg.proposers.rim import with_rim
from napari_probseg.proposers.window import Window, cut_off, windows_around

N_WINDOWS = 3
N_DRAWN = 16


@dataclass(frozen=True)
class Draw:
    """Samples of some windows of one plane."""

    windows: list[Window]
    mask: Tensor  # (windows, M, S, S) logit of y_m
    object: Tensor  # (windows, M, S, S) logit of y_s
    quality: Tensor  # (windows, M) in [0, 1]
    control: Tensor  # (windows, S, S) logit of the object, by the head without a latent


class CVAEProposer:
    """Proposes distinct larger partial segmentations; satisfies `napari_probseg.Proposer`.

    Parameters
    ----------
    network : GeneralCVAE
        Trained.
    name : str
        What `load_proposer` calls it.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    def __init__(self, network: GeneralCVAE, *, name: str = "general", device: str = "auto") -> None:
        self.name = name
        self.device = chosen_device(device)
        self.network = network.eval().to(self.device)

    def propose(
        self, case: Case, n: int = 8, *, seed: int = 0, plane: Plane | None = None, reach: float = 1.0
    ) -> Candidates:
        """Return at most ``n`` distinct candidates, best first.

        Parameters
        ----------
        case : Case
            (Y, X), or (Z, Y, X) of which one plane is continued; any number of channels.
        n : int
            How many candidates to offer.
        seed : int
            The same seed gives the same candidates on the same device.
        plane : (axis, index), optional
            The plane of a volume; the plane along the first axis with the most strokes if absent.
        reach : float
            Share of the region that a candidate may decide, in (0, 1]: a bit more, or to the end.

        Raises
        ------
        ValueError
            If nothing is marked, the image is constant or not finite there, or an argument is out of range.
        """
        if n < 1:
            raise ValueError(f"at least one candidate must be asked for, got n={n}")
        if not 0 < reach <= 1:
            raise ValueError(f"reach must be in (0, 1], got {reach}")
        if case.ndim == 3:
            plane = plane or plane_with_most_strokes(case)
            return in_volume(self.propose(case.plane(*plane), n, seed=seed, reach=reach), case, plane)
        draw = self.draw(case, N_DRAWN, seed=seed, reach=reach)
        return _candidates(case, draw, n)

    def draw(self, case: Case, n: int, *, seed: int, reach: float = 1.0) -> Draw:
        """Return ``n`` samples in each window of a 2-D case; image and marks are looked at once."""
        windows = windows_around(case, N_WINDOWS)
        x = torch.stack([window_input(case, window, SIZE[2]) for window in windows])
        z = torch.randn(len(windows) * n, self.network.n_latent, generator=torch.Generator().manual_seed(seed))
        try:
            return self._drawn(windows, x, z, reach)
        except torch.OutOfMemoryError:
            warnings.warn("the GPU has no memory left: going on on the CPU", RuntimeWarning, stacklevel=2)
            torch.cuda.empty_cache()
            self.device = torch.device("cpu")
            self.network.to(self.device)
            return self._drawn(windows, x, z, reach)

    @torch.inference_mode()
    def _drawn(self, windows: list[Window], x: Tensor, z: Tensor, reach: float) -> Draw:
        features: Features = self.network.features(x.to(self.device).contiguous(memory_format=torch.channels_last))
        n = len(z) // len(windows)
        sample: Sample = self.network.decode(
            features, z.to(self.device), torch.full((len(z),), reach, device=self.device)
        )
        mask, inside = (t.float().cpu().reshape(len(windows), n, *t.shape[1:]) for t in (sample.mask, sample.object))
        quality = sample.quality.sigmoid().float().cpu().reshape(len(windows), n)
        control = self.network.decode_control(features, torch.ones(len(windows), device=self.device)).object
        return Draw(windows, mask, inside, quality, control.float().cpu())


def _candidates(case: Case, draw: Draw, n: int) -> Candidates:
    """Choose distinct samples, and bring those to full resolution."""
    farthest = draw.windows[-1]
    where = farthest.within(case.shape)
    common = _on_common_grid(draw.windows, draw.object)  # (M, G, G) logit
    masks = common.numpy() > 0
    overlap = pairwise_iou(np.concatenate([masks, _expected(case, draw)]))
    agreement = overlap[:-1, :-1].mean(1)  # with the samples of every window: what only one of them sees counts less
    score = (draw.quality * _wholeness(draw, case.shape)).flatten().numpy() * agreement
    plausible = score * (0.1 + overlap[:-1, -1])
    choice = choose_distinct(masks, score, n).by(plausible)
    patches: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    for i, index in enumerate(choice.index):
        patch = _patch(case, where, draw, *divmod(int(index), draw.object.shape[1]))
        adds = (patch == Marker.OBJECT) & (case.partial[where] != Marker.OBJECT)
        if adds.any() and not any(np.array_equal(patch, other) for other in patches):
            patches.append(patch)
            kept.append(i)
    probability = F.interpolate((common > 0).float().mean(0)[None, None], farthest.size, mode="bilinear")[0, 0].numpy()
    return Candidates(
        case,
        where,
        np.stack(patches) if patches else np.zeros((0, *case.partial[where].shape), dtype=np.uint8),
        plausible[choice.index[kept]].astype(np.float32),
        choice.share[kept],
        np.ascontiguousarray(probability[farthest.visible(case.shape)], dtype=np.float32),
    )


def _expected(case: Case, draw: Draw) -> NDArray[np.bool_]:
    """Return the one answer of the head without a latent, (1, G, G): candidates come first that are like it."""
    believed = int(np.argmax(beliefs(case, draw.windows, draw.control)))
    return _on_common_grid(draw.windows, draw.control[:, None])[[believed]].numpy() > 0


def _on_common_grid(windows: list[Window], logits: Tensor) -> Tensor:
    """Return logits of each window (W, M, S, S) on a grid over the farthest one, at most twice as fine as SIZE."""
    last, size = windows[-1], min(2 * SIZE[2], max(windows[-1].size))
    maps = []
    for window, inside in zip(windows, logits, strict=True):
        edges = [
            (round((lo - lo0) / n0 * size), max(1, round(n / n0 * size)))
            for lo, n, lo0, n0 in zip(window.low, window.size, last.low, last.size, strict=True)
        ]
        (y, height), (x, width) = edges
        height, width = min(height, size - y), min(width, size - x)
        part = F.interpolate(inside[None], (height, width), mode="bilinear")[0]
        maps.append(F.pad(part, (x, size - x - width, y, size - y - height), value=-10.0))
    return torch.cat(maps)


def _wholeness(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Return for each sample how much of its window's rim it leaves free, (windows, M): what is cut off counts less.

    The rim where the window ends with the image does not count.
    """
    cut = [cut_off(inside > 0, window, shape) for window, inside in zip(draw.windows, draw.object, strict=True)]
    return 1 - torch.stack(cut).clamp(max=0.2) * 4


def _patch(case: Case, where: Region, draw: Draw, w: int, m: int) -> NDArray[np.uint8]:
    """Return the partial segmentation in ``where`` that one sample leads to, at full resolution."""
    window = draw.windows[w]
    logits = torch.stack([draw.object[w, m], draw.mask[w, m]])[None]
    full = F.interpolate(logits, window.size, mode="bilinear")[0].numpy()
    inside, decided = (full > 0)[(slice(None), *window.visible(case.shape))]
    patch = case.partial[where].copy()
    own = tuple(
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(window.within(case.shape), where, strict=True)
    )
    view = patch[own]
    open_ = view == Marker.UNKNOWN
    inside = _without_specks(inside & decided & open_, view == Marker.OBJECT)
    near = with_rim(inside | (view == Marker.OBJECT))
    view[open_ & inside] = Marker.OBJECT
    view[open_ & decided & ~inside & near] = Marker.BACKGROUND
    return patch


def _without_specks(new: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop what is less than a fiftieth of the whole and touches no mark."""
    parts, n = ndimage.label(new | known)
    if n < 2:
        return new
    size = np.bincount(parts.ravel(), minlength=n + 1)
    keep = size >= 0.02 * size[1:].sum()
    keep[np.unique(parts[known])] = True
    return np.asarray(new & keep[parts])
