"""Small networks that complete, trained without some of the data sets: those are unseen objects to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.tasks import Task
from napari_probseg.training.dataset import RawDataset
from napari_probseg.training.fit import FitConfig, Losses, Progress, fit
from napari_probseg.training.general import GeneralTraining, batch_maker, corrected, network_input
from napari_probseg.training.losses import soft_dice_loss
from napari_probseg.training.pool import Pool, save_pool


@dataclass(frozen=True)
class Group:
    """Data sets that are left out together, and the small network that sees the others.

    Parameters
    ----------
    left_out : tuple of str
        Ends of the folders' names.
    network : GeneralConfig
    training : GeneralTraining
    fit : FitConfig
    n_objects : int
        Objects of each set's test part, one of an image.
    """

    left_out: tuple[str, ...]
    network: GeneralConfig
    training: GeneralTraining
    fit: FitConfig
    n_objects: int


GROUPS = {
    2: Group(
        ("BreastUltrasound", "FetalHead", "BrainHaemorrhageCT"),
        GeneralConfig(widths=(24, 48, 72, 96)),
        GeneralTraining(n_batch=12, n_crops=150, n_corrections=2),
        FitConfig(800, learning_rate=2e-3, n_warmup=50, average=0.98),
        n_objects=6,
    ),
    3: Group(
        ("Hippocampus", "HeadNeckCT"),
        GeneralConfig(ndim=3, n_image_channels=2, widths=(16, 32, 48, 64)),
        GeneralTraining(ndim=3, size=48, n_batch=3, share_real=0.4, share_pseudo=0.25, n_crops=40, n_corrections=2),
        FitConfig(400, learning_rate=2e-3, n_warmup=40, average=0.98),
        n_objects=3,
    ),
}


def train_without(
    group: Group, folder: str | Path, datasets: list[RawDataset], *, n_steps: int | None = None, seed: int = 0
) -> Iterator[Progress]:
    """Train a group's network on what is not left out and write ``weights.safetensors``; nothing if it is there.

    Parameters
    ----------
    group : Group
    folder : path
        Gets crops, checkpoints and weights; a training that was broken off goes on.
    datasets : list of RawDataset
        All there are.
    n_steps : int, optional
        Other than the group's own.
    seed : int

    Yields
    ------
    Progress
        After each step.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "weights.safetensors").is_file():
        return
    seen = [d for d in datasets if not d.folder.name.endswith(group.left_out)]
    crops = folder / "pool.npz"
    if not crops.is_file():
        for _ in save_pool(crops, seen, n_per_dataset=group.training.n_crops, seed=seed, ndim=group.network.ndim):
            pass
    torch.manual_seed(seed)
    network = GeneralCVAE(group.network)
    config = replace(group.fit, n_steps=n_steps or group.fit.n_steps, seed=seed)
    yield from fit(
        network, batch_maker(group.training, Pool.load(crops)), _loss_of(group.training), config, folder=folder
    )
    write_weights(folder / "weights.safetensors", network.state_dict(), preset="general", config=asdict(network.config))


def _loss_of(config: GeneralTraining) -> Callable[[nn.Module, tuple[Task, Chance], int], Losses]:
    """Return the loss of the head that completes: Dice and cross-entropy over all that is not marked."""

    def loss(network: nn.Module, batch: tuple[Task, Chance], step: int) -> Losses:
        assert isinstance(network, GeneralCVAE)
        task, chance = batch
        for _ in range(chance.integers(0, config.n_corrections)):
            task = corrected(network, task, chance)
        features = network.features(network_input(task.image, task.inside, task.outside))
        answer = network.decode_control(features, torch.ones_like(task.reach)).object
        target, open_ = task.target.float(), (~(task.inside | task.outside)).float()
        entropy = F.binary_cross_entropy_with_logits(answer, target, open_)
        overlap = soft_dice_loss(answer.sigmoid(), target, open_).mean()
        return {"entropy": entropy, "dice": overlap, "total": entropy + overlap}

    return loss
