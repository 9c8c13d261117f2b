"""Small networks trained without some data sets, to which those are unseen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from napari_probseg.dataset.raw import RawDataset
from napari_probseg.io.atomic import output_folder
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import WINDOW_SIDE, GeneralConfig, GeneralCVAE, inflated
from napari_probseg.progress import Progress
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.general import POOL, batch_maker
from napari_probseg.training.objective import control_loss_of
from napari_probseg.training.pool import kept_pool
from napari_probseg.training.recipe import GeneralTraining


@dataclass(frozen=True)
class Group:
    """Data sets that are left out, and how the small network is trained that segments them.

    Parameters
    ----------
    left_out : tuple of str
        Their names, see `napari_probseg.dataset.raw.named`.
    training : GeneralTraining
    fit : FitConfig
    n_objects : int
        Objects of each set's test part, one of an image.
    network : GeneralConfig
        Of images; that of volumes starts from what the one of images has learnt.
    """

    left_out: tuple[str, ...]
    training: GeneralTraining
    fit: FitConfig
    n_objects: int
    network: GeneralConfig = field(default_factory=lambda: GeneralConfig(widths=(24, 48, 72, 96)))


GROUPS = {
    2: Group(
        ("BreastUltrasound", "FetalHead", "BrainHaemorrhageCT"),
        GeneralTraining(n_batch=12, n_crops=200, n_corrections=2),
        FitConfig(1000, learning_rate=2e-3, n_warmup=50, average=0.99),
        n_objects=6,
    ),
    3: Group(
        ("Hippocampus", "HeadNeckCT"),
        GeneralTraining(ndim=3, size=WINDOW_SIDE[3], n_batch=6, share_real=0.4, share_pseudo=0.25, n_crops=60),
        FitConfig(400, learning_rate=1e-3, n_warmup=40, average=0.98),
        n_objects=4,
    ),
}


def train_small(
    group: Group,
    folder: str | Path,
    seen: list[RawDataset],
    *,
    start: GeneralCVAE | None = None,
    n_steps: int | None = None,
    seed: int = 0,
) -> Iterator[Progress]:
    """Train a group's network and write ``weights.safetensors``; do nothing if it is there.

    Parameters
    ----------
    group : Group
    folder : path
        Gets crops, checkpoints and weights; a training that was broken off goes on.
    seen : list of RawDataset
        Of which the training parts are used, beside synthetic scenes.
    start : GeneralCVAE, optional
        A network of images that one of volumes starts from.
    n_steps : int, optional
        Other than the group's own.
    seed : int

    Yields
    ------
    Progress
        After each step.
    """
    folder, ndim = output_folder(folder), group.training.ndim
    if (folder / "weights.safetensors").is_file():
        return
    pool = kept_pool(folder / POOL, seen, n_per_dataset=group.training.n_crops, seed=seed, ndim=ndim)
    torch.manual_seed(seed)
    network = inflated(start) if start is not None else GeneralCVAE(group.network)
    config = replace(group.fit, n_steps=n_steps or group.fit.n_steps, seed=seed)
    batches = batch_maker(group.training, pool)
    yield from fit(network, batches, control_loss_of(group.training), config, folder=folder)
    write_weights(folder / "weights.safetensors", network.state_dict(), preset="general", config=asdict(network.config))
