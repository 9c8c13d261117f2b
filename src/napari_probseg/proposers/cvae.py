"""The proposer: samples of a conditional VAE on windows around the marks, made distinct, in the image's own voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_probseg.candidates import Candidates, checked_question, checked_request
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.images import checked_plane
from napari_probseg.inference.answer import Answer
from napari_probseg.inference.device import with_fallback
from napari_probseg.inference.diversity import choose_distinct, pairwise_iou
from napari_probseg.inference.inputs import enlarged, window_inputs
from napari_probseg.inference.patches import EDGES, SMOOTHNESS
from napari_probseg.inference.readings import candidates_of
from napari_probseg.inference.scale_selection import beliefs, seen_from
from napari_probseg.inference.volume_readings import candidates_in_volume
from napari_probseg.inference.windows import Window, cut_off, wider, windows_around
from napari_probseg.morphology import MIN_RIM_VOXELS, with_rim
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.general import WINDOW_SIDE, Features, GeneralCVAE, Sample
from napari_probseg.nn.presets import General
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.proposers.completion import CutConfig
from napari_probseg.proposers.networks import AsksNetworks
from napari_probseg.proposers.plane import in_volume, plane_with_most_strokes
from napari_probseg.region import Region, absolute, bounding_box, hull, relative

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class CVAEConfig:
    """How a network without advisers is asked; of pairs, the first is of images and the second of volumes.

    Parameters
    ----------
    n_windows : int
        Looked at, from close to far.
    n_wider_windows : int
        Added at most, each wider than the one before, while the samples reach out of the farthest.
    max_rim_share : float
        Of a window's rim that the samples lie on and do not yet reach out of it.
    n_samples : (int, int)
        Drawn in each window.
    max_window_voxels : (int, int)
        Of the image in a window, but for the closest: each candidate may change so many.
    """

    n_windows: int = 3
    n_wider_windows: int = 2
    max_rim_share: float = 0.03
    n_samples: tuple[int, int] = (16, 12)
    max_window_voxels: tuple[int, int] = (2**25, 2**23)


@dataclass(frozen=True)
class Draw:
    """Samples of some windows of an image or a volume, from close to far; where it says (S, S), it may be (S, S, S).

    Parameters
    ----------
    windows : list of Window
    mask, object : (windows, M, S, S) tensors
        Logits of y_m and y_s.
    quality : (windows, M) tensor
        The Dice that each sample expects of itself, in [0, 1].
    control : (windows, S, S) tensor
        Logit of the object, by the head without a latent.
    """

    windows: list[Window]
    mask: Tensor
    object: Tensor
    quality: Tensor
    control: Tensor


class CVAEProposer(AsksNetworks):
    """Proposes distinct larger partial segmentations; satisfies `napari_probseg.Proposer`.

    Parameters
    ----------
    networks, name, device
        See `AsksNetworks`.
    config : CVAEConfig, optional
    """

    def __init__(
        self,
        networks: Mapping[int, General],
        *,
        name: str = "general",
        device: str = "auto",
        config: CVAEConfig | None = None,
    ) -> None:
        super().__init__(networks, name=name, device=device)
        self.config = config or CVAEConfig()

    def propose(
        self,
        case: Case,
        n: int = 8,
        *,
        seed: int = 0,
        plane: Plane | None = None,
        reach: float = 1.0,
        ndim: int = 2,
        smoothness: float = SMOOTHNESS,
        edges: float = EDGES,
        answered: Answer | None = None,
    ) -> Candidates:
        """Return at most ``n`` distinct candidates, best first.

        Parameters
        ----------
        case : Case
            (Y, X) or (Z, Y, X), or a time series of such; any number of channels.
        n : int
            How many candidates to offer.
        seed : int
            The same seed gives the same candidates on the same device.
        plane : (axis, index), optional
            The plane of a volume, or the image of a time series; the one along the first axis with the most strokes if
            absent.
        reach : float
            Share of the region that a candidate may decide, in (0, 1]: a bit more, or to the end.
        ndim : int
            Of a volume: 2 continues one plane of it, 3 the object in space.
        smoothness, edges : float
            How candidates are cut out, see `CutConfig`; networks without advisers are not cut.
        answered : Answer, optional
            What this network answered to the same case, in an image or on that plane, where that is at hand.

        Raises
        ------
        ValueError
            If nothing is marked, the image is constant or not finite there, or an argument is out of range.
        """
        checked_question(case, plane)
        n, seed = checked_request(n, seed)
        if not 0 < reach <= 1:
            raise ValueError(f"reach must be in (0, 1], got {reach}")
        if ndim not in (2, 3) or ndim > case.ndim - case.in_time:
            raise ValueError(f"ndim must be 2, or 3 for a volume, got {ndim} for an image of {case.shape}")
        cut = CutConfig(smoothness, edges)
        if ndim == 3 and plane is not None and not case.in_time:
            raise ValueError(f"candidates are of a plane or of the volume: leave out plane={plane} or ndim=3")
        if case.in_time or ndim < case.ndim:
            plane = plane_with_most_strokes(case) if plane is None else checked_plane(plane)
            flat = case.at(plane)
            options: dict[str, Any] = {"ndim": ndim} if case.in_time else {}
            options |= {"reach": reach, "smoothness": smoothness, "edges": edges, "answered": answered}
            return in_volume(self.propose(flat, n, seed=seed, **options), case, plane)
        return self._proposed(case, n, seed=seed, reach=reach, cut=cut, answered=answered)

    def _proposed(
        self, case: Case, n: int, *, seed: int, reach: float, cut: CutConfig, answered: Answer | None
    ) -> Candidates:
        """Return the candidates of an image, or of a volume as one."""
        network, of_images = self.networks.get(case.ndim), self.networks.get(2)
        how: dict[str, Any] = {"seed": seed, "reach": reach, "smoothness": cut.smoothness, "edges": cut.edges}
        if isinstance(network, AdvisedCVAE):
            return with_fallback(
                self, lambda: candidates_of(network, case, n, device=self.device, answered=answered, **how)
            )
        if isinstance(network, VolumeCVAE) and isinstance(of_images, AdvisedCVAE):
            return with_fallback(
                self,
                lambda: candidates_in_volume(
                    network, of_images, case, n, device=self.device, remembered=self.remembered, **how
                ),
            )
        return _candidates(case, self.draw(case, self.config.n_samples[case.ndim - 2], seed=seed, reach=reach), n)

    def draw(self, case: Case, n: int, *, seed: int, reach: float = 1.0) -> Draw:
        """Return ``n`` samples in each window around the marks; image and marks are looked at once.

        While the samples reach out of the farthest window, a wider one is added.

        Parameters
        ----------
        case : Case
            (Y, X) or (Z, Y, X), with a mark at least.
        n : int
            How many samples in each window.
        seed : int
            The same one gives the same samples on the same device.
        reach : float
            How far a sample goes beyond what is decided, in [0, 1]; 1 is as far as it can.

        Raises
        ------
        ValueError
            If no network is for such images, or nothing is marked.
        """
        if case.ndim not in self.networks:
            raise ValueError(
                f"these weights propose in {sorted(self.networks)[0]}-D, not in {case.ndim}-D: try 'general'"
            )
        generator = torch.Generator().manual_seed(seed)
        config, max_voxels = self.config, self.config.max_window_voxels[case.ndim - 2]
        around = windows_around(case, config.n_windows)
        windows = [w for w in around if w.n_voxels(case.shape) <= max_voxels] or around[:1]
        draw = self._look(case, windows, n, generator, reach)
        for _ in range(config.n_wider_windows):
            farthest = draw.windows[-1]
            is_cut = float(cut_off(draw.object[-1] > 0, farthest, case.shape).mean()) > config.max_rim_share
            window = wider(case, farthest) if is_cut else None
            if window is None or window.n_voxels(case.shape) > max_voxels:
                break
            draw = _joined(draw, self._look(case, [window], n, generator, reach))
        return draw

    def _look(self, case: Case, windows: list[Window], n: int, generator: torch.Generator, reach: float) -> Draw:
        network = self.networks[case.ndim]
        assert isinstance(network, GeneralCVAE)
        n_channels = network.config.n_image_channels
        windows, x = window_inputs(case, windows, WINDOW_SIDE[case.ndim], n_channels=n_channels)
        z = torch.randn(len(windows) * n, network.n_latent, generator=generator)
        return with_fallback(self, lambda: self._drawn(network, windows, x, z, reach))

    @torch.inference_mode()
    def _drawn(self, network: GeneralCVAE, windows: list[Window], x: Tensor, z: Tensor, reach: float) -> Draw:
        x = x.to(self.device).contiguous(memory_format=_CHANNELS_LAST[x.ndim - 2])
        features: Features = network.features(x)
        n = len(z) // len(windows)
        sample: Sample = network.decode(features, z.to(self.device), torch.full((len(z),), reach, device=self.device))
        mask, inside = (t.float().cpu().reshape(len(windows), n, *t.shape[1:]) for t in (sample.mask, sample.object))
        quality = sample.quality.sigmoid().float().cpu().reshape(len(windows), n)
        control = network.decode_control(features, torch.ones(len(windows), device=self.device)).object
        return Draw(windows, mask, inside, quality, control.float().cpu())


def _joined(near: Draw, far: Draw) -> Draw:
    tensors = (torch.cat([getattr(d, name) for d in (near, far)]) for name in ("mask", "object", "quality", "control"))
    return Draw(near.windows + far.windows, *tensors)


def _candidates(case: Case, draw: Draw, n: int) -> Candidates:
    """Choose distinct samples, and bring those to full resolution."""
    common = _on_common_grid(draw.windows, draw.object)  # (M, G, G) logit
    masks = common.numpy() > 0
    overlap = pairwise_iou(np.concatenate([masks, _expected(case, draw)]))
    agreement = overlap[:-1, :-1].mean(1)  # with the samples of every window: what only one of them sees counts less
    score = (draw.quality * _wholeness(draw, case.shape)).flatten().numpy() * agreement
    plausible = score * (0.1 + overlap[:-1, -1])
    choice = choose_distinct(overlap[:-1, :-1], score, n).by(plausible)
    patches: list[tuple[Region, NDArray[np.uint8]]] = []
    kept: list[int] = []
    for i, index in enumerate(choice.index):
        where, patch = _patch(case, draw, *divmod(int(index), draw.object.shape[1]))
        adds = (patch == Marker.OBJECT) & (case.partial[where] != Marker.OBJECT)
        if adds.any() and not any(a == where and np.array_equal(patch, b) for a, b in patches):
            patches.append((where, patch))
            kept.append(i)
    where = hull(*(part for part, _ in patches)) or draw.windows[-1].within(case.shape)
    pasted = [_pasted(case, where, part, patch) for part, patch in patches]
    return Candidates(
        case,
        where,
        np.stack(pasted) if pasted else np.zeros((0, *case.partial[where].shape), dtype=np.uint8),
        plausible[choice.index[kept]].astype(np.float32),
        choice.share[kept],
        _in_image(draw.windows[-1], (common > 0).float().mean(0)[None], where)[0],
    )


def _expected(case: Case, draw: Draw) -> NDArray[np.bool_]:
    """Return the one answer of the head without a latent, (1, G, G): candidates come first that are like it."""
    believed = int(np.argmax(beliefs(case, draw.windows, draw.control)))
    return _on_common_grid(draw.windows, draw.control[:, None])[[believed]].numpy() > 0


def _on_common_grid(windows: list[Window], logits: Tensor) -> Tensor:
    """Return logits of each window (W, M, S, S) on a grid over the farthest one, at most twice as fine as they are."""
    size = min(2 * logits.shape[-1], max(windows[-1].size))
    return torch.cat([seen_from(w, windows[-1], inside, size) for w, inside in zip(windows, logits, strict=True)])


def _wholeness(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Return for each sample how much of its window's rim it leaves free, (windows, M): what is cut off counts less.

    The rim where the window ends with the image does not count.
    """
    cut = [cut_off(inside > 0, window, shape) for window, inside in zip(draw.windows, draw.object, strict=True)]
    return 1 - torch.stack(cut).clamp(max=0.2) * 4


def _patch(case: Case, draw: Draw, w: int, m: int) -> tuple[Region, NDArray[np.uint8]]:
    """Return the partial segmentation that one sample leads to, at full resolution, where it may decide something."""
    window, visible = draw.windows[w], draw.windows[w].within(case.shape)
    known = bounding_box(case.partial[visible] == Marker.OBJECT)
    found = window.region_of(draw.object[w, m] > 0, case.shape, rim=1)
    near = visible if found is None else hull(found, absolute(known, visible)) if known else found
    where = _grown(near, visible)
    logits = torch.stack([draw.object[w, m], draw.mask[w, m]])
    inside, decided = _in_image(window, logits, where) > 0
    patch = case.partial[where].copy()
    open_ = patch == Marker.UNKNOWN
    inside = _without_specks(inside & decided & open_, patch == Marker.OBJECT)
    rim = with_rim(inside | (patch == Marker.OBJECT))
    patch[open_ & inside] = Marker.OBJECT
    patch[open_ & decided & ~inside & rim] = Marker.BACKGROUND
    return where, patch


def _in_image(window: Window, values: Tensor, where: Region) -> NDArray[np.float32]:
    """Return (C, S, ...) over a window in the voxels of a region of the image that lies in it."""
    own = tuple(slice(s.start - low, s.stop - low) for s, low in zip(where, window.low, strict=True))
    return enlarged(values, window.size, own).numpy()


def _grown(box: Region, within: Region) -> Region:
    """Return a box with the rim that is decided around an object as large as it, inside another."""
    margin = int(MIN_RIM_VOXELS + 0.25 * max(s.stop - s.start for s in box)) + 1
    return tuple(
        slice(max(w.start, s.start - margin), min(w.stop, s.stop + margin)) for s, w in zip(box, within, strict=True)
    )


def _pasted(case: Case, where: Region, part: Region, patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    whole = case.partial[where].copy()
    whole[relative(part, where)] = patch
    return whole


def _without_specks(new: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop what is less than a fiftieth of the whole and touches no mark."""
    parts, n = ndimage.label(new | known)
    if n < 2:
        return new
    size = np.bincount(parts.ravel(), minlength=n + 1)
    keep = size >= 0.02 * size[1:].sum()
    keep[np.unique(parts[known])] = True
    return np.asarray(new & keep[parts])
