"""Proposer of Wong, Guttag & Dalca (2022): the whole image at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from napari_probseg.candidates import Candidates, checked_question, checked_request
from napari_probseg.case import Case, Marker, Plane
from napari_probseg.images import checked_plane
from napari_probseg.inference.device import chosen_device
from napari_probseg.inference.diversity import choose_distinct, pairwise_iou
from napari_probseg.inference.inputs import evenness
from napari_probseg.nn.wong2022 import CELL_SIDE_VOXELS, Wong2022
from napari_probseg.proposers.plane import in_volume, plane_with_most_strokes


@dataclass(frozen=True)
class Wong2022Config:
    """How many samples are drawn, of which the distinct ones are offered."""

    n_samples: int = 48


class Wong2022Proposer:
    """Samples of the paper's network, made distinct; satisfies `napari_probseg.Proposer`.

    Parameters
    ----------
    network : Wong2022
        Trained.
    name : str
        What `load_proposer` calls it.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    config : Wong2022Config, optional
    """

    def __init__(
        self,
        network: Wong2022,
        *,
        name: str = "wong2022",
        device: str = "auto",
        config: Wong2022Config | None = None,
    ) -> None:
        self.name, self.config = name, config or Wong2022Config()
        self.device = chosen_device(device)
        self.network = network.eval().to(self.device)

    def propose(self, case: Case, n: int = 8, *, seed: int = 0, plane: Plane | None = None) -> Candidates:
        """Return at most ``n`` distinct candidates, best first; see `napari_probseg.Proposer`.

        A candidate's score is how sure the network is of it: the mean of ``|2 p - 1|`` over what it adds.

        Raises
        ------
        ValueError
            If nothing is marked, or the image is constant or not finite.
        """
        checked_question(case, plane)
        n, seed = checked_request(n, seed)
        if case.ndim > 2:
            plane = plane_with_most_strokes(case) if plane is None else checked_plane(plane)
            return in_volume(self.propose(case.at(plane), n, seed=seed), case, plane)
        if not case.partial.any():
            raise ValueError("there is no stroke yet: brush a little inside the object, and a little outside")
        mask, inside = self._drawn(case, seed)
        unknown = case.partial == Marker.UNKNOWN
        objects = (mask > 0.5) & (inside > 0.5) & unknown
        sure = np.abs(2 * inside - 1)
        score = (sure * objects).sum((1, 2)) / np.maximum(objects.sum((1, 2)), 1)
        choice = choose_distinct(pairwise_iou(objects), score, n)
        kept = [i for i, index in enumerate(choice.index) if objects[index].any()]
        patches = np.repeat(case.partial[None], len(kept), axis=0)
        for patch, index in zip(patches, choice.index[kept], strict=True):
            patch[unknown & (mask[index] > 0.5)] = Marker.BACKGROUND
            patch[objects[index]] = Marker.OBJECT
        return Candidates(
            case,
            tuple(slice(0, m) for m in case.shape),
            patches,
            score[choice.index[kept]].astype(np.float32),
            choice.share[kept],
            (inside > 0.5).mean(0).astype(np.float32),
        )

    @torch.inference_mode()
    def _drawn(self, case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return samples of y_m, and of the probability of object where it decides, (N, Y, X) in [0, 1]."""
        image = case.read().mean(0)
        low, high = float(image.min()), float(image.max())
        if low == high:
            whole = tuple(slice(0, m) for m in case.shape)
            raise ValueError(f"{evenness(case, whole)}: there is nothing to follow")
        image = (image - low) / (high - low) if low < 0 or high > 1 else image
        x = np.stack([image, case.partial != Marker.UNKNOWN, case.partial == Marker.OBJECT]).astype(np.float32)
        after = [(0, -m % CELL_SIDE_VOXELS) for m in case.shape]
        x = np.pad(x, [(0, 0), *after], mode="edge")[None]
        seen = torch.from_numpy(x)
        z = torch.randn(
            self.config.n_samples, *self.network.latent_shape(seen), generator=torch.Generator().manual_seed(seed)
        )
        y = self.network.decode(seen.to(self.device), z.to(self.device)).cpu().numpy()
        mask, inside = y[:, :, : case.shape[0], : case.shape[1]].swapaxes(0, 1)
        return mask, inside / np.maximum(mask, 1e-6)
