"""Metrics of samples: best of 8, energy distance, coverage, calibration.

The control is a deterministic decoder: a head of the same size on the same trunk, trained on the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_probseg.candidates import Candidates, Proposer
from napari_probseg.case import Marker
from napari_probseg.dataset.targets import Target
from napari_probseg.inference.answer import answer
from napari_probseg.inference.fusion import in_region
from napari_probseg.inference.volume import look_around
from napari_probseg.inference.windows import Window
from napari_probseg.metrics import dice, generalized_energy_distance, iou, mode_coverage
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.general import GeneralCVAE
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.proposers.cvae import CVAEProposer, Draw
from napari_probseg.simulate.annotator import first_dabs

N = 8
RIGHT = 0.8  # Dice with a reading from which a candidate counts as right
N_BINS = 10

Mask = NDArray[np.bool_]


class Control(CVAEProposer):
    """The deterministic decoder: one answer in each window."""

    @torch.inference_mode()
    def _drawn(
        self, network: GeneralCVAE, windows: list[Window], x: torch.Tensor, z: torch.Tensor, reach: float
    ) -> Draw:
        drawn = super()._drawn(network, windows, x, z, reach)
        features = network.features(x.to(self.device))
        answer = network.decode_control(features, torch.full((len(windows),), reach, device=self.device))
        mask, inside, quality = (t.float().cpu() for t in (answer.mask, answer.object, answer.quality.sigmoid()))
        return replace(drawn, mask=mask[:, None], object=inside[:, None], quality=quality[:, None])


@dataclass(frozen=True)
class SampleScore:
    """What the candidates for one object are worth.

    Parameters
    ----------
    n_readings : int
        What the strokes may mean, see `Target.readings`.
    n_candidates : int
    best, first, mean : float
        Dice with the truth: of the best candidate, of the one ranked best, and of all.
    control : float
        Of the deterministic decoder, the best of its windows; not a number where there is none.
    diversity : float
        Mean of 1 - IoU between two candidates.
    energy_distance, coverage : float
        Of the candidates from the readings; not numbers where there is one reading alone.
    """

    n_readings: int
    n_candidates: int
    best: float
    first: float
    mean: float
    control: float
    diversity: float
    energy_distance: float
    coverage: float


@dataclass(frozen=True)
class Promise:
    """How often something comes true that a share of the samples says, in one object.

    Parameters
    ----------
    of : str
        ``"voxel"``: it belongs to the object; ``"candidate"``: its Dice with a reading is `RIGHT` or more.
    bin : int
        Of the share: from ``bin / N_BINS`` on.
    n, n_true : int
    """

    of: str
    bin: int
    n: int
    n_true: int


def score_samples(proposer: Proposer, target: Target, *, seed: int = 0) -> tuple[SampleScore, list[Promise]]:
    """Return what a proposer's candidates are worth after one dab inside and one outside."""
    inside, outside = first_dabs(target.truth, seed=seed, spacing=target.spacing)
    case = target.case().mark(inside, outside)
    in_space: Any = {"ndim": 3} if case.ndim == 3 else {}
    candidates = proposer.propose(case, N, seed=seed, **in_space)
    masks = _objects(candidates)
    readings = target.readings(inside, outside)
    overlaps = [dice(mask, target.truth) for mask in masks]
    several = len(readings) > 1 and bool(masks)
    score = SampleScore(
        n_readings=len(readings),
        n_candidates=len(masks),
        best=max(overlaps, default=0.0),
        first=overlaps[0] if masks else 0.0,
        mean=float(np.mean(overlaps)) if masks else 0.0,
        control=_control(proposer, target, candidates, seed),
        diversity=diversity(masks),
        energy_distance=generalized_energy_distance(masks, readings) if several else float("nan"),
        coverage=mode_coverage(masks, readings) if several else float("nan"),
    )
    return score, _promises(candidates, masks, readings, target.truth)


def diversity(masks: list[Mask]) -> float:
    """Return the mean of 1 - IoU over all pairs; 0 for fewer than two masks."""
    pairs = [1 - iou(a, b) for i, a in enumerate(masks) for b in masks[:i]]
    return float(np.mean(pairs)) if pairs else 0.0


def _objects(candidates: Candidates) -> list[Mask]:
    return [np.asarray(partial == Marker.OBJECT) for partial in candidates.partial]


def _control(proposer: Proposer, target: Target, candidates: Candidates, seed: int) -> float:
    if not isinstance(proposer, CVAEProposer):
        return float("nan")
    network = proposer.networks.get(target.truth.ndim)
    if isinstance(network, AdvisedCVAE | VolumeCVAE):
        looks = (
            answer(network, candidates.case, proposer.device).looks
            if isinstance(network, AdvisedCVAE)
            else look_around(network, candidates.case, proposer.device)
        )
        whole = tuple(slice(0, n) for n in target.truth.shape)
        maps = [in_region(p, window, whole) for p, window in zip(looks.logit.sigmoid(), looks.windows, strict=True)]
        return max(dice(p > 0.5, target.truth) for p in maps)
    control = Control(proposer.networks, device=str(proposer.device))
    masks = _objects(control.propose(candidates.case, N, seed=seed, ndim=target.truth.ndim))
    return max((dice(mask, target.truth) for mask in masks), default=0.0)


def _promises(candidates: Candidates, masks: list[Mask], readings: list[Mask], truth: Mask) -> list[Promise]:
    """Return what the samples say of voxels that are not decided yet, and of whole candidates, and what is true."""
    open_ = candidates.case.partial[candidates.where] == Marker.UNKNOWN
    right = np.array([max(dice(mask, reading) for reading in readings) >= RIGHT for mask in masks], dtype=bool)
    return [
        *_binned("voxel", candidates.probability[open_], truth[candidates.where][open_]),
        *_binned("candidate", candidates.share, right),
    ]


def _binned(of: str, share: NDArray[np.float32], true: Mask) -> list[Promise]:
    bins = np.minimum((share * N_BINS).astype(int), N_BINS - 1)
    n = np.bincount(bins, minlength=N_BINS)
    n_true = np.bincount(bins, weights=true, minlength=N_BINS)
    return [Promise(of, i, int(n[i]), int(n_true[i])) for i in range(N_BINS) if n[i]]
